//! The cache: what its users call.

mod compute;
mod look_up;
mod refused;
mod removal;
mod shared;

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

pub use self::compute::Change;
pub use self::look_up::Ref;
pub use self::refused::Refused;
use crate::Timestamp;
use crate::builder::Builder;
use crate::entry::EntryOptions;
use crate::flight::Flights;
use crate::memory::kind;
use crate::stats::Stats;
use crate::store::{Store, Terms, Weigher};
use crate::stripe::{Count, Own, Stripe};
use crate::sync::Ordering;
use crate::table::Hash as IndexHash;

/// A lock-free cache, bounded by weight.
///
/// A clone is another handle on the same cache. The sum of weights never exceeds the capacity: room is made
/// *before* an entry becomes visible. One entry may take the whole capacity; a heavier one is handed back.
///
/// ```
/// use std::time::Duration;
/// use pop_cache::{Cache, EntryOptions};
///
/// let cache: Cache<String, String> =
///     Cache::builder(1 << 20).weigher(|key: &String, value: &String| (key.len() + value.len()) as u64).build();
/// cache.insert("greeting".into(), "hello".into())?;
/// assert_eq!(cache.get("greeting").as_deref(), Some("hello"));
///
/// let options = EntryOptions::new().time_to_live(Duration::from_secs(60)).tag(7);
/// cache.insert_entry("tagged".into(), "value".into(), options)?;
/// cache.invalidate_tag(7);
/// assert_eq!(cache.get("tagged"), None);
/// # Ok::<(), pop_cache::Refused<String, String>>(())
/// ```
pub struct Cache<K, V> {
    shared: Arc<Shared<K, V>>,
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("capacity", &self.capacity())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

pub(crate) struct Shared<K, V> {
    pub(crate) store: Store<K, V>,
    pub(crate) weigher: Option<Weigher<K, V>>,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) time_to_idle: Option<Duration>,
    /// The part of a lifetime that is random.
    pub(crate) jitter: f64,
    /// What the cache itself needs for an entry, if that counts.
    pub(crate) overhead: Option<u64>,
    pub(crate) flights: Flights<K, V>,
}

impl<K, V> Cache<K, V> {
    pub(crate) fn of(shared: Arc<Shared<K, V>>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Shared<K, V> {
        &self.shared
    }

    /// The most that all entries may weigh together.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.shared.store.weight.capacity()
    }

