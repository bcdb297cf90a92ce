use std::{fmt, str::FromStr};

use daee_types::{ArtifactHash, BodyHash, Word, sha256};

use crate::{ArtifactTooLarge, FileHasher};

/// Largest block: what `unixfs-v1-2025` puts into one raw leaf.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;

const RAW: u64 = 0x55;
const DAG_PB: u64 = 0x70;
const SHA2_256: u64 = 0x12;

/// The content identifier of one raw block: always CIDv1 with sha2-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid(cid::Cid);

/// The content identifier of a file of more than one block: of its dag-pb root, as `unixfs-v1-2025` makes
/// it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileCid(cid::Cid);

/// The content identifier of an artifact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArtifactCid {
    /// Up to [`BLOCK_BYTES_MAX`]: one raw block, whose CID holds the artifact's hash.
    Block(Cid),
    /// Above that: a file.
    File(FileCid),
}

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
    /// A CID, but of no artifact.
    #[error(
        "{0} is neither the CIDv1 of one raw block nor that of a unixfs-v1-2025 file: import the file \
         again with `ipfs add --cid-version=1 --raw-leaves --chunker=size-1048576 \
         --max-file-links=1024`"
    )]
    ArtifactKind(String),
}

impl Cid {
    /// The CID of one raw block with this SHA-256.
    pub fn raw(digest: &Word) -> Self {
        Self(v1(RAW, digest))
    }

    /// The CID of these bytes as one raw block.
    pub fn of(block: &[u8]) -> Self {
        Self::raw(&sha256(block))
    }

    /// The SHA-256 of the block.
    pub fn digest(&self) -> Word {
        digest_of(&self.0)
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
        Self::accept(from_bytes(bytes)?)
    }

    fn accept(cid: cid::Cid) -> Result<Self, CidError> {
        if is(&cid, RAW) { Ok(Self(cid)) } else { Err(CidError::Kind(cid.to_string())) }
    }
}

impl FileCid {
    /// The CID of the file with this root.
    pub fn of_root(root: &[u8]) -> Self {
        Self(v1(DAG_PB, &sha256(root)))
    }

    /// The SHA-256 of the root, which is not that of the file.
    pub fn digest(&self) -> Word {
        digest_of(&self.0)
    }

    /// The 36 bytes: `01 70 12 20` and the digest.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }
}

impl ArtifactCid {
    /// The CID of these bytes.
    pub fn of(artifact: &[u8]) -> Result<Self, ArtifactTooLarge> {
        let mut hasher = FileHasher::new();
        hasher.update(artifact);
        Ok(hasher.finish()?.cid())
    }

    /// The SHA-256 of the block, or of the file's root.
    pub fn digest(&self) -> Word {
        match self {
            Self::Block(cid) => cid.digest(),
            Self::File(cid) => cid.digest(),
        }
    }

    /// The 36 bytes, as contracts take them.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Block(cid) => cid.to_bytes(),
            Self::File(cid) => cid.to_bytes(),
        }
    }

    /// Reads the binary form; nothing may be left over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        Self::accept(from_bytes(bytes)?)
    }

    fn accept(cid: cid::Cid) -> Result<Self, CidError> {
        if is(&cid, DAG_PB) {
            return Ok(Self::File(FileCid(cid)));
        }
        let accepted = Cid::accept(cid).map(Self::Block);
        accepted.map_err(|_| CidError::ArtifactKind(cid.to_string()))
    }
}

impl From<Cid> for ArtifactCid {
    fn from(cid: Cid) -> Self {
        Self::Block(cid)
    }
}

impl From<FileCid> for ArtifactCid {
    fn from(cid: FileCid) -> Self {
        Self::File(cid)
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
        Self::accept(from_text(text)?)
    }
}

impl FromStr for ArtifactCid {
    type Err = CidError;
    fn from_str(text: &str) -> Result<Self, CidError> {
        Self::accept(from_text(text)?)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for FileCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ArtifactCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(cid) => cid.fmt(f),
            Self::File(cid) => cid.fmt(f),
        }
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

impl fmt::Debug for FileCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileCid({self})")
    }
}

impl fmt::Debug for ArtifactCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactCid({self})")
    }
}

fn v1(codec: u64, digest: &Word) -> cid::Cid {
    let hash = multihash::Multihash::<64>::wrap(SHA2_256, digest)
        .expect("32 bytes fit into a multihash of 64");
    cid::Cid::new_v1(codec, hash)
}

fn is(cid: &cid::Cid, codec: u64) -> bool {
    let hash = cid.hash();
    cid.version() == cid::Version::V1
        && cid.codec() == codec
        && hash.code() == SHA2_256
        && hash.size() == 32
}

fn digest_of(cid: &cid::Cid) -> Word {
    let mut word = [0; 32];
    word.copy_from_slice(cid.hash().digest());
    word
}

fn from_bytes(bytes: &[u8]) -> Result<cid::Cid, CidError> {
    let mut rest = bytes;
    match cid::Cid::read_bytes(&mut rest) {
        Ok(cid) if rest.is_empty() => Ok(cid),
        _ => Err(CidError::Shape(format!("{} bytes", bytes.len()))),
    }
}

fn from_text(text: &str) -> Result<cid::Cid, CidError> {
    if text.len() > 128 {
        return Err(CidError::Shape(text.chars().take(80).collect()));
    }
    text.parse().map_err(|_| CidError::Shape(text.to_owned()))
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
        assert!(ArtifactCid::from_bytes(&long).is_err());
    }

    #[test]
    fn an_artifact_is_a_block_or_a_file() {
        for len in [0, 1, BLOCK_BYTES_MAX, BLOCK_BYTES_MAX + 1] {
            let cid = ArtifactCid::of(&vec![7; len]).unwrap();
            assert_eq!(matches!(cid, ArtifactCid::Block(_)), len <= BLOCK_BYTES_MAX);
            assert_eq!(cid.to_string().parse(), Ok(cid));
            assert_eq!(ArtifactCid::from_bytes(&cid.to_bytes()), Ok(cid));
        }
        for text in ["QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "bafkqaaa"] {
            let error = text.parse::<ArtifactCid>().unwrap_err();
            assert!(error.to_string().contains("--max-file-links=1024"), "{error}");
        }
    }
}
