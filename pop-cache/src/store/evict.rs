//! How entries are taken out to make room.

use super::{RemovalCause, Store};
use crate::Timestamp;
use crate::hazard::Hazard;
use crate::index::Index;
use crate::memory::kind;
use crate::policy::{By, Queues};
use crate::stripe::Own;
use crate::sync::Ordering;

/// Choices of the policy that may turn out to be gone.
const TRIES: usize = 4;
/// Victims between two looks at whether there is room now.
pub(super) const SLICE: usize = 32;

impl<K, V> Store<K, V> {
    /// Evicts until what is reserved fits the capacity, or nothing more can go.
    pub(crate) fn shrink(&self) {
        let own = self.stripes.own();
        while self.weight.excess() > 0 || self.seats.as_ref().is_some_and(|seats| seats.excess() > 0) {
            self.reclaim();
            if self.weight.excess() == 0 && self.seats.as_ref().is_none_or(|seats| seats.excess() == 0) {
                return;
            }
            let mut evictable = u64::MAX;
            if !self.evict_slice(own, self.weight.excess().max(1), &mut evictable, None) {
                return;
            }
        }
    }

    /// Evicts until there is enough on its way, but at most a slice. False if nothing could go.
    pub(super) fn evict_slice(
        &self,
        own: Own<'_>,
        weight: u64,
        evictable: &mut u64,
        at: Option<Timestamp>,
    ) -> bool {
        let mut any = false;
        for _ in 0..SLICE {
            if *evictable == 0 {
                break;
            }
            let patience = self.index.slab.length() as usize * 2;
            let Some(evicted) = self.evict(own, patience, 0, at) else { break };
            any = true;
            *evictable = evictable.saturating_sub(evicted);
            if own.stripe.pipeline() >= weight {
                break;
            }
        }
        any
    }

    /// Evicts one entry, and says what it weighed; the policy's choice, or if that has none any of the next `patience`
    /// slots.
    pub(super) fn evict(
        &self,
        own: Own<'_>,
        patience: usize,
        ahead: u64,
        at: Option<Timestamp>,
    ) -> Option<u64> {
        let hazard = Hazard::new();
        let slab = &self.index.slab;
        let is_expired = |handle, marks| self.is_over(handle, marks, at);
        for _ in 0..TRIES {
            let table = self.index.table(&hazard);
            let local = own.policy();
            let Some((handle, by)) = self.policy.victim(local, slab, table, ahead, is_expired) else {
                continue;
            };
            if let Some(weight) = self.evict_slot(own, &hazard, handle, Some(by), at) {
                return Some(weight);
            }
        }
        for _ in 0..patience {
            let queues = &self.index.table(&hazard).queues;
            if let Some(handle) = self.policy.any_victim(own.policy(), slab, queues)
                && let Some(weight) = self.evict_slot(own, &hazard, handle, None, at)
            {
                return Some(weight);
            }
        }
        None
    }

    /// Evicts the entry of a slot, if it is in the index and not pinned.
    fn evict_slot(
        &self,
        own: Own<'_>,
        hazard: &Hazard,
        handle: u32,
        by: Option<By>,
        at: Option<Timestamp>,
    ) -> Option<u64> {
        let table = self.index.table(hazard);
        let slot = self.index.slab.slot(handle);
        let Some((word, seen)) = self.index.word_of(table, hazard, slot, handle) else {
            return self.evict_slot_slowly(own, hazard, handle, by, at);
        };
        let marks = slot.kind.load(Ordering::Relaxed);
        if marks & (kind::DEADLINE | kind::TAGGED | kind::PINNED) == 0 {
            let weight = self.weight_by(handle, marks);
            let ghost = self.ghost(own, &table.queues, slot.frequency.load(Ordering::Relaxed), by);
            if !Index::<K, V>::evict_word(word, seen, ghost) {
                return None;
            }
            self.retire(own, handle, RemovalCause::Size);
            return Some(weight);
        }
        self.evict_slot_slowly(own, hazard, handle, by, at)
    }

    /// The same wherever it is, and whatever is known of it.
    #[inline(never)]
    fn evict_slot_slowly(
        &self,
        own: Own<'_>,
        hazard: &Hazard,
        handle: u32,
        by: Option<By>,
        at: Option<Timestamp>,
    ) -> Option<u64> {
        let found = self.index.find_slot(handle)?;
        if found.slot.kind.load(Ordering::Relaxed) & kind::PINNED != 0 {
            return None;
        }
        let fault = self.fault(&found, at);
        let weight = self.weight_of(handle);
        let ghost = match fault {
            None => self.ghost(
                own,
                &self.index.table(hazard).queues,
                found.slot.frequency.load(Ordering::Relaxed),
                by,
            ),
            Some(_) => 0,
        };
        if !self.index.evict(&found, ghost) {
            return None;
        }
        drop(found);
        self.retire(own, handle, fault.unwrap_or(RemovalCause::Size));
        Some(weight)
    }

    /// Whether an entry with a deadline is past it.
    #[inline(never)]
    fn is_over(&self, handle: u32, marks: u8, at: Option<Timestamp>) -> bool {
        self.deadline_of(handle, marks).is_some_and(|deadline| deadline <= self.now(at))
    }

    /// What is to be remembered of an entry that the policy chose.
    fn ghost(&self, own: Own<'_>, queues: &Queues, frequency: u8, by: Option<By>) -> u32 {
        by.map_or(0, |by| self.policy.evicted(own.policy(), queues, frequency, by))
    }
}
