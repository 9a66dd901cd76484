//! Settings of a cache.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Shared};
use crate::flight::Flights;
use crate::memory::Slot;
use crate::room::Room;
use crate::store::{Store, Weigher};

/// Entries that an index is laid out for when nothing better is known.
const ENTRIES_UNKNOWN: u64 = 1024;
/// Slots that are laid out at once, in bytes; further ones come when they are needed.
const FIRST_BYTES_MAX: usize = 64 << 20;

/// Settings of a [`Cache`].
pub struct Builder<K, V> {
    capacity: u64,
    expected: Option<usize>,
    entries_max: Option<u64>,
    weigher: Option<Weigher<K, V>>,
    time_to_live: Option<Duration>,
}

impl<K, V> fmt::Debug for Builder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("capacity", &self.capacity)
            .field("expected", &self.expected)
            .field("entries_max", &self.entries_max)
            .field("time_to_live", &self.time_to_live)
            .finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Builder<K, V> {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, expected: None, entries_max: None, weigher: None, time_to_live: None }
    }

    /// How many entries to lay memory out for; by default the capacity if entries are not weighed, else 1,024. More
    /// entries than that are no harm: the index grows while it is used.
    #[must_use]
    pub fn entries(mut self, entries: usize) -> Self {
        self.expected = Some(entries);
        self
    }

    /// A second bound, beside the weight: no more entries than this.
    #[must_use]
    pub fn entries_max(mut self, entries: u64) -> Self {
        self.entries_max = Some(entries);
        self
    }

    /// What an entry weighs; by default 1, and never less. A weigher that panics leaves the cache as it was.
    #[must_use]
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u64 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Box::new(weigher));
        self
    }

    /// How long an entry lives unless it says otherwise; by default for ever.
    #[must_use]
    pub fn time_to_live(mut self, lifetime: Duration) -> Self {
        self.time_to_live = Some(lifetime);
        self
    }

    /// The cache.
    #[must_use]
    pub fn build(self) -> Cache<K, V> {
        let by_weight = if self.weigher.is_none() { self.capacity } else { ENTRIES_UNKNOWN };
        let expected = self.expected.map_or(by_weight, |expected| expected as u64);
        let at_once = (FIRST_BYTES_MAX / size_of::<Slot<K, V>>()) as u64;
        let expected = expected.min(self.entries_max.unwrap_or(u64::MAX)).min(Room::MAX).min(at_once);
        let expected = u32::try_from(expected).unwrap_or(u32::MAX);
        Cache::of(Arc::new(Shared {
            store: Store::new(self.capacity, self.entries_max, expected),
            weigher: self.weigher,
            time_to_live: self.time_to_live,
            flights: Flights::default(),
        }))
    }
}
