//! Which query parameters select a response: `No-Vary-Search` (draft-ietf-httpbis-no-vary-search).
//!
//! A response may say that some parameters of its URI, or their order, change nothing about it. It is stored under a
//! key in which they are gone, and a request that misses under its own key is looked up under that key too.

use core::fmt::Write;

use http::HeaderMap;
use http::header::HeaderName;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::key::{CacheKey, MAX_KEY_BYTES};

/// At most this many parameters are named in one `No-Vary-Search`; a field with more is ignored, which is stricter.
pub const MAX_SEARCH_PARAMETERS: usize = 64;

const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// What of a query tells the URIs of a path apart.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use pop_cache::http::SearchVariance;
///
/// let mut response = HeaderMap::new();
/// response.insert("no-vary-search", HeaderValue::from_static("key-order, params=(\"utm_source\")"));
/// let variance = SearchVariance::parse(&response).expect("a field that is not the default");
/// assert_eq!(variance.simplified("b=2&utm_source=x&a=%31"), "a=1&b=2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SearchVariance {
    parameters: Parameters,
    varies_on_order: bool,
}

/// The parameters that count; names are decoded, sorted, and there once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Parameters {
    AllBut(Vec<String>),
    Only(Vec<String>),
}

impl SearchVariance {
    /// Reads `No-Vary-Search`. `None` where the whole query counts as it stands: the field is absent, malformed, says so,
    /// or names more than [`MAX_SEARCH_PARAMETERS`]. Unknown members are ignored.
    #[must_use]
    pub fn parse(response: &HeaderMap) -> Option<Self> {
        let mut lines = response.get_all(&NO_VARY_SEARCH).iter().peekable();
        lines.peek()?;
        let joined = lines.map(|line| line.as_bytes()).collect::<Vec<_>>().join(&b", "[..]);
        let dictionary = Parser::new(&joined).parse::<Dictionary>().ok()?;
        let varies_on_order = match dictionary.get("key-order") {
            None => true,
            Some(entry) => !boolean(entry)?,
        };
        let params = dictionary.get("params");
        let is_wildcard = params.and_then(boolean) == Some(true);
        let mut parameters = match params {
            _ if is_wildcard => Parameters::Only(Vec::new()),
            Some(ListEntry::InnerList(_)) => Parameters::AllBut(names(params?)?),
            None => Parameters::AllBut(Vec::new()),
            Some(entry) => boolean(entry).map(|_| Parameters::AllBut(Vec::new()))?,
        };
        if let Some(except) = dictionary.get("except") {
            parameters = if is_wildcard { Parameters::Only(names(except)?) } else { return None };
        }
        let is_default = varies_on_order && parameters == Parameters::AllBut(Vec::new());
        (!is_default).then_some(Self { parameters, varies_on_order })
    }

    /// The query without what does not count, in one spelling: two queries are equivalent if and only if this is the same.
    /// Linear in the query, but for the sorting where the order does not count.
    #[must_use]
    pub fn simplified(&self, query: &str) -> String {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(name), decoded(value))
        };
        let mut pairs: Vec<(String, String)> = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(pair)
            .filter(|(name, _)| self.counts(name))
            .collect();
        if !self.varies_on_order {
            // Stable: values of one name keep their order.
            pairs.sort_by(|one, other| one.0.cmp(&other.0));
        }
        let mut text = String::with_capacity(query.len());
        for (name, value) in &pairs {
            if !text.is_empty() {
                text.push('&');
            }
            encode(&mut text, name);
            text.push('=');
            encode(&mut text, value);
        }
        text
    }

    fn counts(&self, name: &String) -> bool {
        match &self.parameters {
            Parameters::AllBut(names) => names.binary_search(name).is_err(),
            Parameters::Only(names) => names.binary_search(name).is_ok(),
        }
    }

    /// The key under which all URIs lie that are equivalent to `key`'s; `None` for a key that is no URI, one of this kind
    /// already, or one that would be too long. The fragment, which no URI of a request has, keeps it apart from the keys
    /// of URIs; `name` keeps the keys of one variance apart from those of another.
    pub(crate) fn key(&self, key: &CacheKey, name: u64) -> Option<CacheKey> {
        let target = key.target();
        if target.is_empty() || is_derived(key) {
            return None;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let text = format!("{path}?{}#{name:x}", self.simplified(query));
        (text.len() <= MAX_KEY_BYTES).then(|| key.with_target(&text))
    }
}

/// Whether a key was made here, for several URIs or for a QUERY, and is none of a URI.
pub(crate) fn is_derived(key: &CacheKey) -> bool {
    key.as_str().contains('#')
}

