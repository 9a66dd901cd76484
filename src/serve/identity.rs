//! For whom is this request? One canonical authority, or a refusal (RFC 9112 §3.2, RFC 9110 §7.2, §7.4).

use std::borrow::Cow;

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};

use crate::config::{Methods, Settings};
use crate::exchange::Denial;

const BAD: StatusCode = StatusCode::BAD_REQUEST;

/// The head of a request, as it was parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
        }
    }
}

/// The `Host` field of a head that nobody can read in two ways. One pass over its fields.
pub(crate) fn host_field<'a>(head: Head<'a>, settings: &Settings) -> Result<Option<&'a HeaderValue>, Denial> {
    judge_method(head.method, settings)?;
    if let Some(target) = head.uri.path_and_query()
        && target.as_str().len() > settings.uri_bytes
    {
        return Err(Denial::new(StatusCode::URI_TOO_LONG, "uri-too-long").closing());
    }
    let (mut hosts, mut encodings) = ((None, 0), (None, 0));
    let mut has_underscore = false;
    for (name, value) in head.headers {
        let text = name.as_str().as_bytes();
        match text.len() {
            4 if name == HOST => hosts = (Some(value), hosts.1 + 1),
            17 if name == TRANSFER_ENCODING => encodings = (Some(value), encodings.1 + 1),
            _ => has_underscore |= has_byte(text, b'_'),
        }
    }
    // Exactly `chunked`, once: every other value is read differently by somebody.
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if head.version < Version::HTTP_2
        && encodings.0.is_some_and(|value| encodings.1 > 1 || !is_chunked(value))
    {
        return Err(Denial::new(BAD, "transfer-encoding").closing());
    }
    if has_underscore && !settings.underscores {
        return Err(Denial::new(BAD, "underscore-in-field-name").closing());
    }
    if hosts.1 > 1 {
        return Err(Denial::new(BAD, "two-hosts").closing());
    }
    Ok(hosts.0)
}

/// Whether a short text has a byte, eight bytes at a time: names are too short for what searches long texts.
fn has_byte(text: &[u8], byte: u8) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let pattern = ONES * u64::from(byte);
    let (words, rest) = text.as_chunks::<8>();
    // A byte that becomes zero borrows from its highest bit; bytes above 127 are in no field name.
    let found = words.iter().fold(0, |found, word| {
        let word = u64::from_le_bytes(*word) ^ pattern;
        found | (word.wrapping_sub(ONES) & !word & (ONES << 7))
    });
    found != 0 || rest.contains(&byte)
}

fn judge_method(method: &Method, settings: &Settings) -> Result<(), Denial> {
    let passes = match &settings.methods {
        // Tunnels are not served, and an echo would show the fields that are added on the way (RFC 9110 §9.3.8).
        Methods::Any => !matches!(*method, Method::CONNECT | Method::TRACE),
        Methods::Listed(methods) => methods.contains(method),
    };
    if passes { Ok(()) } else { Err(Denial::new(StatusCode::METHOD_NOT_ALLOWED, "method").closing()) }
}

/// The canonical host of a request: lower case, no port, no trailing dot.
///
/// Borrows where the client wrote it canonically, as clients do.
pub(crate) fn host<'a>(uri: &'a Uri, field: Option<&'a HeaderValue>) -> Result<Cow<'a, str>, Denial> {
    let field = match field {
        Some(field) => Some(field.to_str().map_err(|_| Denial::new(BAD, "bad-host").closing())?),
        None => None,
    };
    let named = uri.authority().map(|authority| authority.as_str());
    match (named, field) {
        (None, None) => Err(Denial::new(BAD, "no-host").closing()),
        (None, Some(only)) | (Some(only), None) => canonical(only).map(|authority| authority.host),
        (Some(named), Some(field)) => {
            let is_https = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
            let (named, field) = (canonical(named)?, canonical(field)?);
            if named.host != field.host || named.port(is_https) != field.port(is_https) {
                return Err(Denial::new(BAD, "two-hosts").closing());
            }
            Ok(named.host)
        }
    }
}

struct Authority<'a> {
    host: Cow<'a, str>,
    port: &'a str,
}

impl Authority<'_> {
    fn port(&self, is_https: bool) -> &str {
        match self.port {
            "" if is_https => "443",
            "" => "80",
            port => port,
        }
    }
}

