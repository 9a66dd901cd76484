//! One bucket: one atomic word.

use core::time::Duration;

use crate::promises::{Charge, Promises};
use crate::reservation::{Booking, Reservation};
use crate::sync::{AtomicU64, Ordering, Padded};
use crate::timeline::Timeline;
use crate::virtual_time::{Budget, VirtualTime};
use crate::{Decision, Quota, QuotaError, Timestamp};

/// A tick is one to two nanoseconds, or 2⁻²⁴ of a token where tokens are slow. At a billion units a second stamps
/// of 146 years do not wrap; only rates above that do, after 34 years or more.
pub(crate) const BUDGET: Budget = Budget {
    shift_max: 24,
    fine_per_second: 30,
    coarse_per_second: 34,
    burst_units: 60,
    live_per_second: 36,
};

/// A lock-free token bucket: the theoretical arrival time of GCRA in one word, in tokens.
///
/// Over **every** interval of length `t` at most `burst + rate × t` tokens pass, to within one tick (a nanosecond
/// or two). A clock that steps back refills nothing; one that jumps ahead refills at most the burst.
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
    timeline: Timeline,
    /// The TAT, in units of virtual time. `V(start)` at first: a full bucket.
    arrival: Padded<AtomicU64>,
    /// What reservations that wait were told; see there. Checks do not look at it.
    promises: Promises,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self {
            timeline: Timeline::new(quota, BUDGET),
            arrival: Padded(AtomicU64::new(0)),
            promises: Promises::new(),
        }
    }

    /// The quota in force.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.timeline.current().quota
    }

    /// Takes `cost` tokens at `now`, or says when they would be there. A cost of zero passes unless the bucket owes
    /// more than its burst.
    ///
    /// Lock-free: a lost compare-and-swap means that another caller was served. No allocation; a multiplication, a
    /// load and a swap. A caller that does not read the time of a denial does not pay for it.
    #[inline]
    pub fn check_at(&self, now: Timestamp, cost: u64) -> Decision {
        match self.timeline.unchanged() {
            Some(time) => self.take(time, time.at(now), cost),
            None => {
                let time = self.timeline.current();
                self.take(&time, time.at(now), cost)
            }
        }
    }

    /// The bucket at one moment, for a batch of checks: what depends on the time alone is computed once.
    ///
    /// ```
    /// use pop_ratelimit::{Quota, Timestamp, TokenBucket};
    ///
    /// let bucket = TokenBucket::new(Quota::per_second(10).burst(3));
    /// let batch = bucket.at(Timestamp::ZERO);
    /// assert_eq!((0..8).filter(|_| batch.check(1).is_allowed()).count(), 3);
    /// ```
    #[must_use]
    pub fn at(&self, now: Timestamp) -> BucketAt<'_> {
        let time = self.timeline.current();
        BucketAt { bucket: self, time, virtual_now: time.at(now) }
    }

    #[inline]
    fn take(&self, time: &VirtualTime, virtual_now: u64, cost: u64) -> Decision {
        let Some(cost) = time.cost(cost) else { return time.never() };
        // What may be owed already.
        let room = time.burst_units - cost;
        // Relaxed throughout: the word is all there is, no other memory is published by it, and its modification
        // order alone makes the sum of grants come out right.
        let mut arrival = self.arrival.0.load(Ordering::Relaxed);
        loop {
            let before = ahead(arrival, virtual_now);
            // At most 2^62 on the right: a burst has 2^60 units, a quota without a limit 2^62.
            if before > room as i64 {
                return time.limited(before as u64 - room);
            }
            let after = before.max(0) as u64 + cost;
            let allowed = Decision::Allowed { remaining: time.whole_tokens(time.burst_units - after) };
            if cost == 0 {
                return allowed;
            }
            let next = virtual_now.wrapping_add(after);
            match self.arrival.0.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return allowed,
                Err(current) => arrival = current,
            }
        }
    }

    /// What [`check_at`](Self::check_at) would answer, without taking anything.
    pub fn peek_at(&self, now: Timestamp, cost: u64) -> Decision {
        let time = self.timeline.current();
        let Some(cost) = time.cost(cost) else { return time.never() };
        let after = debt(self.arrival.0.load(Ordering::Relaxed), time.at(now)) + cost;
        if after > time.burst_units {
            return time.limited(after - time.burst_units);
        }
        Decision::Allowed { remaining: time.whole_tokens(time.burst_units - after) }
    }

    /// Takes `least` tokens and up to `more` on top, in one step: `Ok` with what was taken on top, or the denial.
    #[cfg(feature = "std")]
    pub(crate) fn lease(&self, now: Timestamp, least: u64, more: u64) -> Result<u64, Decision> {
        let changed;
        let time = match self.timeline.unchanged() {
            Some(time) => time,
            None => {
                changed = self.timeline.current();
                &changed
            }
        };
        let virtual_now = time.at(now);
        let Some(units) = time.cost(least) else { return Err(time.never()) };
        let mut arrival = self.arrival.0.load(Ordering::Relaxed);
        loop {
            let before = debt(arrival, virtual_now);
            let Some(room) = time.burst_units.checked_sub(before + units) else {
                return Err(time.limited(before + units - time.burst_units));
            };
            // Whole tokens only, so that nothing is lost to rounding.
            let more = more.min(time.whole_tokens(room));
            let next = virtual_now.wrapping_add(before + units + time.units(more));
            match self.arrival.0.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(more),
                Err(current) => arrival = current,
            }
        }
    }

    /// Takes `cost` tokens now for use later: the moment at which they will be there is the reservation's
    /// [`ready_at`](Reservation::ready_at), and later reservations get later moments (first come, first served).
    /// Refused if that moment is more than `wait_max` away.
    ///
    /// The bound over every interval holds for the moments at which reservations are ready.
    pub fn reserve_at(&self, now: Timestamp, cost: u64, wait_max: Duration) -> Booking<'_> {
        self.reserve_within(now, cost, wait_max, u64::MAX)
    }

    /// The same with a bound on the tokens that waiters are owed.
    pub(crate) fn reserve_within(
        &self,
        now: Timestamp,
        cost: u64,
        wait_max: Duration,
        queue_max: u64,
    ) -> Booking<'_> {
        let time = self.timeline.current();
        let Some(units) = time.cost(cost) else { return Booking::Refused(time.never()) };
        let virtual_now = time.at(now);
        let queue_units_max = time.units(queue_max);
        // Before the charge: a refund that comes between the two counts as later.
        let lowered = self.promises.lowered();
        let mut arrival = self.arrival.0.load(Ordering::Relaxed);
        loop {
            let after = debt(arrival, virtual_now) + units;
            let missing = after.saturating_sub(time.burst_units);
            let wait = match (missing, time.wait(missing)) {
                (0, _) => Duration::ZERO,
                (_, Some(wait)) if wait <= wait_max && missing <= queue_units_max && after < 1 << 62 => wait,
                _ => return Booking::Refused(time.limited(missing)),
            };
            let tail = virtual_now.wrapping_add(after);
            let swap = || {
                // Relaxed: as in a check.
                self.arrival.0.compare_exchange_weak(arrival, tail, Ordering::Relaxed, Ordering::Relaxed)
            };
            let used_at = virtual_now.wrapping_add(missing);
            let swapped = match missing {
                0 => swap(),
                _ => self.promises.promise(virtual_now, used_at, time.burst_units - units, swap),
            };
            match swapped {
                Ok(_) => {
                    let charge = Charge { used_at, units, last: Some((tail, lowered)) };
                    return Booking::Reserved(Reservation::new(self, charge, cost, now.saturating_add(wait)));
                }
                Err(current) => arrival = current,
            }
        }
    }

    /// Gives back `cost` tokens that were taken at `charged` and not used.
    ///
    /// What the rate has brought since `charged` is not given back: those tokens may have been refilled already,
    /// and giving them twice would break the bound (burst 1 and 1 a second: taken at 0 s, another taken at 1 s;
    /// a refund of the first at 1 s must not let a third pass). Prompt refunds get back all. While reservations wait,
    /// less comes back: what they were promised stays true.
    ///
    /// Of all calls only this one asks for a fresh stamp: if others were charged at later stamps than `now` already,
    /// the bound is exceeded by what the rate brings in that lag. Where threads share a bucket, let
    /// [`refund_by`](Self::refund_by) read the clock.
    pub fn refund_at(&self, now: Timestamp, charged: Timestamp, cost: u64) {
        self.refund_by(|| now, charged, cost);
    }

    /// [`refund_at`](Self::refund_at) by a clock that is read after the word was seen, and again whenever the word has
    /// changed: nobody can have been charged at a later stamp unseen, so the bound holds whatever happens to the thread
    /// in between.
    pub fn refund_by(&self, clock: impl Fn() -> Timestamp, charged: Timestamp, cost: u64) {
        let time = self.timeline.current();
        let units = time.units(cost);
        let charge = Charge { used_at: time.at(charged), units, last: None };
        self.give_back(|| Some(time.at(clock())), &charge, units);
    }

    /// Takes `cost` tokens even if they are not there: for costs that have been spent already. The bucket may owe
    /// more than its burst afterwards, and refuses until that is paid.
    pub fn charge_anyway_at(&self, now: Timestamp, cost: u64) {
        let time = self.timeline.current();
        let virtual_now = time.at(now);
        let units = time.units(cost);
        let mut arrival = self.arrival.0.load(Ordering::Relaxed);
        if units == 0 {
            return;
        }
        loop {
            let after = (debt(arrival, virtual_now) + units).min(1 << 62);
            let next = virtual_now.wrapping_add(after);
            match self.arrival.0.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => arrival = current,
            }
        }
    }

    /// Tokens owed at `now`, rounded up: what a new bucket must [`charge_anyway_at`](Self::charge_anyway_at) to stand
    /// where this one stands.
    #[must_use]
    pub fn owed_at(&self, now: Timestamp) -> u64 {
        let time = self.timeline.current();
        let debt = debt(self.arrival.0.load(Ordering::Relaxed), time.at(now));
        time.whole_tokens(debt) + u64::from(!debt.is_multiple_of(time.token_units()))
    }

    /// Another quota from `now` on. What is owed stays owed, so there is no fresh burst; calls under way are judged
    /// by one quota or the other.
    ///
    /// # Errors
    /// [`QuotaError::Live`] if the new rate is thousands of times the first one.
    pub fn set_quota_at(&self, quota: Quota, now: Timestamp) -> Result<(), QuotaError> {
        self.timeline.set(quota, now)
    }

    /// Lowers the TAT by as much of `units` of a charge as is safe; the proof is in `promises`. The present is asked for
    /// after the word was seen.
    pub(crate) fn give_back(&self, virtual_now: impl Fn() -> Option<u64>, charge: &Charge, units: u64) {
        let mut turn = self.promises.take_turn();
        // Relaxed: the turn orders those who lower the word, and those who raise it publish nothing.
        let mut arrival = self.arrival.0.load(Ordering::Relaxed);
        loop {
            let lower_by = if turn.is_last(charge, arrival) {
                units
            } else {
                let Some(virtual_now) = virtual_now() else { return };
                turn.safe(charge, units, virtual_now).min(debt(arrival, virtual_now))
            };
            if lower_by == 0 {
                return;
            }
            let next = arrival.wrapping_sub(lower_by);
            match self.arrival.0.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return turn.lowered_by(charge, lower_by),
                Err(current) => arrival = current,
            }
        }
    }

    pub(crate) fn time(&self) -> VirtualTime {
        self.timeline.current()
    }
}

