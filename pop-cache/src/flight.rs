//! Single flight: one load at a time for a key, everybody else waits for its result.
//!
//! Waiting for a loader is the meaning of this part, so it may lock; the cache's own paths never come here. A
//! leader that panics or is dropped leaves no result: its waiters wake up and the first of them leads. A result is in the
//! cache before its flight ends, so whoever comes later finds one or the other.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ahash::RandomState;

use crate::Timestamp;

/// Locks, each for a part of the keys.
const SHARDS: usize = 16;
/// Errors that a shard remembers at the same time; further ones are not.
const ERRORS_MAX: usize = 64;

/// The loads under way, and the errors that are remembered.
pub(crate) struct Flights<K, V> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
    /// How long an error is remembered.
    error_lifetime: Option<Duration>,
}

struct Shard<K, V> {
    flights: HashMap<K, Arc<Flight<V>>, RandomState>,
    /// How many of them have landed, and are here for their error.
    errors: usize,
}

struct Flight<V> {
    state: Mutex<State<V>>,
    landed: Condvar,
}

enum State<V> {
    Flying(Vec<Waker>),
    Landed(Result<V, Failure>),
    /// The leader is gone without a result.
    Lost,
}

/// An error of the loader's type, and until when it is remembered.
struct Failure {
    error: Arc<dyn Any + Send + Sync>,
    until: Timestamp,
}

/// What a waiter gets.
enum Outcome<V, E> {
    Result(Result<V, E>),
    /// An error of another type than this waiter's loader has: it loads for itself.
    Foreign,
    /// Nothing: look again for whoever leads.
    Lost,
}

enum Role<'f, K: Hash + Eq, V> {
    Leader(Leader<'f, K, V>),
    Waiter(Arc<Flight<V>>),
}

/// Ends the flight, with a result or without.
struct Leader<'f, K: Hash + Eq, V> {
    shard: &'f Mutex<Shard<K, V>>,
    key: &'f K,
    flight: Arc<Flight<V>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks but the key's comparison, and a waker; the data are whole then.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How one load goes, apart from waiting.
pub(crate) struct Load<Look, Keep, Now> {
    /// Looks into the cache again: the last leader may just have left.
    pub(crate) look: Look,
    /// Puts a value into the cache.
    pub(crate) keep: Keep,
    pub(crate) now: Now,
}

impl<K, V> Flights<K, V> {
    pub(crate) fn new(error_lifetime: Option<Duration>) -> Self {
        let shard = || Mutex::new(Shard { flights: HashMap::default(), errors: 0 });
        Self { shards: std::array::from_fn(|_| shard()), error_lifetime }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Flights<K, V> {
    fn shard(&self, hash: u64) -> &Mutex<Shard<K, V>> {
        &self.shards[hash as usize % SHARDS]
    }

    fn join<'f>(&'f self, hash: u64, key: &'f K, now: impl Fn() -> Timestamp) -> Role<'f, K, V> {
        let shard = self.shard(hash);
        let mut under_way = lock(shard);
        if let Some(flight) = under_way.flights.get(key) {
            if !flight.is_forgotten(now) {
                return Role::Waiter(Arc::clone(flight));
            }
            under_way.errors -= 1;
        }
        let flight =
            Arc::new(Flight { state: Mutex::new(State::Flying(Vec::new())), landed: Condvar::new() });
        under_way.flights.insert(key.clone(), Arc::clone(&flight));
        Role::Leader(Leader { shard, key, flight })
    }

    /// Loads, or waits for whoever loads.
    pub(crate) fn run<E: Clone + Send + Sync + 'static>(
        &self,
        hash: u64,
        key: &K,
        how: Load<impl Fn() -> Option<V>, impl FnOnce(&V), impl Fn() -> Timestamp>,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let leader = loop {
            match self.join(hash, key, &how.now) {
                Role::Leader(leader) => break Some(leader),
                Role::Waiter(flight) => match flight.wait() {
                    Outcome::Result(result) => return result,
                    Outcome::Foreign => break None,
                    Outcome::Lost => {}
                },
            }
        };
        let result = (how.look)().map_or_else(
            || {
                let result = load();
                let _kept = result.as_ref().map(how.keep);
                result
            },
            Ok,
        );
        self.land(leader, &result, how.now);
        result
    }

    /// The same for futures.
    pub(crate) async fn run_async<E, F>(
        &self,
        hash: u64,
        key: &K,
        how: Load<impl Fn() -> Option<V>, impl FnOnce(&V), impl Fn() -> Timestamp>,
        load: impl FnOnce() -> F,
    ) -> Result<V, E>
    where
        E: Clone + Send + Sync + 'static,
        F: Future<Output = Result<V, E>>,
    {
        let leader = loop {
            match self.join(hash, key, &how.now) {
                Role::Leader(leader) => break Some(leader),
                Role::Waiter(flight) => {
                    Landing(&flight).await;
                    match lock(&flight.state).outcome() {
                        Outcome::Result(result) => return result,
                        Outcome::Foreign => break None,
                        Outcome::Lost => {}
                    }
                }
            }
        };
        let result = match (how.look)() {
            Some(value) => Ok(value),
            None => {
                let result = load().await;
                let _kept = result.as_ref().map(how.keep);
                result
            }
        };
        self.land(leader, &result, how.now);
        result
    }

    fn land<E: Clone + Send + Sync + 'static>(
        &self,
        leader: Option<Leader<'_, K, V>>,
        result: &Result<V, E>,
        now: impl Fn() -> Timestamp,
    ) {
        let Some(leader) = leader else { return };
        let until = match (result, self.error_lifetime) {
            (Err(_), Some(lifetime)) => now().saturating_add(lifetime),
            _ => Timestamp::ZERO,
        };
        let landed = result.clone().map_err(|error| Failure { error: Arc::new(error), until });
        leader.end(State::Landed(landed), until > Timestamp::ZERO, now);
    }

