//! The cache: what its users call.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::builder::Builder;
use crate::entry::{EntryOptions, Extra};
use crate::flight::Flights;
use crate::hazard::Hazard;
use crate::index::{Found, Read};
use crate::memory::{Word, kind};
use crate::policy;
use crate::stats::Stats;
use crate::store::{Put, RemovalCause, Store, Terms, Weigher};
use crate::stripe::{Count, Stripe};
use crate::sync::Ordering;
use crate::table::Hash as IndexHash;
use crate::{Timestamp, now};

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

/// What [`compute`](Cache::compute) should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<V> {
    /// Nothing.
    Keep,
    /// Put this value in.
    Put(V),
    /// Take the entry out.
    Remove,
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
    /// while it is written to; this is for who wants the memory back, or the values dropped, now.
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

    /// A copy of the value. Reads the clock only if the entry has a deadline.
    #[inline]
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

    #[inline]
    fn get_with<Q: Hash + Eq + ?Sized>(&self, key: &Q, at: Option<Timestamp>) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        let store = &self.shared.store;
        let hash = store.hash(key);
        let Some((hazard, number)) = Hazard::first() else {
            return self.look_up(Hazard::new(), hash, key, at).map(|found| found.value().clone());
        };
        let read = store.index.read(hazard, hash, key, |slot, value| {
            let is_plain = slot.kind.load(Ordering::Relaxed) & (kind::DEADLINE | kind::TAGGED) == 0;
            is_plain.then(|| {
                policy::hit(slot);
                value.clone()
            })
        });
        match read {
            Read::Found(Some(value)) => {
                store.stripes.of(number).count(Count::Hits, 1);
                Some(value)
            }
            Read::Absent => {
                store.stripes.of(number).count(Count::Misses, 1);
                None
            }
            Read::Found(None) => {
                self.look_up(Hazard::new(), hash, key, at).map(|found| found.value().clone())
            }
            Read::Unclear(hazard) => self.look_up(hazard, hash, key, at).map(|found| found.value().clone()),
        }
    }

    /// The value by reference, without copying it. The entry's memory is kept while the reference lives, and counts
    /// against the capacity even if the entry goes, so hold it briefly.
    pub fn get_ref<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<Ref<'_, K, V>>
    where
        K: Borrow<Q>,
    {
        self.look_up(Hazard::new(), self.shared.store.hash(key), key, None).map(|found| Ref { found })
    }

    /// A look-up that counts, for the policy and for the statistics.
    #[inline(never)]
    fn look_up<Q: Hash + Eq + ?Sized>(
        &self,
        hazard: Hazard,
        hash: IndexHash,
        key: &Q,
        at: Option<Timestamp>,
    ) -> Option<Found<'_, K, V>>
    where
        K: Borrow<Q>,
    {
        let found = self.shared.live(self.shared.store.index.find_slowly(hazard, hash, key), at);
        let own = self.shared.store.stripes.own();
        match &found {
            Some(found) => {
                policy::hit(found.slot);
                self.shared.touch(found, at);
                own.count(Count::Hits, 1);
            }
            None => own.count(Count::Misses, 1),
        }
        found
    }

    /// Whether a live entry has this key; counts as no look-up.
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.shared.find(key, None).is_some()
    }

    /// A copy of the value, unseen by the policy and the statistics.
    pub fn peek<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.shared.find(key, None).map(|found| found.value().clone())
    }

    /// A [`get`](Self::get) for each key, in their order.
    pub fn get_many<'q, Q: Hash + Eq + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
    ) -> Vec<Option<V>>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        keys.into_iter().map(|key| self.get(key)).collect()
    }

    /// A [`get`](Self::get) that serves an old value while a new one is fetched: past the entry's
    /// [`refresh_after`](EntryOptions::refresh_after), the first caller has `refresh` called, which should see to it that
    /// the entry is inserted anew, in its own time. Nobody else is told until then.
    pub fn get_or_refresh<Q: Hash + Eq + ?Sized>(&self, key: &Q, refresh: impl FnOnce(&K)) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        let found = self.look_up(Hazard::new(), self.shared.store.hash(key), key, None)?;
        let due = self.shared.store.index.extra(&found).filter(|extra| extra.refresh_at.is_some());
        if due.is_some_and(|extra| extra.claims_refresh(self.shared.store.now(None))) {
            refresh(found.key());
        }
        Some(found.value().clone())
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

    /// Looks at an entry and changes it, atomically: what `decide` saw is what is there when its decision takes effect.
    /// If another thread was faster, `decide` is asked again. Says whether something changed.
    ///
    /// Of two that put the same absent key in at one time, each may make the other look again; a pause of either lets
    /// the other through.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn compute(
        &self,
        key: K,
        mut decide: impl FnMut(Option<&V>) -> Change<V>,
    ) -> Result<bool, Refused<K, V>>
    where
        K: Clone,
    {
        let store = &self.shared.store;
        let own = store.stripes.own();
        let hash = store.hash(&key);
        loop {
            let mut found = self.shared.find(&key, None);
            match decide(found.as_ref().map(Found::value)) {
                Change::Keep => return Ok(false),
                Change::Remove => match found {
                    Some(found) if !store.remove_found(own, &found, RemovalCause::Explicit) => {}
                    found => return Ok(found.is_some()),
                },
                Change::Put(value) => {
                    let terms = self.shared.terms(&key, &value, EntryOptions::default(), None);
                    let (weight, capacity) = (terms.weight, self.capacity());
                    let mut has_room = weight <= capacity && store.reserve(own, weight, None);
                    if !has_room && weight <= capacity && found.is_some() {
                        // What we look at may be what has to go.
                        drop(found.take());
                        has_room = store.reserve(own, weight, None);
                        if has_room {
                            store.give_back(own.stripe, weight);
                            continue;
                        }
                    }
                    if !has_room {
                        own.count(Count::Refused, 1);
                        return Err(Refused { key, value, weight, capacity });
                    }
                    match store.put(own, hash, (key.clone(), value), terms, found.as_ref()) {
                        Put::Done => {
                            drop(found);
                            store.refill(own, None);
                            return Ok(true);
                        }
                        Put::Changed => {}
                        Put::Back(key, value) => {
                            store.give_back(own.stripe, weight);
                            own.count(Count::Refused, 1);
                            return Err(Refused { key, value, weight, capacity });
                        }
                    }
                }
            }
        }
    }

    /// Every live entry, in no order. Entries that come meanwhile may be missed; none comes twice.
    pub fn iter(&self) -> impl Iterator<Item = Ref<'_, K, V>> {
        let store = &self.shared.store;
        let now = store.now(None);
        let found = store.index.walk().filter(move |found| store.fault(found, Some(now)).is_none());
        found.map(|found| Ref { found })
    }

    /// Takes out every entry for which `keep` does not hold, and says how many that were.
    pub fn retain(&self, keep: impl Fn(&K, &V) -> bool) -> usize {
        self.invalidate_if(|key, value| !keep(key, value))
    }

    /// Takes an entry in, with the builder's weigher and lifetime, and evicts others until it fits.
    ///
    /// # Errors
    /// [`Refused`] hands it back if it weighs more than the capacity, or if the room can't be had because readers hold
    /// what is gone, or other inserts what is reserved.
    pub fn insert(&self, key: K, value: V) -> Result<(), Refused<K, V>> {
        self.insert_entry_with(key, value, EntryOptions::default(), None)
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
        let (weight, capacity) = (terms.weight, self.capacity());
        if weight == 1
            && capacity > 0
            && let Some(handle) = shared.store.reuse(own)
        {
            shared.store.insert_into(own, handle, hash, key, value, terms);
            shared.store.refill(own, at);
            return Ok(());
        }
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

    /// Takes the entry out and returns a copy of its value, if it was live.
    pub fn remove<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        let store = &self.shared.store;
        let own = store.stripes.own();
        let hash = store.hash(key);
        loop {
            let found = store.index.find(hash, key)?;
            let fault = store.fault(&found, None);
            if store.remove_found(own, &found, fault.unwrap_or(RemovalCause::Explicit)) {
                let value = fault.is_none().then(|| found.value().clone());
                drop(found);
                store.settle_removal(own);
                return value;
            }
        }
    }

    /// Takes out every entry for which `goes` holds, and says how many that were. One look at each entry; those
    /// that come meanwhile may be missed. A predicate that panics leaves the rest as it was.
    pub fn invalidate_if(&self, goes: impl Fn(&K, &V) -> bool) -> usize {
        self.sweep(|found| goes(found.key(), found.value()))
    }

    /// Makes every entry with this tag void, whatever their number, in a few steps: from now on none of them is found.
    /// The memory comes back, and the listener is told, when one is met: by a look-up, by the hand that makes room, or by
    /// the inserts that follow, each of which looks at a few more entries. Until then they count in
    /// [`len`](Self::len) and [`weight`](Self::weight).
    ///
    /// The cache remembers a thousand invalidated tags; once in so many, an invalidation looks at all entries.
    pub fn invalidate_tag(&self, tag: u64) {
        self.shared.store.invalidate_tag(tag);
    }

    /// Takes out every entry with this tag at once, and says how many that were. One look at each entry of the cache;
    /// [`invalidate_tag`](Self::invalidate_tag) needs none.
    pub fn remove_tag(&self, tag: u64) -> usize {
        let has_tag = |found: &Found<'_, K, V>| {
            self.shared.store.index.extra(found).is_some_and(|extra| extra.tags.contains(&tag))
        };
        self.sweep(has_tag)
    }

    /// Takes out every entry, and says how many that were.
    pub fn invalidate_all(&self) -> usize {
        self.sweep(|_| true)
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

    fn sweep(&self, goes: impl Fn(&Found<'_, K, V>) -> bool) -> usize {
        let store = &self.shared.store;
        let own = store.stripes.own();
        let mut gone = 0;
        for found in store.index.walk() {
            if goes(&found) && store.remove_found(own, &found, RemovalCause::Explicit) {
                gone += 1;
                drop(found);
                store.settle_removal(own);
            }
        }
        gone
    }
}

impl<K: Hash + Eq, V> Shared<K, V> {
    /// The live entry with this key.
    #[inline]
    fn find<Q: Hash + Eq + ?Sized>(&self, key: &Q, at: Option<Timestamp>) -> Option<Found<'_, K, V>>
    where
        K: Borrow<Q>,
    {
        self.live(self.store.index.find(self.store.hash(key), key), at)
    }

    /// What was found, unless its time is over: then it goes.
    #[inline]
    fn live<'s>(&'s self, found: Option<Found<'s, K, V>>, at: Option<Timestamp>) -> Option<Found<'s, K, V>> {
        let found = found?;
        if let Some(fault) = self.store.fault(&found, at) {
            self.store.remove_found(self.store.stripes.own(), &found, fault);
            return None;
        }
        Some(found)
    }

    /// What an entry comes in with.
    fn terms(&self, key: &K, value: &V, options: EntryOptions, at: Option<Timestamp>) -> Terms {
        let unweighed = if self.overhead.is_some() { 0 } else { 1 };
        let weigh = || self.weigher.as_ref().map_or(unweighed, |weigher| weigher(key, value));
        let weight = options.weight.unwrap_or_else(weigh);
        let lifetime = options.time_to_live.or(self.time_to_live).map(|lifetime| self.shortened(lifetime));
        let idle = options.time_to_idle.or(self.time_to_idle);
        let is_timed = lifetime.is_some() || idle.is_some() || options.refresh_after.is_some();
        if !is_timed && options.tags.is_empty() {
            return Terms { weight: self.counted(weight, None, None), deadline: None, extra: None };
        }
        let now = if is_timed { self.store.now(at) } else { Timestamp::ZERO };
        let after = |time: Option<Duration>| time.map(|time| now.saturating_add(time));
        let (end, idle_end) = (after(lifetime), after(idle));
        let born = self.store.tags.epoch();
        let extra = Extra::new(options.tags.into(), born, idle, end, after(options.refresh_after));
        let extra = extra.is_needed().then(|| Box::new(extra));
        let deadline = end.into_iter().chain(idle_end).min();
        Terms { weight: self.counted(weight, deadline, extra.as_deref()), deadline, extra }
    }

    /// What an entry weighs, with what the cache needs for it if that counts.
    fn counted(&self, weight: u64, deadline: Option<Timestamp>, extra: Option<&Extra>) -> u64 {
        let Some(overhead) = self.overhead else { return weight.max(1) };
        let word = size_of::<u64>() as u64;
        let extra = extra.map_or(0, |extra| word + extra.bytes());
        weight.saturating_add(overhead + deadline.map_or(0, |_| word) + extra)
    }

    fn shortened(&self, lifetime: Duration) -> Duration {
        if self.jitter == 0.0 {
            return lifetime;
        }
        let random =
            self.store.hasher.hash_one(std::ptr::from_ref(&lifetime).addr() as u64 ^ now().as_nanos());
        lifetime.mul_f64(1.0 - self.jitter * (random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

impl<K, V> Shared<K, V> {
    /// A hit on an entry with an idle time puts its end off.
    fn touch(&self, found: &Found<'_, K, V>, at: Option<Timestamp>) {
        if let Some(extra) = self.store.index.extra(found)
            && let Some(idle) = extra.idle
        {
            let idle_end = self.store.now(at).saturating_add(idle);
            let deadline = extra.end.map_or(idle_end, |end| end.min(idle_end));
            let word = self.store.index.slab.word(Word::Deadline, found.handle);
            word.store(deadline.as_nanos(), Ordering::Relaxed);
        }
    }
}

/// A value borrowed from the cache. It stays on its thread.
#[must_use]
pub struct Ref<'c, K, V> {
    found: Found<'c, K, V>,
}

impl<K, V> Ref<'_, K, V> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &K {
        self.found.key()
    }
}

impl<K, V> std::ops::Deref for Ref<'_, K, V> {
    type Target = V;

    #[inline]
    fn deref(&self) -> &V {
        self.found.value()
    }
}

impl<K, V: fmt::Debug> fmt::Debug for Ref<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
