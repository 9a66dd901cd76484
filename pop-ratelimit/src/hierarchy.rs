//! Several limits at once, all or nothing.

use crate::{Decision, Timestamp, TokenBucket};

/// The most levels of a [`Hierarchy`]: global, region, tenant, user, route and a few more.
pub const LEVELS_MAX: usize = 8;

/// One level of limits for one request.
///
/// Implemented by [`TokenBucket`] and, with a key, by a keyed limiter: `(&limiter, &key)`.
pub trait Level {
    /// What [`charge_at`](Self::charge_at) would answer, without taking anything.
    fn peek_at(&self, now: Timestamp, cost: u64) -> Decision;
    /// Takes `cost` tokens, or says when they would be there.
    fn charge_at(&self, now: Timestamp, cost: u64) -> Decision;
    /// Gives back what was taken at `charged`, by a clock that is read after it is known who else was charged; see
    /// [`TokenBucket::refund_by`].
    fn refund_by(&self, clock: &dyn Fn() -> Timestamp, charged: Timestamp, cost: u64);
}

impl Level for TokenBucket {
    fn peek_at(&self, now: Timestamp, cost: u64) -> Decision {
        Self::peek_at(self, now, cost)
    }

    fn charge_at(&self, now: Timestamp, cost: u64) -> Decision {
        self.check_at(now, cost)
    }

    fn refund_by(&self, clock: &dyn Fn() -> Timestamp, charged: Timestamp, cost: u64) {
        Self::refund_by(self, clock, charged, cost);
    }
}

#[cfg(feature = "std")]
impl<K: core::hash::Hash + ?Sized> Level for (&crate::KeyedLimiter<K>, &K) {
    fn peek_at(&self, now: Timestamp, cost: u64) -> Decision {
        self.0.peek_at(self.1, now, cost)
    }

    fn charge_at(&self, now: Timestamp, cost: u64) -> Decision {
        self.0.check_at(self.1, now, cost)
    }

    fn refund_by(&self, clock: &dyn Fn() -> Timestamp, charged: Timestamp, cost: u64) {
        self.0.refund_by(self.1, clock, charged, cost);
    }
}

/// The answer of a [`Hierarchy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at limits nothing"]
pub enum Verdict {
    /// Every level passed and was charged.
    Allowed {
        /// Whole tokens left at the tightest level.
        remaining: u64,
    },
    /// A level said no; no level is charged.
    Denied {
        /// Which level, counted from the first.
        level: usize,
        /// What it said.
        decision: Decision,
    },
}

impl Verdict {
    /// Whether it passes.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// Limits that one cost must pass together: global, then tenant, then client.
///
/// All levels are asked before any is charged. If a race makes a later level refuse all the same, the earlier
/// ones get back what they gave, less what the rate has brought meanwhile: a lost race can only admit less, never more.
///
/// That asks for a clock, since a stamp that lags behind other callers' would give back too much (what the rate brings
/// in the lag). [`check`](Self::check) and [`check_by`](Self::check_by) read one; [`check_at`](Self::check_at) has only
/// the stamp that it was given, and is exact where no other thread is ahead of it.
///
/// ```
/// # #[cfg(feature = "std")]
/// # {
/// use pop_ratelimit::{Hierarchy, KeyedLimiter, Quota, Timestamp, TokenBucket, Verdict};
///
/// let global = TokenBucket::new(Quota::per_second(1000));
/// let clients = KeyedLimiter::<str>::new(Quota::per_second(10).burst(2), 4096);
/// let now = Timestamp::ZERO;
/// for _ in 0..2 {
///     assert!(Hierarchy::new(&[&global, &(&clients, "alice")]).check_at(now, 1).is_allowed());
/// }
/// let verdict = Hierarchy::new(&[&global, &(&clients, "alice")]).check_at(now, 1);
/// assert!(matches!(verdict, Verdict::Denied { level: 1, .. }));
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Hierarchy<'a> {
    levels: &'a [&'a dyn Level],
}

impl core::fmt::Debug for Hierarchy<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Hierarchy").field("levels", &self.levels.len()).finish()
    }
}

