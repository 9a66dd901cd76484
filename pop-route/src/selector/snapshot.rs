//! What is read: every decision that there is, and who gets which. Immutable, and swapped whole.

use core::net::IpAddr;
use core::time::Duration;

use crate::hash::{Score, mix};
use crate::table::{Leaf, Trie};
use crate::{SiteId, SiteMap};

/// Sites in a choice at most.
pub const PICKS_MAX: usize = 8;
/// Clients of one IPv4 block of this length always share a decision, and so an answer: the scope is never longer
/// (RFC 7871 §11.1 has resolvers tell no more), and load spills by whole blocks of it.
pub const SCOPE_V4_MAX: u8 = 24;
/// The longest scope for an IPv6 answer.
pub const SCOPE_V6_MAX: u8 = 56;
/// Load of IPv6 clients spills by blocks of this length: a site's worth of addresses (RFC 6177).
pub const SPILL_V6: u8 = 48;

/// Why the first site of a choice is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// It has the lowest measured round trip.
    Measured,
    /// Nothing confident is measured; it is the nearest by distance.
    Distance,
    /// Nothing is known of the client; it is the first site that is well.
    Unknown,
    /// BGP takes the client there, and nothing is proven to be better.
    Anycast,
    /// The nearest site is full; this one has room.
    Capacity,
    /// No site is well: the best of those that are not.
    Panic,
    /// The fence leaves no site at all.
    FencedOut,
}

/// By which address a client should come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Via {
    /// The site's own address.
    Unicast,
    /// The address that all sites announce; BGP does the rest.
    Anycast,
}

/// One site's part in a split decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Share {
    pub(super) site: SiteId,
    pub(super) weight: u32,
    /// It stands in for a site that is full.
    pub(super) spilled: bool,
    /// Of the site's name, so that the split survives a new order of the map.
    pub(super) salt: u64,
}

/// Where the clients of some classes go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Decision {
    pub(super) sites: [SiteId; PICKS_MAX],
    pub(super) count: u8,
    pub(super) reason: Reason,
    pub(super) anycast: bool,
    pub(super) ttl: u32,
    /// Empty where all clients go to the first site.
    pub(super) shares: Box<[Share]>,
}

/// All decisions, immutable: what a [`Selector`](super::Selector) published at some moment.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) v4: Trie,
    pub(super) v6: Trie,
    pub(super) decisions: Vec<Decision>,
}

impl Snapshot {
    /// The choice for a block of clients. One look-up; no lock, no allocation. An IPv4-mapped address is IPv4.
    #[inline]
    pub fn choose(&self, client: (IpAddr, u8)) -> Choice {
        let (leaf, key, grain) = match client.0.to_canonical() {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                (self.v4.find(bits), u64::from(bits >> (32 - SCOPE_V4_MAX)), SCOPE_V4_MAX)
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                (self.v6.find(bits), (bits >> (128 - u32::from(SPILL_V6))) as u64 | 1 << 63, SPILL_V6)
            }
        };
        self.resolve(leaf, key, grain)
    }

    #[inline]
    fn resolve(&self, leaf: Leaf, key: u64, grain: u8) -> Choice {
        let decision = &self.decisions[leaf.value as usize];
        let mut choice = Choice {
            sites: decision.sites,
            count: decision.count,
            reason: decision.reason,
            via: if decision.anycast { Via::Anycast } else { Via::Unicast },
            scope: leaf.length,
            ttl: decision.ttl,
        };
        if !decision.shares.is_empty() {
            choice.scope = choice.scope.max(grain);
            choice.lead_with(pick(&decision.shares, key));
        }
        choice
    }

    /// Bytes on the heap: the tries, and some 50 for each distinct decision.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let shares: usize = self.decisions.iter().map(|decision| size_of_val(&*decision.shares)).sum();
        self.v4.memory_bytes()
            + self.v6.memory_bytes()
            + self.decisions.capacity() * size_of::<Decision>()
            + shares
    }
}

/// Weighted rendezvous hashing: every client block has its own order of sites, so a site that goes moves only its own
/// clients, and one that grows takes from all others alike.
fn pick(shares: &[Share], key: u64) -> &Share {
    let key = mix(key);
    let score = |share: &Share| Score::new(key, share.salt, share.weight);
    let mut best = (score(&shares[0]), &shares[0]);
    for share in &shares[1..] {
        let score = score(share);
        if score.beats(best.0) {
            best = (score, share);
        }
    }
    best.1
}

/// The sites that should serve a client, the best first. Plain data: it holds on to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a choice that nobody follows moves nobody"]
pub struct Choice {
    sites: [SiteId; PICKS_MAX],
    count: u8,
    reason: Reason,
    via: Via,
    /// The prefix length around the client for which the very same choice holds.
    pub scope: u8,
    /// Seconds for which it may be kept.
    pub ttl: u32,
}

impl Choice {
    /// The best site; `None` only if the fence leaves none.
    #[must_use]
    pub fn site(&self) -> Option<SiteId> {
        self.sites().first().copied()
    }

    /// The best eligible sites, at most [`PICKS_MAX`]: to fail over, or to answer with several addresses.
    #[must_use]
    pub fn sites(&self) -> &[SiteId] {
        &self.sites[..usize::from(self.count)]
    }

    /// Why the first is the first.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// By which address the client should come to the first.
    #[must_use]
    pub const fn via(&self) -> Via {
        self.via
    }

    /// How long it may be kept.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        Duration::from_secs(self.ttl as u64)
    }

    /// The addresses to answer with: the first site's, anycast or unicast as [`via`](Self::via) says. Empty if there is
    /// no site, or it has no such address.
    #[must_use]
    pub fn addresses<'a>(&self, sites: &'a SiteMap) -> &'a [IpAddr] {
        match (self.site(), self.via) {
            (None, _) => &[],
            (Some(site), Via::Unicast) => sites.site(site).addresses(),
            (Some(site), Via::Anycast) => sites.site(site).anycast_addresses(),
        }
    }

    /// Moves a site to the front. The others keep their order; who is pushed out was the last resort.
    fn lead_with(&mut self, share: &Share) {
        if lead_with(&mut self.sites[..usize::from(self.count)], share.site) {
            self.via = Via::Unicast;
        }
        if share.spilled {
            self.reason = Reason::Capacity;
        }
    }
}

/// Moves a site to the front of a list; the last one makes room if it was not in it. False if it was in front.
pub(super) fn lead_with(sites: &mut [SiteId], site: SiteId) -> bool {
    if sites.is_empty() || sites[0] == site {
        return false;
    }
    let end = sites.iter().position(|&other| other == site).unwrap_or(sites.len() - 1);
    sites[..=end].rotate_right(1);
    sites[0] = site;
    true
}
