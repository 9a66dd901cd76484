//! `Cache-Control` directives of requests and responses (RFC 9111 §5.2, RFC 5861).

use core::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName};

/// The greatest age that is told apart: 2^31 seconds, as RFC 9111 §1.2.2 proposes for values that overflow.
pub const MAX_DELTA_SECONDS: u32 = 1 << 31;

/// At most this many field names are taken from one `no-cache="…"` or `private="…"`; one more, and the directive
/// counts as if it named no field, which is stricter.
pub const MAX_QUALIFIED_FIELDS: usize = 32;

/// A directive argument of type delta-seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delta {
    /// The directive is not there.
    #[default]
    Absent,
    /// That many seconds, at most [`MAX_DELTA_SECONDS`].
    Seconds(u32),
    /// The directive is there, but its argument is no number of seconds. A lifetime that cannot be read counts as
    /// used up (RFC 9111 §4.2.1).
    Invalid,
}

impl Delta {
    /// The duration, if the directive is there and valid.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Seconds(seconds) => Some(Duration::from_secs(u64::from(seconds))),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether the directive is there at all.
    #[must_use]
    pub fn is_present(self) -> bool {
        self != Self::Absent
    }

    /// The first occurrence counts (RFC 9111 §4.2.1).
    pub(crate) fn keep_first(&mut self, later: Self) {
        if *self == Self::Absent {
            *self = later;
        }
    }
}

/// A directive that may name fields: `no-cache` and `private`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Qualified {
    /// Not there.
    #[default]
    Absent,
    /// There, about the whole response.
    Whole,
    /// There, about these fields only.
    Fields(Vec<HeaderName>),
}

impl Qualified {
    pub(crate) fn add(&mut self, argument: Argument<'_>) {
        let named = match argument {
            Argument::Token(text) => field_names(text),
            Argument::Quoted(text) => field_names(text),
            Argument::None | Argument::Malformed => None,
        };
        match (named, &mut *self) {
            (_, Self::Whole) => {}
            (None, _) => *self = Self::Whole,
            (Some(names), Self::Absent) => *self = Self::Fields(names),
            (Some(names), Self::Fields(fields)) => {
                fields.extend(names);
                if fields.len() > MAX_QUALIFIED_FIELDS {
                    *self = Self::Whole;
                }
            }
        }
    }

    /// The named fields, none for the other two forms.
    #[must_use]
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::Absent | Self::Whole => &[],
        }
    }
}

fn field_names(text: &[u8]) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for part in text.split(|&byte| byte == b',') {
        let part = part.trim_ascii();
        if part.is_empty() {
            continue;
        }
        names.push(HeaderName::from_bytes(part).ok()?);
        if names.len() > MAX_QUALIFIED_FIELDS {
            return None;
        }
    }
    (!names.is_empty()).then_some(names)
}

/// The cache directives of a response that a shared cache acts on (RFC 9111 §5.2.2, RFC 5861, RFC 8246).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// `max-age`.
    pub max_age: Delta,
    /// `s-maxage`.
    pub s_maxage: Delta,
    /// `stale-while-revalidate` (RFC 5861 §3).
    pub stale_while_revalidate: Delta,
    /// `stale-if-error` (RFC 5861 §4).
    pub stale_if_error: Delta,
    /// `no-cache`.
    pub no_cache: Qualified,
    /// `private`.
    pub private: Qualified,
    /// `no-store`.
    pub no_store: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `public`.
    pub public: bool,
    /// `immutable` (RFC 8246): a note to user agents; a shared cache reads it and revalidates stale answers as ever.
    pub immutable: bool,
    /// `no-transform`.
    pub no_transform: bool,
}

impl ResponseDirectives {
    /// Reads every `Cache-Control` line of `headers`. Unknown directives are ignored; known ones that are malformed
    /// are read the stricter way. Allocates only for field names in quotes. Linear in the length of the lines.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for (name, argument) in Directives::new(value.as_bytes()) {
                directives.add(name, argument);
            }
        }
        directives
    }

    fn add(&mut self, name: &[u8], argument: Argument<'_>) {
        match Name::of(name) {
            Some(Name::MaxAge) => self.max_age.keep_first(argument.delta()),
            Some(Name::SMaxage) => self.s_maxage.keep_first(argument.delta()),
            Some(Name::StaleWhileRevalidate) => self.stale_while_revalidate.keep_first(argument.delta()),
            Some(Name::StaleIfError) => self.stale_if_error.keep_first(argument.delta()),
            Some(Name::NoCache) => self.no_cache.add(argument),
            Some(Name::Private) => self.private.add(argument),
            Some(Name::NoStore) => self.no_store = true,
            Some(Name::MustRevalidate) => self.must_revalidate = true,
            Some(Name::ProxyRevalidate) => self.proxy_revalidate = true,
            // A directive that permits must be well formed to count, one that forbids need not be.
            Some(Name::MustUnderstand) => self.must_understand |= argument == Argument::None,
            Some(Name::Public) => self.public |= argument == Argument::None,
            Some(Name::Immutable) => self.immutable |= argument == Argument::None,
            Some(Name::NoTransform) => self.no_transform = true,
            Some(Name::MaxStale | Name::MinFresh | Name::OnlyIfCached) | None => {}
        }
    }

    /// Whether a stale answer may be used without validation: forbidden by `no-cache`, `must-revalidate`,
    /// `proxy-revalidate`, and by `s-maxage`, which implies the latter (RFC 9111 §4.2.4, §5.2.2.10).
    #[must_use]
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate
            || self.proxy_revalidate
            || self.s_maxage.is_present()
            || self.no_cache == Qualified::Whole
    }
}