fn boolean(entry: &ListEntry) -> Option<bool> {
    match entry {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::Boolean(value) => Some(value),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

/// The names in an inner list of strings.
fn names(entry: &ListEntry) -> Option<Vec<String>> {
    let ListEntry::InnerList(list) = entry else { return None };
    if list.items.len() > MAX_SEARCH_PARAMETERS {
        return None;
    }
    let name = |item: &sfv::Item| match &item.bare_item {
        BareItem::String(text) => Some(decoded(text.as_str())),
        _ => None,
    };
    let mut names = list.items.iter().map(name).collect::<Option<Vec<_>>>()?;
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// A name or a value of `application/x-www-form-urlencoded`, decoded; what is no UTF-8 becomes U+FFFD.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Everything but unreserved characters as escapes.
fn encode(text: &mut String, plain: &str) {
    for byte in plain.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte as char);
        } else {
            write!(text, "%{byte:02X}").expect("a string takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn variance(field: &str) -> Option<SearchVariance> {
        let mut headers = HeaderMap::new();
        headers.insert(NO_VARY_SEARCH, HeaderValue::from_str(field).expect("a field value"));
        SearchVariance::parse(&headers)
    }

    fn equivalent(field: &str, one: &str, other: &str) -> bool {
        let variance = variance(field).expect("not the default");
        variance.simplified(one) == variance.simplified(other)
    }

    #[test]
    fn what_is_malformed_or_says_nothing_is_the_default() {
        for field in [
            "",
            "unknown-key",
            "key-order=\"no boolean\"",
            "key-order=?0",
            "params=\"neither\"",
            "params=1",
            "params=(token)",
            "params=(\"a\"), except=(\"x\")",
            "params=(), except=()",
            "params=()",
            "params=?0",
            "params=?0, except=(\"x\")",
            "params, except=(token)",
            "params, except=\"none\"",
            "params, except=?1",
            "except=(\"x\")",
            "except=()",
            "params, &",
        ] {
            assert_eq!(variance(field), None, "{field}");
        }
        assert_eq!(variance("params=?1"), variance("params"));
        assert_eq!(variance("params, except=(\"x\"), later=1"), variance("except=(\"x\"), params"));
    }

    #[test]
    fn parameters_that_do_not_count() {
        assert!(equivalent("params", "", "a=1&b=2"));
        assert!(equivalent("params=(\"a\")", "b=2", "a=1&b=2&a=3"));
        assert!(!equivalent("params=(\"a\")", "b=2", "b=3"));
        assert!(!equivalent("params=(\"a\")", "b=2&c=1", "c=1&b=2"));
        assert!(equivalent("params, except=(\"a\")", "a=1", "x=2&a=1"));
        assert!(!equivalent("params, except=(\"a\")", "a=1", "a=2"));
        assert!(!equivalent("params, except=(\"a\")", "", "a"));
        assert!(equivalent("params=(\"%C3%A9+x\")", "", "%C3%A9%20x=4&%c3%a9+x"));
    }

    #[test]
    fn the_order_of_names_and_never_that_of_the_values_of_one() {
        assert!(equivalent("key-order", "a=1&b=2", "b=2&a=1"));
        assert!(equivalent("key-order", "a=1&b=2&a=3", "b=2&a=1&a=3"));
        assert!(!equivalent("key-order", "a=1&a=3", "a=3&a=1"));
        assert!(!equivalent("params=(\"c\")", "a=1&b=2", "b=2&a=1"));
    }

    #[test]
    fn spellings_of_one_query_are_one() {
        for (one, other) in
            [("a=x", "%61=%78"), ("a=%f6", "a=%ef%bf%bd"), ("a=x&&&&", "a=x"), ("a=", "a"), ("a=%20", "a=+")]
        {
            assert!(equivalent("key-order", one, other), "{one} {other}");
        }
        assert!(!equivalent("key-order", "a=%26b", "a=&b"));
        assert!(!equivalent("key-order", "a%3D1", "a=1"));
    }

    #[test]
    fn keys_are_no_uris() {
        let key = |uri: &str| CacheKey::from_uri(&uri.parse().expect("a URI")).expect("a key");
        let variance = variance("key-order").expect("not the default");
        let raw = key("http://a.example/p?b=2&a=1");
        let common = variance.key(&raw, 7).expect("a key");
        assert_eq!(common.as_str(), "http://a.example/p?a=1&b=2#7");
        assert_eq!(common.host(), "a.example");
        assert!(is_derived(&common) && !is_derived(&raw));
        assert_eq!(variance.key(&key("http://a.example/p?a=1&b=2"), 7), Some(common.clone()));
        assert_eq!(variance.key(&common, 7), None, "once is enough");
        assert_eq!(variance.key(&CacheKey::from_raw("own"), 7), None);
        assert_eq!(
            variance.key(&CacheKey::from_raw(format!("http://a/?{}", "=".repeat(MAX_KEY_BYTES / 2))), 7),
            None
        );
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        let field = |count: usize| format!("params=({})", vec!["\"a\""; count].join(" "));
        assert!(variance(&field(MAX_SEARCH_PARAMETERS)).is_some());
        assert_eq!(variance(&field(MAX_SEARCH_PARAMETERS + 1)), None);
    }
}
