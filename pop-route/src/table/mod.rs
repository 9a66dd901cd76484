//! Longest-prefix match: a table to edit, and snapshots to read.
//!
//! [`PrefixTable`] is the editable form, one ordered map a family. [`PrefixSnapshot`] is what readers use: a
//! compressed trie with direct leading bits that answers in two or three dependent loads. [`ScopedSnapshot`] is the
//! same trie over merged values: it forgets which prefix matched, and knows how wide the answer holds instead.
//! [`LiveTable`] puts a writer and any number of lock-free readers together.

mod builder;
mod intern;
mod live;
mod nodes;
mod packed;
mod patch;
mod ranges;
mod snapshot;
mod trie;
mod word;

use core::net::IpAddr;
use core::ops::Bound;
use std::collections::BTreeMap;

pub(crate) use builder::TrieBuilder;
pub use live::{LiveTable, TableEdit};
pub(crate) use ranges::{Cuts, blocks_of};
pub use ranges::{RangeError, prefixes_of_range};
pub(crate) use snapshot::into_blocks;
pub use snapshot::{PrefixSnapshot, ScopedSnapshot, VALUES_MAX};
pub(crate) use trie::{Leaf, Trie};
pub(crate) use word::Word;
use word::prefix;

use crate::{Family, Prefix};

/// Prefixes with values, to be edited. For many look-ups take a [`snapshot`](Self::snapshot).
///
/// ```
/// use pop_route::PrefixTable;
///
/// let mut table = PrefixTable::new();
/// table.insert("10.0.0.0/8".parse()?, "private");
/// table.insert("10.1.0.0/16".parse()?, "lab");
/// let (prefix, value) = table.longest("10.1.2.3".parse()?).expect("inside both");
/// assert_eq!((prefix.to_string().as_str(), *value), ("10.1.0.0/16", "lab"));
/// assert_eq!(table.covering("10.1.2.0/24".parse()?).count(), 2);
/// assert_eq!(table.remove("10.1.0.0/16".parse()?), Some("lab"));
/// assert_eq!(table.covered("0.0.0.0/0".parse()?).count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrefixTable<V> {
    pub(crate) v4: BTreeMap<<u32 as Word>::Key, V>,
    pub(crate) v6: BTreeMap<<u128 as Word>::Key, V>,
}

