//! What stands before the blocks of a CARv1, and before each of them.

use super::{CID_BYTES, PackageError};
use crate::file::write_varint;

/// Longest header that is looked into: a few roots.
pub(super) const HEADER_BYTES_MAX: usize = 4096;

const MAP: u8 = 5;
const ARRAY: u8 = 4;
const TEXT: u8 = 3;
const BYTES: u8 = 2;
const UNSIGNED: u8 = 0;
const TAG: u8 = 6;
const CID_TAG: u64 = 42;

/// Writes `{"roots": [..], "version": 1}` in DAG-CBOR behind its length.
pub(super) fn write(roots: &[Vec<u8>], out: &mut Vec<u8>) {
    let header = encode(roots);
    write_varint(header.len() as u64, out);
    out.extend(header);
}

/// Writes what stands before a block.
pub(super) fn write_prefix(cid: &[u8], block_bytes: usize, out: &mut Vec<u8>) {
    write_varint((cid.len() + block_bytes) as u64, out);
    out.extend(cid);
}

/// A header's roots as binary CIDs, and whether it is as `write` has it.
pub(super) fn read(header: &[u8]) -> Result<(Vec<Vec<u8>>, bool), &'static str> {
    let mut cbor = Cbor(header);
    let roots = cbor.header()?;
    let canonical = encode(&roots) == header;
    Ok((roots, canonical))
}

/// What a header's first byte can be; anything else is no CAR.
pub(super) fn may_start(byte: u8) -> bool {
    byte >> 5 == MAP
}

/// What a CID is, from its first bytes.
pub(super) enum Kind {
    /// CIDv1 sha2-256, raw or dag-pb, and whole.
    Taken([u8; CID_BYTES]),
    Identity,
    Other {
        version: u64,
        codec: u64,
        hash: u64,
    },
    /// No CID.
    Unread,
}

/// Judges a CID by its first bytes.
pub(super) fn kind(bytes: &[u8]) -> Kind {
    if let [0x01, 0x55 | 0x70, 0x12, 0x20, ..] = bytes {
        return bytes.first_chunk().map_or(Kind::Unread, |cid| Kind::Taken(*cid));
    }
    if bytes.starts_with(&[0x12, 0x20]) {
        return Kind::Other { version: 0, codec: 0x70, hash: 0x12 };
    }
    let mut rest = bytes;
    let mut next = || {
        let (value, _, behind) = varint(rest)?;
        rest = behind;
        Some(value)
    };
    match (next(), next(), next(), next()) {
        (Some(1), Some(_), Some(0), Some(_)) => Kind::Identity,
        (Some(1), Some(codec), Some(hash), Some(_)) => Kind::Other { version: 1, codec, hash },
        _ => Kind::Unread,
    }
}

impl Kind {
    /// The CID, or why it is none that is taken; nothing where it is no CID.
    pub(super) fn accept(self, at: u64) -> Result<[u8; CID_BYTES], Option<PackageError>> {
        Err(Some(match self {
            Self::Taken(cid) => return Ok(cid),
            Self::Identity => PackageError::Identity { at },
            Self::Other { version, codec, hash } => PackageError::Kind { version, codec, hash, at },
            Self::Unread => return Err(None),
        }))
    }
}

/// An unsigned varint of at most 35 bits, whether it is in its shortest form, and what stands behind.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, bool, &[u8])> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, n == 0 || *byte != 0, &bytes[n + 1..]));
        }
    }
    None
}

fn encode(roots: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(MAP, 2, &mut out);
    write_text("roots", &mut out);
    write_head(ARRAY, roots.len() as u64, &mut out);
    for root in roots {
        write_head(TAG, CID_TAG, &mut out);
        write_head(BYTES, root.len() as u64 + 1, &mut out);
        out.push(0);
        out.extend(root);
    }
    write_text("version", &mut out);
    write_head(UNSIGNED, 1, &mut out);
    out
}

fn write_head(major: u8, value: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match value {
        0..24 => out.push(major | value as u8),
        24..0x100 => out.extend([major | 24, value as u8]),
        _ => {
            out.push(major | 25);
            out.extend((value as u16).to_be_bytes());
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_head(TEXT, text.len() as u64, out);
    out.extend(text.as_bytes());
}

struct Cbor<'a>(&'a [u8]);

impl<'a> Cbor<'a> {
    fn header(&mut self) -> Result<Vec<Vec<u8>>, &'static str> {
        const SHAPE: &str = "the header is not that of a CARv1";
        let (mut roots, mut version) = (None, None);
        for _ in 0..self.head(MAP).filter(|entries| *entries <= 2).ok_or(SHAPE)? {
            match self.bytes(TEXT).ok_or(SHAPE)? {
                b"roots" if roots.is_none() => roots = Some(self.roots().ok_or(SHAPE)?),
                b"version" if version.is_none() => {
                    version = Some(self.head(UNSIGNED).ok_or(SHAPE)?);
                }
                _ => return Err(SHAPE),
            }
        }
        match (version, roots) {
            (Some(1), Some(roots)) if self.0.is_empty() => Ok(roots),
            (Some(2), _) => Err("this is a CARv2, and a package is a CARv1"),
            _ => Err(SHAPE),
        }
    }

    fn roots(&mut self) -> Option<Vec<Vec<u8>>> {
        let count = self.head(ARRAY)?;
        let mut roots = Vec::new();
        for _ in 0..count {
            if self.head(TAG)? != CID_TAG {
                return None;
            }
            roots.push(self.bytes(BYTES)?.strip_prefix(&[0])?.to_vec());
        }
        Some(roots)
    }

    fn bytes(&mut self, major: u8) -> Option<&'a [u8]> {
        let len = usize::try_from(self.head(major)?).ok()?;
        self.take(len)
    }

    /// The value of a head of this kind, however long it is written.
    fn head(&mut self, major: u8) -> Option<u64> {
        let first = self.take(1)?[0];
        let extra = match first & 0x1f {
            value @ 0..24 => return (first >> 5 == major).then_some(value.into()),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let value = self.take(extra)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        (first >> 5 == major).then_some(value)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}
