use std::fmt;

use crate::{Address, Coded, Fault, Word};

/// A recoverable secp256k1 signature: `r`, `s` (always the low one, EIP-2) and `v` (27 or 28).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 65]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature(0x{})", hex::encode(self.0))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl serde::Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let mut bytes = [0; 65];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(&text), &mut bytes)
            .map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// Holds a key and signs digests with it. Today a task, later a process of its own: callers see no
/// difference, and never the key.
pub trait Sign: Send + Sync {
    /// The account the signatures recover to.
    fn address(&self) -> Address;
    /// Signs a 32-byte digest. Blocking, and quick: well under a millisecond in process.
    fn sign(&self, digest: &Word) -> Result<Signature, SignError>;
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The high-water mark of MARKET rule 7 stands at or above what was to be signed.
    #[error("refused to sign {what}: {mark} was signed already")]
    AlreadySigned {
        /// What was to be signed.
        what: String,
        /// What the mark holds.
        mark: String,
    },
    /// The key or the mark could not be read or written.
    #[error("the signer is unavailable: {0}")]
    Unavailable(String),
}

impl Coded for SignError {
    fn code(&self) -> &'static str {
        match self {
            SignError::AlreadySigned { .. } => "DAEE-S001",
            SignError::Unavailable(_) => "DAEE-S002",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}
