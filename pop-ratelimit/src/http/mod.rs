//! Limits over HTTP: what clients are told, and who they are. Pure; the tower layer is in [`crate::tower`].

mod fields;
mod forwarded;
mod problem;

pub use fields::{
    FieldError, POLICIES_MAX, Policy, QuotaUnit, RATELIMIT, RATELIMIT_POLICY, Standing, parse_policies,
    parse_standings, retry_after_seconds, write_policies, write_standings,
};
pub use forwarded::{FORWARDED_HOPS_MAX, ForwardingField, TrustedProxies};
pub use problem::{PROBLEM_JSON, quota_exceeded};
