//! Taking entries out on demand: one, those that a predicate or a tag names, all.

use std::borrow::Borrow;
use std::hash::Hash;

use super::Cache;
use crate::index::Found;
use crate::store::RemovalCause;

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
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

    /// Takes out every entry for which `keep` does not hold, and says how many that were.
    pub fn retain(&self, keep: impl Fn(&K, &V) -> bool) -> usize {
        self.invalidate_if(|key, value| !keep(key, value))
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
