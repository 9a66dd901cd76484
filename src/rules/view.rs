//! A request as the rules see it: the target decoded the way an origin would, the client's address folded.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::RequestHead;

/// One request, decoded once for all rules.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) head: &'a RequestHead<'a>,
    pub(super) client: IpAddr,
    /// Percent-decoded once, dot segments and empty ones removed.
    pub(super) path: Cow<'a, [u8]>,
    /// Percent-decoded once, `+` as a space.
    pub(super) query: Cow<'a, [u8]>,
    /// Whether a dot segment tried to climb above the root.
    pub(super) escapes_root: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(head: &'a RequestHead<'a>) -> Self {
        let (path, escapes_root) = as_read(head.uri.path());
        let query = head.uri.query().unwrap_or_default().as_bytes();
        // In a form a plus is a space, an encoded plus is a plus; to a rule both are better off as a space.
        let query = match percent_decoded(query) {
            decoded if decoded.contains(&b'+') => {
                Cow::Owned(decoded.iter().map(|&octet| if octet == b'+' { b' ' } else { octet }).collect())
            }
            decoded => decoded,
        };
        Self { head, client: head.client.to_canonical(), path, query, escapes_root }
    }

    pub(super) fn is_double_encoded(&self) -> bool {
        [&self.path, &self.query].into_iter().any(|text| has_escape(text))
    }

    pub(super) fn has_control_characters(&self) -> bool {
        self.path.iter().chain(&*self.query).any(u8::is_ascii_control)
    }
}

/// A path as most origins read it, and whether it tried to climb above the root.
pub(crate) fn as_read(path: &str) -> (Cow<'_, [u8]>, bool) {
    resolved(percent_decoded(path.as_bytes()))
}

fn escape(text: &[u8], at: usize) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit as u8);
    match text.get(at..at + 3)? {
        [b'%', high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

fn has_escape(text: &[u8]) -> bool {
    (0..text.len()).any(|at| escape(text, at).is_some())
}

fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        let value = escape(text, at);
        decoded.push(value.unwrap_or(octet));
        at += if value.is_some() { 3 } else { 1 };
    }
    Cow::Owned(decoded)
}

/// Without dot segments (RFC 3986 §5.2.4), and whether a `..` had nothing left to remove. Runs of slashes are one, as many
/// servers read them: else `//admin` would pass a rule about `/admin`.
fn resolved(path: Cow<'_, [u8]>) -> (Cow<'_, [u8]>, bool) {
    if !path.windows(2).any(|pair| matches!(pair, b"/." | b"//")) {
        return (path, false);
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut escapes = false;
    let segments = path.strip_prefix(b"/").unwrap_or(&path);
    let mut directory = false;
    for segment in segments.split(|&octet| octet == b'/') {
        directory = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => escapes |= kept.pop().is_none(),
            other => kept.push(other),
        }
    }
    let mut clean = Vec::with_capacity(path.len());
    for segment in &kept {
        clean.push(b'/');
        clean.extend_from_slice(segment);
    }
    if directory || clean.is_empty() {
        clean.push(b'/');
    }
    (Cow::Owned(clean), escapes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use http::{HeaderMap, Method, Request, Version};

    /// Calls `look` with what the rules see of a request.
    pub(in crate::rules) fn seen<T>(
        request: http::request::Builder,
        client: &str,
        look: impl FnOnce(&View<'_>) -> T,
    ) -> T {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let head = RequestHead {
            client: client.parse().unwrap(),
            method: &parts.method,
            uri: &parts.uri,
            host: "www.example.org",
            headers: &parts.headers,
            version: Version::HTTP_11,
            is_tls: false,
        };
        look(&View::new(&head))
    }

    fn check(target: &str, path: &str, query: &str, escapes_root: bool) {
        seen(Request::get(target), "192.0.2.1", |view| {
            assert_eq!(String::from_utf8_lossy(&view.path), path, "{target}");
            assert_eq!(String::from_utf8_lossy(&view.query), query, "{target}");
            assert_eq!(view.escapes_root, escapes_root, "{target}");
        });
    }

    #[test]
    fn targets_are_seen_as_an_origin_sees_them() {
        check("/a/b", "/a/b", "", false);
        check("/a/./b/../c?x=1+2%2B3", "/a/c", "x=1 2 3", false);
        check("/%2e%2e/etc/passwd", "/etc/passwd", "", true);
        check("/a/b/..", "/a/", "", false);
        check("/..", "/", "", true);
        check("/a%2fb", "/a/b", "", false);
        check("/a//b/.", "/a/b/", "", false);
        check("//admin", "/admin", "", false);
        check("/%2f/admin//", "/admin/", "", false);
        check("/a//../..", "/", "", true);
        check("/100%", "/100%", "", false);
        check("/%zz%4", "/%zz%4", "", false);
    }

    #[test]
    fn a_second_encoding_is_told() {
        let told = |target: &str| seen(Request::get(target), "192.0.2.1", |view| view.is_double_encoded());
        assert!(told("/%252e%252e/x") && told("/?q=%2541") && !told("/%41?q=100%25"));
    }

    #[test]
    fn any_octets_are_seen_without_panic() {
        use proptest::prelude::*;
        proptest!(|(path in "/[%./a2eF+?]{0,40}")| {
            if let Ok(uri) = path.parse::<http::Uri>() {
                let head = RequestHead {
                    client: IpAddr::from([192, 0, 2, 1]), method: &Method::GET, uri: &uri, host: "h",
                    headers: &HeaderMap::new(), version: Version::HTTP_11, is_tls: false,
                };
                let view = View::new(&head);
                // What is left has nothing to resolve, so looking again changes nothing.
                prop_assert!(view.path.starts_with(b"/"));
                let again = resolved(Cow::Borrowed(&view.path));
                prop_assert_eq!((&*again.0, again.1), (&*view.path, false));
            }
        });
    }
}
