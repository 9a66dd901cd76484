//! Secondary keys: which requests a stored response answers (RFC 9111 §4.1, RFC 9110 §12.5.5).

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};

/// At most this many fields in `Vary`; a response that names more is not stored.
pub const MAX_VARY_FIELDS: usize = 16;

/// The `Vary` field of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vary {
    /// No field selects: the response answers every request for its URI.
    Nothing,
    /// These request fields select.
    Fields(Vec<HeaderName>),
    /// `*`, or something that names no field: no other request is ever answered by it.
    Any,
}

impl Vary {
    /// Reads all lines of `Vary`. A `*` anywhere in the list makes it [`Vary::Any`]; so does a member that is no
    /// field name, since it cannot be compared.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut fields = Vec::new();
        for line in headers.get_all(VARY) {
            for member in line.as_bytes().split(|&byte| byte == b',') {
                let member = member.trim_ascii();
                if member.is_empty() {
                    continue;
                }
                match HeaderName::from_bytes(member) {
                    Ok(name) if member != b"*" => {
                        if !fields.contains(&name) && fields.len() <= MAX_VARY_FIELDS {
                            fields.push(name);
                        }
                    }
                    _ => return Self::Any,
                }
            }
        }
        if fields.is_empty() { Self::Nothing } else { Self::Fields(fields) }
    }

    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self, Self::Fields(fields) if fields.len() > MAX_VARY_FIELDS)
    }

    /// The normalised values of the fields that select, in their order.
    pub(crate) fn values(&self, request: &HeaderMap) -> Vec<Option<Vec<u8>>> {
        let Self::Fields(fields) = self else { return Vec::new() };
        fields.iter().map(|name| normalised(name, request)).collect()
    }

    /// The secondary key: what `request` had in the fields that select, normalised; and the languages the response
    /// is in, which let another `Accept-Language` with the same first choice match.
    #[must_use]
    pub fn selection(&self, request: &HeaderMap, response: &HeaderMap) -> Selection {
        let Self::Fields(fields) = self else { return Selection::default() };
        let member = |(name, value): (&HeaderName, Option<Vec<u8>>)| {
            let mut lines = request.get_all(name).iter();
            let line = lines.next().filter(|_| lines.next().is_none()).cloned();
            Member { name: name.clone(), line, value }
        };
        let members = fields.iter().zip(self.values(request)).map(member).collect();
        let language = if fields.contains(&ACCEPT_LANGUAGE) { sole_language(response) } else { None };
        Selection { members, language }
    }
}

/// The values of the selecting fields in the request that a stored response answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    members: Vec<Member>,
    language: Option<Vec<u8>>,
}

/// One field that selects.
#[derive(Clone, Debug)]
struct Member {
    name: HeaderName,
    /// The line as it came, if it was one: the same client sends the same.
    line: Option<HeaderValue>,
    /// The normalised value; `None` where the field was absent.
    value: Option<Vec<u8>>,
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl Eq for Member {}

impl Selection {
    /// Whether `request` selects the same response (RFC 9111 §4.1): every selecting field is absent from both, or
    /// equal after combining lines, dropping white space around commas, and ordering what has no order.
    ///
    /// Free where nothing selects; otherwise one look-up and at most one small allocation a field.
    #[must_use]
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.members.iter().all(|Member { name, line, value }| {
            // The common case costs no allocation: one line, the same bytes.
            let mut lines = request.get_all(name).iter();
            let same = match (lines.next(), lines.next(), line) {
                (None, _, _) => value.is_none(),
                (Some(asked), None, Some(line)) if asked.as_bytes() == line.as_bytes() => true,
                _ => normalised(name, request) == *value,
            };
            same || (name == ACCEPT_LANGUAGE
                && self.language.is_some()
                && first_choice(request) == self.language)
        })
    }

    /// A request that has in the selecting fields what the stored one had, and nothing else.
    #[cfg(feature = "tower")]
    pub(crate) fn to_request(&self) -> HeaderMap {
        let field = |member: &Member| {
            let line = member.line.clone();
            let value = line.or_else(|| HeaderValue::from_bytes(member.value.as_deref()?).ok())?;
            Some((member.name.clone(), value))
        };
        self.members.iter().filter_map(field).collect()
    }

    /// The bytes this key takes in memory beyond the structure itself.
    #[must_use]
    pub fn weight(&self) -> usize {
        let value = |member: &Member| member.value.as_ref().map_or(0, Vec::len);
        let line = |member: &Member| member.line.as_ref().map_or(0, HeaderValue::len);
        self.members.iter().map(|member| size_of::<Member>() + value(member) + line(member)).sum::<usize>()
            + self.language.as_ref().map_or(0, Vec::len)
    }
}

/// The combined value of a field: lines joined by commas, no white space around commas outside quotes. Preferences
/// for languages and codings, whose order says nothing beside their weights, are sorted and in lower case.
fn normalised(name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    let mut members: Vec<Vec<u8>> = lines.flat_map(members).map(|member| member.to_vec()).collect();
    if name == ACCEPT_LANGUAGE || name == ACCEPT_ENCODING {
        for member in &mut members {
            member.retain(|byte| !byte.is_ascii_whitespace());
            member.make_ascii_lowercase();
        }
        members.sort_unstable();
    }
    Some(members.join(&b","[..]))
}

