//! Closures and user's code that panic where `drops.rs` has no place for them, and in the inline cache.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pop_cache::{Cache, EntryOptions, Inline, InlineCache, Timestamp};

fn panics<T>(what: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(|| drop(what()))).is_err(), "it was to panic");
}

#[test]
fn closures_that_panic_leave_the_entry_as_it_was() {
    let time = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&time);
    let cache: Cache<u64, Arc<u64>> =
        Cache::builder(10).clock(move || Timestamp::from_nanos(clock.load(Ordering::Relaxed) as u64)).build();
    let value = Arc::new(7);
    let options = EntryOptions::new().refresh_after(Duration::from_nanos(1));
    cache.insert_entry(1, Arc::clone(&value), options.clone()).unwrap();
    time.store(1, Ordering::Relaxed);
    panics(|| cache.compute(1, |_| panic!("on purpose")));
    panics(|| cache.compute(2, |_| panic!("on purpose")));
    panics(|| cache.get_or_refresh(&1, |_| panic!("on purpose")));
    panics(|| cache.for_each(|_, _| panic!("on purpose")));
    panics(|| cache.retain(|_, _| panic!("on purpose")));
    assert_eq!((cache.get(&1).as_deref(), cache.len(), cache.weight()), (Some(&7), 1, 1));
    // All of its announcements are withdrawn: what goes is dropped.
    cache.remove(&1);
    cache.reclaim();
    assert_eq!((Arc::strong_count(&value), cache.retired_weight()), (1, 0));
    // The one who was told to refresh has failed; the next value makes it good.
    cache.insert_entry(1, value, options).unwrap();
    time.store(2, Ordering::Relaxed);
    let mut told = 0;
    cache.get_or_refresh(&1, |_| told += 1);
    assert_eq!(told, 1);
}

/// Threads that panic all over, while others go on: nothing leaks, nothing stays locked or announced.
#[test]
fn threads_that_end_in_a_panic_hold_nothing_back() {
    let alive = Arc::new(AtomicI64::new(0));
    struct Counted(Arc<AtomicI64>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let new = || {
        alive.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(&alive))
    };
    let cache: Cache<u64, Counted> = Cache::builder(50).build();
    std::thread::scope(|scope| {
        for thread in 0..60_u64 {
            let (cache, new) = (&cache, &new);
            scope.spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    for step in 0..200 {
                        let key = (step * 7 + thread) % 90;
                        let _refused_at_times = cache.insert(key, new());
                        let guard = cache.get_ref(&key);
                        assert!(step < 150 + thread, "ends with a guard in its hand, on purpose");
                        drop(guard);
                    }
                }));
                assert_eq!(result.is_err(), thread < 50);
            });
        }
    });
    cache.reclaim();
    assert_eq!((cache.retired_weight(), alive.load(Ordering::SeqCst)), (0, cache.len() as i64));
    assert!((0..50).all(|key| cache.insert(1000 + key, new()).is_ok()), "all of the capacity is there");
    drop(cache);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

/// A key whose hash or comparison panics when its turn comes.
#[derive(Clone, Copy, Debug)]
struct Key(u32);

static STRIKES: AtomicI64 = AtomicI64::new(0);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        assert!(STRIKES.fetch_sub(1, Ordering::SeqCst) != 1, "on purpose");
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Inline for Key {
    const BITS: u32 = 32;

    fn to_bits(self) -> u128 {
        self.0.into()
    }

    fn from_bits(bits: u128) -> Self {
        Self(bits as u32)
    }
}

#[test]
fn the_inline_cache_survives_every_panic() {
    let cache: InlineCache<Key, u32> = InlineCache::new(100);
    for turn in 0..100_u32 {
        let key = Key(turn % 20);
        cache.insert(key, turn);
        STRIKES.store(1, Ordering::SeqCst);
        match turn % 4 {
            0 => panics(|| cache.get(&key)),
            1 => panics(|| cache.insert(key, 0)),
            2 => panics(|| cache.remove(&key)),
            _ => panics(|| cache.update(key, |_| None)),
        }
        STRIKES.store(0, Ordering::SeqCst);
        panics(|| cache.update(key, |_| panic!("on purpose")));
        panics(|| cache.get_or_insert_with(Key(1000 + turn), |_| panic!("on purpose")));
        panics(|| cache.retain(|_, _| panic!("on purpose")));
        panics(|| cache.for_each(|_, _| panic!("on purpose")));
        assert_eq!(cache.get(&key), Some(turn));
        assert_eq!(cache.len(), 20.min(turn as usize + 1));
    }
    cache.clear();
    assert!(cache.is_empty());
}
