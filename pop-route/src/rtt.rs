//! Measured round-trip times: smoothed, bounded in number, aged, and hard to poison.
//!
//! For each pair of client prefix and site an [`Estimate`] keeps an exponentially weighted mean and deviation (the
//! gains of RFC 6298 §2), in 24 bytes. How far to trust it is a number, too: the standard error of the mean, which
//! grows again as the estimate ages. A rule that wants proof compares intervals, not means.
//!
//! No quantile sketch: what is decided is where a mean is lower, and by how much that is proven; a sketch costs some
//! hundred times the memory of a pair, and its quantiles come without an interval. Tails count where they can be
//! decided on, between sites: see [`AnycastRule::tail`](crate::AnycastRule::tail).

use core::time::Duration;

use ahash::AHashMap;

use crate::{Prefix, SiteId, Timestamp};

/// A sample above this is no round trip on this planet.
pub const RTT_MAX: Duration = Duration::from_secs(10);
/// Samples before an estimate counts.
pub const SAMPLES_MIN: u32 = 3;
/// How long an estimate counts after its last sample.
pub const ESTIMATE_AGE_MAX: Duration = Duration::from_secs(3600);
/// Pairs of prefix and site that are kept at most, unless a builder says otherwise.
pub const PAIRS_MAX: usize = 1 << 20;

/// A gain of 1/8 averages over some fifteen samples: the error of the mean never falls below this part of a deviation.
const ERROR_FLOOR: f64 = 0.258;

/// A smoothed round-trip time and its mean deviation, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    micros: u32,
    deviation: u32,
    samples: u32,
    last: Timestamp,
}

/// What is known of the round trip between a client prefix and a site.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Measured {
    /// The smoothed mean, in milliseconds.
    pub millis: f64,
    /// The mean deviation of samples, in milliseconds.
    pub deviation_millis: f64,
    /// The standard error of the mean, in milliseconds; grows with age.
    pub error_millis: f64,
    /// Samples so far.
    pub samples: u32,
    /// The time since the last one.
    pub age: Duration,
}

impl Estimate {
    /// Takes a sample in; false if it is rejected: zero, above [`RTT_MAX`], or from before the last one.
    pub(crate) fn observe(&mut self, sample: Duration, now: Timestamp) -> bool {
        let late = self.samples > 0 && now < self.last;
        let Some(sample) = micros(sample).filter(|_| !late) else { return false };
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

    /// The estimate with its error, if it rests on enough samples that are young enough.
    pub(crate) fn confident(&self, now: Timestamp) -> Option<Measured> {
        let age = now.saturating_since(self.last);
        if self.samples < SAMPLES_MIN || age > ESTIMATE_AGE_MAX {
            return None;
        }
        let deviation = f64::from(self.deviation) / 1e3;
        let of_mean = (1.0 / f64::from(self.samples).sqrt()).max(ERROR_FLOOR);
        // After a whole life an estimate says half as much.
        let aging = 1.0 + age.as_secs_f64() / ESTIMATE_AGE_MAX.as_secs_f64();
        Some(Measured {
            millis: f64::from(self.micros) / 1e3,
            deviation_millis: deviation,
            error_millis: deviation * of_mean * aging,
            samples: self.samples,
            age,
        })
    }

    pub(crate) const fn samples(&self) -> u32 {
        self.samples
    }
}

/// A sample that can be a round trip, in microseconds.
fn micros(sample: Duration) -> Option<u32> {
    let valid = !sample.is_zero() && sample <= RTT_MAX;
    // RTT_MAX is ten million microseconds; less than one counts as one.
    valid.then(|| (sample.as_micros() as u32).max(1))
}

/// Estimates by prefix and site, never more than a set number of pairs.
#[derive(Debug)]
pub(crate) struct RttStore {
    by_prefix: AHashMap<Prefix, Vec<(SiteId, Estimate)>>,
    pairs: usize,
    pairs_max: usize,
    /// When a sweep for room found nothing: no other one before estimates can have aged.
    swept: Option<Timestamp>,
}

/// A full store is searched for aged estimates at most this often: a flood of new pairs costs one look-up each.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

impl RttStore {
    pub(crate) fn new(pairs_max: usize) -> Self {
        Self { by_prefix: AHashMap::new(), pairs: 0, pairs_max, swept: None }
    }

