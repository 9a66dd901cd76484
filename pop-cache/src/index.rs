//! The index: an array of small sets of atomic pointers, lock-free on every path.
//!
//! ```text
//! get(key)    : the key's set, slots from low to high, first match wins
//! insert(key) : found in slot i   → swap i
//!               not found         → take an empty slot, or the coldest of the set; then look again:
//!                                   of two slots with one key the lower one stays
//! remove(key) : every slot with the key
//! ```
//!
//! Linearisation: a get at the load of the pointer it returns; an insert at the swap, or, if a concurrent insert of
//! the same key stands in a lower slot, just before that one; a remove at its last swap. Progress: a failed
//! compare-and-swap means that another operation on this set succeeded. Reclamation: crossbeam's epochs (Fraser,
//! 2004), so a pointer that was read stays valid while the reader is pinned, and no address is used again under
//! its eyes (no ABA).
#![allow(unsafe_code)]

use crossbeam_epoch::{Atomic, Guard, Owned, Shared};

use crate::entry::Entry;
use crate::sync::Ordering;

/// Slots in a set: one cache line of pointers.
pub(crate) const SLOTS: usize = 8;

#[repr(align(64))]
struct Set<K, V>([Atomic<Entry<K, V>>; SLOTS]);

/// Sets of entries.
pub(crate) struct Index<K, V> {
    sets: Box<[Set<K, V>]>,
}

/// An entry that was taken out, valid while the guard lives.
pub(crate) type Taken<'g, K, V> = &'g Entry<K, V>;

/// What a slot holds: the pointer, to swap it, and the entry behind it.
type Loaded<'g, K, V> = (Shared<'g, Entry<K, V>>, Option<&'g Entry<K, V>>);

/// Where a new entry goes.
struct Choice<'g, K, V> {
    place: usize,
    current: Shared<'g, Entry<K, V>>,
    same_key: bool,
}

impl<K: 'static, V: 'static> Index<K, V> {
    /// Room for `entries` at three quarters full, at least one set.
    pub(crate) fn new(entries: usize) -> Self {
        let sets = (entries.saturating_add(entries / 3) / SLOTS + 1).next_power_of_two();
        Self { sets: (0..sets).map(|_| Set(std::array::from_fn(|_| Atomic::null()))).collect() }
    }

    pub(crate) fn slots(&self) -> usize {
        self.sets.len() * SLOTS
    }

    fn set(&self, hash: u64) -> &Set<K, V> {
        // The number of sets is a power of two: the mask keeps the index in bounds.
        &self.sets[hash as usize & (self.sets.len() - 1)]
    }