/// All or nothing over at most [`LEVELS_MAX`] levels of one kind: asks all, charges all, and gives back what was charged
/// if a race makes a later one refuse. Without dynamic calls; a key is hashed once a level, and what was found when
/// asking is charged by one swap.
#[cfg(feature = "std")]
pub(crate) fn check_keyed<'a, K: core::hash::Hash + ?Sized + 'a, R: core::borrow::Borrow<K>>(
    levels: usize,
    level: impl Fn(usize) -> (&'a crate::KeyedLimiter<K>, R),
    clock: impl Fn() -> Timestamp,
    cost: u64,
) -> Verdict {
    debug_assert!(levels <= LEVELS_MAX);
    let now = clock();
    let (mut hashes, mut charges) = ([0; LEVELS_MAX], [const { None }; LEVELS_MAX]);
    let mut worst = None;
    let mut least = u64::MAX;
    for (index, (hash, charge)) in hashes.iter_mut().zip(&mut charges).enumerate().take(levels) {
        let (limiter, key) = level(index);
        *hash = limiter.hash(key.borrow());
        let asked = limiter.ask(*hash, now, cost);
        *charge = asked.charge;
        match asked.decision {
            Decision::Allowed { remaining } => least = least.min(remaining),
            decision => worst = longer(worst, index, decision),
        }
    }
    if let Some((level, decision)) = worst {
        return Verdict::Denied { level, decision };
    }
    for (index, charge) in charges.iter().enumerate().take(levels) {
        if charge.is_some_and(crate::keyed::Charge::take) {
            continue;
        }
        match level(index).0.charge(hashes[index], now, cost) {
            Decision::Allowed { remaining } => least = least.min(remaining),
            decision => {
                for (charged, &hash) in hashes.iter().enumerate().take(index) {
                    level(charged).0.give_back(hash, &clock, now, cost);
                }
                return Verdict::Denied { level: index, decision };
            }
        }
    }
    Verdict::Allowed { remaining: least }
}

/// Of two denials the one with the longer wait: a retry after that passes both.
fn longer(worst: Option<(usize, Decision)>, level: usize, decision: Decision) -> Option<(usize, Decision)> {
    let wait = |decision: Decision| decision.retry_after().unwrap_or(core::time::Duration::MAX);
    match worst {
        _ if decision.is_allowed() => worst,
        Some((_, before)) if wait(before) >= wait(decision) => worst,
        _ => Some((level, decision)),
    }
}

impl<'a> Hierarchy<'a> {
    /// These levels, the widest first.
    ///
    /// # Panics
    /// With more than [`LEVELS_MAX`] levels.
    #[must_use]
    pub fn new(levels: &'a [&'a dyn Level]) -> Self {
        assert!(levels.len() <= LEVELS_MAX, "{} levels, at most {LEVELS_MAX}", levels.len());
        Self { levels }
    }

    /// Takes `cost` tokens at every level, or none. The denial of the level with the longest wait is reported.
    pub fn check_at(&self, now: Timestamp, cost: u64) -> Verdict {
        self.check_by(|| now, cost)
    }

    /// [`check_at`](Self::check_at) by a clock, which is read again where a lost race is undone.
    pub fn check_by(&self, clock: impl Fn() -> Timestamp, cost: u64) -> Verdict {
        let now = clock();
        if let Some(denied) = self.worst_denial(now, cost) {
            return denied;
        }
        let mut least = u64::MAX;
        for (index, level) in self.levels.iter().enumerate() {
            match level.charge_at(now, cost) {
                Decision::Allowed { remaining } => least = least.min(remaining),
                decision => {
                    self.levels[..index].iter().for_each(|level| level.refund_by(&clock, now, cost));
                    return Verdict::Denied { level: index, decision };
                }
            }
        }
        Verdict::Allowed { remaining: least }
    }

    /// [`check_by`](Self::check_by) the process clock.
    #[cfg(feature = "std")]
    pub fn check(&self, cost: u64) -> Verdict {
        self.check_by(crate::now, cost)
    }

    /// A retry after the longest wait passes every level, so that one is the true answer.
    fn worst_denial(&self, now: Timestamp, cost: u64) -> Option<Verdict> {
        let denials = self.levels.iter().enumerate();
        let worst =
            denials.fold(None, |worst, (index, level)| longer(worst, index, level.peek_at(now, cost)));
        worst.map(|(level, decision)| Verdict::Denied { level, decision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quota;

    #[test]
    fn eight_levels_are_the_most() {
        let bucket = TokenBucket::new(Quota::per_second(1).burst(9));
        let levels: [&dyn Level; LEVELS_MAX + 1] = [&bucket; LEVELS_MAX + 1];
        assert!(Hierarchy::new(&levels[1..]).check_at(Timestamp::ZERO, 1).is_allowed());
        assert_eq!(bucket.owed_at(Timestamp::ZERO), LEVELS_MAX as u64);
    }

    #[test]
    #[should_panic(expected = "9 levels, at most 8")]
    fn a_ninth_level_is_a_mistake() {
        let bucket = TokenBucket::new(Quota::BLOCKED);
        let levels: [&dyn Level; LEVELS_MAX + 1] = [&bucket; LEVELS_MAX + 1];
        let _ = Hierarchy::new(&levels);
    }
}
