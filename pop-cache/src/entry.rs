//! An entry and what is known of it.

use std::time::Duration;

use crate::Timestamp;
use crate::sync::{AtomicU8, Ordering};

/// How often an entry may be passed over before it goes: two bits are as good as more (S3-FIFO, SOSP '23).
const HEAT_MAX: u8 = 3;

pub(crate) struct Entry<K, V> {
    pub(crate) hash: u64,
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) weight: u64,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) tags: Box<[u64]>,
    heat: AtomicU8,
}

impl<K, V> Entry<K, V> {
    pub(crate) fn new(
        hash: u64,
        key: K,
        value: V,
        weight: u64,
        deadline: Option<Timestamp>,
        tags: Box<[u64]>,
    ) -> Self {
        Self { hash, key, value, weight, deadline, tags, heat: AtomicU8::new(0) }
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    pub(crate) fn heat(&self) -> u8 {
        self.heat.load(Ordering::Relaxed)
    }

    /// A hit. Relaxed and not exact: a lost increment is a hint lost. No write once it is hot.
    pub(crate) fn warm(&self) {
        let heat = self.heat();
        if heat < HEAT_MAX {
            self.heat.store(heat + 1, Ordering::Relaxed);
        }
    }

    /// Cools by one; true if it was cold already.
    pub(crate) fn cool(&self) -> bool {
        let heat = self.heat();
        self.heat.store(heat.saturating_sub(1), Ordering::Relaxed);
        heat == 0
    }
}

/// What differs from the builder's settings for one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryOptions {
    /// Its weight; by default the weigher's.
    pub weight: Option<u64>,
    /// How long it lives; by default as long as the builder said.
    pub time_to_live: Option<Duration>,
    /// Tags by which it can be invalidated: hashes of the user's words.
    pub tags: Vec<u64>,
}

impl EntryOptions {
    /// Nothing differs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this weight.
    #[must_use]
    pub fn weight(mut self, weight: u64) -> Self {
        self.weight = Some(weight);
        self
    }

    /// With this lifetime.
    #[must_use]
    pub fn time_to_live(mut self, lifetime: Duration) -> Self {
        self.time_to_live = Some(lifetime);
        self
    }

    /// With one more tag.
    #[must_use]
    pub fn tag(mut self, tag: u64) -> Self {
        self.tags.push(tag);
        self
    }
}
