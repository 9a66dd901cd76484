//! Byte ranges (RFC 9110 §14).

use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};

/// At most this many ranges in one request; a request for more is answered as if it had no `Range`, which RFC 9110
/// §14.2 allows and which keeps an answer linear in the stored bytes.
pub const MAX_RANGES: usize = 16;

/// One `int-range` or `suffix-range` of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    From(u64),
    FromTo(u64, u64),
    Suffix(u64),
}

/// The byte ranges that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    specs: Vec<Spec>,
}

/// First and last byte, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte, at least `first`.
    pub last: u64,
}

impl ByteRange {
    /// The number of bytes, at least 1.
    #[must_use]
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }
}

/// What ranges come to for a representation of known length.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// These parts, in the order asked for: 206.
    Parts(Vec<ByteRange>),
    /// None of them lies inside: 416.
    Unsatisfiable,
    /// Overlapping beyond reason: the whole is sent, 200.
    Whole,
}

impl Ranges {
    /// Reads `Range`. `None` where there is none to act on: absent, several lines, another unit, malformed, more
    /// than [`MAX_RANGES`].
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(RANGE).iter();
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        let text = line.to_str().ok()?;
        let (unit, set) = text.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut specs = Vec::with_capacity(1);
        for member in set.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            if specs.len() == MAX_RANGES {
                return None;
            }
            specs.push(spec(member)?);
        }
        (!specs.is_empty()).then_some(Self { specs })
    }

    /// The parts of a representation of `length` bytes.
    pub fn resolve(&self, length: u64) -> Resolved {
        let parts: Vec<ByteRange> = self.specs.iter().filter_map(|spec| spec.within(length)).collect();
        let asked: u128 = parts.iter().map(|part| u128::from(part.length())).sum();
        if parts.is_empty() {
            Resolved::Unsatisfiable
        } else if parts.len() > 1 && asked > u128::from(length) {
            Resolved::Whole
        } else {
            Resolved::Parts(parts)
        }
    }

    /// The one range inside a representation of `length` bytes, if exactly one is asked for.
    #[must_use]
    pub fn sole(&self, length: u64) -> Option<ByteRange> {
        match self.specs.as_slice() {
            [spec] => spec.within(length),
            _ => None,
        }
    }
}

impl Spec {
    fn within(self, length: u64) -> Option<ByteRange> {
        let end = length.checked_sub(1)?;
        match self {
            Self::From(first) => (first <= end).then_some(ByteRange { first, last: end }),
            Self::FromTo(first, last) => (first <= end).then_some(ByteRange { first, last: last.min(end) }),
            Self::Suffix(0) => None,
            Self::Suffix(count) => Some(ByteRange { first: length.saturating_sub(count), last: end }),
        }
    }
}

fn spec(member: &str) -> Option<Spec> {
    let (first, last) = member.split_once('-')?;
    match (first, last) {
        ("", suffix) => Some(Spec::Suffix(number(suffix)?)),
        (first, "") => Some(Spec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::FromTo(first, last))
        }
    }
}

/// Digits only, clamped to `u64::MAX` on overflow: such a position lies beyond every representation.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// `Content-Range` of a 206: the part, and the length of the whole where the sender knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes in this response.
    pub range: ByteRange,
    /// The length of the whole representation.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// Reads the field; `None` where it is absent, malformed, invalid (RFC 9110 §14.4) or in another unit.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
        let (unit, rest) = text.split_once(' ')?;
        let (range, complete) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = ByteRange { first: number(first)?, last: number(last)? };
        let complete = if complete == "*" { None } else { Some(number(complete)?) };
        let is_valid = unit.eq_ignore_ascii_case("bytes")
            && range.first <= range.last
            && range.last < u64::MAX
            && complete.is_none_or(|complete| range.last < complete);
        is_valid.then_some(Self { range, complete })
    }

    /// The value of the field.
    #[must_use]
    pub fn to_value(self) -> HeaderValue {
        let ByteRange { first, last } = self.range;
        let text = match self.complete {
            Some(complete) => format!("bytes {first}-{last}/{complete}"),
            None => format!("bytes {first}-{last}/*"),
        };
        HeaderValue::try_from(text).expect("digits and punctuation are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(range: &str, length: u64) -> Option<Resolved> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(range).expect("a field value"));
        Some(Ranges::parse(&headers)?.resolve(length))
    }

    fn parts(ranges: &[(u64, u64)]) -> Option<Resolved> {
        Some(Resolved::Parts(ranges.iter().map(|&(first, last)| ByteRange { first, last }).collect()))
    }

    #[test]
    fn every_form() {
        assert_eq!(resolve("bytes=0-1", 10), parts(&[(0, 1)]));
        assert_eq!(resolve("bytes=1-", 10), parts(&[(1, 9)]));
        assert_eq!(resolve("BYTES=-3", 10), parts(&[(7, 9)]));
        assert_eq!(resolve("bytes=-30", 10), parts(&[(0, 9)]));
        assert_eq!(resolve("bytes=5-99999999999999999999999", 10), parts(&[(5, 9)]));
        assert_eq!(resolve("bytes= 0-0 , ,-1", 10), parts(&[(0, 0), (9, 9)]));
        assert_eq!(resolve("bytes=10-", 10), Some(Resolved::Unsatisfiable));
        assert_eq!(resolve("bytes=-0", 10), Some(Resolved::Unsatisfiable));
        assert_eq!(resolve("bytes=0-", 0), Some(Resolved::Unsatisfiable));
        assert_eq!(resolve("bytes=0-9,0-9", 10), Some(Resolved::Whole));
        for malformed in
            ["bytes", "bytes=", "bytes=-", "bytes=2-1", "bytes=a-b", "bytes=+1-2", "lines=0-1", "bytes=1"]
        {
            assert_eq!(resolve(malformed, 10), None, "{malformed}");
        }
    }

    #[test]
    fn the_number_of_ranges_is_bounded() {
        let list = |count| format!("bytes={}", vec!["0-0"; count].join(","));
        assert!(resolve(&list(MAX_RANGES), 100).is_some());
        assert_eq!(resolve(&list(MAX_RANGES + 1), 100), None);
    }

    #[test]
    fn content_range_round_trips_and_refuses_nonsense() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(text).expect("a field value"));
            ContentRange::parse(&headers)
        };
        for text in ["bytes 4-9/10", "bytes 0-0/*"] {
            assert_eq!(parse(text).expect("valid").to_value(), text);
        }
        for text in [
            "bytes */10",
            "bytes 4-3/10",
            "bytes 4-10/10",
            "items 0-1/2",
            "bytes 0-18446744073709551615/*",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
