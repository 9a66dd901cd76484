//! Dates from anybody: what is read can be written and read again.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use pop_cache::http::{date_field, parse_date};

fuzz_target!(|data: &[u8]| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let Some(date) = parse_date(data, now) else { return };
    if date >= SystemTime::UNIX_EPOCH {
        assert_eq!(parse_date(date_field(date).as_bytes(), now), Some(date));
    }
    // Case says nothing.
    assert_eq!(parse_date(&data.to_ascii_uppercase(), now), Some(date));
});
