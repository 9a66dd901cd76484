//! A rate and a burst: how many tokens come in how much time, and how many may be spent at once.

use core::fmt;
use core::time::Duration;

/// Tokens per period, and the most that can be saved up.
///
/// A quota is exact: the rate is a ratio of two integers, the burst an integer, and nothing is rounded until a
/// decision is taken in units of less than 2⁻⁵⁰ of the rate. One token a day and 100 Gb/s in bytes are both fine.
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::Quota;
///
/// const API: Quota = Quota::per_second(50).burst(100);
/// let daily = Quota::new(7, Duration::from_secs(86_400))?;
/// assert_eq!((API.tokens(), API.burst_size(), daily.burst_size()), (50, 100, 7));
/// # Ok::<(), pop_ratelimit::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    tokens: u64,
    period_nanos: u64,
    burst: u64,
}

/// The largest burst, in tokens: 1.1 × 10¹², a terabyte in bytes.
pub const BURST_MAX: u64 = 1 << 40;
/// The highest rate, in tokens per second: 1.7 × 10¹⁰, or 137 Gb/s in bytes. Virtual time then lasts 34 years before
/// it wraps; count larger things for more.
pub const TOKENS_PER_SECOND_MAX: u64 = 1 << 34;
/// The longest period: one hundred years.
pub const PERIOD_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Quota {
    /// `tokens` in each `period`, and a burst of as many.
    ///
    /// # Errors
    /// [`QuotaError`] if the period is zero or longer than [`PERIOD_MAX`], or the rate is above
    /// [`TOKENS_PER_SECOND_MAX`]. Zero tokens are fine: the burst can be spent once, nothing comes back.
    pub const fn new(tokens: u64, period: Duration) -> Result<Self, QuotaError> {
        if period.is_zero() || period.as_nanos() > PERIOD_MAX.as_nanos() {
            return Err(QuotaError::Period(period));
        }
        let period_nanos = period.as_nanos() as u64;
        if tokens as u128 * 1_000_000_000 > TOKENS_PER_SECOND_MAX as u128 * period_nanos as u128 {
            return Err(QuotaError::Rate { tokens, period });
        }
        let burst = if tokens > BURST_MAX { BURST_MAX } else { tokens };
        Ok(Self { tokens, period_nanos, burst })
    }

    /// `tokens` a second, and a burst of as many.
    ///
    /// # Panics
    /// Above [`TOKENS_PER_SECOND_MAX`]; in a `const` that is a compile error.
    #[must_use]
    pub const fn per_second(tokens: u64) -> Self {
        match Self::new(tokens, Duration::from_secs(1)) {
            Ok(quota) => quota,
            Err(_) => panic!("a rate above TOKENS_PER_SECOND_MAX"),
        }
    }

    /// `tokens` a minute, and a burst of as many.
    ///
    /// # Panics
    /// Above sixty times [`TOKENS_PER_SECOND_MAX`]; in a `const` that is a compile error.
    #[must_use]
    pub const fn per_minute(tokens: u64) -> Self {
        match Self::new(tokens, Duration::from_secs(60)) {
            Ok(quota) => quota,
            Err(_) => panic!("a rate above TOKENS_PER_SECOND_MAX"),
        }
    }

    /// `tokens` an hour, and a burst of as many.
    ///
    /// # Panics
    /// Above 3600 times [`TOKENS_PER_SECOND_MAX`]; in a `const` that is a compile error.
    #[must_use]
    pub const fn per_hour(tokens: u64) -> Self {
        match Self::new(tokens, Duration::from_secs(3600)) {
            Ok(quota) => quota,
            Err(_) => panic!("a rate above TOKENS_PER_SECOND_MAX"),
        }
    }

    /// A bandwidth in bits a second, counted in bytes. The burst is ten milliseconds' worth, at least 2 KiB.
    ///
    /// # Panics
    /// Above eight times [`TOKENS_PER_SECOND_MAX`]; in a `const` that is a compile error.
    #[must_use]
    pub const fn bits_per_second(bits: u64) -> Self {
        // Bits in eight seconds' worth of bytes: the ratio stays exact.
        let Ok(quota) = Self::new(bits, Duration::from_secs(8)) else {
            panic!("a rate above TOKENS_PER_SECOND_MAX")
        };
        let burst = bits / 800;
        quota.burst(if burst < 2048 { 2048 } else { burst })
    }

    /// Nothing at all: every cost above zero is more than the burst, so the answer is "never".
    pub const BLOCKED: Self = Self { tokens: 0, period_nanos: 1_000_000_000, burst: 0 };

    /// Everything: no cost is ever refused, and nothing is counted.
    pub const UNLIMITED: Self = Self { tokens: u64::MAX, period_nanos: 1_000_000_000, burst: u64::MAX };

    /// Whether this is [`UNLIMITED`](Self::UNLIMITED).
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        self.burst == u64::MAX
    }

    /// The same rate with another burst.
    ///
    /// # Panics
    /// Above [`BURST_MAX`]; in a `const` that is a compile error. [`try_burst`](Self::try_burst) returns it.
    #[must_use]
    pub const fn burst(self, tokens: u64) -> Self {
        match self.try_burst(tokens) {
            Ok(quota) => quota,
            Err(_) => panic!("a burst above BURST_MAX"),
        }
    }

    /// The same rate with another burst.
    ///
    /// # Errors
    /// [`QuotaError::Burst`] above [`BURST_MAX`].
    pub const fn try_burst(self, tokens: u64) -> Result<Self, QuotaError> {
        if tokens > BURST_MAX {
            return Err(QuotaError::Burst(tokens));
        }
        Ok(Self { burst: tokens, ..self })
    }

    /// Rate and burst times `factor`, for the wider prefix of a tier. Saturates at the bounds.
    #[must_use]
    pub const fn times(self, factor: u32) -> Self {
        if self.is_unlimited() {
            return self;
        }
        let factor = factor as u64;
        let highest = (TOKENS_PER_SECOND_MAX as u128 * self.period_nanos as u128 / 1_000_000_000) as u64;
        let tokens = self.tokens.saturating_mul(factor);
        let burst = self.burst.saturating_mul(factor);
        Self {
            tokens: if tokens > highest { highest } else { tokens },
            period_nanos: self.period_nanos,
            burst: if burst > BURST_MAX { BURST_MAX } else { burst },
        }
    }

    /// Tokens that come in each [`period`](Self::period).
    #[must_use]
    pub const fn tokens(self) -> u64 {
        self.tokens
    }

    /// The period in which [`tokens`](Self::tokens) come.
    #[must_use]
    pub const fn period(self) -> Duration {
        Duration::from_nanos(self.period_nanos)
    }

    /// The most tokens that can be saved up.
    #[must_use]
    pub const fn burst_size(self) -> u64 {
        self.burst
    }

    pub(crate) const fn period_nanos(self) -> u64 {
        self.period_nanos
    }

    /// A burst that is known to be in bounds.
    pub(crate) const fn with_burst_of(self, burst: u64) -> Self {
        Self { burst, ..self }
    }

    /// The parts of a quota that was one before.
    pub(crate) const fn from_parts(tokens: u64, period_nanos: u64, burst: u64) -> Self {
        Self { tokens, period_nanos, burst }
    }
}

