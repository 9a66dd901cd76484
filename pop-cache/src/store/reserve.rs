//! How an entry gets its room: from what the stripe has, or by one step after another until there is enough.

use super::Store;
use super::evict::SLICE;
use super::reclaim::BATCH;
use crate::Timestamp;
use crate::stripe::{Own, Stripe, take};
use crate::sync::Ordering;

/// The share of the capacity that may be on its way from eviction to reuse: one in so many.
const HEADROOM: u64 = 64;
/// Victims for one insert beyond what it needs.
const AHEAD: usize = 2;

impl<K, V> Store<K, V> {
    /// Makes room for an entry and takes it. False if it can't be had: then all that could go is gone, and what is
    /// left is held by readers or by other inserts.
    pub(crate) fn reserve(&self, own: Own<'_>, weight: u64, at: Option<Timestamp>) -> bool {
        let stripe = own.stripe;
        if self.take_room(stripe, weight) {
            return true;
        }
        let share = self.share();
        // Other inserts may take what was evicted for this one; it does not go on for ever.
        let mut evictable = weight.saturating_mul(2).saturating_add(SLICE as u64 * share.max(1));
        loop {
            let more = self.reap(own, stripe)
                || self.claim(stripe, weight, share)
                || self.collect(stripe)
                || self.borrow(own)
                || self.expire(own, at)
                || self.sweep(own)
                || self.evict_slice(own, weight, &mut evictable, at);
            if self.take_room(stripe, weight) {
                return true;
            }
            if !more {
                return false;
            }
        }
    }

    /// After an insert: keeps the stripe's circle full, in a few steps.
    pub(crate) fn refill(&self, own: Own<'_>, at: Option<Timestamp>) {
        let stripe = own.stripe;
        let mean = self.mean_weight();
        let share = self.share_of(mean);
        let excess = self.weight.excess();
        let mut pipeline = stripe.pipeline();
        // Where entries are heavier than what may be on its way, one of them is too much to give ahead of the need.
        let is_fine = mean <= share;
        for turn in 0..AHEAD {
            if !is_fine && excess == 0 {
                break;
            }
            if (pipeline >= share || self.weight.spare() > share) && excess == 0 {
                break;
            }
            let Some(evicted) = self.evict(own, 0, u64::from(turn == 0), at) else { break };
            pipeline = pipeline.saturating_add(evicted);
        }
        if let Some(seats) = &self.seats
            && seats.spare() == 0
            && pipeline < share
        {
            let _evicted = self.evict(own, 0, 1, at);
        }
        if !self.deadlines.is_empty() {
            self.expire(own, at);
        }
        if self.tags.sweep.is_under_way() {
            self.sweep(own);
        }
        // Else there is nothing to settle.
        if pipeline > 2 * share || stripe.in_limbo.load(Ordering::Relaxed) > 2 * BATCH {
            self.settle(own, share);
        }
    }

    /// Gives back what the stripe has too much of, and drops what waits for too long.
    pub(crate) fn settle(&self, own: Own<'_>, share: u64) {
        let stripe = own.stripe;
        let idle = stripe.credit.load(Ordering::Relaxed);
        if idle > 2 * share && take(&stripe.credit, idle - share) {
            self.weight.release(idle - share);
            if let Some(seats) = &self.seats {
                let idle = stripe.seats.swap(0, Ordering::Relaxed);
                seats.release(idle);
            }
        }
        if stripe.in_limbo.load(Ordering::Relaxed) > 2 * BATCH {
            self.collect(stripe);
        }
        if stripe.retired() > 2 * share {
            for _ in 0..AHEAD {
                self.reap(own, stripe);
            }
        }
    }

    /// What a removal leaves behind, settled.
    pub(crate) fn settle_removal(&self, own: Own<'_>) {
        self.settle(own, self.share());
    }

    /// Gives back what is reserved for an entry that does not come.
    pub(crate) fn give_back(&self, own: &Stripe, weight: u64) {
        own.credit.fetch_add(weight, Ordering::Relaxed);
        if self.seats.is_some() {
            own.seats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes an entry's room from what the stripe has.
    fn take_room(&self, own: &Stripe, weight: u64) -> bool {
        if !take(&own.credit, weight) {
            return false;
        }
        if self.seats.is_some() && !take(&own.seats, 1) {
            own.credit.fetch_add(weight, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Reserves what is not reserved by anyone.
    fn claim(&self, own: &Stripe, weight: u64, share: u64) -> bool {
        let least = weight.saturating_sub(own.credit.load(Ordering::Relaxed));
        // While there is much, a stripe claims for many inserts at once.
        let generous =
            if self.weight.spare() > 8 * share * self.stripes.len() as u64 { share / 4 } else { 0 };
        let mut any = false;
        if least > 0 {
            let Some(amount) = self.weight.claim(least, least + generous) else { return false };
            own.credit.fetch_add(amount, Ordering::Relaxed);
            any = true;
        }
        if let Some(seats) = &self.seats
            && own.seats.load(Ordering::Relaxed) == 0
        {
            let Some(amount) = seats.claim(1, 1) else { return any };
            own.seats.fetch_add(amount, Ordering::Relaxed);
            any = true;
        }
        any
    }

    /// Takes what other stripes have reserved or retired and don't use.
    fn borrow(&self, owner: Own<'_>) -> bool {
        let own = owner.stripe;
        let mut any = false;
        for other in self.stripes.iter().filter(|other| !std::ptr::eq(*other, own)) {
            let credit = other.credit.swap(0, Ordering::Relaxed);
            if credit > 0 {
                own.credit.fetch_add(credit, Ordering::Relaxed);
            }
            let seats = other.seats.swap(0, Ordering::Relaxed);
            if seats > 0 {
                own.seats.fetch_add(seats, Ordering::Relaxed);
            }
            any |= credit > 0 || seats > 0;
            any |= self.reap(owner, other) || (self.collect(other) && self.reap(owner, other));
        }
        any
    }

    /// What a slot weighs, roughly.
    fn mean_weight(&self) -> u64 {
        let (reserved, slots) = (self.weight.reserved(), u64::from(self.index.slab.length()));
        // Without a weigher it takes no division.
        if reserved <= slots { 1 } else { reserved / slots.max(1) }
    }

    /// How much may be on its way from eviction to reuse in one stripe.
    pub(super) fn share(&self) -> u64 {
        self.share_of(self.mean_weight())
    }

    /// The same, of entries that weigh so much.
    fn share_of(&self, mean_weight: u64) -> u64 {
        let most = (self.weight.capacity() / HEADROOM) >> self.stripes.len().ilog2();
        most.min(BATCH.saturating_mul(mean_weight + 1))
    }
}
