//! A route as the decision process sees it.

use core::net::{IpAddr, Ipv4Addr};

/// Autonomous systems in a path at most; what is longer is no path but an accident.
pub const AS_PATH_MAX: usize = 1_024;

/// Where a route comes from (RFC 4271 §5.1.1); the lower the better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Origin {
    /// From inside.
    #[default]
    Igp,
    /// From the historic EGP.
    Egp,
    /// From anywhere else.
    Incomplete,
}

/// Who told a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Peering {
    /// A router of another autonomous system.
    #[default]
    External,
    /// A router of our own.
    Internal,
}

/// A part of an AS path (RFC 4271 §5.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Segment {
    /// Systems in the order of the way.
    Sequence(Vec<u32>),
    /// Systems without order, from an aggregate: counts as one.
    Set(Vec<u32>),
}

/// A route with the attributes that decide.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Route {
    /// The degree of preference (§9.1.1); the higher the better.
    pub local_pref: u32,
    /// The way to the origin, the neighbour first.
    pub as_path: Vec<Segment>,
    /// Where it comes from.
    pub origin: Origin,
    /// The multi-exit discriminator; a route without one has the lowest, 0 (§9.1.2.2 c).
    pub med: Option<u32>,
    /// Who told it.
    pub peering: Peering,
    /// What the way to the next hop costs inside.
    pub igp_cost: u32,
    /// The BGP identifier of the router that told it.
    pub router_id: Ipv4Addr,
    /// The address of that router.
    pub peer: IpAddr,
    /// Communities (RFC 1997): they decide nothing here, but policies look at them.
    pub communities: Vec<(u16, u16)>,
}

impl Route {
    /// A route over these systems with default attributes: preference 100, external.
    #[must_use]
    pub fn new(as_path: impl Into<Vec<u32>>, router_id: Ipv4Addr) -> Self {
        Self {
            local_pref: 100,
            as_path: vec![Segment::Sequence(as_path.into())],
            origin: Origin::Igp,
            med: None,
            peering: Peering::External,
            igp_cost: 0,
            router_id,
            peer: router_id.into(),
            communities: Vec::new(),
        }
    }

    /// The length of the path: a set counts as one (§9.1.2.2 a).
    #[must_use]
    pub fn path_length(&self) -> usize {
        let length = |segment: &Segment| match segment {
            Segment::Sequence(systems) => systems.len(),
            Segment::Set(systems) => usize::from(!systems.is_empty()),
        };
        self.as_path.iter().map(length).sum()
    }

    /// The neighbouring system the route came from; `None` for one of our own, or where a set comes first.
    #[must_use]
    pub fn neighbour(&self) -> Option<u32> {
        match self.as_path.first()? {
            Segment::Sequence(systems) => systems.first().copied(),
            Segment::Set(_) => None,
        }
    }

    /// The system that originated it, if that is certain.
    #[must_use]
    pub fn origin_as(&self) -> Option<u32> {
        match self.as_path.last()? {
            Segment::Sequence(systems) => systems.last().copied(),
            Segment::Set(systems) => systems.first().copied().filter(|_| systems.len() == 1),
        }
    }
}
