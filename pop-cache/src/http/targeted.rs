//! Targeted cache control (RFC 9213): fields such as `CDN-Cache-Control`, parsed as Structured Fields.

use http::HeaderMap;
use http::header::HeaderName;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::directive::{Argument, Delta, MAX_DELTA_SECONDS, Qualified, ResponseDirectives};

/// The directives of the first field of `targets` that is there and valid, in the order of the list.
///
/// A field that is empty, no Structured Field, or gives a known directive a value of another type is ignored as a
/// whole (RFC 9213 §2.1), and the next one is tried. `None` means that `Cache-Control` and `Expires` decide.
pub(crate) fn directives(headers: &HeaderMap, targets: &[HeaderName]) -> Option<ResponseDirectives> {
    targets.iter().find_map(|target| {
        let mut lines = headers.get_all(target).iter().peekable();
        lines.peek()?;
        let joined = lines.map(|line| line.as_bytes()).collect::<Vec<_>>().join(&b", "[..]);
        from_dictionary(&Parser::new(&joined).parse::<Dictionary>().ok()?)
    })
}

fn from_dictionary(dictionary: &Dictionary) -> Option<ResponseDirectives> {
    if dictionary.is_empty() {
        return None;
    }
    let mut directives = ResponseDirectives::default();
    for (name, entry) in dictionary {
        match name.as_str() {
            "max-age" => directives.max_age = delta(entry)?,
            "s-maxage" => directives.s_maxage = delta(entry)?,
            "stale-while-revalidate" => directives.stale_while_revalidate = delta(entry)?,
            "stale-if-error" => directives.stale_if_error = delta(entry)?,
            "no-cache" => directives.no_cache = qualified(entry)?,
            "private" => directives.private = qualified(entry)?,
            "no-store" => directives.no_store = flag(entry)?,
            "must-revalidate" => directives.must_revalidate = flag(entry)?,
            "proxy-revalidate" => directives.proxy_revalidate = flag(entry)?,
            "must-understand" => directives.must_understand = flag(entry)?,
            "public" => directives.public = flag(entry)?,
            "immutable" => directives.immutable = flag(entry)?,
            "no-transform" => directives.no_transform = flag(entry)?,
            _ => {}
        }
    }
    Some(directives)
}

fn bare(entry: &ListEntry) -> Option<&BareItem> {
    match entry {
        ListEntry::Item(item) => Some(&item.bare_item),
        ListEntry::InnerList(_) => None,
    }
}

fn delta(entry: &ListEntry) -> Option<Delta> {
    let BareItem::Integer(value) = bare(entry)? else { return None };
    let value = i64::from(*value);
    Some(match u32::try_from(value) {
        Ok(seconds) => Delta::Seconds(seconds.min(MAX_DELTA_SECONDS)),
        Err(_) if value < 0 => Delta::Invalid,
        Err(_) => Delta::Seconds(MAX_DELTA_SECONDS),
    })
}

fn flag(entry: &ListEntry) -> Option<bool> {
    match bare(entry)? {
        BareItem::Boolean(value) => Some(*value),
        _ => None,
    }
}

fn qualified(entry: &ListEntry) -> Option<Qualified> {
    let mut qualified = Qualified::Absent;
    match bare(entry)? {
        BareItem::Boolean(true) => qualified.add(Argument::None),
        BareItem::Boolean(false) => {}
        BareItem::String(names) => qualified.add(Argument::Quoted(names.as_str().as_bytes())),
        BareItem::Token(name) => qualified.add(Argument::Token(name.as_str().as_bytes())),
        _ => return None,
    }
    Some(qualified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn parse(value: &'static str) -> Option<ResponseDirectives> {
        let name = HeaderName::from_static("cdn-cache-control");
        let mut headers = HeaderMap::new();
        headers.insert(&name, HeaderValue::from_static(value));
        directives(&headers, &[name])
    }

    #[test]
    fn valid_fields_are_read() {
        let read = parse("foobar, max-age=3600;ignored=1, must-revalidate").expect("valid");
        assert_eq!(read.max_age, Delta::Seconds(3600));
        assert!(read.must_revalidate);
        assert_eq!(parse("max-age=99999999999").expect("valid").max_age, Delta::Seconds(MAX_DELTA_SECONDS));
        assert_eq!(parse("max-age=-1").expect("valid").max_age, Delta::Invalid);
        assert_eq!(parse("no-cache=\"a, b\"").expect("valid").no_cache.fields().len(), 2);
        assert_eq!(parse("no-store=?0").expect("valid"), ResponseDirectives::default());
    }

    #[test]
    fn invalid_fields_are_ignored_whole() {
        for value in [
            "",
            "max-age=100, &&&",
            "max-age=\"100\"",
            "max-age",
            "MaX-aGe=100",
            "max-age =100",
            "no-store=1",
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
    }

    #[test]
    fn the_order_of_targets_decides() {
        let (ours, all) =
            (HeaderName::from_static("pop-cache-control"), HeaderName::from_static("cdn-cache-control"));
        let mut headers = HeaderMap::new();
        headers.insert(&ours, HeaderValue::from_static("max-age=1"));
        headers.insert(&all, HeaderValue::from_static("max-age=2"));
        let first = |targets: &[HeaderName]| directives(&headers, targets).expect("valid").max_age;
        assert_eq!(first(&[ours.clone(), all.clone()]), Delta::Seconds(1));
        assert_eq!(first(&[all, ours]), Delta::Seconds(2));
    }
}
