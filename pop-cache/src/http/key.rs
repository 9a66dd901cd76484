//! The primary cache key: the normalised target URI (RFC 9111 §2, RFC 3986 §6.2.2).

use core::fmt;
use std::cell::Cell;

use http::{HeaderMap, Uri};

use super::facts::Hosts;

/// Longest key in bytes; a request with a longer one is passed through.
pub const MAX_KEY_BYTES: usize = 16 * 1024;

/// The primary key of a response: `scheme://authority/path?query`, normalised.
///
/// - scheme and host in lower case, a default port and trailing dots of the host removed;
/// - percent-encoding in upper case, unreserved characters decoded; `%2F` and other reserved ones stay as they are;
/// - dot segments removed, encoded ones too; an empty path is `/`;
/// - the query stays as it is, but for its percent-encoding; `?` alone stays different from no query.
///
/// The cache forwards the same normalised target that it keys, so that no two readings of one path share a key.
///
/// ```
/// use pop_cache::http::CacheKey;
///
/// let key = CacheKey::from_uri(&"HTTPS://www.Example.org:443/a/%2e%2E/%7euser?q=%e4".parse()?)?;
/// assert_eq!(key.as_str(), "https://www.example.org/~user?q=%E4");
/// assert_eq!(key.host(), "www.example.org");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Box<str>);

/// Why a request has no cache key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// No authority in the URI and no single, valid `Host`.
    NoAuthority,
    /// Absolute-form authority and `Host` name different hosts.
    AuthorityMismatch,
    /// The key would have this many bytes, more than [`MAX_KEY_BYTES`].
    TooLong(usize),
}

impl fmt::Display for KeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAuthority => formatter.write_str("no authority in the target and no single valid Host"),
            Self::AuthorityMismatch => formatter.write_str("the target and Host name different authorities"),
            Self::TooLong(bytes) => {
                write!(formatter, "key of {bytes} bytes, at most {MAX_KEY_BYTES} are taken")
            }
        }
    }
}

impl std::error::Error for KeyError {}

impl CacheKey {
    /// The key of an absolute URI.
    ///
    /// # Errors
    /// The URI has no authority, or is too long.
    pub fn from_uri(uri: &Uri) -> Result<Self, KeyError> {
        Self::of(uri, &HeaderMap::new(), "http")
    }

    /// The key of a request: the authority from an absolute-form target, else from `Host`; the scheme from the
    /// target, else `default_scheme`. One allocation.
    ///
    /// # Errors
    /// There is no authority, or two different ones, or the key is too long.
    pub fn of(uri: &Uri, headers: &HeaderMap, default_scheme: &str) -> Result<Self, KeyError> {
        let mut key = KeyBuffer::of_thread();
        key.write(uri, Hosts::of(headers), default_scheme)?;
        Ok(Self::from_raw(key.as_str()))
    }

    /// A key made by the operator's own rule. Keep it unambiguous: two requests with one key share an answer.
    #[must_use]
    pub fn from_raw(key: impl Into<Box<str>>) -> Self {
        Self(key.into())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without its port, empty for a raw key that is no URI.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rfind(':') {
            Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
            _ => authority,
        }
    }

    fn authority(&self) -> &str {
        let Some((_, rest)) = self.0.split_once("://") else { return "" };
        &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]
    }

    /// Path and query, `/` at least; empty for a raw key that is no URI.
    #[must_use]
    pub fn target(&self) -> &str {
        let Some((_, rest)) = self.0.split_once("://") else { return "" };
        rest.find(['/', '?']).map_or("/", |start| &rest[start..])
    }

    /// This key with another target, made by a query filter.
    #[must_use]
    pub fn with_target(&self, target: &str) -> Self {
        let kept = self.0.len() - self.target().len();
        Self([&self.0[..kept], target].concat().into_boxed_str())
    }
}

/// The key of the request at hand, in a buffer of the thread's: a hit allocates none.
#[derive(Debug)]
pub(crate) struct KeyBuffer(Buffer);

#[derive(Debug, Default)]
struct Buffer {
    text: String,
    /// How much of the text is scheme and host as the last origin-form request had them; zero if they were not plain.
    /// The next request for that host, most often of the same connection, keeps it.
    kept: usize,
}

thread_local! {
    static BUFFER: Cell<Buffer> = const { Cell::new(Buffer { text: String::new(), kept: 0 }) };
}

impl Drop for KeyBuffer {
    fn drop(&mut self) {
        // A thread that ends has no buffer any more, and needs none.
        let _ = BUFFER.try_with(|buffer| buffer.set(core::mem::take(&mut self.0)));
    }
}

impl KeyBuffer {
    pub(crate) fn of_thread() -> Self {
        Self(BUFFER.try_with(Cell::take).unwrap_or_default())
    }

