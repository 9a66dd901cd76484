//! Warm restarts.
#![cfg(feature = "serde")]

use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use pop_cache::{Cache, EntryOptions, SnapshotError};

fn wall(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn cache(capacity: u64) -> Cache<String, Vec<u8>> {
    Cache::builder(capacity).weigher(|_: &String, value: &Vec<u8>| value.len() as u64).build()
}

fn filled() -> Cache<String, Vec<u8>> {
    let cache = cache(1000);
    cache.insert("plain".into(), vec![1; 10]).unwrap();
    let life = |seconds| EntryOptions::new().time_to_live(Duration::from_secs(seconds));
    cache.insert_entry("short".into(), vec![2; 20], life(100)).unwrap();
    cache.insert_entry("long".into(), vec![3; 30], life(10_000).tag(7).weight(99)).unwrap();
    cache
        .insert_entry("idle".into(), vec![4; 40], EntryOptions::new().time_to_idle(Duration::from_secs(5000)))
        .unwrap();
    cache
}

fn saved(cache: &Cache<String, Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    cache.save_at(&mut bytes, wall(0)).unwrap();
    bytes
}

#[test]
fn entries_weights_tags_and_what_is_left_of_times_come_back() {
    let bytes = saved(&filled());
    let back = cache(1000);
    let restored = back.restore_at(&bytes[..], wall(60)).unwrap();
    assert_eq!((restored.entries, restored.expired, restored.refused), (4, 0, 0));
    assert_eq!(back.weight(), 10 + 20 + 99 + 40);
    assert_eq!(back.get("long"), Some(vec![3; 30]));
    let later = |seconds| pop_cache::now().saturating_add(Duration::from_secs(seconds));
    // 40 of the 100 seconds are left, and 5 of grace for a slow machine.
    assert!(back.get_at("short", later(30)).is_some() && back.get_at("short", later(41)).is_none());
    assert!(back.get_at("idle", later(4900)).is_some());
    back.invalidate_tag(7);
    assert!(back.get("long").is_none() && back.get("plain").is_some());
}

#[test]
fn what_is_over_meanwhile_or_does_not_fit_stays_away() {
    let bytes = saved(&filled());
    let restored = cache(50).restore_at(&bytes[..], wall(200)).unwrap();
    assert_eq!((restored.entries, restored.expired, restored.refused), (2, 1, 1));
}

#[test]
fn a_torn_snapshot_is_refused_wherever_it_ends() {
    let bytes = saved(&filled());
    for length in 0..bytes.len() {
        match cache(1000).restore_at(&bytes[..length], wall(0)) {
            Err(SnapshotError::Torn { offset }) => assert_eq!(offset, length as u64),
            other => panic!("{other:?} of {length} bytes"),
        }
    }
}

#[test]
fn a_flipped_bit_is_found_and_nothing_damaged_gets_in() {
    let original = filled();
    let bytes = saved(&original);
    for bit in 16 * 8..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let back = cache(1000);
        let error = back.restore_at(&damaged[..], wall(0)).unwrap_err();
        assert!(
            matches!(
                error,
                SnapshotError::Torn { .. } | SnapshotError::Corrupt { .. } | SnapshotError::Length { .. }
            ),
            "{error:?} for bit {bit}"
        );
        back.for_each(|key, value| assert_eq!(original.peek(key.as_str()).as_ref(), Some(value)));
    }
    assert!(matches!(cache(1).restore(&b"a picture of a cat"[..]), Err(SnapshotError::Magic)));
}

#[test]
fn other_types_are_named_and_not_taken_in() {
    let bytes = saved(&filled());
    let other: Cache<String, String> = Cache::builder(1000).build();
    let error = other.restore_at(&bytes[..], wall(0)).map(|restored| restored.entries);
    // Bytes may happen to be a string; a number of fifty bytes is not one.
    assert!(matches!(error, Ok(4) | Err(SnapshotError::Types { .. })), "{error:?}");
    let other: Cache<u8, bool> = Cache::builder(1000).build();
    assert!(matches!(other.restore_at(&bytes[..], wall(0)), Err(SnapshotError::Types { .. })));
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

#[test]
fn what_the_writer_or_the_reader_says_comes_through() {
    let kind = |error: SnapshotError| match error {
        SnapshotError::Io(error) => error.kind(),
        other => panic!("{other}"),
    };
    assert_eq!(kind(filled().save(Broken).unwrap_err()), io::ErrorKind::StorageFull);
    assert_eq!(kind(filled().restore(Broken).unwrap_err()), io::ErrorKind::ConnectionReset);
}
