//! Time counted in tokens.
//!
//! The generic cell rate algorithm (GCRA; ITU-T I.371) keeps one number, the theoretical arrival time (TAT): the
//! moment at which the bucket will be full again. Everybody else keeps it in nanoseconds, which rounds the time
//! between two tokens. Here it is kept in tokens: `V(now)` is how many tokens have come since the start, in units
//! of 2⁻ᶠ tokens; costs and bursts are exact, and only `V` is rounded, once, downwards, never adding up.
//!
//! ```text
//! V(now)  = floor(now · rate) + offset                        virtual time, in units
//! debt    = max(TAT − V(now), 0)                              0 = full bucket
//! check n : debt + n·2^f ≤ burst·2^f  →  TAT' = V(now) + debt + n·2^f
//! ```
//!
//! **The bound.** Take any set of granted costs with stamps in `[s, e]`, in the order of their writes. The first
//! leaves `TAT ≥ V(s) + c₁`, every other adds at least its cost, and the last finds `TAT' ≤ V(e) + burst`. So the
//! sum is at most `burst + V(e) − V(s) < burst + rate × (e − s) + 1 unit`: the bound holds over every interval,
//! to one tick (the time that a unit takes), whatever the order in which threads read the clock.
//!
//! **Live rates.** `V` is a line through time. Changing the rate turns the line about the present: the new offset
//! is such that old and new agree now. TATs are in tokens, so not one of them is touched.

use core::time::Duration;

use crate::rate::Rate;
use crate::{Decision, Quota, Timestamp};

/// Stamps beyond 146 years after the start count as that moment: a poisoned clock cannot wrap virtual time.
const LATEST_NANOS: u64 = 1 << 62;

/// Bits of virtual time in a word of a keyed table.
pub(crate) const KEYED_BITS: u32 = 44;

/// How finely tokens are counted: limits as base-two logarithms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// A token is cut no finer than this.
    pub(crate) shift_max: u32,
    /// Cutting stops at this many units a second.
    pub(crate) fine_per_second: u32,
    /// Above this many units a second several tokens make one unit.
    pub(crate) coarse_per_second: u32,
    /// A burst takes no more units than this.
    pub(crate) burst_units: u32,
    /// A live change of the rate may go up to this many units a second.
    pub(crate) live_per_second: u32,
}

/// The arithmetic of one quota: immutable, a few words, copied freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VirtualTime {
    pub(crate) quota: Quota,
    pub(crate) rate: Rate,
    /// Makes the line of `V` continuous where the rate was changed.
    pub(crate) offset: u64,
    /// The burst in units.
    pub(crate) burst_units: u64,
    /// What lies further ahead than this is no debt but a word from before the wrap; for keyed tables.
    pub(crate) horizon: i64,
    scale: Scale,
}

/// Units in a token (`2^shift`) or tokens in a unit (`2^coarse`); one of the two is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scale {
    shift: u32,
    coarse: u32,
    /// `2^shift`; zero for a quota without a limit, whose costs weigh nothing.
    token_units: u64,
}

impl Scale {
    #[inline]
    const fn round_up(self, tokens: u64) -> u64 {
        if self.coarse == 0 {
            return tokens;
        }
        tokens.div_ceil(1 << self.coarse)
    }
}

impl VirtualTime {
    /// The finest resolution within `budget`.
    pub(crate) const fn new(quota: Quota, budget: Budget) -> Self {
        let mut scale = Scale { shift: 0, coarse: 0, token_units: 0 };
        if quota.is_unlimited() {
            return Self {
                quota,
                rate: Rate::NONE,
                offset: 0,
                burst_units: u64::MAX >> 2,
                horizon: 0,
                scale,
            };
        }
        // One bit at a time: a const fn has no iterators, and this can be read.
        while scale.shift < budget.shift_max
            && units_per_second(quota, scale.shift + 1) <= 1 << budget.fine_per_second
            && (quota.burst_size() as u128) << (scale.shift + 1) <= 1 << budget.burst_units
        {
            scale.shift += 1;
        }
        while units_per_second(quota, 0) >> scale.coarse > 1 << budget.coarse_per_second
            || quota.burst_size() >> scale.coarse > 1 << budget.burst_units
        {
            scale.coarse += 1;
        }
        scale.token_units = 1 << scale.shift;
        Self::with_scale(quota, scale)
    }

