//! The cache: a lock-free index under one strict bound.

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use crossbeam_epoch::{self as epoch, Guard};

use crate::entry::{Entry, EntryOptions};
use crate::flight::Flights;
use crate::index::Index;
use crate::stats::{Counters, Stats};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::{Timestamp, now};

/// How many slots one insert may look at for victims, times the slots: twice round cools every entry, three times
/// finds one to evict whatever the others do.
const ROUNDS_MAX: usize = 4;
/// The largest number of entries that the index is laid out for.
const ENTRIES_MAX: usize = 1 << 28;

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
/// assert_eq!(cache.invalidate_tag(7), 1);
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

type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u64 + Send + Sync>;

struct Shared<K, V> {
    index: Index<K, V>,
    hasher: RandomState,
    capacity: AtomicU64,
    /// Reserved weight: of what is visible, and of what is about to be.
    weight: AtomicU64,
    /// Where the search for victims goes on.
    hand: AtomicUsize,
    weigher: Weigher<K, V>,
    time_to_live: Option<Duration>,
    counters: Counters,
    flights: Flights<V>,
}

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

impl<K, V> fmt::Display for Refused<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an entry of weight {} does not fit into a cache of {}", self.weight, self.capacity)
    }
}

impl<K, V> std::error::Error for Refused<K, V> {}

/// Settings of a [`Cache`].
pub struct Builder<K, V> {
    capacity: u64,
    entries: Option<usize>,
    weigher: Weigher<K, V>,
    time_to_live: Option<Duration>,
}

impl<K, V> fmt::Debug for Builder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("capacity", &self.capacity)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Builder<K, V> {
    /// How many entries to lay the index out for; by default the capacity, but at most 65,536. More entries than
    /// that find no place and push each other out; fewer waste eleven bytes each.
    #[must_use]
    pub fn entries(mut self, entries: usize) -> Self {
        self.entries = Some(entries.min(ENTRIES_MAX));
        self
    }

    /// What an entry weighs; by default 1. A weigher that panics leaves the cache as it was.
    #[must_use]
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u64 + Send + Sync + 'static) -> Self {
        self.weigher = Box::new(weigher);
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
        let by_capacity = usize::try_from(self.capacity).unwrap_or(usize::MAX).min(1 << 16);
        let index = Index::new(self.entries.unwrap_or(by_capacity));
        Cache {
            shared: Arc::new(Shared {
                index,
                hasher: RandomState::new(),
                capacity: AtomicU64::new(self.capacity),
                weight: AtomicU64::new(0),
                hand: AtomicUsize::new(0),
                weigher: self.weigher,
                time_to_live: self.time_to_live,
                counters: Counters::default(),
                flights: Flights::default(),
            }),
        }
    }
}

