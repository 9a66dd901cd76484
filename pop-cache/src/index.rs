//! The index: which entry is in the cache, lock-free on every path.
//!
//! An entry is in the cache while an `OCCUPIED` word of the newest table holds its handle. At most one such word at any
//! time holds an entry with a given key, and it stays where it is until the entry goes or the bucket is handed over
//! to a larger table ([`table`](crate::table)). So:
//!
//! ```text
//! get    : in the key's buckets, a word with its tag: announce the slot, read the word again, compare the key
//! insert : the key is there? swap its word for ours
//!          it is not:
//!            1. write our word into a vacant one, marked tentative: nobody finds it yet
//!            2. look through the key's buckets:
//!               the entry is there by now      → take ours back, and swap
//!               another tentative one, higher  → take it away: its insert finds itself replaced
//!               another tentative one, lower   → take ours back: we were replaced at once
//!            3. remove the mark
//! remove : swap the word for a vacant one
//! ```
//!
//! Two inserts of one key in different places can't both reach step 3: the one that wrote its word later looked later,
//! and saw the other (Purcell and Harris, "Non-blocking hashtables with open addressing", 2005, have this idea).
//! An insert that finds a tentative word before it has written its own takes over that place, so a stalled one stops
//! nobody.
//!
//! **Linearisation.** A get that finds something: where it reads the word again. A get that finds nothing: at an
//! instant between its first read and its last, since an entry that was there all the time stays in one word. An
//! insert: where its word appears without the mark, by the swap or by step 3; one that was replaced before, just
//! before the one that replaced it, and its entry was then never visible. A remove: at its swap.
//!
//! **Progress.** A compare-and-swap fails because the word changed: another operation took effect, or an insert of the
//! same key wrote or took back its tentative word, which each does a bounded number of times. Handing over is done by
//! whoever meets it. Nobody waits.
//!
//! **Reclamation.** Whoever takes a word out of the table owns the entry, and retires its slot; the slot is reused when
//! no thread announces it ([`hazard`](crate::hazard)). A word that was read again under the announcement can
//! therefore not come back with another entry in it before the announcement goes: no ABA. Frozen words are
//! never trusted, since what they say may be long gone in the successor.
#![allow(unsafe_code)]

mod find;
mod growth;
mod insert;
mod look;
mod remove;

use core::borrow::Borrow;
use core::ptr;

use crate::entry::Extra;
use crate::hazard::{Announced, Hazard};
use crate::memory::{Slab, Slot, kind};
use crate::sync::{AtomicPtr, AtomicU64, Ordering, after_write};
use crate::table::{
    Bucket, CARRY, Carried, FROZEN, Hash, OCCUPIED, PROBES, TENTATIVE, Table, VACANT, WORDS, ghost_of,
    handle_of, vacated,
};

/// Buckets of an old table that an insert hands over while a larger one takes its place.
const HAND_OVERS: usize = 4;

/// Entries, and where they are.
pub(crate) struct Index<K, V> {
    pub(crate) slab: Slab<K, V>,
    root: AtomicPtr<Table>,
    /// Tables that were replaced, until nobody announces them.
    retired: AtomicPtr<Table>,
}

// SAFETY: tables are atomics throughout and owned by the index, which frees each once; the slab is `Send` and `Sync`
// under these bounds.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Index<K, V> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Index<K, V> {}

/// The word of an entry that was found, and the entry, which the hazard keeps readable.
pub(crate) struct Found<'i, K, V> {
    pub(crate) handle: u32,
    word: u64,
    place: usize,
    index: usize,
    probe: usize,
    pub(crate) slot: &'i Slot<K, V>,
    pair: *const (K, V),
    pub(crate) hazard: Hazard,
}

impl<K, V> Found<'_, K, V> {
    #[inline]
    pub(crate) fn key(&self) -> &K {
        // SAFETY: the hazard announces the slot, and the index held it after that.
        unsafe { &(*self.pair).0 }
    }

    #[inline]
    pub(crate) fn value(&self) -> &V {
        // SAFETY: as in `key`.
        unsafe { &(*self.pair).1 }
    }
}

/// The table is another, with so many buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Regrown(pub(crate) usize);

/// What [`Index::read`] found.
pub(crate) enum Read<R> {
    Found(R),
    /// No entry has the key.
    Absent,
    /// It takes a closer look.
    Unclear(Hazard),
}

/// What became of an insert.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It is in the cache, and no entry with this key was. What its last ghost remembers, 0 if there was none.
    New(u32),
    /// It is in the cache in the place of this one, which the caller must retire.
    Replaced(u32),
    /// It was in the cache, in principle: another insert of the same key replaced it at once. The caller must retire
    /// it.
    Overtaken,
    /// Every bucket of the key is full. The caller still has the entry.
    Full,
}

/// Where a word is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    probe: usize,
    index: usize,
}

