//! A simple, literal reading of RFC 9111, written from its text and sharing nothing with the engine; and a property:
//! the engine never stores or serves what this reading forbids.

#![cfg(feature = "http")]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pop_cache::http::{Exchange, Policy, RequestDirectives, Reuse, Rules, Storability, Vary, date_field};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Fields as text, in the order they came.
type Fields = Vec<(&'static str, String)>;

/// One exchange and a later request, in whole seconds.
#[derive(Debug, Clone)]
struct Story {
    method: &'static str,
    request: Fields,
    status: u16,
    response: Fields,
    /// `CDN-Cache-Control`.
    targeted: Option<String>,
    /// `Date`, relative to the arrival of the response.
    date: Option<i64>,
    expires: Option<i64>,
    modified: Option<i64>,
    /// The time the origin took.
    delay: i64,
    /// The time that passes until the later request.
    elapsed: i64,
    later: Fields,
}

mod twin {
    use super::Story;

    /// A directive: its name in lower case, and its argument without quotes.
    type Directive = (String, Option<String>);

    /// §5.2: the directives of all lines, split at commas outside of quoted strings.
    fn directives(fields: &super::Fields) -> Vec<Directive> {
        let mut found = Vec::new();
        for (_, line) in fields.iter().filter(|(name, _)| *name == "cache-control") {
            let (mut element, mut in_quotes) = (String::new(), false);
            for character in line.chars().chain([',']) {
                if character == '"' {
                    in_quotes = !in_quotes;
                }
                if character == ',' && !in_quotes {
                    found.extend(directive(element.trim()));
                    element.clear();
                } else {
                    element.push(character);
                }
            }
            // A quote that is never closed takes the rest of the line with it.
            found.extend(directive(element.trim_end_matches(',').trim()));
        }
        found
    }

    fn directive(element: &str) -> Option<Directive> {
        if element.is_empty() {
            return None;
        }
        let (name, argument) = match element.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (element, None),
        };
        let argument = argument.map(|text| {
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            inner.unwrap_or(text).to_owned()
        });
        // White space has no place beside the equals sign: such an argument is no argument anybody can read.
        if name.trim_end() != name {
            return Some((name.trim_end().to_ascii_lowercase(), Some("?".to_owned())));
        }
        Some((name.to_ascii_lowercase(), argument))
    }

    /// RFC 9213 §2.1: a dictionary (RFC 9651 §3.2), or nothing at all; then the types of the directives we know.
    fn targeted(line: &str) -> Option<Vec<Directive>> {
        let mut found: Vec<Directive> = Vec::new();
        for member in line.split(',') {
            // Parameters mean nothing here. The vocabulary below has none with commas or semicolons in strings.
            let mut parts = member.trim_matches([' ', '\t']).split(';');
            let (name, value) = match parts.next()?.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (member.trim_matches([' ', '\t']).split(';').next()?, None),
            };
            let is_key = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '*')
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c));
            if !is_key {
                return None;
            }
            let is_digits = |text: &str, most| {
                (1..=most).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
            };
            let is_number = |text: &str| {
                let text = text.strip_prefix('-').unwrap_or(text);
                match text.split_once('.') {
                    Some((whole, decimals)) => is_digits(whole, 12) && is_digits(decimals, 3),
                    None => is_digits(text, 15),
                }
            };
            let is_string = |text: &str| text.len() > 1 && text.starts_with('"') && text.ends_with('"');
            let is_token = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
            if value.is_some_and(|text| {
                !(is_number(text) || is_string(text) || is_token(text) || ["?0", "?1"].contains(&text))
            }) {
                return None;
            }
            // The last of a name counts (RFC 9651 §4.2.2).
            found.retain(|(own, _)| own != name);
            found.push((name.to_owned(), value.map(str::to_owned)));
        }
        let timed = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"];
        let named = ["no-cache", "private"];
        let flags =
            ["no-store", "must-revalidate", "proxy-revalidate", "must-understand", "public", "immutable"];
        let fits = |(name, value): &Directive| {
            let (name, value) = (name.as_str(), value.as_deref());
            let is_number =
                value.is_some_and(|text| text.starts_with(|c: char| c == '-' || c.is_ascii_digit()));
            let is_boolean = value.is_none_or(|text| text.starts_with('?'));
            if timed.contains(&name) {
                is_number && value.is_some_and(|text| !text.contains('.'))
            } else if flags.contains(&name) {
                is_boolean
            } else {
                !(named.contains(&name) && is_number)
            }
        };
        if !found.iter().all(fits) {
            return None;
        }
        // False is as good as absent; true and a bare name are one.
        found.retain(|(_, value)| value.as_deref() != Some("?0"));
        for (_, value) in &mut found {
            *value = value.take().filter(|text| text != "?1").map(|text| text.trim_matches('"').to_owned());
        }
        Some(found)
    }

    /// RFC 9213 §2.2: a valid targeted field replaces `Cache-Control` and `Expires`.
    fn effective(story: &Story) -> (Vec<Directive>, Option<i64>) {
        match story.targeted.as_deref().and_then(targeted) {
            Some(directives) => (directives, None),
            None => (directives(&story.response), story.expires),
        }
    }

    /// RFC 9111 §4.1: every field that `Vary` names is absent from both requests, or the same once lines are combined
    /// and white space around commas is gone; for preferences, once order and case are gone too.
    pub(super) fn matches(vary: &[&str], stored: &super::Fields, asked: &super::Fields) -> bool {
        vary.iter().all(|name| value(name, stored) == value(name, asked))
    }

    fn value(name: &str, fields: &super::Fields) -> Option<Vec<String>> {
        let lines: Vec<&str> = fields
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, line)| line.as_str())
            .collect();
        if lines.is_empty() {
            return None;
        }
        let all = lines.join(",");
        let mut members: Vec<String> = all
            .split(',')
            .map(|member| member.trim().to_owned())
            .filter(|member| !member.is_empty())
            .collect();
        if ["accept-language", "accept-encoding"].contains(&name.to_ascii_lowercase().as_str()) {
            members = members.iter().map(|member| member.replace(' ', "").to_ascii_lowercase()).collect();
            members.sort();
        }
        Some(members)
    }

    fn has(directives: &[Directive], name: &str) -> bool {
        directives.iter().any(|(own, _)| own == name)
    }

    /// `private` and `no-cache` without field names are about the whole response.
    fn has_whole(directives: &[Directive], name: &str) -> bool {
        directives.iter().any(|(own, argument)| own == name && argument.is_none())
    }

    /// §1.2.2: a non-negative number; the first occurrence counts (§4.2.1). `Some(None)`: there, but no number.
    fn seconds(directives: &[Directive], name: &str) -> Option<Option<i64>> {
        let (_, argument) = directives.iter().find(|(own, _)| own == name)?;
        let digits =
            argument.as_deref().filter(|text| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()));
        Some(digits.map(|digits| digits.parse().unwrap_or(i64::MAX).min(1 << 31)))
    }

    /// §3: "A cache MUST NOT store a response to a request unless…" Says which line forbids it.
    pub(super) fn forbids_storing(story: &Story) -> Option<&'static str> {
        let (response, expires) = effective(story);
        let is_heuristic =
            [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].contains(&story.status);
        let is_explicit = has(&response, "max-age") || has(&response, "s-maxage") || expires.is_some();
        if !["GET", "HEAD", "POST"].contains(&story.method) {
            return Some("the request method is understood by the cache");
        }
        if story.method == "POST" && !is_explicit {
            return Some("9110 9.3.3: POST needs explicit freshness");
        }
        if story.status < 200 {
            return Some("the response status code is final");
        }
        // RFC 9110 §15 and the registered ones this cache knows; the vocabulary below has 599 as the unknown.
        let is_understood = story.status != 599;
        let must_understand =
            response.iter().any(|(name, argument)| name == "must-understand" && argument.is_none());
        if must_understand && !is_understood {
            return Some("must-understand: the cache understands the status code");
        }
        if has(&response, "no-store") && !must_understand {
            return Some("the no-store cache directive is not present in the response");
        }
        if has(&directives(&story.request), "no-store") {
            return Some("5.2.1.5: no-store in the request");
        }
        if has_whole(&response, "private") {
            return Some("the private response directive is not present");
        }
        let permits =
            has(&response, "must-revalidate") || has(&response, "public") || has(&response, "s-maxage");
        if story.request.iter().any(|(name, _)| *name == "authorization") && !permits {
            return Some("3.5: Authorization without permission to share");
        }
        if !(is_explicit || has(&response, "public") || is_heuristic) {
            return Some("the response contains at least one of the following");
        }
        None
    }

    /// §4.2.1, and §4.2.2 with the tenth of the time since `Last-Modified` that this cache documents.
    fn lifetime(story: &Story) -> i64 {
        let (response, expires) = effective(story);
        if let Some(seconds) = seconds(&response, "s-maxage") {
            return seconds.unwrap_or(0);
        }
        if let Some(seconds) = seconds(&response, "max-age") {
            return seconds.unwrap_or(0);
        }
        let date = story.date.unwrap_or(0);
        if let Some(expires) = expires {
            return (expires - date).max(0);
        }
        let may_guess = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].contains(&story.status)
            || has(&response, "public");
        match story.modified {
            Some(modified) if may_guess => ((date - modified).max(0) / 10).min(86_400),
            _ => 0,
        }
    }

    /// §4.2.3, word for word.
    fn current_age(story: &Story) -> i64 {
        let line = story.response.iter().find(|(name, _)| *name == "age").map(|(_, value)| value.as_str());
        let first = line.unwrap_or("0").split(',').next().unwrap_or("").trim();
        let is_number = !first.is_empty() && first.chars().all(|character| character.is_ascii_digit());
        let age_value: i64 = if is_number { first.parse().unwrap_or(i64::MAX).min(1 << 31) } else { 0 };
        let date_value = story.date.unwrap_or(0);
        let (response_time, request_time) = (0, -story.delay);
        let apparent_age = (response_time - date_value).max(0);
        let response_delay = response_time - request_time;
        let corrected_age_value = age_value + response_delay;
        let corrected_initial_age = apparent_age.max(corrected_age_value);
        let resident_time = story.elapsed;
        corrected_initial_age + resident_time
    }

    /// §4: "a cache MUST NOT reuse a stored response unless…", without validation. Says what forbids it.
    pub(super) fn forbids_serving(story: &Story) -> Option<&'static str> {
        let (response, request) = (effective(story).0, directives(&story.later));
        if has_whole(&response, "no-cache") {
            return Some("the stored response does not contain the no-cache directive");
        }
        if has(&request, "no-cache") {
            return Some("5.2.1.4: no-cache in the request");
        }
        let (age, lifetime) = (current_age(story), lifetime(story));
        // An argument that is no number permits nothing, as if the directive were not there.
        let max_stale = request
            .iter()
            .find(|(name, _)| name == "max-stale")
            .filter(|(_, argument)| argument.is_none() || seconds(&request, "max-stale").flatten().is_some());
        if let Some(Some(most)) = seconds(&request, "max-age")
            && age > most
            && max_stale.is_none()
        {
            return Some("5.2.1.1: older than the request wants");
        }
        if let Some(Some(least)) = seconds(&request, "min-fresh")
            && lifetime - age < least
        {
            return Some("5.2.1.3: not fresh for long enough");
        }
        if lifetime > age {
            return None;
        }
        let forbidding = ["must-revalidate", "proxy-revalidate", "s-maxage"];
        if forbidding.iter().any(|name| has(&response, name)) {
            return Some("4.2.4: stale, and prohibited by an explicit directive");
        }
        let staleness = age - lifetime;
        let by_request = match max_stale {
            Some((_, None)) => true,
            Some(_) => seconds(&request, "max-stale").flatten().is_some_and(|most| staleness <= most),
            None => false,
        };
        let is_too_old = seconds(&request, "max-age").flatten().is_some_and(|most| age > most);
        let window = seconds(&response, "stale-while-revalidate").flatten();
        let by_response = window.is_some_and(|window| staleness < window) && !is_too_old;
        if by_request || by_response { None } else { Some("4.2.4: stale, and nothing permits it") }
    }
}

