use daee_types::{ArtifactHash, Coded, Fault, Word};
use sha2::Digest as _;

use crate::Cid;

/// Bytes that came from somewhere; nobody has looked at them.
#[derive(Clone, Copy, Debug)]
pub struct Fetched;

/// Bytes whose SHA-256 is the one that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    hash: ArtifactHash,
}

/// A WebAssembly file on its way to the engine. Its bytes can be read only once it is verified.
#[derive(Clone)]
pub struct Artifact<State> {
    bytes: std::sync::Arc<[u8]>,
    state: State,
}

/// The artifact is not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the artifact hashes to {found}, the manifest names {expected}")]
pub struct ArtifactError {
    /// What the manifest or the chain names.
    pub expected: ArtifactHash,
    /// What the bytes are.
    pub found: ArtifactHash,
}

impl Coded for ArtifactError {
    fn code(&self) -> &'static str {
        "DAEE-A001"
    }
    fn fault(&self) -> Fault {
        Fault::Network
    }
}

impl Artifact<Fetched> {
    /// Takes bytes from anywhere.
    pub fn fetched(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), state: Fetched }
    }

    /// The one place where bytes become the artifact.
    pub fn verify(self, expected: &ArtifactHash) -> Result<Artifact<Verified>, ArtifactError> {
        let found = ArtifactHash::of(&self.bytes);
        if found != *expected {
            return Err(ArtifactError { expected: *expected, found });
        }
        Ok(Artifact { bytes: self.bytes, state: Verified { hash: found } })
    }
}

impl Artifact<Verified> {
    /// The module.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its SHA-256.
    pub fn hash(&self) -> &ArtifactHash {
        &self.state.hash
    }

    /// Its CID as one raw block.
    pub fn cid(&self) -> Cid {
        Cid::from(&self.state.hash)
    }
}

impl<State: std::fmt::Debug> std::fmt::Debug for Artifact<State> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Artifact({} bytes, {:?})", self.bytes.len(), self.state)
    }
}

/// Hashes an artifact that is too large to hold, piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Before the first piece.
    pub fn new() -> Self {
        Self::default()
    }
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }
    /// The hash of all pieces.
    pub fn finish(self) -> ArtifactHash {
        ArtifactHash::new(self.0.finalize().into())
    }
}

/// The same for BLAKE3, which some tools ask for. Nothing of ours is found by it.
#[derive(Clone, Debug, Default)]
pub struct Blake3Hasher(blake3::Hasher);

impl Blake3Hasher {
    /// Before the first piece.
    pub fn new() -> Self {
        Self::default()
    }
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }
    /// The 32 bytes of BLAKE3 of all pieces.
    pub fn finish(self) -> Word {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_bytes_never_become_the_artifact() {
        let good = b"\0asm\x01\0\0\0".to_vec();
        let hash = ArtifactHash::of(&good);
        assert_eq!(Artifact::fetched(good.clone()).verify(&hash).unwrap().bytes(), good);
        for bad in [vec![], good[..7].to_vec(), [good.clone(), vec![0]].concat()] {
            let error = Artifact::fetched(bad).verify(&hash).unwrap_err();
            assert_eq!((error.code(), error.expected), ("DAEE-A001", hash));
        }
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        let mut hasher = Hasher::new();
        b"abcdef".chunks(4).for_each(|piece| hasher.update(piece));
        assert_eq!(hasher.finish(), ArtifactHash::of(b"abcdef"));
        // As `b3sum` prints it.
        let empty = Blake3Hasher::new().finish();
        assert_eq!(empty[..4], [0xaf, 0x13, 0x49, 0xb9]);
    }
}
