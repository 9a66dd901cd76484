//! One limit for many cores: threads take tokens from the shared word in leases.

use core::time::Duration;
use std::boxed::Box;

use crate::sync::{AtomicU64, Ordering, Padded};
use crate::{Decision, Quota, Timestamp, TokenBucket};

/// Tokens that a cell holds at most, and takes from the shared bucket at once.
const LEASE_MAX: u64 = 256;
/// A cell counts in 2⁻²⁰ of a token.
const TOKEN_BITS: u32 = 20;

/// A bucket whose hot path writes no word that another thread writes.
///
/// Each thread has a cell (threads share cells when there are more threads than cells). A cell holds a few tokens that
/// are paid for already; taking one reads no clock. An empty cell takes a lease from a [`TokenBucket`] behind it, and
/// when that is out, what other cells have left.
///
/// **The bound is kept over every interval.** The tokens in cells, at most `cells × lease`, are not in the shared
/// bucket: its burst is lowered by exactly that. In any interval no more can be spent than lay in the cells at its
/// start, plus the shared burst, plus the rate times its length: `burst + rate × t`. Tokens that a thread has in its
/// hands, on their way between a cell and the bucket, lie in neither; so when they are put down what the rate has brought
/// since is taken off, and a thread that was held up adds nothing. The price is that after a long rest up to
/// `cells × lease` tokens of the burst may be missing, a sixteenth of it at most: the lease is chosen so.
///
/// ```
/// use pop_ratelimit::{LeasedBucket, Quota, Timestamp};
///
/// let bucket = LeasedBucket::new(Quota::per_second(1000).burst(2000), 4);
/// let passed = (0..5000).filter(|_| bucket.check_at(Timestamp::ZERO, 1).is_allowed()).count();
/// assert_eq!(passed, 2000);
/// ```
#[derive(Debug)]
pub struct LeasedBucket {
    shared: TokenBucket,
    quota: Quota,
    /// In a cell's units.
    lease: u64,
    cells: Box<[Padded<AtomicU64>]>,
}

impl LeasedBucket {
    /// A full bucket with `cells` cells; as many as there are threads is a good number. With a burst below
    /// `16 × cells` there is nothing to lease, and it is a plain [`TokenBucket`] with a detour.
    #[must_use]
    pub fn new(quota: Quota, cells: usize) -> Self {
        let cells = cells.max(1);
        let lease = (quota.burst_size() / 16 / cells as u64).min(LEASE_MAX);
        let shared = if quota.is_unlimited() {
            quota
        } else {
            quota.with_burst_of(quota.burst_size() - lease * cells as u64)
        };
        Self {
            shared: TokenBucket::new(shared),
            quota,
            lease: lease << TOKEN_BITS,
            cells: (0..cells).map(|_| Padded(AtomicU64::new(lease << TOKEN_BITS))).collect(),
        }
    }

    /// Takes `cost` tokens, or says when they would be there. The clock is read only when the thread's cell is out.
    #[inline]
    pub fn check(&self, cost: u64) -> Decision {
        match self.take(cost) {
            Some(decision) => decision,
            None => self.refill(crate::now, cost),
        }
    }

    /// [`check`](Self::check) with a clock of the caller's.
    #[inline]
    pub fn check_at(&self, now: Timestamp, cost: u64) -> Decision {
        match self.take(cost) {
            Some(decision) => decision,
            None => self.refill(|| now, cost),
        }
    }

    /// The quota it was made with.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// From the thread's own cell; `remaining` is what the cell has left, a lower bound.
    #[inline]
    fn take(&self, cost: u64) -> Option<Decision> {
        // No cell has more, and nothing overflows.
        if cost > LEASE_MAX {
            return None;
        }
        let cost = cost << TOKEN_BITS;
        let cell = self.cell();
        // Relaxed: a number of tokens, which publishes nothing.
        let mut held = cell.load(Ordering::Relaxed);
        loop {
            let remaining = held.checked_sub(cost)?;
            // Only threads that share the cell, or steal from it, can get in between: one of them was served.
            match cell.compare_exchange_weak(held, remaining, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Decision::Allowed { remaining: remaining >> TOKEN_BITS }),
                Err(current) => held = current,
            }
        }
    }

    #[cold]
    fn refill(&self, now: impl Fn() -> Timestamp, cost: u64) -> Decision {
        if cost > self.quota.burst_size() {
            return Decision::Never { burst: self.quota.burst_size() };
        }
        let taken_at = now();
        let decision = match self.shared.lease(taken_at, cost, self.lease >> TOKEN_BITS) {
            Ok(leased) => {
                self.put(&now, taken_at, leased << TOKEN_BITS);
                return Decision::Allowed { remaining: leased };
            }
            // More than the shared burst and less than the whole: it waits until the shared bucket is full.
            Err(Decision::Never { .. }) if self.shared.quota().tokens() > 0 => {
                self.shared.peek_at(taken_at, self.shared.quota().burst_size())
            }
            Err(decision) => decision,
        };
        // Reading other threads' cells is cheap as long as they are empty, as they are when all is denied.
        if self.cells.iter().all(|Padded(cell)| cell.load(Ordering::Relaxed) >> TOKEN_BITS == 0) {
            return decision;
        }
        self.gather(now, taken_at, cost).unwrap_or(decision)
    }

    /// Whole tokens from all cells together, and the shared bucket for the rest; or nothing, and all goes back.
    fn gather(&self, now: impl Fn() -> Timestamp, taken_at: Timestamp, cost: u64) -> Option<Decision> {
        let mut gathered = 0;
        for Padded(cell) in &self.cells {
            let part = |held: u64| (held >> TOKEN_BITS).min(cost - gathered);
            let take = |held: u64| Some(held - (part(held) << TOKEN_BITS));
            // Relaxed: as above. The closure always returns a value.
            if let Ok(held) = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                gathered += part(held);
            }
            if gathered == cost {
                return Some(Decision::Allowed { remaining: 0 });
            }
        }
        if gathered > 0 && self.shared.check_at(taken_at, cost - gathered).is_allowed() {
            return Some(Decision::Allowed { remaining: 0 });
        }
        self.put(now, taken_at, gathered << TOKEN_BITS);
        None
    }

    /// Puts what was taken at `taken_at` or later into cells, less what the rate has brought since: that is there
    /// already, and would be there twice. No cell ever holds more than a lease: else the bound would not add up. The own
    /// cell first; whole tokens that do not fit in any go back to the shared bucket.
    fn put(&self, now: impl Fn() -> Timestamp, taken_at: Timestamp, units: u64) {
        let mut units = units.saturating_sub(self.brought(now().saturating_since(taken_at)));
        let own = self.index();
        for step in 0..self.cells.len() {
            let Padded(cell) = &self.cells[(own + step) % self.cells.len()];
            let add = |held: u64| Some(held + units.min(self.lease - held));
            if let Ok(held) = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
                units -= units.min(self.lease - held);
            }
            if units == 0 {
                return;
            }
        }
        self.shared.refund_by(now, taken_at, units >> TOKEN_BITS);
    }

    /// What the rate brings in `span`, in a cell's units, rounded up.
    fn brought(&self, span: Duration) -> u64 {
        if self.quota.is_unlimited() {
            return 0;
        }
        let units = span.as_nanos().saturating_mul(u128::from(self.quota.tokens()) << TOKEN_BITS);
        u64::try_from(units.div_ceil(u128::from(self.quota.period_nanos()))).unwrap_or(u64::MAX)
    }

    #[inline]
    fn cell(&self) -> &AtomicU64 {
        &self.cells[self.index()].0
    }

    #[inline]
    fn index(&self) -> usize {
        let index = thread_number();
        if index < self.cells.len() { index } else { index % self.cells.len() }
    }
}

