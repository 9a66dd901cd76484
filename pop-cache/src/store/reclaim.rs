//! From limbo to reuse: entries that nobody reads any more are ripe, and dropped when their room is needed.

use super::Store;
use crate::hazard::Announced;
use crate::memory::{List, Slab, kind};
use crate::stripe::{Own, Stripe, take_most};
use crate::sync::Ordering;

/// Entries that leave limbo together, at most: then the barrier's 5 µs are 20 ns for each.
pub(super) const BATCH: u64 = if cfg!(loom) { 1 } else { 256 };
/// The part of all slots that one thread sorts at a time: one in so many.
const IN_HAND: u32 = 16;

impl<K, V> Store<K, V> {
    /// Moves what nobody reads any more from limbo to where it is ripe. False if nothing was.
    ///
    /// A thread that stalls in here has a small part of the entries in its hand, and others do without them.
    #[inline(never)]
    pub(super) fn collect(&self, stripe: &Stripe) -> bool {
        let slab = &self.index.slab;
        let batch = u64::from(slab.length() / IN_HAND).clamp(1, BATCH);
        let mut sorted = Sorted::default();
        while sorted.ripe.is_none()
            && let Some((first, taken)) = stripe.limbo.take(slab, batch)
        {
            // It is roughly so many.
            take_most(&stripe.in_limbo, taken);
            sorted.sort(slab, first, taken, Announced::entries().as_ref());
        }
        let any = sorted.put_back(slab, stripe);
        self.index.free_tables();
        any
    }

    /// Drops a ripe entry of `from`; its room and its slot go to `own`. False if there is none.
    #[allow(unsafe_code)]
    pub(super) fn reap(&self, own: Own<'_>, from: &Stripe) -> bool {
        let Some(handle) = from.ripe.pop(&self.index.slab) else { return false };
        let weight = self.weight_of(handle);
        // SAFETY: a ripe slot is occupied, out of the index and announced by nobody; popped, it is ours alone.
        let pair = unsafe { self.index.slab.take(handle) };
        from.freed(own, weight);
        self.give_back(own.stripe, weight);
        own.stripe.free.push(&self.index.slab, handle);
        // Last: a `Drop` that panics, or comes back to this cache, finds everything in order.
        drop(pair);
        true
    }

    /// Drops a ripe entry of weight 1, and hands its room and its slot on to another of weight 1: what nearly every insert
    /// of a full cache without a weigher finds. None if there is none.
    #[allow(unsafe_code)]
    pub(crate) fn reuse(&self, own: Own<'_>) -> Option<u32> {
        let (slab, stripe) = (&self.index.slab, own.stripe);
        let handle = stripe.ripe.pop(slab)?;
        if slab.slot(handle).kind.load(Ordering::Relaxed) & kind::WEIGHTED != 0 {
            stripe.ripe.push(slab, handle);
            return None;
        }
        // SAFETY: as in `reap`.
        let pair = unsafe { slab.take(handle) };
        stripe.freed(own, 1);
        // If a `Drop` panics, nothing comes into the slot.
        let spare = Spare { store: self, own, handle };
        drop(pair);
        std::mem::forget(spare);
        Some(handle)
    }

    /// A free slot. None if there are as many as handles.
    pub(super) fn slot(&self, own: &Stripe) -> Option<u32> {
        let slab = &self.index.slab;
        own.free
            .pop(slab)
            .or_else(|| {
                let other = self.stripes.iter().find(|other| !other.free.is_empty())?;
                other.free.pop(slab)
            })
            .or_else(|| slab.bump())
    }

    /// Drops everything that is out of the cache and read by nobody, and gives its room back.
    pub(crate) fn reclaim(&self) {
        let own = self.stripes.own();
        for stripe in self.stripes.iter() {
            while self.collect(stripe) {}
            while self.reap(own, stripe) {}
            self.weight.release(stripe.credit.swap(0, Ordering::Relaxed));
            if let Some(seats) = &self.seats {
                seats.release(stripe.seats.swap(0, Ordering::Relaxed));
            }
        }
        self.index.free_tables();
    }
}

/// What was in limbo: chains of what somebody reads, and of what nobody does, each by its first and its last.
#[derive(Default)]
struct Sorted {
    read: Option<(u32, u32)>,
    ripe: Option<(u32, u32)>,
}

impl Sorted {
    /// Up to so many of a chain that the caller has taken.
    fn sort<K, V>(&mut self, slab: &Slab<K, V>, first: u32, most: u64, announced: Option<&Announced>) {
        let (mut next, mut left) = (Some(first), most);
        while let Some(handle) = next
            && left > 0
        {
            left -= 1;
            // Of the last one it may be what others have taken by now.
            next = List::next(slab, handle);
            let address = slab.slot(handle).address();
            let is_read = announced.is_none_or(|announced| announced.may_contain(address));
            let chain = if is_read { &mut self.read } else { &mut self.ripe };
            if let Some((_, last)) = chain {
                List::link(slab, *last, handle);
                *last = handle;
            } else {
                *chain = Some((handle, handle));
            }
        }
    }

    /// Says whether anything was ripe.
    fn put_back<K, V>(self, slab: &Slab<K, V>, stripe: &Stripe) -> bool {
        if let Some((first, last)) = self.read {
            stripe.limbo.push_chain(slab, first, last);
        }
        if let Some((first, last)) = self.ripe {
            stripe.ripe.push_chain(slab, first, last);
        }
        self.ripe.is_some()
    }
}

/// A free slot and room for an entry of weight 1.
struct Spare<'s, K, V> {
    store: &'s Store<K, V>,
    own: Own<'s>,
    handle: u32,
}

impl<K, V> Drop for Spare<'_, K, V> {
    fn drop(&mut self) {
        let stripe = self.own.stripe;
        self.store.give_back(stripe, 1);
        stripe.free.push(&self.store.index.slab, self.handle);
    }
}
