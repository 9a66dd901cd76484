//! Slots in a stack.

use super::{Slab, Slot};
use crate::sync::{AtomicU64, Ordering};

/// A stack of slots, linked through them (Treiber, 1986).
///
/// The word is the top slot's handle plus one, and a count of changes: a pop that was overtaken by others finds the
/// word changed, unless exactly a multiple of 2^32 changes overtook it and left the same slot on top.
pub(crate) struct List {
    word: AtomicU64,
}

const HEAD: u64 = u32::MAX as u64;

impl List {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.word.load(Ordering::Relaxed) & HEAD == 0
    }

    /// Puts a slot on top that the caller alone has.
    pub(crate) fn push<K, V>(&self, slab: &Slab<K, V>, handle: u32) {
        self.push_chain(slab, handle, handle);
    }

    /// The same, of a slot that is at hand.
    #[inline]
    pub(crate) fn push_slot<K, V>(&self, slot: &Slot<K, V>, handle: u32) {
        self.push_linked(handle, slot);
    }

    /// Puts a chain on top that the caller alone has.
    pub(crate) fn push_chain<K, V>(&self, slab: &Slab<K, V>, first: u32, last: u32) {
        self.push_linked(first, slab.slot(last));
    }

    #[inline]
    fn push_linked<K, V>(&self, first: u32, last: &Slot<K, V>) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            last.link.store((word & HEAD) as u32, Ordering::Relaxed);
            let new = ((word >> 32).wrapping_add(1) << 32) | u64::from(first + 1);
            // Release publishes the links, and what was done to the slots, to the acquire in `pop` and `take`.
            match self.word.compare_exchange_weak(word, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => word = other,
            }
        }
    }

    /// Takes the top slot.
    pub(crate) fn pop<K, V>(&self, slab: &Slab<K, V>) -> Option<u32> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let handle = ((word & HEAD) as u32).checked_sub(1)?;
            let next = slab.slot(handle).link.load(Ordering::Relaxed);
            let new = ((word >> 32).wrapping_add(1) << 32) | u64::from(next);
            // Another push or pop won if this fails.
            match self.word.compare_exchange_weak(word, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(handle),
                Err(other) => word = other,
            }
        }
    }

    /// Takes up to `most` slots off the top: the first of a chain to walk with [`next`](Self::next), and how many.
    pub(crate) fn take<K, V>(&self, slab: &Slab<K, V>, most: u64) -> Option<(u32, u64)> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let first = ((word & HEAD) as u32).checked_sub(1)?;
            let (mut taken, mut next) = (0, first + 1);
            while taken < most
                && let Some(handle) = next.checked_sub(1)
                // A slot that others took meanwhile says anything; then the exchange fails.
                && handle < slab.length()
            {
                next = slab.slot(handle).link.load(Ordering::Relaxed);
                taken += 1;
            }
            let new = ((word >> 32).wrapping_add(1) << 32) | u64::from(next);
            match self.word.compare_exchange_weak(word, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some((first, taken)),
                Err(other) => word = other,
            }
        }
    }

    /// Lets a slot follow another, both in the caller's hand.
    pub(crate) fn link<K, V>(slab: &Slab<K, V>, handle: u32, next: u32) {
        slab.slot(handle).link.store(next + 1, Ordering::Relaxed);
    }

    /// What follows in a chain that the caller has taken.
    pub(crate) fn next<K, V>(slab: &Slab<K, V>, handle: u32) -> Option<u32> {
        slab.slot(handle).link.load(Ordering::Relaxed).checked_sub(1)
    }
}
