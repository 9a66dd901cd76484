//! Looking many entries up, walking them, counting, and changing what was seen.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pop_cache::{Cache, Change, EntryOptions, Ref, RemovalCause, Timestamp};

#[test]
fn get_many_answers_in_order_duplicates_and_misses_included() {
    let cache: Cache<String, u64> = Cache::builder(100).build();
    for key in 0..5_u64 {
        cache.insert(key.to_string(), key).unwrap();
    }
    let keys = ["3", "9", "3", "0", "", "4", "3"];
    let found = cache.get_many(keys);
    assert_eq!(found, [Some(3), None, Some(3), Some(0), None, Some(4), Some(3)]);
    assert_eq!((cache.stats().hits, cache.stats().misses), (5, 2), "each of them is a look-up");
    assert_eq!(cache.get_many(std::iter::empty::<&str>()), []);
}

#[test]
fn get_many_leaves_out_what_is_over() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let cache: Cache<u64, u64> =
        Cache::builder(100).clock(move || Timestamp::from_nanos(clock.load(Ordering::Relaxed))).build();
    for key in 0..10 {
        let life = EntryOptions::new().time_to_live(Duration::from_nanos(key + 1)).tag(key % 2);
        cache.insert_entry(key, key, life).unwrap();
    }
    time.store(5, Ordering::Relaxed);
    cache.invalidate_tag(1);
    let keys: Vec<u64> = (0..10).collect();
    let live: Vec<u64> = cache.get_many(&keys).into_iter().flatten().collect();
    assert_eq!(live, [6, 8]);
}

/// While the index grows from the smallest, each walk sees every entry that stays, and none twice.
#[test]
fn a_walk_sees_what_stays_once() {
    const STAY: u64 = 500;
    let cache: Cache<u64, u64> = Cache::builder(1 << 30).entries(1).build();
    (0..STAY).for_each(|key| cache.insert(key, key).unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for key in STAY..30_000 {
                cache.insert(key, key).unwrap();
                if key % 3 == 0 {
                    cache.remove(&(key / 2 + STAY));
                }
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let keys: Vec<u64> = cache.iter().map(|entry| *entry.key()).collect();
                let distinct: HashSet<u64> = keys.iter().copied().collect();
                assert_eq!(keys.len(), distinct.len(), "an entry came twice");
                assert!((0..STAY).all(|key| distinct.contains(&key)), "an entry that stays was missed");
            }
        });
        writer.join().unwrap();
        done.store(true, Ordering::Release);
    });
}

/// More threads than any machine of a builder has stripes, all at once.
#[test]
fn counts_are_exact_however_many_threads_count() {
    const THREADS: u64 = 150;
    let cache: Cache<u64, u64> = Cache::builder(1 << 20).build();
    let barrier = std::sync::Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, barrier) = (&cache, &barrier);
            scope.spawn(move || {
                cache.get(&0);
                barrier.wait();
                for step in 0..200 {
                    let key = thread << 32 | step;
                    cache.insert(key, step).unwrap();
                    assert_eq!(cache.get(&key), Some(step));
                    if step % 4 == 0 {
                        cache.insert(key, step + 1).unwrap();
                    }
                    if step % 5 == 0 {
                        cache.remove(&key);
                    }
                }
            });
        }
    });
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses), (200 * THREADS, THREADS));
    assert_eq!((stats.inserts, stats.replaced, stats.removed), (250 * THREADS, 50 * THREADS, 40 * THREADS));
    assert_eq!((cache.len() as u64, cache.weight()), (160 * THREADS, 160 * THREADS));
}

/// A value is valid until its generation is over; however many see that at once, each generation is made once.
#[test]
fn a_value_is_validated_or_made_anew_in_one_step() {
    const GENERATIONS: u64 = 300;
    let cache: Cache<&str, u64> = Cache::builder(100).build();
    cache.insert("page", 0).unwrap();
    let made = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for generation in 1..=GENERATIONS {
                    let changed = cache.compute("page", |seen| match seen {
                        Some(&value) if value >= generation => Change::Keep,
                        Some(&value) => {
                            assert_eq!(value, generation - 1, "a generation was left out");
                            Change::Put(generation)
                        }
                        None => unreachable!("nothing has to go"),
                    });
                    made.fetch_add(u64::from(changed.unwrap()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((cache.get("page"), made.into_inner()), (Some(GENERATIONS), GENERATIONS));
}

/// A thousand ask at once from when it is due; one of them is told, until a new value is there.
#[test]
fn one_of_many_threads_refreshes() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let cache: Cache<u64, u64> =
        Cache::builder(100).clock(move || Timestamp::from_nanos(clock.load(Ordering::Relaxed))).build();
    let options = EntryOptions::new().refresh_after(Duration::from_nanos(10));
    for turn in 0..50_u64 {
        cache.insert_entry(1, turn, options.clone()).unwrap();
        time.fetch_add(10, Ordering::Relaxed);
        let told = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let value = cache.get_or_refresh(&1, |key| {
                            assert_eq!(*key, 1);
                            told.fetch_add(1, Ordering::Relaxed);
                        });
                        assert_eq!(value, Some(turn), "served meanwhile");
                    }
                });
            }
        });
        assert_eq!(told.into_inner(), 1);
    }
}