/// How long past its lifetime an answer may be, as a request's `max-stale` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxStale {
    /// No word about it.
    #[default]
    Absent,
    /// Any staleness will do.
    Any,
    /// At most this long.
    Within(Duration),
}

/// The cache directives of a request (RFC 9111 §5.2.1, RFC 5861 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `max-age`.
    pub max_age: Delta,
    /// `min-fresh`.
    pub min_fresh: Delta,
    /// `stale-if-error`.
    pub stale_if_error: Delta,
    /// `max-stale`.
    pub max_stale: MaxStale,
    /// `no-cache`.
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// Reads every `Cache-Control` line of `headers`. `Pragma` is not read: RFC 9111 §5.4 deprecates it. Never
    /// allocates; linear in the length of the lines, one look-up when there is none.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        let mut has_max_stale = false;
        for value in headers.get_all(CACHE_CONTROL) {
            for (name, argument) in Directives::new(value.as_bytes()) {
                match Name::of(name) {
                    Some(Name::MaxAge) => directives.max_age.keep_first(argument.delta()),
                    Some(Name::MinFresh) => directives.min_fresh.keep_first(argument.delta()),
                    Some(Name::StaleIfError) => directives.stale_if_error.keep_first(argument.delta()),
                    Some(Name::MaxStale) if !has_max_stale => {
                        has_max_stale = true;
                        directives.max_stale = match (argument, argument.delta().duration()) {
                            (Argument::None, _) => MaxStale::Any,
                            (_, Some(limit)) => MaxStale::Within(limit),
                            (_, None) => MaxStale::Absent,
                        };
                    }
                    Some(Name::NoCache) => directives.no_cache = true,
                    Some(Name::NoStore) => directives.no_store = true,
                    Some(Name::OnlyIfCached) => directives.only_if_cached = true,
                    _ => {}
                }
            }
        }
        directives
    }
}

/// The directives we know, so that a name is compared once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    MaxAge,
    SMaxage,
    StaleWhileRevalidate,
    StaleIfError,
    NoCache,
    Private,
    NoStore,
    MustRevalidate,
    ProxyRevalidate,
    MustUnderstand,
    Public,
    Immutable,
    NoTransform,
    MaxStale,
    MinFresh,
    OnlyIfCached,
}

const NAMES: [(&str, Name); 16] = [
    ("max-age", Name::MaxAge),
    ("s-maxage", Name::SMaxage),
    ("stale-while-revalidate", Name::StaleWhileRevalidate),
    ("stale-if-error", Name::StaleIfError),
    ("no-cache", Name::NoCache),
    ("private", Name::Private),
    ("no-store", Name::NoStore),
    ("must-revalidate", Name::MustRevalidate),
    ("proxy-revalidate", Name::ProxyRevalidate),
    ("must-understand", Name::MustUnderstand),
    ("public", Name::Public),
    ("immutable", Name::Immutable),
    ("no-transform", Name::NoTransform),
    ("max-stale", Name::MaxStale),
    ("min-fresh", Name::MinFresh),
    ("only-if-cached", Name::OnlyIfCached),
];

impl Name {
    fn of(text: &[u8]) -> Option<Self> {
        NAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes())).map(|&(_, known)| known)
    }
}

/// The argument of one directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument<'a> {
    None,
    Token(&'a [u8]),
    /// The inside of a quoted-string, backslashes still in it.
    Quoted(&'a [u8]),
    /// Something that the grammar has no place for.
    Malformed,
}

impl Argument<'_> {
    /// The argument as delta-seconds: digits only, in either form, leading zeros allowed, overflow clamped.
    fn delta(self) -> Delta {
        match self {
            Self::Token(text) | Self::Quoted(text) => {
                delta_seconds(text).map_or(Delta::Invalid, Delta::Seconds)
            }
            Self::None | Self::Malformed => Delta::Invalid,
        }
    }
}

