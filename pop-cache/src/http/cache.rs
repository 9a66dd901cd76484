//! The shared cache itself: its storage, its keys, its purges.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ahash::RandomState;
use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Method, Request, StatusCode, Uri};

use super::builder::{HttpCacheBuilder, QueryPolicy};
use super::contents::{Slices, StoredBody};
use super::epochs::{Epochs, Writer};
use super::equivalence::{self, Variances};
use super::facts::Hosts;
use super::flight::Flights;
use super::groups;
use super::handle::{Counters, Handle};
use super::key::{CacheKey, KeyBuffer, KeyError};
use super::live::Budget;
use super::policy::{Exchange, Policy};
use super::query::{self, Queried, QueryLayer};
use super::rules::Rules;
use super::service::CacheLayer;
use super::slices::SLICE_BYTES;
use super::stored::{Resource, Stored};
use super::vary::{Selection, Vary};
use crate::{Cache, EntryOptions};

/// A request as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// What earlier layers attached to it.
    pub extensions: &'a http::Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        let (method, uri) = (request.method(), request.uri());
        Self { method, uri, headers: request.headers(), extensions: request.extensions() }
    }
}

/// At most this many tags are taken from one response.
pub const MAX_TAGS: usize = 128;

/// At most this many keys are remembered as uncacheable.
pub const MAX_HIT_FOR_MISS: u64 = 16_384;

/// An HTTP shared cache. A clone is another handle on the same cache.
///
/// ```
/// use pop_cache::http::HttpCache;
///
/// let cache = HttpCache::builder(64 << 20).name("fra1").build()?;
/// let layer = cache.layer(); // a tower::Layer for any HTTP service
/// let handle = cache.handle(); // purge, explain, stats
/// assert_eq!(handle.stats().hits, 0);
/// # let _ = layer;
/// # Ok::<(), pop_cache::http::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct HttpCache {
    shared: Arc<Shared>,
}

impl fmt::Debug for HttpCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpCache").field("store", &self.shared.store).finish_non_exhaustive()
    }
}

impl HttpCache {
    /// Settings for a cache that holds responses of `capacity` bytes, fields and bookkeeping counted.
    #[must_use]
    pub fn builder(capacity: u64) -> HttpCacheBuilder {
        let names = |names: &[&'static str]| names.iter().map(|name| HeaderName::from_static(name)).collect();
        HttpCacheBuilder {
            capacity,
            name: "pop".into(),
            rules: Rules::default(),
            object_bytes_max: None,
            variants_max: 32,
            keep: Duration::from_secs(3600),
            hit_for_miss: Duration::from_secs(10),
            default_scheme: "http",
            shows_key: false,
            tag_fields: names(&["surrogate-key", "cache-tag"]),
            key: None,
            query: None,
            bypass: None,
            lifetime: None,
            storable: None,
            tags: None,
            unkeyed: names(&[
                "x-original-url",
                "x-rewrite-url",
                "x-http-method-override",
                "x-http-method",
                "x-method-override",
            ]),
            slice_bytes: Some(SLICE_BYTES),
            flight_bytes_max: None,
            purge: None,
            tier: None,
            collapse_wait: None,
            #[cfg(feature = "compression")]
            compression: None,
            clock: Box::new(SystemTime::now),
        }
    }

    pub(crate) fn with(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// A layer that puts this cache in front of a service.
    #[must_use]
    pub fn layer(&self) -> CacheLayer {
        CacheLayer::new(Arc::clone(&self.shared))
    }

    /// As [`layer`](Self::layer), and the answers to QUERY (RFC 10008) are cached too, by URI and content. The request
    /// body of the service must be made of [`Bytes`]: content of up to
    /// [`MAX_QUERY_BYTES`](super::MAX_QUERY_BYTES) is read before the store is asked.
    #[must_use]
    pub fn query_layer(&self) -> QueryLayer {
        QueryLayer::new(self.layer())
    }

    /// The cache from the operator's side.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }
}

/// An entry of the store.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// All responses of one key.
    Resource(Arc<Resource>),
    /// Some bytes of a large response.
    Slice(Bytes),
}

/// What the layer, the handle and the fetches share.
pub(crate) struct Shared {
    pub(crate) store: Cache<CacheKey, Held>,
    pub(super) uncacheable: Cache<CacheKey, ()>,
    pub(super) variances: Variances,
    pub(super) queried: Queried,
    #[cfg(feature = "compression")]
    pub(super) encoders: super::compression::Encoders,
    pub(crate) flights: Flights,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Counters,
    pub(crate) epochs: Epochs,
    hasher: RandomState,
    /// The purges of the tier below that are under way.
    pub(super) purges_below: AtomicU64,
    /// Counts names that are given once.
    names: AtomicU64,
    pub(crate) name: String,
    pub(crate) object_bytes_max: u64,
    pub(super) settings: HttpCacheBuilder,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        settings: HttpCacheBuilder,
        name: String,
        object_bytes_max: u64,
        flight_bytes_max: u64,
    ) -> Self {
        // An entry weighs half a kilobyte at the very least.
        let entries = usize::try_from(settings.capacity / 512).unwrap_or(usize::MAX).clamp(64, 1 << 20);
        Self {
            store: Cache::builder(settings.capacity).entries(entries).build(),
            uncacheable: Cache::builder(MAX_HIT_FOR_MISS).build(),
            variances: equivalence::variances(),
            queried: query::queried(),
            #[cfg(feature = "compression")]
            encoders: super::compression::Encoders::default(),
            flights: Flights::default(),
            budget: Budget::new(flight_bytes_max),
            counters: Counters::default(),
            epochs: Epochs::new(),
            hasher: RandomState::new(),
            purges_below: AtomicU64::new(0),
            names: AtomicU64::new(0),
            name,
            object_bytes_max,
            settings,
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.settings.clock)()
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.settings.rules
    }

