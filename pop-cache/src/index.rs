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

/// How an attempt to insert a new key ended.
enum Attempt {
    /// What the ghost of this key remembered.
    Inserted(u32),
    Overtaken,
    Full,
    /// Look again: the key is there, or the table is another.
    Again,
}

/// What became of our tentative word.
#[derive(Clone, Copy)]
enum Settled {
    /// We took it back, or took its mark away.
    Ours,
    Overtaken,
    /// Its bucket is handed over without it.
    Again,
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

    /// The entry with this key.
    #[inline]
    pub(crate) fn find<Q: Eq + ?Sized>(&self, hash: Hash, key: &Q) -> Option<Found<'_, K, V>>
    where
        K: Borrow<Q>,
    {
        self.find_slowly(Hazard::new(), hash, key)
    }

    /// Reads the entry with this key, if it is where nearly all are: in its first choice, with one match, in a table
    /// that is not being replaced. Else the caller finds it with the hazard that comes back.
    #[inline]
    pub(crate) fn read<Q: Eq + ?Sized, R>(
        &self,
        hash: Hash,
        key: &Q,
        read: impl FnOnce(&Slot<K, V>, &V) -> R,
    ) -> Read<R>
    where
        K: Borrow<Q>,
    {
        let hazard = Hazard::new();
        let table = self.table(&hazard);
        let bucket = table.bucket(table.place(hash.home, 0));
        let matching = matching(bucket, hash);
        if matching != 0 {
            let word = &bucket[matching.trailing_zeros() as usize % WORDS];
            let seen = word.load(Ordering::Relaxed);
            let handle = handle_of(seen);
            if let Some(slot) = self.slab.first_slot(handle) {
                hazard.announce(slot.address());
                // Acquire pairs with the release that published the entry.
                let again = word.load(Ordering::Acquire);
                if hash.matches(again) && handle_of(again) == handle {
                    // SAFETY: announced, and in the index after that.
                    let pair = unsafe { slot.pair() };
                    if pair.0.borrow() == key {
                        return Read::Found(read(slot, &pair.1));
                    }
                }
            }
        }
        if matching == 0 && self.lacks(table, hash) {
            return Read::Absent;
        }
        Read::Unclear(hazard)
    }

    /// Whether no entry has this hash: its first choice says so, from which no entry went on, in a table that is not being
    /// replaced. False if it is not as clear.
    #[inline]
    fn lacks(&self, table: &Table, hash: Hash) -> bool {
        // Before the words are read, as in `find_slowly`.
        if table.has_previous() {
            return false;
        }
        let look = Look::at(&words_of(table.bucket(table.place(hash.home, 0))), hash);
        look.is_plain && look.same == 0
    }

    /// The same, by every choice and in tables that are being replaced.
    #[inline(never)]
    pub(crate) fn find_slowly<Q: Eq + ?Sized>(
        &self,
        hazard: Hazard,
        hash: Hash,
        key: &Q,
    ) -> Option<Found<'_, K, V>>
    where
        K: Borrow<Q>,
    {
        let mut probe = 0;
        while probe < PROBES {
            let table = self.table(&hazard);
            if table.repeats(hash.home, probe) {
                probe += 1;
                continue;
            }
            let place = table.place(hash.home, probe);
            // Before the words are read: what is handed over after that would look as if nothing was there.
            if table.waits(place) {
                self.hand_over(table, place, false);
                continue;
            }
            let bucket = table.bucket(place);
            // Acquire pairs with the release that published the entry, and with that the chunk its slot is in.
            let words: [u64; WORDS] = core::array::from_fn(|index| bucket[index].load(Ordering::Acquire));
            let mut matching = 0_u32;
            for (index, &word) in words.iter().enumerate() {
                matching |= u32::from(hash.matches(word)) << index;
            }
            let mut changed = false;
            while matching != 0 {
                let index = matching.trailing_zeros() as usize;
                matching &= matching - 1;
                let word = words[index];
                let handle = handle_of(word);
                let slot = self.slab.slot(handle);
                hazard.announce(slot.address());
                // Acquire pairs with the release that published the entry.
                if (bucket[index].load(Ordering::Acquire) ^ word) & !CARRY != 0 {
                    changed = true;
                    break;
                }
                // SAFETY: announced, and in the index after that.
                let pair = unsafe { self.slab.pair(handle) };
                if pair.0.borrow() == key {
                    let word = word & !CARRY;
                    return Some(Found { handle, word, place, index, probe, slot, pair, hazard });
                }
            }
            if changed {
                continue;
            }
            if words.iter().any(|word| word & FROZEN != 0) {
                self.hand_over(table, place, true);
                continue;
            }
            if words[0] & CARRY == 0 {
                break;
            }
            probe += 1;
        }
        None
    }

