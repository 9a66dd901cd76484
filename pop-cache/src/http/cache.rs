//! The shared cache itself: its settings, its storage, its purges.

use core::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ahash::RandomState;
use http::header::HeaderName;
use http::{HeaderMap, Method, Request, Uri};

use super::fetch::Flights;
use super::handle::{Counters, Handle};
use super::key::{CacheKey, KeyError};
use super::policy::Exchange;
use super::rules::Rules;
use super::service::CacheLayer;
use super::status::cache_identifier;
use super::stored::{Resource, Stored};
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

type KeyPolicy = Box<dyn Fn(&RequestHead<'_>, CacheKey) -> CacheKey + Send + Sync>;
type BypassPolicy = Box<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;
type QueryPolicy = Box<dyn Fn(&str) -> bool + Send + Sync>;
type LifetimePolicy = Box<dyn Fn(&CacheKey, &Exchange<'_>) -> Option<Duration> + Send + Sync>;
type StorablePolicy = Box<dyn Fn(&CacheKey, &Exchange<'_>) -> bool + Send + Sync>;
type TagPolicy = Box<dyn Fn(&CacheKey, &Exchange<'_>) -> Vec<String> + Send + Sync>;
type Clock = Box<dyn Fn() -> SystemTime + Send + Sync>;

/// At most this many tags are taken from one response.
pub const MAX_TAGS: usize = 128;

/// At most this many keys are remembered as uncacheable.
pub const MAX_HIT_FOR_MISS: u64 = 16_384;

/// Settings of an [`HttpCache`].
pub struct HttpCacheBuilder {
    capacity: u64,
    name: String,
    rules: Rules,
    object_bytes_max: Option<u64>,
    variants_max: usize,
    keep: Duration,
    hit_for_miss: Duration,
    default_scheme: &'static str,
    shows_key: bool,
    tag_fields: Vec<HeaderName>,
    key: Option<KeyPolicy>,
    query: Option<QueryPolicy>,
    bypass: Option<BypassPolicy>,
    lifetime: Option<LifetimePolicy>,
    storable: Option<StorablePolicy>,
    tags: Option<TagPolicy>,
    clock: Clock,
}

/// A setting that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `name` is empty or not visible ASCII.
    Name,
    /// `capacity` is zero.
    Capacity,
    /// `object_bytes_max` (first) is larger than `capacity` (second).
    ObjectBytes(u64, u64),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => formatter.write_str("name: expected visible ASCII, at least one character"),
            Self::Capacity => formatter.write_str("capacity: expected at least one byte"),
            Self::ObjectBytes(object, capacity) => {
                write!(formatter, "object_bytes_max: {object} is more than the capacity, {capacity}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Debug for HttpCacheBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpCacheBuilder")
            .field("capacity", &self.capacity)
            .field("name", &self.name)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl HttpCacheBuilder {
    /// The cache's name in `Cache-Status`. Default `pop`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The choices the RFCs leave. Default [`Rules::default`].
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Bodies with more bytes are passed on and not stored. Default an eighth of the capacity.
    #[must_use]
    pub fn object_bytes_max(mut self, bytes: u64) -> Self {
        self.object_bytes_max = Some(bytes);
        self
    }

    /// Responses kept for one key, told apart by `Vary`. Default 32, at least 1.
    #[must_use]
    pub fn variants_max(mut self, variants: usize) -> Self {
        self.variants_max = variants;
        self
    }

    /// How long a stale response with a validator is kept for revalidation. Default one hour.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// How long a key whose answer could not be stored is remembered, so that requests for it do not queue behind
    /// each other. Default 10 seconds; zero turns it off.
    #[must_use]
    pub fn hit_for_miss(mut self, memory: Duration) -> Self {
        self.hit_for_miss = memory;
        self
    }

    /// The scheme of requests whose target names none. Default `http`.
    #[must_use]
    pub fn default_scheme(mut self, scheme: &'static str) -> Self {
        self.default_scheme = scheme;
        self
    }

    /// Shows the key in `Cache-Status`. Default no.
    #[must_use]
    pub fn show_key(mut self) -> Self {
        self.shows_key = true;
        self
    }

    /// Response fields whose words are tags to purge by, separated by spaces or commas. Default `Surrogate-Key` and
    /// `Cache-Tag`.
    #[must_use]
    pub fn tag_fields(mut self, fields: Vec<HeaderName>) -> Self {
        self.tag_fields = fields;
        self
    }

    /// Makes the key; gets the standard one.
    #[must_use]
    pub fn key(
        mut self,
        policy: impl Fn(&RequestHead<'_>, CacheKey) -> CacheKey + Send + Sync + 'static,
    ) -> Self {
        self.key = Some(Box::new(policy));
        self
    }

    /// Says which query parameters, by name, belong to the key and to the forwarded request; the others are cut out
    /// of both.
    #[must_use]
    pub fn keep_query(mut self, policy: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.query = Some(Box::new(policy));
        self
    }

    /// Says which requests the cache leaves alone.
    #[must_use]
    pub fn bypass(mut self, policy: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.bypass = Some(Box::new(policy));
        self
    }

    /// Overrides the freshness lifetime of a response.
    #[must_use]
    pub fn lifetime(
        mut self,
        policy: impl Fn(&CacheKey, &Exchange<'_>) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.lifetime = Some(Box::new(policy));
        self
    }

    /// Refuses responses that the RFC would let be stored.
    #[must_use]
    pub fn storable(
        mut self,
        policy: impl Fn(&CacheKey, &Exchange<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.storable = Some(Box::new(policy));
        self
    }

    /// Adds tags to those of the response's own fields.
    #[must_use]
    pub fn tags(
        mut self,
        policy: impl Fn(&CacheKey, &Exchange<'_>) -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.tags = Some(Box::new(policy));
        self
    }

    /// Where the time of day comes from. Default `SystemTime::now`.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Makes the cache.
    ///
    /// # Errors
    /// A setting cannot work; the error names it.
    pub fn build(self) -> Result<HttpCache, ConfigError> {
        let name = cache_identifier(&self.name).ok_or(ConfigError::Name)?;
        if self.capacity == 0 {
            return Err(ConfigError::Capacity);
        }
        let object_bytes_max = self.object_bytes_max.unwrap_or(self.capacity / 8);
        if object_bytes_max > self.capacity {
            return Err(ConfigError::ObjectBytes(object_bytes_max, self.capacity));
        }
        // An entry weighs half a kilobyte at the very least.
        let entries = usize::try_from(self.capacity / 512).unwrap_or(usize::MAX).clamp(64, 1 << 20);
        Ok(HttpCache {
            shared: Arc::new(Shared {
                store: Cache::builder(self.capacity).entries(entries).build(),
                uncacheable: Cache::builder(MAX_HIT_FOR_MISS).build(),
                flights: Flights::default(),
                counters: Counters::default(),
                stripes: std::array::from_fn(|_| Stripe::default()),
                hasher: RandomState::new(),
                epoch: AtomicU64::new(1),
                swept: AtomicU64::new(0),
                name,
                object_bytes_max,
                settings: self,
            }),
        })
    }
}

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
            tag_fields: vec![HeaderName::from_static("surrogate-key"), HeaderName::from_static("cache-tag")],
            key: None,
            query: None,
            bypass: None,
            lifetime: None,
            storable: None,
            tags: None,
            clock: Box::new(SystemTime::now),
        }
    }

    /// A layer that puts this cache in front of a service.
    #[must_use]
    pub fn layer(&self) -> CacheLayer {
        CacheLayer::new(Arc::clone(&self.shared))
    }

    /// The cache from the operator's side.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }
}

const STRIPES: usize = 1024;

/// What writers of the same keys share.
#[derive(Default)]
struct Stripe {
    /// One writer at a time changes the list of a resource's responses.
    writer: Mutex<()>,
    /// The epoch of the latest invalidation of any key of this stripe.
    invalidated: AtomicU64,
}

/// What the layer, the handle and the fetches share.
pub(crate) struct Shared {
    pub(crate) store: Cache<CacheKey, Arc<Resource>>,
    uncacheable: Cache<CacheKey, ()>,
    pub(crate) flights: Flights,
    pub(crate) counters: Counters,
    stripes: [Stripe; STRIPES],
    hasher: RandomState,
    /// Counts invalidations. A fetch that began before one must not store what it brings.
    epoch: AtomicU64,
    /// The epoch of the latest purge of more than a key.
    swept: AtomicU64,
    pub(crate) name: String,
    pub(crate) object_bytes_max: u64,
    settings: HttpCacheBuilder,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn now(&self) -> SystemTime {
        (self.settings.clock)()
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.settings.rules
    }

    pub(crate) fn bypasses(&self, head: &RequestHead<'_>) -> bool {
        self.settings.bypass.as_ref().is_some_and(|bypass| bypass(head))
    }

    /// The key of a request, by the operator's policies.
    pub(crate) fn key(&self, head: &RequestHead<'_>) -> Result<CacheKey, KeyError> {
        let mut key = CacheKey::of(head.uri, head.headers, self.settings.default_scheme)?;
        if let Some(keeps) = &self.settings.query
            && let Some(target) = filtered(key.target(), keeps)
        {
            key = key.with_target(&target);
        }
        Ok(match &self.settings.key {
            Some(policy) => policy(head, key),
            None => key,
        })
    }

    /// The target to forward: the normalised one, so that the origin reads what the key says.
    pub(crate) fn normalised_target(&self, head: &RequestHead<'_>) -> Option<http::uri::PathAndQuery> {
        let key = CacheKey::of(head.uri, head.headers, self.settings.default_scheme).ok()?;
        let filtered = self.settings.query.as_ref().and_then(|keeps| filtered(key.target(), keeps));
        let target = filtered.as_deref().unwrap_or(key.target());
        let same = head.uri.path_and_query().is_some_and(|path| path.as_str() == target);
        if same { None } else { target.parse().ok() }
    }

    pub(crate) fn shown_key(&self, key: &CacheKey) -> Option<String> {
        self.settings.shows_key.then(|| key.as_str().to_owned())
    }

    pub(crate) fn resource(&self, key: &CacheKey) -> Option<Arc<Resource>> {
        self.store.get(key)
    }

    pub(crate) fn lifetime(&self, key: &CacheKey, exchange: &Exchange<'_>) -> Option<Duration> {
        self.settings.lifetime.as_ref().and_then(|policy| policy(key, exchange))
    }

    pub(crate) fn permits_storing(&self, key: &CacheKey, exchange: &Exchange<'_>) -> bool {
        self.settings.storable.as_ref().is_none_or(|policy| policy(key, exchange))
    }

    /// The tags of a response, at most [`MAX_TAGS`].
    pub(crate) fn tags_of(&self, key: &CacheKey, exchange: &Exchange<'_>) -> Arc<[Box<str>]> {
        let lines = self.settings.tag_fields.iter().flat_map(|name| exchange.response.get_all(name));
        let words = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split([' ', '\t', ',']))
            .filter(|word| !word.is_empty())
            .map(Box::<str>::from);
        let own = self.settings.tags.as_ref().map(|policy| policy(key, exchange)).unwrap_or_default();
        words.chain(own.into_iter().map(String::into_boxed_str)).take(MAX_TAGS).collect()
    }

    pub(crate) fn remember_uncacheable(&self, key: &CacheKey) {
        if !self.settings.hit_for_miss.is_zero() {
            let options = EntryOptions::new().weight(1).time_to_live(self.settings.hit_for_miss);
            // Forgetting one only costs a moment in a queue.
            let _refused = self.uncacheable.insert_entry(key.clone(), (), options);
        }
    }

    pub(crate) fn is_remembered_uncacheable(&self, key: &CacheKey) -> bool {
        self.uncacheable.contains_key(key)
    }

    fn stripe(&self, key: &CacheKey) -> &Stripe {
        let hash = self.hasher.hash_one(key);
        &self.stripes[usize::try_from(hash % STRIPES as u64).expect("a remainder of 1024")]
    }

    /// The present epoch, to be given to [`store`](Self::store) by a fetch that begins now.
    pub(crate) fn epoch(&self) -> u64 {
        // Pairs with the bumps below: a fetch that reads an epoch asks the origin after that invalidation.
        self.epoch.load(Ordering::Acquire)
    }

    /// Stores a response, unless its key was invalidated since the fetch began. Says whether it is stored.
    pub(crate) fn store(&self, key: &CacheKey, stored: Arc<Stored>, epoch: u64, now: SystemTime) -> bool {
        let stripe = self.stripe(key);
        let _writer = stripe.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_outdated =
            stripe.invalidated.load(Ordering::Acquire) > epoch || self.swept.load(Ordering::Acquire) > epoch;
        if is_outdated {
            return false;
        }
        let old = self.store.get(key);
        let resource = old
            .as_deref()
            .unwrap_or(&Resource { variants: Vec::new() })
            .with(stored, self.settings.variants_max);
        let options = EntryOptions::new()
            .weight(resource.weight(key.as_str().len()))
            .time_to_live(resource.useful_for(now, self.settings.keep));
        self.store.insert_entry(key.clone(), Arc::new(resource), options).is_ok()
    }

    /// Invalidates one key (RFC 9111 §4.4). Says how many responses went.
    pub(crate) fn invalidate(&self, key: &CacheKey) -> usize {
        let stripe = self.stripe(key);
        let _writer = stripe.writer.lock().unwrap_or_else(PoisonError::into_inner);
        stripe.invalidated.store(self.next_epoch(), Ordering::Release);
        self.uncacheable.remove(key);
        self.store.remove(key).map_or(0, |resource| resource.variants.len())
    }

    /// Makes every fetch under way unable to store, before many keys are purged.
    pub(crate) fn begin_sweep(&self) {
        self.swept.store(self.next_epoch(), Ordering::Release);
    }

    fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
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
