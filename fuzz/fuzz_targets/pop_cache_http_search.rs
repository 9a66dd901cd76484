//! `No-Vary-Search` and queries from anybody: what is simplified stays as it is, and says no more than it did.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use pop_cache::http::SearchVariance;

fuzz_target!(|data: (&[u8], &str)| {
    let (field, query) = data;
    let mut headers = HeaderMap::new();
    for line in field.split(|&byte| byte == b'\n').take(4) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append("no-vary-search", value);
    }
    let Some(variance) = SearchVariance::parse(&headers) else { return };
    assert_eq!(SearchVariance::parse(&headers).as_ref(), Some(&variance));
    let simplified = variance.simplified(query);
    assert_eq!(variance.simplified(&simplified), simplified);
    // Broken UTF-8 grows threefold, and each byte of that into an escape.
    assert!(simplified.len() <= query.len() * 9 + 1);
    assert!(simplified.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    // Empty parts never count.
    assert_eq!(variance.simplified(&format!("&&{query}&")), simplified);
});
