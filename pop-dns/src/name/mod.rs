//! Domain names: the view into a message, the owned form, hashing.
//!
//! RFC 1035 §3.1 and §4.1.4, RFC 4343 (case), RFC 4034 §6.1 (canonical order). What stands in place of a name is
//! checked when the name is met; what its pointer leads to is checked as it is read, so a name that nobody reads
//! costs nothing. Three rules bound the reading of one name, whatever the octets say, and so make the work on a
//! message linear in it: a pointer leads strictly before the run of labels it ends and not into the header; a
//! name has at most 255 octets; it follows at most [`POINTERS_MAX`] pointers.

#[cfg(feature = "alloc")]
mod buf;
mod hash;
mod labels;
mod lower;

#[cfg(feature = "std")]
pub(crate) use buf::canonical_order;
#[cfg(feature = "alloc")]
pub use buf::{NameBuf, NameError};
#[cfg(feature = "alloc")]
pub(crate) use buf::{parse_name, unescape};
pub use hash::HashKey;
pub(crate) use hash::{lower_in_place, lower_word};
pub use labels::Labels;
pub(crate) use lower::LowerName;

use core::fmt::{self, Write as _};

use crate::ParseError;
use crate::header::HEADER_OCTETS;

/// Octets of a name in wire format, the root's zero included (RFC 1035 §2.3.4).
pub const NAME_OCTETS_MAX: usize = 255;
/// Octets of a label.
pub const LABEL_OCTETS_MAX: usize = 63;
/// Labels of a name, the root left out: 127 of one octet each.
pub const LABELS_MAX: usize = 127;
/// Pointers one name may follow: one before each of its labels and one before the root. A compressor that adds
/// a label a name makes chains this long; a longer one leads to no label at all on the way.
pub const POINTERS_MAX: u8 = 128;

/// A name inside a message, perhaps compressed, or alone in a buffer: where it begins. Nothing is copied.
///
/// Reading its labels can fail behind a pointer. Comparison ignores case (RFC 4343); a name that turns out broken
/// equals nothing, not even itself.
#[derive(Clone, Copy)]
pub struct Name<'m> {
    message: &'m [u8],
    offset: u16,
}

impl<'m> Name<'m> {
    /// The root.
    pub const ROOT: Name<'static> = Name { message: &[0], offset: 0 };

    /// Checks what stands at `offset`, up to the root or to a pointer, and returns the name with the offset
    /// behind it. `message` has at most 65,535 octets.
    ///
    /// # Errors
    /// [`ParseError`] with the offset of what is wrong: a label type that is neither a length nor a pointer, a
    /// pointer that does not point strictly back, more than 255 octets, the end of the message.
    #[inline]
    pub fn parse(message: &'m [u8], offset: usize) -> Result<(Self, usize), ParseError> {
        if offset > usize::from(u16::MAX) {
            return Err(ParseError::Truncated { offset });
        }
        let end = skip(message, offset)?;
        Ok((Self { message, offset: offset as u16 }, end))
    }

    /// A name in wire format without compression that fills `wire` exactly.
    ///
    /// # Errors
    /// [`ParseError`] as for [`Name::parse`]; [`ParseError::Compressed`] for a pointer.
    pub fn from_wire(wire: &'m [u8]) -> Result<Self, ParseError> {
        match skip_plain(wire, 0)? {
            end if end == wire.len() => Ok(Self { message: wire, offset: 0 }),
            _ => Err(ParseError::NameTooLong { offset: 0 }),
        }
    }

    /// A name of which the caller has checked what stands in place.
    #[inline]
    pub(crate) const fn checked(message: &'m [u8], offset: usize) -> Self {
        Self { message, offset: offset as u16 }
    }

    /// The message, and where the name begins in it.
    #[inline]
    pub(crate) const fn place(&self) -> (&'m [u8], usize) {
        (self.message, self.offset as usize)
    }