    /// The same scale and another quota, continuous at `now`; `None` if the rate is beyond what the scale carries.
    pub(crate) const fn turned(&self, quota: Quota, now: Timestamp, budget: Budget) -> Option<Self> {
        if quota.is_unlimited() || self.quota.is_unlimited() {
            return None;
        }
        let per_second = units_per_second(quota, self.scale.shift) >> self.scale.coarse;
        let burst = ((quota.burst_size() as u128) << self.scale.shift) >> self.scale.coarse;
        if per_second > 1 << budget.live_per_second || burst > 1 << budget.burst_units {
            return None;
        }
        let mut turned = Self::with_scale(quota, self.scale);
        turned.offset = self.at(now).wrapping_sub(turned.at(now));
        Some(turned)
    }

    const fn with_scale(quota: Quota, scale: Scale) -> Self {
        // Costs round up to whole units and the burst rounds down: coarse counting is stricter, never laxer.
        let burst = (quota.burst_size() >> scale.coarse) << scale.coarse;
        let quota = quota.with_burst_of(burst);
        let burst_units = (burst >> scale.coarse) << scale.shift;
        // One of the two shifts is zero.
        let numerator = (quota.tokens() as u128) << scale.shift;
        let rate = Rate::new(numerator, quota.period().as_nanos() << scale.coarse);
        let mut time = Self { quota, rate, offset: 0, burst_units, horizon: 0, scale };
        time.horizon = time.horizon_of();
        time
    }

    /// The fields that a live change replaces, over the scale that it keeps.
    pub(crate) const fn replaced(&self, quota: Quota, rate: Rate, offset: u64, burst_units: u64) -> Self {
        let mut time = Self { quota, rate, offset, burst_units, horizon: 0, scale: self.scale };
        time.horizon = time.horizon_of();
        time
    }

    /// Four bursts and an hour, within what a keyed table's words can tell: a quarter of their space, which is half
    /// a year where ticks are slow, and no less than a 256th.
    const fn horizon_of(&self) -> i64 {
        const HOUR: Duration = Duration::from_secs(3600);
        let horizon = self.burst_units.saturating_mul(4).saturating_add(self.units_in(HOUR));
        let (least, most) = (1 << (KEYED_BITS - 8), 1 << (KEYED_BITS - 2));
        let at_least = if horizon < least { least } else { horizon };
        (if at_least > most { most } else { at_least }) as i64
    }

    /// `V(now)`, modulo 2⁶⁴.
    #[inline]
    pub(crate) const fn at(&self, now: Timestamp) -> u64 {
        let nanos = if now.as_nanos() < LATEST_NANOS { now.as_nanos() } else { LATEST_NANOS };
        self.rate.units_in(nanos).wrapping_add(self.offset)
    }

    /// A cost in units, rounded up; `None` if it is above the burst.
    #[inline]
    pub(crate) const fn cost(&self, tokens: u64) -> Option<u64> {
        if tokens > self.quota.burst_size() {
            return None;
        }
        // Within the burst nothing overflows: a burst has at most 2^60 units.
        Some(self.scale.round_up(tokens).wrapping_mul(self.scale.token_units))
    }

    /// Any number of tokens in units, rounded up, saturating at 2⁶¹.
    #[inline]
    pub(crate) const fn units(&self, tokens: u64) -> u64 {
        let units = self.scale.round_up(tokens).saturating_mul(self.scale.token_units);
        if units < 1 << 61 { units } else { 1 << 61 }
    }

    /// Whole tokens in `units`, rounded down.
    #[inline]
    pub(crate) const fn whole_tokens(&self, units: u64) -> u64 {
        (units >> self.scale.shift) << self.scale.coarse
    }

    /// Units in one token, at least one.
    pub(crate) const fn token_units(&self) -> u64 {
        1 << self.scale.shift
    }

