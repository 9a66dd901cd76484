//! What a forwarder has done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! stats {
    ($($field:ident: $doc:literal;)*) => {
        /// What a forwarder has done since it was built, and what it holds.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ForwarderStats {
            $(#[doc = $doc] pub $field: u64,)*
            /// Answers in the cache.
            pub cached_entries: u64,
            /// Octets they occupy.
            pub cached_octets: u64,
            /// Answers that had to make room.
            pub evictions: u64,
            /// Queries that wait for an upstream, those that others wait for too counted once.
            pub in_flight: u64,
        }

        /// The counters behind it. Counters and nothing else: relaxed, and read one by one.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $field: AtomicU64,)*
        }

        impl Counters {
            pub(super) fn read(&self) -> ForwarderStats {
                ForwarderStats {
                    $($field: self.$field.load(Ordering::Relaxed),)*
                    ..ForwarderStats::default()
                }
            }
        }
    };
}

stats! {
    queries: "Queries.";
    hits: "Answered from the cache, fresh.";
    stale: "Answered from the cache, past its time, because nothing newer was to be had (RFC 8767).";
    misses: "Queries that an upstream was asked for, or that joined one that was asked.";
    coalesced: "Of the misses, those that joined a query on its way.";
    failures_remembered: "Answered SERVFAIL without asking, because it failed a moment ago (RFC 9520).";
    listed: "Answered by a list or as a special name.";
    strangers: "From outside the subscribers.";
    refused: "Refused or malformed queries of subscribers.";
    overdue: "Dropped because the client's network waits for too much, or everybody does.";
    upstream_queries: "Queries to upstreams, all attempts counted.";
    upstream_failures: "Attempts that failed or brought nothing of use.";
    hedges: "Attempts made because another was slow.";
    prefetches: "Answers that were renewed shortly before their end.";
    servfails: "Queries that no upstream could answer.";
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What is known of an upstream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpstreamStats {
    /// The upstream.
    pub endpoint: crate::client::Endpoint,
    /// Its smoothed round trip, once it has answered.
    pub round_trip: Option<Duration>,
    /// Whether it is left alone because it did not answer.
    pub resting: bool,
}
