use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Decimals of a price.
pub const DECIMALS: u32 = 8;
const UNIT: u128 = 10_u128.pow(DECIMALS);
/// Most digits before the point: with more it is no price of anything.
const WHOLE_DIGITS_MAX: usize = 18;

/// An exact price, in units of 10^-8 of a dollar. More than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price(u128);

impl Price {
    /// What a contract reads: `abi.decode(data, (uint256))`, with 8 decimals.
    pub fn word(self) -> [u8; 32] {
        let mut word = [0; 32];
        word[16..].copy_from_slice(&self.0.to_be_bytes());
        word
    }
}

impl FromStr for Price {
    type Err = &'static str;

    /// Reads a plain decimal number. What stands behind the eighth decimal is cut off: an oracle never says more
    /// than its source did.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const PLAIN: &str = "not a plain decimal number";
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        let (whole, parts) = match text.split_once('.') {
            Some((whole, parts)) if digits(parts) => (whole, parts),
            Some(_) => return Err(PLAIN),
            None => (text, ""),
        };
        if !digits(whole) {
            return Err(PLAIN);
        }
        if whole.len() > WHOLE_DIGITS_MAX {
            return Err("too large for a price");
        }
        let decimals = DECIMALS as usize;
        let parts = &parts[..parts.len().min(decimals)];
        let number = format!("{whole}{parts:0<decimals$}");
        match number.parse() {
            Ok(0) => Err("a price of zero"),
            Ok(units) => Ok(Self(units)),
            Err(_) => Err(PLAIN),
        }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08}", self.0 / UNIT, self.0 % UNIT)
    }
}

/// As text: a JSON reader may take numbers for floats.
impl Serialize for Price {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u128, &str>) {
        let price = text.parse::<Price>();
        assert_eq!(price.map(|price| price.0), expected, "{text}");
    }

    #[test]
    fn a_decimal_is_read_to_the_last_digit_that_counts() {
        check("3021.55", Ok(302_155_000_000));
        check("3000", Ok(300_000_000_000));
        check("0.00000001", Ok(1));
        check("1.999999999999", Ok(199_999_999));
        check("0.1", Ok(10_000_000));
        check("999999999999999999.99999999", Ok(99_999_999_999_999_999_999_999_999));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "", ".", "1.", ".5", "-1", "+1", "1e3", "1_000", "NaN", "null", "\"1\"", " 1", "1.5.2",
            "١",
        ] {
            check(text, Err("not a plain decimal number"));
        }
        for text in ["0", "0.0", "0.000000001"] {
            check(text, Err("a price of zero"));
        }
        check("1000000000000000000", Err("too large for a price"));
    }

    #[test]
    fn it_reads_back_as_it_was_shown() {
        let price: Price = "3021.5500000099".parse().unwrap();
        assert_eq!(price.to_string(), "3021.55000000");
        assert_eq!(serde_json::to_string(&price).unwrap(), "\"3021.55000000\"");
        assert_eq!(serde_json::from_str::<Price>("\"3021.55000000\"").unwrap(), price);
        assert_eq!(price.word()[24..], 302_155_000_000_u64.to_be_bytes());
    }
}
