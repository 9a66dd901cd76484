//! The writer's side of a live table.
//!
//! Which prefixes there are stands in a hash table for IPv4: a change reads one place of it, where an ordered map would go
//! down six nodes. What order would be good for, the trie answers: which prefix lies around one that goes. IPv6 has
//! an ordered map, for its trie is laid out from it.
//!
//! Values have numbers here, in the maps and in the trie. A number stays while its value is in use; when the numbers
//! nobody uses outnumber the others, everything is numbered anew.

use core::hash::Hash;
use std::collections::BTreeMap;

use ahash::AHashMap;

use super::super::intern::Interner;
use super::super::patch::{PATCH_WORDS_MAX, PatchedTrie};
use super::super::snapshot::{NOTHING, PrefixSnapshot, Tries};
use super::super::word::Word;
use super::super::{Cuts, Leaf, PrefixTable, Trie, TrieBuilder, VALUES_MAX, key};
use crate::sync::Arc;
use crate::{Family, Prefix};

/// Snapshots that are kept when they are not the newest any more, so that no reader has to free one, and the next copy
/// has where to go. A reader that keeps one for longer frees it itself.
const RETIRED_MAX: usize = 2;
/// Numbers without a value in use that are always put up with.
const IDLE_MIN: usize = 1 << 10;

#[derive(Debug)]
pub(super) struct Writer<V> {
    /// The number of each prefix's value.
    v4_rows: AHashMap<<u32 as Word>::Key, u32>,
    v6_rows: BTreeMap<<u128 as Word>::Key, u32>,
    pub(super) values: Interner<V>,
    /// How many prefixes have each value, by its number less one.
    uses: Vec<u32>,
    /// Numbers whose value no prefix has.
    idle: usize,
    /// `None` if the table is too large to be patched: then it is laid out anew like IPv6.
    v4: Option<PatchedTrie>,
    patch_words_max: usize,
    /// Tries that are laid out whole, as they were when it was last asked for; `None` when prefixes have changed since.
    whole_v4: Option<Trie>,
    whole_v6: Option<Trie>,
    /// All values, as the last snapshot has them.
    shown: std::sync::Arc<[V]>,
    newest: Option<Arc<Tries<V>>>,
    retired: Vec<Arc<Tries<V>>>,
}

impl<V: Clone + Eq + Hash> Writer<V> {
    pub(super) fn new(table: PrefixTable<V>) -> Self {
        Self::within(PATCH_WORDS_MAX, table)
    }

    pub(super) fn within(patch_words_max: usize, table: PrefixTable<V>) -> Self {
        let mut writer = Self {
            v4_rows: AHashMap::new(),
            v6_rows: BTreeMap::new(),
            values: Interner::default(),
            uses: Vec::new(),
            idle: 0,
            v4: None,
            patch_words_max,
            whole_v4: None,
            whole_v6: None,
            shown: std::sync::Arc::new([]),
            newest: None,
            retired: Vec::new(),
        };
        let mut number = |value: V| {
            let number = writer.values.number(&value);
            used(&mut writer.uses, number);
            number
        };
        writer.v4_rows = table.v4.into_iter().map(|(key, value)| (key, number(value))).collect();
        writer.v6_rows = table.v6.into_iter().map(|(key, value)| (key, number(value))).collect();
        writer.lay_out();
        writer
    }

    fn lay_out(&mut self) {
        let trie = TrieBuilder::build_to_patch(&cuts::<u32>(ordered(&self.v4_rows)));
        self.v4 = PatchedTrie::new(trie, self.patch_words_max);
        (self.whole_v4, self.whole_v6) = (None, None);
    }

    /// Sets a prefix's value; the number of the one it had.
    pub(super) fn insert(&mut self, prefix: Prefix, value: &V) -> Option<u32> {
        if self.idle > IDLE_MIN.max(self.uses.len() / 2) || self.uses.len() == VALUES_MAX && self.idle > 0 {
            self.number_anew();
        }
        let number = self.values.number(value);
        if used(&mut self.uses, number) == Use::Again {
            self.idle -= 1;
        }
        let before = match prefix.family() {
            Family::V4 => self.v4_rows.insert(key::<u32>(prefix), number),
            Family::V6 => self.v6_rows.insert(key::<u128>(prefix), number),
        };
        if before != Some(number) {
            self.changed(prefix, Leaf { value: number, length: prefix.length() });
        }
        self.released(before)
    }