    fn load<'g>(slot: &Atomic<Entry<K, V>>, guard: &'g Guard) -> Loaded<'g, K, V> {
        // Acquire: pairs with the release of the swap that published the entry, so its fields are visible.
        let shared = slot.load(Ordering::Acquire, guard);
        // SAFETY: a pointer in a slot is either null or came from `Owned`, and whoever took it out deferred its
        // destruction past every guard that was pinned by then, ours included.
        (shared, unsafe { shared.as_ref() })
    }

    /// The entry for which `is_key` holds.
    pub(crate) fn get<'g>(
        &self,
        hash: u64,
        is_key: impl Fn(&K) -> bool,
        guard: &'g Guard,
    ) -> Option<&'g Entry<K, V>> {
        self.set(hash).0.iter().find_map(|slot| {
            let (_, entry) = Self::load(slot, guard);
            entry.filter(|entry| entry.hash == hash && is_key(&entry.key))
        })
    }

    /// Places an entry; calls `taken` with whatever had to go for it. True if that was the same key.
    pub(crate) fn insert(
        &self,
        entry: Entry<K, V>,
        guard: &Guard,
        mut taken: impl FnMut(Taken<'_, K, V>, bool),
    ) -> bool
    where
        K: Eq,
    {
        let set = self.set(entry.hash);
        let mut owned = Owned::new(entry);
        let (mine, place, replaced) = loop {
            let Choice { place, current, same_key } = Self::choose(set, &owned, guard);
            // Release publishes the entry to the acquire in `load`; the failure value is only looked at again.
            match set.0[place].compare_exchange(current, owned, Ordering::AcqRel, Ordering::Acquire, guard) {
                Ok(mine) => {
                    // SAFETY: as in `load`; we took it out just now.
                    if let Some(old) = unsafe { current.as_ref() } {
                        taken(old, same_key);
                        // SAFETY: it is out of its slot and no other slot holds it; destroyed after all guards.
                        unsafe { guard.defer_destroy(current) };
                    }
                    break (mine, place, same_key);
                }
                Err(lost) => owned = lost.new,
            }
        };
        // SAFETY: we are pinned since before it was published.
        let entry = unsafe { mine.deref() };
        self.settle(set, entry, mine, place, guard, &mut taken);
        replaced
    }

    /// The slot with the same key, else an empty one, else the coldest.
    fn choose<'g>(set: &Set<K, V>, new: &Entry<K, V>, guard: &'g Guard) -> Choice<'g, K, V>
    where
        K: Eq,
    {
        let mut best = Choice { place: 0, current: Shared::null(), same_key: false };
        let mut least = u32::MAX;
        for (place, slot) in set.0.iter().enumerate() {
            let (current, entry) = Self::load(slot, guard);
            let heat = match entry {
                Some(entry) if entry.hash == new.hash && entry.key == new.key => {
                    return Choice { place, current, same_key: true };
                }
                Some(entry) => 1 + u32::from(entry.heat()),
                None => 0,
            };
            if heat < least {
                least = heat;
                best = Choice { place, current, same_key: false };
            }
        }
        best
    }

    /// Two inserts of one key may have taken two slots. Each looks once more; the higher slot goes.
    fn settle(
        &self,
        set: &Set<K, V>,
        entry: &Entry<K, V>,
        mine: Shared<'_, Entry<K, V>>,
        place: usize,
        guard: &Guard,
        taken: &mut impl FnMut(Taken<'_, K, V>, bool),
    ) where
        K: Eq,
    {
        let mut seen_lower = false;
        for (index, slot) in set.0.iter().enumerate() {
            let (shared, other) = Self::load(slot, guard);
            let twin = other.is_some_and(|other| {
                !std::ptr::eq(other, entry) && other.hash == entry.hash && other.key == entry.key
            });
            if twin && index < place {
                seen_lower = true;
            } else if twin {
                Self::take(slot, shared, guard, |old| taken(old, true));
            }
        }
        if seen_lower {
            Self::take(&set.0[place], mine, guard, |old| taken(old, true));
        }
    }

    fn take<'g>(
        slot: &Atomic<Entry<K, V>>,
        shared: Shared<'g, Entry<K, V>>,
        guard: &'g Guard,
        taken: impl FnOnce(&'g Entry<K, V>),
    ) -> bool {
        if slot.compare_exchange(shared, Shared::null(), Ordering::AcqRel, Ordering::Relaxed, guard).is_err()
        {
            return false;
        }
        // SAFETY: `shared` was loaded from the slot under this guard and is not null: callers saw an entry in it.
        taken(unsafe { shared.deref() });
        // SAFETY: it is out of its slot and no other slot holds it; destroyed after all guards.
        unsafe { guard.defer_destroy(shared) };
        true
    }

    /// Takes out every slot with the key.
    pub(crate) fn remove<'g>(
        &self,
        hash: u64,
        is_key: impl Fn(&K) -> bool,
        guard: &'g Guard,
        mut taken: impl FnMut(Taken<'g, K, V>),
    ) {
        for slot in &self.set(hash).0 {
            loop {
                let (shared, entry) = Self::load(slot, guard);
                if !entry.is_some_and(|entry| entry.hash == hash && is_key(&entry.key)) {
                    break;
                }
                if Self::take(slot, shared, guard, &mut taken) {
                    break;
                }
            }
        }
    }

    /// Looks at slot `position` (modulo their number), and takes its entry out if `goes` says so.
    pub(crate) fn visit<'g>(
        &self,
        position: usize,
        guard: &'g Guard,
        goes: impl FnOnce(&'g Entry<K, V>) -> bool,
        taken: impl FnOnce(Taken<'g, K, V>),
    ) -> bool {
        let position = position & (self.slots() - 1);
        let slot = &self.sets[position / SLOTS].0[position % SLOTS];
        let (shared, entry) = Self::load(slot, guard);
        entry.is_some_and(goes) && Self::take(slot, shared, guard, taken)
    }
}

impl<K, V> Drop for Index<K, V> {
    fn drop(&mut self) {
        for slot in self.sets.iter_mut().flat_map(|set| &mut set.0) {
            let slot = std::mem::replace(slot, Atomic::null());
            // SAFETY: `&mut self` says that nobody else reads the slots; entries that were taken out earlier are
            // not in any slot, so each is destroyed once.
            drop(unsafe { slot.try_into_owned() });
        }
    }
}
