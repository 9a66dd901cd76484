//! The window: a ring of handles in the order in which their entries came.

use super::local::Local;
use crate::memory::{Slab, Slot, kind, zeroed_half_words};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::table::Table;

/// So many candidates ahead the window's slots are asked for.
const PREPARED: u64 = 4;

/// A queue of handles. An entry's place is its slot's stamp, coarsely, so that a handle whose slot was reused meanwhile is
/// known for stale.
pub(super) struct Ring {
    /// Handle plus one.
    handles: Box<[AtomicU32]>,
    /// The stamp is the position without so many bits.
    coarse: u32,
    head: Lone<AtomicU64>,
    tail: Lone<AtomicU64>,
}

/// In a cache line of its own: it is written all the time, and what lies beside it is read by every look-up.
#[repr(align(128))]
struct Lone<T>(T);

impl<T> std::ops::Deref for Lone<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl Ring {
    pub(super) fn new(entries: usize) -> Self {
        let length = (entries * 3 / 4).next_power_of_two().max(if cfg!(loom) { 2 } else { 16 });
        Self {
            handles: zeroed_half_words(length),
            // A full ring spans half of the stamps.
            coarse: (length >> 15).max(1).ilog2(),
            head: Lone(AtomicU64::new(0)),
            tail: Lone(AtomicU64::new(0)),
        }
    }

    pub(super) fn length(&self) -> u64 {
        let head = self.head.load(Ordering::Relaxed);
        self.tail.load(Ordering::Relaxed).saturating_sub(head)
    }

    /// Whether there are so many places.
    pub(super) fn has(&self, places: u64) -> bool {
        self.length() + places <= self.handles.len() as u64
    }

    fn place(&self, position: u64) -> &AtomicU32 {
        // The length is a power of two.
        &self.handles[position as usize & (self.handles.len() - 1)]
    }

    fn stamp(&self, position: u64) -> u16 {
        (position >> self.coarse) as u16
    }

    pub(super) fn is_at<K, V>(&self, slot: &Slot<K, V>, position: u64) -> bool {
        slot.is(kind::SMALL) && slot.stamp.load(Ordering::Relaxed) == self.stamp(position)
    }

    pub(super) fn push<K, V>(&self, slab: &Slab<K, V>, handles: impl ExactSizeIterator<Item = u32>) {
        let first = self.tail.fetch_add(handles.len() as u64, Ordering::Relaxed);
        for (position, handle) in (first..).zip(handles) {
            let slot = slab.slot(handle);
            // Else it is gone already, or in the main clock.
            if slot.is(kind::SMALL) {
                slot.stamp.store(self.stamp(position), Ordering::Relaxed);
            }
            self.place(position).store(handle + 1, Ordering::Relaxed);
        }
    }

    /// The next candidate and its position, of those that the thread has in hand, or else of a new portion.
    pub(super) fn pop(&self, local: Option<&Local>, portion: u32) -> Option<(u64, u32)> {
        let position = match local {
            Some(local) => self.next(local, portion)?,
            None => self.claim(1)?.0,
        };
        // Whoever pushed may not have written yet: then it is a handle of the last round, stale or none.
        Some((position, self.place(position).load(Ordering::Relaxed).checked_sub(1)?))
    }

    fn next(&self, local: &Local, portion: u32) -> Option<u64> {
        let [next, end] = &local.candidates;
        let mut position = next.load(Ordering::Relaxed);
        let address = std::ptr::from_ref(self).addr();
        if position >= end.load(Ordering::Relaxed) || local.ring.load(Ordering::Relaxed) != address {
            let (first, last) = self.claim(u64::from(portion.max(1)))?;
            local.ring.store(address, Ordering::Relaxed);
            end.store(last, Ordering::Relaxed);
            position = first;
        }
        next.store(position + 1, Ordering::Relaxed);
        Some(position)
    }

    /// Takes up to so many positions off the head.
    fn claim(&self, most: u64) -> Option<(u64, u64)> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let end = self.tail.load(Ordering::Relaxed).min(head + most);
            if head >= end {
                return None;
            }
            // Another pop won if this fails.
            match self.head.compare_exchange_weak(head, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some((head, end)),
                Err(other) => head = other,
            }
        }
    }

    /// Asks for what the next candidates after the one at `position` need: the slot of one, the bucket of another.
    pub(super) fn prepare<K, V>(&self, slab: &Slab<K, V>, table: &Table, position: u64) {
        if let Some(far) = self.place(position + PREPARED).load(Ordering::Relaxed).checked_sub(1) {
            slab.prefetch(far);
        }
        if let Some(next) = self.place(position + 1).load(Ordering::Relaxed).checked_sub(1) {
            table.prefetch(slab.slot(next).home());
        }
    }

    /// Whether the slot's stamp may still be in the ring.
    pub(super) fn holds<K, V>(&self, slot: &Slot<K, V>) -> bool {
        let tail = self.stamp(self.tail.load(Ordering::Relaxed));
        let behind = tail.wrapping_sub(slot.stamp.load(Ordering::Relaxed));
        u64::from(behind) <= (self.length() >> self.coarse) + 1
    }
}
