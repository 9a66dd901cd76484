//! An owned name, and its presentation format.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use super::{LABEL_OCTETS_MAX, LABELS_MAX, NAME_OCTETS_MAX, Name, lower_in_place};

/// An owned name, uncompressed wire format, with the case it was given. Comparison and hashing ignore case;
/// the order is the canonical one of DNSSEC (RFC 4034 §6.1).
///
/// ```
/// use pop_dns::NameBuf;
///
/// let name: NameBuf = "www.Example.org.".parse()?;
/// assert_eq!(name, "WWW.example.ORG".parse()?);
/// assert!(name.is_within(&"example.org".parse()?));
/// assert_eq!(name.to_string(), "www.Example.org.");
/// assert_eq!("a\\.b.c".parse::<NameBuf>()?.labels().count(), 2);
/// # Ok::<(), pop_dns::NameError>(())
/// ```
#[derive(Clone)]
pub struct NameBuf(Box<[u8]>);

impl NameBuf {
    /// Octets that are known to be one name in wire format.
    pub(crate) fn from_checked(wire: Box<[u8]>) -> Self {
        debug_assert!(Self::from_wire(&wire).is_ok());
        Self(wire)
    }

    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// From wire format without compression.
    ///
    /// # Errors
    /// [`NameError`] if this is no name, or something follows it.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        if wire.len() > NAME_OCTETS_MAX {
            return Err(NameError::TooLong { octets: wire.len() });
        }
        let mut position = 0;
        loop {
            match wire.get(position) {
                Some(0) if position + 1 == wire.len() => return Ok(Self(wire.into())),
                Some(&length @ 1..=63) => position += usize::from(length) + 1,
                _ => return Err(NameError::Wire { offset: position }),
            }
        }
    }

    /// From presentation format; a name without a final dot is completed by `origin`.
    ///
    /// # Errors
    /// [`NameError`] on an empty or long label, a long name, or a bad escape.
    pub fn parse(text: &[u8], origin: Option<&Self>) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        parse_name(text, origin, &mut wire)?;
        Ok(Self(wire.into()))
    }

    /// Uncompressed wire format, the root's zero included.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from left to right, the root left out.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut rest = &*self.0;
        core::iter::from_fn(move || {
            let (&length, tail) = rest.split_first()?;
            let (label, tail) = tail.split_at(usize::from(length));
            rest = tail;
            (length > 0).then_some(label)
        })
    }

    /// This name as the view that reading and writing take.
    #[must_use]
    pub fn as_name(&self) -> Name<'_> {
        Name::checked(&self.0, 0)
    }

    /// `label` before this name.
    ///
    /// # Errors
    /// [`NameError`] where the label is empty or longer than 63 octets, or the name longer than 255.
    pub fn child(&self, label: &[u8]) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(1 + label.len() + self.0.len());
        wire.push(0);
        wire.extend_from_slice(label);
        close_label(&mut wire, 0)?;
        wire.extend_from_slice(&self.0);
        match wire.len() {
            ..=NAME_OCTETS_MAX => Ok(Self(wire.into())),
            octets => Err(NameError::TooLong { octets }),
        }
    }

    /// Whether this is `zone` or lies below it.
    #[must_use]
    pub fn is_within(&self, zone: &Self) -> bool {
        let Some(skip) = self.0.len().checked_sub(zone.0.len()) else { return false };
        // The tail has to begin at a label of ours.
        let mut position = 0;
        while position < skip {
            position += usize::from(self.0[position]) + 1;
        }
        position == skip && self.0[skip..].eq_ignore_ascii_case(&zone.0)
    }

    /// The name without its leftmost label; `None` above the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let length = usize::from(self.0[0]);
        (length > 0).then(|| Self(self.0[length + 1..].into()))
    }

    /// Whether the leftmost label is a lone asterisk (RFC 4592 §2.1.1).
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// The same name in lower case.
    #[must_use]
    pub fn to_lower(&self) -> Self {
        // Length octets are below 64, hence never letters.
        Self(self.0.to_ascii_lowercase().into())
    }
}