    /// Takes a sample in; false if it is rejected, for what it says or for want of room.
    pub(crate) fn observe(&mut self, prefix: Prefix, site: SiteId, sample: Duration, now: Timestamp) -> bool {
        if let Some((_, estimate)) = self.by_prefix.get_mut(&prefix).and_then(|pairs| find(pairs, site)) {
            return estimate.observe(sample, now);
        }
        let mut estimate = Estimate::default();
        if !estimate.observe(sample, now) || !self.has_room(now) {
            return false;
        }
        self.by_prefix.entry(prefix).or_default().push((site, estimate));
        self.pairs += 1;
        true
    }

    /// Takes an estimate over that another store made; false for want of room.
    pub(crate) fn adopt(&mut self, prefix: Prefix, site: SiteId, estimate: Estimate) -> bool {
        let room = self.pairs < self.pairs_max && self.get(prefix, site).is_none();
        if room {
            self.by_prefix.entry(prefix).or_default().push((site, estimate));
            self.pairs += 1;
        }
        room
    }

    pub(crate) fn get(&self, prefix: Prefix, site: SiteId) -> Option<Estimate> {
        let pairs = self.by_prefix.get(&prefix)?;
        pairs.iter().find(|(other, _)| *other == site).map(|&(_, estimate)| estimate)
    }

    /// All estimates of a prefix, in no order.
    pub(crate) fn of(&self, prefix: Prefix) -> &[(SiteId, Estimate)] {
        self.by_prefix.get(&prefix).map_or(&[], Vec::as_slice)
    }

    /// Every pair.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Prefix, SiteId, Estimate)> {
        self.by_prefix
            .iter()
            .flat_map(|(&prefix, pairs)| pairs.iter().map(move |&(site, estimate)| (prefix, site, estimate)))
    }

    fn has_room(&mut self, now: Timestamp) -> bool {
        let again = self.swept.is_none_or(|swept| now.saturating_since(swept) >= SWEEP_EVERY);
        if self.pairs >= self.pairs_max && again {
            self.swept = Some(now);
            self.by_prefix.retain(|_, pairs| {
                pairs.retain(|(_, estimate)| now.saturating_since(estimate.last) <= ESTIMATE_AGE_MAX);
                !pairs.is_empty()
            });
            self.pairs = self.by_prefix.values().map(Vec::len).sum();
        }
        self.pairs < self.pairs_max
    }
}

fn find(pairs: &mut [(SiteId, Estimate)], site: SiteId) -> Option<&mut (SiteId, Estimate)> {
    pairs.iter_mut().find(|(other, _)| *other == site)
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
        assert!(estimate.confident(Timestamp::ZERO).unwrap().millis < 25.0);
    }

    #[test]
    fn old_estimates_say_less_and_then_nothing() {
        let mut estimate = Estimate::default();
        (0..3).for_each(|_| assert!(estimate.observe(Duration::from_millis(20), Timestamp::ZERO)));
        let young = estimate.confident(Timestamp::ZERO).unwrap();
        let old = estimate.confident(Timestamp::ZERO.saturating_add(ESTIMATE_AGE_MAX)).unwrap();
        assert!(old.error_millis > 1.9 * young.error_millis);
        assert!(estimate.confident(Timestamp::ZERO.saturating_add(ESTIMATE_AGE_MAX * 2)).is_none());
    }

    #[test]
    fn more_samples_mean_less_error_down_to_a_floor() {
        let mut estimate = Estimate::default();
        let mut errors = Vec::new();
        for sample in 0..200_u64 {
            let jitter = sample % 3;
            assert!(estimate.observe(Duration::from_millis(19 + jitter), Timestamp::ZERO));
            errors.extend(estimate.confident(Timestamp::ZERO).map(|measured| measured.error_millis));
        }
        assert!(errors[0] > 5.0 * errors[errors.len() - 1]);
        assert!(errors[errors.len() - 1] > 0.1);
    }

    #[test]
    fn a_million_prefixes_fill_no_memory_and_drive_nobody_out() {
        let mut store = RttStore::new(100);
        let prefix = |index: u32| Prefix::host(core::net::Ipv4Addr::from_bits(index).into());
        let sample = Duration::from_millis(9);
        assert!(store.observe(prefix(0), SiteId(0), sample, Timestamp::ZERO));
        let accepted = (1..100_000)
            .filter(|&index| store.observe(prefix(index), SiteId(0), sample, Timestamp::ZERO))
            .count();
        assert_eq!(accepted, 99);
        assert!(store.observe(prefix(0), SiteId(0), sample, Timestamp::ZERO), "what is known goes on");
        let later = Timestamp::ZERO.saturating_add(ESTIMATE_AGE_MAX * 2);
        assert!(store.observe(prefix(7_777_777), SiteId(0), sample, later), "aged pairs make room");
        assert_eq!(store.iter().count(), 1);
    }
}
