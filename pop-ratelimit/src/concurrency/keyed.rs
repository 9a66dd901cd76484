//! A bound on what each key has under way.

use core::hash::Hash;
use core::marker::PhantomData;
use std::boxed::Box;
use std::sync::Arc;

use ahash::RandomState;

use crate::sync::{AtomicU32, Ordering};

/// A bound on what each key has under way, in fixed memory.
///
/// A count-min sketch of two rows that can count down: a key is in one counter of each row, and is refused when
/// both are at the limit. So no key ever exceeds it, and a key is refused unjustly only if both its
/// counters are full of others; among `n` busy keys in rows of `m` counters the chance is about `(n / m)²`.
///
/// ```
/// use pop_ratelimit::KeyedConcurrency;
///
/// let connections = KeyedConcurrency::<str>::new(2, 1 << 16);
/// let one = connections.admit("alice").expect("one of two");
/// let two = connections.admit("alice").expect("two of two");
/// assert!(connections.admit("alice").is_none());
/// assert!(connections.admit("bob").is_some());
/// drop(one);
/// assert!(connections.admit("alice").is_some());
/// # drop(two);
/// ```
pub struct KeyedConcurrency<K: ?Sized> {
    limit: u32,
    counters: Box<[AtomicU32]>,
    hasher: RandomState,
    keys: PhantomData<fn(&K)>,
}

impl<K: ?Sized> core::fmt::Debug for KeyedConcurrency<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeyedConcurrency")
            .field("limit", &self.limit)
            .field("counters", &self.counters.len())
            .finish_non_exhaustive()
    }
}

/// One of a key's, under way.
#[derive(Debug)]
#[must_use = "a permit that is dropped has left"]
pub struct KeyedPermit<T: core::ops::Deref<Target = KeyedConcurrency<K>>, K: ?Sized> {
    concurrency: T,
    places: [usize; 2],
}

impl<K: Hash + ?Sized> KeyedConcurrency<K> {
    /// At most `limit` for each key (below 2³¹), in at most `memory_bytes` bytes, at least eight.
    #[must_use]
    pub fn new(limit: u32, memory_bytes: usize) -> Self {
        let counters = (memory_bytes / size_of::<AtomicU32>()).max(2);
        Self {
            // Leaves room for attempts that count up before they find the counter full.
            limit: limit.min(i32::MAX as u32),
            counters: (0..counters).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
            keys: PhantomData,
        }
    }

    /// One more of `key`'s, if its limit allows.
    pub fn admit(&self, key: &K) -> Option<KeyedPermit<&Self, K>> {
        Some(KeyedPermit { places: self.enter(key)?, concurrency: self })
    }

    /// [`admit`](Self::admit) with a permit that can leave the scope.
    pub fn admit_shared(self: &Arc<Self>, key: &K) -> Option<KeyedPermit<Arc<Self>, K>> {
        Some(KeyedPermit { places: self.enter(key)?, concurrency: Arc::clone(self) })
    }

    /// How many of `key`'s are under way at most.
    #[must_use]
    pub fn in_flight(&self, key: &K) -> u32 {
        let counts = self.places(key).map(|place| self.counters[place].load(Ordering::Relaxed));
        counts[0].min(counts[1])
    }

    /// Counts up first and looks then, so that racing attempts refuse each other rather than both pass.
    fn enter(&self, key: &K) -> Option<[usize; 2]> {
        let places = self.places(key);
        // Relaxed: each counter's own order of changes decides who was first.
        let before = places.map(|place| self.counters[place].fetch_add(1, Ordering::Relaxed));
        if before[0].min(before[1]) < self.limit {
            return Some(places);
        }
        self.leave(places);
        None
    }

    /// One counter in each half of the array.
    fn places(&self, key: &K) -> [usize; 2] {
        let hash = self.hasher.hash_one(key);
        let half = self.counters.len() / 2;
        let pick = |hash: u64, many: usize| (((hash & 0xffff_ffff) * many as u64) >> 32) as usize;
        [pick(hash, half), half + pick(hash >> 32, self.counters.len() - half)]
    }
}

impl<K: ?Sized> KeyedConcurrency<K> {
    fn leave(&self, places: [usize; 2]) {
        for place in places {
            let before = self.counters[place].fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before > 0, "more left than came");
        }
    }

    /// The limit of each key.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Bytes of the counters, fixed at construction.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.counters)
    }
}

impl<T: core::ops::Deref<Target = KeyedConcurrency<K>>, K: ?Sized> Drop for KeyedPermit<T, K> {
    fn drop(&mut self) {
        self.concurrency.leave(self.places);
    }
}