    /// Forgets the error that is remembered for a key. False if there was none.
    pub(crate) fn forget<Q: Hash + Eq + ?Sized>(&self, hash: u64, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        let mut shard = lock(self.shard(hash));
        let has_landed = shard.flights.get(key).is_some_and(|flight| flight.has_landed());
        if has_landed {
            shard.errors -= 1;
            shard.flights.remove(key);
        }
        has_landed
    }
}

impl<V> Flight<V> {
    /// Whether it is here for its error only, and that for too long.
    fn is_forgotten(&self, now: impl Fn() -> Timestamp) -> bool {
        matches!(&*lock(&self.state), State::Landed(Err(failure)) if failure.until <= now())
    }

    fn has_landed(&self) -> bool {
        !matches!(*lock(&self.state), State::Flying(_))
    }
}

impl<V: Clone> Flight<V> {
    fn wait<E: Clone + 'static>(&self) -> Outcome<V, E> {
        let mut state = lock(&self.state);
        while matches!(*state, State::Flying(_)) {
            state = self.landed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.outcome()
    }
}

impl<V: Clone> State<V> {
    fn outcome<E: Clone + 'static>(&self) -> Outcome<V, E> {
        match self {
            Self::Landed(Ok(value)) => Outcome::Result(Ok(value.clone())),
            Self::Landed(Err(failure)) => failure
                .error
                .downcast_ref::<E>()
                .cloned()
                .map_or(Outcome::Foreign, |error| Outcome::Result(Err(error))),
            Self::Flying(_) | Self::Lost => Outcome::Lost,
        }
    }
}

impl<K: Hash + Eq, V> Leader<'_, K, V> {
    fn end(&self, state: State<V>, is_remembered: bool, now: impl Fn() -> Timestamp) {
        let before = {
            // One step for whoever joins: under way, or landed and remembered, or gone.
            let mut shard = lock(self.shard);
            if is_remembered && shard.errors >= ERRORS_MAX {
                shard.flights.retain(|_, flight| !flight.is_forgotten(&now));
                shard.errors = shard.flights.values().filter(|flight| flight.has_landed()).count();
            }
            if is_remembered && shard.errors < ERRORS_MAX {
                shard.errors += 1;
            } else {
                shard.flights.remove(self.key);
            }
            std::mem::replace(&mut *lock(&self.flight.state), state)
        };
        self.flight.landed.notify_all();
        if let State::Flying(wakers) = before {
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl<K: Hash + Eq, V> Drop for Leader<'_, K, V> {
    fn drop(&mut self) {
        if !self.flight.has_landed() {
            self.end(State::Lost, false, || Timestamp::ZERO);
        }
    }
}

struct Landing<'f, V>(&'f Flight<V>);

impl<V> Future for Landing<'_, V> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0.state);
        let State::Flying(wakers) = &mut *state else { return Poll::Ready(()) };
        if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}
