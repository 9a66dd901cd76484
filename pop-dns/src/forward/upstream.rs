//! Which upstream is asked: the quickest of those that answer. No socket and no clock.

use std::time::Duration;

use crate::Timestamp;

/// Failures in a row after which an upstream is left alone.
const FAILURES_MAX: u32 = 3;
/// How long it is left alone at first, and at most.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// One query in so many goes to another healthy upstream, so that we learn when it becomes the quicker one.
const EXPLORE: u64 = 32;
/// Bounds on how long we wait before we ask another as well.
const HEDGE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Bounds on how long we wait before an upstream counts as silent.
const SILENCE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1500));

/// What is known of one upstream.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    /// Smoothed round trip and its variation, as RFC 6298 §2 has them. `None` before the first answer.
    round_trip: Option<(Duration, Duration)>,
    failures: u32,
    /// Until when it is left alone.
    rests_until: Option<Timestamp>,
}

/// What is known of all.
#[derive(Debug)]
pub(super) struct Upstreams(Vec<Health>);

/// Patience with one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// After so long another may be asked as well, if there is credit for it.
    pub(super) hedge: Duration,
    /// After so long another is asked in any case.
    pub(super) silence: Duration,
}

impl Upstreams {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![Health::default(); count])
    }

    /// The upstream to ask, none of `tried` (a bit each) unless all were. `random` is any number.
    pub(super) fn choose(&self, tried: u64, now: Timestamp, random: u64) -> usize {
        let untried = |index: &usize| tried & (1 << index) == 0;
        let rests = |index: usize| self.0[index].rests_until.filter(|&until| now < until).unwrap_or_default();
        let cost =
            |index: usize| self.0[index].round_trip.map_or(Duration::ZERO, |(smooth, vary)| smooth + vary);
        let candidates = (0..self.0.len()).filter(untried);
        // A healthy one before any that rests; of those that rest, the one that rests least long.
        let best = candidates.min_by_key(|&index| (rests(index), cost(index)));
        let Some(best) = best else { return (random % self.0.len() as u64) as usize };
        if !random.is_multiple_of(EXPLORE) {
            return best;
        }
        let healthy: Vec<usize> = (0..self.0.len())
            .filter(untried)
            .filter(|&index| index != best && rests(index) == Timestamp::ZERO)
            .collect();
        healthy.get((random / EXPLORE) as usize % healthy.len().max(1)).copied().unwrap_or(best)
    }

    /// How long to wait for `index`.
    pub(super) fn patience(&self, index: usize) -> Patience {
        let (smooth, vary) =
            self.0[index].round_trip.unwrap_or((Duration::from_millis(100), Duration::from_millis(50)));
        let expected = smooth + 4 * vary;
        Patience {
            hedge: expected.clamp(HEDGE.0, HEDGE.1),
            silence: (2 * expected).clamp(SILENCE.0, SILENCE.1),
        }
    }

    /// It answered, after `round_trip`.
    pub(super) fn answered(&mut self, index: usize, round_trip: Duration) {
        let health = &mut self.0[index];
        health.failures = 0;
        health.rests_until = None;
        health.round_trip = Some(match health.round_trip {
            None => (round_trip, round_trip / 2),
            Some((smooth, vary)) => {
                ((smooth * 7 + round_trip) / 8, (vary * 3 + smooth.abs_diff(round_trip)) / 4)
            }
        });
    }

    /// It did not answer, or not with anything of use.
    pub(super) fn failed(&mut self, index: usize, now: Timestamp) {
        let health = &mut self.0[index];
        health.failures = health.failures.saturating_add(1);
        if let Some(beyond) = health.failures.checked_sub(FAILURES_MAX) {
            let rest = REST.0.saturating_mul(1 << beyond.min(6)).min(REST.1);
            health.rests_until = Some(now.saturating_add(rest));
        }
    }

    /// Whether it is left alone at the moment.
    pub(super) fn rests(&self, index: usize, now: Timestamp) -> bool {
        self.0[index].rests_until.is_some_and(|until| now < until)
    }

    /// The smoothed round trip.
    pub(super) fn round_trip(&self, index: usize) -> Option<Duration> {
        self.0[index].round_trip.map(|(smooth, _)| smooth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_quickest_is_asked_and_the_others_now_and_then() {
        let mut upstreams = Upstreams::new(3);
        for (index, millis) in [(0, 30), (1, 10), (2, 20)] {
            upstreams.answered(index, ms(millis));
        }
        let mut counts = [0; 3];
        (0..3200).for_each(|random| counts[upstreams.choose(0, Timestamp::ZERO, random)] += 1);
        assert_eq!(counts[1], 3100);
        assert!(counts[0] > 0 && counts[2] > 0);
        assert_eq!(upstreams.choose(0b010, Timestamp::ZERO, 1), 2, "the next best where the best was tried");
        assert!(upstreams.choose(0b111, Timestamp::ZERO, 1) < 3);
    }

    #[test]
    fn a_silent_one_rests_ever_longer_and_comes_back() {
        let mut upstreams = Upstreams::new(2);
        upstreams.answered(0, ms(10));
        upstreams.answered(1, ms(50));
        let mut now = Timestamp::ZERO;
        (0..2).for_each(|_| upstreams.failed(0, now));
        assert_eq!(upstreams.choose(0, now, 1), 0, "twice is bad luck");
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            upstreams.failed(0, now);
            assert_eq!(upstreams.choose(0, now, 1), 1);
            now = now.saturating_add(Duration::from_secs(seconds));
            assert!(!upstreams.rests(0, now), "{seconds}");
        }
        upstreams.answered(0, ms(10));
        upstreams.failed(0, now);
        assert!(!upstreams.rests(0, now));
        // Both silent: still somebody is asked.
        (0..9).for_each(|_| {
            upstreams.failed(0, now);
            upstreams.failed(1, now);
        });
        assert!(upstreams.choose(0, now, 0) < 2);
    }
}