impl<K, V> Cache<K, V> {
    /// The most that all entries may weigh together.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.shared.capacity.load(Ordering::Relaxed)
    }

    /// What all entries weigh now, those included that are about to become visible. Never above the capacity,
    /// but while a [`resize`](Self::resize) downwards is under way.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.shared.weight.load(Ordering::Relaxed)
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.read()
    }
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// Settings for a cache of this capacity, in units of the weigher: entries by default.
    #[must_use]
    pub fn builder(capacity: u64) -> Builder<K, V> {
        Builder { capacity, entries: None, weigher: Box::new(|_, _| 1), time_to_live: None }
    }

    /// A copy of the value. Reads the clock only if the entry has a deadline.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.get_with(key, None)
    }

    /// [`get`](Self::get) with the caller's clock, which must be the one that the entries were inserted by.
    pub fn get_at<Q: Hash + Eq + ?Sized>(&self, key: &Q, now: Timestamp) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.get_with(key, Some(now))
    }

    /// The value by reference, without copying it. The entry's memory is kept while the reference lives, so hold
    /// it briefly.
    pub fn get_ref<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<Ref<'_, K, V>>
    where
        K: Borrow<Q>,
    {
        let hash = self.shared.hasher.hash_one(key);
        let guard = epoch::pin();
        let entry = self.shared.find(hash, key, None, &guard)?;
        entry.warm();
        let entry = std::ptr::from_ref(entry);
        Some(Ref { entry, _guard: guard, cache: std::marker::PhantomData })
    }

    fn get_with<Q: Hash + Eq + ?Sized>(&self, key: &Q, now: Option<Timestamp>) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        let hash = self.shared.hasher.hash_one(key);
        let guard = epoch::pin();
        let found = self.shared.find(hash, key, now, &guard);
        self.shared.counters.looked_up(hash, found.is_some());
        found.map(|entry| {
            entry.warm();
            entry.value.clone()
        })
    }

    /// Whether a live entry has this key; counts as no look-up.
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let hash = self.shared.hasher.hash_one(key);
        self.shared.find(hash, key, None, &epoch::pin()).is_some()
    }

    /// Takes an entry in, with the builder's weigher and lifetime, and evicts others until it fits.
    ///
    /// # Errors
    /// [`Refused`] hands it back if it weighs more than the capacity, or if writers on other threads took the room
    /// that was made for it for too long.
    pub fn insert(&self, key: K, value: V) -> Result<(), Refused<K, V>> {
        self.insert_entry(key, value, EntryOptions::default())
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
        let shared = &*self.shared;
        let weight = options.weight.unwrap_or_else(|| (shared.weigher)(&key, &value));
        let hash = shared.hasher.hash_one(&key);
        let guard = epoch::pin();
        if !shared.reserve(weight, &guard) {
            shared.counters.refused();
            return Err(Refused { key, value, weight, capacity: self.capacity() });
        }
        let lifetime = options.time_to_live.or(shared.time_to_live);
        let deadline = lifetime.map(|lifetime| at.unwrap_or_else(now).saturating_add(lifetime));
        let entry = Entry::new(hash, key, value, weight, deadline, options.tags.into());
        shared.index.insert(entry, &guard, |old, same_key| {
            shared.release(old.weight);
            if same_key { shared.counters.replaced() } else { shared.counters.evicted() }
        });
        shared.counters.inserted();
        Ok(())
    }

    /// Takes the entry out and returns a copy of its value, expired or not.
    pub fn remove<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        let hash = self.shared.hasher.hash_one(key);
        let guard = epoch::pin();
        let mut value = None;
        self.shared.index.remove(
            hash,
            |own| own.borrow() == key,
            &guard,
            |old| {
                self.shared.release(old.weight);
                self.shared.counters.removed();
                value.get_or_insert_with(|| old.value.clone());
            },
        );
        value
    }

    /// Takes out every entry for which `goes` holds, and says how many that were. One look at each slot; entries
    /// that come meanwhile may be missed. A predicate that panics leaves the rest as it was.
    pub fn invalidate_if(&self, goes: impl Fn(&K, &V) -> bool) -> usize {
        self.sweep(|entry| goes(&entry.key, &entry.value))
    }

    /// Takes out every entry with this tag, and says how many that were.
    pub fn invalidate_tag(&self, tag: u64) -> usize {
        self.sweep(|entry| entry.tags.contains(&tag))
    }

    /// Takes out every entry, and says how many that were.
    pub fn invalidate_all(&self) -> usize {
        self.sweep(|_| true)
    }

    /// Calls `visit` with every live entry, in no order. Entries that come meanwhile may be missed.
    pub fn for_each(&self, mut visit: impl FnMut(&K, &V)) {
        let now = now();
        for position in 0..self.shared.index.slots() {
            let look = |entry: &Entry<K, V>| {
                if !entry.is_expired(now) {
                    visit(&entry.key, &entry.value);
                }
                false
            };
            self.shared.index.visit(position, &epoch::pin(), look, |_| ());
        }
    }

    /// How many entries there are, expired ones included. Looks at every slot.
    #[must_use]
    pub fn len(&self) -> usize {
        let mut entries = 0;
        self.for_each(|_, _| entries += 1);
        entries
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes the capacity; downwards it evicts until what is left fits.
    pub fn resize(&self, capacity: u64) {
        self.shared.capacity.store(capacity, Ordering::Relaxed);
        let guard = epoch::pin();
        let rounds = self.shared.index.slots() * ROUNDS_MAX;
        for _ in 0..rounds {
            if self.weight() <= capacity {
                return;
            }
            self.shared.evict_one_step(&guard);
        }
    }

    /// The value, from the cache or from `load`; one load at a time for a key, the others wait for its result. If
    /// the loader panics, the next waiter loads.
    ///
    /// # Errors
    /// The loader's, to everyone who waited for it.
    pub fn get_or_insert_with<E: Clone + Send + Sync + 'static>(
        &self,
        key: K,
        load: impl FnOnce(&K) -> Result<V, E>,
    ) -> Result<V, E>
    where
        V: Clone,
    {
        let hash = self.shared.hasher.hash_one(&key);
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        self.shared.flights.run(hash, || self.get(&key), || load(&key)).inspect(|value| {
            // An entry too heavy for the cache is still the caller's value.
            let _ = self.insert(key, value.clone());
        })
    }

    /// [`get_or_insert_with`](Self::get_or_insert_with) for a future. If the one who loads is cancelled, the next
    /// waiter loads. Runs on any runtime.
    ///
    /// # Errors
    /// The loader's, to everyone who waited for it.
    pub async fn get_or_fetch<E, F>(&self, key: K, fetch: impl FnOnce(&K) -> F) -> Result<V, E>
    where
        V: Clone,
        E: Clone + Send + Sync + 'static,
        F: Future<Output = Result<V, E>>,
    {
        let hash = self.shared.hasher.hash_one(&key);
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let value = self.shared.flights.run_async(hash, || self.get(&key), || fetch(&key)).await?;
        let _ = self.insert(key, value.clone());
        Ok(value)
    }

    fn sweep(&self, goes: impl Fn(&Entry<K, V>) -> bool) -> usize {
        let mut gone = 0;
        for position in 0..self.shared.index.slots() {
            let guard = epoch::pin();
            self.shared.index.visit(position, &guard, &goes, |old| {
                self.shared.release(old.weight);
                self.shared.counters.removed();
                gone += 1;
            });
        }
        gone
    }
}

