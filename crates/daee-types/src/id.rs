use std::{fmt, str::FromStr};

use crate::keccak256;

/// One request on the chain to run one agent.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct DeploymentId(pub u64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for DeploymentId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// An account or contract on the chain; shown with the EIP-55 checksum.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 20]);

impl Address {
    /// The zero address: nobody.
    pub const ZERO: Self = Self([0; 20]);

    /// The 20 bytes, right-aligned in a word as the ABI has them.
    pub fn to_word(self) -> crate::Word {
        let mut word = [0; 32];
        word[12..].copy_from_slice(&self.0);
        word
    }

    /// True for [`Self::ZERO`].
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 20]
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = hex::encode(self.0);
        let digest = keccak256(&plain);
        f.write_str("0x")?;
        for (i, digit) in plain.chars().enumerate() {
            let nibble = digest[i / 2] >> (4 * (1 - i % 2)) & 15;
            let shown = if nibble >= 8 { digit.to_ascii_uppercase() } else { digit };
            write!(f, "{shown}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// The text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `0x` and 40 hex digits.
    #[error("{0:?} is not an address: write 0x and 40 hex digits")]
    Shape(String),
    /// Mixed case whose EIP-55 checksum is wrong: most likely a typing error.
    #[error("{0:?} has a wrong checksum: one of its digits is probably mistyped")]
    Checksum(String),
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let shape = || AddressError::Shape(text.chars().take(80).collect());
        let digits = text.strip_prefix("0x").ok_or_else(shape)?;
        let mut bytes = [0; 20];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| shape())?;
        let address = Self(bytes);
        let mixed = digits.bytes().any(|b| b.is_ascii_uppercase())
            && digits.bytes().any(|b| b.is_ascii_lowercase());
        if mixed && address.to_string() != text {
            return Err(AddressError::Checksum(text.to_owned()));
        }
        Ok(address)
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_the_checksum_of_eip_55() {
        // The examples of EIP-55.
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
            assert!(text.to_lowercase().parse::<Address>().is_ok());
        }
        let typo = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD";
        assert!(matches!(typo.parse::<Address>(), Err(AddressError::Checksum(_))));
        assert!(matches!("5aae".parse::<Address>(), Err(AddressError::Shape(_))));
    }
}
