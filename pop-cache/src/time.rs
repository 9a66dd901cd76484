//! Time as the cores see it: nanoseconds from a start that the caller chose.

use core::time::Duration;

/// A point in time: nanoseconds since a start chosen by the caller, the same for every call on one object.
///
/// The cores of this crate read no clock. They take a `Timestamp`, so a test drives time by hand and a batch
/// shares one reading. A `u64` of nanoseconds spans 584 years; all arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The start itself.
    pub const ZERO: Self = Self(0);

    /// The point `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This point moved `by` into the future; saturates at the end of time.
    #[must_use]
    pub const fn saturating_add(self, by: Duration) -> Self {
        let nanos = by.as_nanos();
        let nanos = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        Self(self.0.saturating_add(nanos))
    }

    /// The time from `earlier` to this point, zero if `earlier` lies after it: a clock that steps back gives
    /// no negative ages.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let late = Timestamp::from_nanos(u64::MAX - 1);
        assert_eq!(late.saturating_add(Duration::MAX).as_nanos(), u64::MAX);
        assert_eq!(Timestamp::ZERO.saturating_since(late), Duration::ZERO);
    }
}