    /// Writes the key of a request; see [`CacheKey::of`].
    #[inline]
    pub(crate) fn write(
        &mut self,
        uri: &Uri,
        hosts: Hosts<'_>,
        default_scheme: &str,
    ) -> Result<(), KeyError> {
        let target = uri.path_and_query().map_or("/", |path| path.as_str());
        // Most requests name one host, once or twice in the same letters, and it is a name and nothing else.
        let name = match (uri.authority(), hosts) {
            (None, Hosts::One(host)) => Some(host.as_bytes()),
            (Some(named), Hosts::None) => Some(named.as_str().as_bytes()),
            (Some(named), Hosts::One(host)) if *named.as_str() == *host => Some(host.as_bytes()),
            _ => None,
        };
        let scheme = uri.scheme_str().filter(|scheme| !scheme.is_empty()).unwrap_or(default_scheme);
        if name.is_some_and(|name| self.0.keeps(scheme, name)) {
            let bytes = self.0.kept + target.len();
            if bytes > MAX_KEY_BYTES {
                return Err(KeyError::TooLong(bytes));
            }
            self.0.text.truncate(self.0.kept);
            push_target(&mut self.0.text, target);
            return Ok(());
        }
        self.0.kept = 0;
        self.0.text.clear();
        write(&mut self.0.text, uri, hosts, default_scheme)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Takes a key of the operator's instead.
    #[cfg(feature = "tower")]
    pub(crate) fn replace(&mut self, key: CacheKey) {
        self.0 = Buffer { text: key.0.into_string(), kept: 0 };
    }
}

impl Buffer {
    /// Makes the text begin with scheme and host; `false` if the host is one to be looked at closely.
    fn keeps(&mut self, scheme: &str, host: &[u8]) -> bool {
        let kept =
            self.text.as_bytes().get(..self.kept).and_then(|kept| kept.strip_prefix(scheme.as_bytes()));
        if kept.and_then(|kept| kept.strip_prefix(b"://")) == Some(host) {
            return true;
        }
        let Some(host) = plain_host(host) else { return false };
        self.text.clear();
        for part in [scheme, "://", host] {
            self.text.push_str(part);
        }
        self.text.make_ascii_lowercase();
        self.kept = self.text.len();
        true
    }
}

/// The general case of a key, written into an empty text.
fn write(key: &mut String, uri: &Uri, hosts: Hosts<'_>, default_scheme: &str) -> Result<(), KeyError> {
    debug_assert!(key.is_empty());
    let target = uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = uri.scheme_str().filter(|scheme| !scheme.is_empty()).unwrap_or(default_scheme);
    let authority = authority(uri, hosts, scheme)?;
    let bytes = scheme.len() + 3 + authority.len() + target.len();
    if bytes > MAX_KEY_BYTES {
        return Err(KeyError::TooLong(bytes));
    }
    key.reserve(bytes);
    push_lowercase(key, scheme);
    key.push_str("://");
    push_authority(key, authority, scheme);
    push_target(key, target);
    Ok(())
}

/// A host of letters, digits, hyphens and dots within, perhaps with a port of its own, which needs no normalising but
/// for its case.
fn plain_host(host: &[u8]) -> Option<&str> {
    static PLAIN: [bool; 256] = table(b"-.");
    let end = host.iter().position(|&byte| !PLAIN[usize::from(byte)]).unwrap_or(host.len());
    let (name, port) = host.split_at(end);
    let has_plain_port = match port {
        [] => true,
        [b':', digits @ ..] => {
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && digits != b"80" && digits != b"443"
        }
        _ => false,
    };
    let is_plain = has_plain_port && name.last().is_some_and(|&last| last != b'.');
    if is_plain && host.len() <= MAX_KEY_BYTES { core::str::from_utf8(host).ok() } else { None }
}

impl core::borrow::Borrow<str> for CacheKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn authority<'a>(uri: &'a Uri, hosts: Hosts<'a>, scheme: &str) -> Result<&'a str, KeyError> {
    let host = match hosts {
        Hosts::None => None,
        Hosts::One(host) => Some(host.to_str().map_err(|_| KeyError::NoAuthority)?),
        Hosts::Several => return Err(KeyError::NoAuthority),
    };
    let named = uri.authority().map(|authority| authority.as_str());
    let chosen = match (named, host) {
        (Some(named), Some(host)) if !same_authority(named, host, scheme) => {
            return Err(KeyError::AuthorityMismatch);
        }
        (Some(named), _) => named,
        (None, Some(host)) => host,
        (None, None) => return Err(KeyError::NoAuthority),
    };
    let is_valid = has_shape(chosen) && chosen.bytes().all(|byte| AUTHORITY[usize::from(byte)]);
    if is_valid { Ok(chosen) } else { Err(KeyError::NoAuthority) }
}

/// `host [ ":" port ]`: a name or an address in brackets, and a port of digits, which may be none.
fn has_shape(authority: &str) -> bool {
    let (host, rest) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let has_port = match rest.strip_prefix(':') {
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()),
        None => rest.is_empty(),
    };
    has_port && !host.contains(['[', ']']) && !host.trim_end_matches('.').is_empty()
}

