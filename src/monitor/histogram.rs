//! A latency histogram in fixed memory: four buckets for each doubling, so a reading is off by at most a quarter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each doubling.
const STEPS: usize = 4;
/// Nanoseconds below which everything is one bucket: 2¹⁰, about a microsecond.
const FLOOR_BITS: u32 = 10;
/// Doublings above the floor: up to 2³⁷ ns, about 137 seconds.
const DOUBLINGS: usize = 27;
const BUCKETS: usize = 1 + DOUBLINGS * STEPS;

#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
    nanos: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new(std::array::from_fn(|_| AtomicU64::new(0))), nanos: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub(super) fn observe(&self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    #[cfg(feature = "metrics")]
    pub(super) fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// Upper bounds in nanoseconds, one a doubling, with the count of what lies below each.
    #[cfg(feature = "metrics")]
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut below = self.buckets[0].load(Ordering::Relaxed);
        (0..DOUBLINGS).map(move |doubling| {
            let first = 1 + doubling * STEPS;
            below += self.buckets[first..first + STEPS]
                .iter()
                .map(|bucket| bucket.load(Ordering::Relaxed))
                .sum::<u64>();
            (1 << (FLOOR_BITS as usize + doubling + 1), below)
        })
    }
}

fn bucket(nanos: u64) -> usize {
    let bits = 63 - (nanos | 1).leading_zeros();
    if bits < FLOOR_BITS {
        return 0;
    }
    // The two bits below the leading one are the step.
    let step = (nanos >> (bits - 2)) as usize & (STEPS - 1);
    (1 + (bits - FLOOR_BITS) as usize * STEPS + step).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order() {
        let mut last = 0;
        for nanos in (0..40).flat_map(|bits| [1_u64 << bits, (1 << bits) + (1 << bits) / 2]) {
            let index = bucket(nanos);
            assert!(index >= last && index < BUCKETS, "{nanos}");
            last = index;
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(1023), 0);
        assert_eq!(bucket(1024), 1);
        assert_eq!(bucket(2047), 4);
        assert_eq!(bucket(2048), 5);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn counts_add_up() {
        let histogram = Histogram::default();
        for micros in [0, 1, 2, 500, 1_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.sum(), Duration::from_micros(1_000_503));
        let at =
            |bound: u64| histogram.cumulative().find(|&(upper, _)| upper >= bound).map(|(_, count)| count);
        assert_eq!(at(2048), Some(3));
        assert_eq!(at(1 << 20), Some(4));
        assert_eq!(at(1 << 30), Some(5));
    }
}
