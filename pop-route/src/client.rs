//! What is known of clients: who asks, and what the operator's tables say of them.

use core::hash::{Hash, Hasher};
use core::net::IpAddr;

use crate::{Location, SiteId};

/// What is known of the clients in a prefix.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ClientFacts {
    /// Where they are.
    pub location: Option<Location>,
    /// Their country, ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// The autonomous system that announces them.
    pub asn: Option<u32>,
    /// The countries or regions whose sites may serve them; empty means all.
    pub fence: Vec<String>,
    /// Where BGP takes them when they ask for an anycast address: sites with the part of the clients that each
    /// catches, the parts adding up to one. Empty if that is not known.
    pub catchment: Vec<(SiteId, f64)>,
    /// What they ask for, in the unit of the sites' capacities.
    pub demand: f64,
}

impl ClientFacts {
    /// Clients at this place.
    #[must_use]
    pub fn at(location: Location) -> Self {
        Self { location: Some(location), ..Self::default() }
    }

    /// Clients of this country.
    #[must_use]
    pub fn country(mut self, country: impl Into<String>) -> Self {
        self.country = Some(country.into());
        self
    }

    /// Clients that this autonomous system announces.
    #[must_use]
    pub const fn asn(mut self, asn: u32) -> Self {
        self.asn = Some(asn);
        self
    }

    /// Only sites in this country or region may serve them; can be said several times.
    #[must_use]
    pub fn fenced_to(mut self, country: impl Into<String>) -> Self {
        self.fence.push(country.into());
        self
    }

    /// Where BGP takes them: parts that are not above zero are left out, the others scaled to add up to one.
    #[must_use]
    pub fn caught_by(mut self, parts: impl IntoIterator<Item = (SiteId, f64)>) -> Self {
        self.catchment = parts.into_iter().filter(|(_, part)| part.is_finite() && *part > 0.0).collect();
        let sum: f64 = self.catchment.iter().map(|(_, part)| part).sum();
        self.catchment.iter_mut().for_each(|(_, part)| *part /= sum);
        self
    }

    /// What they ask for.
    #[must_use]
    pub const fn demand(mut self, demand: f64) -> Self {
        self.demand = demand;
        self
    }
}

/// Facts by their bits, so that equal ones are kept once.
#[derive(Clone, Debug)]
pub(crate) struct FactsKey(pub(crate) ClientFacts);

impl PartialEq for FactsKey {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (&self.0, &other.0);
        let bits = |facts: &ClientFacts| facts.location.map(Location::bits);
        let parts = |facts: &ClientFacts| -> Vec<(SiteId, u64)> {
            facts.catchment.iter().map(|&(site, part)| (site, part.to_bits())).collect()
        };
        (bits(one), &one.country, one.asn, &one.fence)
            == (bits(other), &other.country, other.asn, &other.fence)
            && parts(one) == parts(other)
            && one.demand.to_bits() == other.demand.to_bits()
    }
}

impl Eq for FactsKey {}

impl Hash for FactsKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.location.map(Location::bits).hash(state);
        (&self.0.country, self.0.asn, &self.0.fence).hash(state);
        self.0.catchment.iter().for_each(|(site, part)| (site, part.to_bits()).hash(state));
        self.0.demand.to_bits().hash(state);
    }
}

/// How a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ClientSource {
    /// The client subnet of a query (RFC 7871).
    Subnet,
    /// The client's own address, as a PoP sees it over HTTP.
    Address,
    /// The resolver that asked for it: perhaps near it, perhaps not.
    Resolver,
}

/// A block of clients and how it was told.
///
/// ```
/// use pop_route::{Client, ClientSource};
///
/// let resolver = "192.0.2.53".parse()?;
/// let told = Client::of_query(Some(("198.51.100.0".parse()?, 24)), resolver);
/// assert_eq!((told.block.1, told.source), (24, ClientSource::Subnet));
/// // A client subnet of length 0 asks not to be located (RFC 7871 §7.1.2).
/// let shy = Client::of_query(Some(("0.0.0.0".parse()?, 0)), resolver);
/// assert_eq!((shy.block.0, shy.source), (resolver, ClientSource::Resolver));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// An address of the block, and the leading bits that are known.
    pub block: (IpAddr, u8),
    /// Who told.
    pub source: ClientSource,
}

impl Client {
    /// The client behind a DNS query: by its client subnet if it has one, else by its resolver.
    #[must_use]
    pub fn of_query(subnet: Option<(IpAddr, u8)>, resolver: IpAddr) -> Self {
        match subnet.filter(|&(_, length)| length > 0) {
            Some(block) => Self { block, source: ClientSource::Subnet },
            None => Self { block: whole(resolver), source: ClientSource::Resolver },
        }
    }

    /// The client of a connection.
    #[must_use]
    pub fn of_connection(address: IpAddr) -> Self {
        Self { block: whole(address), source: ClientSource::Address }
    }
}

const fn whole(address: IpAddr) -> (IpAddr, u8) {
    (address, if address.is_ipv4() { 32 } else { 128 })
}