    /// Removes a prefix; the number of the value it had.
    pub(super) fn remove(&mut self, prefix: Prefix) -> Option<u32> {
        let before = match prefix.family() {
            Family::V4 => self.v4_rows.remove(&key::<u32>(prefix)),
            Family::V6 => self.v6_rows.remove(&key::<u128>(prefix)),
        };
        if before.is_some() {
            self.changed(prefix, self.around(prefix));
        }
        self.released(before)
    }

    /// All of the prefix that no longer one matches has this leaf now.
    fn changed(&mut self, prefix: Prefix, leaf: Leaf) {
        match (prefix.family(), &mut self.v4) {
            (Family::V6, _) => self.whole_v6 = None,
            (Family::V4, None) => self.whole_v4 = None,
            (Family::V4, Some(trie)) => {
                trie.paint(u32::from_aligned(prefix.first()), prefix.length(), leaf.mark::<u32>());
                if !trie.has_room() {
                    self.v4 = None;
                }
            }
        }
    }

    /// The leaf of the longest prefix around an IPv4 prefix, itself not counted.
    ///
    /// From the inside out: the block beside the prefix, or beside what is around it, is matched by what is around both
    /// if its match is shorter than itself. Else the one around both is looked for by name.
    fn around(&self, prefix: Prefix) -> Leaf {
        let (Some(trie), Family::V4) = (&self.v4, prefix.family()) else {
            return Leaf { value: 0, length: 0 };
        };
        let first = u32::from_aligned(prefix.first());
        for length in (0..prefix.length()).rev() {
            let beside = trie.find(first ^ 1 << (31 - length));
            if beside.length <= length {
                return beside;
            }
            let outer = first & !u32::MAX.checked_shr(length.into()).unwrap_or(0);
            if let Some(&value) = self.v4_rows.get(&outer.key(length)) {
                return Leaf { value, length };
            }
        }
        Leaf { value: 0, length: 0 }
    }

    fn released(&mut self, before: Option<u32>) -> Option<u32> {
        if let Some(number) = before {
            let uses = &mut self.uses[number as usize - 1];
            *uses -= 1;
            self.idle += usize::from(*uses == 0);
        }
        before
    }

    /// Forgets values that are not in use. O(n), after at least as many changes as there are values.
    fn number_anew(&mut self) {
        let mut values = Interner::default();
        let mut uses = Vec::new();
        for number in self.v4_rows.values_mut().chain(self.v6_rows.values_mut()) {
            *number = values.number(self.values.value(*number));
            used(&mut uses, *number);
        }
        (self.values, self.uses, self.idle) = (values, uses, 0);
        self.shown = std::sync::Arc::new([]);
        self.lay_out();
    }

    /// The table as it is now, to be read.
    pub(super) fn snapshot(&mut self) -> PrefixSnapshot<V> {
        if self.shown.len() != self.values.values().len() {
            self.shown = self.values.values().into();
        }
        // Nobody reads a retired snapshot that only we hold.
        let spare = self.retired.iter_mut().position(|tries| Arc::get_mut(tries).is_some());
        let spare = spare.and_then(|index| Arc::try_unwrap(self.retired.swap_remove(index)).ok());
        let mut tries = spare.unwrap_or_else(Tries::empty);
        match &self.v4 {
            Some(trie) => trie.copy_to(&mut tries.v4),
            None => tries.v4.copy_from(whole(&mut self.whole_v4, || cuts::<u32>(ordered(&self.v4_rows)))),
        }
        tries.v6.copy_from(whole(&mut self.whole_v6, || cuts::<u128>(by_value(&self.v6_rows))));
        (tries.values, tries.prefixes) = (std::sync::Arc::clone(&self.shown), self.len());
        let tries = Arc::new(tries);
        self.retired.extend(self.newest.replace(Arc::clone(&tries)));
        if self.retired.len() > RETIRED_MAX {
            self.retired.remove(0);
        }
        PrefixSnapshot::of(tries)
    }
}

impl<V> Writer<V> {
    pub(super) fn exact(&self, prefix: Prefix) -> Option<&V> {
        let number = match prefix.family() {
            Family::V4 => self.v4_rows.get(&key::<u32>(prefix)),
            Family::V6 => self.v6_rows.get(&key::<u128>(prefix)),
        };
        number.map(|&number| self.values.value(number))
    }