/// What the engine does: whether it stores, and whether it then serves without validation.
fn engine(story: &Story) -> (bool, bool) {
    let arrival = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let at = |offset: i64| {
        let distance = Duration::from_secs(offset.unsigned_abs());
        if offset < 0 { arrival - distance } else { arrival + distance }
    };
    let map = |fields: &Fields| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a field value"));
        }
        map
    };
    let mut response = map(&story.response);
    for (name, time) in [("date", story.date), ("expires", story.expires), ("last-modified", story.modified)]
    {
        if let Some(time) = time {
            response.insert(name, date_field(at(time)));
        }
    }
    if let Some(targeted) = &story.targeted {
        response.insert("cdn-cache-control", HeaderValue::from_str(targeted).expect("a field value"));
    }
    let (method, request) =
        (Method::from_bytes(story.method.as_bytes()).expect("a method"), map(&story.request));
    let exchange = Exchange {
        method: &method,
        request: &request,
        status: StatusCode::from_u16(story.status).expect("a status"),
        response: &response,
        request_time: at(-story.delay),
        response_time: arrival,
    };
    let rules = Rules::default();
    let policy = Policy::new(&rules, &exchange);
    let is_stored = policy.storability(&rules, &exchange) == Storability::Allowed;
    let directives = RequestDirectives::parse(&map(&story.later));
    let reuse = policy.reuse(&rules, &directives, at(story.elapsed), None);
    (is_stored, matches!(reuse, Reuse::Fresh { .. } | Reuse::Stale { .. }))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0..200_i64).prop_map(|seconds| seconds.to_string()),
        1 => prop::sample::select(&["007", "99999999999", "4294967296", "2147483648"][..]).prop_map(str::to_owned),
        1 => prop::sample::select(&["-1", "1.5", "x", "", "1 2", "'9'"][..]).prop_map(str::to_owned),
    ]
}

