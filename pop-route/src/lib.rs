#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod prefix;
mod table;
mod time;

pub use prefix::{Family, Prefix, PrefixError};
pub use table::{PrefixSnapshot, PrefixTable};
pub use time::Timestamp;
