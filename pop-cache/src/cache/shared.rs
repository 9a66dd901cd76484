//! What the operations have in common: live entries, and what an entry comes in with.

use std::borrow::Borrow;
use std::hash::Hash;
use std::time::Duration;

use super::Shared;
use crate::entry::{EntryOptions, Extra};
use crate::index::Found;
use crate::memory::Word;
use crate::store::Terms;
use crate::sync::Ordering;
use crate::{Timestamp, now};

impl<K: Hash + Eq, V> Shared<K, V> {
    /// The live entry with this key.
    #[inline]
    pub(super) fn find<Q: Hash + Eq + ?Sized>(
        &self,
        key: &Q,
        at: Option<Timestamp>,
    ) -> Option<Found<'_, K, V>>
    where
        K: Borrow<Q>,
    {
        self.live(self.store.index.find(self.store.hash(key), key), at)
    }

    /// What was found, unless its time is over: then it goes.
    #[inline]
    pub(super) fn live<'s>(
        &'s self,
        found: Option<Found<'s, K, V>>,
        at: Option<Timestamp>,
    ) -> Option<Found<'s, K, V>> {
        let found = found?;
        if let Some(fault) = self.store.fault(&found, at) {
            self.store.remove_found(self.store.stripes.own(), &found, fault);
            return None;
        }
        Some(found)
    }

    /// What an entry weighs by the builder's weigher.
    #[inline]
    pub(super) fn weigh(&self, key: &K, value: &V) -> u64 {
        let unweighed = if self.overhead.is_some() { 0 } else { 1 };
        self.weigher.as_ref().map_or(unweighed, |weigher| weigher(key, value))
    }

    /// What an entry comes in with.
    pub(super) fn terms(&self, key: &K, value: &V, options: EntryOptions, at: Option<Timestamp>) -> Terms {
        let weight = options.weight.unwrap_or_else(|| self.weigh(key, value));
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
    #[inline]
    pub(super) fn counted(&self, weight: u64, deadline: Option<Timestamp>, extra: Option<&Extra>) -> u64 {
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
    pub(super) fn touch(&self, found: &Found<'_, K, V>, at: Option<Timestamp>) {
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
