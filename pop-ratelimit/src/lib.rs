#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod bucket;
#[cfg(feature = "std")]
mod clock;
mod decision;
mod hierarchy;
#[cfg(feature = "std")]
mod keyed;
mod quota;
mod reservation;
#[cfg(feature = "std")]
mod slot;
mod sync;
#[cfg(feature = "std")]
mod tiers;
mod time;
mod timeline;
mod virtual_time;

pub use bucket::TokenBucket;
#[cfg(feature = "std")]
pub use clock::now;
pub use decision::Decision;
pub use hierarchy::{Hierarchy, LEVELS_MAX, Level, Verdict};
#[cfg(feature = "std")]
pub use keyed::{KeyedLimiter, SLOTS_PER_LINE};
pub use quota::{BURST_MAX, PERIOD_MAX, Quota, QuotaError, TOKENS_PER_SECOND_MAX};
pub use reservation::{Booking, Reservation};
#[cfg(feature = "std")]
pub use tiers::{IPV4_TIERS, IPV6_TIERS, PrefixTiers, Tier};
pub use time::Timestamp;
