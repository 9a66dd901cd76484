//! Many threads at once: what each of them saw must fit together.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use pop_cache::{Cache, Change, RemovalCause};

mod history;

use history::{Event, Random, Seen, check};

/// Histories over few keys, in a cache that holds all of them or that evicts all the time, from tables that grow.
fn record_and_check(capacity: u64, keys: u64, expected: usize, seed: u64) {
    const THREADS: u64 = 4;
    let cache: Cache<u64, u64> = Cache::builder(capacity).entries(expected).build();
    let clock = AtomicU64::new(0);
    let barrier = Barrier::new(THREADS as usize);
    let histories: Vec<Vec<(u64, Event)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (cache, clock, barrier) = (&cache, &clock, &barrier);
                scope.spawn(move || {
                    let mut random = Random::new(seed * 64 + thread);
                    let mut history = Vec::new();
                    barrier.wait();
                    for step in 0..400_u64 {
                        let key = random.below(keys);
                        let value = (step * THREADS + thread) << 8 | key;
                        let start = clock.fetch_add(1, Ordering::SeqCst);
                        let seen = match random.below(8) {
                            0 => {
                                cache.remove(&key);
                                Seen::Removed
                            }
                            1..4 => match cache.insert(key, value) {
                                Ok(()) => Seen::Wrote(value),
                                Err(_) => continue,
                            },
                            _ => Seen::Read(cache.get(&key)),
                        };
                        let end = clock.fetch_add(1, Ordering::SeqCst);
                        history.push((key, Event { start, end, seen }));
                    }
                    history
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for key in 0..keys {
        let history: Vec<Event> =
            histories.iter().flatten().filter(|(of, _)| *of == key).map(|(_, event)| *event).collect();
        check(&history);
    }
}

#[test]
fn histories_of_every_key_are_linearisable() {
    for seed in 0..40 {
        record_and_check(1000, 3, 1000, seed);
        record_and_check(4, 8, 4, seed);
        record_and_check(10_000, 200, 1, seed);
    }
}

#[test]
fn increments_are_never_lost() {
    // All of them together fit, so nothing has to go.
    let cache: Cache<u32, u64> = Cache::builder(100_000).build();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for step in 0..5000_u32 {
                    let changed = cache
                        .compute(step % 2, |value| Change::Put(value.copied().unwrap_or(0) + 1))
                        .unwrap();
                    assert!(changed);
                }
            });
        }
    });
    assert_eq!((cache.get(&0), cache.get(&1)), (Some(7500), Some(7500)));
}

/// A value that counts how many of its kind are alive.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn what_a_guard_holds_counts_against_the_capacity() {
    const CAPACITY: usize = 10;
    let alive = Arc::new(AtomicUsize::new(0));
    let cache = Cache::builder(CAPACITY as u64).build();
    for key in 0..CAPACITY {
        cache.insert(key, Alive::new(&alive)).unwrap();
    }
    let guards: Vec<_> = (0..CAPACITY).filter_map(|key| cache.get_ref(&key)).collect();
    assert!(!guards.is_empty());
    let mut refused = 0;
    for key in 100..200 {
        match cache.insert(key, Alive::new(&alive)) {
            Ok(()) => {}
            Err(back) => {
                refused += 1;
                assert_eq!((back.key, back.weight), (key, 1));
            }
        }
        assert!(alive.load(Ordering::SeqCst) <= CAPACITY, "memory grew");
        assert!(cache.weight() + cache.retired_weight() <= CAPACITY as u64);
    }
    assert!(refused > 0);
    assert!(guards.iter().all(|guard| *guard.key() < CAPACITY && guard.0.load(Ordering::SeqCst) > 0));
    drop(guards);
    (200..230).for_each(|key| cache.insert(key, Alive::new(&alive)).map_err(|_| "refused").unwrap());
    drop(cache);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_held_guard_holds_back_its_own_entry_only() {
    let cache: Cache<u64, u64> = Cache::builder(1000).build();
    (0..1000).for_each(|key| cache.insert(key, key).unwrap());
    let guard = cache.iter().next().unwrap();
    let held = *guard;
    for key in 1000..100_000 {
        cache.insert(key, key).unwrap();
    }
    assert_eq!(*guard, held);
    assert!(cache.len() > 900);
}

#[test]
fn the_listener_is_told_once_and_the_truth() {
    let told: Arc<[AtomicU64; 4]> = Arc::default();
    let listener = Arc::clone(&told);
    let cache: Cache<u64, u64> = Cache::builder(100)
        .on_removal(move |_, _, cause| {
            let place = match cause {
                RemovalCause::Replaced => 0,
                RemovalCause::Explicit => 1,
                RemovalCause::Expired => 2,
                RemovalCause::Size => 3,
                _ => unreachable!(),
            };
            listener[place].fetch_add(1, Ordering::SeqCst);
        })
        .build();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let cache = &cache;
            scope.spawn(move || {
                let mut random = Random::new(thread);
                for _ in 0..20_000 {
                    let key = random.below(300);
                    if random.below(5) == 0 {
                        let _removed = cache.remove(&key);
                    } else {
                        let _refused = cache.insert(key, key);
                    }
                }
            });
        }
    });
    let stats = cache.stats();
    let told: Vec<u64> = told.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    assert_eq!(told, [stats.replaced, stats.removed, stats.expired, stats.evicted]);
    assert_eq!(stats.inserts - told.iter().sum::<u64>(), cache.iter().count() as u64);
}

#[test]
fn a_stalled_reader_stops_nobody() {
    let cache: Cache<u64, u64> = Cache::builder(100).build();
    let (stalled, done) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cache.insert(1, 1).unwrap();
            let _guard = cache.get_ref(&1).unwrap();
            stalled.wait();
            while !done.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
        stalled.wait();
        for key in 2..10_000 {
            cache.insert(key, key).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}
