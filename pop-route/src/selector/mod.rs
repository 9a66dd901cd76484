//! The selector: which site should serve this client, and why.
//!
//! All work is done when a [`Snapshot`] is compiled: for each class of clients (those that share a prefix of the
//! client table) the sites are ranked once. A selection is one longest-prefix match.
//!
//! ```text
//! identify  client block → the longest known prefix: its class
//! fence     sites outside the permitted countries drop out: hard, not even panic lifts it
//! health    sites that are down, dead or draining drop out
//! score     measured round trip if there is a confident one, else by distance
//! rank      lowest first; ties by id, so the order is total
//! panic     if nobody is left: every site inside the fence, and the answer says so
//! scope     the shortest prefix around the client in which the decision is the same
//! ```

mod compile;
mod explain;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;

pub use compile::Snapshot;
pub use explain::{Candidate, Explanation, Fate};

use crate::health::Health;
use crate::rtt::Estimate;
use crate::{Family, HealthPolicy, Location, Prefix, PrefixError, SiteId, SiteMap, Timestamp};

/// The longest scope for an IPv4 answer (RFC 7871 §11.1: no longer than a /24 is told by resolvers).
pub const SCOPE_V4_MAX: u8 = 24;
/// The longest scope for an IPv6 answer.
pub const SCOPE_V6_MAX: u8 = 56;
/// Seconds for which an answer may be kept, by default.
const TTL: u32 = 30;

/// What is known of the clients in a prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientFacts {
    /// Where they are.
    pub location: Option<Location>,
    /// The countries whose sites may serve them; empty means all.
    pub fence: Vec<String>,
}

impl ClientFacts {
    /// Clients at this place.
    #[must_use]
    pub fn at(location: Location) -> Self {
        Self { location: Some(location), fence: Vec::new() }
    }

    /// Only sites in `country` may serve them; can be said several times.
    #[must_use]
    pub fn fenced_to(mut self, country: impl Into<String>) -> Self {
        self.fence.push(country.into());
        self
    }
}

/// Why the first site of a choice is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It has the lowest measured round trip.
    Measured,
    /// Nothing confident is measured; it is the nearest by distance.
    Distance,
    /// Nothing is known of the client; it is the first site that is well.
    Unknown,
    /// No site is well: the best of those that are not.
    Panic,
    /// The fence leaves no site at all.
    FencedOut,
}

/// The sites that should serve a client, the best first.
#[derive(Clone, Debug)]
#[must_use = "a choice that nobody follows moves nobody"]
pub struct Choice {
    snapshot: Arc<Snapshot>,
    class: usize,
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

    /// All eligible sites, the best first.
    #[must_use]
    pub fn sites(&self) -> &[SiteId] {
        &self.snapshot.class(self.class).ranking
    }

    /// Why the first is the first.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.snapshot.class(self.class).reason
    }
}

/// Chooses sites for clients. Share it in an [`Arc`]; selecting takes no lock and allocates nothing.
///
/// ```
/// use std::time::Duration;
/// use pop_route::{ClientFacts, Location, Selector, Site, SiteMap, Timestamp};
///
/// let place = |latitude, longitude| Location::new(latitude, longitude).expect("on the globe");
/// let sites = SiteMap::new([Site::new("FRA", place(50.0, 8.6)), Site::new("NRT", place(35.8, 140.4))])?;
/// let selector = Selector::builder(sites)
///     .client(("198.51.100.0".parse()?, 24), ClientFacts::at(place(52.5, 13.4)))?
///     .build();
/// let choice = selector.select(("198.51.100.0".parse()?, 24));
/// let best = choice.site().expect("nothing is fenced");
/// assert_eq!(selector.sites().site(best).name(), "FRA");
///
/// // Measurements beat the map.
/// let client = ("198.51.100.0".parse()?, 24);
/// let tokyo = selector.sites().find("NRT").expect("there");
/// for site in selector.sites().iter().map(|(id, _)| id) {
///     let rtt = Duration::from_millis(if site == tokyo { 5 } else { 50 });
///     (0..3).for_each(|_| assert!(selector.measure(client, site, rtt, Timestamp::ZERO)));
/// }
/// selector.recompile(Timestamp::ZERO);
/// assert_eq!(selector.select(client).site(), Some(tokyo));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Selector {
    published: ArcSwap<Snapshot>,
    /// What snapshots are compiled from. Selections never touch it.
    control: Mutex<Control>,
    sites: Arc<SiteMap>,
    policy: HealthPolicy,
}

/// Everything that can change.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) clients: BTreeMap<Prefix, ClientFacts>,
    /// By prefix, then site. Prefixes are those of the clients: bounded by the table, whatever is measured.
    pub(crate) estimates: BTreeMap<Prefix, Box<[Estimate]>>,
    pub(crate) health: Box<[Health]>,
    pub(crate) drained: Box<[bool]>,
    pub(crate) now: Timestamp,
}

