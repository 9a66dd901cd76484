//! The operator's side: purge, explain, count.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri};

use super::cache::{Held, RequestHead, Shared};
use super::directive::RequestDirectives;
use super::freshness::Freshness;
use super::groups;
use super::key::{CacheKey, KeyError};
use super::reuse::Reuse;
use super::stored::Stored;

/// What a purge is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purge {
    /// All responses of one URI.
    Key(CacheKey),
    /// Every key that begins with this text: scheme, host and the start of a path.
    Prefix(String),
    /// Every key of this host, any scheme and port.
    Host(String),
    /// Every response with this tag.
    Tag(String),
    /// Every response of this cache group (RFC 9875) of the origin that the key names.
    Group(CacheKey, String),
    /// Everything.
    All,
}

impl Purge {
    /// Whether it is about a response with this key and these tags: what a [`Tier`](super::Tier) asks of its records.
    #[must_use]
    pub fn concerns(&self, key: &CacheKey, tags: &[String]) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Prefix(prefix) => key.as_str().starts_with(prefix.as_str()),
            Self::Host(host) => key.host().eq_ignore_ascii_case(host),
            Self::Tag(tag) => tags.contains(tag),
            Self::Group(origin, group) => tags.contains(&groups::tag(origin, group)),
            Self::All => true,
        }
    }
}

/// How to purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PurgeMode {
    /// Gone, memory and all.
    #[default]
    Remove,
    /// Stale from now on: revalidated before use, still there when the origin fails.
    MarkStale,
}

/// What a ban's predicate sees of a stored response.
#[derive(Clone, Copy, Debug)]
pub struct StoredView<'a> {
    /// Its key.
    pub key: &'a CacheKey,
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Its tags.
    pub tags: &'a [Box<str>],
    /// The bytes it takes.
    pub weight: u64,
}

/// Counts since the cache was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpStats {
    /// Requests answered from the cache, stale ones among them.
    pub hits: u64,
    /// Of the hits, those that were stale.
    pub stale_hits: u64,
    /// Requests for which the origin was asked for a representation.
    pub misses: u64,
    /// Requests answered after the origin had confirmed the stored response.
    pub revalidated: u64,
    /// Requests that shared another's fetch.
    pub collapsed: u64,
    /// Requests the cache left alone, unsafe methods among them.
    pub bypassed: u64,
    /// Requests that failed because the origin did.
    pub errors: u64,
    /// Requests answered from the tier below the memory.
    pub tier_hits: u64,
    /// Responses stored.
    pub stored: u64,
    /// Responses invalidated or purged.
    pub purged: u64,
    /// Bytes stored now.
    pub weight: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) stale_hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) revalidated: AtomicU64,
    pub(crate) collapsed: AtomicU64,
    pub(crate) bypassed: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) tier_hits: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) purged: AtomicU64,
}

/// Adds one. Relaxed: it is only a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Why a request would be a hit or not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The key.
    pub key: CacheKey,
    /// How many responses are stored for it.
    pub variants: usize,
    /// The one the request selects.
    pub selected: Option<ExplainedResponse>,
}

/// The arithmetic behind the decision about one stored response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExplainedResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its lifetime and where that comes from.
    pub freshness: Freshness,
    /// Its age now.
    pub age: Duration,
    /// Whether all of its bytes are stored.
    pub is_whole: bool,
    /// The tags it can be purged by.
    pub tags: Vec<String>,
    /// The bytes it takes.
    pub weight: u64,
    /// What may be done with it, and why.
    pub reuse: Reuse,
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} stored", self.key, self.variants)?;
        match &self.selected {
            None => formatter.write_str(", none selected"),
            Some(response) => write!(
                formatter,
                ", selected {}: age {} s of {} s ({:?}), {:?}",
                response.status.as_u16(),
                response.age.as_secs(),
                response.freshness.lifetime.as_secs(),
                response.freshness.source,
                response.reuse,
            ),
        }
    }
}

