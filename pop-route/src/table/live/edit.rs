//! What a writer may do to a live table.

use core::fmt;
use core::hash::Hash;
use core::net::IpAddr;

use super::writer::Writer;
use crate::{Prefix, PrefixTable, RangeError, prefixes_of_range};

/// A [`LiveTable`](crate::LiveTable) in a writer's hands. It looks up what the writer has made of it, published or not.
pub struct TableEdit<'a, V> {
    writer: &'a mut Writer<V>,
}

impl<V> fmt::Debug for TableEdit<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableEdit").field("prefixes", &self.len()).finish_non_exhaustive()
    }
}

impl<'a, V> TableEdit<'a, V> {
    pub(super) fn new(writer: &'a mut Writer<V>) -> Self {
        Self { writer }
    }

    /// The value of exactly this prefix.
    #[must_use]
    pub fn exact(&self, prefix: Prefix) -> Option<&V> {
        self.writer.exact(prefix)
    }

    /// The longest prefix around `address`, and its value.
    #[must_use]
    pub fn longest(&self, address: IpAddr) -> Option<(Prefix, &V)> {
        self.covering(Prefix::host(address)).next()
    }

    /// Every prefix that covers `inner`, itself included, the longest first: each length is looked for by itself.
    pub fn covering(&self, inner: Prefix) -> impl Iterator<Item = (Prefix, &V)> {
        core::iter::successors(Some(inner), |prefix| prefix.parent())
            .filter_map(|prefix| Some((prefix, self.exact(prefix)?)))
    }

    /// All of it as it is now. O(n log n).
    #[must_use]
    pub fn to_table(&self) -> PrefixTable<V>
    where
        V: Clone,
    {
        self.writer.to_table()
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writer.len() == 0
    }
}

impl<V: Clone + Eq + Hash> TableEdit<'_, V> {
    /// Sets the value of a prefix and returns what it had. The cost is that of what lies below the prefix in
    /// the trie.
    ///
    /// # Panics
    /// If there were more than [`VALUES_MAX`](crate::VALUES_MAX) distinct values.
    pub fn insert(&mut self, prefix: Prefix, value: V) -> Option<&V> {
        let before = self.writer.insert(prefix, &value);
        before.map(|number| self.writer.values.value(number))
    }

    /// [`insert`](Self::insert) for every address from `first` to `last`: the fewest prefixes that cover them.
    ///
    /// # Errors
    /// [`RangeError`] where the two are of different families, or the last comes before the first.
    pub fn insert_range(&mut self, first: IpAddr, last: IpAddr, value: V) -> Result<(), RangeError> {
        for prefix in prefixes_of_range(first, last)? {
            self.writer.insert(prefix, &value);
        }
        Ok(())
    }

    /// Removes exactly this prefix, and returns what it had. The cost is that of what lies below the prefix in
    /// the trie.
    pub fn remove(&mut self, prefix: Prefix) -> Option<&V> {
        let before = self.writer.remove(prefix);
        before.map(|number| self.writer.values.value(number))
    }
}

impl<V: Clone + Eq + Hash> Extend<(Prefix, V)> for TableEdit<'_, V> {
    fn extend<I: IntoIterator<Item = (Prefix, V)>>(&mut self, entries: I) {
        for (prefix, value) in entries {
            self.writer.insert(prefix, &value);
        }
    }
}
