//! Any bytes as a snapshot: refused with a reason, or taken in; and what was taken in is written and read again the same.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use pop_cache::Cache;

fuzz_target!(|bytes: &[u8]| {
    let cache: Cache<u16, Vec<u8>> = Cache::builder(1 << 16).build();
    let wall = SystemTime::UNIX_EPOCH;
    let _refused = cache.restore_at(bytes, wall);
    let mut written = Vec::new();
    let entries = cache.save_at(&mut written, wall).expect("a vector takes everything");
    let back: Cache<u16, Vec<u8>> = Cache::builder(1 << 16).build();
    let restored = back.restore_at(&written[..], wall).expect("what was written");
    assert!(restored.entries + restored.expired + restored.refused == entries);
    back.for_each(|key, value| assert_eq!(cache.peek(key).as_ref(), Some(value)));
});
