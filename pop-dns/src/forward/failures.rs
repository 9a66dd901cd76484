//! What could not be resolved lately (RFC 9520): it is not tried again for a while, and ever longer.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;

use lru::LruCache;

use super::key::Key;
use crate::Timestamp;

/// Failures that are remembered.
const FAILURES_MAX: NonZeroUsize = NonZeroUsize::new(1 << 14).expect("not zero");
/// The first pause. RFC 9520 §3.2 asks for one second at least.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause (RFC 9520 §3.2: five minutes at most).
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// RFC 8767 §5: while stale data are served, the servers are tried every thirty seconds or so.
const STALE_PAUSE: Duration = Duration::from_secs(30);

/// Failures by question.
#[derive(Debug)]
pub(super) struct Failures(Mutex<LruCache<Box<[u8]>, Failure>>);

#[derive(Clone, Copy, Debug)]
struct Failure {
    until: Timestamp,
    pause: Duration,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(FAILURES_MAX)))
    }

    /// Whether this question failed so lately that it is not to be tried.
    pub(super) fn is_failing(&self, key: &Key, now: Timestamp) -> bool {
        let mut failures = self.0.lock().expect("no holder of this lock panics");
        failures.get(key.octets()).is_some_and(|failure| now < failure.until)
    }

    /// It failed once more; the next pause is twice the last.
    pub(super) fn failed(&self, key: &Key, now: Timestamp, stale: bool) {
        let mut failures = self.0.lock().expect("no holder of this lock panics");
        let last = failures.get(key.octets()).map(|failure| failure.pause);
        let pause = last.map_or(PAUSE, |pause| (pause * 2).min(PAUSE_MAX));
        let pause = if stale { pause.max(STALE_PAUSE) } else { pause };
        failures.put(key.octets().into(), Failure { until: now.saturating_add(pause), pause });
    }

    /// It worked.
    pub(super) fn succeeded(&self, key: &Key) {
        self.0.lock().expect("no holder of this lock panics").pop(key.octets());
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.0.lock().expect("no holder of this lock panics").clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageBuilder, Query, RecordType};

    #[test]
    fn pauses_double_up_to_five_minutes_and_end_with_success() {
        let query = MessageBuilder::query(1, &"example.org".parse().unwrap(), RecordType::A).finish();
        let key = Key::new(&Query::parse(&query).unwrap());
        let failures = Failures::new();
        let mut now = Timestamp::ZERO;
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            failures.failed(&key, now, false);
            let end = now.saturating_add(Duration::from_secs(seconds));
            assert!(failures.is_failing(&key, Timestamp::from_nanos(end.as_nanos() - 1)), "{seconds}");
            assert!(!failures.is_failing(&key, end), "{seconds}");
            now = end;
        }
        failures.succeeded(&key);
        failures.failed(&key, now, true);
        assert!(failures.is_failing(&key, now.saturating_add(Duration::from_secs(29))));
    }
}
