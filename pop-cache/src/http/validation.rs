//! Validators and conditional requests (RFC 9110 §8.8, §13; RFC 9111 §4.3).

use std::time::SystemTime;

use http::header::{
    CONTENT_LENGTH, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::date;

/// What the conditions of a request ask of a stored response that may otherwise be used.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precondition {
    /// Send the response.
    Proceed,
    /// The client has it already: send 304.
    NotModified,
}

/// Evaluates `If-None-Match`, else `If-Modified-Since`, against a stored response (RFC 9111 §4.3.2).
///
/// Where no `Last-Modified` is stored its `Date` is compared, and without that the time it arrived. Conditions count
/// only for stored 2xx responses (RFC 9110 §13.2.1). Two look-ups when there is no condition; no allocation.
pub fn precondition(
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    response_time: SystemTime,
) -> Precondition {
    let has_none_match = request.contains_key(IF_NONE_MATCH);
    if !status.is_success() || (!has_none_match && !request.contains_key(IF_MODIFIED_SINCE)) {
        return Precondition::Proceed;
    }
    let is_held = if has_none_match {
        let stored = stored.get(ETAG).map(HeaderValue::as_bytes);
        request.get_all(IF_NONE_MATCH).iter().any(|line| none_match_holds(line.as_bytes(), stored))
    } else {
        modified_since(request, stored, response_time) == Some(false)
    };
    if is_held { Precondition::NotModified } else { Precondition::Proceed }
}

fn none_match_holds(line: &[u8], stored: Option<&[u8]>) -> bool {
    line.trim_ascii() == b"*"
        || stored.is_some_and(|stored| entity_tags(line).any(|tag| opaque(tag) == opaque(stored)))
}

/// Whether the stored response is newer than the client's date; `None` where that is no date.
fn modified_since(request: &HeaderMap, stored: &HeaderMap, response_time: SystemTime) -> Option<bool> {
    let mut lines = request.get_all(IF_MODIFIED_SINCE).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let since = date::parse_date(line.as_bytes(), response_time)?;
    let field = |name| {
        stored.get(name).and_then(|value: &HeaderValue| date::parse_date(value.as_bytes(), response_time))
    };
    let modified = field(LAST_MODIFIED).or_else(|| field(DATE)).unwrap_or(response_time);
    Some(modified > since)
}

/// Splits a list of entity tags at commas outside of quotes. A tag is opaque: malformed ones are compared whole.
fn entity_tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|tag| !tag.is_empty())
}

/// A tag without its weakness, for the weak comparison (RFC 9110 §8.8.3.2).
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The strong entity tag of a response, if it has one: the kind that lets parts be combined (RFC 9111 §3.4).
#[must_use]
pub fn strong_tag(headers: &HeaderMap) -> Option<&HeaderValue> {
    let tag = headers.get(ETAG)?;
    (tag.as_bytes().first() == Some(&b'"') && tag.len() >= 2).then_some(tag)
}

/// `If-Range` (RFC 9110 §13.1.5): true when it is absent or names the stored representation by a strong validator.
#[must_use]
pub fn if_range_holds(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(wanted) = request.get(IF_RANGE) else { return true };
    if wanted.as_bytes().contains(&b'"') {
        return strong_tag(stored) == Some(wanted);
    }
    // A date is a strong validator only when it is exact and at least a second older than the response.
    let Some(modified) = stored.get(LAST_MODIFIED).filter(|modified| *modified == wanted) else {
        return false;
    };
    let parse = |value: &HeaderValue| date::parse_date(value.as_bytes(), SystemTime::UNIX_EPOCH);
    match (parse(modified), stored.get(DATE).and_then(parse)) {
        (Some(modified), Some(date)) => modified < date,
        _ => false,
    }
}