/// Reads delta-seconds (RFC 9111 §1.2.2), clamped to [`MAX_DELTA_SECONDS`].
pub(crate) fn delta_seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let clamped = text
        .iter()
        .fold(0_u64, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(u64::from(MAX_DELTA_SECONDS)));
    Some(u32::try_from(clamped).unwrap_or(MAX_DELTA_SECONDS))
}

/// Walks `#cache-directive`: `token [ "=" ( token / quoted-string ) ]` separated by commas, empty elements allowed.
pub(crate) struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Directives<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    /// Takes everything up to the next comma that is not inside quotes.
    fn element(&mut self) -> &'a [u8] {
        let (mut quoted, mut escaped) = (false, false);
        let end = self.rest.iter().position(|&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        });
        let (element, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &self.rest[self.rest.len()..]),
        };
        self.rest = rest;
        element.trim_ascii()
    }
}

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Argument<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let element = self.element();
            let name_end = element.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(element.len());
            let (name, rest) = element.split_at(name_end);
            if name.is_empty() {
                continue;
            }
            return Some((name, argument(rest)));
        }
        None
    }
}

fn argument(rest: &[u8]) -> Argument<'_> {
    match rest {
        [] => Argument::None,
        [b'=', b'"', inner @ .., b'"'] if is_quoted_inside(inner) => Argument::Quoted(inner),
        [b'=', token @ ..] if !token.is_empty() && token.iter().copied().all(is_token_byte) => {
            Argument::Token(token)
        }
        _ => Argument::Malformed,
    }
}

/// No quote inside but after a backslash, and no backslash that swallows the closing quote.
fn is_quoted_inside(inner: &[u8]) -> bool {
    let mut escaped = false;
    for &byte in inner {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return false,
            _ => {}
        }
    }
    !escaped
}

/// `tchar` of RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn response(lines: &[&str]) -> ResponseDirectives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(line).expect("a field value"));
        }
        ResponseDirectives::parse(&headers)
    }

    #[test]
    fn max_age_in_every_form() {
        let check = |line: &str, expected: Delta| assert_eq!(response(&[line]).max_age, expected, "{line}");
        check("max-age=3600", Delta::Seconds(3600));
        check("MaX-aGe=3600", Delta::Seconds(3600));
        check("max-age=\"3600\"", Delta::Seconds(3600));
        check("max-age=003600", Delta::Seconds(3600));
        check("max-age=99999999999999999999999", Delta::Seconds(MAX_DELTA_SECONDS));
        check("foobar, max-age=7", Delta::Seconds(7));
        check("max-age=1800, max-age=1", Delta::Seconds(1800));
        check("extension=\"max-age=3600\", max-age=1", Delta::Seconds(1));
        check("extension=\"a\\\", max-age=3600\", max-age=1", Delta::Seconds(1));
        check("max-age='3600'", Delta::Invalid);
        check("max-age =3600", Delta::Invalid);
        check("max-age= 3600", Delta::Invalid);
        check("max-age=-1", Delta::Invalid);
        check("max-age=3600.0", Delta::Invalid);
        check("max-age", Delta::Invalid);
        check("max-age=", Delta::Invalid);
        check("max-age=\"3600", Delta::Invalid);
        check("x-max-age=3600", Delta::Absent);
        check("", Delta::Absent);
    }

    #[test]
    fn lines_are_one_list() {
        let directives = response(&["max-age=1", "s-maxage=5, ,", "no-store"]);
        assert_eq!(directives.s_maxage, Delta::Seconds(5));
        assert!(directives.no_store && directives.forbids_stale());
    }

    #[test]
    fn named_fields_or_the_whole() {
        let names = |line: &str| response(&[line]).no_cache;
        assert_eq!(names("no-cache"), Qualified::Whole);
        assert_eq!(names("no-cache=\"a, b\"").fields().len(), 2);
        assert_eq!(names("no-cache=a").fields().len(), 1);
        assert_eq!(names("no-cache=\"a\", no-cache"), Qualified::Whole);
        assert_eq!(names("no-cache=\"\""), Qualified::Whole);
        assert_eq!(names("no-cache=\"a b\""), Qualified::Whole);
        let many = format!("no-cache=\"{}\"", vec!["a"; MAX_QUALIFIED_FIELDS + 1].join(","));
        assert_eq!(names(&many), Qualified::Whole);
    }

    #[test]
    fn request_directives() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, HeaderValue::from_static("max-stale, min-fresh=3, only-if-cached"));
        let directives = RequestDirectives::parse(&headers);
        assert_eq!(directives.max_stale, MaxStale::Any);
        assert_eq!(directives.min_fresh, Delta::Seconds(3));
        assert!(directives.only_if_cached && !directives.no_cache);
    }
}
