//! Look and change in one step.

use std::hash::Hash;

use super::{Cache, Refused};
use crate::entry::EntryOptions;
use crate::index::Found;
use crate::store::{Put, RemovalCause};
use crate::stripe::Count;

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

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
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
}
