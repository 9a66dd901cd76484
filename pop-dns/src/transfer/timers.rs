//! When a secondary looks for a new zone, and when it gives up on the old one (RFC 1034 §4.3.5). No clock.

use std::time::Duration;

use super::soa_numbers;
use crate::Timestamp;
use crate::zone::Zone;

/// Before the first zone has come, this is the pause between attempts, doubled each time up to the limit.
const FIRST_RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// Bounds on what a SOA may ask for: a second, so that a zone cannot make us hammer its primary; 28 days.
const BOUNDS: (u32, u32) = (1, 28 * 86_400);

/// The timers of one zone.
#[derive(Clone, Debug)]
pub struct Timers {
    /// Refresh, retry and expire of the SOA.
    intervals: Option<[Duration; 3]>,
    due: Timestamp,
    expires: Option<Timestamp>,
    failures: u32,
}

impl Timers {
    /// The timers before there is a zone: due at once.
    #[must_use]
    pub const fn new() -> Self {
        Self { intervals: None, due: Timestamp::ZERO, expires: None, failures: 0 }
    }

    /// The timers of a zone that was kept from before: due at once.
    #[must_use]
    pub fn resumed(zone: &Zone, now: Timestamp) -> Self {
        let mut timers = Self::new();
        timers.succeeded(zone, now);
        timers.due = now;
        timers
    }

    /// The primary was heard at `now`, and `zone` is what it has.
    pub fn succeeded(&mut self, zone: &Zone, now: Timestamp) {
        let numbers = zone.soa().rdata().next().and_then(soa_numbers).unwrap_or_default();
        let [_, refresh, retry, expire, _] = numbers.map(|seconds| seconds.clamp(BOUNDS.0, BOUNDS.1));
        let intervals = [refresh, retry, expire].map(|seconds| Duration::from_secs(seconds.into()));
        self.intervals = Some(intervals);
        self.failures = 0;
        self.due = now.saturating_add(intervals[0]);
        self.expires = Some(now.saturating_add(intervals[2]));
    }

    /// Nobody could be asked at `now`.
    pub fn failed(&mut self, now: Timestamp) {
        let first = FIRST_RETRY.0.saturating_mul(1 << self.failures.min(16)).min(FIRST_RETRY.1);
        self.failures = self.failures.saturating_add(1);
        self.due = now.saturating_add(self.intervals.map_or(first, |[_, retry, _]| retry));
    }

    /// The zone's data may no longer be used. Says so once.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let expired = self.expires.is_some_and(|expires| now >= expires);
        if expired {
            self.expires = None;
            self.intervals = None;
        }
        expired
    }

    /// When something is to be done next.
    #[must_use]
    pub fn next(&self) -> Timestamp {
        self.expires.map_or(self.due, |expires| expires.min(self.due))
    }

    /// Whether the primary is to be asked.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.due
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn refresh_retry_and_expire_as_the_soa_says() {
        let text = b"@ 60 SOA a b 7 100 10 1000 60\n@ 60 NS a\n";
        let zone = Zone::parse(text, "example.org".parse().unwrap()).unwrap();
        let mut timers = Timers::new();
        assert!(timers.is_due(at(0)));
        for seconds in [2, 4, 8] {
            timers.failed(at(0));
            assert_eq!(timers.next(), at(seconds));
        }
        timers.succeeded(&zone, at(50));
        assert_eq!(timers.next(), at(150));
        assert!(!timers.is_due(at(149)) && timers.is_due(at(150)));
        timers.failed(at(150));
        assert_eq!(timers.next(), at(160));
        assert!(!timers.expire(at(1049)));
        assert!(timers.expire(at(1050)));
        assert!(!timers.expire(at(1051)), "once");
    }
}
