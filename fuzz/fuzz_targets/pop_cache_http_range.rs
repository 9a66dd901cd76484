//! `Range` and `Content-Range` from anybody: parts lie within the representation and are not longer than it.
#![no_main]

use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use pop_cache::http::{ContentRange, MAX_RANGES, Ranges, Resolved};

fuzz_target!(|data: (u64, &[u8])| {
    let (length, text) = data;
    let Ok(value) = HeaderValue::from_bytes(text) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, value.clone());
    headers.insert(CONTENT_RANGE, value);
    if let Some(ranges) = Ranges::parse(&headers) {
        if let Resolved::Parts(parts) = ranges.resolve(length) {
            assert!(!parts.is_empty() && parts.len() <= MAX_RANGES);
            for part in &parts {
                assert!(part.first <= part.last && part.last < length);
            }
            let sum: u128 = parts.iter().map(|part| u128::from(part.length())).sum();
            assert!(sum <= u128::from(length));
        }
        if let Some(part) = ranges.sole(length) {
            assert_eq!(ranges.resolve(length), Resolved::Parts(vec![part]));
        }
    }
    if let Some(part) = ContentRange::parse(&headers) {
        let mut again = HeaderMap::new();
        again.insert(CONTENT_RANGE, part.to_value());
        assert_eq!(ContentRange::parse(&again), Some(part));
    }
});
