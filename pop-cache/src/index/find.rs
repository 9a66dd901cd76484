//! Look-ups: by key, in the first choice or in all of them.

use super::look::Look;
use super::*;

impl<K, V> Index<K, V> {
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
        hazard: Hazard,
        hash: Hash,
        key: &Q,
        read: impl FnOnce(&Slot<K, V>, &V) -> R,
    ) -> Read<R>
    where
        K: Borrow<Q>,
    {
        let table = self.table(&hazard);
        // Before the words are read, as in `find_slowly`.
        let is_newest = !table.has_previous();
        let bucket = table.bucket(table.place(hash.home, 0));
        let look = Look::at(bucket);
        let matching = look.matching(hash);
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
        // No entry has this hash: the first choice says so, from which no entry went on.
        if matching == 0 && is_newest && look.is_plain() && look.same(hash) == 0 {
            return Read::Absent;
        }
        Read::Unclear(hazard)
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

    /// What else is known of an entry that was found.
    pub(crate) fn extra<'f>(&'f self, found: &'f Found<'_, K, V>) -> Option<&'f Extra> {
        let is_marked = found.slot.kind.load(Ordering::Relaxed) & kind::EXTRA != 0;
        // SAFETY: an entry that was found stays occupied, and is marked.
        is_marked.then(|| unsafe { self.slab.extra(found.handle) })
    }
}
