//! What may be given back without breaking a promise.
//!
//! A charge of `c` units that is used at `u` (now, or when its reservation is ready) is to be lowered by `x`. Let `P`
//! be the theoretical arrival time that follows from all charges at the moments of their use, those to come included:
//! the maximum over all `s` of `s` plus everything used from `s` on. The bucket holds its bound as long as its word `A`
//! is at or above `P`: whoever is let in at `s` finds `A + c ≤ V(s) + burst`.
//!
//! ```text
//! parts of P with s ≤ u fall by x, as A does
//! parts of P with s > u stay.   A ≥ u + c + (used from s on), so A − x is above such a part if x ≤ u + c − s
//! ```
//!
//! - Checks are used at once, so their `s` is at most now: `x ≤ u + c − V(now)` (the *first rule*).
//! - A reservation that waits is used later. Either `x ≤ u + c − s` holds for the latest of them, too; or `x` is no more
//!   than the *slack*, a lower bound of what `A` is above any of their parts. When one is made, its moment is
//!   `A − burst`, and so its slack `burst − c`. Charges raise `A` by at least as much as any part of `P`. Each
//!   lowering takes its `x` off the slack.
//! - A charge that is the last one is undone whole, without a clock: it is as if nobody had come. The word alone does
//!   not tell: it may have been lowered and raised to the same number. So lowerings are counted.
//!
//! Those who lower the word or promise a later moment take turns (a few instructions each; a check never waits), so
//! nothing is lowered between a look and its swap: a word that is the same was not touched.

use crate::bucket::debt;
use crate::sync::{AtomicU64, Ordering};

/// Set while somebody has the turn.
const TAKEN: u64 = 1;

/// A charge that may be given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    /// `V` of the moment for which it was granted, or earlier.
    pub(crate) used_at: u64,
    pub(crate) units: u64,
    /// The word that it left, and how many lowerings there were before; for those that remember.
    pub(crate) last: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(crate) struct Promises {
    /// Twice the number of lowerings, and whether somebody has the turn.
    turn: AtomicU64,
    /// The latest moment promised. This and the slack belong to whoever has the turn.
    latest: AtomicU64,
    /// As of the reservations up to `latest`; meaningless once that has passed.
    slack: AtomicU64,
}

impl Promises {
    pub(crate) fn new() -> Self {
        Self { turn: AtomicU64::new(0), latest: AtomicU64::new(0), slack: AtomicU64::new(0) }
    }

    /// A number that changes with each lowering.
    pub(crate) fn lowered(&self) -> u64 {
        // Relaxed: compared with what the lock reads, which is the latest; an older one is never equal by mistake.
        self.turn.load(Ordering::Relaxed) & !TAKEN
    }

    /// Notes that a reservation will be used at `used_at`, with so much slack, if `charge` succeeds.
    pub(crate) fn promise<E>(
        &self,
        virtual_now: u64,
        used_at: u64,
        slack: u64,
        charge: impl FnOnce() -> Result<u64, E>,
    ) -> Result<u64, E> {
        let turn = self.take_turn();
        let charged = charge()?;
        let latest = self.latest.load(Ordering::Relaxed);
        let waiting = debt(latest, virtual_now) > 0;
        let slack = if waiting { slack.min(self.slack.load(Ordering::Relaxed)) } else { slack };
        self.slack.store(slack, Ordering::Relaxed);
        if !waiting || debt(used_at, latest) > 0 {
            self.latest.store(used_at, Ordering::Relaxed);
        }
        drop(turn);
        Ok(charged)
    }

    /// Waits for the others; each of them is a few instructions from its end.
    pub(crate) fn take_turn(&self) -> Turn<'_> {
        loop {
            let free = self.lowered();
            // Acquire pairs with the Release in `drop`: latest and slack are what the one before left.
            if self
                .turn
                .compare_exchange_weak(free, free | TAKEN, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                return Turn { promises: self, lowered: free };
            }
            #[cfg(not(loom))]
            core::hint::spin_loop();
            #[cfg(loom)]
            loom::thread::yield_now();
        }
    }
}

/// The right to lower the word; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    promises: &'a Promises,
    lowered: u64,
}

impl Turn<'_> {
    /// Whether nothing has happened to the word since the charge.
    pub(crate) fn is_last(&self, charge: &Charge, arrival: u64) -> bool {
        charge.last == Some((arrival, self.lowered))
    }

    /// How much of `units` of a charge can be given back at `virtual_now`.
    pub(crate) fn safe(&self, charge: &Charge, units: u64, virtual_now: u64) -> u64 {
        let end = charge.used_at.wrapping_add(charge.units);
        let first_rule = units.min(debt(end, virtual_now));
        let latest = self.promises.latest.load(Ordering::Relaxed);
        if debt(latest, virtual_now) == 0 {
            return first_rule;
        }
        let slack = self.promises.slack.load(Ordering::Relaxed);
        first_rule.min(slack.max(debt(end, latest)))
    }

    /// Notes that the word was lowered, and ends the turn.
    pub(crate) fn lowered_by(&mut self, charge: &Charge, units: u64) {
        self.lowered = self.lowered.wrapping_add(2);
        // Parts of reservations that are used no later than the charge fall with the word.
        if self.promises.latest.load(Ordering::Relaxed) != charge.used_at {
            let slack = self.promises.slack.load(Ordering::Relaxed);
            self.promises.slack.store(slack.saturating_sub(units), Ordering::Relaxed);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Release pairs with the Acquire of the next turn.
        self.promises.turn.store(self.lowered, Ordering::Release);
    }
}
