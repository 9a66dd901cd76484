//! The in-memory cache beside its peers: what the programs in `src/bin` share.

pub mod contenders;
pub mod peers;
pub mod policy;
pub mod trace;
pub mod workload;
