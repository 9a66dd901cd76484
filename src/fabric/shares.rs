//! How a quota is divided among PoPs, so that what they admit together never exceeds it. Pure.
//!
//! ```text
//! burst = pops × home burst  +  pops × batch  +  capacity        what may be spent at once: at home, leased, in the store
//! rate  = pops × home rate   +  pool rate
//! ```
//!
//! In any span each PoP spends at home at most its home burst and rate. What is spent of leases lay in them at the start,
//! at most a batch for each PoP, or was granted meanwhile: at most the capacity and the pool's rate. The sum is the quota.

use std::time::Duration;

use pop_ratelimit::Quota;

use super::FabricError;

/// Numbers of the store's script stay below this.
const EXACT: u128 = 1 << 52;

/// The parts of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// What each PoP has for itself, store or not.
    pub(super) home: Quota,
    /// The pool in the store: so many units come back each microsecond,
    pub(super) count: u64,
    /// and so many are a token.
    pub(super) per: u64,
    /// Tokens that the pool holds.
    pub(super) capacity: u64,
    /// Tokens that a PoP leases at a time, and may hold.
    pub(super) batch: u64,
}

impl Shares {
    pub(super) fn of(quota: Quota, pops: u32, home_percent: u32) -> Result<Self, FabricError> {
        let wrong = |expected| FabricError { field: "limit", expected };
        let (pops, percent) = (u64::from(pops), u64::from(home_percent));
        let rate = wrong("a rate from one token in ten years to a million a second");
        let burst = quota.burst_size();
        if quota.is_unlimited() || quota.tokens() == 0 {
            return Err(rate);
        }
        let at_home = u64::try_from(u128::from(burst) * u128::from(percent) / u128::from(100 * pops));
        let at_home = at_home.map_err(|_| rate)?;
        let slow = 100 * u32::try_from(pops).unwrap_or(u32::MAX);
        let period = quota.period().checked_mul(slow).ok_or(rate)?;
        let tokens = quota.tokens().checked_mul(percent.max(1)).ok_or(rate)?;
        let home =
            Quota::new(tokens, period).and_then(|home| home.try_burst(if percent > 0 { at_home } else { 0 }));
        let home = home.map_err(|_| rate)?;
        let pool = burst - pops * home.burst_size();
        let batch = (pool / (2 * pops)).max(1);
        let capacity = pool.checked_sub(pops * batch).filter(|&capacity| capacity > 0);
        let capacity = capacity.ok_or(wrong("a burst of at least two tokens for each PoP"))?;
        // Rounded up to microseconds: the pool may be slower than told, not faster.
        let micros = quota.period().as_nanos().div_ceil(1000) * 100;
        let count = u128::from(quota.tokens()) * u128::from(100 - percent);
        let divisor = gcd(count, micros);
        let (count, per) = (count / divisor, micros / divisor);
        if count == 0 || count >= EXACT || per * u128::from(capacity + 1) >= EXACT {
            return Err(rate);
        }
        let exact = |number| u64::try_from(number).map_err(|_| rate);
        Ok(Self { home, count: exact(count)?, per: exact(per)?, capacity, batch })
    }

    /// The earliest that one token comes to the pool.
    pub(super) fn token_every(&self) -> Duration {
        Duration::from_micros(self.per.div_ceil(self.count))
    }
}

fn gcd(one: u128, two: u128) -> u128 {
    if two == 0 { one } else { gcd(two, one % two) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_parts_are_no_more_than_the_whole(
            tokens in 1_u64..100_000, seconds in 1_u64..100_000, burst in 1_u64..100_000,
            pops in 1_u32..64, percent in 0_u32..100,
        ) {
            let quota = Quota::new(tokens, Duration::from_secs(seconds)).expect("a quota").burst(burst);
            let Ok(shares) = Shares::of(quota, pops, percent) else { return Ok(()) };
            let pops = u64::from(pops);
            prop_assert_eq!(pops * (shares.home.burst_size() + shares.batch) + shares.capacity, burst);
            // Rates as fractions: tokens × 1e9 / nanoseconds, compared by cross-multiplication.
            let nanos = u128::from(seconds) * 1_000_000_000;
            let pool = u128::from(shares.count) * nanos * 100;
            let whole = u128::from(shares.per) * 1000 * u128::from(tokens) * u128::from(100 - percent);
            prop_assert!(pool <= whole);
            if percent > 0 {
                let home = u128::from(pops) * u128::from(shares.home.tokens()) * nanos * 100;
                let share = shares.home.period().as_nanos() * u128::from(tokens) * u128::from(percent);
                prop_assert!(home <= share);
            } else {
                prop_assert_eq!(shares.home.burst_size(), 0);
            }
        }
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        assert!(Shares::of(Quota::per_second(10).burst(7), 8, 25).is_err());
        assert!(Shares::of(Quota::UNLIMITED, 8, 25).is_err());
        assert!(Shares::of(Quota::BLOCKED, 8, 25).is_err());
        let shares = Shares::of(Quota::per_second(100).burst(100), 4, 25).expect("it divides");
        assert_eq!((shares.home.burst_size(), shares.batch, shares.capacity), (6, 9, 40));
        assert_eq!((shares.count, shares.per), (3, 40_000));
    }
}
