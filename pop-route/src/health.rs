//! Health with hysteresis: a site falls after some failures in a row, and rises after some successes in a row, but
//! not before it has been down for a while. Somebody who flaps stays down longer each time (after RFC 2439).

use core::time::Duration;

use crate::Timestamp;

/// How quickly a site falls and rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Failures in a row before it falls.
    pub fall: u32,
    /// Successes in a row before it rises.
    pub rise: u32,
    /// How long it stays down at least; doubled for each earlier fall within [`memory`](Self::memory).
    pub hold_down: Duration,
    /// How long a fall is remembered.
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

/// The state of one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    up: bool,
    /// Results in a row that speak against the state.
    against: u32,
    /// When it fell last, and how many falls that made without a pause as long as the memory.
    fell: Timestamp,
    falls: u32,
}

impl Health {
    pub(crate) const HEALTHY: Self = Self { up: true, against: 0, fell: Timestamp::ZERO, falls: 0 };

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
        if self.up && self.against >= policy.fall {
            let forgotten = now.saturating_since(self.fell) > policy.memory;
            self.falls = if forgotten || self.falls == 0 { 1 } else { self.falls.saturating_add(1) };
            *self = Self { up: false, against: 0, fell: now, falls: self.falls };
            return true;
        }
        let doublings = self.falls.saturating_sub(1).min(DOUBLINGS_MAX);
        let held = now.saturating_since(self.fell) < policy.hold_down * (1 << doublings);
        if !self.up && self.against >= policy.rise && !held {
            (self.up, self.against) = (true, 0);
            return true;
        }
        false
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
        let changes = (0..600).filter(|&second| health.observe(second % 2 == 0, at(second), &policy)).count();
        // 10 + 20 + 40 + 80 + 160 + 320 seconds of holding down: six falls at most, and the rises between them.
        assert!(changes <= 12, "{changes}");
    }

    #[test]
    fn a_single_lost_probe_changes_nothing() {
        let mut health = Health::HEALTHY;
        let policy = HealthPolicy::default();
        for second in 0..100 {
            assert!(!health.observe(second % 3 != 0, at(second), &policy));
        }
    }
}
