//! Cache groups (RFC 9875): responses of one origin that are invalidated together.

use http::HeaderMap;
use http::header::HeaderName;
use sfv::{BareItem, List, ListEntry, Parser};

use super::key::CacheKey;

/// At most this many groups are read from one field; RFC 9875 §2 asks for support of at least 32.
pub const MAX_GROUPS: usize = 128;

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The groups that a stored response belongs to.
pub(crate) fn members(response: &HeaderMap) -> Vec<String> {
    strings(response, &CACHE_GROUPS)
}

/// The groups that an answer to an unsafe request invalidates.
pub(crate) fn invalidated(response: &HeaderMap) -> Vec<String> {
    strings(response, &CACHE_GROUP_INVALIDATION)
}

/// The tag that stands for a group: groups of two origins with one name are two groups. The NUL keeps it apart from
/// the words of tag fields.
pub(crate) fn tag(key: &CacheKey, group: &str) -> String {
    let origin = key.as_str().len() - key.target().len();
    format!("\0{}\0{group}", &key.as_str()[..origin])
}

/// A list of strings (RFC 9651); a field that is anything else is ignored as a whole. Groups are compared byte by byte.
fn strings(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Vec::new();
    }
    let joined = lines.map(|line| line.as_bytes()).collect::<Vec<_>>().join(&b", "[..]);
    let Ok(list) = Parser::new(&joined).parse::<List>() else { return Vec::new() };
    let string = |entry: &ListEntry| match entry {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(text) => Some(text.as_str().to_owned()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    };
    list.iter().map(string).take(MAX_GROUPS).collect::<Option<Vec<_>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn groups(lines: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_GROUPS, HeaderValue::from_static(line));
        }
        members(&headers)
    }

    #[test]
    fn a_field_is_a_list_of_strings_or_nothing() {
        assert_eq!(groups(&[r#""a", "b c";x=1"#, r#""d""#]), ["a", "b c", "d"]);
        for lines in [&[][..], &["a"], &[r#""a", 1"#], &[r#""a"#], &[r#"("a")"#]] {
            assert!(groups(lines).is_empty(), "{lines:?}");
        }
    }

    #[test]
    fn groups_belong_to_an_origin() {
        let key = |uri: &str| CacheKey::from_uri(&uri.parse().expect("a URI")).expect("a key");
        assert_eq!(tag(&key("http://a/x"), "g"), tag(&key("http://a/y"), "g"));
        assert_ne!(tag(&key("http://a/x"), "g"), tag(&key("https://a/x"), "g"));
        assert_ne!(tag(&key("http://a/x"), "g"), tag(&key("http://a:8080/x"), "g"));
    }
}
