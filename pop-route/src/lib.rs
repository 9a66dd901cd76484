#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod atlas;
mod client;
mod hash;
mod health;
mod location;
mod prefix;
mod rtt;
mod selector;
mod shed;
mod site;
#[cfg(feature = "serde")]
mod site_toml;
mod table;
mod time;

pub use atlas::{ATLAS_ROWS_MAX, AtlasError, ClientAtlas, Rule};
pub use client::{Client, ClientFacts, ClientSource};
pub use health::HealthPolicy;
pub use location::{DistanceModel, Location};
pub use prefix::{Family, Prefix, PrefixError};
pub use rtt::{ESTIMATE_AGE_MAX, Measured, PAIRS_MAX, RTT_MAX, SAMPLES_MIN};
pub use selector::{
    AnycastGain, AnycastRule, Candidate, Choice, Explanation, Fate, PICKS_MAX, Policy, Reason, SCOPE_V4_MAX,
    SCOPE_V6_MAX, SPILL_V6, Selector, SelectorBuilder, Snapshot, SpillRule, Via,
};
pub use shed::LocalShed;
pub use site::{AdminState, MapError, SITE_NAME_MAX, SITES_MAX, Site, SiteId, SiteMap};
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
pub use site_toml::{MAP_TEXT_MAX, MapTextError};
pub use table::{
    LiveTable, PrefixSnapshot, PrefixTable, RangeError, ScopedSnapshot, VALUES_MAX, prefixes_of_range,
};
pub use time::Timestamp;
