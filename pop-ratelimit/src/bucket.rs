//! One bucket: one atomic word.

use crate::sync::{AtomicU64, Ordering};
use crate::virtual_time::VirtualTime;
use crate::{Decision, Quota, Timestamp};

/// A lock-free token bucket: the theoretical arrival time of [GCRA](crate) in one word, in tokens.
///
/// Over **every** interval of length `t` at most `burst + rate × t` tokens pass. A clock that steps back refills
/// nothing; one that jumps ahead refills at most the burst.
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::{Decision, Quota, Timestamp, TokenBucket};
///
/// let bucket = TokenBucket::new(Quota::per_second(10).burst(2));
/// let now = Timestamp::ZERO;
/// assert_eq!(bucket.check_at(now, 1), Decision::Allowed { remaining: 1 });
/// assert_eq!(bucket.check_at(now, 1), Decision::Allowed { remaining: 0 });
/// let retry_after = bucket.check_at(now, 1).retry_after().expect("limited");
/// assert_eq!(retry_after.as_millis(), 100);
/// assert!(bucket.check_at(now.saturating_add(retry_after), 1).is_allowed());
/// ```
#[derive(Debug)]
pub struct TokenBucket {
    time: VirtualTime,
    /// The TAT, in units of virtual time. `V(start)` at first: a full bucket.
    arrival: AtomicU64,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self { time: VirtualTime::new(quota), arrival: AtomicU64::new(0) }
    }

    /// The quota it was made with.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.time.quota()
    }

    /// Takes `cost` tokens at `now`, or says when they would be there. A cost of zero passes always.
    ///
    /// Lock-free: a lost compare-and-swap means that another caller was served. No allocation; one clock-free
    /// multiplication, one load, one swap.
    #[inline]
    pub fn check_at(&self, now: Timestamp, cost: u64) -> Decision {
        let Some(cost) = self.time.cost(cost) else { return self.time.never() };
        let virtual_now = self.time.at(now);
        // Relaxed throughout: the word is all there is, no other memory is published by it, and each location's
        // modification order alone makes the sum of grants come out right.
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        loop {
            let debt = self.debt(arrival, virtual_now);
            let after = debt + cost;
            if after > self.time.burst_units() {
                return self.time.limited(after - self.time.burst_units());
            }
            let next = virtual_now.wrapping_add(after);
            match self.arrival.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    return Decision::Allowed {
                        remaining: self.time.whole_tokens(self.time.burst_units() - after),
                    };
                }
                Err(current) => arrival = current,
            }
        }
    }

    /// What [`check_at`](Self::check_at) would answer, without taking anything.
    pub fn peek_at(&self, now: Timestamp, cost: u64) -> Decision {
        let Some(cost) = self.time.cost(cost) else { return self.time.never() };
        let after = self.debt(self.arrival.load(Ordering::Relaxed), self.time.at(now)) + cost;
        if after > self.time.burst_units() {
            return self.time.limited(after - self.time.burst_units());
        }
        Decision::Allowed { remaining: self.time.whole_tokens(self.time.burst_units() - after) }
    }

    /// Gives back `cost` tokens that were taken and not used. What the clock has refilled meanwhile is not
    /// refilled twice: the bucket is never fuller than full.
    pub fn refund_at(&self, now: Timestamp, cost: u64) {
        let Some(cost) = self.time.cost(cost) else { return };
        let virtual_now = self.time.at(now);
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        loop {
            let debt = self.debt(arrival, virtual_now);
            if debt == 0 {
                return;
            }
            let next = virtual_now.wrapping_add(debt.saturating_sub(cost));
            match self.arrival.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => arrival = current,
            }
        }
    }

    /// Units owed at `virtual_now`. A word from the future beyond any possible debt is one from long ago.
    #[inline]
    fn debt(&self, arrival: u64, virtual_now: u64) -> u64 {
        let ahead = arrival.wrapping_sub(virtual_now);
        // A clock that steps back by `s` sees a debt larger than the burst by what `s` refilled. Up to half of
        // the space that counts as debt (and denies); beyond it the word is old.
        if ahead <= u64::MAX / 2 { ahead } else { 0 }
    }
}

#[cfg(feature = "std")]
impl TokenBucket {
    /// [`check_at`](Self::check_at) by the process clock ([`crate::now`]).
    #[inline]
    pub fn check(&self, cost: u64) -> Decision {
        self.check_at(crate::now(), cost)
    }
}
