//! Any bytes as a snapshot, and any bytes as the bodies of its entries, framed and summed as they should be: refused with a
//! reason, or taken in; and what was taken in is written and read again the same.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use pop_cache::{Cache, SnapshotError};

/// A whole snapshot with these bodies, written a second after 1970 began.
fn framed(bodies: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"popcach1".to_vec();
    bytes.extend(1_000_000_000_u64.to_le_bytes());
    for body in bodies {
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(crc32fast::hash(body).to_le_bytes());
        bytes.extend(*body);
    }
    let count = (bodies.len() as u64).to_le_bytes();
    bytes.extend([0; 4]);
    bytes.extend(count);
    bytes.extend(crc32fast::hash(&count).to_le_bytes());
    bytes
}

fuzz_target!(|input: (u16, Vec<&[u8]>)| {
    let (away_millis, mut parts) = input;
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1) + Duration::from_millis(u64::from(away_millis));
    if let Some(raw) = parts.first() {
        check(raw, wall);
    }
    // No body is empty: that would be the end.
    parts.retain(|body| !body.is_empty());
    if let Err(refused) = check(&framed(&parts), wall) {
        assert!(matches!(refused, SnapshotError::Types { .. }), "{refused}");
    }
});

fn check(bytes: &[u8], wall: SystemTime) -> Result<(), SnapshotError> {
    let cache: Cache<u16, Vec<u8>> = Cache::builder(256).build();
    let taken = cache.restore_at(bytes, wall);
    let mut written = Vec::new();
    let entries = cache.save_at(&mut written, wall).expect("a vector takes everything");
    let back: Cache<u16, Vec<u8>> = Cache::builder(256).build();
    let restored = back.restore_at(&written[..], wall).expect("what was written");
    assert_eq!(restored.entries + restored.expired + restored.refused, entries);
    back.for_each(|key, value| assert_eq!(cache.peek(key).as_ref(), Some(value)));
    taken.map(|_| ())
}
