#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod atlas;
mod bgp;
mod client;
#[cfg(feature = "geoip")]
mod geoip;
mod hash;
mod health;
mod location;
mod node;
mod prefix;
#[cfg(feature = "tokio")]
mod probe;
mod rtt;
mod selector;
mod shed;
mod site;
#[cfg(feature = "serde")]
mod site_toml;
mod sync;
mod table;
mod time;

pub use atlas::{ATLAS_ROWS_MAX, AtlasError, ClientAtlas, Rule};
#[cfg(feature = "bgp")]
#[cfg_attr(docsrs, doc(cfg(feature = "bgp")))]
pub use bgp::{AS_MAX, AsGraph, Catchment, GraphError, Ingress, LINKS_MAX, Relation};
pub use bgp::{
    AS_PATH_MAX, AnnouncePolicy, Announcement, Announcer, BestPath, Community, Compared, Origin,
    PREPENDS_MAX, Peering, RIB_LINES_MAX, RibError, RibRow, Route, Segment, SiteLoad, Step, bird_config,
    exabgp_lines, gobgp_arguments, parse_rib_line, routes_of_text,
};
#[cfg(feature = "mrt")]
#[cfg_attr(docsrs, doc(cfg(feature = "mrt")))]
pub use bgp::{MrtError, routes_of_mrt};
pub use client::{Client, ClientFacts, ClientSource};
#[cfg(feature = "geoip")]
#[cfg_attr(docsrs, doc(cfg(feature = "geoip")))]
pub use geoip::{GeoIp, GeoIpError};
pub use health::HealthPolicy;
pub use location::{DistanceModel, Location};
pub use node::{BoundedLoads, MAGLEV_NODES_MAX, Maglev, NodesError, PeakEwma, Rendezvous};
pub use prefix::{Family, Prefix, PrefixError};
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use probe::{ANSWER_MAX, Probe, ProbePolicy, passively, watch};
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
    LiveTable, PrefixSnapshot, PrefixTable, RangeError, ScopedSnapshot, TableEdit, VALUES_MAX,
    prefixes_of_range,
};
pub use time::Timestamp;
