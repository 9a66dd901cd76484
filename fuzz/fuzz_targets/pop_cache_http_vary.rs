//! `Vary` and the fields it names, from anybody: a request always selects the response that it got.
#![no_main]

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use pop_cache::http::Vary;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&byte| byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let (mut response, mut request, mut other) = (HeaderMap::new(), HeaderMap::new(), HeaderMap::new());
    for value in lines.by_ref().take(2) {
        response.append(VARY, value);
    }
    for (map, name) in
        [(&mut response, CONTENT_LANGUAGE), (&mut request, ACCEPT_LANGUAGE), (&mut other, ACCEPT_LANGUAGE)]
    {
        if let Some(value) = lines.next() {
            map.append(name, value);
        }
    }
    for value in lines.take(4) {
        request.append(ACCEPT_ENCODING, value.clone());
        request.append("x", value);
    }
    let vary = Vary::parse(&response);
    let selection = vary.selection(&request, &response);
    assert!(selection.matches(&request));
    // Equal keys are told apart by no request that has only what selects.
    let others = vary.selection(&other, &response);
    if selection == others {
        assert!(selection.matches(&other) && others.matches(&request));
    }
    if let Vary::Fields(fields) = &vary {
        assert!(fields.iter().all(|name| fields.iter().filter(|same| *same == name).count() == 1));
    }
});
