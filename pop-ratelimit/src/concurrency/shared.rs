//! A bound on what is under way, for many threads.

use core::borrow::Borrow;
use std::sync::{Arc, Mutex};

use crate::sync::{AtomicU64, Ordering};
use crate::{AdaptiveLimit, LimitPolicy, Outcome};

/// A bound on what is under way, for many threads.
///
/// Asking costs one compare-and-swap; learning takes a short lock, and is skipped by whoever finds it taken.
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::{Concurrency, LimitPolicy, Outcome};
///
/// let concurrency = Concurrency::new(LimitPolicy::Fixed { limit: 2 });
/// let first = concurrency.admit().expect("one of two");
/// let second = concurrency.admit().expect("two of two");
/// assert!(concurrency.admit().is_none());
/// first.done(Outcome::Answered(Duration::from_millis(3)));
/// assert_eq!((concurrency.in_flight(), concurrency.limit()), (1, 2));
/// drop(second);
/// assert_eq!(concurrency.in_flight(), 0);
/// ```
#[derive(Debug)]
pub struct Concurrency {
    in_flight: AtomicU64,
    /// The limit in force; a copy of what `state` holds.
    limit: AtomicU64,
    state: Mutex<AdaptiveLimit>,
}

impl Concurrency {
    /// Nothing under way; the limit starts at the policy's lowest.
    #[must_use]
    pub fn new(policy: LimitPolicy) -> Self {
        let state = AdaptiveLimit::new(policy);
        Self { in_flight: AtomicU64::new(0), limit: AtomicU64::new(state.limit()), state: Mutex::new(state) }
    }

    /// One more, if the limit allows.
    #[inline]
    pub fn admit(&self) -> Option<Permit<&Self>> {
        self.enter().then(|| Permit { concurrency: self, settled: false })
    }

    /// [`admit`](Self::admit) with a permit that can leave the scope.
    pub fn admit_shared(self: &Arc<Self>) -> Option<Permit<Arc<Self>>> {
        self.enter().then(|| Permit { concurrency: Arc::clone(self), settled: false })
    }

    /// How many are under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many may be.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    fn enter(&self) -> bool {
        let limit = self.limit();
        let more = |in_flight| (in_flight < limit).then_some(in_flight + 1);
        // Relaxed: a count, which publishes nothing. Never above the limit at the time of the swap.
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn leave(&self, outcome: Option<Outcome>) {
        let in_flight = self.in_flight.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(in_flight > 0, "more left than came");
        let Some(outcome) = outcome else { return };
        // A sample more or less does not matter; waiting for a lock would.
        if let Ok(mut state) = self.state.try_lock() {
            state.observe(in_flight, outcome);
            self.limit.store(state.limit(), Ordering::Relaxed);
        }
    }
}

/// Something under way; dropped without [`done`](Permit::done), it teaches the limit nothing.
#[derive(Debug)]
#[must_use = "a permit that is dropped has left"]
pub struct Permit<C: Borrow<Concurrency>> {
    concurrency: C,
    settled: bool,
}

impl<C: Borrow<Concurrency>> Permit<C> {
    /// It ended, and this is how.
    pub fn done(mut self, outcome: Outcome) {
        self.settled = true;
        self.concurrency.borrow().leave(Some(outcome));
    }
}

impl<C: Borrow<Concurrency>> Drop for Permit<C> {
    fn drop(&mut self) {
        if !self.settled {
            self.concurrency.borrow().leave(None);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::KeyedConcurrency;

    #[test]
    fn threads_never_exceed_the_limit() {
        let concurrency = Concurrency::new(LimitPolicy::Fixed { limit: 3 });
        let keyed = KeyedConcurrency::<u8>::new(3, 1024);
        let (inside, inside_keyed) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        if let Some(permit) = concurrency.admit() {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            permit.done(Outcome::Overloaded);
                        }
                        if let Some(permit) = keyed.admit(&1) {
                            assert!(inside_keyed.fetch_add(1, Ordering::SeqCst) < 3);
                            inside_keyed.fetch_sub(1, Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert_eq!((concurrency.in_flight(), keyed.in_flight(&1)), (0, 0));
    }
}