    pub(crate) fn bypasses(&self, head: &RequestHead<'_>) -> bool {
        self.settings.bypass.as_ref().is_some_and(|bypass| bypass(head))
    }

    /// Whether the request is a PURGE that the operator has a word on, and which.
    pub(crate) fn purge_permission(&self, head: &RequestHead<'_>) -> Option<bool> {
        let allows = self.settings.purge.as_ref()?;
        (head.method.as_str() == "PURGE").then(|| allows(head))
    }

    pub(crate) fn unkeyed_fields(&self) -> &[HeaderName] {
        &self.settings.unkeyed
    }

    /// The key of a request, by the operator's policies.
    pub(crate) fn key(&self, head: &RequestHead<'_>) -> Result<CacheKey, KeyError> {
        let mut key = KeyBuffer::of_thread();
        self.write_key(&mut key, head, Hosts::of(head.headers))?;
        Ok(CacheKey::from_raw(key.as_str()))
    }

    /// Writes the key of a request. Allocates only where a policy of the operator's does.
    #[inline]
    pub(crate) fn write_key(
        &self,
        key: &mut KeyBuffer,
        head: &RequestHead<'_>,
        hosts: Hosts<'_>,
    ) -> Result<(), KeyError> {
        key.write(head.uri, hosts, self.settings.default_scheme)?;
        if self.settings.query.is_some() || self.settings.key.is_some() {
            key.replace(self.by_policies(head, CacheKey::from_raw(key.as_str())));
        }
        Ok(())
    }

    /// What the operator's policies make of a key.
    fn by_policies(&self, head: &RequestHead<'_>, mut key: CacheKey) -> CacheKey {
        if let Some(keeps) = &self.settings.query
            && let Some(target) = filtered(key.target(), keeps)
        {
            key = key.with_target(&target);
        }
        match &self.settings.key {
            Some(policy) => policy(head, key),
            None => key,
        }
    }