/// The bytes of `host [ ":" port ]` (RFC 3986 §3.2.2).
static AUTHORITY: [bool; 256] = table(b"-._~!$&'()*+,;=:[]%");

/// Letters, digits and `others`.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

fn same_authority(one: &str, other: &str, scheme: &str) -> bool {
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    let normal = |authority| {
        let mut text = String::new();
        push_authority(&mut text, authority, scheme);
        text
    };
    normal(one) == normal(other)
}

fn push_lowercase(key: &mut String, text: &str) {
    let start = key.len();
    key.push_str(text);
    key[start..].make_ascii_lowercase();
}

fn push_authority(key: &mut String, authority: &str, scheme: &str) {
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => (&authority[..colon], &authority[colon + 1..]),
        _ => (authority, ""),
    };
    push_lowercase(key, host.trim_end_matches('.'));
    let default = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
    if !port.is_empty() && port != default {
        key.push(':');
        key.push_str(port);
    }
}

/// Appends path and query, normalised. The common path has nothing to change and is copied after one look.
fn push_target(key: &mut String, target: &str) {
    if is_plain(target.as_bytes()) {
        key.push_str(target);
        return;
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = decode_unreserved(path);
    let root = key.len();
    for segment in path.strip_prefix('/').unwrap_or(&path).split('/') {
        match segment {
            "." => {}
            ".." => {
                let parent = key[root..].rfind('/').map_or(root, |slash| root + slash);
                key.truncate(parent);
            }
            segment => {
                key.push('/');
                key.push_str(segment);
            }
        }
    }
    // A path that ends in a dot segment names the folder, as "/a/." does "/a/".
    if key.len() == root || path.ends_with("/.") || path.ends_with("/..") {
        key.push('/');
    }
    if let Some(query) = query {
        key.push('?');
        key.push_str(&decode_unreserved(query));
    }
}

/// Whether a target needs no normalising: it begins with a slash, and has no escape and no dot that begins a segment.
fn is_plain(target: &[u8]) -> bool {
    let [b'/', rest @ ..] = target else { return false };
    // Two passes without an early end, several bytes at a time.
    let has_escape = rest.iter().fold(false, |found, &byte| found | (byte == b'%'));
    let has_dot_segment =
        target.iter().zip(rest).fold(false, |found, (&one, &next)| found | ((one == b'/') & (next == b'.')));
    !has_escape && !has_dot_segment
}

/// Decodes `%XX` of unreserved characters, writes the other escapes in upper case, leaves broken ones alone.
fn decode_unreserved(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    // Where the last percent sign stands that begins no escape: what is decoded must not make it one.
    let mut bare = None;
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        normal.push_str(&rest[..at]);
        rest = &rest[at..];
        let escape = rest.get(1..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(digits) = escape else {
            bare = Some(normal.len());
            normal.push('%');
            rest = &rest[1..];
            continue;
        };
        let completes = bare.is_some_and(|bare| normal.len() - bare <= 2);
        let value = u8::from_str_radix(digits, 16).expect("two hexadecimal digits");
        if !completes && (value.is_ascii_alphanumeric() || b"-._~".contains(&value)) {
            normal.push(char::from(value));
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        rest = &rest[3..];
    }
    normal.push_str(rest);
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::HOST;

    fn key(uri: &str) -> String {
        CacheKey::from_uri(&uri.parse().expect("a URI")).expect("a key").to_string()
    }

    #[test]
    fn equivalent_uris_share_a_key() {
        assert_eq!(key("http://A.example:80"), "http://a.example/");
        assert_eq!(key("http://a.example./x"), "http://a.example/x");
        assert_eq!(key("http://a.example:8080/x"), "http://a.example:8080/x");
        assert_eq!(key("https://[2001:DB8::1]:443/x"), "https://[2001:db8::1]/x");
        assert_eq!(key("http://a/b/../c/./d"), "http://a/c/d");
        assert_eq!(key("http://a/../../c/.."), "http://a/");
        assert_eq!(key("http://a/b/."), "http://a/b/");
        assert_eq!(key("http://a/%41%2d%2F%c3"), "http://a/A-%2F%C3");
        assert_eq!(key("http://a/b%2"), "http://a/b%2");
        assert_eq!(key("http://a/x.y/.z"), "http://a/x.y/.z");
        assert_eq!(key("http://a//b"), "http://a//b");
    }

    #[test]
    fn different_resources_do_not() {
        assert_ne!(key("http://a/b"), key("https://a/b"));
        assert_ne!(key("http://a/b"), key("http://a/b?"));
        assert_ne!(key("http://a/b/c"), key("http://a/b%2Fc"));
        assert_ne!(key("http://a/b"), key("http://a/B"));
        assert_ne!(key("http://a/?x=1&y=2"), key("http://a/?y=2&x=1"));
    }

    #[test]
    fn the_short_way_to_a_key_leads_where_the_long_one_does() {
        for host in [
            "a.example",
            "A.EXAMPLE",
            "a.example.",
            "a.example:80",
            "a.example:8080",
            "a:443",
            "a:",
            "a:x",
            "a.:1",
            "1.2.3.4",
            "a_b",
            "x",
            ".",
            "",
        ] {
            for target in ["/", "/x?y", "/%41/../b", "/."] {
                let mut headers = HeaderMap::new();
                headers.insert(HOST, HeaderValue::from_static(host));
                let short = CacheKey::of(&target.parse().expect("a target"), &headers, "http");
                let long = format!("http://{host}{target}")
                    .parse()
                    .ok()
                    .and_then(|uri| CacheKey::from_uri(&uri).ok());
                assert_eq!(short.ok(), long, "{host}{target}");
            }
        }
    }

    #[test]
    fn what_a_buffer_keeps_of_one_request_is_in_no_key_of_another() {
        let authorities =
            ["a.example", "b.example", "a.example:8080", "A.example", "a.example.", ".", "/a.example"];
        let mut kept = KeyBuffer::of_thread();
        for turn in 0..authorities.len().pow(3) {
            let host = authorities[(turn * turn + turn / 7) % authorities.len()];
            let scheme = ["http", "https"][turn % 2];
            let path = ["/", "/%41?b", "/x"][turn % 3];
            let absolute = format!("{}://{host}{path}", ["http", "HTTPS", "ftp"][turn % 5 % 3]);
            let target = if turn % 4 < 2 { absolute.parse() } else { path.parse() };
            let Ok(target) = target else { continue };
            let mut headers = HeaderMap::new();
            if turn % 4 > 0 {
                headers.insert(HOST, HeaderValue::from_static(host));
            }
            let mut fresh = KeyBuffer(Buffer::default());
            let expected = fresh.write(&target, Hosts::of(&headers), scheme);
            assert_eq!(kept.write(&target, Hosts::of(&headers), scheme), expected);
            if expected.is_ok() {
                assert_eq!(kept.as_str(), fresh.as_str());
            }
        }
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for uri in [
            "http://a/b/../%2e./c",
            "http://a/%252e",
            "http://A:80/.%2E/x?%7e",
            "http://a/%%64A",
            "http://a/?%4%31",
            "http://a/%zz%41",
        ] {
            assert_eq!(key(&key(uri)), key(uri));
        }
    }

    #[test]
    fn one_authority_or_none() {
        let of = |uri: &str, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            CacheKey::of(&uri.parse().expect("a URI"), &headers, "https").map(|key| key.to_string())
        };
        assert_eq!(of("/x", &["a.example"]).as_deref(), Ok("https://a.example/x"));
        assert_eq!(of("http://a.example/x", &["A.example:80"]).as_deref(), Ok("http://a.example/x"));
        assert_eq!(of("/x", &[]), Err(KeyError::NoAuthority));
        assert_eq!(of("/x", &["a", "b"]), Err(KeyError::NoAuthority));
        assert_eq!(of("/x", &["a/b"]), Err(KeyError::NoAuthority));
        assert_eq!(of("/x", &["user@a"]), Err(KeyError::NoAuthority));
        assert_eq!(of("/x", &[":80"]), Err(KeyError::NoAuthority));
        for host in [".:80", "a::", "a:b", "a:80:80", "[::1", "[::1]x", "a[b]", "[]", "[::1]:x"] {
            assert_eq!(of("/x", &[host]), Err(KeyError::NoAuthority), "{host}");
        }
        assert_eq!(of("/x", &["[::1]:8080"]).as_deref(), Ok("https://[::1]:8080/x"));
        assert_eq!(of("/x", &["a..:443"]).as_deref(), Ok("https://a/x"));
        assert_eq!(of("http://a/x", &["b"]), Err(KeyError::AuthorityMismatch));
        let long = format!("/{}", "x".repeat(MAX_KEY_BYTES));
        assert!(matches!(of(&long, &["a"]), Err(KeyError::TooLong(_))));
    }
}
