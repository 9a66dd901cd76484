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
        let by_weight = if self.weigher.is_none() { self.capacity } else { ENTRIES_UNKNOWN };
        let expected = self.expected.map_or(by_weight, |expected| expected as u64);
        let at_once = (FIRST_BYTES_MAX / size_of::<Slot<K, V>>()) as u64;
        let expected = expected.min(self.entries_max.unwrap_or(u64::MAX)).min(Room::MAX).min(at_once);
        let expected = u32::try_from(expected).unwrap_or(u32::MAX);
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
            flights: Flights::new(self.error_lifetime),
        }))
    }
}
