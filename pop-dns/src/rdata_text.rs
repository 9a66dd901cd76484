//! RDATA from presentation format (RFC 1035 §5.1, RFC 3597 §5) to uncompressed wire format, and back.

use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::name_buf::unescape;
use crate::{NameBuf, NameError, RData, RecordType, Strings};

/// A token of a master file: its octets as they stand, and whether it was quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// The octets, escapes not yet undone.
    pub octets: &'t [u8],
    /// It stood in quotes.
    pub quoted: bool,
}

/// What is wrong with the text of a record's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RDataTextError {
    /// Something is missing.
    Missing {
        /// What was expected.
        expected: &'static str,
    },
    /// Something stands there that is not what was expected.
    Unexpected {
        /// What was expected.
        expected: &'static str,
    },
    /// A name that cannot be.
    Name(NameError),
    /// More tokens than the type has fields.
    Excess,
    /// A type whose text is not known here; write it as `\# LENGTH HEX` (RFC 3597).
    Unsupported(RecordType),
}

impl fmt::Display for RDataTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { expected } => write!(f, "expected {expected}, found the end of the record"),
            Self::Unexpected { expected } => write!(f, "expected {expected}"),
            Self::Name(error) => error.fmt(f),
            Self::Excess => f.write_str("expected the end of the record"),
            Self::Unsupported(rtype) => write!(f, "expected \\# LENGTH HEX for a record of type {rtype}"),
        }
    }
}

impl core::error::Error for RDataTextError {}

impl From<NameError> for RDataTextError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

/// Appends the wire format of `rtype`'s RDATA, read from `tokens`, to `wire`. Relative names are completed by `origin`.
///
/// # Errors
/// [`RDataTextError`]; what was appended by then is meaningless.
pub fn parse_rdata<'t>(
    rtype: RecordType,
    tokens: impl IntoIterator<Item = Token<'t>>,
    origin: &NameBuf,
    wire: &mut Vec<u8>,
) -> Result<(), RDataTextError> {
    let mut fields = Fields { tokens: tokens.into_iter().peekable(), origin };
    if fields.tokens.peek().is_some_and(|token| token.octets == b"\\#" && !token.quoted) {
        fields.generic(wire)?;
    } else {
        fields.typed(rtype, wire)?;
    }
    fields.tokens.next().map_or(Ok(()), |_| Err(RDataTextError::Excess))
}

struct Fields<'a, I: Iterator> {
    tokens: core::iter::Peekable<I>,
    origin: &'a NameBuf,
}