    /// The target to forward: the normalised one, so that the origin reads what the key says. `None` where it is the
    /// same, or no path at all (`*`, or the authority of a CONNECT).
    pub(crate) fn normalised_target(&self, head: &RequestHead<'_>) -> Option<http::uri::PathAndQuery> {
        let own = head.uri.path_and_query().filter(|path| path.as_str().starts_with('/'))?;
        let key = CacheKey::of(head.uri, head.headers, self.settings.default_scheme).ok()?;
        let filtered = self.settings.query.as_ref().and_then(|keeps| filtered(key.target(), keeps));
        let target = filtered.as_deref().unwrap_or(key.target());
        if own.as_str() == target { None } else { target.parse().ok() }
    }

    pub(crate) fn shows_key(&self) -> bool {
        self.settings.shows_key
    }

    pub(crate) fn shown_key(&self, key: &str) -> Option<String> {
        // What was made here beside the URI is nobody else's.
        self.settings.shows_key.then(|| key.split('#').next().unwrap_or_default().to_owned())
    }

    pub(crate) fn resource(&self, key: &str) -> Option<Arc<Resource>> {
        match self.store.get(key)? {
            Held::Resource(resource) => Some(resource),
            Held::Slice(_) => None,
        }
    }

    pub(crate) fn slice(&self, key: &CacheKey) -> Option<Bytes> {
        match self.store.get(key.as_str())? {
            Held::Slice(slice) => Some(slice),
            Held::Resource(_) => None,
        }
    }

    /// A name for the slices of a response; `None` where there are to be none.
    pub(crate) fn new_slices(&self) -> Option<Slices> {
        let bytes = self.settings.slice_bytes?;
        Some(Slices { id: self.names.fetch_add(1, Ordering::Relaxed), bytes })
    }

    /// A response as it is stored.
    pub(crate) fn stored(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        policy: Policy,
        selection: Selection,
        body: Arc<StoredBody>,
        tags: Arc<[Box<str>]>,
    ) -> Stored {
        #[cfg_attr(not(feature = "compression"), expect(unused_mut, reason = "only codings change it"))]
        let mut stored = Stored::new(status, headers, policy, selection, body, tags);
        #[cfg(feature = "compression")]
        {
            stored.is_codable = super::compression::is_codable(self, &stored);
        }
        stored
    }

    /// A name that no other run gives, as good as certainly.
    pub(crate) fn new_name(&self) -> u64 {
        self.hasher.hash_one(self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Which of its variants a request asks for, as far as `vary` tells: zero where nothing selects.
    pub(crate) fn variant(&self, vary: &Vary, request: &HeaderMap) -> u64 {
        match vary {
            Vary::Fields(_) => self.hasher.hash_one(vary.values(request)).max(1),
            Vary::Nothing | Vary::Any => 0,
        }
    }

    pub(crate) fn lifetime(&self, key: &CacheKey, exchange: &Exchange<'_>) -> Option<Duration> {
        self.settings.lifetime.as_ref().and_then(|policy| policy(key, exchange))
    }

    pub(crate) fn permits_storing(&self, key: &CacheKey, exchange: &Exchange<'_>) -> bool {
        self.settings.storable.as_ref().is_none_or(|policy| policy(key, exchange))
    }

    /// The words of the tag fields in `headers`, at most [`MAX_TAGS`].
    pub(crate) fn words_of_tag_fields(&self, headers: &HeaderMap) -> Vec<Box<str>> {
        let lines = self.settings.tag_fields.iter().flat_map(|name| headers.get_all(name));
        let words = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split([' ', '\t', ',']))
            .filter(|word| !word.is_empty());
        words.take(MAX_TAGS).map(Box::from).collect()
    }

    /// The tags of a response, its groups among them, at most [`MAX_TAGS`].
    pub(crate) fn tags_of(&self, key: &CacheKey, exchange: &Exchange<'_>) -> Arc<[Box<str>]> {
        let words = self.words_of_tag_fields(exchange.response).into_iter();
        let groups = groups::members(exchange.response).into_iter().map(|group| groups::tag(key, &group));
        let own = self.settings.tags.as_ref().map(|policy| policy(key, exchange)).unwrap_or_default();
        words.chain(groups.chain(own).map(String::into_boxed_str)).take(MAX_TAGS).collect()
    }

    pub(crate) fn remember_uncacheable(&self, key: &CacheKey) {
        if !self.settings.hit_for_miss.is_zero() {
            let options = EntryOptions::new().weight(1).time_to_live(self.settings.hit_for_miss);
            // Forgetting one only costs a moment in a queue.
            let _refused = self.uncacheable.insert_entry(key.clone(), (), options);
        }
    }

    pub(crate) fn is_remembered_uncacheable(&self, key: &CacheKey) -> bool {
        self.uncacheable.contains_key(key.as_str())
    }

    /// The right to change what is stored for a key.
    pub(super) fn writer(&self, key: &CacheKey) -> Writer<'_> {
        self.epochs.writer(self.hasher.hash_one(key))
    }

