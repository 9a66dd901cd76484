//! The protocol of an insert: a tentative word, a look at the rivals, and the end of the mark.

use super::look::Look;
use super::*;

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

/// Where a new entry can go.
enum Vacancy {
    /// Its word now, and what the key's ghost remembers.
    At(Position, u64, u32),
    Nowhere,
    /// The key is there, or the table is another.
    Again,
}

impl<K, V> Index<K, V> {
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
    pub(crate) fn insert(&self, hazard: &Hazard, hash: Hash, handle: u32) -> Inserted {
        // SAFETY: the caller has written it and not published it; after the insert it is not looked at any more.
        let key = unsafe { &self.slab.pair(handle).0 };
        loop {
            match self.insert_new(hazard, hash, handle) {
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
    pub(crate) fn insert_absent(&self, hazard: &Hazard, hash: Hash, handle: u32) -> Option<Inserted> {
        match self.insert_new(hazard, hash, handle) {
            Attempt::Inserted(ghost) => Some(Inserted::New(ghost)),
            Attempt::Full => Some(Inserted::Full),
            Attempt::Overtaken | Attempt::Again => None,
        }
    }

    fn insert_new(&self, hazard: &Hazard, hash: Hash, handle: u32) -> Attempt {
        let table = self.table(hazard);
        match self.insert_quickly(table, hash, handle) {
            Some(attempt) => attempt,
            None => self.insert_slowly(table, hash, handle),
        }
    }

    /// Puts in an entry by any choice, in a table that may be being replaced.
    #[inline(never)]
    fn insert_slowly(&self, table: &Table, hash: Hash, handle: u32) -> Attempt {
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
        let index = Look::at(bucket).vacancy(hash)?;
        let current = bucket[index].load(Ordering::SeqCst);
        if current & (OCCUPIED | FROZEN | CARRY) != 0 {
            return None;
        }
        let ghost = if hash.remembers(current) { ghost_of(current) } else { 0 };
        let tentative = hash.word(handle) | TENTATIVE;
        // As in `insert_new`.
        if bucket[index].compare_exchange(current, tentative, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return Some(Attempt::Again);
        }
        after_write();
        let position = Position { probe: 0, index };
        let ours = Ours { index: self, table, hash, position, tentative };
        let look = Look::at(bucket);
        let settled = if look.is_plain() && look.same(hash) == 1 << index {
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