    /// Makes a bucket usable: its parent is handed over to it, or, if it is `frozen` itself, it is to its heirs.
    #[cold]
    fn hand_over(&self, table: &Table, place: usize, frozen: bool) {
        let hazard = Hazard::new();
        let home = |handle| self.slab.slot(handle).home();
        if frozen {
            // The newest table need not be the direct successor: but then this bucket was handed over long ago.
            let newest = self.table(&hazard);
            let other = Hazard::new();
            if let Some(previous) = Self::announced(&newest.previous, &other)
                && ptr::eq(previous, table)
            {
                newest.hand_over(table, place, home);
            }
        } else if let Some(previous) = Self::announced(&table.previous, &hazard) {
            table.hand_over(previous, place / 2, home);
        }
    }

    /// What else is known of an entry that was found.
    pub(crate) fn extra<'f>(&'f self, found: &'f Found<'_, K, V>) -> Option<&'f Extra> {
        let is_marked = found.slot.kind.load(Ordering::Relaxed) & kind::EXTRA != 0;
        // SAFETY: an entry that was found stays occupied, and is marked.
        is_marked.then(|| unsafe { self.slab.extra(found.handle) })
    }

    /// Swaps an entry that was found for one that the caller has written. False if it is not there any more.
    pub(crate) fn replace(&self, found: &Found<'_, K, V>, hash: Hash, handle: u32) -> bool {
        self.exchange(found, hash.word(handle))
    }

    /// Takes an entry out that was found. False if it is not there any more. The caller must retire it.
    pub(crate) fn remove(&self, found: &Found<'_, K, V>) -> bool {
        self.evict(found, 0)
    }

    /// The same, and leaves this ghost behind.
    pub(crate) fn evict(&self, found: &Found<'_, K, V>, ghost: u32) -> bool {
        let removed = self.exchange(found, vacated(found.word, ghost));
        if removed {
            let table = self.table(&found.hazard);
            self.count_out(table, found.slot.home(), found.probe);
        }
        removed
    }

    fn exchange(&self, found: &Found<'_, K, V>, new: u64) -> bool {
        loop {
            let table = self.table(&found.hazard);
            let bucket = table.bucket(found.place);
            if table.waits(found.place) {
                return false;
            }
            let current = bucket[found.index].load(Ordering::Relaxed);
            // Another table has another entry here or none; if it has the same, that is as well.
            if current & !CARRY != found.word {
                return false;
            }
            // Release publishes the new entry; acquire, since we own the old one now. It fails if the word
            // changed, or if the count beside it did.
            let new = new | current & CARRY;
            if bucket[found.index].compare_exchange(current, new, Ordering::SeqCst, Ordering::Relaxed).is_ok()
            {
                return true;
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

    /// Finds the word of a slot that should be evicted. None if it is not in the index.
    pub(crate) fn find_slot(&self, handle: u32) -> Option<Found<'_, K, V>> {
        let hazard = Hazard::new();
        let slot = self.slab.slot(handle);
        hazard.announce(slot.address());
        let home = slot.home();
        let mut probe = 0;
        while probe < PROBES {
            let table = self.table(&hazard);
            if table.repeats(home, probe) {
                probe += 1;
                continue;
            }
            let place = table.place(home, probe);
            if table.waits(place) {
                self.hand_over(table, place, false);
                continue;
            }
            // After the announcement, so the entry stays readable.
            let words: [u64; WORDS] =
                core::array::from_fn(|index| table.bucket(place)[index].load(Ordering::SeqCst));
            let is_ours = |word: u64| word & OCCUPIED != 0 && handle_of(word) == handle;
            if let Some(index) = words.iter().position(|&word| is_ours(word)) {
                let word = words[index] & !CARRY;
                if word & FROZEN != 0 {
                    // The table has a successor by now.
                    self.hand_over(table, place, true);
                    continue;
                }
                if word & TENTATIVE != 0 {
                    return None;
                }
                // SAFETY: announced, and in the index after that.
                let pair = unsafe { self.slab.pair(handle) };
                return Some(Found { handle, word, place, index, probe, slot, pair, hazard });
            }
            if words[0] & CARRY == 0 {
                return None;
            }
            probe += 1;
        }
        None
    }

    /// The word of a slot that should be evicted, if it is where nearly all are; see [`find_slot`](Self::find_slot). The
    /// hazard announces the slot.
    #[inline]
    pub(crate) fn word_of<'t>(
        &self,
        table: &'t Table,
        hazard: &Hazard,
        handle: u32,
    ) -> Option<(&'t AtomicU64, u64)> {
        if table.has_previous() {
            return None;
        }
        let slot = self.slab.slot(handle);
        hazard.announce(slot.address());
        // After the announcement, so the entry stays in its slot while its word stays.
        let words = words_of(table.bucket(table.place(slot.home(), 0)));
        let mut at = 0;
        for (index, &word) in words.iter().enumerate() {
            let is_it = word & (OCCUPIED | TENTATIVE | FROZEN) == OCCUPIED && handle_of(word) == handle;
            at |= u32::from(is_it) << index;
        }
        let index = at.trailing_zeros() as usize;
        (at != 0).then(|| (&table.bucket(table.place(slot.home(), 0))[index % WORDS], words[index % WORDS]))
    }

    /// Takes an entry out whose word was found, and leaves this ghost. False if it is not there any more.
    #[inline]
    pub(crate) fn evict_word(word: &AtomicU64, seen: u64, ghost: u32) -> bool {
        let new = vacated(seen, ghost) | seen & CARRY;
        // As in `exchange`. It is the first choice: none before it counts the entry.
        word.compare_exchange(seen, new, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// The entry of the key's first bucket that was hit least. None if there is none, or the table grows.
    pub(crate) fn coldest(&self, hash: Hash) -> Option<Found<'_, K, V>> {
        let (place, buckets) = {
            let hazard = Hazard::new();
            let table = self.table(&hazard);
            (table.place(hash.home, 0), table.buckets())
        };
        let entries = (0..WORDS).filter_map(|index| self.entry_at(place, index, buckets).ok().flatten());
        entries.min_by_key(|found| found.slot.frequency.load(Ordering::Relaxed))
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

    /// Doubles the table, unless it is being doubled.
    #[cold]
    pub(crate) fn grow(&self) {
        let hazard = Hazard::new();
        let table = self.table(&hazard);
        if table.has_previous() {
            return;
        }
        let Some(new) = Table::successor(table) else { return };
        let new = Box::into_raw(Box::new(new));
        let old = ptr::from_ref(table).cast_mut();
        // Release publishes the table to the acquire in `announced`.
        if self.root.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // SAFETY: it came from a box just now and nobody else has it.
            drop(unsafe { Box::from_raw(new) });
        }
    }

    /// A part of handing over what is left of an old table.
    #[inline]
    pub(crate) fn help(&self, table: &Table) {
        if table.has_previous() {
            self.help_slowly(table);
        }
    }

    #[cold]
    fn help_slowly(&self, table: &Table) {
        let hazard = Hazard::new();
        let Some(previous) = Self::announced(&table.previous, &hazard) else { return };
        for _ in 0..HAND_OVERS {
            let Some(place) = table.next_to_hand_over(previous) else {
                let old = ptr::from_ref(previous).cast_mut();
                let done = table.previous.compare_exchange(
                    old,
                    ptr::null_mut(),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
                if done.is_ok() {
                    self.retire(old);
                }
                return;
            };
            table.hand_over(previous, place, |handle| self.slab.slot(handle).home());
            table.did_hand_over(place);
        }
    }

    /// Puts a table on the list of those that are gone.
    fn retire(&self, table: *mut Table) {
        let mut head = self.retired.load(Ordering::Relaxed);
        loop {
            // SAFETY: the caller took it out of the index, so it is freed by nobody before it is on the list.
            unsafe { (*table).next_retired.store(head, Ordering::Relaxed) };
            match self.retired.compare_exchange_weak(head, table, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => head = other,
            }
        }
    }

    /// Frees the tables that nobody reads any more.
    pub(crate) fn free_tables(&self) {
        if self.retired.load(Ordering::Relaxed).is_null() {
            return;
        }
        let mut table = self.retired.swap(ptr::null_mut(), Ordering::AcqRel);
        let announced = Announced::tables();
        while !table.is_null() {
            // SAFETY: we took the list, so its tables are ours.
            let next = unsafe { (*table).next_retired.load(Ordering::Relaxed) };
            if announced.as_ref().is_some_and(|announced| !announced.may_contain(table.addr())) {
                // SAFETY: it was retired before the barrier and nobody announces it: nobody reads it any more.
                drop(unsafe { Box::from_raw(table) });
            } else {
                self.retire(table);
            }
            table = next;
        }
    }

    /// Takes our tentative word back.
    fn withdraw(&self, table: &Table, hash: Hash, ours: Position, tentative: u64) -> Settled {
        self.swap_ours(table, hash, ours, tentative, VACANT)
    }

    /// Swaps our tentative word; `Ours` if it was still there.
    fn swap_ours(&self, table: &Table, hash: Hash, ours: Position, tentative: u64, new: u64) -> Settled {
        let place = table.place(hash.home, ours.probe);
        let word = &table.bucket(place)[ours.index];
        loop {
            let current = word.load(Ordering::Relaxed);
            if current & !CARRY == tentative | FROZEN {
                // It stays behind when the bucket is handed over.
                self.hand_over(table, place, true);
                return Settled::Again;
            }
            if current & !CARRY != tentative {
                return Settled::Overtaken;
            }
            let new = new | current & CARRY;
            // It fails if the word changed, or if the count beside it did.
            if word.compare_exchange(current, new, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                return Settled::Ours;
            }
        }
    }
}

impl<K: Eq, V> Index<K, V> {
    /// Puts in an entry that the caller has written into the slot of `handle`.
    pub(crate) fn insert(&self, hash: Hash, handle: u32) -> Inserted {
        // SAFETY: the caller has written it and not published it; after the insert it is not looked at any more.
        let key = unsafe { &self.slab.pair(handle).0 };
        loop {
            match self.insert_new(hash, handle) {
                Attempt::Inserted(ghost) => return Inserted::New(ghost),
                Attempt::Overtaken => return Inserted::Overtaken,
                Attempt::Full => return Inserted::Full,
                Attempt::Again => {}
            }
            if let Some(found) = self.find(hash, key)
                && self.replace(&found, hash, handle)
            {
                return Inserted::Replaced(found.handle);
            }
        }
    }

    /// Puts in an entry if its key is not there. None if it is, or may be by now: who was overtaken by an insert of the
    /// same key has not put in anything that the other did see.
    pub(crate) fn insert_absent(&self, hash: Hash, handle: u32) -> Option<Inserted> {
        match self.insert_new(hash, handle) {
            Attempt::Inserted(ghost) => Some(Inserted::New(ghost)),
            Attempt::Full => Some(Inserted::Full),
            Attempt::Overtaken | Attempt::Again => None,
        }
    }

    fn insert_new(&self, hash: Hash, handle: u32) -> Attempt {
        let hazard = Hazard::new();
        let table = self.table(&hazard);
        if let Some(attempt) = self.insert_quickly(table, hash, handle) {
            return attempt;
        }
        // SAFETY: the caller has written it; until `settle` has removed the mark nobody can take it out but us.
        let key = unsafe { &self.slab.pair(handle).0 };
        let (position, current, ghost) = match self.vacancy(table, hash, key) {
            Vacancy::At(position, word, ghost) => (position, word, ghost),
            Vacancy::Nowhere => return Attempt::Full,
            Vacancy::Again => return Attempt::Again,
        };
        for before in 0..position.probe {
            if table.add_carry(table.place(hash.home, before), false) == Carried::Frozen {
                self.count_out(table, hash.home, before);
                return Attempt::Again;
            }
        }
        let word = &table.bucket(table.place(hash.home, position.probe))[position.index];
        let tentative = hash.word(handle) | TENTATIVE;
        let new = tentative | current & CARRY;
        // Release publishes the entry, to those who compare its key. Another write of this word won if this fails.
        if word.compare_exchange(current, new, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            self.count_out(table, hash.home, position.probe);
            return Attempt::Again;
        }
        after_write();
        let ours = Ours { index: self, table, hash, position, tentative };
        let attempt = self.settle(table, hash, key, position, tentative);
        core::mem::forget(ours);
        if let Settled::Ours = attempt {
            return Attempt::Inserted(ghost);
        }
        self.count_out(table, hash.home, position.probe);
        if let Settled::Overtaken = attempt { Attempt::Overtaken } else { Attempt::Again }
    }

    /// The same where it goes as it nearly always does: the table is not being replaced, the first choice has a vacant word,
    /// and no other word there has the tag. None if it is otherwise; then nothing is done.
    #[inline]
    fn insert_quickly(&self, table: &Table, hash: Hash, handle: u32) -> Option<Attempt> {
        if table.has_previous() {
            return None;
        }
        let bucket = table.bucket(table.place(hash.home, 0));
        let words = words_of(bucket);
        let look = Look::at(&words, hash);
        let index = look.vacancy(hash)?;
        let current = words[index];
        let ghost = if hash.remembers(current) { ghost_of(current) } else { 0 };
        let tentative = hash.word(handle) | TENTATIVE;
        // As in `insert_new`. The word has no count in it, else it would not have looked vacant.
        if bucket[index].compare_exchange(current, tentative, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return Some(Attempt::Again);
        }
        after_write();
        let position = Position { probe: 0, index };
        let ours = Ours { index: self, table, hash, position, tentative };
        let look = Look::at(&words_of(bucket), hash);
        let settled = if look.is_plain && look.same == 1 << index {
            self.swap_ours(table, hash, position, tentative, tentative & !TENTATIVE)
        } else {
            // SAFETY: as in `insert_new`.
            let key = unsafe { &self.slab.pair(handle).0 };
            self.settle(table, hash, key, position, tentative)
        };
        core::mem::forget(ours);
        Some(match settled {
            Settled::Ours => Attempt::Inserted(ghost),
            Settled::Overtaken => Attempt::Overtaken,
            Settled::Again => Attempt::Again,
        })
    }

    /// Looks for a place: that of a tentative entry with the same key before any other; then that of the key's ghost;
    /// then one without a ghost; then that of any.
    fn vacancy(&self, table: &Table, hash: Hash, key: &K) -> Vacancy {
        let mut vacant: Option<(usize, Position, u64)> = None;
        let mut ghost = 0;
        for probe in (0..PROBES).filter(|&probe| !table.repeats(hash.home, probe)) {
            let place = table.place(hash.home, probe);
            if table.waits(place) {
                self.hand_over(table, place, false);
                return Vacancy::Again;
            }
            let bucket = table.bucket(place);
            for (index, word) in bucket.iter().enumerate() {
                let word = word.load(Ordering::SeqCst);
                let position = Position { probe, index };
                if word & FROZEN != 0 {
                    self.hand_over(table, place, true);
                    return Vacancy::Again;
                }
                if word & OCCUPIED == 0 {
                    let worth = if hash.remembers(word) {
                        ghost = ghost_of(word);
                        2 * WORDS
                    } else if ghost_of(word) == 0 {
                        WORDS
                    } else {
                        // Another one for each key, so that no ghost stays for ever.
                        ((hash.want >> 32) as usize + index) % WORDS
                    };
                    if vacant.is_none_or(|(other, at, _)| at.probe == probe && worth > other) {
                        vacant = Some((worth, position, word));
                    }
                } else if hash.matches(word) || hash.matches_tentative(word) {
                    match self.has_key(bucket, index, word, key) {
                        None => return Vacancy::Again,
                        Some(true) if hash.matches(word) => return Vacancy::Again,
                        Some(true) => return Vacancy::At(position, word, ghost),
                        Some(false) => {}
                    }
                }
            }
            if vacant.is_some() && bucket[0].load(Ordering::SeqCst) & CARRY == 0 {
                break;
            }
        }
        vacant.map_or(Vacancy::Nowhere, |(_, position, word)| Vacancy::At(position, word, ghost))
    }

    /// Whether the entry in a word has this key. None if it is not there any more.
    fn has_key(&self, bucket: &Bucket, index: usize, word: u64, key: &K) -> Option<bool> {
        let hazard = Hazard::new();
        let handle = handle_of(word);
        hazard.announce(self.slab.slot(handle).address());
        if (bucket[index].load(Ordering::SeqCst) ^ word) & !CARRY != 0 {
            return None;
        }
        // SAFETY: announced, and in the index after that. A tentative entry is retired only after its word was
        // taken away, like any other.
        Some(unsafe { self.slab.pair(handle) }.0 == *key)
    }

    /// Removes the mark from our word, if no other entry has the key.
    fn settle(&self, table: &Table, hash: Hash, key: &K, ours: Position, tentative: u64) -> Settled {
        for probe in (0..PROBES).filter(|&probe| !table.repeats(hash.home, probe)) {
            let place = table.place(hash.home, probe);
            if table.waits(place) {
                self.hand_over(table, place, false);
            }
            let bucket = table.bucket(place);
            let mut index = 0;
            while index < WORDS {
                let word = bucket[index].load(Ordering::SeqCst);
                let position = Position { probe, index };
                if word & FROZEN != 0 {
                    // What this bucket says may be outdated in a larger table.
                    return match self.withdraw(table, hash, ours, tentative) {
                        Settled::Ours => Settled::Again,
                        other => other,
                    };
                }
                let is_tentative = hash.matches_tentative(word);
                if position == ours || !(hash.matches(word) || is_tentative) {
                    index += 1;
                    continue;
                }
                match self.has_key(bucket, index, word, key) {
                    Some(false) => index += 1,
                    // It changed: look at it again.
                    None => {}
                    Some(true) if !is_tentative => {
                        return match self.withdraw(table, hash, ours, tentative) {
                            Settled::Ours => Settled::Again,
                            other => other,
                        };
                    }
                    Some(true) if position < ours => {
                        return match self.withdraw(table, hash, ours, tentative) {
                            Settled::Ours => Settled::Overtaken,
                            other => other,
                        };
                    }
                    Some(true) => {
                        let vacant = VACANT | word & CARRY;
                        // Whether this succeeds or not, we look again.
                        let _taken =
                            bucket[index].compare_exchange(word, vacant, Ordering::SeqCst, Ordering::Relaxed);
                    }
                }
            }
            if probe >= ours.probe && bucket[0].load(Ordering::SeqCst) & CARRY == 0 {
                break;
            }
        }
        self.swap_ours(table, hash, ours, tentative, tentative & !TENTATIVE)
    }
}

fn words_of(bucket: &Bucket) -> [u64; WORDS] {
    core::array::from_fn(|index| bucket[index].load(Ordering::SeqCst))
}

/// What a bucket's words say at one look; a bit for each word. Without branches.
struct Look {
    /// Nothing is handed over, and no entry went on from here.
    is_plain: bool,
    /// They hold an entry with the tag, or one is about to be there.
    same: u32,
    /// They remember one.
    ghosts: u32,
    vacant: u32,
}

impl Look {
    #[inline]
    fn at(words: &[u64; WORDS], hash: Hash) -> Self {
        let mut look = Self { is_plain: true, same: 0, ghosts: 0, vacant: 0 };
        let mut all = 0;
        for (index, &word) in words.iter().enumerate() {
            all |= word;
            look.same |= u32::from(hash.matches(word & !TENTATIVE)) << index;
            look.ghosts |= u32::from(hash.matches(word ^ OCCUPIED)) << index;
            look.vacant |= u32::from(word & OCCUPIED == 0) << index;
        }
        look.is_plain = all & (FROZEN | CARRY) == 0;
        look
    }

    /// The word for a new entry: that of its ghost, else another one for each key, so that no ghost stays for ever. None
    /// if the case is not plain.
    #[inline]
    fn vacancy(&self, hash: Hash) -> Option<usize> {
        if !self.is_plain || self.same != 0 || self.vacant == 0 {
            return None;
        }
        if self.ghosts != 0 {
            return Some(self.ghosts.trailing_zeros() as usize % WORDS);
        }
        let turn = (hash.want >> 32) as u32 % WORDS as u32;
        let turned = self.vacant >> turn | self.vacant << (WORDS as u32 - turn);
        Some((turned.trailing_zeros() + turn) as usize % WORDS)
    }
}

/// A bit for each word of a bucket that holds an entry with this tag. Without branches, which would be mispredicted;
/// the fewer instructions, the more look-ups wait for memory at the same time.
#[inline]
fn matching(bucket: &Bucket, hash: Hash) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    {
        use core::arch::x86_64::{__m128i, _mm_set1_epi32};
        let matching: u32;
        // SAFETY: SSE2 is part of the architecture. The bucket's 64 bytes are aligned to 64, and loads of sixteen aligned
        // bytes are pairs of loads of eight, each as whole as a relaxed one: the processors promise that much.
        // The upper halves of the words, without the count, are compared with the tag.
        unsafe {
            let want: __m128i = _mm_set1_epi32((hash.want >> 32) as i32);
            let mask: __m128i = _mm_set1_epi32((!CARRY >> 32) as i32);
            core::arch::asm!(
                "movdqa {a}, [{bucket}]",
                "shufps {a}, [{bucket} + 16], 0xdd",
                "movdqa {b}, [{bucket} + 32]",
                "shufps {b}, [{bucket} + 48], 0xdd",
                "pand {a}, {mask}",
                "pand {b}, {mask}",
                "pcmpeqd {a}, {want}",
                "pcmpeqd {b}, {want}",
                "packssdw {a}, {b}",
                "packsswb {a}, {a}",
                "pmovmskb {matching:e}, {a}",
                bucket = in(reg) bucket.as_ptr(),
                want = in(xmm_reg) want,
                mask = in(xmm_reg) mask,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                matching = out(reg) matching,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        matching & 0xff
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    {
        let mut matching = 0;
        for (index, word) in bucket.iter().enumerate() {
            matching |= u32::from(hash.matches(word.load(Ordering::Relaxed))) << index;
        }
        matching
    }
}

/// Our tentative word, taken back if a comparison of keys panics.
struct Ours<'i, K, V> {
    index: &'i Index<K, V>,
    table: &'i Table,
    hash: Hash,
    position: Position,
    tentative: u64,
}

impl<K, V> Drop for Ours<'_, K, V> {
    fn drop(&mut self) {
        let _whoever_has_it =
            self.index.swap_ours(self.table, self.hash, self.position, self.tentative, VACANT);
        self.index.count_out(self.table, self.hash.home, self.position.probe);
    }
}

/// Where a new entry can go.
enum Vacancy {
    /// Its word now, and what the key's ghost remembers.
    At(Position, u64, u32),
    Nowhere,
    /// The key is there, or the table is another.
    Again,
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
        // SAFETY: a slot from `bump` is free and ours alone; it is marked below.
        unsafe { index.slab.write(handle, home, key, ()) };
        index.slab.slot(handle).kind.store(crate::memory::kind::SMALL, Ordering::Relaxed);
        index.insert(hash(home, key), handle)
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