impl<K, V> Index<K, V> {
    /// Slots laid out at once, and words for so many entries.
    pub(crate) fn new(slots: u32, entries: u64) -> Self {
        Self {
            slab: Slab::new(slots),
            root: AtomicPtr::new(Box::into_raw(Box::new(Table::new(entries)))),
            retired: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The newest table, announced beside the hazard.
    #[inline]
    pub(crate) fn table<'g>(&'g self, hazard: &'g Hazard) -> &'g Table {
        Self::announced(&self.root, hazard).expect("an index has a table")
    }

    /// The table that a pointer names, announced beside the hazard.
    #[inline]
    fn announced<'g>(pointer: &'g AtomicPtr<Table>, hazard: &'g Hazard) -> Option<&'g Table> {
        loop {
            // Acquire pairs with the release that published the table.
            let table = pointer.load(Ordering::Acquire);
            // A table that is named after it was announced is not freed before it is retired and the announcement
            // gone. If it changed in between, a larger one took its place.
            if !hazard.announce_table(table.addr()) || pointer.load(Ordering::Acquire) == table {
                // SAFETY: by that.
                return unsafe { table.as_ref() };
            }
        }
    }

    /// An entry is gone from its `probe`-th choice: the choices before count one less.
    fn count_out(&self, table: &Table, home: u32, probe: usize) {
        for before in 0..probe {
            // A bucket that is being handed over passes its count on as it is: too high means only a look more.
            let _frozen = table.add_carry(table.place(home, before), true);
        }
    }

    /// The entry in a word, for a look at every entry of a table with so many `buckets`.
    ///
    /// # Errors
    /// The number of buckets if there are more by now.
    pub(crate) fn entry_at(
        &self,
        place: usize,
        index: usize,
        buckets: usize,
    ) -> Result<Option<Found<'_, K, V>>, Regrown> {
        let hazard = Hazard::new();
        loop {
            let table = self.table(&hazard);
            if table.buckets() != buckets {
                return Err(Regrown(table.buckets()));
            }
            if table.waits(place) {
                self.hand_over(table, place, false);
                continue;
            }
            let word = table.bucket(place)[index].load(Ordering::Acquire) & !CARRY;
            if word & FROZEN != 0 {
                self.hand_over(table, place, true);
                continue;
            }
            if word & (OCCUPIED | TENTATIVE) != OCCUPIED {
                return Ok(None);
            }
            let handle = handle_of(word);
            let slot = self.slab.slot(handle);
            hazard.announce(slot.address());
            if table.bucket(place)[index].load(Ordering::Acquire) & !CARRY == word {
                // SAFETY: announced, and in the index after that.
                let pair = unsafe { self.slab.pair(handle) };
                let home = slot.home();
                let probe = (0..PROBES).find(|&probe| table.place(home, probe) == place).unwrap_or(0);
                return Ok(Some(Found { handle, word, place, index, probe, slot, pair, hazard }));
            }
        }
    }

    /// How many buckets there are now.
    pub(crate) fn buckets(&self) -> usize {
        self.table(&Hazard::new()).buckets()
    }
}

impl<K, V> Drop for Index<K, V> {
    fn drop(&mut self) {
        let root = self.root.load(Ordering::Relaxed);
        // SAFETY: `&mut self` says that nobody else reads it; it is freed below.
        let previous = unsafe { (*root).previous.load(Ordering::Relaxed) };
        let mut retired = self.retired.load(Ordering::Relaxed);
        while !retired.is_null() {
            // SAFETY: as above; a table is on the list once.
            let table = unsafe { Box::from_raw(retired) };
            retired = table.next_retired.load(Ordering::Relaxed);
        }
        for table in [root, previous] {
            if !table.is_null() {
                // SAFETY: the newest table and the one it succeeds came from boxes and are on no list.
                drop(unsafe { Box::from_raw(table) });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::table::LOAD;

    fn insert(index: &Index<u64, ()>, home: u32, key: u64) -> Inserted {
        let handle = index.slab.bump().expect("a slot");
        // SAFETY: a slot from `bump` is free and ours alone.
        unsafe { index.slab.write(handle, home, (key, ()), crate::memory::kind::SMALL) };
        index.insert(&Hazard::new(), hash(home, key), handle)
    }

    fn hash(home: u32, key: u64) -> Hash {
        Hash::new(u64::from(home) << 32 | key)
    }

    /// Two choices of one key may be the same bucket, which a look through them passes twice.
    #[test]
    fn a_key_whose_choices_coincide_is_no_rival_of_itself() {
        let index = Index::<u64, ()>::new(LOAD * 2 - 1, u64::from(LOAD * 2 - 1));
        let hazard = Hazard::new();
        let table = index.table(&hazard);
        assert_eq!(table.buckets(), 2);
        let home = |choices: [usize; 2]| {
            let mut homes = (0..u32::MAX).step_by(65_537);
            homes.find(|&home| [0, 1].map(|probe| table.place(home, probe)) == choices).expect("a home")
        };
        let (goes_on, stays) = (home([0, 1]), home([0, 0]));
        // One more than the first bucket holds: it counts one that went on, and goes on doing so.
        for key in 0..=WORDS as u64 {
            assert_eq!(insert(&index, goes_on, key), Inserted::New(0));
        }
        let found = index.find(hash(goes_on, 3), &3).expect("it was put in");
        assert!(index.remove(&found));
        assert_eq!(insert(&index, stays, 99), Inserted::New(0));
        let found = index.find(hash(stays, 99), &99).expect("it was put in");
        assert_eq!(found.probe, 0);
        assert!((0..=WORDS as u64).all(|key| index.find(hash(goes_on, key), &key).is_some() == (key != 3)));
    }
}
