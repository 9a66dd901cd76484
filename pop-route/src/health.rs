//! Health with hysteresis: a site falls after some failures in a row, and rises after some successes in a row, but
//! not before it has been down for a while. Who flaps is damped after RFC 2439: each fall adds one to a penalty that
//! halves with time, and the hold-down doubles with each whole point of it.

use core::time::Duration;

use crate::Timestamp;

/// How quickly a site falls and rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Failures in a row before it falls; zero counts as one.
    pub fall: u32,
    /// Successes in a row before it rises; zero counts as one.
    pub rise: u32,
    /// How long it stays down at least; doubled for each recent fall before this one, up to 64 times.
    pub hold_down: Duration,
    /// How long falls weigh: the penalty halves in this time.
    pub memory: Duration,
}

impl Default for HealthPolicy {
    /// Falls after three failures, rises after three successes and ten seconds, remembers falls for ten minutes.
    fn default() -> Self {
        Self { fall: 3, rise: 3, hold_down: Duration::from_secs(10), memory: Duration::from_secs(600) }
    }
}

/// The longest hold-down is this many doublings of the shortest.
const DOUBLINGS_MAX: u32 = 6;
/// One fall, in the unit of the penalty.
const FALL: u32 = 1000;
/// The penalty does not grow beyond what doubles most, and one more.
const PENALTY_MAX: u32 = FALL * (DOUBLINGS_MAX + 2);

/// The state of one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    up: bool,
    /// Results in a row that speak against the state.
    against: u32,
    /// When it fell last, and the penalty at that moment, that fall included.
    fell: Timestamp,
    penalty: u32,
}

impl Health {
    pub(crate) const HEALTHY: Self = Self { up: true, against: 0, fell: Timestamp::ZERO, penalty: 0 };

    pub(crate) const fn is_up(self) -> bool {
        self.up
    }

    /// Takes a result in; true if the state changed.
    pub(crate) fn observe(&mut self, success: bool, now: Timestamp, policy: &HealthPolicy) -> bool {
        if success == self.up {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        if self.up && self.against >= policy.fall.max(1) {
            let penalty = (self.decayed(now, policy) + FALL).min(PENALTY_MAX);
            *self = Self { up: false, against: 0, fell: now, penalty };
            return true;
        }
        let held = now.saturating_since(self.fell) < self.hold(policy);
        if !self.up && self.against >= policy.rise.max(1) && !held {
            (self.up, self.against) = (true, 0);
            return true;
        }
        false
    }

    /// How long this fall holds it down.
    fn hold(self, policy: &HealthPolicy) -> Duration {
        let doublings = (self.penalty / FALL).saturating_sub(1).min(DOUBLINGS_MAX);
        policy.hold_down.saturating_mul(1 << doublings)
    }

    /// The penalty now: halved for each memory that has passed, on a straight line in between.
    fn decayed(self, now: Timestamp, policy: &HealthPolicy) -> u32 {
        let half_life = policy.memory.as_nanos().max(1);
        let passed = now.saturating_since(self.fell).as_nanos();
        let (halvings, rest) = (passed / half_life, passed % half_life);
        let whole = u32::try_from(halvings).ok().and_then(|halvings| self.penalty.checked_shr(halvings));
        let whole = whole.unwrap_or(0);
        let lost = u128::from(whole) * rest / half_life / 2;
        // At most half of `whole`.
        whole - lost as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_site_that_goes_up_and_down_every_second_changes_seldom() {
        let policy = HealthPolicy { fall: 1, rise: 1, ..HealthPolicy::default() };
        let mut health = Health::HEALTHY;
        let changes =
            (0..3600).filter(|&second| health.observe(second % 2 == 0, at(second), &policy)).count();
        // Damping settles where the penalty lost between two falls is the one that a fall adds.
        assert!(changes <= 60, "{changes}");
        let last: Vec<u64> =
            (3600..7200).filter(|&second| health.observe(second % 2 == 0, at(second), &policy)).collect();
        assert!(last.len() <= 50, "{} changes in the second hour", last.len());
    }

    #[test]
    fn a_single_lost_probe_changes_nothing() {
        let mut health = Health::HEALTHY;
        let policy = HealthPolicy::default();
        for second in 0..100 {
            assert!(!health.observe(second % 3 != 0, at(second), &policy));
        }
    }

    #[test]
    fn a_calm_hour_forgives() {
        let policy = HealthPolicy { fall: 1, rise: 1, ..HealthPolicy::default() };
        let mut health = Health::HEALTHY;
        for round in 0..4 {
            while !health.observe(false, at(round * 1000), &policy) {}
            assert!(health.observe(true, at(round * 1000 + 900), &policy));
        }
        assert!(health.observe(false, at(10_000), &policy));
        assert!(!health.observe(true, at(10_009), &policy), "ten seconds are not over");
        assert!(health.observe(true, at(10_010), &policy), "and are all there is");
    }
}
