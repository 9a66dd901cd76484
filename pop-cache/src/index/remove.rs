//! Taking entries out, by key or by slot, and putting others in their place.

use super::look::Look;
use super::*;

impl<K, V> Index<K, V> {
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
        slot: &Slot<K, V>,
        handle: u32,
    ) -> Option<(&'t AtomicU64, u64)> {
        if table.has_previous() {
            return None;
        }
        hazard.announce(slot.address());
        // After the announcement, so the entry stays in its slot while its word stays.
        let bucket = table.bucket(table.place(slot.home(), 0));
        let word = &bucket[Look::at(bucket).entry(handle)?];
        let seen = word.load(Ordering::SeqCst);
        // It may have changed since.
        let is_there = seen & (OCCUPIED | TENTATIVE | FROZEN) == OCCUPIED && handle_of(seen) == handle;
        is_there.then_some((word, seen))
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
}
