//! Times: lifetimes, idle times, and when memory comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pop_cache::{Builder, Cache, EntryOptions, Timestamp};

/// A clock in the test's hand, which counts how often it is read.
#[derive(Default)]
struct Clock {
    seconds: AtomicU64,
    readings: AtomicU64,
}

fn cache<V: Send + Sync + 'static>(
    capacity: u64,
    build: impl FnOnce(Builder<u64, V>) -> Builder<u64, V>,
) -> (Cache<u64, V>, Arc<Clock>) {
    let clock = Arc::new(Clock::default());
    let ours = Arc::clone(&clock);
    let read = move || {
        ours.readings.fetch_add(1, Ordering::Relaxed);
        Timestamp::ZERO.saturating_add(Duration::from_secs(ours.seconds.load(Ordering::Relaxed)))
    };
    (build(Cache::builder(capacity).clock(read)).build(), clock)
}

fn seconds(seconds: u64) -> EntryOptions {
    EntryOptions::new().time_to_live(Duration::from_secs(seconds))
}

#[test]
fn a_hit_without_a_deadline_reads_no_clock() {
    let (cache, clock) = cache(100, |builder| builder);
    cache.insert(1, 1).unwrap();
    cache.insert_entry(2, 2, EntryOptions::new().tag(7)).unwrap();
    cache.insert_entry(3, 3, seconds(9)).unwrap();
    clock.readings.store(0, Ordering::Relaxed);
    assert_eq!((cache.get(&1), cache.get(&2), cache.get(&4)), (Some(1), Some(2), None));
    assert!(cache.get_ref(&1).is_some() && cache.contains_key(&1) && cache.peek(&1).is_some());
    assert_eq!(clock.readings.load(Ordering::Relaxed), 0);
    assert_eq!(cache.get(&3), Some(3));
    assert_eq!(clock.readings.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_over_comes_back_with_the_inserts_that_follow() {
    let (cache, clock) = cache(1 << 20, |builder| builder);
    // Most of them stay; those that go are spread among them.
    (0..100_000_u64).for_each(|key| cache.insert_entry(key, key, seconds(10 + key % 10 * 100)).unwrap());
    assert_eq!(cache.len(), 100_000);
    clock.seconds.store(10, Ordering::Relaxed);
    // Each insert takes out up to sixteen, in a region of sixty-four: a tenth of them is over.
    (100_000..110_000_u64).for_each(|key| cache.insert(key, key).unwrap());
    assert_eq!((cache.stats().expired, cache.len()), (10_000, 100_000));
    clock.seconds.store(2000, Ordering::Relaxed);
    cache.reclaim();
    assert_eq!((cache.stats().expired, cache.len(), cache.retired_weight()), (100_000, 10_000, 0));
}

#[test]
fn what_is_over_goes_before_what_is_live() {
    let (cache, clock) = cache(1000, |builder| builder);
    (0..500_u64).for_each(|key| cache.insert_entry(key, key, seconds(5)).unwrap());
    (500..1000_u64).for_each(|key| cache.insert(key, key).unwrap());
    let before = cache.stats().evicted;
    clock.seconds.store(5, Ordering::Relaxed);
    (1000..1400_u64).for_each(|key| cache.insert(key, key).unwrap());
    assert_eq!(cache.stats().evicted, before);
    assert!((1000..1400).all(|key| cache.contains_key(&key)));
}

#[test]
fn an_idle_time_is_put_off_by_hits_but_not_beyond_the_lifetime() {
    let (cache, clock) = cache(10, |builder| builder.time_to_idle(Duration::from_secs(10)));
    cache.insert(1, 1).unwrap();
    cache.insert_entry(2, 2, seconds(15)).unwrap();
    for now in [9, 14] {
        clock.seconds.store(now, Ordering::Relaxed);
        assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), Some(2)), "at {now}");
    }
    clock.seconds.store(15, Ordering::Relaxed);
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), None));
    clock.seconds.store(25, Ordering::Relaxed);
    assert_eq!(cache.get(&1), None);
}

#[test]
fn a_shorter_life_in_a_used_slot_is_seen() {
    let (cache, clock) = cache(1, |builder| builder);
    cache.insert_entry(1, 1, seconds(1000)).unwrap();
    cache.insert_entry(2, 2, seconds(3)).unwrap();
    clock.seconds.store(3, Ordering::Relaxed);
    cache.reclaim();
    assert_eq!((cache.len(), cache.stats().expired), (0, 1));
}

#[test]
fn jitter_shortens_and_never_lengthens() {
    let (cache, clock) = cache(10_000, |builder| builder.time_to_live(Duration::from_secs(1000)).jitter(0.5));
    (0..1000_u64).for_each(|key| cache.insert(key, key).unwrap());
    clock.seconds.store(499, Ordering::Relaxed);
    assert_eq!(cache.iter().count(), 1000);
    clock.seconds.store(750, Ordering::Relaxed);
    // Half of a thousand; less than a hundred or more than nine hundred never happens.
    assert!((100..900).contains(&cache.iter().count()));
    clock.seconds.store(1000, Ordering::Relaxed);
    assert_eq!(cache.iter().count(), 0);
}

#[test]
fn one_is_asked_to_refresh_while_all_are_served() {
    let (cache, clock) = cache(10, |builder| builder);
    let options = EntryOptions::new().refresh_after(Duration::from_secs(5));
    cache.insert_entry(1, 1, options).unwrap();
    let asked = AtomicU64::new(0);
    let get = || {
        cache.get_or_refresh(&1, |_| {
            asked.fetch_add(1, Ordering::Relaxed);
        })
    };
    assert_eq!((get(), asked.load(Ordering::Relaxed)), (Some(1), 0));
    clock.seconds.store(5, Ordering::Relaxed);
    assert_eq!((get(), get(), asked.load(Ordering::Relaxed)), (Some(1), Some(1), 1));
}
