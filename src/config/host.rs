//! Hosts: the unit of configuration.

use std::fmt;
use std::net::IpAddr;

use super::Origin;

/// One site that a PoP serves: which requests are for it, and what belongs to it.
///
/// ```
/// use pop_edge::{Host, Origin};
///
/// let host = Host::new("*.example.org").path_prefix("/api/").origin(Origin::http("127.0.0.1:9000"));
/// # let _ = host;
/// ```
#[derive(Clone, Debug)]
pub struct Host {
    pub(crate) pattern: String,
    pub(crate) path_prefix: String,
    pub(crate) origin: Option<Origin>,
    #[cfg(feature = "cache")]
    pub(crate) cache: Option<super::CachePolicy>,
    #[cfg(feature = "ratelimit")]
    pub(crate) limit: Option<super::Limit>,
}

impl Host {
    /// Requests for `pattern`: a name (`www.example.org`), all names below one (`*.example.org`), or any (`*`). The
    /// most specific wins: a name before a wildcard, a longer wildcard before a shorter.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
            path_prefix: String::new(),
            origin: None,
            #[cfg(feature = "cache")]
            cache: None,
            #[cfg(feature = "ratelimit")]
            limit: None,
        }
    }

    /// Only requests whose normalised path begins with this; the longest prefix wins. Default: every path.
    #[must_use]
    pub fn path_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.path_prefix = prefix.into();
        self
    }

    /// Where its content comes from. Required.
    #[must_use]
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// A cache of its own. Default: the PoP's.
    #[cfg(feature = "cache")]
    #[must_use]
    pub fn cache(mut self, policy: super::CachePolicy) -> Self {
        self.cache = Some(policy);
        self
    }

    /// A limit of its own, asked after the PoP's.
    #[cfg(feature = "ratelimit")]
    #[must_use]
    pub fn limit(mut self, limit: super::Limit) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// A host pattern that has been judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exact(String),
    /// The name below which any name matches, without a leading dot; empty for `*`.
    Below(String),
}

/// A host pattern that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// It is empty, or longer than a name can be (253 octets).
    Length(usize),
    /// A character, at this offset, that no host name has.
    Character(usize),
    /// A star that is not a whole first label.
    Star,
}

impl fmt::Display for PatternError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(formatter, "expected 1 to 253 octets, found {length}"),
            Self::Character(offset) => {
                write!(
                    formatter,
                    "expected letters, digits, hyphens and dots, found another at offset {offset}"
                )
            }
            Self::Star => formatter.write_str("expected a star as the whole first label only"),
        }
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() || name.len() > 253 {
            return Err(PatternError::Length(text.len()));
        }
        if name == "*" {
            return Ok(Self::Below(String::new()));
        }
        let (rest, is_wild) = match name.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (&*name, false),
        };
        if rest.contains('*') {
            return Err(PatternError::Star);
        }
        let bare = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(rest);
        let is_address = bare.parse::<IpAddr>().is_ok();
        let wrong = rest
            .bytes()
            .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')));
        if let Some(offset) = wrong.filter(|_| !is_address) {
            return Err(PatternError::Character(offset + name.len() - rest.len()));
        }
        Ok(if is_wild { Self::Below(rest.into()) } else { Self::Exact(rest.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let exact = |text: &str| Ok(Pattern::Exact(text.into()));
        let below = |text: &str| Ok(Pattern::Below(text.into()));
        assert_eq!(Pattern::parse("WWW.Example.org."), exact("www.example.org"));
        assert_eq!(Pattern::parse("*.Example.org"), below("example.org"));
        assert_eq!(Pattern::parse("*"), below(""));
        assert_eq!(Pattern::parse("[::1]"), exact("[::1]"));
        assert_eq!(Pattern::parse(""), Err(PatternError::Length(0)));
        assert_eq!(Pattern::parse("a.*.b"), Err(PatternError::Star));
        assert_eq!(Pattern::parse("a/b"), Err(PatternError::Character(1)));
        assert_eq!(Pattern::parse("*.a:b"), Err(PatternError::Character(3)));
    }
}
