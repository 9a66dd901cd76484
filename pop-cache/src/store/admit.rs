//! How an entry comes in whose room is reserved.

use super::{Leaving, RemovalCause, Store, Terms};
use crate::hazard::Hazard;
use crate::index::{Found, Inserted};
use crate::memory::{Word, kind};
use crate::stripe::{Count, Own};
use crate::sync::Ordering;
use crate::table::Hash;

/// What became of an entry that was put in the place of what a caller had seen.
pub(crate) enum Put<K, V> {
    Done,
    /// Something else is there by now.
    Changed,
    /// There are no more handles.
    Back(K, V),
}

impl<K: Eq, V> Store<K, V> {
    /// Puts an entry in whose room is reserved, if what is there is still what the caller found, or nothing.
    pub(crate) fn put(
        &self,
        own: Own<'_>,
        hash: Hash,
        (key, value): (K, V),
        terms: Terms,
        seen: Option<&Found<'_, K, V>>,
    ) -> Put<K, V> {
        let (weight, deadline) = (terms.weight, terms.deadline);
        let Some(handle) = self.slot(own.stripe) else { return Put::Back(key, value) };
        let hazard = Hazard::new();
        self.write(&hazard, handle, hash, (key, value), terms);
        own.count(Count::WeightIn, weight);
        // Not in the index: it goes as it came, unless it is disarmed.
        let leaving = Leaving { store: self, own, handle };
        let done = match seen {
            Some(found) => {
                self.index.replace(found, hash, handle).then_some(Inserted::Replaced(found.handle))
            }
            None => self.index.insert_absent(&hazard, hash, handle),
        };
        let Some(done) = done else { return Put::Changed };
        std::mem::forget(leaving);
        own.count(Count::Inserts, 1);
        self.arm(handle, deadline);
        match done {
            Inserted::Replaced(old) => self.replaced(own, &hazard, old, handle),
            Inserted::Overtaken => self.retire(own, handle, RemovalCause::Replaced),
            // All of its buckets are full: it is evicted at once.
            Inserted::Full => self.retire(own, handle, RemovalCause::Size),
            Inserted::New(ghost) => self.admit(own, &hazard, handle, ghost),
        }
        Put::Done
    }

    /// A new key is in.
    fn admit(&self, own: Own<'_>, hazard: &Hazard, handle: u32, ghost: u32) {
        let (slab, queues) = (&self.index.slab, &self.index.table(hazard).queues);
        let frequency = self.policy.admit(own.policy(), queues, ghost);
        // A hit that came first is lost, which is a hint less.
        slab.slot(handle).frequency.store(frequency, Ordering::Relaxed);
        self.policy.inserted(own.policy(), slab, queues, handle);
    }

    #[inline(never)]
    fn replaced(&self, own: Own<'_>, hazard: &Hazard, old: u32, new: u32) {
        let (slab, queues) = (&self.index.slab, &self.index.table(hazard).queues);
        self.policy.inherit(own.policy(), slab, queues, old, new);
        self.retire(own, old, RemovalCause::Replaced);
    }

    /// Takes an entry in whose room is reserved.
    ///
    /// # Errors
    /// Gives it back if there are no more handles.
    pub(crate) fn insert(
        &self,
        own: Own<'_>,
        hash: Hash,
        key: K,
        value: V,
        terms: Terms,
    ) -> Result<(), (K, V)> {
        let Some(handle) = self.slot(own.stripe) else { return Err((key, value)) };
        self.insert_into(own, handle, hash, key, value, terms);
        Ok(())
    }

    /// The same, into this free slot.
    pub(crate) fn insert_into(&self, own: Own<'_>, handle: u32, hash: Hash, key: K, value: V, terms: Terms) {
        let (weight, deadline) = (terms.weight, terms.deadline);
        let hazard = Hazard::new();
        self.write(&hazard, handle, hash, (key, value), terms);
        own.count(Count::WeightIn, weight);
        // A key whose comparison panics goes as it came.
        let leaving = Leaving { store: self, own, handle };
        let inserted = loop {
            match self.index.insert(&hazard, hash, handle) {
                Inserted::Full => self.evict_neighbour(own, hash),
                done => break done,
            }
        };
        std::mem::forget(leaving);
        own.count(Count::Inserts, 1);
        self.arm(handle, deadline);
        match inserted {
            Inserted::Replaced(old) => self.replaced(own, &hazard, old, handle),
            Inserted::Overtaken => self.retire(own, handle, RemovalCause::Replaced),
            Inserted::New(ghost) => self.admit(own, &hazard, handle, ghost),
            Inserted::Full => {}
        }
    }

    /// Writes an entry into a free slot.
    #[allow(unsafe_code)]
    #[inline]
    fn write(&self, hazard: &Hazard, handle: u32, hash: Hash, (key, value): (K, V), terms: Terms) {
        let slab = &self.index.slab;
        let table = self.index.table(hazard);
        self.index.help(table);
        if handle >= table.entries() {
            self.index.grow();
        }
        let is_plain = terms.weight == 1 && terms.deadline.is_none() && terms.extra.is_none();
        let marks = if is_plain { kind::SMALL } else { self.write_terms(handle, terms) };
        // SAFETY: a slot from `slot` is free and ours alone.
        unsafe { slab.write(handle, hash.home, (key, value), marks) };
    }

    /// Writes what is beside a slot of the caller's, and says how the slot is to be marked.
    #[allow(unsafe_code)]
    #[inline(never)]
    fn write_terms(&self, handle: u32, terms: Terms) -> u8 {
        let slab = &self.index.slab;
        let mut marks = kind::SMALL;
        if terms.weight != 1 {
            slab.word(Word::Weight, handle).store(terms.weight, Ordering::Relaxed);
            marks |= kind::WEIGHTED;
        }
        if let Some(deadline) = terms.deadline {
            slab.word(Word::Deadline, handle).store(deadline.as_nanos(), Ordering::Relaxed);
            marks |= kind::DEADLINE;
        }
        if let Some(extra) = terms.extra {
            marks |= if extra.tags.is_empty() { kind::EXTRA } else { kind::EXTRA | kind::TAGGED };
            // SAFETY: the caller alone has the handle, and marks the slot as we say.
            unsafe { slab.set_extra(handle, extra) };
        }
        marks
    }

    /// Every bucket that a key may be in is full: the table grows if it is due, else one of their entries goes.
    #[cold]
    fn evict_neighbour(&self, own: Own<'_>, hash: Hash) {
        let hazard = Hazard::new();
        let table = self.index.table(&hazard);
        if table.has_previous() || self.index.slab.length() >= table.entries() {
            // It is being replaced, or too small: a larger one makes room, and nothing is lost.
            self.index.help(table);
            self.index.grow();
            return;
        }
        if let Some(found) = self.index.coldest(hash) {
            self.remove_found(own, &found, RemovalCause::Size);
        }
    }
}
