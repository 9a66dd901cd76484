//! The limit on what is under way, found by watching how long things take: the pure part.

use core::time::Duration;

/// How the limit moves.
///
/// - *AIMD*, as TCP does: one more for each window of successes, a factor less for a failure or an answer later than
///   the target (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989).
/// - *Gradient*: the ratio of the shortest round-trip time to the present one says how much queueing there is, and
///   the limit follows it, leaving room for a queue of its square root (the idea of TCP Vegas, and of Netflix'
///   concurrency-limits). Now and then the limit is halved for a moment, so that the queue drains and the shortest
///   time is measured anew.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields, rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum LimitPolicy {
    /// Always the same.
    Fixed {
        /// The limit.
        limit: u32,
    },
    /// Additive increase, multiplicative decrease.
    Aimd {
        /// The lowest limit, at least 1.
        low: u32,
        /// The highest limit.
        high: u32,
        /// An answer that takes longer counts as a failure.
        target: Duration,
    },
    /// After the gradient of round-trip times.
    Gradient {
        /// The lowest limit, at least 1.
        low: u32,
        /// The highest limit.
        high: u32,
    },
}

/// A decrease keeps nine tenths.
const AIMD_BACKOFF: f64 = 0.9;
/// A round-trip time may be this much above the shortest one before the limit falls.
const GRADIENT_TOLERANCE: f64 = 1.5;
/// At most half of the limit goes at once.
const GRADIENT_LOWEST: f64 = 0.5;
/// How much of the new limit is taken over with each answer.
const GRADIENT_SMOOTHING: f64 = 0.2;
/// Answers between two measurements of the shortest round-trip time.
const GRADIENT_PROBE_EVERY: u64 = 2000;

impl LimitPolicy {
    /// Bounds of the limit: at least one, and in order.
    fn bounds(self) -> (f64, f64) {
        let (low, high) = match self {
            Self::Fixed { limit } => return (f64::from(limit), f64::from(limit)),
            Self::Aimd { low, high, .. } | Self::Gradient { low, high } => (low.max(1), high.max(low).max(1)),
        };
        (f64::from(low), f64::from(high))
    }
}

/// What became of something that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered after this long.
    Answered(Duration),
    /// It was refused, or timed out: there is overload.
    Overloaded,
}

/// The limit and its memory: the pure part, one owner.
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::{AdaptiveLimit, LimitPolicy, Outcome};
///
/// let mut limit = AdaptiveLimit::new(LimitPolicy::Aimd { low: 4, high: 64, target: Duration::from_secs(1) });
/// for _ in 0..1000 {
///     limit.observe(limit.limit(), Outcome::Answered(Duration::from_millis(20)));
/// }
/// let before = limit.limit();
/// limit.observe(before, Outcome::Overloaded);
/// assert!(before > 20 && (before * 8 / 10..before).contains(&limit.limit()));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveLimit {
    policy: LimitPolicy,
    limit: f64,
    /// The shortest round-trip time in nanoseconds since it was last measured.
    shortest: f64,
    until_probe: u64,
    probe: Option<Probe>,
    /// Answers still to come from before the last decrease: one overload is one decrease.
    draining: u64,
}

/// The shortest round-trip time is being measured at half of the limit.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// Answers still to come; the first half of them left when the limit was still whole, and do not count.
    left: u64,
    counted: u64,
    shortest: f64,
    resume: f64,
}

impl AdaptiveLimit {
    /// Starts at the lowest limit.
    #[must_use]
    pub fn new(policy: LimitPolicy) -> Self {
        Self {
            policy,
            limit: policy.bounds().0,
            shortest: f64::INFINITY,
            until_probe: GRADIENT_PROBE_EVERY,
            probe: None,
            draining: 0,
        }
    }

