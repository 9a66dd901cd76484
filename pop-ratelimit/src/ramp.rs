//! Rates that rise: a cold cache or a new backend gets its load little by little.

use core::time::Duration;

use crate::sync::{AtomicU64, Ordering};
use crate::{Decision, Quota, Timestamp, TokenBucket};

/// Steps of a ramp: each is a hundredth of the way, so the rate is never off by more than that.
const STEPS: u64 = 100;

/// A quota that rises from a share of itself to the whole of itself, in equal steps.
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::{Quota, Ramp};
///
/// let ramp = Ramp::new(Quota::per_second(1000), 10, Duration::from_secs(60));
/// assert_eq!(ramp.quota_after(Duration::ZERO).tokens(), 100);
/// assert_eq!(ramp.quota_after(Duration::from_secs(30)).tokens(), 550);
/// assert_eq!(ramp.quota_after(Duration::from_secs(60)), Quota::per_second(1000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    full: Quota,
    start_percent: u64,
    over: Duration,
}

impl Ramp {
    /// From `start_percent` percent (at most a hundred) to the whole of `full` over that time.
    #[must_use]
    pub const fn new(full: Quota, start_percent: u8, over: Duration) -> Self {
        let start_percent = if start_percent > 100 { 100 } else { start_percent as u64 };
        Self { full, start_percent, over }
    }

    /// The quota `elapsed` after the start.
    #[must_use]
    pub fn quota_after(&self, elapsed: Duration) -> Quota {
        self.quota_of(self.step_after(elapsed))
    }

    fn step_after(&self, elapsed: Duration) -> u64 {
        if elapsed >= self.over {
            return STEPS;
        }
        // Below STEPS, since elapsed is below the whole.
        (elapsed.as_nanos().saturating_mul(u128::from(STEPS)) / self.over.as_nanos().max(1)) as u64
    }

    fn quota_of(&self, step: u64) -> Quota {
        if self.full.is_unlimited() || step >= STEPS {
            return self.full;
        }
        // In ten-thousandths.
        let share = self.start_percent * STEPS + (100 - self.start_percent) * step;
        let part = |whole: u64| (u128::from(whole) * u128::from(share) / 10_000) as u64;
        let burst = part(self.full.burst_size()).max(u64::from(self.full.burst_size() > 0));
        Quota::from_parts(part(self.full.tokens()), self.full.period_nanos(), burst)
    }
}

/// A [`TokenBucket`] whose quota follows a [`Ramp`].
///
/// Each step is a live change of the quota: what is owed stays owed, and there is no fresh burst.
#[derive(Debug)]
pub struct RampedBucket {
    bucket: TokenBucket,
    ramp: Ramp,
    start: Timestamp,
    /// The step in force.
    step: AtomicU64,
}

impl RampedBucket {
    /// A bucket that begins its ramp at `start`.
    #[must_use]
    pub fn new(ramp: Ramp, start: Timestamp) -> Self {
        // Made for the full rate, so that every step is within reach; a zero burst never fills.
        let bucket = TokenBucket::new(ramp.full);
        let step = ramp.step_after(Duration::ZERO);
        // A part of the quota that the bucket was made for.
        let changed = bucket.set_quota_at(ramp.quota_of(step), start);
        debug_assert!(changed.is_ok() || ramp.full.is_unlimited());
        Self { bucket, ramp, start, step: AtomicU64::new(step) }
    }

    /// [`TokenBucket::check_at`] under the quota of the moment.
    pub fn check_at(&self, now: Timestamp, cost: u64) -> Decision {
        self.follow(now);
        self.bucket.check_at(now, cost)
    }

    /// The bucket behind it.
    #[must_use]
    pub const fn bucket(&self) -> &TokenBucket {
        &self.bucket
    }

    fn follow(&self, now: Timestamp) {
        let mut step = self.ramp.step_after(now.saturating_since(self.start));
        // A clock that steps back does not lead back down. Relaxed: changes of the quota order themselves.
        if step <= self.step.load(Ordering::Relaxed) || self.step.fetch_max(step, Ordering::Relaxed) >= step {
            return;
        }
        loop {
            let changed = self.bucket.set_quota_at(self.ramp.quota_of(step), now);
            debug_assert!(changed.is_ok() || self.ramp.full.is_unlimited());
            // Whoever was overtaken meanwhile must not have the last word.
            match self.step.load(Ordering::Relaxed) {
                latest if latest == step => return,
                latest => step = latest,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_rises_with_the_ramp() {
        let ramp = Ramp::new(Quota::per_second(1000).burst(10), 0, Duration::from_secs(10));
        let bucket = RampedBucket::new(ramp, Timestamp::ZERO);
        let mut passed = [0; 12];
        for milli in 0..12_000_u64 {
            let now = Timestamp::from_nanos(milli * 1_000_000);
            let count = (0..3).filter(|_| bucket.check_at(now, 1).is_allowed()).count();
            passed[milli as usize / 1000] += count;
        }
        // In second n the rate is between n and n + 1 tenths of a thousand.
        for (second, &count) in passed[..10].iter().enumerate() {
            assert!((second * 100..=second * 100 + 111).contains(&count), "{passed:?}");
        }
        assert!((999..=1001).contains(&passed[11]), "{passed:?}");
    }
}
