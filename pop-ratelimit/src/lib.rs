// The first page shows keyed limits, so its examples run where those exist.
#![cfg_attr(any(feature = "std", not(doctest)), doc = include_str!("../README.md"))]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[cfg(feature = "std")]
mod access;
mod bucket;
#[cfg(feature = "std")]
mod classes;
#[cfg(feature = "std")]
mod clock;
mod concurrency;
mod decision;
#[cfg(feature = "std")]
mod heavy;
mod hierarchy;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
#[cfg(feature = "std")]
mod keyed;
#[cfg(feature = "std")]
mod leased;
#[cfg(feature = "serde")]
mod notation;
#[cfg(feature = "std")]
mod penalty;
mod promises;
mod quota;
mod ramp;
mod rate;
mod reservation;
#[cfg(feature = "std")]
mod rrl;
#[cfg(feature = "std")]
mod slot;
#[cfg(feature = "std")]
mod snapshot;
mod sync;
#[cfg(feature = "std")]
mod tiers;
mod time;
mod timeline;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod tokio;
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub mod tower;
mod virtual_time;

#[cfg(feature = "std")]
pub use access::{ACCESS_RULES_MAX, Access, AccessError, AccessList};
pub use bucket::{BucketAt, TokenBucket};
#[cfg(feature = "std")]
pub use classes::{KeyedClasses, KeyedWindows};
#[cfg(feature = "std")]
pub use clock::{ManualClock, now};
pub use concurrency::{AdaptiveLimit, LimitPolicy, Outcome};
#[cfg(feature = "std")]
pub use concurrency::{Concurrency, KeyedConcurrency, KeyedPermit, Permit};
pub use decision::Decision;
#[cfg(feature = "std")]
pub use heavy::{HeavyHitters, HeavyPrefixes, Hitter, SpaceSaving};
pub use hierarchy::{Hierarchy, LEVELS_MAX, Level, Verdict};
#[cfg(feature = "std")]
pub use keyed::{KeyedLimiter, SLOTS_PER_LINE};
#[cfg(feature = "std")]
pub use leased::LeasedBucket;
#[cfg(feature = "std")]
pub use penalty::{Penalty, PenaltyBox, PenaltyTerms};
pub use quota::{BURST_MAX, PERIOD_MAX, Quota, QuotaError, TOKENS_PER_SECOND_MAX};
pub use ramp::{Ramp, RampedBucket};
pub use reservation::{Booking, Reservation};
#[cfg(feature = "std")]
pub use rrl::{ResponseAction, ResponseClass, ResponseRateLimiter};
#[cfg(feature = "std")]
pub use snapshot::SnapshotError;
#[cfg(feature = "std")]
pub use tiers::{IPV4_TIERS, IPV6_TIERS, PrefixTiers, Tier};
pub use time::Timestamp;
