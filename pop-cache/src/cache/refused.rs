//! What is handed back.

use std::fmt;

/// An entry that was not taken in, handed back.
#[derive(Clone, PartialEq, Eq)]
pub struct Refused<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// Its weight.
    pub weight: u64,
    /// The capacity it did not fit into.
    pub capacity: u64,
}

impl<K, V> fmt::Debug for Refused<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("weight", &self.weight)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl<K, V> Refused<K, V> {
    /// Whether it is heavier than the capacity, so that it never fits. Else there was no room for it now: what is there
    /// is pinned, borrowed, or reserved by other inserts.
    #[must_use]
    pub fn is_too_heavy(&self) -> bool {
        self.weight > self.capacity
    }
}

impl<K, V> fmt::Display for Refused<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight, capacity, .. } = self;
        if self.is_too_heavy() {
            write!(f, "an entry of weight {weight} does not fit into a cache of {capacity}")
        } else {
            write!(
                f,
                "no room for an entry of weight {weight}: what fills the cache of {capacity} can't go now"
            )
        }
    }
}

impl<K, V> std::error::Error for Refused<K, V> {}
