//! A thread that stops in the middle of an operation stops nobody: here inside the user's own code, which the cache calls at
//! its most delicate moments. (`halted.rs` stops threads at every access to an atomic.)

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use pop_cache::{Cache, Change, EntryOptions};

/// Where the thread under test stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Hash = 1,
    Eq,
    Weigh,
    Clone,
    Drop,
    Listen,
    Decide,
    Predicate,
    Guard,
    Refresh,
    Load,
}

const STOPS: [Stop; 11] = [
    Stop::Hash,
    Stop::Eq,
    Stop::Weigh,
    Stop::Clone,
    Stop::Drop,
    Stop::Listen,
    Stop::Decide,
    Stop::Predicate,
    Stop::Guard,
    Stop::Refresh,
    Stop::Load,
];

/// Stops the first thread that comes by after it was armed, until it is let go.
struct Gate {
    armed: AtomicU8,
    /// The one who stops, and the test.
    reached: Barrier,
    open: Barrier,
    has_stopped: AtomicBool,
}

impl Gate {
    fn pass(&self, stop: Stop) {
        let armed = self.armed.compare_exchange(stop as u8, 0, Ordering::SeqCst, Ordering::SeqCst);
        if armed.is_ok() {
            self.reached.wait();
            self.open.wait();
            self.has_stopped.store(true, Ordering::SeqCst);
        }
    }
}

struct Key(u64, Arc<Gate>);

impl Clone for Key {
    fn clone(&self) -> Self {
        Self(self.0, Arc::clone(&self.1))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.1.pass(Stop::Hash);
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.1.pass(Stop::Eq);
        self.0 == other.0
    }
}

impl Eq for Key {}

struct Value(Arc<Gate>);

impl Clone for Value {
    fn clone(&self) -> Self {
        self.0.pass(Stop::Clone);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.pass(Stop::Drop);
    }
}

type Cached = Cache<Key, Value>;

/// Everything there is to do, on other keys and on the same ones.
fn everything(cache: &Cached, gate: &Arc<Gate>, thread: u64) {
    let value = || Value(Arc::clone(gate));
    for step in 0..3000_u64 {
        let key = Key((step * 7 + thread) % 60, Arc::clone(gate));
        match step % 10 {
            0 => drop(cache.remove(&key)),
            1 => drop(cache.get_ref(&key)),
            2 => drop(cache.compute(key, |seen| match seen {
                Some(_) => Change::Remove,
                None => Change::Put(value()),
            })),
            3 => {
                let options =
                    EntryOptions::new().tag(step % 5).time_to_live(Duration::from_micros(step % 50));
                let _refused_at_times = cache.insert_entry(key, value(), options);
            }
            4 => cache.invalidate_tag(step % 5),
            5 if step % 100 == 5 => drop(cache.invalidate_if(|key, _| key.0 % 7 == 0)),
            6 if step % 100 == 6 => {
                cache.resize(30);
                cache.resize(40);
            }
            7 => drop(cache.get(&key)),
            _ => {
                let _refused_at_times = cache.insert(key, value());
            }
        }
    }
    cache.reclaim();
}

/// What a thread does until it stops.
fn until_it_stops(cache: &Cached, gate: &Arc<Gate>, stop: Stop) {
    let key = |number| Key(number, Arc::clone(gate));
    let value = || Value(Arc::clone(gate));
    for number in (0..60).cycle() {
        if gate.has_stopped.load(Ordering::SeqCst) {
            return;
        }
        match stop {
            Stop::Guard => {
                let guard = cache.get_ref(&key(number));
                if guard.is_some() {
                    gate.pass(Stop::Guard);
                }
            }
            Stop::Clone => drop(cache.get(&key(number))),
            Stop::Decide => drop(cache.compute(key(number), |_| {
                gate.pass(Stop::Decide);
                Change::Put(value())
            })),
            Stop::Predicate => drop(cache.invalidate_if(|_, _| {
                gate.pass(Stop::Predicate);
                false
            })),
            Stop::Refresh => {
                let options = EntryOptions::new().refresh_after(Duration::ZERO);
                let _refused_at_times = cache.insert_entry(key(number), value(), options);
                drop(cache.get_or_refresh(&key(number), |_| gate.pass(Stop::Refresh)));
            }
            Stop::Load => drop(cache.get_or_insert_with(key(1000), |_| {
                gate.pass(Stop::Load);
                Ok::<_, ()>(value())
            })),
            _ => drop(cache.insert(key(number), value())),
        }
    }
}

fn check(stop: Stop) {
    let gate = Arc::new(Gate {
        armed: AtomicU8::new(0),
        reached: Barrier::new(2),
        open: Barrier::new(2),
        has_stopped: AtomicBool::new(false),
    });
    let (weigher, listener) = (Arc::clone(&gate), Arc::clone(&gate));
    let cache: Cached = Cache::builder(40)
        .weigher(move |_, _| {
            weigher.pass(Stop::Weigh);
            1
        })
        .on_removal(move |_, _, _| listener.pass(Stop::Listen))
        .build();
    for number in 0..60 {
        let _refused_at_times = cache.insert(Key(number, Arc::clone(&gate)), Value(Arc::clone(&gate)));
    }
    gate.armed.store(stop as u8, Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| until_it_stops(&cache, &gate, stop));
        gate.reached.wait();
        // It stands still from here to the end. Were anyone to wait for it, these would never be done.
        std::thread::scope(|others| {
            (0..2).for_each(|thread| {
                let (cache, gate) = (&cache, &gate);
                others.spawn(move || everything(cache, gate, thread));
            });
        });
        assert!(!gate.has_stopped.load(Ordering::SeqCst));
        gate.open.wait();
    });
    cache.reclaim();
    assert_eq!((cache.retired_weight(), cache.weight()), (0, cache.len() as u64), "{stop:?}");
}

#[test]
fn a_thread_that_stands_still_anywhere_stops_nobody() {
    STOPS.into_iter().for_each(check);
}

/// What `docs/lock-freedom.md` says of a thread that never comes back between two of its inserts: up to 15 entries that it
/// has admitted and 16 candidates stay; all others go by and by, those at its hand of the clock included.
#[test]
fn a_thread_that_idles_for_ever_holds_a_portion_back() {
    const CAPACITY: u64 = 20_000;
    let cache: Cache<u64, u64> = Cache::builder(CAPACITY).build();
    let (idle, done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..2 * CAPACITY + 7).for_each(|key| cache.insert(key, key).unwrap());
            idle.wait();
            done.wait();
        });
        idle.wait();
        for key in 1 << 32..(1 << 32) + 20 * CAPACITY {
            cache.insert(key, key).unwrap();
            // Asked for again, so that it is worth more than what came before.
            (0..2).for_each(|_| assert_eq!(cache.get(&key), Some(key)));
        }
        let held_back = cache.iter().filter(|entry| *entry.key() < 1 << 32).count();
        assert!(held_back <= 15 + 16, "{held_back} entries");
        assert!(cache.len() as u64 > CAPACITY - CAPACITY / 32);
        done.wait();
    });
}