impl<K: 'static, V: 'static> Shared<K, V> {
    fn find<'g, Q: Eq + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        at: Option<Timestamp>,
        guard: &'g Guard,
    ) -> Option<&'g Entry<K, V>>
    where
        K: Borrow<Q>,
    {
        let entry = self.index.get(hash, |own| own.borrow() == key, guard)?;
        if entry.deadline.is_some() && entry.is_expired(at.unwrap_or_else(now)) {
            return None;
        }
        Some(entry)
    }

    /// Makes room for `weight` and takes it. False if it cannot be had.
    fn reserve(&self, weight: u64, guard: &Guard) -> bool {
        let mut steps = self.index.slots() * ROUNDS_MAX;
        // Relaxed: the sum is all there is to this word, nothing is published by it.
        let mut current = self.weight.load(Ordering::Relaxed);
        loop {
            let capacity = self.capacity.load(Ordering::Relaxed);
            if weight > capacity {
                return false;
            }
            if current > capacity - weight {
                if steps == 0 {
                    return false;
                }
                steps -= 1;
                self.evict_one_step(guard);
                current = self.weight.load(Ordering::Relaxed);
                continue;
            }
            match self.weight.compare_exchange_weak(
                current,
                current + weight,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(other) => current = other,
            }
        }
    }

    fn release(&self, weight: u64) {
        let before = self.weight.fetch_sub(weight, Ordering::Relaxed);
        debug_assert!(before >= weight, "released more than was reserved");
    }

    /// Looks at one slot: an expired or cold entry goes, a warm one cools.
    fn evict_one_step(&self, guard: &Guard) {
        let position = self.hand.fetch_add(1, Ordering::Relaxed);
        let now = now();
        self.index.visit(
            position,
            guard,
            |entry| entry.is_expired(now) || entry.cool(),
            |old| {
                self.release(old.weight);
                if old.is_expired(now) { self.counters.expired() } else { self.counters.evicted() }
            },
        );
    }
}

/// A value borrowed from the cache.
pub struct Ref<'c, K, V> {
    entry: *const Entry<K, V>,
    _guard: Guard,
    cache: std::marker::PhantomData<&'c Cache<K, V>>,
}

impl<K, V> std::ops::Deref for Ref<'_, K, V> {
    type Target = V;

    #[allow(unsafe_code)]
    fn deref(&self) -> &V {
        // SAFETY: the entry was in the index when our guard was pinned, so it is destroyed at the earliest when the
        // guard goes, which it does with us.
        unsafe { &(*self.entry).value }
    }
}

impl<K, V: fmt::Debug> fmt::Debug for Ref<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
