//! One query upstream for all who ask the same at the same time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ahash::RandomState;
use tokio::sync::watch;

use super::entry::Entry;
use super::key::Key;

/// Queries on their way at once.
pub(super) const FLIGHTS_MAX: usize = 16_384;
/// Locks among which the questions are spread.
const SHARDS: usize = 16;

/// What came of a flight: nothing yet; or an answer, or the word that there is none.
pub(super) type Landing = Option<Option<Arc<Entry>>>;

type Shard = Mutex<HashMap<Box<[u8]>, watch::Receiver<Landing>, RandomState>>;

/// The questions that are on their way.
#[derive(Debug)]
pub(super) struct Flights {
    shards: [Shard; SHARDS],
    hasher: RandomState,
    count: AtomicUsize,
}

/// How a query came to its flight.
pub(super) enum Boarded {
    /// Somebody asked the same before.
    Joined(watch::Receiver<Landing>),
    /// It is the first: whoever gets this has to fly.
    First(Takeoff, watch::Receiver<Landing>),
    /// Too many are on their way.
    Full,
}

/// The duty to end a flight. Dropped before that, it leaves those who wait without an answer, but not for ever.
#[derive(Debug)]
pub(super) struct Takeoff {
    flights: Arc<Flights>,
    key: Box<[u8]>,
    landing: watch::Sender<Landing>,
}

impl Flights {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: std::array::from_fn(|_| Shard::default()),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
        })
    }

    /// Joins the flight for `key`, or begins one.
    pub(super) fn board(self: &Arc<Self>, key: &Key) -> Boarded {
        let mut shard = self.shard(key.octets()).lock().expect("no holder of this lock panics");
        if let Some(landing) = shard.get(key.octets()) {
            return Boarded::Joined(landing.clone());
        }
        // Relaxed: a bound on how many there are; nothing is published by it.
        if self.count.fetch_add(1, Ordering::Relaxed) >= FLIGHTS_MAX {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Boarded::Full;
        }
        let (landing, wait) = watch::channel(None);
        let key: Box<[u8]> = key.octets().into();
        shard.insert(key.clone(), wait.clone());
        Boarded::First(Takeoff { flights: Arc::clone(self), key, landing }, wait)
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &[u8]) -> &Shard {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

impl Takeoff {
    /// Ends the flight. Who asks from now on finds the answer in the cache, where it has to be by now.
    pub(super) fn land(self, entry: Option<Arc<Entry>>) {
        self.landing.send_replace(Some(entry));
    }
}

impl Drop for Takeoff {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(&self.key).lock().expect("no holder of this lock panics");
        shard.remove(&self.key);
        self.flights.count.fetch_sub(1, Ordering::Relaxed);
    }
}