/// Appends a name in presentation format to `wire`; one without a final dot is completed by `origin`. The octets that
/// need no escape are copied label by label.
pub(crate) fn parse_name(text: &[u8], origin: Option<&NameBuf>, wire: &mut Vec<u8>) -> Result<(), NameError> {
    let begin = wire.len();
    if text == b"@" {
        wire.extend_from_slice(origin.ok_or(NameError::Empty)?.as_wire());
        return Ok(());
    }
    if text == b"." {
        wire.push(0);
        return Ok(());
    }
    wire.push(0);
    let mut start = begin;
    let mut position = 0;
    let mut absolute = false;
    while position < text.len() {
        let plain = text[position..].iter().take_while(|&&octet| octet != b'.' && octet != b'\\').count();
        wire.extend_from_slice(&text[position..position + plain]);
        position += plain;
        absolute = text.get(position) == Some(&b'.');
        if absolute {
            close_label(wire, start)?;
            start = wire.len();
            wire.push(0);
            position += 1;
        } else if position < text.len() {
            let (octet, taken) = unescape(&text[position..]).ok_or(NameError::Escape { offset: position })?;
            wire.push(octet);
            position += taken;
        }
    }
    // Behind a final dot, the length octet that was pushed is the root's.
    if !absolute {
        close_label(wire, start)?;
        wire.extend_from_slice(origin.map_or(&[0][..], |origin| origin.as_wire()));
    }
    match wire.len() - begin {
        ..=NAME_OCTETS_MAX => Ok(()),
        octets => Err(NameError::TooLong { octets }),
    }
}

fn close_label(wire: &mut [u8], start: usize) -> Result<(), NameError> {
    let length = wire.len() - start - 1;
    match u8::try_from(length) {
        Ok(0) => Err(NameError::Empty),
        Ok(octet) if length <= LABEL_OCTETS_MAX => {
            wire[start] = octet;
            Ok(())
        }
        _ => Err(NameError::LabelTooLong { octets: length }),
    }
}

/// One octet of presentation format: itself, `\X`, or `\DDD`; and how many octets of text it took.
pub(crate) fn unescape(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [b'\\', a @ b'0'..=b'9', rest @ ..] => {
            let [b @ b'0'..=b'9', c @ b'0'..=b'9', ..] = rest else { return None };
            let value = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            u8::try_from(value).ok().map(|octet| (octet, 4))
        }
        [b'\\', octet, ..] => Some((*octet, 2)),
        [b'\\'] | [] => None,
        [octet, ..] => Some((*octet, 1)),
    }
}

impl FromStr for NameBuf {
    type Err = NameError;

    /// Presentation format; a missing final dot is added.
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text.as_bytes(), None)
    }
}

impl PartialEq for NameBuf {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for NameBuf {}

impl Hash for NameBuf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut lower = [0; NAME_OCTETS_MAX];
        let lower = &mut lower[..self.0.len()];
        lower.copy_from_slice(&self.0);
        lower_in_place(lower);
        state.write(lower);
    }
}

impl PartialOrd for NameBuf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NameBuf {
    /// From the root down, each label as lower-case octets (RFC 4034 §6.1).
    fn cmp(&self, other: &Self) -> Ordering {
        canonical_order(&self.0, &other.0)
    }
}

