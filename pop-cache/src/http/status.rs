//! The `Cache-Status` field (RFC 9211).

use core::fmt::{self, Write};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};

/// Why a request went to the origin: the `fwd` parameter (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forward {
    /// The cache was told to leave this request alone.
    Bypass,
    /// The method's semantics ask for it.
    Method,
    /// Nothing is stored for the URI.
    UriMiss,
    /// Something is stored for the URI, but no response that this request selects.
    VaryMiss,
    /// The request's cache directives ask for it.
    Request,
    /// The stored response is stale or must be validated.
    Stale,
    /// Only a part of what is asked for is stored.
    Partial,
}

impl Forward {
    /// The token of the field.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// How a cache handled one request: one member of the `Cache-Status` list. The body of every response has it
/// (`CacheBody::cache_status`), so that logs and metrics need not parse the field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatus {
    /// Why the request was forwarded; `None` is a hit.
    pub forward: Option<Forward>,
    /// The status the origin answered, where it is not the response's own.
    pub forward_status: Option<StatusCode>,
    /// The rest of the freshness lifetime in seconds, negative for a stale response.
    pub ttl: Option<i64>,
    /// Whether the response was stored.
    pub stored: bool,
    /// Whether the request waited for another's fetch, and if so whether it could use what that brought.
    pub collapsed: Option<bool>,
    /// The cache key, where the operator wants it shown.
    pub key: Option<String>,
    /// A word of ours about the reason.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// Whether the answer came from the cache without asking the origin.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        self.forward.is_none()
    }

    /// The member, led by the cache's name, which must be a `sf-token` or a quoted `sf-string`.
    #[must_use]
    pub fn to_value(&self, name: &str) -> HeaderValue {
        // 64 bytes hold every hit; the longest of the others are rare.
        let mut text = String::with_capacity(name.len() + 64);
        text.push_str(name);
        self.write(&mut text).expect("a String takes everything");
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("pop"))
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        match self.forward {
            None => text.push_str("; hit"),
            Some(forward) => {
                text.push_str("; fwd=");
                text.push_str(forward.as_str());
            }
        }
        if let Some(status) = self.forward_status {
            write!(text, "; fwd-status={}", status.as_u16())?;
        }
        if let Some(ttl) = self.ttl {
            text.push_str("; ttl=");
            push_integer(text, ttl);
        }
        if self.stored {
            text.push_str("; stored");
        }
        match self.collapsed {
            None => {}
            Some(true) => text.push_str("; collapsed"),
            Some(false) => text.push_str("; collapsed=?0"),
        }
        if let Some(key) = &self.key {
            text.push_str("; key=");
            push_quoted(text, key);
        }
        if let Some(detail) = self.detail {
            text.push_str("; detail=");
            text.push_str(detail);
        }
        Ok(())
    }

    /// Appends the member to the list in `headers`: caches nearer the origin stand first (RFC 9211 §2).
    pub fn append_to(&self, headers: &mut HeaderMap, name: &str) {
        headers.append(CACHE_STATUS, self.to_value(name));
    }
}

/// `Cache-Status`.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Decimal digits without the formatting machinery, which costs more than the rest of a hit's field.
fn push_integer(text: &mut String, value: i64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        text.push('-');
    }
    text.push_str(core::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}

fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars().filter(|character| (' '..='~').contains(character)) {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

/// The form of a cache's name in the field: a token as it is, everything else as a quoted string; `None` for names
/// that are empty or not visible ASCII.
#[must_use]
pub fn cache_identifier(name: &str) -> Option<String> {
    let is_token = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*')
        && name.bytes().all(|byte| super::directive::is_token_byte(byte) || b":/".contains(&byte));
    let is_visible = !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_token {
        return Some(name.to_owned());
    }
    is_visible.then(|| {
        let mut quoted = String::new();
        push_quoted(&mut quoted, name);
        quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfv::{List, Parser};

    #[test]
    fn members_are_structured_fields() {
        let hit = CacheStatus { ttl: Some(376), ..CacheStatus::default() };
        assert_eq!(hit.to_value("pop"), "pop; hit; ttl=376");
        let miss = CacheStatus {
            forward: Some(Forward::UriMiss),
            forward_status: Some(StatusCode::OK),
            ttl: Some(i64::MIN + 1),
            stored: true,
            collapsed: Some(true),
            key: Some("a\"\\\u{e9}".into()),
            detail: Some("no-store"),
        };
        let value = miss.to_value(&cache_identifier("fra 1").expect("visible"));
        let shown = "\"fra 1\"; fwd=uri-miss; fwd-status=200; ttl=-9223372036854775807; stored; collapsed; key=\"a\\\"\\\\\"; detail=no-store";
        assert_eq!(value, shown);
        let stale = CacheStatus { ttl: Some(-5), ..CacheStatus::default() };
        assert!(Parser::new(stale.to_value("pop").as_bytes()).parse::<List>().is_ok());
    }

    #[test]
    fn names_are_tokens_or_strings() {
        assert_eq!(cache_identifier("fra1.pop-edge").as_deref(), Some("fra1.pop-edge"));
        assert_eq!(cache_identifier("1st").as_deref(), Some("\"1st\""));
        assert_eq!(cache_identifier(""), None);
        assert_eq!(cache_identifier("a\nb"), None);
    }
}