fn response_directive() -> impl Strategy<Value = String> {
    let timed = ["max-age", "s-maxage", "MAX-AGE", "stale-while-revalidate", "stale-if-error", "max-age "];
    let plain = [
        "no-store",
        "no-cache",
        "No-Cache",
        "private",
        "public",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "immutable",
        "ext=\"a, max-age=100\"",
        "no-cache=\"a\"",
        "private=\"a, b\"",
        "foo",
        "",
    ];
    prop_oneof![
        4 => (prop::sample::select(timed.to_vec()), number()).prop_map(|(name, value)| format!("{name}={value}")),
        1 => (prop::sample::select(timed.to_vec()), number()).prop_map(|(name, value)| format!("{name}=\"{value}\"")),
        3 => prop::sample::select(plain.to_vec()).prop_map(str::to_owned),
    ]
}

fn targeted_member() -> impl Strategy<Value = String> {
    let timed = ["max-age", "s-maxage", "stale-while-revalidate", "Max-Age", "max-age "];
    let plain = [
        "no-store",
        "no-cache",
        "private",
        "public",
        "must-revalidate",
        "must-understand",
        "no-store=?0",
        "no-cache=?0",
        "public=?1",
        "no-store=1",
        "no-cache=\"a\"",
        "private=a",
        "foo",
        "foo=\"bar\"",
        "must-revalidate;a=1",
        "",
        "&",
    ];
    prop_oneof![
        4 => (prop::sample::select(timed.to_vec()), number()).prop_map(|(name, value)| format!("{name}={value}")),
        5 => prop::sample::select(plain.to_vec()).prop_map(str::to_owned),
    ]
}