    /// What all entries weigh now. Together with [`retired_weight`](Self::retired_weight) never above the capacity,
    /// but while a [`resize`](Self::resize) downwards is under way.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.shared.store.visible_weight()
    }

    /// What entries weigh that are out of the cache but not dropped yet: still borrowed by a [`Ref`], or on their
    /// way to make room. It counts against the capacity.
    #[must_use]
    pub fn retired_weight(&self) -> u64 {
        let retired = self.shared.store.stripes.iter().map(Stripe::retired);
        retired.fold(0, u64::saturating_add)
    }

    /// How many entries there are, those included whose time is over and that nobody has met since.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.stats().entries()).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::read(&self.shared.store.stripes)
    }

    /// Takes out what is expired, and drops what is out of the cache and borrowed by nobody. The cache does so by itself
    /// while it is written to; this is for whoever wants the memory back, or the values dropped, now.
    pub fn reclaim(&self) {
        let store = &self.shared.store;
        store.expire_all();
        store.reclaim();
    }
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// Settings for a cache of this capacity, in units of the weigher: entries by default.
    #[must_use]
    pub fn builder(capacity: u64) -> Builder<K, V> {
        Builder::new(capacity)
    }

    /// Keeps the entry from being evicted for room, until [`unpin`](Self::unpin); it can still be replaced, removed, and
    /// expire. False if it is not there. What is pinned takes capacity from the rest: if all is, inserts are refused.
    pub fn pin<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let found = self.shared.find(key, None);
        found.is_some_and(|found| {
            found.slot.kind.fetch_or(kind::PINNED, Ordering::Relaxed);
            true
        })
    }

    /// Lets the entry be evicted again: at once if the capacity was made so small meanwhile. False if it is not there.
    pub fn unpin<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let found = self.shared.find(key, None);
        found.is_some_and(|found| {
            found.slot.kind.fetch_and(!kind::PINNED, Ordering::Relaxed);
            drop(found);
            // What a smaller capacity could not take while it was pinned.
            self.shared.store.shrink();
            true
        })
    }

    /// Every live entry, in no order. Entries that come meanwhile may be missed; none comes twice.
    pub fn iter(&self) -> impl Iterator<Item = Ref<'_, K, V>> {
        let store = &self.shared.store;
        let now = store.now(None);
        let found = store.index.walk().filter(move |found| store.fault(found, Some(now)).is_none());
        found.map(|found| Ref { found })
    }

    /// Takes an entry in, with the builder's weigher and lifetime, and evicts others until it fits.
    ///
    /// # Errors
    /// [`Refused`] hands it back if it weighs more than the capacity, or if the room can't be had because readers hold
    /// what is gone, or other inserts what is reserved.
    pub fn insert(&self, key: K, value: V) -> Result<(), Refused<K, V>> {
        let shared = &*self.shared;
        if shared.time_to_live.is_some() || shared.time_to_idle.is_some() {
            return self.insert_entry_with(key, value, EntryOptions::default(), None);
        }
        let weight = shared.counted(shared.weigh(&key, &value), None, None);
        self.insert_on(key, value, Terms::plain(weight), None)
    }

    /// [`insert`](Self::insert) with what differs for this entry.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_entry(&self, key: K, value: V, options: EntryOptions) -> Result<(), Refused<K, V>> {
        self.insert_entry_with(key, value, options, None)
    }

    /// [`insert_entry`](Self::insert_entry) with the caller's clock.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_entry_at(
        &self,
        key: K,
        value: V,
        options: EntryOptions,
        now: Timestamp,
    ) -> Result<(), Refused<K, V>> {
        self.insert_entry_with(key, value, options, Some(now))
    }

    fn insert_entry_with(
        &self,
        key: K,
        value: V,
        options: EntryOptions,
        at: Option<Timestamp>,
    ) -> Result<(), Refused<K, V>> {
        let terms = self.shared.terms(&key, &value, options, at);
        self.insert_on(key, value, terms, at)
    }

    #[inline]
    pub(crate) fn insert_on(
        &self,
        key: K,
        value: V,
        terms: Terms,
        at: Option<Timestamp>,
    ) -> Result<(), Refused<K, V>> {
        let shared = &*self.shared;
        let own = shared.store.stripes.own();
        let hash = shared.store.hash(&key);
        if terms.weight == 1
            && self.capacity() > 0
            && let Some(handle) = shared.store.reuse(own)
        {
            shared.store.insert_into(own, handle, hash, key, value, terms);
            shared.store.refill(own, at);
            return Ok(());
        }
        self.insert_reserving(own, hash, (key, value), terms, at)
    }

    /// Takes an entry in for which room has to be made.
    #[inline(never)]
    fn insert_reserving(
        &self,
        own: Own<'_>,
        hash: IndexHash,
        (key, value): (K, V),
        terms: Terms,
        at: Option<Timestamp>,
    ) -> Result<(), Refused<K, V>> {
        let shared = &*self.shared;
        let (weight, capacity) = (terms.weight, self.capacity());
        let reserved = weight <= capacity && shared.store.reserve(own, weight, at);
        let refused = if reserved {
            match shared.store.insert(own, hash, key, value, terms) {
                Ok(()) => {
                    shared.store.refill(own, at);
                    return Ok(());
                }
                Err((key, value)) => {
                    shared.store.give_back(own.stripe, weight);
                    Refused { key, value, weight, capacity }
                }
            }
        } else {
            Refused { key, value, weight, capacity }
        };
        own.count(Count::Refused, 1);
        Err(refused)
    }

    /// Calls `visit` with every live entry, in no order. Entries that come meanwhile may be missed.
    pub fn for_each(&self, mut visit: impl FnMut(&K, &V)) {
        self.iter().for_each(|entry| visit(entry.key(), &entry));
    }

    /// Changes the capacity; downwards it evicts until what is left fits.
    pub fn resize(&self, capacity: u64) {
        self.shared.store.weight.resize(capacity);
        self.shared.store.shrink();
    }
}
