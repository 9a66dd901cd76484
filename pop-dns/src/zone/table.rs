//! From names to nodes: open addressing over the keyed hash of the name, tags in the slots.

use std::sync::OnceLock;

use crate::HashKey;
use crate::name::LowerName;

/// A node's place, and as much of its name's hash as tells most others apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    tag: u32,
    /// Where the node lies; 0 is nowhere.
    at: u32,
}

/// The slots: a quarter more than names, so that a miss looks at three of them on average.
#[derive(Debug)]
pub(super) struct Table {
    slots: Box<[Slot]>,
}

impl Table {
    /// Room for so many names.
    pub(super) fn new(names: usize) -> Self {
        Self { slots: vec![Slot::default(); names + names / 4 + 1].into() }
    }

    /// The first slot of a hash: its upper half as a fraction of the table.
    #[inline]
    fn first(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    /// Notes that a name with this hash lies at `at`.
    pub(super) fn insert(&mut self, hash: u64, at: u32) {
        debug_assert_ne!(at, 0);
        let mut index = self.first(hash);
        while self.slots[index].at != 0 {
            index = if index + 1 == self.slots.len() { 0 } else { index + 1 };
        }
        self.slots[index] = Slot { tag: hash as u32, at };
    }

    /// Where a name with this hash may lie, those first that `is` was not yet asked about.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut index = self.first(hash);
        loop {
            let slot = self.slots[index];
            if slot.at == 0 {
                return None;
            }
            if slot.tag == hash as u32 && is(slot.at as usize) {
                return Some(slot.at as usize);
            }
            index = if index + 1 == self.slots.len() { 0 } else { index + 1 };
        }
    }

    /// Where the first slot of this hash leads, whatever name is there: to be looked at ahead of time.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(super) fn glance(&self, hash: u64) -> usize {
        self.slots[self.first(hash)].at as usize
    }

    /// Octets that it occupies.
    pub(super) fn memory_octets(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

/// The key of all tables of this process. One key for all lets one pass over a name serve every zone; nobody outside
/// can guess it.
pub(crate) fn hash_key() -> &'static HashKey {
    static KEY: OnceLock<HashKey> = OnceLock::new();
    KEY.get_or_init(HashKey::random)
}

/// The hash of the last `labels` labels of a name.
pub(crate) fn hash_suffix(name: &LowerName, labels: usize) -> u64 {
    let (key, all) = (hash_key(), name.labels());
    (all - labels..all).rev().fold(key.root(), |hash, index| key.child(hash, name, index))
}