    /// Stores a response under this very key, unless that was invalidated since the fetch began. Says whether it is
    /// stored.
    pub(super) fn store_as(&self, key: &CacheKey, stored: Arc<Stored>, epoch: u64, now: SystemTime) -> bool {
        let writer = self.writer(key);
        if writer.is_outdated(epoch) {
            return false;
        }
        let old = self.resource(key.as_str());
        let mut resource = old
            .as_deref()
            .unwrap_or(&Resource { variants: Vec::new() })
            .with(stored, self.settings.variants_max);
        // Variants of one key share what one body may take twice over.
        resource.shrink_to(self.object_bytes_max.saturating_mul(2));
        let weight = resource.weight(key.as_str().len());
        let mut options =
            EntryOptions::new().weight(weight).time_to_live(resource.useful_for(now, self.settings.keep));
        options = options.tag(self.host_tag(key.host()));
        let mut tags: Vec<u64> =
            resource.variants.iter().flat_map(|stored| stored.tags.iter()).map(|tag| self.tag(tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        options = tags.into_iter().fold(options, EntryOptions::tag);
        self.store.insert_entry(key.clone(), Held::Resource(Arc::new(resource)), options).is_ok()
    }

    /// Stores a slice for as long as its response is of use.
    pub(crate) fn store_slice(&self, key: CacheKey, slice: Bytes, stored: &Stored) {
        /// The entry of the index and the `Bytes` itself.
        const SLICE_OVERHEAD: u64 = 160;
        let weight = slice.len() as u64 + key.as_str().len() as u64 + SLICE_OVERHEAD;
        let lifetime = stored.policy.useful_for(self.settings.keep);
        let options = EntryOptions::new().weight(weight).time_to_live(lifetime);
        // A slice that finds no room is fetched again.
        let _refused = self.store.insert_entry(key, Held::Slice(slice), options);
    }

    pub(crate) fn collapse_wait(&self) -> Option<Duration> {
        self.settings.collapse_wait
    }

    /// How long stale responses with a validator are kept.
    pub(crate) fn keep(&self) -> Duration {
        self.settings.keep
    }

    pub(super) fn tag(&self, tag: &str) -> u64 {
        self.hasher.hash_one(tag)
    }

    pub(super) fn host_tag(&self, host: &str) -> u64 {
        self.hasher.hash_one(("host", host.to_ascii_lowercase()))
    }
}

/// A target without the query parameters that the filter drops; `None` where nothing changes.
fn filtered(target: &str, keeps: &QueryPolicy) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    let kept: Vec<&str> =
        query.split('&').filter(|pair| keeps(pair.split('=').next().unwrap_or_default())).collect();
    let kept = kept.join("&");
    if kept == query {
        None
    } else if kept.is_empty() {
        Some(path.to_owned())
    } else {
        Some(format!("{path}?{kept}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_from_the_network_are_hashed_by_a_secret() {
        let cache = || HttpCache::builder(1 << 20).build().expect("settings that work");
        let (one, other) = (cache(), cache());
        // By chance they are the same once in 2^64 runs.
        assert_ne!(one.shared.tag("a"), other.shared.tag("a"), "nobody can choose tags that collide");
        assert_ne!(one.shared.host_tag("a"), one.shared.tag("a"), "a tag is no host");
    }
}
