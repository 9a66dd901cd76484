#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod barrier;
mod builder;
mod cache;
mod clock;
mod deadlines;
mod entry;
mod flight;
mod hazard;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
mod index;
mod inline;
mod inline_bits;
mod inline_duel;
mod inline_set;
mod lapse;
mod loading;
mod memory;
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod policy;
mod room;
#[cfg(feature = "serde")]
mod snapshot;
mod stats;
mod steps;
mod store;
mod stripe;
mod sync;
mod table;
mod tags;
mod time;
mod walk;

pub use builder::Builder;
pub use cache::{Cache, Change, Ref, Refused};
pub use clock::now;
pub use entry::EntryOptions;
pub use inline::InlineCache;
pub use inline_bits::Inline;
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
pub use snapshot::{Restored, SnapshotError};
pub use stats::Stats;
pub use store::RemovalCause;
pub use time::Timestamp;
