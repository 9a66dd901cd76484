//! The process clock of the wrappers without `now`.

use std::sync::OnceLock;

use crate::Timestamp;

/// What the clock shows when it starts: an hour. So moments shortly before have stamps, too: those of a clock that was
/// paused before this one was first read, and of a processor whose counter lags.
const START: Timestamp = Timestamp::from_nanos(3_600_000_000_000);

/// The counter, where it would have shown zero, and nanoseconds per count: whole ones and 2⁻⁶⁴ths.
struct Calibrated {
    clock: quanta::Clock,
    zero: u64,
    /// The start by the system's clock.
    #[cfg(feature = "tokio")]
    started: std::time::Instant,
    whole: u64,
    fraction: u64,
}

static CALIBRATED: OnceLock<Calibrated> = OnceLock::new();

/// Nanoseconds since an hour before the first call in this process, by a calibrated time stamp counter where there is
/// one (`quanta`; half of what `Instant` costs). Monotonic. The first call calibrates, which takes a moment.
#[inline]
#[must_use]
pub fn now() -> Timestamp {
    let calibrated = calibrated();
    let counts = calibrated.clock.raw().wrapping_sub(calibrated.zero);
    // One multiplication deep: the clock is most of what an uncontended check costs.
    let part = (u128::from(counts) * u128::from(calibrated.fraction)) >> 64;
    Timestamp::from_nanos(counts.wrapping_mul(calibrated.whole).wrapping_add(part as u64))
}

/// The same moment in counts of the counter, for those who know their rate by the count.
#[inline]
pub(crate) fn counts() -> u64 {
    let calibrated = calibrated();
    calibrated.clock.raw().wrapping_sub(calibrated.zero)
}

/// Nanoseconds per count, times 2⁶⁴.
pub(crate) fn nanos_per_count() -> u128 {
    let calibrated = calibrated();
    u128::from(calibrated.whole) << 64 | u128::from(calibrated.fraction)
}

#[inline]
fn calibrated() -> &'static Calibrated {
    match CALIBRATED.get() {
        Some(calibrated) => calibrated,
        None => calibrate(),
    }
}

/// The stamp of a moment by the system's clock; moments more than an hour before the start have none, and get zero.
#[cfg(feature = "tokio")]
pub(crate) fn stamp(moment: std::time::Instant) -> Timestamp {
    let started = calibrated().started;
    match moment.checked_duration_since(started) {
        Some(after) => START.saturating_add(after),
        None => {
            let before = u64::try_from(started.duration_since(moment).as_nanos()).unwrap_or(u64::MAX);
            Timestamp::from_nanos(START.as_nanos().saturating_sub(before))
        }
    }
}

#[cold]
fn calibrate() -> &'static Calibrated {
    CALIBRATED.get_or_init(|| {
        let clock = quanta::Clock::new();
        // Nanoseconds in 2^58 counts: the ratio to 58 bits, and no overflow down to a counter of 16 MHz.
        let ratio = u128::from(clock.delta_as_nanos(0, 1 << 58)) << 6;
        let (whole, fraction) = ((ratio >> 64) as u64, ratio as u64);
        // Counts in the head start: an hour in nanoseconds over nanoseconds per count.
        let head_start = (u128::from(START.as_nanos()) << 64) / ratio.max(1);
        Calibrated {
            zero: clock.raw().wrapping_sub(head_start as u64),
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
