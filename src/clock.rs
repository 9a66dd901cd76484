//! The clock of a PoP. What a request asks the time for, and that is several things, is answered by two readings of a
//! counter: one when it has arrived and one when it is answered.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A moment: nanoseconds since the first reading in this process, by a calibrated time stamp counter where there is
/// one (`quanta`, which costs a third of what `Instant` does).
///
/// For spans and deadlines within a process. Against the system's clocks it drifts by what the calibration is off, some
/// parts in a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// How old the tie between this clock and the calendar may be: so long goes a step of the system's clock unnoticed.
const TIE: Duration = Duration::from_millis(100);

struct Clock {
    counter: quanta::Clock,
    start: quanta::Instant,
    /// Nanoseconds since the epoch at `Moment(0)`, as of the moment beside it. Two words that belong together, but a
    /// reader who gets one of each is off by no more than the clock was stepped.
    #[cfg_attr(
        not(feature = "cache"),
        allow(dead_code, reason = "caches ask for the calendar, nobody else")
    )]
    epoch: AtomicU64,
    #[cfg_attr(
        not(feature = "cache"),
        allow(dead_code, reason = "caches ask for the calendar, nobody else")
    )]
    tied: AtomicU64,
}

static CLOCK: OnceLock<Clock> = OnceLock::new();

fn clock() -> &'static Clock {
    CLOCK.get_or_init(|| {
        let counter = quanta::Clock::new();
        let clock =
            Clock { start: counter.now(), counter, epoch: AtomicU64::new(0), tied: AtomicU64::new(0) };
        clock.tie(Moment(0));
        clock
    })
}

impl Clock {
    #[cold]
    fn tie(&self, now: Moment) {
        let system = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let system = u64::try_from(system.as_nanos()).unwrap_or(u64::MAX);
        self.epoch.store(system.saturating_sub(now.0), Ordering::Relaxed);
        self.tied.store(now.0, Ordering::Relaxed);
    }
}

impl Moment {
    #[inline]
    pub(crate) fn now() -> Self {
        let clock = clock();
        // Counters of two processors may differ by a little: the span is never negative.
        let span = clock.counter.now().saturating_duration_since(clock.start);
        Self(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }

    #[cfg(feature = "ratelimit")]
    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment as a word that can be shared.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The span since `earlier`; none if that is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The moment in the calendar, as the system's clock tells it or told it a moment ago.
    #[cfg_attr(not(feature = "cache"), allow(dead_code, reason = "caches ask for the calendar, nobody else"))]
    pub(crate) fn in_calendar(self) -> SystemTime {
        let clock = clock();
        let tied = Self(clock.tied.load(Ordering::Relaxed));
        if self.since(tied) > TIE {
            clock.tie(self);
        }
        SystemTime::UNIX_EPOCH
            + Duration::from_nanos(clock.epoch.load(Ordering::Relaxed).saturating_add(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn it_goes_as_the_system_s_clocks_go() {
        let _ = Moment::now();
        let (start, system) = (Moment::now(), Instant::now());
        std::thread::sleep(TIE);
        let system = system.elapsed();
        let now = Moment::now();
        assert!(now.since(start) * 100 >= system * 99 && start.since(now).is_zero());
        let (before, told, after) = (SystemTime::now(), now.in_calendar(), SystemTime::now());
        // Read anew, or at most so long ago that a percent is nothing.
        let slack = Duration::from_secs(5);
        assert!(told + slack >= before && told <= after + slack, "{before:?} {told:?} {after:?}");
    }
}
