//! What a user's code may do in the middle of an operation: panic. Every value is dropped once all the same, and the cache
//! goes on.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pop_cache::{Cache, Change, EntryOptions, RemovalCause};

/// Counts the values alive, and panics when its turn comes.
#[derive(Default)]
struct Fate {
    alive: AtomicI64,
    dropped: AtomicU64,
    /// Calls of each kind until one panics.
    until: [AtomicI64; 5],
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Hash,
    Eq,
    Weigh,
    Drop,
    Listen,
}

const CALLS: [Call; 5] = [Call::Hash, Call::Eq, Call::Weigh, Call::Drop, Call::Listen];

impl Fate {
    fn strike(&self, call: Call) {
        // Two panics at once would end the process: that is the language, not the cache.
        let strikes = self.until[call as usize].fetch_sub(1, Ordering::SeqCst) == 1;
        assert!(!strikes || std::thread::panicking(), "{call:?}");
    }
}

#[derive(Clone)]
struct Key(u64, Arc<Fate>);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.1.strike(Call::Hash);
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.1.strike(Call::Eq);
        self.0 == other.0
    }
}

impl Eq for Key {}

struct Value {
    fate: Arc<Fate>,
    is_dropped: bool,
}

impl Value {
    fn new(fate: &Arc<Fate>) -> Self {
        fate.alive.fetch_add(1, Ordering::SeqCst);
        Self { fate: Arc::clone(fate), is_dropped: false }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        assert!(!std::mem::replace(&mut self.is_dropped, true), "dropped twice");
        self.fate.alive.fetch_sub(1, Ordering::SeqCst);
        self.fate.dropped.fetch_add(1, Ordering::SeqCst);
        self.fate.strike(Call::Drop);
    }
}

fn step(cache: &Cache<Key, Value>, fate: &Arc<Fate>, random: u64) {
    let key = Key(random >> 8 & 31, Arc::clone(fate));
    match random % 8 {
        0 => drop(cache.get_ref(&key)),
        1 => drop(cache.compute(key, |value| if value.is_some() { Change::Remove } else { Change::Keep })),
        2 => drop(cache.compute(key, |_| Change::Put(Value::new(fate)))),
        3 => {
            let options =
                EntryOptions::new().tag(random >> 20 & 3).time_to_live(std::time::Duration::from_nanos(1));
            drop(cache.insert_entry(key, Value::new(fate), options));
        }
        4 => cache.invalidate_tag(random >> 20 & 3),
        _ => drop(cache.insert(key, Value::new(fate))),
    }
}

fn check(call: Call, steps_until: i64) {
    let fate = Arc::new(Fate::default());
    let (weigher, listener) = (Arc::clone(&fate), Arc::clone(&fate));
    let told = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&told);
    let cache: Cache<Key, Value> = Cache::builder(20)
        .weigher(move |_, _| {
            weigher.strike(Call::Weigh);
            1
        })
        .on_removal(move |_, _, _: RemovalCause| {
            counter.fetch_add(1, Ordering::SeqCst);
            listener.strike(Call::Listen);
        })
        .build();
    let mut random = steps_until as u64 + 1;
    let mut panics = 0;
    for turn in 0..400 {
        if turn % 20 == 0 {
            fate.until[call as usize].store(steps_until, Ordering::SeqCst);
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        panics += u32::from(catch_unwind(AssertUnwindSafe(|| step(&cache, &fate, random >> 16))).is_err());
        assert!(cache.weight() + cache.retired_weight() <= 20, "after a panic of {call:?}");
    }
    assert!(panics > 0, "{call:?} never panicked");
    fate.until.iter().for_each(|until| until.store(0, Ordering::SeqCst));
    // It is usable, and holds what it should.
    cache.reclaim();
    let there = cache.iter().count();
    assert_eq!(there, cache.len(), "after panics of {call:?}");
    assert_eq!(cache.weight(), there as u64);
    assert_eq!(fate.alive.load(Ordering::SeqCst), there as i64, "after panics of {call:?}");
    let stats = cache.stats();
    let gone = stats.replaced + stats.evicted + stats.expired + stats.removed;
    assert_eq!(told.load(Ordering::SeqCst), gone, "told once of each that went");
    for key in 0..100 {
        assert!(cache.insert(Key(key, Arc::clone(&fate)), Value::new(&fate)).is_ok());
        assert!(cache.get_ref(&Key(key, Arc::clone(&fate))).is_some());
    }
    drop(cache);
    assert_eq!(fate.alive.load(Ordering::SeqCst), 0, "after panics of {call:?}");
}

#[test]
fn whatever_panics_every_value_is_dropped_once() {
    for call in CALLS {
        for steps_until in 1..12 {
            check(call, steps_until);
        }
    }
}

#[test]
fn a_predicate_that_panics_leaves_the_rest() {
    let cache: Cache<u64, u64> = Cache::builder(100).build();
    (0..50).for_each(|key| cache.insert(key, key).unwrap());
    let swept = catch_unwind(AssertUnwindSafe(|| {
        cache.invalidate_if(|key, _| if *key == 17 { panic!("odd") } else { false })
    }));
    assert!(swept.is_err());
    assert_eq!(cache.iter().count(), 50);
    assert_eq!(cache.retain(|key, _| key % 2 == 0), 25);
}