/// A [`TokenBucket`] at one moment; see [`TokenBucket::at`].
#[derive(Clone, Copy, Debug)]
pub struct BucketAt<'a> {
    bucket: &'a TokenBucket,
    time: VirtualTime,
    virtual_now: u64,
}

impl BucketAt<'_> {
    /// [`TokenBucket::check_at`] at this moment.
    #[inline]
    pub fn check(&self, cost: u64) -> Decision {
        self.bucket.take(&self.time, self.virtual_now, cost)
    }
}

#[cfg(feature = "std")]
impl TokenBucket {
    /// [`check_at`](Self::check_at) by the process clock ([`crate::now`]).
    #[inline]
    pub fn check(&self, cost: u64) -> Decision {
        match self.timeline.unchanged_now() {
            Some((time, virtual_now)) => self.take(time, virtual_now, cost),
            None => self.check_at(crate::now(), cost),
        }
    }

    /// [`peek_at`](Self::peek_at) by the process clock.
    pub fn peek(&self, cost: u64) -> Decision {
        self.peek_at(crate::now(), cost)
    }

    /// [`reserve_at`](Self::reserve_at) by the process clock.
    pub fn reserve(&self, cost: u64, wait_max: Duration) -> Booking<'_> {
        self.reserve_at(crate::now(), cost, wait_max).with_process_clock()
    }

    /// [`refund_by`](Self::refund_by) the process clock.
    pub fn refund(&self, charged: Timestamp, cost: u64) {
        self.refund_by(crate::now, charged, cost);
    }

    /// [`set_quota_at`](Self::set_quota_at) by the process clock.
    ///
    /// # Errors
    /// [`QuotaError::Live`] if the new rate is thousands of times the first one.
    pub fn set_quota(&self, quota: Quota) -> Result<(), QuotaError> {
        self.set_quota_at(quota, crate::now())
    }
}

/// How far the word is ahead of `virtual_now`: units owed, or what of the past has come unasked, negative.
#[inline]
const fn ahead(arrival: u64, virtual_now: u64) -> i64 {
    arrival.wrapping_sub(virtual_now) as i64
}

/// Units owed at `virtual_now`. Half of the space is future and counts as debt, half is past and means "full".
#[inline]
pub(crate) const fn debt(arrival: u64, virtual_now: u64) -> u64 {
    let ahead = ahead(arrival, virtual_now);
    if ahead > 0 { ahead as u64 } else { 0 }
}
