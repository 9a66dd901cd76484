//! What belongs to names: zones to their origins, hooks to theirs.

use std::fmt;

use crate::LABELS_MAX;
use crate::name::LowerName;
use crate::zone::{hash_key, hash_suffix};

/// A small table from names to things. The hash is that of the zones' tables, so that one pass over a question serves
/// all of them.
#[derive(Clone)]
pub(super) struct Names<T> {
    /// Hash and number plus one; a power of two, at least twice as many as things.
    slots: Box<[(u64, u32)]>,
    things: Vec<(Box<[u8]>, T)>,
    /// A bit for each number of labels that a name here has, the root's the lowest: what else is asked for is not here.
    depths: u128,
}

// A name of the most labels has a bit.
const _: () = assert!(LABELS_MAX < 128);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { slots: Box::new([(0, 0); 2]), things: Vec::new(), depths: 0 }
    }
}

impl<T> Names<T> {
    /// Lets `thing` belong to a name in lower-case wire format, in place of what belonged to it.
    pub(super) fn insert(&mut self, name: &[u8], thing: T) {
        let (hash, labels) = hash_of(name);
        if let Some(number) = self.number(hash, name) {
            self.things[number].1 = thing;
            return;
        }
        self.things.push((name.into(), thing));
        self.depths |= 1 << labels;
        if self.things.len() * 2 > self.slots.len() {
            self.index();
        } else {
            self.place(hash, self.things.len());
        }
    }

    /// Takes away what belongs to a name.
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<T> {
        let number = self.number(hash_of(name).0, name)?;
        let (_, thing) = self.things.swap_remove(number);
        self.index();
        Some(thing)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.things.iter().map(|(_, thing)| thing)
    }

    /// What belongs to a name with this hash.
    #[inline]
    pub(super) fn get(&self, hash: u64, lower: &[u8]) -> Option<&T> {
        self.number(hash, lower).map(|number| &self.things[number].1)
    }

    #[inline]
    fn number(&self, hash: u64, lower: &[u8]) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let (other, number) = self.slots[index];
            let number = (number as usize).checked_sub(1)?;
            if other == hash && *self.things[number].0 == *lower {
                return Some(number);
            }
            index = (index + 1) & mask;
        }
    }

    /// What belongs to a name of which nothing is known yet.
    pub(super) fn get_by_name(&self, lower: &[u8]) -> Option<&T> {
        let (name, _) = LowerName::parse(lower, 0).ok()?;
        self.get(hash_suffix(&name, name.labels()), lower)
    }

    /// Makes the slots anew, with room for as many things again.
    fn index(&mut self) {
        let slots = (self.things.len() * 4).next_power_of_two().max(2);
        self.slots = vec![(0, 0); slots].into();
        self.depths = 0;
        for number in 0..self.things.len() {
            let (hash, labels) = hash_of(&self.things[number].0);
            self.place(hash, number + 1);
            self.depths |= 1 << labels;
        }
    }

    fn place(&mut self, hash: u64, number: usize) {
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        while self.slots[index].1 != 0 {
            index = (index + 1) & mask;
        }
        self.slots[index] = (hash, number as u32);
    }
}

/// The hash of a name in wire format, and how many labels it has.
fn hash_of(name: &[u8]) -> (u64, usize) {
    // What comes here is in wire format.
    let name = LowerName::parse(name, 0).map_or(LowerName::ROOT, |(name, _)| name);
    (hash_suffix(&name, name.labels()), name.labels())
}

impl<T> Names<T> {
    /// What belongs to the longest suffix of `name`, and the hash of the whole name. With `above`, the name itself
    /// counts only if nothing belongs to what is above it.
    #[inline]
    pub(super) fn longest(&self, name: &LowerName, above: bool) -> (Option<&T>, u64) {
        let key = hash_key();
        let labels = name.labels();
        let mut hash = key.root();
        let mut depths = self.depths;
        let mut best = if depths & 1 == 0 { None } else { self.get(hash, &[0]) };
        for index in (0..labels).rev() {
            hash = key.child(hash, name, index);
            depths >>= 1;
            if depths & 1 == 0 {
                continue;
            }
            let found = self.get(hash, name.suffix(labels - index));
            if found.is_some() && !(above && index == 0 && best.is_some()) {
                best = found;
            }
        }
        (best, hash)
    }
}

impl<T: fmt::Debug> fmt::Debug for Names<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
