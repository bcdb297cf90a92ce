//! A package file: one CARv1 that any IPFS tool imports. Its roots are the artifact, the manifest's
//! canonical body and the author's YAML, and its blocks are these three in that order, each one raw
//! sha2-256 block. Writing is deterministic; reading takes exactly what writing makes.

use daee_types::{Coded, Fault};

use crate::{Artifact, BLOCK_BYTES_MAX, Cid, Fetched};

/// What a package holds. The artifact is still unverified: the manifest says what it must be.
#[derive(Clone, Debug)]
pub struct Package {
    /// The module.
    pub artifact: Artifact<Fetched>,
    /// CID of the module.
    pub artifact_cid: Cid,
    /// Canonical body of the manifest (RFC 8785 JSON).
    pub body: Vec<u8>,
    /// `agent.yaml` as its author wrote it.
    pub yaml: Vec<u8>,
}

/// Why bytes are no package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// The container is not the CARv1 that `write` makes.
    #[error("not a package: {what} at byte {at}")]
    Malformed {
        /// What was wrong.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A block is not what its CID names.
    #[error("block {cid} is not the content its CID names")]
    WrongBlock {
        /// The CID.
        cid: String,
    },
    /// A block is missing, or another stands in its place.
    #[error("block {cid} of the {part} is missing")]
    Missing {
        /// artifact, body or yaml.
        part: &'static str,
        /// The CID.
        cid: String,
    },
    /// Too large for one raw block.
    #[error("the {part} is {size} bytes, more than the {BLOCK_BYTES_MAX} of one block")]
    TooLarge {
        /// artifact, body or yaml.
        part: &'static str,
        /// Its size in bytes.
        size: usize,
    },
    /// Bytes behind the last block.
    #[error("{0} bytes stand behind the last block")]
    Trailing(usize),
}

impl Coded for PackageError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "DAEE-A010",
            Self::WrongBlock { .. } => "DAEE-A011",
            Self::Missing { .. } => "DAEE-A012",
            Self::TooLarge { .. } => "DAEE-A013",
            Self::Trailing(_) => "DAEE-A014",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

/// Largest package in bytes: header, and three blocks behind their lengths and CIDs.
pub const PACKAGE_BYTES_MAX: usize = 3 * (BLOCK_BYTES_MAX + CID_BYTES + 4) + 256;

const PARTS: [&str; 3] = ["artifact", "body", "yaml"];
/// A root in the header's DAG-CBOR: tag 42, 37 bytes, the multibase's zero.
const ROOT_PREFIX: [u8; 5] = [0xd8, 0x2a, 0x58, 0x25, 0x00];
const CID_BYTES: usize = 36;

/// Writes a package.
pub fn write(artifact: &[u8], body: &[u8], yaml: &[u8]) -> Result<Vec<u8>, PackageError> {
    let blocks = [artifact, body, yaml];
    for (part, block) in PARTS.into_iter().zip(blocks) {
        if block.len() > BLOCK_BYTES_MAX {
            return Err(PackageError::TooLarge { part, size: block.len() });
        }
    }
    let cids = blocks.map(Cid::of);
    let header = header(&cids);
    let mut out = Vec::with_capacity(artifact.len() + body.len() + yaml.len() + 512);
    write_varint(header.len() as u64, &mut out);
    out.extend(header);
    for (cid, block) in cids.iter().zip(blocks) {
        write_varint((CID_BYTES + block.len()) as u64, &mut out);
        out.extend(cid.to_bytes());
        out.extend(block);
    }
    Ok(out)
}

/// Reads a package. Every block is checked against its CID.
pub fn read(bytes: &[u8]) -> Result<Package, PackageError> {
    let mut from = Cursor { bytes, at: 0 };
    let header_len = from.varint()? as usize;
    let header_at = from.at;
    let found = from.take(header_len)?;
    let roots = roots(found).ok_or(PackageError::Malformed {
        what: "the header is not a CARv1 header with three raw roots",
        at: header_at,
    })?;

    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for (part, root) in PARTS.into_iter().zip(roots) {
        if from.at == bytes.len() {
            return Err(PackageError::Missing { part, cid: root.to_string() });
        }
        let len = from.varint()? as usize;
        if len < CID_BYTES {
            return Err(from.malformed("a block is shorter than its CID"));
        }
        if len - CID_BYTES > BLOCK_BYTES_MAX {
            return Err(PackageError::TooLarge { part, size: len - CID_BYTES });
        }
        let at = from.at;
        let cid = Cid::from_bytes(from.take(CID_BYTES)?).map_err(|_| PackageError::Malformed {
            what: "a block's CID is not raw sha2-256",
            at,
        })?;
        let block = from.take(len - CID_BYTES)?;
        if cid != root {
            return Err(PackageError::Missing { part, cid: root.to_string() });
        }
        if !cid.is_of(block) {
            return Err(PackageError::WrongBlock { cid: cid.to_string() });
        }
        blocks.push(block.to_vec());
    }
    if from.at < bytes.len() {
        return Err(PackageError::Trailing(bytes.len() - from.at));
    }
    let [artifact, body, yaml] = <[Vec<u8>; 3]>::try_from(blocks).expect("three parts were read");
    Ok(Package { artifact: Artifact::fetched(artifact), artifact_cid: roots[0], body, yaml })
}

