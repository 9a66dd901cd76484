//! Origins: pooled connections, deadlines, retries within a budget, refused targets, no fields of other hops.

mod connect;
mod error;
mod forward;
mod group;
mod service;

pub(crate) use error::{Failure, OriginError};
pub(crate) use service::OriginService;
