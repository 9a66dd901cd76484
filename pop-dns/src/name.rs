//! A domain name inside a message.
//!
//! RFC 1035 §3.1 and §4.1.4, RFC 4343 (case), RFC 4034 §6.1 (canonical order). A compression pointer must point
//! strictly before the part of the name that it continues, so a chain of pointers ends, and a name takes at most
//! 128 steps to walk.

use core::fmt::{self, Write as _};

#[cfg(feature = "alloc")]
use crate::NameBuf;
use crate::ParseError;

/// Octets of a name in wire format, the root's zero included (RFC 1035 §2.3.4).
pub const NAME_OCTETS_MAX: usize = 255;
/// Octets of a label.
pub const LABEL_OCTETS_MAX: usize = 63;

/// A name inside a message: where it begins. Nothing is copied; compression pointers are followed on the way.
#[derive(Clone, Copy)]
pub struct Name<'m> {
    message: &'m [u8],
    offset: usize,
}

impl<'m> Name<'m> {
    /// Checks the name at `offset` and returns it with the offset behind it. Walks it once.
    ///
    /// # Errors
    /// [`ParseError`] with the offset of what is wrong: a label type that is neither a length nor a pointer, a
    /// pointer that does not point strictly back, more than 255 octets, the end of the message.
    pub fn parse(message: &'m [u8], offset: usize) -> Result<(Self, usize), ParseError> {
        let mut position = offset;
        let mut end = None;
        // Where the run of labels at hand began: pointers have to point before it.
        let mut run = offset;
        let mut octets = 1;
        loop {
            let length = *message.get(position).ok_or(ParseError::Truncated { offset: position })?;
            match length {
                0 => return Ok((Self { message, offset }, end.unwrap_or(position + 1))),
                1..=63 => {
                    octets += usize::from(length) + 1;
                    if octets > NAME_OCTETS_MAX {
                        return Err(ParseError::NameTooLong { offset });
                    }
                    position += usize::from(length) + 1;
                }
                192.. => {
                    let low =
                        *message.get(position + 1).ok_or(ParseError::Truncated { offset: position + 1 })?;
                    let target = usize::from(length & 63) << 8 | usize::from(low);
                    if target >= run || target < crate::header::HEADER_OCTETS {
                        return Err(ParseError::Pointer { offset: position, target });
                    }
                    end = end.or(Some(position + 2));
                    (position, run) = (target, target);
                }
                _ => return Err(ParseError::LabelType { offset: position }),
            }
        }
    }

    /// The labels from left to right, the root left out.
    #[must_use]
    pub fn labels(&self) -> Labels<'m> {
        Labels { message: self.message, position: self.offset }
    }

    /// Writes the name without compression, lower-cased, and returns its octets. `buffer` is filled from the front.
    pub fn write_lower(&self, buffer: &mut [u8; NAME_OCTETS_MAX]) -> usize {
        let mut length = 0;
        for label in self.labels() {
            buffer[length] = label.len() as u8;
            for (to, from) in buffer[length + 1..].iter_mut().zip(label) {
                *to = from.to_ascii_lowercase();
            }
            length += label.len() + 1;
        }
        buffer[length] = 0;
        length + 1
    }

    /// Writes the name without compression, as it is spelled, and returns its octets.
    pub fn write_wire(&self, buffer: &mut [u8; NAME_OCTETS_MAX]) -> usize {
        let mut length = 0;
        for label in self.labels() {
            buffer[length] = label.len() as u8;
            buffer[length + 1..=length + label.len()].copy_from_slice(label);
            length += label.len() + 1;
        }
        buffer[length] = 0;
        length + 1
    }

    /// An owned copy, with the case it came in.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_name_buf(&self) -> NameBuf {
        let mut wire = alloc::vec::Vec::with_capacity(64);
        for label in self.labels() {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        NameBuf::from_checked(wire.into())
    }
}

impl PartialEq for Name<'_> {
    /// Case-insensitive (RFC 4343).
    fn eq(&self, other: &Self) -> bool {
        let (mut one, mut two) = (self.labels(), other.labels());
        loop {
            match (one.next(), two.next()) {
                (None, None) => return true,
                (Some(one), Some(two)) if one.eq_ignore_ascii_case(two) => {}
                _ => return false,
            }
        }
    }
}

impl Eq for Name<'_> {}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_presentation(self.labels(), f)
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The labels of a name, each 1 to 63 octets.
#[derive(Clone, Debug)]
pub struct Labels<'m> {
    pub(crate) message: &'m [u8],
    pub(crate) position: usize,
}

impl<'m> Iterator for Labels<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        // The name was checked when it was made; a `?` here is for the reader's peace.
        loop {
            let length = usize::from(*self.message.get(self.position)?);
            if length >= 192 {
                let low = usize::from(*self.message.get(self.position + 1)?);
                self.position = (length & 63) << 8 | low;
                continue;
            }
            let label = self.message.get(self.position + 1..self.position + 1 + length)?;
            if length == 0 {
                return None;
            }
            self.position += length + 1;
            return Some(label);
        }
    }
}

/// Presentation format: a dot behind each label, special and unprintable octets escaped.
pub(crate) fn write_presentation<'a>(
    labels: impl Iterator<Item = &'a [u8]>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut root = true;
    for label in labels {
        root = false;
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
        f.write_char('.')?;
    }
    if root { f.write_char('.') } else { Ok(()) }
}
