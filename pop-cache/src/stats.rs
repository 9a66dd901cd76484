//! What happened.

use crate::stripe::{Count, Stripes};

/// A reading of a cache's counters. Each is exact; together they are of slightly different instants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Look-ups that found a live entry.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Entries taken in.
    pub inserts: u64,
    /// Entries that another with the same key pushed out.
    pub replaced: u64,
    /// Entries that went for room.
    pub evicted: u64,
    /// Entries that went because their time was over.
    pub expired: u64,
    /// Entries that were taken out on demand.
    pub removed: u64,
    /// Entries that were handed back.
    pub refused: u64,
    /// Loads of single flight that brought a value.
    pub loads: u64,
    /// Loads that brought an error.
    pub loads_failed: u64,
    /// How long all loads took together, in nanoseconds.
    pub load_nanos: u64,
}

impl Stats {
    pub(crate) fn read(stripes: &Stripes) -> Self {
        Self {
            hits: stripes.sum(Count::Hits),
            misses: stripes.sum(Count::Misses),
            inserts: stripes.sum(Count::Inserts),
            replaced: stripes.sum(Count::Replaced),
            evicted: stripes.sum(Count::Evicted),
            expired: stripes.sum(Count::Expired),
            removed: stripes.sum(Count::Removed),
            refused: stripes.sum(Count::Refused),
            loads: stripes.sum(Count::Loads),
            loads_failed: stripes.sum(Count::LoadsFailed),
            load_nanos: stripes.sum(Count::LoadNanos),
        }
    }

    /// Entries that are there: taken in and not gone.
    pub(crate) fn entries(&self) -> u64 {
        let gone = self.replaced + self.evicted + self.expired + self.removed;
        self.inserts.saturating_sub(gone)
    }
}