/// Lines of fields that a response may vary by.
fn selecting() -> impl Strategy<Value = Fields> {
    let names = vec!["foo", "bar", "accept-language", "accept-encoding"];
    let values = vec![
        "1",
        "1, 2",
        "1,2",
        "2, 1",
        " 1 ,2",
        "",
        "gzip, br",
        "BR, gzip",
        "br;q=0.5, gzip",
        "br; q=0.5,gzip",
    ];
    let line = (prop::sample::select(names), prop::sample::select(values));
    prop::collection::vec(line.prop_map(|(name, value)| (name, value.trim().to_owned())), 0..5)
}

fn request_directive() -> impl Strategy<Value = String> {
    let timed = ["max-age", "min-fresh", "max-stale", "Max-Stale"];
    prop_oneof![
        3 => (prop::sample::select(timed.to_vec()), number()).prop_map(|(name, value)| format!("{name}={value}")),
        1 => prop::sample::select(vec!["max-stale", "no-cache", "no-store", "foo"]).prop_map(str::to_owned),
    ]
}

fn lines(directive: impl Strategy<Value = String>, most: usize) -> impl Strategy<Value = Fields> {
    prop::collection::vec(prop::collection::vec(directive, 0..4), 0..most)
        .prop_map(|lines| lines.into_iter().map(|line| ("cache-control", line.join(", "))).collect())
}