/// Settings of a [`Selector`].
#[derive(Debug)]
pub struct SelectorBuilder {
    sites: SiteMap,
    clients: BTreeMap<Prefix, ClientFacts>,
    policy: HealthPolicy,
}

impl SelectorBuilder {
    /// What is known of the clients in a block. More specific blocks override less specific ones whole.
    ///
    /// # Errors
    /// [`PrefixError`] where the block cannot be.
    pub fn client(mut self, block: (IpAddr, u8), facts: ClientFacts) -> Result<Self, PrefixError> {
        self.clients.insert(Prefix::try_from(block)?, facts);
        Ok(self)
    }

    /// How quickly sites fall and rise.
    #[must_use]
    pub fn health(mut self, policy: HealthPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The selector, every site taken for healthy.
    #[must_use]
    pub fn build(self) -> Selector {
        let sites = Arc::new(self.sites);
        let none = || vec![Estimate::default(); sites.len()].into_boxed_slice();
        let control = Control {
            estimates: self.clients.keys().map(|&prefix| (prefix, none())).collect(),
            clients: self.clients,
            health: vec![Health::HEALTHY; sites.len()].into(),
            drained: vec![false; sites.len()].into(),
            now: Timestamp::ZERO,
        };
        let snapshot = Snapshot::compile(Arc::clone(&sites), &control);
        Selector {
            published: ArcSwap::from_pointee(snapshot),
            control: Mutex::new(control),
            sites,
            policy: self.policy,
        }
    }
}

impl Selector {
    /// Settings for a selector among these sites.
    #[must_use]
    pub fn builder(sites: SiteMap) -> SelectorBuilder {
        SelectorBuilder { sites, clients: BTreeMap::new(), policy: HealthPolicy::default() }
    }

    /// The sites.
    #[must_use]
    pub fn sites(&self) -> &SiteMap {
        &self.sites
    }

    /// The choice for a block of clients. One longest-prefix match; no lock, no allocation.
    pub fn select(&self, client: (IpAddr, u8)) -> Choice {
        let snapshot = self.published.load_full();
        let (class, scope) = snapshot.look_up(client.0);
        let max = match Prefix::host(client.0).family() {
            Family::V4 => SCOPE_V4_MAX,
            Family::V6 => SCOPE_V6_MAX,
        };
        Choice { snapshot, class, scope: scope.min(max), ttl: TTL }
    }

    /// Takes a measured round trip between a client and a site in; false if it is rejected: out of bounds, or from a
    /// client of whom nothing is known. It counts at the next [`recompile`](Self::recompile).
    pub fn measure(&self, client: (IpAddr, u8), site: SiteId, rtt: Duration, now: Timestamp) -> bool {
        let mut control = self.control();
        let class = self.published.load().prefix_of(client.0);
        let estimates = class.and_then(|prefix| control.estimates.get_mut(&prefix));
        estimates
            .and_then(|estimates| estimates.get_mut(site.index()))
            .is_some_and(|estimate| estimate.observe(rtt, now))
    }

    /// Takes the result of a probe of a site in. If that changes its health, every client of it moves at once.
    /// True if it did.
    pub fn probed(&self, site: SiteId, success: bool, now: Timestamp) -> bool {
        let mut control = self.control();
        let changed = control
            .health
            .get_mut(site.index())
            .is_some_and(|health| health.observe(success, now, &self.policy));
        if changed {
            self.publish(&mut control, now);
        }
        changed
    }

    /// Lets a site take no more clients, or lets it take them again.
    pub fn drain(&self, site: SiteId, drained: bool, now: Timestamp) {
        let mut control = self.control();
        if let Some(state) = control.drained.get_mut(site.index()) {
            *state = drained;
        }
        self.publish(&mut control, now);
    }

    /// Whether a site is taken for healthy.
    #[must_use]
    pub fn is_healthy(&self, site: SiteId) -> bool {
        self.control().health.get(site.index()).is_some_and(|health| health.is_up())
    }

    /// Ranks all classes anew with what was measured until now, and drops what is too old.
    pub fn recompile(&self, now: Timestamp) {
        self.publish(&mut self.control(), now);
    }

    /// Why a client is sent where it is: every site, what became of it, and the numbers.
    #[must_use]
    pub fn explain(&self, client: (IpAddr, u8)) -> Explanation {
        let choice = self.select(client);
        explain::explain(&self.sites, &self.control(), &choice, client)
    }

    fn publish(&self, control: &mut Control, now: Timestamp) {
        control.now = control.now.max(now);
        self.published.store(Arc::new(Snapshot::compile(Arc::clone(&self.sites), control)));
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        // Nothing panics while it is held; were it so, its data would still be whole.
        self.control.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
