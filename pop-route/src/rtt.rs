//! Measured round-trip times: bounded, smoothed, aged.

use core::time::Duration;

use crate::Timestamp;

/// A sample above this is no round trip on this planet.
pub const RTT_MAX: Duration = Duration::from_secs(10);
/// Samples before an estimate counts.
pub const SAMPLES_MIN: u32 = 3;
/// How long an estimate counts after its last sample.
pub const ESTIMATE_AGE_MAX: Duration = Duration::from_secs(3600);

/// A smoothed round-trip time and its mean deviation (RFC 6298 §2: gains of 1/8 and 1/4), in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    micros: u32,
    deviation: u32,
    samples: u32,
    last: Timestamp,
}

impl Estimate {
    /// Takes a sample in; false if it is rejected: zero, above [`RTT_MAX`], or from before the last one.
    pub(crate) fn observe(&mut self, sample: Duration, now: Timestamp) -> bool {
        if sample.is_zero() || sample > RTT_MAX || (self.samples > 0 && now < self.last) {
            return false;
        }
        // RTT_MAX is ten million microseconds.
        let sample = sample.as_micros() as u32;
        if self.samples == 0 {
            (self.micros, self.deviation) = (sample, sample / 2);
        } else {
            // One sample moves the estimate by at most four deviations and a millisecond: an outlier, or a liar, has
            // to come again and again.
            let bound = self.deviation.saturating_mul(4).saturating_add(1000);
            let sample = sample.clamp(self.micros.saturating_sub(bound), self.micros.saturating_add(bound));
            let error = sample.abs_diff(self.micros);
            self.deviation = self.deviation - self.deviation / 4 + error / 4;
            self.micros = self.micros - self.micros / 8 + sample / 8;
        }
        self.samples = self.samples.saturating_add(1);
        self.last = now;
        true
    }

    /// The estimate, if it rests on enough samples that are young enough.
    pub(crate) fn confident(&self, now: Timestamp) -> Option<Duration> {
        let counts = self.samples >= SAMPLES_MIN && now.saturating_since(self.last) <= ESTIMATE_AGE_MAX;
        counts.then(|| Duration::from_micros(self.micros.into()))
    }

    pub(crate) const fn samples(&self) -> u32 {
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poison_is_rejected_or_bounded() {
        let mut estimate = Estimate::default();
        assert!(!estimate.observe(Duration::ZERO, Timestamp::ZERO));
        assert!(!estimate.observe(Duration::from_secs(11), Timestamp::ZERO));
        for _ in 0..20 {
            assert!(estimate.observe(Duration::from_millis(20), Timestamp::ZERO));
        }
        assert!(estimate.observe(Duration::from_secs(9), Timestamp::ZERO));
        assert!(estimate.confident(Timestamp::ZERO).unwrap() < Duration::from_millis(25));
    }

    #[test]
    fn old_estimates_do_not_count() {
        let mut estimate = Estimate::default();
        (0..3).for_each(|_| assert!(estimate.observe(Duration::from_millis(20), Timestamp::ZERO)));
        assert!(estimate.confident(Timestamp::ZERO.saturating_add(ESTIMATE_AGE_MAX)).is_some());
        assert!(estimate.confident(Timestamp::ZERO.saturating_add(ESTIMATE_AGE_MAX * 2)).is_none());
    }
}
