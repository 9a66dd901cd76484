//! What follows when a rule applies.

use std::fmt;
use std::net::IpAddr;

use http::StatusCode;
use pop_ratelimit::{KeyedLimiter, Quota};

/// Memory of one rule's limit: 32,768 clients in debt at a time before newcomers inherit.
pub const LIMIT_MEMORY_BYTES: usize = 256 << 10;

/// What a rule does with the requests it applies to.
#[non_exhaustive]
pub enum Action {
    /// Refuse them with this status.
    Deny(StatusCode),
    /// Let each client do this so often; see [`Action::limit`].
    Limit(Box<KeyedLimiter<IpAddr>>),
    /// Count them and ask on: how a rule is tried before it bites.
    Count,
    /// Ask no further rule.
    Pass,
}

impl Action {
    /// Lets each client send such requests at `quota`, remembered in [`LIMIT_MEMORY_BYTES`].
    #[must_use]
    pub fn limit(quota: Quota) -> Self {
        Self::Limit(Box::new(KeyedLimiter::new(quota, LIMIT_MEMORY_BYTES)))
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deny(status) => write!(f, "Deny({status})"),
            Self::Limit(limiter) => write!(f, "Limit({:?})", limiter.quota()),
            Self::Count => f.write_str("Count"),
            Self::Pass => f.write_str("Pass"),
        }
    }
}