/// Whether the request has conditions that only an origin can evaluate (RFC 9111 §4.3.2).
#[must_use]
pub fn is_for_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Makes a request ask about the stored response (RFC 9111 §4.3.1): its validators replace the client's conditions,
/// and it asks for the whole.
pub fn make_conditional(request: &mut HeaderMap, stored: &HeaderMap) {
    make_unconditional(request);
    if let Some(tag) = stored.get(ETAG) {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.get(LAST_MODIFIED) {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
}

/// Removes the client's conditions and its range, so that the answer is a whole representation.
pub fn make_unconditional(request: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.remove(name);
    }
}

/// Whether a 304 is about the stored response we asked about (RFC 9111 §4.3.4): it names no other entity tag, and
/// where tags are silent no other modification date.
#[must_use]
pub fn is_same(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    match (stored.get(ETAG), not_modified.get(ETAG)) {
        (Some(stored), Some(new)) => return opaque(stored.as_bytes()) == opaque(new.as_bytes()),
        (None, Some(_)) => return false,
        (_, None) => {}
    }
    match (stored.get(LAST_MODIFIED), not_modified.get(LAST_MODIFIED)) {
        (Some(stored), Some(new)) => stored == new,
        _ => true,
    }
}

/// Whether a 200 answer to HEAD agrees with a stored response to GET, so that it may update it (RFC 9111 §4.3.5).
#[must_use]
pub fn head_agrees(stored: &HeaderMap, head: &HeaderMap, stored_bytes: Option<u64>) -> bool {
    let same = |name| match (stored.get(&name), head.get(&name)) {
        (Some(stored), Some(head)) => stored == head,
        (None, Some(_)) if name == ETAG => false,
        _ => true,
    };
    let length = head.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let same_length = length.is_none() || stored_bytes.is_none() || length == stored_bytes;
    same(ETAG) && same(LAST_MODIFIED) && same_length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn is_held(request: &[(&'static str, &'static str)], stored: &[(&'static str, &'static str)]) -> bool {
        let received =
            date::parse_date(b"Sun, 06 Nov 1994 08:49:37 GMT", SystemTime::UNIX_EPOCH).expect("a date");
        precondition(&headers(request), StatusCode::OK, &headers(stored), received)
            == Precondition::NotModified
    }

    #[test]
    fn entity_tags_in_lists() {
        let stored = [("etag", "\"abc\"")];
        for list in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "\"x,\", \"abc\" , \"y\"", "*"] {
            assert!(is_held(&[("if-none-match", list)], &stored), "{list}");
        }
        for list in ["\"ab\"", "abc", "\"x, \"abc\"", "w/\"abc\"", ""] {
            assert!(!is_held(&[("if-none-match", list)], &stored), "{list}");
        }
        assert!(is_held(&[("if-none-match", "W/\"abc\"")], &[("etag", "W/\"abc\"")]));
        assert!(!is_held(&[("if-none-match", "\"abc\"")], &[]));
    }

    #[test]
    fn tags_come_before_dates() {
        let stored = [("etag", "\"abc\""), ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")];
        let newer = ("if-modified-since", "Sun, 06 Nov 1994 00:00:00 GMT");
        assert!(is_held(&[newer], &stored));
        assert!(!is_held(&[newer, ("if-none-match", "\"other\"")], &stored));
    }

    #[test]
    fn dates_fall_back_to_date_and_to_reception() {
        let asked = [("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert!(is_held(&asked, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]));
        assert!(!is_held(&asked, &[("date", "Sun, 06 Nov 1994 08:49:38 GMT")]));
        assert!(is_held(&asked, &[]));
        assert!(is_held(&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], &[]));
        assert!(!is_held(&[("if-modified-since", "yesterday")], &[]));
    }

    #[test]
    fn a_304_about_another_representation_updates_nothing() {
        let stored = headers(&[("etag", "\"a\""), ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")]);
        assert!(is_same(&stored, &headers(&[])));
        assert!(is_same(&stored, &headers(&[("etag", "\"a\"")])));
        assert!(!is_same(&stored, &headers(&[("etag", "\"b\"")])));
        assert!(!is_same(&stored, &headers(&[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")])));
    }

    #[test]
    fn if_range_needs_a_strong_validator() {
        let stored = headers(&[
            ("etag", "\"a\""),
            ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]);
        let holds = |value| if_range_holds(&headers(&[("if-range", value)]), &stored);
        assert!(holds("\"a\""));
        assert!(!holds("\"b\""));
        assert!(!holds("W/\"a\""));
        assert!(holds("Sat, 05 Nov 1994 08:49:37 GMT"));
        assert!(!holds("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(if_range_holds(&headers(&[]), &stored));
        assert!(!if_range_holds(&headers(&[("if-range", "W/\"a\"")]), &headers(&[("etag", "W/\"a\"")])));
    }
}