impl<V> Default for PrefixTable<V> {
    fn default() -> Self {
        Self { v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<V> PrefixTable<V> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a prefix and returns what it had. O(log n).
    pub fn insert(&mut self, prefix: Prefix, value: V) -> Option<V> {
        match prefix.family() {
            Family::V4 => self.v4.insert(key::<u32>(prefix), value),
            Family::V6 => self.v6.insert(key::<u128>(prefix), value),
        }
    }

    /// Sets the value of every address from `first` to `last`: the fewest prefixes that cover them, and nothing
    /// else. At most 62 insertions for IPv4 and 254 for IPv6.
    ///
    /// # Errors
    /// [`RangeError`] where the two are of different families, or the last comes before the first.
    pub fn insert_range(&mut self, first: IpAddr, last: IpAddr, value: V) -> Result<(), RangeError>
    where
        V: Clone,
    {
        for prefix in prefixes_of_range(first, last)? {
            self.insert(prefix, value.clone());
        }
        Ok(())
    }

    /// Removes exactly this prefix. O(log n).
    pub fn remove(&mut self, prefix: Prefix) -> Option<V> {
        match prefix.family() {
            Family::V4 => self.v4.remove(&key::<u32>(prefix)),
            Family::V6 => self.v6.remove(&key::<u128>(prefix)),
        }
    }

    /// The value of exactly this prefix. O(log n).
    #[must_use]
    pub fn exact(&self, prefix: Prefix) -> Option<&V> {
        match prefix.family() {
            Family::V4 => self.v4.get(&key::<u32>(prefix)),
            Family::V6 => self.v6.get(&key::<u128>(prefix)),
        }
    }

    /// The longest prefix around `address`, and its value. O(log n) for each block that stands between the address
    /// and its match.
    #[must_use]
    pub fn longest(&self, address: IpAddr) -> Option<(Prefix, &V)> {
        self.covering(Prefix::host(address)).next()
    }

    /// Every prefix that covers `inner`, itself included, the longest first.
    pub fn covering(&self, inner: Prefix) -> impl Iterator<Item = (Prefix, &V)> {
        let mut wanted = Some(inner);
        core::iter::from_fn(move || {
            let found = match inner.family() {
                Family::V4 => cover::<u32, V>(&self.v4, wanted?),
                Family::V6 => cover::<u128, V>(&self.v6, wanted?),
            };
            wanted = found.and_then(|(prefix, _)| prefix.parent());
            found
        })
    }

    /// Every prefix inside `outer`, itself included, in address order.
    pub fn covered(&self, outer: Prefix) -> impl Iterator<Item = (Prefix, &V)> {
        fn inside<W: Word, V>(
            map: &BTreeMap<W::Key, V>,
            outer: Prefix,
        ) -> impl Iterator<Item = (Prefix, &V)> {
            let last = W::from_aligned(outer.last()).key(W::BITS);
            let range = (outer.family() == W::FAMILY).then(|| map.range(key::<W>(outer)..=last));
            range.into_iter().flatten().map(entry::<W, V>)
        }
        inside::<u32, V>(&self.v4, outer).chain(inside::<u128, V>(&self.v6, outer))
    }

    /// Every prefix in order: IPv4 first; by first address, a block before what it covers.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &V)> {
        self.v4.iter().map(entry::<u32, V>).chain(self.v6.iter().map(entry::<u128, V>))
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

fn key<W: Word>(prefix: Prefix) -> W::Key {
    W::from_aligned(prefix.first()).key(prefix.length())
}

fn entry<'a, W: Word, V>((key, value): (&W::Key, &'a V)) -> (Prefix, &'a V) {
    let (address, length) = W::unkey(*key);
    (prefix(address, length), value)
}

/// The longest prefix that covers `inner`. The entry before a block in the order either covers it, or shows with its
/// first differing bit how long a covering prefix can be at most: look again before that one.
fn cover<W: Word, V>(map: &BTreeMap<W::Key, V>, inner: Prefix) -> Option<(Prefix, &V)> {
    let mut at_most = inner;
    loop {
        let before = map.range((Bound::Unbounded, Bound::Included(key::<W>(at_most)))).next_back()?;
        let (found, value) = entry::<W, V>(before);
        if found.covers(at_most) {
            return Some((found, value));
        }
        let common = (found.first() ^ at_most.first()).leading_zeros() as u8;
        debug_assert!(common < at_most.length() || found.length() < at_most.length());
        at_most = at_most.truncate(common.min(found.length()));
    }
}

impl<V> FromIterator<(Prefix, V)> for PrefixTable<V> {
    fn from_iter<I: IntoIterator<Item = (Prefix, V)>>(entries: I) -> Self {
        let mut table = Self::new();
        table.extend(entries);
        table
    }
}

impl<V> Extend<(Prefix, V)> for PrefixTable<V> {
    fn extend<I: IntoIterator<Item = (Prefix, V)>>(&mut self, entries: I) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, value) in entries {
            match prefix.family() {
                Family::V4 => v4.push((key::<u32>(prefix), value)),
                Family::V6 => v6.push((key::<u128>(prefix), value)),
            }
        }
        // Into an empty map a whole vector goes at once: sorted, then laid out without searching.
        merge(&mut self.v4, v4);
        merge(&mut self.v6, v6);
    }
}

fn merge<K: Ord, V>(map: &mut BTreeMap<K, V>, entries: Vec<(K, V)>) {
    if map.is_empty() {
        *map = entries.into_iter().collect();
    } else {
        map.extend(entries);
    }
}
