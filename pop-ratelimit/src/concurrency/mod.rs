//! How much may be under way at once: fixed, or found by watching how long things take.

mod adaptive;
#[cfg(feature = "std")]
mod keyed;
#[cfg(feature = "std")]
mod shared;

pub use adaptive::{AdaptiveLimit, LimitPolicy, Outcome};
#[cfg(feature = "std")]
pub use keyed::{KeyedConcurrency, KeyedPermit};
#[cfg(feature = "std")]
pub use shared::{Concurrency, Permit};
