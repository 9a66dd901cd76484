//! Whole exchanges from anybody: decisions agree with each other, whatever the fields say.
#![no_main]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use pop_cache::http::{
    Exchange, Policy, Precondition, RequestDirectives, Reuse, Rules, Storability, precondition,
    remove_unstorable, update_stored,
};

const NAMES: [&str; 18] = [
    "cache-control",
    "cdn-cache-control",
    "expires",
    "age",
    "date",
    "last-modified",
    "etag",
    "vary",
    "set-cookie",
    "authorization",
    "if-none-match",
    "if-modified-since",
    "range",
    "content-range",
    "connection",
    "accept-language",
    "content-length",
    "x",
];

fn fields(lines: &mut dyn Iterator<Item = &[u8]>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()).take(12) {
        let name = HeaderName::from_static(NAMES[usize::from(line[0]) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(&line[1..]) {
            map.append(name, value);
        }
    }
    map
}

fuzz_target!(|data: (u16, u32, &[u8])| {
    let (status, elapsed, text) = data;
    let Ok(status) = StatusCode::from_u16(status % 900 + 100) else { return };
    let mut lines = text.split(|&byte| byte == b'\n');
    let (request, mut response, later) = (fields(&mut lines), fields(&mut lines), fields(&mut lines));
    let arrival = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let rules = Rules::default();
    let exchange = Exchange {
        method: &Method::GET,
        request: &request,
        status,
        response: &response,
        request_time: arrival,
        response_time: arrival,
    };
    let policy = Policy::new(&rules, &exchange);
    let is_stored = policy.storability(&rules, &exchange) == Storability::Allowed;
    let now = arrival + Duration::from_secs(u64::from(elapsed));
    let directives = RequestDirectives::parse(&later);
    match policy.reuse(&rules, &directives, now, None) {
        Reuse::Fresh { age, ttl } => {
            assert!(!ttl.is_zero());
            assert_eq!(age, policy.age(now));
            assert_eq!(policy.freshness().lifetime - age, ttl);
            // Purged at this moment it is stale, and never becomes fresh again.
            let purged = policy.reuse(&rules, &directives, now, Some(now));
            assert!(!matches!(purged, Reuse::Fresh { .. }));
        }
        Reuse::Stale { staleness, .. } => {
            assert!(!policy.directives().forbids_stale());
            assert_eq!(policy.age(now) - policy.freshness().lifetime, staleness);
        }
        _ => {}
    }
    if is_stored {
        assert!(status.as_u16() >= 200 && status != StatusCode::NOT_MODIFIED);
    }
    if precondition(&later, status, &response, arrival) == Precondition::NotModified {
        assert!(status.is_success());
    }
    let own = policy.vary().selection(&request, &response);
    assert!(own.matches(&request));
    let directives = policy.directives().clone();
    remove_unstorable(&mut response, &directives);
    assert!(!response.contains_key("connection"));
    update_stored(&mut response, &later);
    assert!(!response.contains_key("age") || later.contains_key("age"));
});
