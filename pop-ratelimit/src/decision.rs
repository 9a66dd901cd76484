//! What a limiter answers.

use core::time::Duration;

/// The answer to "may this cost pass now?". A denial is an outcome, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at limits nothing"]
#[non_exhaustive]
pub enum Decision {
    /// It passes and is charged.
    Allowed {
        /// Whole tokens left after it.
        remaining: u64,
    },
    /// It does not pass now, and nothing was charged.
    Limited {
        /// The earliest moment from now at which the same cost would pass, if nobody else spends. Never too early;
        /// rounded up by less than a nanosecond and one unit of the bucket's resolution.
        retry_after: Duration,
    },
    /// It can never pass: the cost is above the burst, or the bucket does not refill.
    Never {
        /// The most that could ever pass at once.
        burst: u64,
    },
}

impl Decision {
    /// Whether it passes.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// How long to wait, where waiting helps.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Limited { retry_after } => Some(retry_after),
            Self::Allowed { .. } | Self::Never { .. } => None,
        }
    }
}