    /// Units that `span` brings at this rate, saturating.
    pub(crate) const fn units_in(&self, span: Duration) -> u64 {
        let nanos = span.as_nanos();
        let nanos = if nanos < LATEST_NANOS as u128 { nanos as u64 } else { LATEST_NANOS };
        let whole = nanos as u128 * self.rate.whole as u128;
        let units = whole + ((nanos as u128 * self.rate.fraction as u128) >> 64 >> self.rate.shift);
        if units > u64::MAX as u128 { u64::MAX } else { units as u64 }
    }

    /// The time until `missing_units` more have come: never too short; too long by at most a nanosecond and what
    /// of the current unit is under way. `None` if nothing comes.
    #[inline]
    pub(crate) const fn wait(&self, missing_units: u64) -> Option<Duration> {
        if self.rate.reciprocal == 0 {
            return None;
        }
        // missing < 2^63 and reciprocal ≤ 2^63: the product fits. V(now + wait) ≥ V(now) + missing since the
        // fraction that V dropped only helps.
        let nanos = (missing_units as u128 * self.rate.reciprocal as u128) >> self.rate.reciprocal_shift;
        let nanos = if nanos > LATEST_NANOS as u128 { LATEST_NANOS } else { nanos as u64 };
        // Rounded down, so it may be one short; where the division comes out even, it is not.
        let short = self.rate.units_in(nanos) < missing_units;
        Some(Duration::from_nanos(nanos + short as u64))
    }

    /// The answer for a cost that is `missing_units` short. Inlined, so that a caller who only asks whether it
    /// passes does not pay for the time.
    #[inline]
    pub(crate) const fn limited(&self, missing_units: u64) -> Decision {
        match self.wait(missing_units) {
            Some(retry_after) => Decision::Limited { retry_after },
            None => self.never(),
        }
    }

    /// The answer for a cost above the burst.
    #[inline]
    pub(crate) const fn never(&self) -> Decision {
        Decision::Never { burst: self.quota.burst_size() }
    }
}