/// A CARv1 of one block, as a gateway answers `format=car`.
pub fn single_block_car(cid: &Cid, block: &[u8]) -> Vec<u8> {
    let header = header(&[*cid]);
    let mut out = Vec::with_capacity(block.len() + 128);
    write_varint(header.len() as u64, &mut out);
    out.extend(header);
    write_varint((CID_BYTES + block.len()) as u64, &mut out);
    out.extend(cid.to_bytes());
    out.extend(block);
    out
}

/// `{"roots": [..], "version": 1}` in DAG-CBOR, keys in its canonical order.
fn header(roots: &[Cid]) -> Vec<u8> {
    let mut out = vec![0xa2, 0x65];
    out.extend(b"roots");
    out.push(0x80 | roots.len() as u8);
    for root in roots {
        out.extend(ROOT_PREFIX);
        out.extend(root.to_bytes());
    }
    out.push(0x67);
    out.extend(b"version");
    out.push(0x01);
    out
}

/// The three roots, if the header is exactly what `header` writes for them.
fn roots(found: &[u8]) -> Option<[Cid; 3]> {
    let mut roots = Vec::new();
    let mut rest = found.get(8..)?;
    for _ in PARTS {
        rest = rest.strip_prefix(&ROOT_PREFIX)?;
        roots.push(Cid::from_bytes(rest.get(..CID_BYTES)?).ok()?);
        rest = &rest[CID_BYTES..];
    }
    let roots: [Cid; 3] = roots.try_into().ok()?;
    (header(&roots) == found).then_some(roots)
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn malformed(&self, what: &'static str) -> PackageError {
        PackageError::Malformed { what, at: self.at }
    }

    /// An unsigned varint of at most four bytes, in its shortest form.
    fn varint(&mut self) -> Result<u64, PackageError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.malformed("a length is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.malformed("a length is too large"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], PackageError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.malformed("the file ends too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn good() -> Vec<u8> {
        write(b"\0asm\x01\0\0\0", br#"{"a":1}"#, b"a: 1\n").unwrap()
    }

    fn check(bytes: &[u8], code: &str) {
        assert_eq!(read(bytes).unwrap_err().code(), code);
    }

    #[test]
    fn a_package_reads_back_as_it_was_written() {
        let package = read(&good()).unwrap();
        assert_eq!(package.body, br#"{"a":1}"#);
        assert_eq!(package.yaml, b"a: 1\n");
        assert_eq!(package.artifact_cid, Cid::of(b"\0asm\x01\0\0\0"));
        assert_eq!(good(), good(), "the same parts give the same bytes");
    }

    #[test]
    fn missing_extra_swapped_and_wrong_blocks_are_told_apart() {
        let good = good();
        let yaml_at = good.len() - 5 - CID_BYTES - 1;
        check(&good[..yaml_at], "DAEE-A012");
        check(&good[..good.len() - 1], "DAEE-A010");
        check(&[&good[..], b"x"].concat(), "DAEE-A014");
        let mut wrong = good.clone();
        *wrong.last_mut().unwrap() ^= 1;
        check(&wrong, "DAEE-A011");
        let body_at = yaml_at - 7 - CID_BYTES - 1;
        let swapped = [&good[..body_at], &good[yaml_at..], &good[body_at..yaml_at]].concat();
        check(&swapped, "DAEE-A012");
        check(b"", "DAEE-A010");
        check(&[0xff; 64], "DAEE-A010");
    }

    #[test]
    fn the_largest_parts_fit_and_a_byte_more_is_refused() {
        let full = vec![7; BLOCK_BYTES_MAX];
        let largest = write(&full, &full, &full).unwrap();
        assert!(largest.len() <= PACKAGE_BYTES_MAX);
        assert_eq!(read(&largest).unwrap().yaml, full);
        let error = write(&vec![0; BLOCK_BYTES_MAX + 1], b"", b"").unwrap_err();
        assert_eq!(error.code(), "DAEE-A013");
    }

    proptest! {
        #[test]
        fn no_byte_can_change_unnoticed(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let good = good();
            let mut bad = good.clone();
            let at = at.index(bad.len());
            bad[at] = to;
            prop_assert_eq!(read(&bad).is_ok(), bad == good);
        }
    }
}
