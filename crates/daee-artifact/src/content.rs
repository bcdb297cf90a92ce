use std::{fmt, str::FromStr};

use daee_types::{ArtifactHash, BodyHash, Word, sha256};

/// Largest block: what `unixfs-v1-2025` puts into one raw leaf.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;

const RAW: u64 = 0x55;
const SHA2_256: u64 = 0x12;

/// A content identifier: always CIDv1 with sha2-256. Raw blocks are what this version stores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid(cid::Cid);

/// The text or bytes are no CID that this version takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// Not a CID at all.
    #[error("{0:?} is not a CID")]
    Shape(String),
    /// A CID, but not CIDv1 raw sha2-256.
    #[error(
        "{0} is not a CIDv1 of one raw sha2-256 block: import the file again with \
         `ipfs add --cid-version=1 --raw-leaves --chunker=size-1048576`"
    )]
    Kind(String),
}

impl Cid {
    /// The CID of one raw block with this SHA-256.
    pub fn raw(digest: &Word) -> Self {
        let hash = multihash::Multihash::<64>::wrap(SHA2_256, digest)
            .expect("32 bytes fit into a multihash of 64");
        Self(cid::Cid::new_v1(RAW, hash))
    }

    /// The CID of these bytes as one raw block.
    pub fn of(block: &[u8]) -> Self {
        Self::raw(&sha256(block))
    }

    /// The SHA-256 of the block.
    pub fn digest(&self) -> Word {
        let mut word = [0; 32];
        word.copy_from_slice(self.0.hash().digest());
        word
    }

    /// Whether these bytes are the block.
    pub fn is_of(&self, block: &[u8]) -> bool {
        self.digest() == sha256(block)
    }

    /// The 36 bytes: `01 55 12 20` and the digest, as contracts take them.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Reads the binary form; nothing may be left over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        let shown = || CidError::Shape(format!("{} bytes", bytes.len()));
        let mut rest = bytes;
        let cid = cid::Cid::read_bytes(&mut rest).map_err(|_| shown())?;
        if !rest.is_empty() {
            return Err(shown());
        }
        Self::accept(cid)
    }

    fn accept(cid: cid::Cid) -> Result<Self, CidError> {
        let hash = cid.hash();
        let raw = cid.version() == cid::Version::V1
            && cid.codec() == RAW
            && hash.code() == SHA2_256
            && hash.size() == 32;
        if raw { Ok(Self(cid)) } else { Err(CidError::Kind(cid.to_string())) }
    }
}

impl From<&ArtifactHash> for Cid {
    fn from(hash: &ArtifactHash) -> Self {
        Self::raw(hash.as_bytes())
    }
}

impl From<&BodyHash> for Cid {
    fn from(hash: &BodyHash) -> Self {
        Self::raw(hash.as_bytes())
    }
}

impl FromStr for Cid {
    type Err = CidError;
    fn from_str(text: &str) -> Result<Self, CidError> {
        if text.len() > 128 {
            return Err(CidError::Shape(text.chars().take(80).collect()));
        }
        Self::accept(text.parse().map_err(|_| CidError::Shape(text.to_owned()))?)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_cid_is_the_hash_behind_four_bytes() {
        let cid = Cid::of(b"hello");
        let mut bytes = vec![0x01, 0x55, 0x12, 0x20];
        bytes.extend(sha256("hello"));
        assert_eq!(cid.to_bytes(), bytes);
        // As `ipfs add --raw-leaves` prints it.
        assert_eq!(cid.to_string(), "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq");
        assert_eq!(cid.to_string().parse(), Ok(cid));
        assert_eq!(Cid::from_bytes(&bytes), Ok(cid));
    }

    #[test]
    fn other_kinds_are_refused_with_the_command_that_helps() {
        for text in [
            "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", // CIDv0
            "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", // dag-pb
            "bafkqaaa",                                       // identity
        ] {
            let error = text.parse::<Cid>().unwrap_err();
            assert!(error.to_string().contains("ipfs add"), "{error}");
        }
        for text in ["", "bafy", "not a cid", &"b".repeat(500)] {
            assert!(matches!(text.parse::<Cid>(), Err(CidError::Shape(_))), "{text}");
        }
        let mut long = Cid::of(b"x").to_bytes();
        long.push(0);
        assert!(Cid::from_bytes(&long).is_err());
    }
}
