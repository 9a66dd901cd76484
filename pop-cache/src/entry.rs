//! What is known of an entry besides its key and value.

use std::time::Duration;

use crate::Timestamp;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// What few entries have.
#[derive(Debug)]
pub(crate) struct Extra {
    pub(crate) tags: Box<[u64]>,
    /// The epoch of [`tags`](crate::tags) that it came in.
    pub(crate) born: u64,
    /// The last epoch in which it was looked at and not void.
    pub(crate) looked_at: AtomicU64,
    /// How long it lives after each hit.
    pub(crate) idle: Option<Duration>,
    /// When it ends however often it is hit.
    pub(crate) end: Option<Timestamp>,
    /// From when on it should be fetched anew.
    pub(crate) refresh_at: Option<Timestamp>,
    /// Somebody was told so.
    refreshing: AtomicBool,
}

impl Extra {
    pub(crate) fn new(
        tags: Box<[u64]>,
        born: u64,
        idle: Option<Duration>,
        end: Option<Timestamp>,
        refresh_at: Option<Timestamp>,
    ) -> Self {
        Self {
            tags,
            born,
            looked_at: AtomicU64::new(born),
            idle,
            end,
            refresh_at,
            refreshing: AtomicBool::new(false),
        }
    }

    /// Whether it says anything that a deadline alone does not.
    pub(crate) fn is_needed(&self) -> bool {
        !self.tags.is_empty() || self.idle.is_some() || self.refresh_at.is_some()
    }

    /// What it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (size_of::<Self>() + size_of_val(&*self.tags)) as u64
    }

    /// Whether the caller is the one to fetch it anew.
    pub(crate) fn claims_refresh(&self, now: Timestamp) -> bool {
        self.refresh_at.is_some_and(|at| at <= now) && !self.refreshing.swap(true, Ordering::Relaxed)
    }
}

/// What differs from the builder's settings for one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryOptions {
    /// Its weight, at least 1; by default the weigher's.
    pub weight: Option<u64>,
    /// How long it lives; by default as long as the builder said.
    pub time_to_live: Option<Duration>,
    /// How long it lives after it was last hit; by default as long as the builder said.
    pub time_to_idle: Option<Duration>,
    /// After what time [`get_or_refresh`](crate::Cache::get_or_refresh) asks for a new value while it serves this one.
    pub refresh_after: Option<Duration>,
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

    /// With this idle time.
    #[must_use]
    pub fn time_to_idle(mut self, idle: Duration) -> Self {
        self.time_to_idle = Some(idle);
        self
    }

    /// With this time after which a new value should be fetched.
    #[must_use]
    pub fn refresh_after(mut self, age: Duration) -> Self {
        self.refresh_after = Some(age);
        self
    }

    /// With one more tag.
    #[must_use]
    pub fn tag(mut self, tag: u64) -> Self {
        self.tags.push(tag);
        self
    }
}
