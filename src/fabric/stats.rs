//! What a fabric did and could not do.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Inner;

/// Counts since a fabric was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FabricStats {
    /// Whether the store is at hand.
    pub is_connected: bool,
    /// How often it was lost.
    pub losses: u64,
    /// Questions to it that failed: no answer in time, a refusal, a connection that broke.
    pub failures: u64,
    /// Purges of our own that the others can read.
    pub purges_sent: u64,
    /// Purges of our own that they cannot read yet.
    pub purges_waiting: u64,
    /// Purges of others that were made here.
    pub purges_applied: u64,
    /// Times everything was purged: once at the first joining, then whenever the place in the stream was gone or a
    /// notice could not be read.
    pub flushes: u64,
    /// Notices that could not be read.
    pub purges_unreadable: u64,
    /// Records found in the second cache.
    pub tier_hits: u64,
    /// Records not there, or not to be had in time.
    pub tier_misses: u64,
    /// Values that were there but not taken: torn, foreign, too long, or from before a purge.
    pub tier_rejected: u64,
    /// Records written to the second cache.
    pub tier_writes: u64,
    /// Records that were not: too large, too many at a time, or the store was away.
    pub tier_dropped: u64,
    /// Tokens of shared limits that were leased.
    pub tokens_leased: u64,
    /// Leases that could not be had: no answer, or too many asked for at a time.
    pub leases_failed: u64,
    /// Requests that shared limits did not let pass.
    pub limited: u64,
    /// Checks of shared limits made without the store, with the home share and what was left of leases.
    pub limited_alone: u64,
}

impl FabricStats {
    pub(super) fn of(inner: &Inner) -> Self {
        let Inner { link, feed, tally, limits, .. } = inner;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (losses, failures) = link.counts();
        Self {
            is_connected: link.is_connected(),
            losses,
            failures,
            purges_sent: read(&feed.sent),
            purges_waiting: feed.waiting() as u64,
            purges_applied: read(&feed.applied),
            flushes: read(&feed.flushes),
            purges_unreadable: read(&feed.unreadable),
            tier_hits: read(&tally.hits),
            tier_misses: read(&tally.misses),
            tier_rejected: read(&tally.rejected),
            tier_writes: read(&tally.writes),
            tier_dropped: read(&tally.dropped),
            tokens_leased: read(&limits.leased),
            leases_failed: read(&limits.failed),
            limited: read(&limits.limited),
            limited_alone: read(&limits.alone),
        }
    }

    /// Name, kind, meaning and value of each count, as a page of metrics shows it.
    #[cfg(feature = "metrics")]
    pub(crate) fn rows(self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> {
        [
            ("pop_fabric_connected", "gauge", "Whether the store is at hand.", u64::from(self.is_connected)),
            ("pop_fabric_losses_total", "counter", "Times the store was lost.", self.losses),
            ("pop_fabric_failures_total", "counter", "Questions to the store that failed.", self.failures),
            ("pop_fabric_purges_sent_total", "counter", "Purges that other PoPs can read.", self.purges_sent),
            (
                "pop_fabric_purges_waiting",
                "gauge",
                "Purges that other PoPs cannot read yet.",
                self.purges_waiting,
            ),
            (
                "pop_fabric_purges_applied_total",
                "counter",
                "Purges of other PoPs made here.",
                self.purges_applied,
            ),
            ("pop_fabric_flushes_total", "counter", "Times everything was purged.", self.flushes),
            (
                "pop_fabric_purges_unreadable_total",
                "counter",
                "Notices that could not be read.",
                self.purges_unreadable,
            ),
            ("pop_fabric_tier_hits_total", "counter", "Records found in the second cache.", self.tier_hits),
            ("pop_fabric_tier_misses_total", "counter", "Records not found there.", self.tier_misses),
            (
                "pop_fabric_tier_rejected_total",
                "counter",
                "Values that were there but not taken.",
                self.tier_rejected,
            ),
            ("pop_fabric_tier_writes_total", "counter", "Records written there.", self.tier_writes),
            (
                "pop_fabric_tokens_leased_total",
                "counter",
                "Tokens of shared limits leased.",
                self.tokens_leased,
            ),
            (
                "pop_fabric_leases_failed_total",
                "counter",
                "Leases that could not be had.",
                self.leases_failed,
            ),
            ("pop_fabric_limited_total", "counter", "Requests that shared limits refused.", self.limited),
            (
                "pop_fabric_limited_alone_total",
                "counter",
                "Checks of shared limits made without the store.",
                self.limited_alone,
            ),
            ("pop_fabric_tier_dropped_total", "counter", "Records not written.", self.tier_dropped),
        ]
        .into_iter()
    }
}
