use std::{fmt, str::FromStr};

const WEI: u128 = 1_000_000_000_000_000_000;

/// An amount of TALOS in wei, its smallest unit (10^-18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenAmount(pub u128);

impl TokenAmount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole TALOS.
    pub const fn talos(whole: u64) -> Self {
        Self(whole as u128 * WEI)
    }

    /// The sum, if it fits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, if it is not below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

/// A price in wei per second, the unit that contracts settle in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u128);

impl Rate {
    /// The rate whose hour costs at least `amount`: rounded up, so that a node is never paid short
    /// of the price it named by more than it would notice. `None` if it does not fit.
    pub fn per_hour(amount: TokenAmount) -> Option<Self> {
        Some(Self(amount.0.div_ceil(3600)))
    }

    /// What this rate costs over some seconds, if it fits.
    pub fn over_seconds(self, seconds: u64) -> Option<TokenAmount> {
        self.0.checked_mul(seconds.into()).map(TokenAmount)
    }
}

impl fmt::Display for TokenAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, wei) = (self.0 / WEI, self.0 % WEI);
        if wei == 0 {
            return write!(f, "{whole} TALOS");
        }
        let fraction = format!("{wei:018}");
        write!(f, "{whole}.{} TALOS", fraction.trim_end_matches('0'))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hour = TokenAmount(self.0.saturating_mul(3600));
        write!(f, "{hour} an hour")
    }
}

/// The text is no amount of TALOS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal number.
    #[error("{0:?} is not an amount: write TALOS as in 1000 or 0.5")]
    Shape(String),
    /// More than 18 digits after the point: less than one wei.
    #[error("{0:?} has more than 18 digits after the point")]
    Fraction(String),
    /// More than 2^128 wei.
    #[error("{0:?} is more TALOS than there can be")]
    TooLarge(String),
}

impl FromStr for TokenAmount {
    type Err = AmountError;
    /// Reads a decimal number of TALOS, with or without the unit behind it.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let shown = || text.chars().take(80).collect::<String>();
        let number = text.strip_suffix("TALOS").unwrap_or(text).trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(AmountError::Shape(shown()));
        }
        if fraction.len() > 18 {
            return Err(AmountError::Fraction(shown()));
        }
        let large = || AmountError::TooLarge(shown());
        let whole: u128 = whole.parse().map_err(|_| large())?;
        let wei: u128 = format!("{fraction:0<18}").parse().map_err(|_| large())?;
        whole.checked_mul(WEI).and_then(|v| v.checked_add(wei)).map(Self).ok_or_else(large)
    }
}

macro_rules! decimal_wei {
    ($($name:ident)*) => {$(
        // A string of digits: JSON numbers lose integers above 2^53.
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(&self.0)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map(Self).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
decimal_wei! { TokenAmount Rate }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_back_as_they_are_shown() {
        for (text, wei) in
            [("0", 0), ("1000", 1000 * WEI), ("0.5", WEI / 2), ("1.000000000000000001", WEI + 1)]
        {
            let amount: TokenAmount = text.parse().unwrap();
            assert_eq!(amount.0, wei);
            assert_eq!(amount.to_string(), format!("{text} TALOS"));
            assert_eq!(amount.to_string().parse(), Ok(amount));
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in ["", ".", "1.", ".5", "-1", "1e3", "0x10", "1,5", "1.0000000000000000001"] {
            assert!(bad.parse::<TokenAmount>().is_err(), "{bad}");
        }
        assert!(matches!("9".repeat(39).parse::<TokenAmount>(), Err(AmountError::TooLarge(_))));
    }
}
