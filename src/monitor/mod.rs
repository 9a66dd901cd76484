//! What happened: counters, latency histograms, the access log.

mod histogram;
mod log;
#[cfg(feature = "metrics")]
mod prometheus;
mod reasons;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::exchange::{Observer, Record, Source};
use histogram::Histogram;
use reasons::Reasons;

pub(crate) use log::line;
#[cfg(feature = "metrics")]
pub(crate) use prometheus::Page;

/// Counts everything that a PoP answered. Counters and nothing else: relaxed, and read one by one.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    sources: [BySource; Source::ALL.len()],
    /// By hundreds: 1xx to 5xx.
    statuses: [AtomicU64; 5],
    bytes: AtomicU64,
    broken: AtomicU64,
    denied: Reasons,
    failed: Reasons,
}

#[derive(Debug, Default)]
struct BySource {
    latency: Histogram,
}

/// What a PoP has answered since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests answered.
    pub requests: u64,
    /// Of these: fresh from the cache.
    pub hits: u64,
    /// Stale from the cache.
    pub stale: u64,
    /// Fetched, or shared with somebody else's fetch.
    pub misses: u64,
    /// Passed on without the cache.
    pub passed: u64,
    /// Refusals and errors of our own.
    pub own: u64,
    /// Answers by class of status, 1xx to 5xx.
    pub statuses: [u64; 5],
    /// Octets of bodies sent.
    pub bytes: u64,
    /// Answers whose body did not reach its end.
    pub broken: u64,
}

impl Monitor {
    pub(crate) fn read(&self) -> Counts {
        let by = |source: Source| self.sources[source as usize].latency.count();
        let (hits, stale, misses) = (by(Source::Hit), by(Source::Stale), by(Source::Miss));
        let (passed, own) = (by(Source::Pass), by(Source::Own));
        Counts {
            requests: hits + stale + misses + passed + own,
            hits,
            stale,
            misses,
            passed,
            own,
            statuses: std::array::from_fn(|index| self.statuses[index].load(Ordering::Relaxed)),
            bytes: self.bytes.load(Ordering::Relaxed),
            broken: self.broken.load(Ordering::Relaxed),
        }
    }
}

impl Observer for Monitor {
    fn denied(&self, reason: &'static str) {
        self.denied.count(reason);
    }

    fn origin_failed(&self, reason: &'static str) {
        self.failed.count(reason);
    }

    fn finished(&self, record: &Record<'_>) {
        self.sources[record.source as usize].latency.observe(record.elapsed);
        let class = usize::from(record.status.as_u16() / 100).clamp(1, 5) - 1;
        self.statuses[class].fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(record.bytes, Ordering::Relaxed);
        if record.failure.is_some() {
            self.broken.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(line) = record.line {
            log::write(record, line);
        }
    }
}
