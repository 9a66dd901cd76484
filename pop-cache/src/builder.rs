//! Settings of a cache.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::Timestamp;
use crate::cache::{Cache, Shared};
use crate::flight::Flights;
use crate::memory::Slot;
use crate::room::Room;
use crate::store::{Clock, Listener, RemovalCause, Settings, Store, Weigher};

/// Entries that an index is laid out for when nothing better is known.
const ENTRIES_UNKNOWN: u64 = 1024;
/// Slots that are laid out at once, in bytes; further ones come when they are needed.
const FIRST_BYTES_MAX: usize = 64 << 20;
/// What an entry needs beside its slot, in bytes, at most: of the index 64 / 3 in the one that is being replaced and twice
/// that in its successor, of the window's ring 6 and 12, and a word for its weight.
const BESIDE_THE_SLOT: usize = 64 + 18 + 8;

/// Settings of a [`Cache`].
pub struct Builder<K, V> {
    capacity: u64,
    expected: Option<usize>,
    entries_max: Option<u64>,
    weigher: Option<Weigher<K, V>>,
    listener: Option<Listener<K, V>>,
    time_to_live: Option<Duration>,
    time_to_idle: Option<Duration>,
    jitter: f64,
    error_lifetime: Option<Duration>,
    counts_overhead: bool,
    clock: Option<Clock>,
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
        Self {
            capacity,
            expected: None,
            entries_max: None,
            weigher: None,
            listener: None,
            time_to_live: None,
            time_to_idle: None,
            jitter: 0.0,
            error_lifetime: None,
            counts_overhead: false,
            clock: None,
        }
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

    /// Counts the cache's own bytes as well, so that the capacity bounds all of its memory, in bytes: each entry weighs what
    /// the weigher says and what the cache needs for it, its place for key and value included. So a weigher should count
    /// what key and value own on the heap; without one they own nothing.
    ///
    /// The cache counts 90 bytes an entry beside the place of 8 bytes, key and value: the most that is needed while the
    /// index grows; a deadline 8 more; tags, an idle time or a refresh 8, a box of about a hundred, and 8 a tag. Not
    /// counted are what does not grow with the entries, and for a moment what a thread lays out for a larger index while
    /// another does so too and is faster. What many small entries needed stays with the cache when they make room
    /// for fewer large ones.
    ///
    /// ```
    /// let cache = pop_cache::Cache::builder(10 << 20).weigher(|_: &u64, value: &Vec<u8>| value.capacity() as u64);
    /// let cache = cache.count_overhead().build();
    /// cache.insert(1, vec![0; 1000])?;
    /// assert_eq!(cache.weight(), 1000 + 90 + 8 + 8 + 24);
    /// # Ok::<(), pop_cache::Refused<u64, Vec<u8>>>(())
    /// ```
    #[must_use]
    pub fn count_overhead(mut self) -> Self {
        self.counts_overhead = true;
        self
    }

    /// How long an entry lives unless it says otherwise; by default for ever.
    #[must_use]
    pub fn time_to_live(mut self, lifetime: Duration) -> Self {
        self.time_to_live = Some(lifetime);
        self
    }

    /// How long an entry lives after it was last hit, unless it says otherwise; by default for ever. A hit on such an
    /// entry reads the clock and writes a word beside it.
    #[must_use]
    pub fn time_to_idle(mut self, idle: Duration) -> Self {
        self.time_to_idle = Some(idle);
        self
    }

    /// Shortens each lifetime by a random part of it, at most this fraction (0 to 1; by default 0), so that what came
    /// together does not go together.
    #[must_use]
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.jitter = fraction.clamp(0.0, 1.0);
        self
    }

    /// How long the error of a loader is remembered (*negative caching*): whoever asks for the key meanwhile gets it at
    /// once, unless a value was inserted. By default not at all. About a thousand are remembered at the same time;
    /// what comes beyond is not.
    #[must_use]
    pub fn error_time_to_live(mut self, lifetime: Duration) -> Self {
        self.error_lifetime = Some(lifetime);
        self
    }

    /// What time it is, in the place of [`now`](crate::now): for tests that drive it by hand.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Told of every entry that goes, once, with the cause, on the thread whose operation took it out and after it
    /// is out. It may use the cache; it is not told of what is left when the cache itself is dropped.
    #[must_use]
    pub fn on_removal(mut self, listener: impl Fn(&K, &V, RemovalCause) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// The cache.
    #[must_use]
    pub fn build(self) -> Cache<K, V> {
        let is_count = self.weigher.is_none() && !self.counts_overhead;
        let by_weight = if is_count { self.capacity } else { ENTRIES_UNKNOWN };
        let overhead = (size_of::<Slot<K, V>>() + BESIDE_THE_SLOT) as u64;
        let expected = self.expected.map_or(by_weight, |expected| expected as u64);
        let at_once = (FIRST_BYTES_MAX / size_of::<Slot<K, V>>()) as u64;
        let expected = expected.min(self.entries_max.unwrap_or(u64::MAX)).min(Room::MAX);
        // Of more than that a half, a quarter and so on, so that an index that has doubled is as large as it should be.
        let halvings = (expected / at_once.max(1)).checked_ilog2().map_or(0, |bits| bits + 1);
        let expected = u32::try_from(expected.div_ceil(1 << halvings)).unwrap_or(u32::MAX);
        Cache::of(Arc::new(Shared {
            store: Store::new(Settings {
                capacity: self.capacity,
                entries_max: self.entries_max,
                expected,
                listener: self.listener,
                clock: self.clock,
            }),
            weigher: self.weigher,
            time_to_live: self.time_to_live,
            time_to_idle: self.time_to_idle,
            jitter: self.jitter,
            overhead: self.counts_overhead.then_some(overhead),
            flights: Flights::new(self.error_lifetime),
        }))
    }
}
