//! What goes to the origin, and what comes back, at the level of fields.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::{HeaderMap, Version};

use crate::exchange::Trail;

/// Fields of one hop (RFC 9110 §7.6.1), and what clients could use to say something to the origin that no cache key
/// has: another host, another method, another path, another address.
static SCRUBBED: [HeaderName; 22] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("http2-settings"),
];

/// Makes a client's fields ours: nothing of the hop, nothing scrubbed, `Via`, and who asked.
pub(super) fn to_origin(headers: &mut HeaderMap, version: Version, pop: &str, host: &str, trail: &Trail) {
    let takes_trailers = takes_trailers(headers);
    remove_hop_by_hop(headers);
    for name in &SCRUBBED {
        headers.remove(name);
    }
    headers.remove(TE);
    if takes_trailers {
        // Of this hop, and said anew for the next (RFC 9110 §10.1.4).
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    append_via(headers, version, pop);
    let scheme = if trail.is_tls() { "https" } else { "http" };
    headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(scheme));
    let client = trail.client();
    if let Ok(value) = HeaderValue::try_from(client.to_string()) {
        headers.insert(HeaderName::from_static("x-forwarded-for"), value);
    }
    if let Ok(value) = HeaderValue::try_from(forwarded(client, host, scheme)) {
        headers.insert(FORWARDED, value);
    }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut codings =
        headers.get_all(TE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// RFC 7239 §4.
fn forwarded(client: IpAddr, host: &str, scheme: &str) -> String {
    let mut text = String::with_capacity(64);
    // A String takes everything.
    let _ = match client {
        IpAddr::V4(address) => write!(text, "for={address}"),
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\""),
    };
    let _ = write!(text, ";host=\"{host}\";proto={scheme}");
    text
}

/// RFC 9110 §7.6.3.
fn append_via(headers: &mut HeaderMap, version: Version, pop: &str) {
    let version = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        Version::HTTP_3 => "3.0",
        _ => "1.1",
    };
    if let Ok(value) = HeaderValue::try_from(format!("{version} {pop}")) {
        headers.append(VIA, value);
    }
}

/// Fields of the connection, and those it lists.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let listed: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in listed {
            // The framing and the host are never up to a client.
            if name != HOST && name != CONTENT_LENGTH {
                headers.remove(name);
            }
        }
    }
    for name in [CONNECTION, UPGRADE, TRAILER, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// A response whose framing has one reading only, with the fields of the hop taken out. Else `Err`.
///
/// hyper refuses differing lengths itself; here are the gaps it leaves (RFC 9112 §6.3).
pub(super) fn from_origin(headers: &mut HeaderMap) -> Result<(), Ambiguous> {
    if headers.contains_key(TRANSFER_ENCODING) {
        if headers.contains_key(CONTENT_LENGTH) || !is_chunked(headers) {
            return Err(Ambiguous);
        }
    } else if headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Ambiguous);
    }
    let is_timed = headers.contains_key(HeaderName::from_static("keep-alive"));
    remove_hop_by_hop(headers);
    if is_timed {
        headers.remove("keep-alive");
    }
    headers.remove("proxy-connection");
    Ok(())
}

/// A response that two readers could end at different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

fn is_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let first = values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    first && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn nothing_unkeyed_reaches_the_origin() {
        let mut headers = map(&[
            ("connection", "close, x-secret, host"),
            ("host", "a.example"),
            ("x-secret", "1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
            ("accept", "*/*"),
        ]);
        let trail = Trail::new("2001:db8::1".parse().expect("an address"), true, crate::clock::Moment::now());
        to_origin(&mut headers, Version::HTTP_11, "fra1", "a.example", &trail);
        let expected = map(&[
            ("host", "a.example"),
            ("accept", "*/*"),
            ("via", "1.1 fra1"),
            ("x-forwarded-for", "2001:db8::1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=\"[2001:db8::1]\";host=\"a.example\";proto=https"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn responses_with_two_readings_are_refused() {
        let check = |fields, expected| {
            let mut headers = map(fields);
            assert_eq!(from_origin(&mut headers).is_ok(), expected, "{fields:?}");
        };
        check(&[("content-length", "5")], true);
        check(&[("transfer-encoding", "chunked")], true);
        check(&[("transfer-encoding", "Chunked")], true);
        check(&[("transfer-encoding", "gzip, chunked")], false);
        check(&[("transfer-encoding", "chunked, chunked")], false);
        check(&[("transfer-encoding", "identity")], false);
        check(&[("transfer-encoding", "chunked"), ("content-length", "5")], false);
    }
}