/// The members of a list field, trimmed, empty ones left out; a comma inside quotes separates nothing.
fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.as_bytes()
        .split(move |&byte| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        })
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// The one language a response says it is in.
fn sole_language(response: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = response.get_all(CONTENT_LANGUAGE).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let language = line.as_bytes().trim_ascii();
    let is_one =
        !language.is_empty() && language.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_one.then(|| language.to_ascii_lowercase())
}

/// The language with the strictly greatest weight in `Accept-Language` (RFC 9110 §12.5.4), if there is one. An
/// origin that offers it would choose it.
fn first_choice(request: &HeaderMap) -> Option<Vec<u8>> {
    let mut best: Option<(u32, &[u8])> = None;
    let mut is_tied = false;
    for member in request.get_all(ACCEPT_LANGUAGE).iter().flat_map(members) {
        let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let range = parts.next().unwrap_or_default();
        let weight = match parts.next() {
            None => 1000,
            Some(parameter) => weight(parameter)?,
        };
        match best {
            Some((greatest, _)) if weight < greatest => {}
            Some((greatest, _)) if weight == greatest => is_tied = true,
            _ => {
                best = Some((weight, range));
                is_tied = false;
            }
        }
    }
    match best {
        Some((weight, range)) if !is_tied && weight > 0 && range != b"*" => Some(range.to_ascii_lowercase()),
        _ => None,
    }
}

/// `q=` with at most three decimals, in thousandths.
pub(crate) fn weight(parameter: &[u8]) -> Option<u32> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, decimals) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut thousandths = u32::from(whole.checked_sub(b'0').filter(|&digit| digit <= 1)?) * 1000;
    let mut unit = 100;
    for digit in decimals {
        thousandths += u32::from(digit.checked_sub(b'0').filter(|&digit| digit <= 9)?) * unit;
        unit /= 10;
    }
    (thousandths <= 1000).then_some(thousandths)
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

    fn check(
        vary: &'static str,
        stored: &[(&'static str, &'static str)],
        asked: &[(&'static str, &'static str)],
    ) -> bool {
        let response = headers(&[("vary", vary)]);
        Vary::parse(&response).selection(&headers(stored), &response).matches(&headers(asked))
    }

    #[test]
    fn star_anywhere_matches_nothing() {
        for lines in
            [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, foo"], &["foo, *"], &["a b"]]
        {
            let mut map = HeaderMap::new();
            for line in lines {
                map.append(VARY, HeaderValue::from_static(line));
            }
            assert_eq!(Vary::parse(&map), Vary::Any, "{lines:?}");
        }
        assert_eq!(Vary::parse(&headers(&[("vary", ", ,")])), Vary::Nothing);
    }

    #[test]
    fn fields_are_compared_after_normalising() {
        assert!(check("foo", &[("foo", "1")], &[("foo", "1"), ("other", "2")]));
        assert!(!check("foo", &[("foo", "1")], &[("foo", "2")]));
        assert!(!check("foo", &[("foo", "1")], &[]));
        assert!(!check("foo", &[], &[("foo", "1")]));
        assert!(!check("foo", &[], &[("foo", "")]));
        assert!(check("foo, bar", &[("foo", "1")], &[("foo", "1")]));
        assert!(check("foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]));
        assert!(check("foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")]));
        assert!(!check("foo", &[("foo", "\"1,2\"")], &[("foo", "\"1, 2\"")]));
        assert!(!check("foo", &[("foo", "1, 2")], &[("foo", "2, 1")]));
    }

    #[test]
    fn languages_have_no_order_and_no_case() {
        let check = |stored, asked| {
            check("accept-language", &[("accept-language", stored)], &[("accept-language", asked)])
        };
        assert!(check("en, de", "de, en"));
        assert!(check("en, de", "eN,  De"));
        assert!(!check("en, de", "en, de;q=0.5"));
    }

    #[test]
    fn codings_have_no_order_and_no_case() {
        let check = |stored, asked| {
            check("accept-encoding", &[("accept-encoding", stored)], &[("accept-encoding", asked)])
        };
        assert!(check("gzip, br;q=0.5", "BR; q=0.5,gzip"));
        assert!(!check("gzip, br", "gzip"));
        assert!(!check("gzip, br;q=0", "gzip, br"));
    }

    #[test]
    fn the_first_choice_selects_a_stored_language() {
        let response = headers(&[("vary", "accept-language"), ("content-language", "de")]);
        let stored = Vary::parse(&response).selection(&headers(&[("accept-language", "en, de")]), &response);
        let asks = |value| stored.matches(&headers(&[("accept-language", value)]));
        assert!(asks("fr;q=0.5, de;q=1.0"));
        assert!(asks("DE, en;q=0.9"));
        assert!(!asks("fr;q=0.5, de;q=0.4"));
        assert!(!asks("fr, de"), "two first choices leave it to the origin");
        assert!(!asks("de;q=0"));
        assert!(!asks("de;q=2"));
    }

    #[test]
    fn the_number_of_fields_is_bounded() {
        let line = (0..=MAX_VARY_FIELDS).map(|n| format!("f{n}")).collect::<Vec<_>>().join(",");
        let mut map = HeaderMap::new();
        map.insert(VARY, HeaderValue::from_str(&line).expect("a field value"));
        assert!(Vary::parse(&map).is_too_long());
    }
}
