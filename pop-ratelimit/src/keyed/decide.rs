//! What a check does to a key's word, and what a refund does.

use core::hash::Hash;

use super::line::{Place, swap};
use super::{KeyedLimiter, STRIPES};
use crate::slot;
use crate::sync::{AtomicU64, Ordering, Padded};
use crate::virtual_time::VirtualTime;
use crate::{Decision, Timestamp};

/// What a key would be told, and the swap that makes it so.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) decision: Decision,
    /// `None` where it takes more than a swap, and where there is nothing to take.
    pub(crate) charge: Option<Charge<'a>>,
}

/// A cost that one swap takes, as long as the key's word is what it was.
#[derive(Clone, Copy)]
pub(crate) struct Charge<'a> {
    slot: &'a AtomicU64,
    word: u64,
    next: u64,
}

impl Charge<'_> {
    /// Takes the cost; `false` if the word has changed, and nothing is taken.
    #[inline]
    pub(crate) fn take(self) -> bool {
        swap(self.slot, self.word, self.next)
    }
}

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    #[inline]
    pub(super) fn decide(&self, hash: u64, now: Timestamp, cost: u64, charge: bool) -> Decision {
        if charge
            && let Some(time) = self.timeline.unchanged()
            && let Some(decision) = self.decide_common(time, time.at(now), hash, cost)
        {
            return decision;
        }
        self.decide_by(&self.timeline.current(), hash, now, cost, charge)
    }

    /// The common case, in few instructions, so that the processor can look ahead to the next key's line: the first
    /// quota, a key with a slot of its own and without credit. `None` leaves the case to the general path.
    #[inline(always)]
    pub(super) fn decide_common(
        &self,
        time: &VirtualTime,
        virtual_now: u64,
        hash: u64,
        cost: u64,
    ) -> Option<Decision> {
        match self.ask_common(time, virtual_now, hash, cost)? {
            Asked { charge: None, decision } => Some(decision),
            Asked { charge: Some(charge), decision } => charge.take().then_some(decision),
        }
    }

    /// The common case up to the swap that takes the cost.
    #[inline(always)]
    fn ask_common(&self, time: &VirtualTime, virtual_now: u64, hash: u64, cost: u64) -> Option<Asked<'_>> {
        let cost = time.cost(cost).filter(|&cost| cost > 0)?;
        let place = self.place(hash);
        // Most keys stand at the first place they would take, and the processor guesses that ahead of the load.
        // Acquire pairs with the Release of `swap`: see the third point of the proof.
        let first = &place.line.0[place.first];
        let word = first.load(Ordering::Acquire);
        let (slot, word) = if slot::has_tag(word, place.tag) {
            (first, word)
        } else {
            let slot = place.matching()?;
            (slot, slot.load(Ordering::Acquire))
        };
        // What lies between the load and the swap is what others wait for, so it is kept to three steps: the distance
        // of the word from that of a full bucket, what is owed then, and the sum.
        let full = slot::full(place.tag, virtual_now);
        let apart = slot::apart(word, full)?;
        let after = apart.max(0) as u64 + slot::scaled(cost);
        let burst = slot::scaled(time.burst_units);
        if after > burst {
            // A word from before the wrap looks like a debt, too.
            let known = apart <= slot::scaled(time.horizon as u64) as i64;
            let decision = time.limited(slot::unscaled(after - burst));
            return known.then_some(Asked { decision, charge: None });
        }
        let decision = Decision::Allowed { remaining: time.whole_tokens(slot::unscaled(burst - after)) };
        Some(Asked { decision, charge: Some(Charge { slot, word, next: full.wrapping_add(after) }) })
    }

    /// Asks for `cost` tokens without taking them; [`Charge::take`] takes them if nothing has changed since.
    #[inline]
    pub(crate) fn ask(&self, hash: u64, now: Timestamp, cost: u64) -> Asked<'_> {
        let common = |time: &VirtualTime| self.ask_common(time, time.at(now), hash, cost);
        self.timeline.unchanged().and_then(common).unwrap_or_else(|| {
            let decision = self.decide_by(&self.timeline.current(), hash, now, cost, false);
            Asked { decision, charge: None }
        })
    }

    /// Takes `cost` tokens from the bucket of a key with this hash.
    pub(crate) fn charge(&self, hash: u64, now: Timestamp, cost: u64) -> Decision {
        self.decide(hash, now, cost, true)
    }

    /// Every case: newcomers, credits, changed quotas, words from before the wrap.
    #[inline(never)]
    pub(super) fn decide_by(
        &self,
        time: &VirtualTime,
        hash: u64,
        now: Timestamp,
        cost: u64,
        charge: bool,
    ) -> Decision {
        let Some(cost) = time.cost(cost) else { return time.never() };
        let place = self.place(hash);
        let virtual_now = time.at(now);
        loop {
            let found = place.find(virtual_now, time.horizon);
            let seen = self.scheme.see(found.word, virtual_now, time.horizon);
            let owed = if found.own { self.scheme.owed(seen) } else { u64::try_from(seen.high).unwrap_or(0) };
            let after = owed + cost;
            if after > time.burst_units {
                return time.limited(after - time.burst_units);
            }
            let allowed = Decision::Allowed { remaining: time.whole_tokens(time.burst_units - after) };
            if !charge || cost == 0 {
                return allowed;
            }
            let next = self.scheme.word(place.tag, virtual_now, seen.high, after);
            if swap(found.slot, found.word, next) {
                if !found.own && owed > 0 {
                    let Padded(count) = &self.inherited[(hash >> 32) as usize % STRIPES];
                    count.fetch_add(1, Ordering::Relaxed);
                }
                return allowed;
            }
        }
    }

    pub(crate) fn give_back(&self, hash: u64, clock: impl Fn() -> Timestamp, charged: Timestamp, cost: u64) {
        let time = self.timeline.current();
        let (charged, units) = (time.at(charged), time.units(cost));
        let place = self.place(hash);
        let horizon = time.horizon;
        loop {
            // Where the key's own slot is does not depend on the time.
            let found = place.find(charged, horizon);
            // After the word was seen: see `TokenBucket::refund_by`.
            let virtual_now = time.at(clock());
            let elapsed = virtual_now.wrapping_sub(charged);
            let elapsed = if elapsed <= u64::MAX / 2 { elapsed } else { 0 };
            let due = units.saturating_sub(elapsed);
            let seen = self.scheme.see(found.word, virtual_now, horizon);
            if !found.own || due == 0 || seen.high <= 0 {
                return;
            }
            let owed = self.scheme.owed(seen).saturating_sub(due);
            let next = self.scheme.word(place.tag, virtual_now, seen.high, owed);
            if swap(found.slot, found.word, next) {
                return;
            }
        }
    }

    #[inline]
    pub(super) fn place(&self, hash: u64) -> Place<'_> {
        Place::of(hash, &self.lines)
    }
}
