//! The PoP: what the rooms are put together to.

mod admin;
mod bind;
mod builder;
mod entrance;
mod error;
#[cfg(feature = "config")]
mod from_file;
mod future;
mod handle;
mod hosts;
mod judge;
mod plane;
// Without a cache and without routes there is nothing that takes parameters.
#[cfg_attr(not(any(feature = "cache", feature = "route")), allow(dead_code))]
mod query;
mod reload;
mod run;
mod service;

pub use builder::PopBuilder;
pub use error::{BuildError, Missing, RunError};
pub use future::Answering;
pub use handle::{Addresses, Handle};
pub use reload::Reloaded;
pub use run::Pop;
pub use service::PopService;

pub(crate) use run::Inner;