    pub(super) fn len(&self) -> usize {
        self.v4_rows.len() + self.v6_rows.len()
    }

    /// All of it, in order.
    pub(super) fn to_table(&self) -> PrefixTable<V>
    where
        V: Clone,
    {
        let value = |number| self.values.value(number).clone();
        PrefixTable {
            v4: ordered(&self.v4_rows).map(|(key, number)| (key, value(number))).collect(),
            v6: by_value(&self.v6_rows).map(|(key, number)| (key, value(number))).collect(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        // A hash table has a byte more for each place, an eighth of which is always free; a node of an ordered map is two
        // thirds full.
        let rows = self.v4_rows.capacity() * 8 / 7 * (size_of::<(u64, u32)>() + 1)
            + self.v6_rows.len() * size_of::<((u128, u8), u32)>() * 3 / 2;
        let tries = [&self.whole_v4, &self.whole_v6].into_iter().flatten().map(Trie::memory_bytes);
        let retired = self.retired.iter().map(|tries| tries.v4.memory_bytes() + tries.v6.memory_bytes());
        rows + self.values.memory_bytes()
            + self.uses.capacity() * size_of::<u32>()
            + self.v4.as_ref().map_or(0, PatchedTrie::memory_bytes)
            + tries.chain(retired).sum::<usize>()
    }
}

/// How a value came into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It is new, or in use already.
    New,
    /// It was known, but nobody had it.
    Again,
}

fn used(uses: &mut Vec<u32>, number: u32) -> Use {
    let index = number as usize - 1;
    if index == uses.len() {
        uses.push(1);
        return Use::New;
    }
    uses[index] += 1;
    if uses[index] == 1 { Use::Again } else { Use::New }
}

fn ordered(rows: &AHashMap<u64, u32>) -> impl Iterator<Item = (u64, u32)> {
    let mut rows: Vec<(u64, u32)> = rows.iter().map(|(&key, &number)| (key, number)).collect();
    rows.sort_unstable();
    rows.into_iter()
}

fn by_value<K: Copy>(rows: &BTreeMap<K, u32>) -> impl Iterator<Item = (K, u32)> {
    rows.iter().map(|(&key, &number)| (key, number))
}

/// Prefixes in order, flattened: each a leaf.
fn cuts<W: Word>(rows: impl Iterator<Item = (W::Key, u32)>) -> Cuts<W> {
    let marks = rows.map(|(key, value)| {
        let (first, length) = W::unkey(key);
        (first, length, Leaf { value, length }.mark::<W>())
    });
    Cuts::flatten(marks, NOTHING)
}

/// The trie of a family that is laid out whole, if prefixes have changed.
fn whole<W: Word>(trie: &mut Option<Trie>, cuts: impl FnOnce() -> Cuts<W>) -> &Trie {
    trie.get_or_insert_with(|| TrieBuilder::build(&cuts()))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    fn prefix(index: u32) -> Prefix {
        Prefix::new(Ipv4Addr::from_bits(index << 14).into(), 12 + (index % 16) as u8).expect("within IPv4")
    }

    /// A table that outgrows what may be patched is laid out whole from then on, and says the same.
    #[test]
    fn a_table_that_is_too_large_to_patch_is_laid_out_whole() {
        let mut small = Writer::within(2_000, PrefixTable::new());
        let mut large = Writer::new(PrefixTable::new());
        assert!(small.v4.is_some());
        for index in 0..3_000 {
            for writer in [&mut small, &mut large] {
                writer.insert(prefix(index), &(index % 9));
                if index % 3 == 0 {
                    writer.remove(prefix(index / 2));
                    writer.insert(prefix(index / 5), &1);
                }
            }
            if index % 500 == 0 {
                let (one, other) = (small.snapshot(), large.snapshot());
                for asked in (0..=index).map(|index| prefix(index).address()) {
                    assert_eq!(one.longest(asked), other.longest(asked), "{asked}");
                }
            }
        }
        assert!(small.v4.is_none() && large.v4.is_some());
        assert_eq!(small.len(), large.len());
        assert!(Writer::within(2_000, large.to_table()).v4.is_none(), "too large from the beginning");
    }
}
