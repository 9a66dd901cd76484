//! `Age`, `Date` and `Expires` from anybody: ages only grow, and by exactly the time that passes.
#![no_main]

use std::time::{Duration, SystemTime};

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use pop_cache::http::{Exchange, Policy, Rules};

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    let names = [AGE, AGE, DATE, EXPIRES, LAST_MODIFIED, CACHE_CONTROL];
    for (line, name) in data.split(|&byte| byte == b'\n').zip(names) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    let arrival = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let exchange = Exchange {
        method: &Method::GET,
        request: &HeaderMap::new(),
        status: StatusCode::OK,
        response: &headers,
        request_time: arrival - Duration::from_secs(2),
        response_time: arrival,
    };
    let policy = Policy::new(&Rules::default(), &exchange);
    let age = policy.age(arrival);
    assert!(age >= Duration::from_secs(2), "the delay counts in full");
    assert_eq!(policy.age(arrival + Duration::from_secs(100)), age + Duration::from_secs(100));
    assert_eq!(
        policy.age(arrival - Duration::from_secs(100)),
        age,
        "a clock that steps back makes nothing younger"
    );
});