/// A small number for each thread, given out in order.
#[inline]
fn thread_number() -> usize {
    use core::cell::Cell;
    // The process-wide counter is not part of any protocol, so it need not be loom's.
    static NEXT: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(1);
    std::thread_local! {
        // Zero: not given out yet. A plain constant needs no lazy initialisation on the hot path.
        static NUMBER: Cell<usize> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, core::sync::atomic::Ordering::Relaxed));
        }
        number.get() - 1
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn many_threads_get_the_burst_and_not_one_more() {
        let quota = Quota::new(0, Duration::from_secs(1)).unwrap().burst(40_000);
        let bucket = LeasedBucket::new(quota, 2);
        let passed: usize = std::thread::scope(|scope| {
            let spend = || (0..20_000).filter(|_| bucket.check_at(Timestamp::ZERO, 1).is_allowed()).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(spend)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        // What one thread was about to take may come back after another has given up, but not after all of them.
        let passed = passed + (0..2000).filter(|_| bucket.check_at(Timestamp::ZERO, 1).is_allowed()).count();
        assert_eq!(passed, 40_000);
    }

    #[test]
    fn the_whole_burst_can_be_spent_at_once() {
        let bucket = LeasedBucket::new(Quota::per_second(10).burst(1000), 4);
        assert!(bucket.check_at(Timestamp::ZERO, 1000).is_allowed());
        assert!(bucket.check_at(Timestamp::ZERO, 1).retry_after().is_some());
        assert_eq!(bucket.check_at(Timestamp::ZERO, 1001), Decision::Never { burst: 1000 });
    }

    /// A thread is held up between the bucket and its cell: what the rate has brought meanwhile is not there twice.
    #[test]
    fn whoever_is_held_up_with_tokens_in_its_hands_adds_nothing() {
        let quota = Quota::per_second(1000).burst(1024);
        for (held_up_millis, kept) in [(0, 32), (10, 22), (31, 1), (32, 0), (10_000, 0)] {
            let bucket = LeasedBucket::new(quota, 2);
            // The cell's own lease of 32 is spent, and one more is asked for.
            assert!(bucket.check_at(Timestamp::ZERO, 32).is_allowed());
            let readings = core::cell::Cell::new(0);
            let clock = || {
                let nanos = if readings.replace(1) == 0 { 0 } else { held_up_millis * 1_000_000 };
                Timestamp::from_nanos(nanos)
            };
            // Refilled: one for the caller and a lease of 32, of which what came meanwhile is taken off.
            assert!(bucket.refill(clock, 1).is_allowed());
            let held = bucket.cell().load(Ordering::Relaxed) >> TOKEN_BITS;
            assert_eq!(held, kept, "after {held_up_millis} ms");
        }
    }

    /// Any order of costs from any number of "threads" (cells) against the exact bound over every interval.
    #[test]
    fn the_bound_holds_over_every_interval() {
        let quota = Quota::per_second(100_000).burst(512);
        let bucket = LeasedBucket::new(quota, 2);
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        let (mut random, mut now) = (7_u64, 0);
        for _ in 0..3000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            now += if random >> 60 == 0 { 2_000_000 } else { (random >> 40) % 9_000 };
            let cost = (random >> 33) % 12;
            if bucket.check_at(Timestamp::from_nanos(now), cost).is_allowed() {
                admitted.push((now, cost));
            }
        }
        for first in 0..admitted.len() {
            let mut sum = 0;
            for &(stamp, cost) in &admitted[first..] {
                sum += cost;
                let span = stamp - admitted[first].0;
                assert!(sum * 1_000_000_000 <= 512 * 1_000_000_000 + 100_000 * (span + 1));
            }
        }
    }
}
