use std::{fmt, str::FromStr};

use sha2::Digest as _;

/// A 32-byte word as the EVM has them.
pub type Word = [u8; 32];

/// Keccak-256, the hash of every root that a contract reads.
pub fn keccak256(bytes: impl AsRef<[u8]>) -> Word {
    sha3::Keccak256::digest(bytes.as_ref()).into()
}

/// SHA-256, the hash of artifacts and manifests (TIP-0042 section 3.1).
pub fn sha256(bytes: impl AsRef<[u8]>) -> Word {
    sha2::Sha256::digest(bytes.as_ref()).into()
}

/// The text is not 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a hash: write 64 lower-case hex digits")]
pub struct HashError {
    /// What stood there, cut to 80 characters.
    pub found: String,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Word);

        impl $name {
            /// The word of zeros; stands for "none yet" where a contract has no other word for it.
            pub const ZERO: Self = Self([0; 32]);
            /// Takes 32 bytes that are already such a hash.
            pub const fn new(word: Word) -> Self {
                Self(word)
            }
            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &Word {
                &self.0
            }
            /// True for [`Self::ZERO`].
            pub fn is_zero(&self) -> bool {
                self.0 == [0; 32]
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), hex::encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl FromStr for $name {
            type Err = HashError;
            fn from_str(text: &str) -> Result<Self, HashError> {
                parse(text, $prefix).map(Self)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

words! {
    /// SHA-256 of the WebAssembly file; shown without prefix, as manifests write it.
    ArtifactHash = "";
    /// SHA-256 of the manifest's canonical body (RFC 8785, without `artifact_hash`).
    BodyHash = "";
    /// SHA-256 over tag, artifact hash and body hash: what the chain binds together.
    ManifestHash = "";
    /// Keccak-256 over an agent's whole logical state.
    StateRoot = "0x";
    /// Keccak-256 root over an agent's log lines.
    LogRoot = "0x";
    /// Keccak-256 head of the chain of transcript entries.
    TranscriptRoot = "0x";
    /// EIP-712 struct hash of a [`Checkpoint`](crate::Checkpoint).
    LeafHash = "0x";
    /// Names one lease of one deployment (MARKET rule 7): the fencing token.
    EpochId = "0x";
    /// Hash of a transaction.
    TxHash = "0x";
}

impl ArtifactHash {
    /// Hashes an artifact that is wholly in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

impl BodyHash {
    /// Hashes the canonical body.
    pub fn of(canonical: &[u8]) -> Self {
        Self(sha256(canonical))
    }
}

impl ManifestHash {
    /// What separates this use of SHA-256 from every other.
    pub const TAG: &'static [u8; 32] = b"daee.manifest.v1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    /// `SHA-256(tag, artifactHash, bodyHash)`, the same that `deploy` computes on chain.
    pub fn of(artifact: &ArtifactHash, body: &BodyHash) -> Self {
        let mut input = [0; 96];
        input[..32].copy_from_slice(Self::TAG);
        input[32..64].copy_from_slice(artifact.as_bytes());
        input[64..].copy_from_slice(body.as_bytes());
        Self(sha256(input))
    }
}

fn parse(text: &str, prefix: &str) -> Result<Word, HashError> {
    let wrong = || HashError { found: text.chars().take(80).collect() };
    // The prefix is optional on the way in: people paste hashes from both worlds.
    let digits = text.strip_prefix(prefix).unwrap_or(text);
    if digits.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(wrong());
    }
    let mut word = [0; 32];
    hex::decode_to_slice(digits, &mut word).map_err(|_| wrong())?;
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keccak_and_sha_are_the_published_functions() {
        assert_eq!(
            hex::encode(keccak256("")),
            "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        );
        assert_eq!(
            hex::encode(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn what_is_not_64_lower_case_hex_digits_is_no_hash() {
        let good = "ab".repeat(32);
        assert!(good.parse::<ArtifactHash>().is_ok());
        for bad in
            ["", "ab", &"AB".repeat(32), &"ag".repeat(32), &"ab".repeat(33), "a1b2c3d4e5f6..."]
        {
            assert!(bad.parse::<ArtifactHash>().is_err(), "{bad}");
        }
        assert_eq!(
            format!("0x{good}").parse::<StateRoot>().unwrap().to_string(),
            format!("0x{good}")
        );
    }
}
