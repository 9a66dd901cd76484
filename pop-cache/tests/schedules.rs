//! The whole cache under schedules drawn at random, a switch possible at every access to an atomic; each seed draws the same
//! ones again. Run with `RUSTFLAGS="--cfg loom --cfg crossbeam_loom --cfg shuttle" CARGO_TARGET_DIR=target/loom
//! cargo test -p pop-cache --no-default-features --test schedules --release`.
#![cfg(shuttle)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pop_cache::{Cache, Change, EntryOptions};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

mod history;

use history::{Event, Random, Seen, check};

/// Threads of one run, and what each of them does.
const THREADS: u64 = 3;
const STEPS: u64 = 6;
/// Schedules for each seed and size.
const SCHEDULES: usize = 200;

/// A value, and how many of its kind are alive. The counts are no part of what is scheduled.
struct Alive {
    value: u64,
    alive: Arc<AtomicI64>,
}

impl Alive {
    fn new(value: u64, alive: &Arc<AtomicI64>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { value, alive: Arc::clone(alive) }
    }
}

impl Clone for Alive {
    fn clone(&self) -> Self {
        Self::new(self.value, &self.alive)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One schedule: random operations over few keys, whose histories must fit together, in a cache that may never hold more
/// than its capacity, and that drops every value once.
fn run(capacity: u64, keys: u64, seed: u64) {
    let alive = Arc::new(AtomicI64::new(0));
    let cache: Cache<u64, Alive> = Cache::builder(capacity).entries(1).build();
    let clock = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (cache, clock, alive) = (cache.clone(), Arc::clone(&clock), Arc::clone(&alive));
            let mut random = Random::new(seed * 64 + thread);
            thread::spawn(move || {
                let mut history = Vec::new();
                for step in 0..STEPS {
                    let key = random.below(keys);
                    let value = (step * THREADS + thread) << 8 | key;
                    let start = clock.fetch_add(1, Ordering::SeqCst);
                    let seen = act(&cache, random.below(10), key, Alive::new(value, &alive));
                    let end = clock.fetch_add(1, Ordering::SeqCst);
                    history.extend(seen.map(|seen| (key, Event { start, end, seen })));
                    assert!(cache.weight() <= capacity);
                }
                history
            })
        })
        .collect();
    let histories: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect();
    for key in 0..keys {
        let history: Vec<Event> =
            histories.iter().filter(|(of, _)| *of == key).map(|(_, event)| *event).collect();
        check(&history);
    }
    assert!(cache.weight() + cache.retired_weight() <= capacity);
    cache.reclaim();
    // Void entries are no more found, but there until somebody meets them.
    assert!(cache.iter().count() <= cache.len() && cache.len() as u64 <= capacity);
    assert_eq!((cache.weight(), cache.retired_weight()), (cache.len() as u64, 0));
    assert_eq!(alive.load(Ordering::SeqCst), cache.len() as i64);
    cache.invalidate_all();
    assert_eq!((cache.len(), cache.weight()), (0, 0));
    drop(cache);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

/// What one operation on a key did; nothing if it was not done.
fn act(cache: &Cache<u64, Alive>, what: u64, key: u64, value: Alive) -> Option<Seen> {
    let wrote = Seen::Wrote(value.value);
    match what {
        0 => {
            cache.remove(&key);
            Some(Seen::Removed)
        }
        1 => {
            let options = EntryOptions::new().tag(key);
            cache.insert_entry(key, value, options).ok().map(|()| wrote)
        }
        // Voids what is tagged alone: it explains no read, and forbids none.
        2 => {
            cache.invalidate_tag(key);
            None
        }
        3 => {
            let mut puts = false;
            let changed = cache.compute(key, |there| {
                puts = there.is_none();
                if puts { Change::Put(value.clone()) } else { Change::Remove }
            });
            changed.is_ok().then_some(if puts { wrote } else { Seen::Removed })
        }
        4..7 => cache.insert(key, value).ok().map(|()| wrote),
        7 => {
            let found = cache.get_ref(&key);
            Some(Seen::Read(found.map(|found| found.value)))
        }
        _ => Some(Seen::Read(cache.get(&key).map(|found| found.value))),
    }
}

/// Three sizes: always evicting, sometimes, and growing from the smallest index.
fn schedules(runner: impl Fn(u64, Box<dyn Fn() + Send + Sync>)) {
    for (capacity, keys) in [(2, 4), (4, 3), (40, 12)] {
        for seed in 0..8 {
            runner(seed, Box::new(move || run(capacity, keys, seed)));
        }
    }
}

fn config() -> Config {
    let mut config = Config::new();
    // A cache of so many atomics as shuttle knows them passes through several frames while it is made.
    config.stack_size = 1 << 20;
    config
}

#[test]
fn schedules_drawn_evenly() {
    schedules(|seed, body| {
        Runner::new(RandomScheduler::new_from_seed(seed, SCHEDULES), config()).run(body);
    });
}

/// Few switches, at places drawn: what goes wrong by one long pause is found sooner.
#[test]
fn schedules_of_few_switches() {
    schedules(|seed, body| {
        Runner::new(PctScheduler::new_from_seed(seed, 3, SCHEDULES), config()).run(body);
    });
}
