//! BGP: which route a router takes, where clients of an anycast prefix end up, and what a PoP should announce.

mod announcement;
mod decision;
#[cfg(feature = "bgp")]
mod graph;
#[cfg(feature = "mrt")]
mod mrt;
#[cfg(feature = "bgp")]
mod propagation;
mod rib_text;
mod route;

pub use announcement::{
    AnnouncePolicy, Announcement, Announcer, Community, PREPENDS_MAX, SiteLoad, bird_config, exabgp_lines,
    gobgp_arguments,
};
pub use decision::{BestPath, Compared, Step};
#[cfg(feature = "bgp")]
pub use graph::{AS_MAX, AsGraph, GraphError, LINKS_MAX, Relation};
#[cfg(feature = "mrt")]
pub use mrt::{MrtError, routes_of_mrt};
#[cfg(feature = "bgp")]
pub use propagation::{Catchment, Ingress};
pub use rib_text::{RIB_LINES_MAX, RibError, RibRow, parse_rib_line, routes_of_text};
pub use route::{AS_PATH_MAX, Origin, Peering, Route, Segment};