/// Splits and judges an authority: no user, a port of digits, a host of the characters that host names have.
fn canonical(text: &str) -> Result<Authority<'_>, Denial> {
    // As clients write it, in one look: letters in lower case, digits, hyphens and dots, and perhaps a port.
    let is_plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let (host, rest) = text.split_at(text.bytes().take_while(is_plain).count());
    let port = rest.strip_prefix(':').unwrap_or(rest);
    if (1..=253).contains(&host.len())
        && !host.ends_with('.')
        && port.len() <= 5
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Ok(Authority { host: Cow::Borrowed(host), port });
    }
    let bad = || Denial::new(BAD, "bad-host").closing();
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text[colon..].contains(']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, ""),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty()
        || host.len() > 253
        || port.len() > 5
        || !port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(bad());
    }
    if host.starts_with('[') {
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let address: std::net::Ipv6Addr = address.and_then(|address| address.parse().ok()).ok_or_else(bad)?;
        return Ok(Authority { host: Cow::Owned(format!("[{address}]")), port });
    }
    let mut has_upper = false;
    for byte in host.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {}
            b'A'..=b'Z' => has_upper = true,
            _ => return Err(bad()),
        }
    }
    let host = if has_upper { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) };
    Ok(Authority { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use http::Request;

    fn check(uri: &str, fields: &[(&str, &str)], expected: Result<&str, &str>) {
        check_with(&Settings::preset(Preset::Cdn), "GET", uri, fields, expected);
    }

    fn check_with(
        settings: &Settings,
        method: &str,
        uri: &str,
        fields: &[(&str, &str)],
        expected: Result<&str, &str>,
    ) {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let found = host_field(Head::of(&request), settings).and_then(|field| host(request.uri(), field));
        let found = found.as_deref().map_err(|denial| denial.reason);
        assert_eq!(found, expected, "{method} {uri} {fields:?}");
    }

    #[test]
    fn one_authority_or_none() {
        check("/", &[("host", "www.example.org")], Ok("www.example.org"));
        check("/", &[("host", "WWW.Example.org.:8080")], Ok("www.example.org"));
        check("/", &[("host", "[2001:DB8::1]:80")], Ok("[2001:db8::1]"));
        check("http://a.example/", &[("host", "A.example:80")], Ok("a.example"));
        check("https://a.example/", &[], Ok("a.example"));
        check("http://a.example/", &[("host", "b.example")], Err("two-hosts"));
        check("http://a.example/", &[("host", "a.example:81")], Err("two-hosts"));
        check("/", &[], Err("no-host"));
        check("/", &[("host", "a"), ("host", "a")], Err("two-hosts"));
        for bad in ["", "a b", "a/b", "user@a", "a:port", "a:123456", "[::1", "[zz]", "a\\b", "é"] {
            check("/", &[("host", bad)], Err("bad-host"));
        }
    }

    #[test]
    fn framing_and_names() {
        let host = ("host", "a");
        check("/", &[host, ("transfer-encoding", "chunked")], Ok("a"));
        check("/", &[host, ("transfer-encoding", "chunked, chunked")], Err("transfer-encoding"));
        check("/", &[host, ("transfer-encoding", "gzip, chunked")], Err("transfer-encoding"));
        let twice = [host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        check("/", &twice, Err("transfer-encoding"));
        check("/", &[host, ("content_length", "1")], Err("underscore-in-field-name"));
        check(&format!("/{}", "x".repeat(9000)), &[host], Err("uri-too-long"));
    }

    #[test]
    fn a_byte_is_found_wherever_it_is() {
        for length in 0..20 {
            let clean = vec![b'a'; length];
            assert!(!has_byte(&clean, b'_'));
            for at in 0..length {
                for other in [b'^', b'`', b'a', b'~', b'!'] {
                    let mut text = vec![other; length];
                    assert!(!has_byte(&text, b'_'));
                    text[at] = b'_';
                    assert!(has_byte(&text, b'_'), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn methods() {
        let (cdn, security) = (Settings::preset(Preset::Cdn), Settings::preset(Preset::Security));
        check_with(&cdn, "CONNECT", "a:443", &[("host", "a")], Err("method"));
        check_with(&cdn, "TRACE", "/", &[("host", "a")], Err("method"));
        check_with(&cdn, "get", "/", &[("host", "a")], Ok("a"));
        check_with(&security, "get", "/", &[("host", "a")], Err("method"));
        check_with(&security, "PURGE", "/", &[("host", "a")], Err("method"));
    }
}
