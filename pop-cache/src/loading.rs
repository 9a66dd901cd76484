//! The cache in front of a loader: single flight, as its users call it.

use std::borrow::Borrow;
use std::future::Future;
use std::hash::Hash;

use crate::cache::Shared;
use crate::flight::Load;
use crate::stripe::Count;
use crate::{Cache, Timestamp};

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// The value, from the cache or from `load`; one load at a time for a key, the others wait for its result. If
    /// the loader panics, the next waiter loads.
    ///
    /// # Errors
    /// The loader's, to everyone who waited for it, and for as long as the builder's
    /// [`error_time_to_live`](crate::Builder::error_time_to_live) says to whoever asks.
    pub fn get_or_insert_with<E: Clone + Send + Sync + 'static>(
        &self,
        key: K,
        load: impl FnOnce(&K) -> Result<V, E>,
    ) -> Result<V, E>
    where
        K: Clone,
        V: Clone,
    {
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let shared = self.shared();
        let hash = shared.store.hasher.hash_one(&key);
        shared.flights.run(hash, &key, self.flight(&key), || {
            let start = shared.store.now(None);
            shared.loaded(start, load(&key))
        })
    }

    /// [`get_or_insert_with`](Self::get_or_insert_with) for a future. If the one who loads is cancelled, the next
    /// waiter loads. Runs on any runtime.
    ///
    /// # Errors
    /// As [`get_or_insert_with`](Self::get_or_insert_with).
    pub async fn get_or_fetch<E, F>(&self, key: K, fetch: impl FnOnce(&K) -> F) -> Result<V, E>
    where
        K: Clone,
        V: Clone,
        E: Clone + Send + Sync + 'static,
        F: Future<Output = Result<V, E>>,
    {
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let shared = self.shared();
        let hash = shared.store.hasher.hash_one(&key);
        let load = || async {
            let start = shared.store.now(None);
            shared.loaded(start, fetch(&key).await)
        };
        shared.flights.run_async(hash, &key, self.flight(&key), load).await
    }

    /// Forgets the loader's error that is remembered for a key, so that the next who asks loads. False if there is none.
    pub fn forget_error<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q> + Clone,
        V: Clone,
    {
        self.shared().flights.forget(self.shared().store.hasher.hash_one(key), key)
    }

    /// How a load for this key goes.
    fn flight(&self, key: &K) -> Load<impl Fn() -> Option<V>, impl FnOnce(&V), impl Fn() -> Timestamp>
    where
        K: Clone,
        V: Clone,
    {
        Load {
            look: || self.get(key),
            // An entry too heavy for the cache is still the caller's value.
            keep: |value: &V| drop(self.insert(key.clone(), value.clone())),
            now: || self.shared().store.now(None),
        }
    }
}

impl<K, V> Shared<K, V> {
    /// Counts a load that has begun at this time.
    fn loaded<E>(&self, start: Timestamp, result: Result<V, E>) -> Result<V, E> {
        let own = self.store.stripes.own();
        own.count(if result.is_ok() { Count::Loads } else { Count::LoadsFailed }, 1);
        let nanos = self.store.now(None).as_nanos().saturating_sub(start.as_nanos());
        own.count(Count::LoadNanos, nanos);
        result
    }
}