/// The cache from the operator's side. A clone is another handle on the same cache.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Purges, and says how many stored responses that concerned; for tags and hosts that are removed, how many keys. Answers that are being fetched meanwhile reach
    /// their clients but are not stored. One look-up for a key, one look at each entry for the others.
    pub fn purge(&self, what: &Purge, mode: PurgeMode) -> usize {
        let _hold = self.shared.hold_below();
        let purged = match what {
            Purge::Key(key) => self.shared.purge_key(key, mode),
            Purge::Prefix(prefix) => self.sweep(mode, |key, _| key.as_str().starts_with(prefix.as_str())),
            Purge::Host(host) => self.shared.purge_host(host, mode),
            Purge::Tag(tag) => self.shared.purge_tag(tag, mode),
            Purge::Group(key, group) => self.shared.purge_tag(&groups::tag(key, group), mode),
            Purge::All => self.sweep(mode, |_, _| true),
        };
        self.shared.purge_below(what.clone());
        self.shared.counters.purged.fetch_add(purged as u64, Ordering::Relaxed);
        purged
    }

    /// Purges every stored response for which `goes` holds, and says how many. One look at each entry. A tier below the
    /// memory knows no predicate: it forgets everything.
    pub fn ban(&self, mode: PurgeMode, goes: impl Fn(&StoredView<'_>) -> bool) -> usize {
        let _hold = self.shared.hold_below();
        let purged = self.sweep(mode, |key, stored| {
            goes(&StoredView {
                key,
                status: stored.status,
                headers: &stored.headers,
                tags: &stored.tags,
                weight: stored.weight(),
            })
        });
        self.shared.purge_below(Purge::All);
        self.shared.counters.purged.fetch_add(purged as u64, Ordering::Relaxed);
        purged
    }

    /// A resource with one response that must go goes as a whole: its other variants are fetched again.
    fn sweep(&self, mode: PurgeMode, goes: impl Fn(&CacheKey, &Stored) -> bool) -> usize {
        if mode == PurgeMode::MarkStale {
            return self.shared.mark(goes);
        }
        let concerned = AtomicU64::new(0);
        self.shared.epochs.sweep();
        self.shared.store.invalidate_if(|key, held| {
            let Held::Resource(resource) = held else { return false };
            let count = resource.variants.iter().filter(|stored| goes(key, stored)).count();
            concerned.fetch_add(count as u64, Ordering::Relaxed);
            count > 0
        });
        usize::try_from(concerned.into_inner()).unwrap_or(usize::MAX)
    }

    /// Explains what would happen to a request now: the key, the arithmetic, the directive.
    ///
    /// # Errors
    /// The request has no key.
    pub fn explain(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Explanation, KeyError> {
        let extensions = http::Extensions::new();
        let key = self.shared.key(&RequestHead { method, uri, headers, extensions: &extensions })?;
        let resource = self.shared.find(key.as_str());
        let now = self.shared.now();
        let selected = resource.as_deref().and_then(|resource| resource.select(headers)).map(|stored| {
            let directives = RequestDirectives::parse(headers);
            ExplainedResponse {
                status: stored.status,
                freshness: stored.policy.freshness(),
                age: stored.policy.age(now),
                is_whole: stored.body.is_whole(),
                tags: stored.tags.iter().map(ToString::to_string).collect(),
                weight: stored.weight(),
                reuse: stored.policy.reuse(self.shared.rules(), &directives, now, stored.purged_at()),
            }
        });
        Ok(Explanation { key, variants: resource.map_or(0, |resource| resource.variants.len()), selected })
    }

    /// Counts since the cache was made.
    #[must_use]
    pub fn stats(&self) -> HttpStats {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HttpStats {
            hits: read(&counters.hits),
            stale_hits: read(&counters.stale_hits),
            misses: read(&counters.misses),
            revalidated: read(&counters.revalidated),
            collapsed: read(&counters.collapsed),
            bypassed: read(&counters.bypassed),
            errors: read(&counters.errors),
            tier_hits: read(&counters.tier_hits),
            stored: read(&counters.stored),
            purged: read(&counters.purged),
            weight: self.shared.store.weight(),
        }
    }
}
