//! Look-ups: by copy, by reference, unseen, and with a refresh ahead of the end.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;

use super::Cache;
use crate::Timestamp;
use crate::hazard::Hazard;
use crate::index::{Found, Read};
use crate::memory::kind;
use crate::policy;
use crate::stripe::Count;
use crate::sync::Ordering;
use crate::table::Hash as IndexHash;

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
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
    /// [`refresh_after`](crate::EntryOptions::refresh_after), the first caller has `refresh` called, which should see to it that
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
}

/// A value borrowed from the cache. It stays on its thread.
#[must_use]
pub struct Ref<'c, K, V> {
    pub(super) found: Found<'c, K, V>,
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
