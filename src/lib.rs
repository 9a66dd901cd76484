//! Building blocks of a PoP (Point of Presence), composed into a running one.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use {pop_cache as cache, pop_dns as dns, pop_ratelimit as ratelimit, pop_route as route};