const fn units_per_second(quota: Quota, shift: u32) -> u128 {
    ((quota.tokens() as u128) << shift).saturating_mul(1_000_000_000) / quota.period().as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = crate::bucket::BUDGET;
    /// The budgets of this build: keyed tables need `std`.
    const BUDGETS: &[Budget] = &[
        BUDGET,
        #[cfg(feature = "std")]
        crate::slot::BUDGET,
    ];

    #[cfg(feature = "std")]
    #[test]
    fn a_high_rate_over_a_long_period_is_no_overflow() {
        let (tokens, period_nanos) = (0x0140_0000_0000_0100, 0x0023_0000_0100_0000);
        let quota = Quota::new(tokens, Duration::from_nanos(period_nanos)).unwrap().try_burst(1).unwrap();
        let time = VirtualTime::new(quota, crate::slot::BUDGET);
        let second = u128::from(time.units_in(Duration::from_secs(1)));
        let exact = (u128::from(tokens) * 1_000_000_000 / u128::from(period_nanos)) >> time.scale.coarse;
        assert!(second.abs_diff(exact) <= 1 + (exact >> 50), "{exact} against {second}");
    }

    /// The rate that the fixed-point number stands for differs from the quota's by less than 2⁻⁵⁰.
    #[test]
    fn rates_from_one_a_century_to_a_hundred_gigabit_are_exact_to_2_to_the_minus_50() {
        for (tokens, seconds, burst) in [
            (1, 3_153_600_000, 1),
            (1, 3_153_600_000, crate::BURST_MAX),
            (1, 86_400, 1),
            (7_000_000, 1, 1),
            (12_500_000_000, 1, 1 << 30),
            (999_999_937, 7, 100),
            (1 << 34, 1, 1 << 34),
        ] {
            let quota = Quota::new(tokens, Duration::from_secs(seconds)).unwrap().burst(burst);
            let time = VirtualTime::new(quota, BUDGET);
            assert!(time.rate.fraction >= 1 << 63 || time.rate.whole > 0);
            let year = 365 * 86_400 * 1_000_000_000_u64;
            let exact = (u128::from(year) * u128::from(tokens) * u128::from(time.token_units()))
                / quota.period().as_nanos();
            let fraction = (u128::from(year) * u128::from(time.rate.fraction)) >> 64 >> time.rate.shift;
            let ours = u128::from(year) * u128::from(time.rate.whole) + fraction;
            assert!(
                ours.abs_diff(exact) <= 1 + (exact >> 50),
                "{tokens} per {seconds} s: {exact} against {ours}"
            );
        }
    }

    /// The short way from the counter agrees with the way over nanoseconds, for decades.
    #[cfg(feature = "std")]
    #[test]
    fn counts_and_nanoseconds_tell_the_same_time() {
        for quota in [
            Quota::new(1, crate::PERIOD_MAX).unwrap(),
            Quota::per_second(7),
            Quota::per_second(1_000_000_000),
            Quota::per_second(1 << 34),
            Quota::new(0, Duration::from_secs(1)).unwrap(),
            Quota::UNLIMITED,
        ] {
            for &budget in BUDGETS {
                let time = VirtualTime::new(quota, budget);
                // Counters of 1 GHz exactly, 2.45 GHz, and 24 MHz.
                for nanos_per_count in [1 << 64, (1_u128 << 64) * 100 / 245, (1_u128 << 64) * 1000 / 24] {
                    let by_count = time.rate.by_count(nanos_per_count);
                    for counts in [0, 1, 999, 1_u64 << 40, 20 * 365 * 86_400 * 24_000_000] {
                        let nanos = ((u128::from(counts) * nanos_per_count) >> 64) as u64;
                        let apart = by_count.units_in(counts).wrapping_sub(time.rate.units_in(nanos));
                        // What a nanosecond brings, and one for each rounding.
                        let bound = time.rate.units_in(1) + 2;
                        assert!(apart <= bound, "{quota:?}: {apart} apart after {counts} counts");
                    }
                }
            }
        }
    }

    #[test]
    fn the_wait_is_never_short_and_at_most_a_nanosecond_and_a_unit_long() {
        for quota in [Quota::per_second(3).burst(5), Quota::per_minute(7), Quota::per_second(1 << 34)] {
            let time = VirtualTime::new(quota, BUDGET);
            for missing in [1, 2, 1000, time.token_units(), time.burst_units] {
                for now in [0, 1, 999_999_999, 1 << 50] {
                    let now = Timestamp::from_nanos(now);
                    let wait = time.wait(missing).unwrap();
                    let units = |wait| time.at(now.saturating_add(wait)).wrapping_sub(time.at(now));
                    assert!(units(wait) >= missing);
                    let early = wait.saturating_sub(time.wait(1).unwrap() + Duration::from_nanos(2));
                    assert!(early.is_zero() || units(early) < missing, "{quota:?} {missing} {now:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_due_at_a_whole_nanosecond_is_there() {
        for tokens in [1, 3, 7, 10, 50, 999, 1000, 12_345, 1_000_000] {
            for &budget in BUDGETS {
                let time = VirtualTime::new(Quota::per_second(tokens), budget);
                for seconds in [1, 2, 59, 3600, 86_400 * 365 * 20] {
                    let units = time.at(Timestamp::from_nanos(seconds * 1_000_000_000));
                    assert_eq!(units, seconds * tokens * time.token_units(), "{tokens}/s after {seconds} s");
                }
            }
        }
    }

    #[test]
    fn turning_the_rate_is_continuous() {
        let time = VirtualTime::new(Quota::per_second(10), BUDGET);
        let now = Timestamp::from_nanos(123_456_789_012);
        let faster = time.turned(Quota::per_second(1000), now, BUDGET).unwrap();
        assert_eq!(time.at(now), faster.at(now));
        let later = now.saturating_add(Duration::from_secs(1));
        let gained = faster.whole_tokens(faster.at(later).wrapping_sub(faster.at(now)));
        assert!((999..=1000).contains(&gained));
        assert!(time.turned(Quota::per_second(1 << 34), now, BUDGET).is_none());
    }
}