/// The canonical order of two names in wire format without compression (RFC 4034 §6.1).
pub(crate) fn canonical_order(left: &[u8], right: &[u8]) -> Ordering {
    let (one, ours) = starts(left);
    let (two, theirs) = starts(right);
    for step in 1..=ours.min(theirs) {
        let one = label_at(left, one[ours - step]).iter().map(u8::to_ascii_lowercase);
        let two = label_at(right, two[theirs - step]).iter().map(u8::to_ascii_lowercase);
        match one.cmp(two) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    ours.cmp(&theirs)
}

/// Where the labels begin, from the left, and how many there are.
fn starts(wire: &[u8]) -> ([u8; LABELS_MAX], usize) {
    let (mut starts, mut count, mut at) = ([0; LABELS_MAX], 0, 0);
    while wire[at] > 0 {
        starts[count] = at as u8;
        count += 1;
        at += 1 + usize::from(wire[at]);
    }
    (starts, count)
}

fn label_at(wire: &[u8], start: u8) -> &[u8] {
    let start = usize::from(start);
    &wire[start + 1..=start + usize::from(wire[start])]
}

impl fmt::Display for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_name().fmt(f)
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// An empty label, or `@` without an origin.
    Empty,
    /// A label of more than 63 octets.
    LabelTooLong {
        /// Its octets.
        octets: usize,
    },
    /// A name of more than 255 octets.
    TooLong {
        /// Its octets.
        octets: usize,
    },
    /// A backslash that escapes nothing, or `\DDD` above 255.
    Escape {
        /// Where in the text.
        offset: usize,
    },
    /// Not the wire format of one name.
    Wire {
        /// Where.
        offset: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty label"),
            Self::LabelTooLong { octets } => {
                write!(f, "label of {octets} octets, at most {LABEL_OCTETS_MAX}")
            }
            Self::TooLong { octets } => write!(f, "name of {octets} octets, at most {NAME_OCTETS_MAX}"),
            Self::Escape { offset } => write!(f, "bad escape at {offset}, expected \\X or \\DDD up to 255"),
            Self::Wire { offset } => write!(f, "no name in wire format at {offset}"),
        }
    }
}

impl core::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Name, ParseError};
    use alloc::string::ToString;

    fn name(text: &str) -> NameBuf {
        text.parse().unwrap()
    }

    #[test]
    fn any_octet_survives_the_text() {
        for octet in 0..=255 {
            let wire = [3, octet, b'.', octet, 1, b'x', 0];
            let name = NameBuf::from_wire(&wire).unwrap();
            assert_eq!(NameBuf::parse(name.to_string().as_bytes(), None).unwrap().as_wire(), wire);
        }
    }

    #[test]
    fn limits_are_reached() {
        assert!("a".repeat(63).parse::<NameBuf>().is_ok());
        assert_eq!("a".repeat(64).parse::<NameBuf>(), Err(NameError::LabelTooLong { octets: 64 }));
        let long = "a.".repeat(127);
        assert_eq!(name(&long).as_wire().len(), 255);
        assert_eq!((long + "b").parse::<NameBuf>(), Err(NameError::TooLong { octets: 257 }));
        assert_eq!("a..b".parse::<NameBuf>(), Err(NameError::Empty));
        assert_eq!("a\\256".parse::<NameBuf>(), Err(NameError::Escape { offset: 1 }));
    }

    #[test]
    fn pointers_only_point_back() {
        let mut message = vec![0; 12];
        message.extend_from_slice(b"\x01a\x00\x01b\xc0\x0c\xc0\x0f\xc0\x15\xc0\x17");
        let parse = |offset| Name::parse(&message, offset).map(|(name, end)| (name.to_string(), end));
        assert_eq!(parse(12), Ok(("a.".into(), 15)));
        assert_eq!(parse(15), Ok(("b.a.".into(), 19)));
        assert_eq!(parse(19), Ok(("b.a.".into(), 21)));
        assert_eq!(parse(21), Err(ParseError::Pointer { offset: 21, target: 21 }));
        assert_eq!(parse(23), Err(ParseError::Pointer { offset: 23, target: 23 }));
    }

    #[test]
    fn canonical_order_of_rfc_4034() {
        let sorted =
            ["example", "a.example", "yljkjljk.a.example", "Z.a.example", "zABC.a.EXAMPLE", "z.example"];
        for pair in sorted.windows(2) {
            assert!(name(pair[0]) < name(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn within_needs_whole_labels() {
        assert!(name("www.example.org").is_within(&name("example.org")));
        assert!(name("example.org").is_within(&NameBuf::root()));
        assert!(!name("badexample.org").is_within(&name("example.org")));
    }
}