impl<'t, I: Iterator<Item = Token<'t>>> Fields<'_, I> {
    fn typed(&mut self, rtype: RecordType, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        match rtype {
            RecordType::A => wire.extend(self.parsed::<Ipv4Addr>("an IPv4 address")?.octets()),
            RecordType::AAAA => wire.extend(self.parsed::<Ipv6Addr>("an IPv6 address")?.octets()),
            RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => self.name(wire)?,
            RecordType::MX => {
                wire.extend(self.parsed::<u16>("a preference")?.to_be_bytes());
                self.name(wire)?;
            }
            RecordType::SRV => {
                for expected in ["a priority", "a weight", "a port"] {
                    wire.extend(self.parsed::<u16>(expected)?.to_be_bytes());
                }
                self.name(wire)?;
            }
            RecordType::SOA => {
                self.name(wire)?;
                self.name(wire)?;
                wire.extend(self.parsed::<u32>("a serial")?.to_be_bytes());
                for expected in ["a refresh time", "a retry time", "an expiry time", "a minimum time"] {
                    let time = parse_ttl(self.token(expected)?.octets);
                    wire.extend(time.ok_or(RDataTextError::Unexpected { expected })?.to_be_bytes());
                }
            }
            RecordType::TXT => {
                self.string(wire)?;
                while self.tokens.peek().is_some() {
                    self.string(wire)?;
                }
            }
            RecordType::CAA => {
                wire.push(self.parsed::<u8>("flags from 0 to 255")?);
                self.string(wire)?;
                let value = self.unescaped("a value")?;
                wire.extend_from_slice(&value);
            }
            _ => return Err(RDataTextError::Unsupported(rtype)),
        }
        Ok(())
    }

    /// `\# LENGTH HEX…` (RFC 3597 §5).
    fn generic(&mut self, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        self.token("\\#")?;
        let length = usize::from(self.parsed::<u16>("a length")?);
        let unexpected =
            RDataTextError::Unexpected { expected: "as many hexadecimal octets as the length says" };
        let start = wire.len();
        let mut high = None;
        for token in self.tokens.by_ref() {
            for &digit in token.octets {
                let digit = char::from(digit).to_digit(16).ok_or(unexpected)? as u8;
                match high.take() {
                    None => high = Some(digit),
                    Some(high) => wire.push(high << 4 | digit),
                }
            }
        }
        if high.is_none() && wire.len() - start == length { Ok(()) } else { Err(unexpected) }
    }

    fn token(&mut self, expected: &'static str) -> Result<Token<'t>, RDataTextError> {
        self.tokens.next().ok_or(RDataTextError::Missing { expected })
    }

    fn parsed<T: core::str::FromStr>(&mut self, expected: &'static str) -> Result<T, RDataTextError> {
        let token = self.token(expected)?;
        let text = core::str::from_utf8(token.octets).ok().filter(|text| !text.starts_with('+'));
        text.and_then(|text| text.parse().ok()).ok_or(RDataTextError::Unexpected { expected })
    }

    fn name(&mut self, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        let token = self.token("a name")?;
        wire.extend_from_slice(NameBuf::parse(token.octets, Some(self.origin))?.as_wire());
        Ok(())
    }

    fn unescaped(&mut self, expected: &'static str) -> Result<Vec<u8>, RDataTextError> {
        let mut text = self.token(expected)?.octets;
        let mut octets = Vec::with_capacity(text.len());
        while !text.is_empty() {
            let (octet, taken) =
                unescape(text).ok_or(RDataTextError::Unexpected { expected: "\\X or \\DDD up to 255" })?;
            octets.push(octet);
            text = &text[taken..];
        }
        Ok(octets)
    }

    fn string(&mut self, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        let octets = self.unescaped("a string")?;
        let length = u8::try_from(octets.len())
            .map_err(|_| RDataTextError::Unexpected { expected: "a string of at most 255 octets" })?;
        wire.push(length);
        wire.extend_from_slice(&octets);
        Ok(())
    }
}

/// Seconds, or a sum of weeks, days, hours, minutes and seconds such as `1h30m`. At most 2³¹ − 1 (RFC 2181 §8).
pub(crate) fn parse_ttl(text: &[u8]) -> Option<u32> {
    let (mut total, mut number) = (0_u32, None::<u32>);
    for &octet in text {
        let unit = match octet.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                let digit = u32::from(digit - b'0');
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match number {
        Some(number) => total = total.checked_add(number)?,
        None if text.is_empty() => return None,
        None => {}
    }
    (total <= i32::MAX as u32).then_some(total)
}

impl fmt::Display for RData<'_> {
    /// Presentation format.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => address.fmt(f),
            Self::Aaaa(address) => address.fmt(f),
            Self::Ns(name) | Self::Cname(name) | Self::Ptr(name) | Self::Dname(name) => name.fmt(f),
            Self::Mx { preference, exchange } => write!(f, "{preference} {exchange}"),
            Self::Srv { priority, weight, port, target } => write!(f, "{priority} {weight} {port} {target}"),
            Self::Soa(soa) => write!(
                f,
                "{} {} {} {} {} {} {}",
                soa.mname, soa.rname, soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum
            ),
            Self::Txt(strings) => write_strings(*strings, f),
            Self::Unknown(octets) => {
                write!(f, "\\# {}", octets.len())?;
                if !octets.is_empty() {
                    f.write_char(' ')?;
                }
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

fn write_strings(strings: Strings<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, string) in strings.enumerate() {
        f.write_str(if index == 0 { "\"" } else { " \"" })?;
        for &octet in string {
            match octet {
                b'"' | b'\\' => write!(f, "\\{}", char::from(octet))?,
                0x20..=0x7e => f.write_char(octet.into())?,
                _ => write!(f, "\\{octet:03}")?,
            }
        }
        f.write_char('"')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_units() {
        assert_eq!(parse_ttl(b"1h30m"), Some(5400));
        assert_eq!(parse_ttl(b"86400"), Some(86_400));
        for bad in ["", "h", "1x", "99999999999", "4000w", "2147483648"] {
            assert_eq!(parse_ttl(bad.as_bytes()), None, "{bad}");
        }
    }
}
