//! What is known of an entry besides its key and value.

use std::time::Duration;

/// What few entries have.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) tags: Box<[u64]>,
}

/// What differs from the builder's settings for one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryOptions {
    /// Its weight, at least 1; by default the weigher's.
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