/// A quota that cannot be: which field, and its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuotaError {
    /// The period is zero or longer than [`PERIOD_MAX`].
    Period(Duration),
    /// The rate is above [`TOKENS_PER_SECOND_MAX`].
    Rate {
        /// Tokens asked for in each period.
        tokens: u64,
        /// The period.
        period: Duration,
    },
    /// The burst is above [`BURST_MAX`].
    Burst(u64),
    /// A limiter in use cannot be changed to this quota: it was made for rates too far from it (or one of the two
    /// is unlimited). Make a new limiter.
    Live(Quota),
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Period(period) => {
                write!(f, "period {period:?} is outside 1 ns to {} s", PERIOD_MAX.as_secs())
            }
            Self::Rate { tokens, period } => {
                write!(f, "rate of {tokens} tokens per {period:?} is above {TOKENS_PER_SECOND_MAX} a second")
            }
            Self::Burst(tokens) => write!(f, "burst of {tokens} tokens is above {BURST_MAX}"),
            Self::Live(quota) => write!(
                f,
                "rate of {} tokens per {:?} with burst {} is out of reach of a live change",
                quota.tokens,
                quota.period(),
                quota.burst
            ),
        }
    }
}

impl core::error::Error for QuotaError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misuse_names_field_and_bound() {
        assert_eq!(Quota::new(1, Duration::ZERO), Err(QuotaError::Period(Duration::ZERO)));
        let error = Quota::new(u64::MAX, Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("above 17179869184 a second"), "{error}");
        let long = PERIOD_MAX + Duration::from_nanos(1);
        assert!(Quota::new(1, PERIOD_MAX).is_ok());
        assert_eq!(Quota::new(1, long), Err(QuotaError::Period(long)));
        assert!(Quota::new(TOKENS_PER_SECOND_MAX, Duration::from_secs(1)).is_ok());
        assert!(Quota::new(TOKENS_PER_SECOND_MAX + 1, Duration::from_secs(1)).is_err());
        assert!(Quota::per_second(1).try_burst(BURST_MAX).is_ok());
        assert_eq!(Quota::per_second(1).try_burst(BURST_MAX + 1), Err(QuotaError::Burst(BURST_MAX + 1)));
    }

    #[test]
    fn tiers_saturate_at_the_bounds() {
        let quota = Quota::per_second(TOKENS_PER_SECOND_MAX / 2).burst(BURST_MAX / 2).times(1000);
        assert_eq!((quota.tokens(), quota.burst_size()), (TOKENS_PER_SECOND_MAX, BURST_MAX));
        assert!(Quota::UNLIMITED.times(3).is_unlimited());
    }
}