#[test]
fn a_listener_may_use_the_cache() {
    let handle: Arc<Mutex<Option<Cache<u64, u64>>>> = Arc::default();
    let second = Arc::clone(&handle);
    let cache: Cache<u64, u64> = Cache::builder(100)
        .on_removal(move |key, value, cause| {
            let Some(cache) = second.lock().unwrap().clone() else { return };
            assert!(
                cause != RemovalCause::Explicit || cache.get(key).is_none(),
                "it is out before it is told"
            );
            // Those who go for room are kept a second time, once.
            if cause == RemovalCause::Size && *key < 10_000 {
                // That may evict in turn, and so on: the entries on their way out hold their room until they are told of.
                let _refused_at_times = cache.insert(key + 10_000, *value);
            }
        })
        .build();
    *handle.lock().unwrap() = Some(cache.clone());
    for key in 0..2000 {
        cache.insert(key, key).unwrap();
        if key % 10 == 0 {
            assert_eq!(cache.remove(&key), Some(key));
        }
        assert!(cache.weight() + cache.retired_weight() <= 100);
    }
    assert!(cache.iter().any(|entry| *entry.key() >= 10_000));
    // Or else the listener would keep the cache alive that keeps it.
    handle.lock().unwrap().take();
}

#[test]
fn both_bounds_hold_while_writers_hammer_and_the_capacity_changes() {
    const WEIGHT: u64 = 4000;
    const ENTRIES: u64 = 100;
    let cache: Cache<u64, u64> =
        Cache::builder(WEIGHT).entries_max(ENTRIES).weigher(|key: &u64, _| 1 + key % 97).build();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u64)
            .map(|thread| {
                let cache = &cache;
                scope.spawn(move || {
                    for step in 0..20_000_u64 {
                        let key = step.wrapping_mul(2_654_435_761 + 2 * thread) >> 7 & 1023;
                        let _refused_at_times = cache.insert(key, key);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut turn = 0;
            while !done.load(Ordering::Relaxed) {
                turn += 1;
                // No moment of a walk sees more than were there at once and came meanwhile; the sum is exact enough.
                assert!(cache.weight() <= WEIGHT, "above the larger of the two");
                cache.resize(if turn % 2 == 0 { WEIGHT } else { WEIGHT / 4 });
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    cache.resize(WEIGHT / 4);
    let weight: u64 = cache.iter().map(|entry| 1 + entry.key() % 97).sum();
    assert_eq!(weight, cache.weight());
    assert!(weight <= WEIGHT / 4 && cache.len() as u64 <= ENTRIES);
    cache.resize(WEIGHT);
    for key in 0..1000 {
        cache.insert(key, key).unwrap();
        assert!(cache.contains_key(&key) && cache.len() as u64 <= ENTRIES);
    }
}

/// A guard stays on its thread, or else another could end its announcement. Were `Ref` `Send`, both of these would fit.
#[test]
fn a_guard_is_not_send() {
    trait Ambiguous<Marker> {
        fn check() {}
    }
    impl<T: ?Sized> Ambiguous<()> for T {}
    struct IsSend;
    impl<T: ?Sized + Send> Ambiguous<IsSend> for T {}
    <Ref<'static, u64, u64> as Ambiguous<_>>::check();
}

#[test]
fn bounds_beyond_what_memory_can_hold_are_only_bounds() {
    let cache: Cache<u64, u64> = Cache::builder(u64::MAX).entries(1000).entries_max(u64::MAX).build();
    (0..3000).for_each(|key| cache.insert(key, key).unwrap());
    assert_eq!(cache.len(), 3000);
    // What is laid out at once is bounded, however much is said.
    let cache: Cache<u64, u64> = Cache::builder(u64::MAX).entries(usize::MAX).build();
    (0..100).for_each(|key| cache.insert(key, key).unwrap());
    assert_eq!((cache.len(), cache.get(&7)), (100, Some(7)));
}
