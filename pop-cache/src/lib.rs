#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod clock;
mod entry;
mod flight;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
mod index;
mod stats;
mod sync;
mod time;

pub use cache::{Builder, Cache, Ref, Refused};
pub use clock::now;
pub use entry::EntryOptions;
pub use stats::Stats;
pub use time::Timestamp;
