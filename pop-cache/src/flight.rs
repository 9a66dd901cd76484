//! Single flight: one load at a time for a key, everybody else waits for its result.
//!
//! Waiting for a loader is the meaning of this part, so it may lock; the cache's own paths never come here. A
//! leader that panics or is dropped leaves no result: its waiters wake up and the first of them leads.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// The loads under way, by hash of the key: two keys with one hash wait for each other and lose only time.
pub(crate) struct Flights<V> {
    under_way: Mutex<HashMap<u64, Arc<Flight<V>>>>,
}

impl<V> Default for Flights<V> {
    fn default() -> Self {
        Self { under_way: Mutex::default() }
    }
}

struct Flight<V> {
    state: Mutex<State<V>>,
    landed: Condvar,
}

enum State<V> {
    Flying(Vec<Waker>),
    /// The value or the error; a waiter whose error type is another one loads for itself.
    Landed(Result<V, Arc<dyn Any + Send + Sync>>),
    /// The leader is gone without a result.
    Lost,
}

enum Role<'f, V> {
    Leader(Leader<'f, V>),
    Waiter(Arc<Flight<V>>),
}

/// Ends the flight, with a result or without.
struct Leader<'f, V> {
    flights: &'f Flights<V>,
    hash: u64,
    flight: Arc<Flight<V>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks, but a waker may; the data are whole at every instant.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl<V: Clone> Flights<V> {
    fn join(&self, hash: u64) -> Role<'_, V> {
        let mut under_way = lock(&self.under_way);
        if let Some(flight) = under_way.get(&hash) {
            return Role::Waiter(Arc::clone(flight));
        }
        let flight =
            Arc::new(Flight { state: Mutex::new(State::Flying(Vec::new())), landed: Condvar::new() });
        under_way.insert(hash, Arc::clone(&flight));
        Role::Leader(Leader { flights: self, hash, flight })
    }

    /// Loads, or waits for who loads. `look` looks into the cache again: the last leader may just have left.
    pub(crate) fn run<E: Clone + Send + Sync + 'static>(
        &self,
        hash: u64,
        look: impl Fn() -> Option<V>,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        loop {
            match self.join(hash) {
                Role::Leader(leader) => {
                    if let Some(value) = look() {
                        return Ok(value);
                    }
                    return leader.land(load());
                }
                Role::Waiter(flight) => {
                    let mut state = lock(&flight.state);
                    while matches!(*state, State::Flying(_)) {
                        state = flight.landed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                    }
                    if let Some(result) = state.result() {
                        return result;
                    }
                }
            }
        }
    }

    /// The same for futures.
    pub(crate) async fn run_async<E, F>(
        &self,
        hash: u64,
        look: impl Fn() -> Option<V>,
        load: impl FnOnce() -> F,
    ) -> Result<V, E>
    where
        E: Clone + Send + Sync + 'static,
        F: Future<Output = Result<V, E>>,
    {
        loop {
            match self.join(hash) {
                Role::Leader(leader) => {
                    if let Some(value) = look() {
                        return Ok(value);
                    }
                    return leader.land(load().await);
                }
                Role::Waiter(flight) => {
                    Landing(&flight).await;
                    if let Some(result) = lock(&flight.state).result() {
                        return result;
                    }
                }
            }
        }
    }
}

impl<V: Clone> State<V> {
    fn result<E: Clone + 'static>(&self) -> Option<Result<V, E>> {
        match self {
            Self::Landed(Ok(value)) => Some(Ok(value.clone())),
            Self::Landed(Err(error)) => error.downcast_ref::<E>().cloned().map(Err),
            Self::Flying(_) | Self::Lost => None,
        }
    }
}

impl<V: Clone> Leader<'_, V> {
    fn land<E: Clone + Send + Sync + 'static>(self, result: Result<V, E>) -> Result<V, E> {
        let shared = result.clone().map_err(|error| Arc::new(error) as Arc<dyn Any + Send + Sync>);
        self.end(State::Landed(shared));
        result
    }
}

impl<V> Leader<'_, V> {
    fn end(&self, state: State<V>) {
        lock(&self.flights.under_way).remove(&self.hash);
        let before = std::mem::replace(&mut *lock(&self.flight.state), state);
        self.flight.landed.notify_all();
        if let State::Flying(wakers) = before {
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl<V> Drop for Leader<'_, V> {
    fn drop(&mut self) {
        let flying = matches!(*lock(&self.flight.state), State::Flying(_));
        if flying {
            self.end(State::Lost);
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
