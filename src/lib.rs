//! Building blocks of a PoP (Point of Presence), composed into a running one.
//!
//! A [`Pop`] listens, finds the host of a request, serves it from the cache or fetches it from the host's origin, and
//! answers DNS for the names that lead to it. Each block is a crate of its own, re-exported here: `cache`, `route`,
//! `dns`, `ratelimit`.
//!
//! ```no_run
//! # #[cfg(all(feature = "serve", feature = "cache"))]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use pop_edge::{CachePolicy, Origin, Pop};
//!
//! let pop = Pop::cdn("fra1")
//!     .http("127.0.0.1:8080".parse()?)
//!     .cache(CachePolicy::capacity(256 << 20))
//!     .host("www.example.org", Origin::http("127.0.0.1:8000"))
//!     .build()?;
//! let handle = pop.handle(); // drain, reload, purge, explain, stats
//! pop.run_until(async { drop(tokio::signal::ctrl_c().await) }).await?;
//! # let _ = handle;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[cfg(feature = "serve")]
mod body;
#[cfg(feature = "serve")]
mod clock;
#[cfg(feature = "serve")]
pub mod config;
#[cfg(feature = "serve")]
mod exchange;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod fabric;
#[cfg(all(feature = "serve", feature = "ratelimit"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "serve", feature = "ratelimit"))))]
pub mod guard;
#[cfg(feature = "serve")]
mod interim;
#[cfg(feature = "serve")]
mod monitor;
#[cfg(feature = "serve")]
mod origin;
#[cfg(feature = "serve")]
mod pop;
#[cfg(all(feature = "serve", feature = "ratelimit"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "serve", feature = "ratelimit"))))]
pub mod rules;
#[cfg(feature = "serve")]
mod serve;
#[cfg(all(feature = "serve", feature = "dns"))]
mod steer;

#[cfg(feature = "cache")]
#[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
pub use pop_cache as cache;
#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
pub use pop_dns as dns;
#[cfg(feature = "ratelimit")]
#[cfg_attr(docsrs, doc(cfg(feature = "ratelimit")))]
pub use pop_ratelimit as ratelimit;
#[cfg(feature = "route")]
#[cfg_attr(docsrs, doc(cfg(feature = "route")))]
pub use pop_route as route;

#[cfg(all(feature = "serve", feature = "cache"))]
pub use config::CachePolicy;
#[cfg(all(feature = "serve", feature = "ratelimit"))]
pub use config::Limit;
#[cfg(feature = "tls")]
pub use config::{CertificateError, Certificates};
#[cfg(feature = "redis")]
pub use fabric::Fabric;
#[cfg(feature = "serve")]
pub use {
    body::{Body, BoxError},
    config::{Admin, Host, Origin, Preset, Settings},
    exchange::{Denial, Gate, Permit, RequestHead, Seat, Trail, Verdict},
    monitor::Counts,
    pop::{
        Addresses, Answering, BuildError, Handle, Missing, Pop, PopBuilder, PopService, Reloaded, RunError,
    },
};

#[cfg(all(fuzzing, feature = "serve"))]
pub use serve::fuzz;

/// The README's example compiles.
#[cfg(all(doctest, feature = "serve", feature = "cache", feature = "dns", feature = "ratelimit"))]
#[doc = include_str!("../README.md")]
struct Readme;
