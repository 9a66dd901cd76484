//! For whom is this request? One canonical authority, or a refusal (RFC 9112 §3.2, RFC 9110 §7.2, §7.4).

use std::borrow::Cow;

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use crate::config::{Methods, Settings};
use crate::exchange::Denial;

const BAD: StatusCode = StatusCode::BAD_REQUEST;

/// The canonical host of a request whose head is unambiguous: lower case, no port, no trailing dot.
///
/// Borrows where the client wrote it canonically, as clients do.
pub(crate) fn host<'a>(parts: &'a Parts, settings: &Settings) -> Result<Cow<'a, str>, Denial> {
    judge_method(&parts.method, settings)?;
    if let Some(target) = parts.uri.path_and_query()
        && target.as_str().len() > settings.uri_bytes
    {
        return Err(Denial::new(StatusCode::URI_TOO_LONG, "uri-too-long").closing());
    }
    if parts.version < Version::HTTP_2 {
        judge_transfer_encoding(&parts.headers)?;
    }
    if !settings.underscores && parts.headers.keys().any(|name| name.as_str().contains('_')) {
        return Err(Denial::new(BAD, "underscore-in-field-name").closing());
    }
    authority(&parts.uri, &parts.headers)
}

fn judge_method(method: &Method, settings: &Settings) -> Result<(), Denial> {
    let passes = match &settings.methods {
        Methods::Any => method != Method::CONNECT,
        Methods::Listed(methods) => methods.contains(method),
    };
    if passes { Ok(()) } else { Err(Denial::new(StatusCode::METHOD_NOT_ALLOWED, "method").closing()) }
}

/// Exactly `chunked`, once: every other value is read differently by somebody.
fn judge_transfer_encoding(headers: &HeaderMap) -> Result<(), Denial> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(());
    }
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let first = values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if first && values.next().is_none() {
        return Ok(());
    }
    Err(Denial::new(BAD, "transfer-encoding").closing())
}

fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Cow<'a, str>, Denial> {
    let mut fields = headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (None, _) => None,
        (Some(field), None) => Some(field.to_str().map_err(|_| Denial::new(BAD, "bad-host").closing())?),
        (Some(_), Some(_)) => return Err(Denial::new(BAD, "two-hosts").closing()),
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
    let end = text.bytes().take_while(is_plain).count();
    if end == text.len() && (1..=253).contains(&end) && !text.ends_with('.') {
        return Ok(Authority { host: Cow::Borrowed(text), port: "" });
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
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let found = host(&parts, settings);
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
    fn methods() {
        let (cdn, security) = (Settings::preset(Preset::Cdn), Settings::preset(Preset::Security));
        check_with(&cdn, "CONNECT", "a:443", &[("host", "a")], Err("method"));
        check_with(&cdn, "get", "/", &[("host", "a")], Ok("a"));
        check_with(&security, "get", "/", &[("host", "a")], Err("method"));
        check_with(&security, "PURGE", "/", &[("host", "a")], Err("method"));
    }
}
