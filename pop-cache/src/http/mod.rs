//! An HTTP shared cache: RFC 9111 with RFC 5861, 9211 and 9213.
//!
//! The **engine** is pure: it takes fields and a `SystemTime` and returns decisions with their reasons. [`Policy`]
//! is worked out once per exchange and then answers [`Policy::storability`] and [`Policy::reuse`].
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use http::{HeaderMap, HeaderValue, Method, StatusCode};
//! use pop_cache::http::{Exchange, Policy, RequestDirectives, Reuse, Rules, Storability};
//!
//! let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
//! let mut response = HeaderMap::new();
//! response.insert("cache-control", HeaderValue::from_static("max-age=60"));
//! let exchange = Exchange {
//!     method: &Method::GET,
//!     request: &HeaderMap::new(),
//!     status: StatusCode::OK,
//!     response: &response,
//!     request_time: now,
//!     response_time: now,
//! };
//! let rules = Rules::default();
//! let policy = Policy::new(&rules, &exchange);
//! assert_eq!(policy.storability(&rules, &exchange), Storability::Allowed);
//!
//! let later = now + Duration::from_secs(45);
//! let reuse = policy.reuse(&rules, &RequestDirectives::default(), later, None);
//! assert_eq!(reuse, Reuse::Fresh { age: Duration::from_secs(45), ttl: Duration::from_secs(15) });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "tower")]
mod answer;
#[cfg(feature = "tower")]
mod below;
#[cfg(feature = "tower")]
mod body;
#[cfg(feature = "tower")]
mod builder;
#[cfg(feature = "tower")]
mod cache;
#[cfg(feature = "compression")]
mod compression;
#[cfg(feature = "tower")]
mod contents;
mod date;
#[cfg(feature = "tower")]
mod decide;
mod directive;
#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "tower")]
mod epochs;
#[cfg(feature = "tower")]
mod equivalence;
#[cfg_attr(not(feature = "tower"), allow(dead_code, reason = "the layer reads all of it"))]
mod facts;
#[cfg(feature = "tower")]
mod fetch;
mod fields;
#[cfg(feature = "tower")]
mod flight;
mod freshness;
#[cfg(feature = "tower")]
mod groups;
#[cfg(feature = "tower")]
mod handle;
mod invalidation;
mod key;
#[cfg(feature = "tower")]
mod live;
#[cfg(feature = "tower")]
mod miss;
#[cfg(feature = "tower")]
mod pass;
mod policy;
#[cfg(feature = "tower")]
mod purge;
#[cfg(feature = "tower")]
mod query;
mod range;
#[cfg(feature = "tower")]
mod record;
mod reuse;
mod rules;
#[cfg_attr(not(feature = "tower"), allow(dead_code, reason = "the layer keys by it"))]
mod search;
#[cfg(feature = "tower")]
mod service;
#[cfg(feature = "tower")]
mod sharing;
#[cfg(feature = "tower")]
mod slices;
mod status;
#[cfg(feature = "tower")]
mod stored;
#[cfg(feature = "tower")]
mod storing;
mod targeted;
#[cfg(feature = "tower")]
mod tier;
mod validation;
mod vary;

#[cfg(feature = "tower")]
pub use body::{BoxError, CacheBody};
#[cfg(feature = "tower")]
pub use builder::{ConfigError, HttpCacheBuilder};
#[cfg(feature = "tower")]
pub use cache::{HttpCache, MAX_HIT_FOR_MISS, MAX_TAGS, RequestHead};
#[cfg(feature = "compression")]
#[cfg_attr(docsrs, doc(cfg(feature = "compression")))]
pub use compression::{Coding, Compression, MAX_ENCODERS};
pub use date::{date_field, parse_date};
pub use directive::{
    Delta, MAX_DELTA_SECONDS, MAX_QUALIFIED_FIELDS, MaxStale, Qualified, RequestDirectives,
    ResponseDirectives,
};
#[cfg(feature = "disk")]
#[cfg_attr(docsrs, doc(cfg(feature = "disk")))]
pub use disk::{DiskTier, Durability, MAX_DISK_WRITES};
#[cfg(feature = "tower")]
pub use equivalence::{MAX_VARIANCE_PATHS, MAX_VARIANCES};
#[cfg(feature = "tower")]
pub use fetch::FetchError;
pub use fields::{remove_hop_by_hop, remove_unstorable, update_stored, weight_of_fields};
pub use freshness::{Freshness, LifetimeSource};
#[cfg(feature = "tower")]
pub use groups::MAX_GROUPS;
#[cfg(feature = "tower")]
pub use handle::{ExplainedResponse, Explanation, Handle, HttpStats, Purge, PurgeMode, StoredView};
pub use invalidation::{invalidates, is_unsafe, related_uris};
pub use key::{CacheKey, KeyError, MAX_KEY_BYTES};
#[cfg(feature = "tower")]
pub use live::{BLOCK_BYTES, WINDOW_BYTES};
pub use policy::{Exchange, Policy, Refusal, Storability};
#[cfg(feature = "tower")]
pub use query::{MAX_QUERIED_URIS, MAX_QUERY_BYTES, QueryLayer, QueryService, Replay};
pub use range::{ByteRange, ContentRange, MAX_RANGES, Ranges, Resolved};
pub use reuse::{Cause, OriginFailure, Reuse, StaleAllowance};
pub use rules::{ImpliedRevalidation, NoVarySearch, RequestControl, Rules, SetCookie};
pub use search::{MAX_SEARCH_PARAMETERS, SearchVariance};
#[cfg(feature = "tower")]
pub use service::{CacheFuture, CacheLayer, CacheService, LookUp, Miss};
#[cfg(feature = "tower")]
pub use slices::SLICE_BYTES;
pub use status::{CacheStatus, Forward, cache_identifier};
#[cfg(feature = "tower")]
pub use tier::{Record, Tier, TierFuture};
pub use validation::{
    Precondition, head_agrees, if_range_holds, is_for_origin, is_same, make_conditional, make_unconditional,
    precondition, strong_tag,
};
pub use vary::{MAX_VARY_FIELDS, Selection, Vary};
