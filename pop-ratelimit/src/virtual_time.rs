//! Time counted in tokens.
//!
//! The generic cell rate algorithm (GCRA; ITU-T I.371) keeps one number, the theoretical arrival time (TAT): the
//! moment at which the bucket will be full again. Everybody else keeps it in nanoseconds, which rounds the time
//! between two tokens. Here it is kept in tokens: `V(now)` is how many tokens have come since the start, in units
//! of 2⁻ᶠ tokens; costs and bursts are exact, and only `V` is rounded, once, downwards, never adding up.
//!
//! ```text
//! V(now)  = floor(now · tokens · 2^f / period)              virtual time, in units
//! debt    = max(TAT − V(now), 0)                            0 = full bucket
//! check n : debt + n·2^f ≤ burst·2^f  →  TAT' = V(now) + debt + n·2^f
//! ```
//!
//! `V` wraps at 2⁶⁴ units. `f` is chosen so that this takes decades, and so that the burst takes at most a
//! sixteenth of the space: a TAT that seems further ahead than any debt can be is an old one, and means "full".

use core::time::Duration;

use crate::{Decision, Quota, Timestamp};

/// Units per second aimed at: 2⁶⁴ units then last 34 years, and a token is finer than a nanosecond at any rate
/// that matters.
const UNITS_PER_SECOND_LOG2: u32 = 34;
/// A burst takes at most 2⁶⁰ units of the 2⁶⁴.
const BURST_UNITS_LOG2: u32 = 60;

/// The arithmetic of one quota: immutable, a few words, copied freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VirtualTime {
    quota: Quota,
    /// Units per nanosecond as a fixed-point number: whole part and 2⁻⁶⁴ths.
    units_per_nano: (u64, u64),
    /// The burst in units.
    burst_units: u64,
    /// log₂ of the units in a token.
    shift: u32,
}

impl VirtualTime {
    pub(crate) const fn new(quota: Quota) -> Self {
        Self::with_budget(quota, UNITS_PER_SECOND_LOG2, BURST_UNITS_LOG2)
    }

    /// The finest resolution within a budget of units per second and units per burst (base-two logarithms).
    pub(crate) const fn with_budget(quota: Quota, per_second_log2: u32, burst_log2: u32) -> Self {
        let nanos = quota.period().as_nanos();
        let mut shift = 0;
        // One bit at a time: at most sixty steps, and it can be read. A const fn has no iterators.
        while shift < burst_log2 {
            let next = shift + 1;
            let units_per_second = ((quota.tokens() as u128) << next).saturating_mul(1_000_000_000) / nanos;
            let fits = units_per_second < 1 << per_second_log2
                && ((quota.burst_size() as u128) << next) <= 1 << burst_log2;
            if !fits {
                break;
            }
            shift = next;
        }
        // tokens < 2^40 · 2^32 and shift ≤ 60 could pass 128 bits together with the 64 of the fraction, so the
        // whole part is divided off first.
        let per_period = (quota.tokens() as u128) << shift;
        let (whole, rest) = (per_period / nanos, per_period % nanos);
        let fraction = (rest << 64) / nanos;
        Self {
            quota,
            units_per_nano: (whole as u64, fraction as u64),
            burst_units: quota.burst_size() << shift,
            shift,
        }
    }

    pub(crate) const fn quota(&self) -> Quota {
        self.quota
    }

    pub(crate) const fn burst_units(&self) -> u64 {
        self.burst_units
    }

    /// `V(now)`, modulo 2⁶⁴.
    #[inline]
    pub(crate) const fn at(&self, now: Timestamp) -> u64 {
        let (whole, fraction) = self.units_per_nano;
        let nanos = now.as_nanos();
        let part = ((nanos as u128 * fraction as u128) >> 64) as u64;
        nanos.wrapping_mul(whole).wrapping_add(part)
    }

    /// A cost in units; `None` if it is above the burst.
    #[inline]
    pub(crate) const fn cost(&self, tokens: u64) -> Option<u64> {
        if tokens > self.quota.burst_size() { None } else { Some(tokens << self.shift) }
    }

    /// Whole tokens in `units`, rounded down.
    #[inline]
    pub(crate) const fn whole_tokens(&self, units: u64) -> u64 {
        units >> self.shift
    }

    /// The answer for a cost that is `missing_units` short.
    #[cold]
    pub(crate) fn limited(&self, missing_units: u64) -> Decision {
        let (whole, fraction) = self.units_per_nano;
        if whole == 0 && fraction == 0 {
            return Decision::Never { burst: self.quota.burst_size() };
        }
        // V(now) was rounded down, so up to one unit of it is already under way; asking for a whole one more
        // keeps the promise that the retry is never too early.
        let rate = (u128::from(whole) << 64) | u128::from(fraction);
        let nanos = ((u128::from(missing_units) + 1) << 64).div_ceil(rate);
        Decision::Limited { retry_after: Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)) }
    }

    /// The answer for a cost above the burst.
    #[cold]
    pub(crate) const fn never(&self) -> Decision {
        Decision::Never { burst: self.quota.burst_size() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate that the fixed-point number stands for differs from the quota's by less than 2⁻⁵⁰.
    #[test]
    fn rates_from_one_a_century_to_a_terabit_are_exact_to_2_to_the_minus_50() {
        for (tokens, seconds) in
            [(1, 3_153_600_000), (1, 86_400), (7_000_000, 1), (12_500_000_000, 1), (1 << 40, 1)]
        {
            let quota = Quota::new(tokens, Duration::from_secs(seconds)).unwrap().burst(tokens.min(1 << 30));
            let time = VirtualTime::new(quota);
            let year = Timestamp::from_nanos(365 * 86_400 * 1_000_000_000);
            let exact = ((u128::from(year.as_nanos()) * u128::from(tokens)) << time.shift)
                / quota.period().as_nanos();
            let (whole, fraction) = time.units_per_nano;
            let ours = u128::from(year.as_nanos()) * u128::from(whole)
                + ((u128::from(year.as_nanos()) * u128::from(fraction)) >> 64);
            assert!(exact - ours <= 1 + (exact >> 50), "{tokens} per {seconds} s: {exact} against {ours}");
        }
    }
}
