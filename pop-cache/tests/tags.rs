//! Invalidation by tag: at once for whoever looks, and in its own time for the memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pop_cache::{Cache, EntryOptions};

fn tagged(tags: &[u64]) -> EntryOptions {
    tags.iter().fold(EntryOptions::new(), |options, tag| options.tag(*tag))
}

#[test]
fn any_of_many_tags_voids_an_entry_and_no_other() {
    let cache = Cache::builder(1000).build();
    for key in 0..100_u64 {
        cache.insert_entry(key, key, tagged(&[key % 3, 1000 + key % 5, 0])).unwrap();
    }
    cache.insert(100, 100).unwrap();
    cache.invalidate_tag(1002);
    cache.invalidate_tag(77);
    assert!((0..100).all(|key| cache.get(&key).is_some() == (key % 5 != 2)));
    cache.invalidate_tag(0);
    assert!((0..100).all(|key| cache.peek(&key).is_none()));
    assert_eq!(cache.iter().map(|entry| *entry.key()).collect::<Vec<u64>>(), [100]);
    // What comes after it is none of its business.
    cache.insert_entry(5, 5, tagged(&[0, 1002])).unwrap();
    assert_eq!(cache.get(&5), Some(5));
}

#[test]
fn memory_comes_back_with_the_inserts_that_follow() {
    let cache = Cache::builder(1 << 20).build();
    for key in 0..50_000_u64 {
        cache.insert_entry(key, key, tagged(&[key % 2])).unwrap();
    }
    cache.invalidate_tag(0);
    assert_eq!(cache.len(), 50_000);
    let buckets = (1 << 20) / 3 + 1;
    // Four buckets each.
    (0..=buckets / 4).for_each(|key| cache.insert(1_000_000 + key, key).unwrap());
    assert_eq!(cache.stats().removed, 25_000);
    assert!((1..50_000).step_by(2).all(|key| cache.contains_key(&key)));
}

#[test]
fn void_entries_go_before_live_ones() {
    let cache = Cache::builder(1000).build();
    (0..500_u64).for_each(|key| cache.insert_entry(key, key, tagged(&[1])).unwrap());
    (500..1000_u64).for_each(|key| cache.insert(key, key).unwrap());
    let before = cache.stats().evicted;
    cache.invalidate_tag(1);
    (1000..1300_u64).for_each(|key| cache.insert(key, key).unwrap());
    assert_eq!(cache.stats().evicted, before);
    assert!((1000..1300).all(|key| cache.contains_key(&key)));
}

#[test]
fn more_tags_than_are_remembered_are_all_invalidated() {
    const TAGS: u64 = 5000;
    let cache = Cache::builder(100_000).build();
    (0..2 * TAGS).for_each(|key| cache.insert_entry(key, key, tagged(&[key / 2, TAGS + key % 2])).unwrap());
    (0..TAGS).filter(|tag| tag % 7 != 0).for_each(|tag| cache.invalidate_tag(tag));
    assert!((0..2 * TAGS).all(|key| cache.contains_key(&key) == (key / 2 % 7 == 0)));
    (0..2 * TAGS).for_each(|key| cache.insert_entry(key, key, tagged(&[key / 2])).unwrap());
    assert!((0..2 * TAGS).all(|key| cache.contains_key(&key)));
}

/// Readers never see what was inserted before an invalidation that has returned.
#[test]
fn an_invalidation_holds_from_when_it_returns() {
    const TAGS: u64 = 3000;
    let cache: Cache<u64, u64> = Cache::builder(1000).build();
    let (round, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let past = round.load(Ordering::Acquire);
                    for key in 0..8 {
                        if let Some(value) = cache.get(&key) {
                            assert!(value >= past, "{value} was void before {past}");
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            // Notes of other tags, so that they are forgotten meanwhile.
            for tag in (0..).take_while(|_| !done.load(Ordering::Acquire)) {
                cache.invalidate_tag(100 + tag % TAGS);
            }
        });
        for past in 1..1000 {
            (0..8).for_each(|key| cache.insert_entry(key, past - 1, tagged(&[key % 2])).unwrap());
            cache.invalidate_tag(0);
            cache.invalidate_tag(1);
            round.store(past, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
}
