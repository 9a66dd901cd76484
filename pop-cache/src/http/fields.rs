//! Which fields are stored, forwarded and updated (RFC 9110 §7.6.1, RFC 9111 §3.1, §3.2).

use http::HeaderMap;
use http::header::{
    AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::directive::ResponseDirectives;

/// Fields that concern one connection or one proxy, never the stored response.
static HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes the fields of one hop: those listed in `Connection`, then the well-known ones. Used on both requests
/// that are forwarded and responses that are stored or passed on.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let listed: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        for name in listed {
            // A sender that lists end-to-end framing or identity is confused or hostile: those stay.
            if name != CONTENT_LENGTH && name != http::header::HOST {
                headers.remove(name);
            }
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Removes the fields of one hop from a request that is passed on, all but `TE: trailers`, which says only that trailers
/// are welcome: this cache passes them on (RFC 9110 §6.5.1, §10.1.4).
#[cfg(feature = "tower")]
pub(crate) fn remove_hop_by_hop_of_request(headers: &mut HeaderMap) {
    let welcomes_trailers = headers.get_all(TE).iter().any(|line| {
        line.as_bytes()
            .split(|&byte| byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    remove_hop_by_hop(headers);
    if welcomes_trailers {
        headers.insert(TE, http::HeaderValue::from_static("trailers"));
    }
}

/// Makes the fields of a response that has just arrived fit to be passed on and stored: those of the last hop go, and
/// where `Date` is missing or no date the time of arrival stands in for it (RFC 9110 §6.6.1).
#[cfg(feature = "tower")]
pub(crate) fn receive(headers: &mut HeaderMap, arrival: std::time::SystemTime) {
    remove_hop_by_hop(headers);
    let date =
        headers.get(http::header::DATE).and_then(|value| super::date::parse_date(value.as_bytes(), arrival));
    if date.is_none() {
        headers.insert(http::header::DATE, super::date::date_field(arrival));
    }
}

/// Removes what must not be stored: the fields of one hop and those that `no-cache="…"` and `private="…"` name.
pub fn remove_unstorable(headers: &mut HeaderMap, directives: &ResponseDirectives) {
    remove_hop_by_hop(headers);
    for name in directives.no_cache.fields().iter().chain(directives.private.fields()) {
        headers.remove(name);
    }
}

/// Fields that describe the stored bytes, which an update does not change: their label must stay with them (RFC 9111 §3.2,
/// "fields necessary to ensure integrity of the stored response").
static OF_THE_BYTES: [HeaderName; 5] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
];

/// Updates stored fields from a 304 or from a 200 answer to HEAD (RFC 9111 §3.2): each field of the update replaces
/// all stored lines of that name, except those that describe the message or the stored bytes themselves. `Age`
/// counts anew, so a stored one goes.
pub fn update_stored(stored: &mut HeaderMap, update: &HeaderMap) {
    let mut update = update.clone();
    remove_hop_by_hop(&mut update);
    stored.remove(AGE);
    for name in update.keys() {
        if OF_THE_BYTES.contains(name) {
            continue;
        }
        stored.remove(name);
        for value in update.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
}

/// The bytes a field map takes in memory: names, values, and the map's own slots.
pub fn weight_of_fields(headers: &HeaderMap) -> usize {
    /// A `HeaderMap` bucket (hash, links, name, value) and its index slot, on a 64-bit machine.
    const SLOT_BYTES: usize = 112;
    let text: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    text + headers.capacity() * SLOT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn connection_takes_its_fields_along() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("connection", "a, b, content-length"), ("a", "1"), ("b", "2"), ("c", "3")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["c", "content-length"]);
    }

    #[test]
    fn an_update_replaces_lines_but_not_framing() {
        let mut stored = HeaderMap::new();
        stored.append("a", HeaderValue::from_static("1"));
        stored.append("a", HeaderValue::from_static("2"));
        stored.insert("b", HeaderValue::from_static("kept"));
        stored.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        let mut new = HeaderMap::new();
        new.append("a", HeaderValue::from_static("3"));
        new.insert(CONTENT_LENGTH, HeaderValue::from_static("10"));
        update_stored(&mut stored, &new);
        assert_eq!(stored.get_all("a").iter().collect::<Vec<_>>(), ["3"]);
        assert_eq!(stored["b"], "kept");
        assert_eq!(stored[CONTENT_LENGTH], "5");
    }
}
