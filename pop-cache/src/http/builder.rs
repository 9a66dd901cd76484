//! Settings of the cache.

use core::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::HeaderName;

use super::cache::{HttpCache, RequestHead, Shared};
use super::key::CacheKey;
use super::policy::Exchange;
use super::rules::Rules;
use super::slices::SLICE_BYTES;
use super::status::cache_identifier;
use super::tier::{Stacked, Tier};

pub(crate) type KeyPolicy = Box<dyn Fn(&RequestHead<'_>, CacheKey) -> CacheKey + Send + Sync>;
pub(crate) type BypassPolicy = Box<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;
pub(crate) type QueryPolicy = Box<dyn Fn(&str) -> bool + Send + Sync>;
pub(crate) type LifetimePolicy = Box<dyn Fn(&CacheKey, &Exchange<'_>) -> Option<Duration> + Send + Sync>;
pub(crate) type StorablePolicy = Box<dyn Fn(&CacheKey, &Exchange<'_>) -> bool + Send + Sync>;
pub(crate) type TagPolicy = Box<dyn Fn(&CacheKey, &Exchange<'_>) -> Vec<String> + Send + Sync>;
pub(crate) type PurgePolicy = Box<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;
pub(crate) type Clock = Box<dyn Fn() -> SystemTime + Send + Sync>;

/// Settings of an [`HttpCache`].
pub struct HttpCacheBuilder {
    pub(crate) capacity: u64,
    pub(crate) name: String,
    pub(crate) rules: Rules,
    pub(crate) object_bytes_max: Option<u64>,
    pub(crate) variants_max: usize,
    pub(crate) keep: Duration,
    pub(crate) hit_for_miss: Duration,
    pub(crate) default_scheme: &'static str,
    pub(crate) shows_key: bool,
    pub(crate) tag_fields: Vec<HeaderName>,
    pub(crate) key: Option<KeyPolicy>,
    pub(crate) query: Option<QueryPolicy>,
    pub(crate) bypass: Option<BypassPolicy>,
    pub(crate) lifetime: Option<LifetimePolicy>,
    pub(crate) storable: Option<StorablePolicy>,
    pub(crate) tags: Option<TagPolicy>,
    pub(crate) unkeyed: Vec<HeaderName>,
    pub(crate) slice_bytes: Option<u64>,
    pub(crate) flight_bytes_max: Option<u64>,
    pub(crate) purge: Option<PurgePolicy>,
    pub(crate) tier: Option<Arc<dyn Tier>>,
    pub(crate) collapse_wait: Option<Duration>,
    #[cfg(feature = "compression")]
    pub(crate) compression: Option<super::compression::Compression>,
    pub(crate) clock: Clock,
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
    /// `slice_bytes` (first) is zero, or larger than `object_bytes_max` (second).
    SliceBytes(u64, u64),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => formatter.write_str("name: expected visible ASCII, at least one character"),
            Self::Capacity => formatter.write_str("capacity: expected at least one byte"),
            Self::ObjectBytes(object, capacity) => {
                write!(formatter, "object_bytes_max: {object} is more than the capacity, {capacity}")
            }
            Self::SliceBytes(slice, object) => {
                write!(
                    formatter,
                    "slice_bytes: {slice}, expected at least 1 and at most object_bytes_max, {object}"
                )
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

    /// Bodies with more bytes are stored in slices where they can be, else passed on and not stored. Default an eighth
    /// of the capacity.
    #[must_use]
    pub fn object_bytes_max(mut self, bytes: u64) -> Self {
        self.object_bytes_max = Some(bytes);
        self
    }

    /// The size of the slices in which bodies larger than `object_bytes_max` are fetched and stored; `None` passes them
    /// on instead. Default 1 MiB, less in a small cache. Needs an origin that serves ranges and sends strong entity
    /// tags; each reader holds one slice.
    #[must_use]
    pub fn slice_bytes(mut self, bytes: Option<u64>) -> Self {
        self.slice_bytes = bytes;
        self
    }

    /// The bytes that all fetches under way may hold together beside the capacity. A body for which there is no room is
    /// passed on through a window of [`WINDOW_BYTES`](super::WINDOW_BYTES) and not stored. Default a quarter of the
    /// capacity, and as much as one body may have.
    #[must_use]
    pub fn flight_bytes_max(mut self, bytes: u64) -> Self {
        self.flight_bytes_max = Some(bytes);
        self
    }

    /// Request fields that origins are known to act on though no key covers them: they are removed from requests whose
    /// answers may be stored, since otherwise one client could choose what others get. Default the fields that rewrite
    /// the target or the method: `X-Original-URL`, `X-Rewrite-URL`, `X-HTTP-Method-Override`, `X-HTTP-Method`,
    /// `X-Method-Override`. A front that sets trustworthy `Forwarded` fields is left its own.
    #[must_use]
    pub fn unkeyed_fields(mut self, fields: Vec<HeaderName>) -> Self {
        self.unkeyed = fields;
        self
    }

    /// How long a request waits for the head of another's fetch before it asks for itself, so that one hanging connection
    /// to the origin holds up nobody else. Needs a runtime with a timer. Default: as long as the fetch takes, which is
    /// for the inner service's deadlines to bound.
    #[must_use]
    pub fn collapse_wait(mut self, wait: Duration) -> Self {
        self.collapse_wait = Some(wait);
        self
    }

    /// Compresses what is stored for clients that like it better so. Default no.
    #[cfg(feature = "compression")]
    #[cfg_attr(docsrs, doc(cfg(feature = "compression")))]
    #[must_use]
    pub fn compression(mut self, compression: super::compression::Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// A store below the memory: asked on a miss, told of all that is stored and purged. Called again, it puts another one
    /// below those before, asked for what they do not have. Default none.
    #[must_use]
    pub fn tier(mut self, tier: impl Tier) -> Self {
        self.tier = Some(match self.tier.take() {
            Some(upper) => Arc::new(Stacked { upper, lower: tier }),
            None => Arc::new(tier),
        });
        self
    }

    /// Makes the method PURGE work, for requests that `allows` lets through; others get 403. Without this PURGE is a
    /// method like any other, passed on. `Soft-Purge: 1` marks stale; tag fields in the request name tags instead of
    /// the target.
    #[must_use]
    pub fn purge_method(mut self, allows: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.purge = Some(Box::new(allows));
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
    pub fn build(mut self) -> Result<HttpCache, ConfigError> {
        let name = cache_identifier(&self.name).ok_or(ConfigError::Name)?;
        if self.capacity == 0 {
            return Err(ConfigError::Capacity);
        }
        let object_bytes_max = self.object_bytes_max.unwrap_or(self.capacity / 8);
        if object_bytes_max > self.capacity {
            return Err(ConfigError::ObjectBytes(object_bytes_max, self.capacity));
        }
        let slice_bytes = self.slice_bytes.unwrap_or(1);
        let least = SLICE_BYTES.min(object_bytes_max.max(1));
        if self.slice_bytes.is_some()
            && self.slice_bytes != Some(SLICE_BYTES)
            && (slice_bytes == 0 || slice_bytes > object_bytes_max)
        {
            return Err(ConfigError::SliceBytes(slice_bytes, object_bytes_max));
        }
        self.slice_bytes = self.slice_bytes.map(|bytes| if bytes == SLICE_BYTES { least } else { bytes });
        let flight_bytes_max = self.flight_bytes_max.unwrap_or(self.capacity / 4).max(object_bytes_max);
        Ok(HttpCache::with(Shared::new(self, name, object_bytes_max, flight_bytes_max)))
    }
}
