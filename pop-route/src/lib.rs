#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod health;
mod prefix;
mod rtt;
mod selector;
mod site;
mod table;
mod time;

pub use health::HealthPolicy;
pub use prefix::{Family, Prefix, PrefixError};
pub use rtt::{ESTIMATE_AGE_MAX, RTT_MAX, SAMPLES_MIN};
pub use selector::{
    Candidate, Choice, ClientFacts, Explanation, Fate, Reason, SCOPE_V4_MAX, SCOPE_V6_MAX, Selector,
    SelectorBuilder, Snapshot,
};
pub use site::{AdminState, Location, MapError, SITES_MAX, Site, SiteId, SiteMap};
pub use table::{
    LiveTable, PrefixSnapshot, PrefixTable, RangeError, ScopedSnapshot, VALUES_MAX, prefixes_of_range,
};
pub use time::Timestamp;
