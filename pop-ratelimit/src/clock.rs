//! The process clock of the wrappers without `now`.

use std::sync::OnceLock;

use crate::Timestamp;

/// The counter, where it started, and nanoseconds per count: whole ones and 2⁻⁶⁴ths.
struct Calibrated {
    clock: quanta::Clock,
    start: u64,
    /// The same moment by the system's clock.
    #[cfg(feature = "tokio")]
    started: std::time::Instant,
    whole: u64,
    fraction: u64,
}

static CALIBRATED: OnceLock<Calibrated> = OnceLock::new();

/// Nanoseconds since the first call in this process, by a calibrated time stamp counter where there is one
/// (`quanta`; half of what `Instant` costs). Monotonic. The first call calibrates, which takes a moment.
#[inline]
#[must_use]
pub fn now() -> Timestamp {
    let calibrated = match CALIBRATED.get() {
        Some(calibrated) => calibrated,
        None => calibrate(),
    };
    // Counters of two processors may differ by a little; time does not run backwards for that.
    let counts = calibrated.clock.raw().saturating_sub(calibrated.start);
    // One multiplication deep: the clock is most of what an uncontended check costs.
    let part = (u128::from(counts) * u128::from(calibrated.fraction)) >> 64;
    Timestamp::from_nanos(counts.wrapping_mul(calibrated.whole).wrapping_add(part as u64))
}

/// The start of the process clock by the system's clock.
#[cfg(feature = "tokio")]
pub(crate) fn start() -> std::time::Instant {
    CALIBRATED.get().unwrap_or_else(|| calibrate()).started
}

#[cold]
fn calibrate() -> &'static Calibrated {
    CALIBRATED.get_or_init(|| {
        let clock = quanta::Clock::new();
        // Nanoseconds in 2^58 counts: the ratio to 58 bits, and no overflow down to a counter of 16 MHz.
        let ratio = u128::from(clock.delta_as_nanos(0, 1 << 58)) << 6;
        let (whole, fraction) = ((ratio >> 64) as u64, ratio as u64);
        Calibrated {
            start: clock.raw(),
            #[cfg(feature = "tokio")]
            started: std::time::Instant::now(),
            clock,
            whole,
            fraction,
        }
    })
}

/// A clock that stands still until it is told to go on, for tests of code that limits.
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::{ManualClock, Quota, TokenBucket};
///
/// let clock = ManualClock::default();
/// let bucket = TokenBucket::new(Quota::per_second(1));
/// assert!(bucket.check_at(clock.now(), 1).is_allowed());
/// assert!(!bucket.check_at(clock.now(), 1).is_allowed());
/// clock.advance(Duration::from_secs(1));
/// assert!(bucket.check_at(clock.now(), 1).is_allowed());
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    nanos: std::sync::Arc<core::sync::atomic::AtomicU64>,
}

impl ManualClock {
    /// Where it stands. All clones stand at the same time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.load(core::sync::atomic::Ordering::SeqCst))
    }

    /// Goes on.
    pub fn advance(&self, by: core::time::Duration) {
        self.set(self.now().saturating_add(by));
    }

    /// Goes to any time, back too: a limiter must bear that.
    pub fn set(&self, now: Timestamp) {
        self.nanos.store(now.as_nanos(), core::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn it_runs_as_fast_as_the_system_s_and_never_backwards() {
        let _ = now();
        let (start, system) = (now(), Instant::now());
        let mut last = start;
        while system.elapsed() < Duration::from_millis(50) {
            let next = now();
            assert!(next >= last);
            last = next;
        }
        // Read again in the other order: ours brackets the system's, within a percent.
        let system = system.elapsed();
        let ours = now().saturating_since(start);
        assert!(ours * 100 >= system * 99, "{ours:?} against {system:?}");
    }
}
