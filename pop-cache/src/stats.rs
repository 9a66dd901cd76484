//! What happened: striped counters, so that a hit writes no shared line.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering};

/// Stripes of the look-up counters; which one is the hash's choice.
const STRIPES: usize = 16;

#[derive(Debug, Default)]
struct LookUps {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Counters and nothing else: relaxed throughout.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    look_ups: [CachePadded<LookUps>; STRIPES],
    inserts: AtomicU64,
    replaced: AtomicU64,
    evicted: AtomicU64,
    expired: AtomicU64,
    removed: AtomicU64,
    refused: AtomicU64,
}

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
}

impl Counters {
    pub(crate) fn looked_up(&self, hash: u64, hit: bool) {
        let stripe = &self.look_ups[(hash >> 32) as usize % STRIPES];
        if hit { &stripe.hits } else { &stripe.misses }.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn inserted(&self) {
        self.inserts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn replaced(&self) {
        self.replaced.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn evicted(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn removed(&self) {
        self.removed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            hits: self.look_ups.iter().map(|stripe| read(&stripe.hits)).sum(),
            misses: self.look_ups.iter().map(|stripe| read(&stripe.misses)).sum(),
            inserts: read(&self.inserts),
            replaced: read(&self.replaced),
            evicted: read(&self.evicted),
            expired: read(&self.expired),
            removed: read(&self.removed),
            refused: read(&self.refused),
        }
    }
}
