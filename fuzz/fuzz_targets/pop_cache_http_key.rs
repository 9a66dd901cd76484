//! Targets and hosts from anybody: a key is a URI whose own key it is.
#![no_main]

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;
use pop_cache::http::{CacheKey, MAX_KEY_BYTES};

fuzz_target!(|data: &[u8]| {
    let (target, host) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let Ok(uri) = Uri::try_from(target) else { return };
    let mut headers = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_bytes(host.get(1..).unwrap_or_default()) {
        headers.insert(HOST, host);
    }
    let Ok(key) = CacheKey::of(&uri, &headers, "http") else { return };
    assert!(key.as_str().len() <= MAX_KEY_BYTES);
    let path = key.target().split('?').next().unwrap_or_default();
    assert!(path.starts_with('/') && path.split('/').all(|segment| segment != "." && segment != ".."));
    if let Ok(uri) = key.as_str().parse::<Uri>() {
        assert_eq!(CacheKey::from_uri(&uri).as_ref(), Ok(&key));
    }
});