    /// How many may be under way.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit as u64
    }

    /// Learns from one that ended while `in_flight` were under way, itself included.
    pub fn observe(&mut self, in_flight: u64, outcome: Outcome) {
        let (low, high) = self.policy.bounds();
        self.draining = self.draining.saturating_sub(1);
        // A limit that is not used says nothing about whether more would be too much.
        let used = in_flight as f64 * 2.0 >= self.limit;
        let limit = match (self.policy, outcome) {
            (LimitPolicy::Fixed { .. }, _) => return,
            (LimitPolicy::Aimd { target, .. }, Outcome::Answered(rtt)) if rtt <= target => {
                if used {
                    self.limit + 1.0 / self.limit
                } else {
                    self.limit
                }
            }
            (LimitPolicy::Aimd { .. }, _) | (LimitPolicy::Gradient { .. }, Outcome::Overloaded) => {
                self.back_off(in_flight)
            }
            (LimitPolicy::Gradient { .. }, Outcome::Answered(rtt)) => self.follow(in_flight, rtt, used),
        };
        self.limit = limit.clamp(low, high);
    }

    fn back_off(&mut self, in_flight: u64) -> f64 {
        if self.draining > 0 {
            return self.limit;
        }
        self.draining = in_flight;
        self.limit * AIMD_BACKOFF
    }

    fn follow(&mut self, in_flight: u64, rtt: Duration, used: bool) -> f64 {
        let rtt = (rtt.as_nanos() as f64).max(1.0);
        self.shortest = self.shortest.min(rtt);
        if let Some(probe) = self.probe {
            return self.probing(probe, rtt);
        }
        if !used {
            return self.limit;
        }
        self.until_probe = self.until_probe.saturating_sub(1);
        if self.until_probe == 0 {
            self.until_probe = GRADIENT_PROBE_EVERY;
            let counted = in_flight.max(8);
            self.probe =
                Some(Probe { left: 2 * counted, counted, shortest: f64::INFINITY, resume: self.limit });
            return self.limit / 2.0;
        }
        let gradient = (GRADIENT_TOLERANCE * self.shortest / rtt).clamp(GRADIENT_LOWEST, 1.0);
        let target = self.limit * gradient + square_root(self.limit);
        self.limit + (target - self.limit) * GRADIENT_SMOOTHING
    }

    fn probing(&mut self, mut probe: Probe, rtt: f64) -> f64 {
        if probe.left <= probe.counted {
            probe.shortest = probe.shortest.min(rtt);
        }
        probe.left -= 1;
        if probe.left > 0 {
            self.probe = Some(probe);
            return self.limit;
        }
        self.probe = None;
        self.shortest = probe.shortest;
        probe.resume
    }
}

/// Newton's method: `f64::sqrt` needs `std`, and this is exact enough for a queue's length.
fn square_root(value: f64) -> f64 {
    let mut root = value.max(1.0);
    for _ in 0..40 {
        let next = f64::midpoint(root, value / root);
        if next >= root {
            break;
        }
        root = next;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with `workers` workers, `service` for each request; what waits makes answers late.
    fn settles_at(policy: LimitPolicy, workers: u64, service: Duration) -> u64 {
        let mut limit = AdaptiveLimit::new(policy);
        for _ in 0..20_000 {
            let in_flight = limit.limit();
            let queued = in_flight.saturating_sub(workers) as u32;
            let rtt = service + service * queued / workers as u32;
            limit.observe(in_flight, Outcome::Answered(rtt));
        }
        limit.limit()
    }

    #[test]
    fn both_policies_find_a_server_s_capacity() {
        let service = Duration::from_millis(10);
        let aimd = settles_at(LimitPolicy::Aimd { low: 1, high: 1000, target: service * 2 }, 50, service);
        assert!((80..=101).contains(&aimd), "{aimd}: twice the workers is twice the time");
        let gradient = settles_at(LimitPolicy::Gradient { low: 1, high: 1000 }, 50, service);
        assert!((50..=120).contains(&gradient), "{gradient}");
    }

    /// When everything becomes three times slower, the old shortest time must not hold the limit down for ever.
    #[test]
    fn the_gradient_learns_a_slower_server() {
        let mut limit = AdaptiveLimit::new(LimitPolicy::Gradient { low: 1, high: 100 });
        for service in [10, 30] {
            for _ in 0..10_000 {
                limit.observe(limit.limit(), Outcome::Answered(Duration::from_millis(service)));
            }
            assert!(limit.limit() > 90, "{limit:?}");
        }
    }

    #[test]
    fn one_overload_is_one_decrease() {
        let mut limit = AdaptiveLimit::new(LimitPolicy::Aimd { low: 100, high: 100, target: Duration::MAX });
        limit.policy = LimitPolicy::Aimd { low: 1, high: 100, target: Duration::MAX };
        for _ in 0..100 {
            limit.observe(100, Outcome::Overloaded);
        }
        assert_eq!(limit.limit(), 90);
        limit.observe(100, Outcome::Overloaded);
        assert_eq!(limit.limit(), 81);
    }

    #[test]
    fn an_unused_limit_does_not_grow() {
        for policy in [
            LimitPolicy::Aimd { low: 10, high: 100, target: Duration::MAX },
            LimitPolicy::Gradient { low: 10, high: 100 },
        ] {
            let mut limit = AdaptiveLimit::new(policy);
            (0..1000).for_each(|_| limit.observe(1, Outcome::Answered(Duration::from_millis(1))));
            assert_eq!(limit.limit(), 10);
        }
    }
}
