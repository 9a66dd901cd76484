//! `Cache-Control` from anybody: never a panic, bounded, and what is read can be written and read again.
#![no_main]

use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};
use libfuzzer_sys::fuzz_target;
use pop_cache::http::{
    Delta, MAX_DELTA_SECONDS, MAX_QUALIFIED_FIELDS, MaxStale, Qualified, RequestDirectives,
    ResponseDirectives,
};

fn delta(text: &mut Vec<String>, name: &str, delta: Delta) {
    match delta {
        Delta::Absent => {}
        Delta::Seconds(seconds) => {
            assert!(seconds <= MAX_DELTA_SECONDS);
            text.push(format!("{name}={seconds}"));
        }
        Delta::Invalid => text.push(name.to_owned()),
    }
}

fn qualified(text: &mut Vec<String>, name: &str, qualified: &Qualified) {
    match qualified {
        Qualified::Absent => {}
        Qualified::Whole => text.push(name.to_owned()),
        Qualified::Fields(fields) => {
            assert!(!fields.is_empty() && fields.len() <= MAX_QUALIFIED_FIELDS);
            let names: Vec<&str> = fields.iter().map(|field| field.as_str()).collect();
            text.push(format!("{name}=\"{}\"", names.join(", ")));
        }
    }
}

fn written(directives: &ResponseDirectives) -> String {
    let mut text = Vec::new();
    delta(&mut text, "max-age", directives.max_age);
    delta(&mut text, "s-maxage", directives.s_maxage);
    delta(&mut text, "stale-while-revalidate", directives.stale_while_revalidate);
    delta(&mut text, "stale-if-error", directives.stale_if_error);
    qualified(&mut text, "no-cache", &directives.no_cache);
    qualified(&mut text, "private", &directives.private);
    let flags = [
        ("no-store", directives.no_store),
        ("must-revalidate", directives.must_revalidate),
        ("proxy-revalidate", directives.proxy_revalidate),
        ("must-understand", directives.must_understand),
        ("public", directives.public),
        ("immutable", directives.immutable),
        ("no-transform", directives.no_transform),
    ];
    text.extend(flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (*name).to_owned()));
    text.join(", ")
}

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n').take(8) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(CACHE_CONTROL, value);
        }
    }
    let request = RequestDirectives::parse(&headers);
    if let MaxStale::Within(limit) = request.max_stale {
        assert!(limit.as_secs() <= u64::from(MAX_DELTA_SECONDS));
    }
    let response = ResponseDirectives::parse(&headers);
    let mut again = HeaderMap::new();
    again.insert(CACHE_CONTROL, HeaderValue::from_str(&written(&response)).expect("visible ASCII"));
    assert_eq!(ResponseDirectives::parse(&again), response);
});