fn story() -> impl Strategy<Value = Story> {
    let method = prop::sample::select(vec!["GET", "GET", "GET", "HEAD", "POST", "PUT"]);
    let status = prop::sample::select(vec![200, 200, 200, 201, 203, 302, 404, 410, 500, 503, 599]);
    let age = prop::option::of(prop_oneof![
        number(),
        (number(), number()).prop_map(|(one, two)| format!("{one}, {two}")),
    ]);
    let offset = || prop::option::of(-300..300_i64);
    let times = (offset(), offset(), prop::option::of(-100_000..100_i64), 0..20_i64, 0..300_i64);
    let target = prop::option::weighted(
        0.3,
        prop::collection::vec(targeted_member(), 1..4).prop_map(|members| members.join(", ")),
    );
    let requests = (lines(request_directive(), 2), any::<bool>(), lines(request_directive(), 2), target);
    (method, status, lines(response_directive(), 3), age, times, requests).prop_map(
        |(
            method,
            status,
            mut response,
            age,
            (date, expires, modified, delay, elapsed),
            (mut request, authorized, later, targeted),
        )| {
            response.extend(age.map(|age| ("age", age)));
            if authorized {
                request.push(("authorization", "secret".to_owned()));
            }
            Story {
                method,
                request,
                status,
                response,
                targeted,
                date,
                expires,
                modified,
                delay,
                elapsed,
                later,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, rng_seed: RngSeed::Fixed(9111), ..ProptestConfig::default() })]

    #[test]
    fn the_engine_never_stores_what_the_text_forbids(story in story()) {
        let (is_stored, _) = engine(&story);
        if let Some(why) = twin::forbids_storing(&story) {
            prop_assert!(!is_stored, "{why}");
        }
    }

    #[test]
    fn the_engine_serves_without_validation_exactly_what_the_text_lets_it(story in story()) {
        let (_, is_served) = engine(&story);
        match twin::forbids_serving(&story) {
            Some(why) => prop_assert!(!is_served, "{why}"),
            None => prop_assert!(is_served, "nothing forbids it"),
        }
    }

    #[test]
    fn a_request_selects_exactly_what_the_text_lets_it(
        vary in prop::collection::vec(prop::sample::select(vec!["foo", "BAR", "Accept-Language", "accept-encoding"]), 0..4),
        (stored, asked) in (selecting(), selecting()),
    ) {
        let map = |fields: &Fields| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a field value"));
            }
            map
        };
        let mut response = HeaderMap::new();
        response.insert("vary", HeaderValue::from_str(&vary.join(", ")).expect("a field value"));
        let selection = Vary::parse(&response).selection(&map(&stored), &response);
        prop_assert_eq!(selection.matches(&map(&asked)), twin::matches(&vary, &stored, &asked));
    }
}
