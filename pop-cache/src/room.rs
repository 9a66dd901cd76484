//! The bound: how much may be in the cache, and how much of that is reserved.

use crate::sync::{AtomicU64, Ordering};

/// A capacity and what of it is reserved: by entries that are visible, by those that are about to be, by those that
/// are gone but may still be read, and by the stripes' credits. The sum never exceeds the capacity, but while a
/// smaller one takes effect.
pub(crate) struct Room {
    capacity: AtomicU64,
    reserved: AtomicU64,
}

impl Room {
    /// No more than this: a sum of two can't overflow.
    pub(crate) const MAX: u64 = u64::MAX / 4;

    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity: AtomicU64::new(capacity.min(Self::MAX)), reserved: AtomicU64::new(0) }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(crate) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    pub(crate) fn resize(&self, capacity: u64) {
        self.capacity.store(capacity.min(Self::MAX), Ordering::Relaxed);
    }

    /// What is not reserved.
    pub(crate) fn spare(&self) -> u64 {
        self.capacity().saturating_sub(self.reserved())
    }

    /// How much more is reserved than the capacity.
    pub(crate) fn excess(&self) -> u64 {
        self.reserved().saturating_sub(self.capacity())
    }

    /// Reserves between `least` and `most`; says how much.
    pub(crate) fn claim(&self, least: u64, most: u64) -> Option<u64> {
        let mut reserved = self.reserved.load(Ordering::Relaxed);
        loop {
            let spare = self.capacity().saturating_sub(reserved);
            if spare < least {
                return None;
            }
            let amount = most.min(spare);
            // Relaxed: the sum is all there is to this word, nothing is published by it. Another claim or release
            // took effect if this fails.
            match self.reserved.compare_exchange_weak(
                reserved,
                reserved + amount,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(amount),
                Err(other) => reserved = other,
            }
        }
    }

    pub(crate) fn release(&self, amount: u64) {
        let before = self.reserved.fetch_sub(amount, Ordering::Relaxed);
        debug_assert!(before >= amount, "released more than was reserved");
    }
}
