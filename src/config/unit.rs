//! Values as operators write them: `"10s"`, `"512MiB"`, `"10.0.0.0/8"`. Each is judged while it is read, so an error
//! points at it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A time span with its unit: `250ms`, `10s`, `5m`, `2h`, `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// An amount of octets: a number, or one with a unit: `64KiB`, `512MiB`, `2GiB`, and `kB`, `MB`, `GB` in powers of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Octets(pub u64);

/// An address block, `192.0.2.0/24`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block(pub IpAddr, pub u8);

/// A value that cannot be, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    expected: &'static str,
    found: String,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {:?}", self.expected, self.found)
    }
}

impl std::error::Error for UnitError {}

/// The longest span that is taken: ten years.
const SPAN_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// The number in front of a unit, and the unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, text[digits..].trim_start()))
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let span = split(text).and_then(|(number, unit)| {
            let nanos: u64 = match unit {
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "d" => 86_400_000_000_000,
                _ => return None,
            };
            Some(Duration::from_nanos(number.checked_mul(nanos)?)).filter(|&span| span <= SPAN_MAX)
        });
        let expected = "a number with ms, s, m, h or d, at most 3650d";
        span.map(Self).ok_or_else(|| UnitError { expected, found: text.to_owned() })
    }
}

impl FromStr for Octets {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let octets = split(text).and_then(|(number, unit)| {
            let factor = match unit {
                "" | "B" => 1,
                "kB" => 1000,
                "MB" => 1_000_000,
                "GB" => 1_000_000_000,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                "TiB" => 1 << 40,
                _ => return None,
            };
            number.checked_mul(factor)
        });
        let expected = "octets, with KiB, MiB, GiB, TiB, kB, MB or GB";
        octets.map(Self).ok_or_else(|| UnitError { expected, found: text.to_owned() })
    }
}

impl FromStr for Block {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error =
            || UnitError { expected: "an address or a block like 192.0.2.0/24", found: text.to_owned() };
        match text.parse::<ipnet::IpNet>() {
            Ok(block) if block.addr() == block.network() => Ok(Self(block.addr(), block.prefix_len())),
            Ok(block) => Err(UnitError {
                expected: "a block whose host bits are zero",
                found: format!("{text}, did you mean {}?", block.trunc()),
            }),
            Err(_) => {
                let address: IpAddr = text.parse().map_err(|_| error())?;
                Ok(Self(address, if address.is_ipv4() { 32 } else { 128 }))
            }
        }
    }
}

/// Reads whatever can be parsed, from a string, or from a bare number where `NUMBERS` says so.
struct Parsed<T>(std::marker::PhantomData<T>, bool);

impl<T: FromStr<Err = UnitError>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.1 { "a number or a string" } else { "a string" })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        if self.1 {
            number.to_string().parse().map_err(E::custom)
        } else {
            Err(E::invalid_type(de::Unexpected::Signed(number), &self))
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed(std::marker::PhantomData, false))
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Parsed(std::marker::PhantomData, true))
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed(std::marker::PhantomData, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_octets_and_blocks() {
        let span = |text: &str| text.parse::<Span>().map(|span| span.0).ok();
        assert_eq!(span("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(span("2 h"), Some(Duration::from_secs(7200)));
        assert_eq!(
            (span("10"), span("-1s"), span("4000d"), span("99999999999999999999s")),
            (None, None, None, None)
        );
        let octets = |text: &str| text.parse::<Octets>().map(|octets| octets.0).ok();
        assert_eq!(
            (octets("512MiB"), octets("7"), octets("1GB")),
            (Some(512 << 20), Some(7), Some(1_000_000_000))
        );
        assert_eq!((octets("1.5GiB"), octets("99999999TiB"), octets("")), (None, None, None));
        assert_eq!("192.0.2.0/24".parse(), Ok(Block("192.0.2.0".parse().unwrap(), 24)));
        assert_eq!("2001:db8::1".parse(), Ok(Block("2001:db8::1".parse().unwrap(), 128)));
        let error = "192.0.2.1/24".parse::<Block>().unwrap_err();
        assert!(error.to_string().contains("did you mean 192.0.2.0/24"), "{error}");
    }
}