    /// Where the name begins in its message.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset as usize
    }

    /// The labels from left to right, the root left out. Ends after an error.
    #[inline]
    #[must_use]
    pub fn labels(&self) -> Labels<'m> {
        Labels::new(self.message, self.offset())
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.labels().next().is_none()
    }

    /// The octets of this name, where it stands without compression; `None` if a pointer ends it.
    #[must_use]
    pub fn as_wire(&self) -> Option<&'m [u8]> {
        let end = skip_plain(self.message, self.offset()).ok()?;
        self.message.get(self.offset()..end)
    }

    /// Octets of the whole name without compression.
    ///
    /// # Errors
    /// [`ParseError`] where a pointer leads to what is no name.
    pub fn wire_octets(&self) -> Result<usize, ParseError> {
        self.labels().try_fold(1, |octets, label| Ok(octets + 1 + label?.len()))
    }

    /// Writes the name without compression, lower-cased, and returns its octets. `buffer` is filled from the front.
    ///
    /// # Errors
    /// [`ParseError`] where a pointer leads to what is no name.
    pub fn write_lower(&self, buffer: &mut [u8; NAME_OCTETS_MAX]) -> Result<usize, ParseError> {
        let octets = self.write_wire(buffer)?;
        lower_in_place(&mut buffer[..octets]);
        Ok(octets)
    }

    /// Writes the name without compression, as it is spelled, and returns its octets.
    ///
    /// # Errors
    /// [`ParseError`] where a pointer leads to what is no name.
    pub fn write_wire(&self, buffer: &mut [u8; NAME_OCTETS_MAX]) -> Result<usize, ParseError> {
        let mut length = 0;
        for label in self.labels() {
            let label = label?;
            // `Labels` keeps a name within 255 octets, the root's included.
            buffer[length] = label.len() as u8;
            buffer[length + 1..=length + label.len()].copy_from_slice(label);
            length += label.len() + 1;
        }
        buffer[length] = 0;
        Ok(length + 1)
    }

    /// An owned copy, with the case it came in.
    ///
    /// # Errors
    /// [`ParseError`] where a pointer leads to what is no name.
    #[cfg(feature = "alloc")]
    pub fn to_name_buf(&self) -> Result<NameBuf, ParseError> {
        let mut wire = [0; NAME_OCTETS_MAX];
        let octets = self.write_wire(&mut wire)?;
        Ok(NameBuf::from_checked(wire[..octets].into()))
    }
}

impl PartialEq for Name<'_> {
    /// Case-insensitive (RFC 4343).
    fn eq(&self, other: &Self) -> bool {
        let (mut one, mut two) = (self.labels(), other.labels());
        loop {
            match (one.next(), two.next()) {
                (None, None) => return true,
                (Some(Ok(one)), Some(Ok(two))) if one.eq_ignore_ascii_case(two) => {}
                _ => return false,
            }
        }
    }
}

/// Presentation format with the final dot; where a pointer leads astray, `<broken>` stands for the rest.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut root = true;
        for label in self.labels() {
            root = false;
            match label {
                Ok(label) => write_label(label, f)?,
                Err(_) => return f.write_str("<broken>"),
            }
        }
        if root { f.write_char('.') } else { Ok(()) }
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A label and the dot behind it in presentation format: special and unprintable octets escaped.
pub(crate) fn write_label(label: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for &octet in label {
        match octet {
            b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                f.write_char('\\')?;
                f.write_char(octet.into())?;
            }
            0x21..=0x7e => f.write_char(octet.into())?,
            _ => write!(f, "\\{octet:03}")?,
        }
    }
    f.write_char('.')
}

/// The offset behind what stands in place of the name at `start`: labels up to the root or to a pointer.
#[inline]
pub(crate) fn skip(message: &[u8], start: usize) -> Result<usize, ParseError> {
    let mut at = start;
    loop {
        let Some(&length) = message.get(at) else { return Err(ParseError::Truncated { offset: at }) };
        match length {
            0 => return Ok(at + 1),
            1..=63 => at += 1 + usize::from(length),
            0xC0.. => {
                let Some(&low) = message.get(at + 1) else {
                    return Err(ParseError::Truncated { offset: at + 1 });
                };
                let target = pointer_target(length, low);
                if target >= start || target < HEADER_OCTETS {
                    return Err(ParseError::Pointer { offset: at, target });
                }
                return Ok(at + 2);
            }
            _ => return Err(ParseError::LabelType { offset: at }),
        }
        if at - start >= NAME_OCTETS_MAX {
            return Err(ParseError::NameTooLong { offset: start });
        }
    }
}

/// As [`skip`], where a pointer may not stand.
pub(crate) fn skip_plain(message: &[u8], start: usize) -> Result<usize, ParseError> {
    let mut at = start;
    loop {
        let Some(&length) = message.get(at) else { return Err(ParseError::Truncated { offset: at }) };
        match length {
            0 => return Ok(at + 1),
            1..=63 => at += 1 + usize::from(length),
            0xC0.. => return Err(ParseError::Compressed { offset: at }),
            _ => return Err(ParseError::LabelType { offset: at }),
        }
        if at - start >= NAME_OCTETS_MAX {
            return Err(ParseError::NameTooLong { offset: start });
        }
    }
}

/// Where a pointer of these two octets leads.
#[inline]
pub(crate) fn pointer_target(high: u8, low: u8) -> usize {
    usize::from(high & 0x3F) << 8 | usize::from(low)
}
