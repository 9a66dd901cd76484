//! RDATA from presentation format: tokens in, uncompressed wire format out (RFC 1035 §5, RFC 3597 §5).

use alloc::vec::Vec;
use core::fmt;

use super::base::Collector;
use crate::name::{parse_name, unescape};
use crate::{NameBuf, NameError, RecordType};

/// A token of a master file: its text with the escapes still in it, without the quotes around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// The text.
    pub octets: &'t [u8],
    /// Whether quotes stood around it.
    pub quoted: bool,
}

/// RDATA in presentation format that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RDataTextError {
    /// The record ends too early.
    Missing {
        /// What should have come.
        expected: &'static str,
    },
    /// Something else stands there.
    Unexpected {
        /// What should.
        expected: &'static str,
    },
    /// A name that cannot be.
    Name(NameError),
    /// Something follows the last field.
    Excess,
    /// More than 65,535 octets.
    TooLong,
    /// A type that has no presentation format but `\#` (RFC 3597 §5).
    Unsupported(RecordType),
}

impl fmt::Display for RDataTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { expected } => write!(f, "expected {expected}, found the end of the record"),
            Self::Unexpected { expected } => write!(f, "expected {expected}"),
            Self::Name(error) => error.fmt(f),
            Self::Excess => f.write_str("expected the end of the record"),
            Self::TooLong => f.write_str("expected at most 65535 octets of RDATA"),
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

/// Appends the RDATA of `rtype` that `tokens` spell to `wire`, names uncompressed and completed by `origin`. Every
/// type may also be spelled as RFC 3597 §5 has it, and then has to hold what the type says.
///
/// ```
/// use pop_dns::{NameBuf, RecordType, Token, parse_rdata};
///
/// let tokens = ["10", "mail"].map(|text| Token { octets: text.as_bytes(), quoted: false });
/// let mut wire = Vec::new();
/// parse_rdata(RecordType::MX, tokens, &"example".parse()?, &mut wire)?;
/// assert_eq!(wire, b"\x00\x0A\x04mail\x07example\x00");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RDataTextError`] with what was expected; `wire` then holds an unfinished part.
pub fn parse_rdata<'t>(
    rtype: RecordType,
    tokens: impl IntoIterator<Item = Token<'t>>,
    origin: &NameBuf,
    wire: &mut Vec<u8>,
) -> Result<(), RDataTextError> {
    let start = wire.len();
    let mut tokens = tokens.into_iter();
    let mut fields = Fields { tokens: &mut tokens, peeked: None, origin, field: "RDATA" };
    if fields.peek().is_some_and(|token| token.octets == b"\\#" && !token.quoted) {
        fields.generic(wire)?;
        let typed = super::RData::parse(rtype, &wire[start..], 0);
        typed.map_err(|_| RDataTextError::Unexpected { expected: "octets that fit the type" })?;
    } else {
        super::scan(rtype, &mut fields, wire)?;
    }
    if wire.len() - start > usize::from(u16::MAX) {
        return Err(RDataTextError::TooLong);
    }
    if fields.peek().is_some() { Err(RDataTextError::Excess) } else { Ok(()) }
}

/// The tokens of one record, read one after the other.
pub(crate) struct Fields<'a, 't> {
    tokens: &'a mut dyn Iterator<Item = Token<'t>>,
    peeked: Option<Token<'t>>,
    pub(crate) origin: &'a NameBuf,
    /// What is being read, for errors.
    field: &'static str,
}

type Scanned<T = ()> = Result<T, RDataTextError>;

impl<'t> Fields<'_, 't> {
    pub(crate) fn peek(&mut self) -> Option<Token<'t>> {
        if self.peeked.is_none() {
            self.peeked = self.tokens.next();
        }
        self.peeked
    }

    /// What comes next, for errors: the text up to a colon.
    pub(crate) fn expect(&mut self, what: &'static str) {
        self.field = what.split(':').next().unwrap_or(what);
    }

    pub(crate) fn more(&mut self) -> bool {
        self.peek().is_some()
    }

    pub(crate) fn token(&mut self) -> Scanned<Token<'t>> {
        let token = self.peeked.take().or_else(|| self.tokens.next());
        token.ok_or(RDataTextError::Missing { expected: self.field })
    }

    /// The next token as text that holds no escapes of note.
    pub(crate) fn word(&mut self, expected: &'static str) -> Scanned<&'t str> {
        core::str::from_utf8(self.token()?.octets).map_err(|_| RDataTextError::Unexpected { expected })
    }

    pub(crate) fn parsed<T: core::str::FromStr>(&mut self, expected: &'static str) -> Scanned<T> {
        let word = self.word(expected)?;
        let parsed = if word.starts_with('+') { None } else { word.parse().ok() };
        parsed.ok_or(RDataTextError::Unexpected { expected })
    }

    pub(crate) fn name(&mut self, wire: &mut Vec<u8>) -> Scanned {
        let token = self.token()?;
        Ok(parse_name(token.octets, Some(self.origin), wire)?)
    }

    /// The next token with its escapes resolved.
    pub(crate) fn unescaped(&mut self, wire: &mut Vec<u8>) -> Scanned {
        let token = self.token()?;
        unescape_all(token.octets, wire)
    }

    /// A character string: at most 255 octets behind their length.
    pub(crate) fn string(&mut self, wire: &mut Vec<u8>) -> Scanned {
        let at = wire.len();
        wire.push(0);
        self.unescaped(wire)?;
        wire[at] = u8::try_from(wire.len() - at - 1)
            .map_err(|_| RDataTextError::Unexpected { expected: "a string of at most 255 octets" })?;
        Ok(())
    }

    /// Digits over all tokens that are left.
    pub(crate) fn digits(&mut self, mut digits: Collector<'_>, expected: &'static str) -> Scanned {
        while self.more() {
            self.digits_of_one(&mut digits, expected)?;
        }
        digits.finish().ok_or(RDataTextError::Unexpected { expected })
    }

    /// Digits of one token.
    pub(crate) fn digits_of_one(&mut self, digits: &mut Collector<'_>, expected: &'static str) -> Scanned {
        let mut octets = self.token()?.octets.iter();
        octets.try_for_each(|&octet| digits.push(octet)).ok_or(RDataTextError::Unexpected { expected })
    }

    fn generic(&mut self, wire: &mut Vec<u8>) -> Scanned {
        const EXPECTED: &str = "as many hexadecimal octets as the length says";
        self.token()?;
        let octets = usize::from(self.parsed::<u16>("a length")?);
        let start = wire.len();
        self.digits(Collector::hex(wire), EXPECTED)?;
        if wire.len() - start == octets {
            Ok(())
        } else {
            Err(RDataTextError::Unexpected { expected: EXPECTED })
        }
    }
}

/// Resolves the escapes of `text`.
pub(crate) fn unescape_all(mut text: &[u8], out: &mut Vec<u8>) -> Scanned {
    while !text.is_empty() {
        let (octet, taken) =
            unescape(text).ok_or(RDataTextError::Unexpected { expected: "\\X or \\DDD up to 255" })?;
        out.push(octet);
        text = &text[taken..];
    }
    Ok(())
}

/// Seconds below 2^31, plain or in units as in `1h30m`.
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
