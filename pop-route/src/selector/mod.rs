//! The selector: which site should serve a client, and why.
//!
//! All work is done when a [`Snapshot`] is compiled: clients of whom the same is known form a class, and for each class
//! the sites are ranked once. A selection is one longest-prefix match, and a hash where load is split.
//!
//! ```text
//! identify  client block → the longest known prefix: its class
//! fence     sites outside the permitted countries or regions drop out: hard, not even panic lifts it
//! health    sites that are down, dead or draining drop out
//! score     measured round trip if there is a confident one, else by distance
//! rank      lowest first; ties by id, so the order is total
//! anycast   where BGP is known to catch the client, it stays there until a gain is proven
//! weights   sites within a band of the best share by weight
//! capacity  what a site cannot carry spills to others with room, by hash of the client's /24 or /48
//! panic     if nobody is left: every site inside the fence, and the answer says so
//! scope     the shortest prefix around the client in which the whole decision is the same
//! ```

mod candidates;
mod class;
mod compile;
mod control;
mod explain;
mod policy;
mod rank;
mod snapshot;
mod spill;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

pub use candidates::{Candidate, Fate};
use control::Control;
pub use explain::Explanation;
pub use policy::{AnycastRule, Policy, SpillRule};
pub use rank::AnycastGain;
pub use snapshot::{Choice, PICKS_MAX, Reason, SCOPE_V4_MAX, SCOPE_V6_MAX, SPILL_V6, Snapshot, Via};

use crate::rtt::{Measured, PAIRS_MAX};
use crate::{
    ClientFacts, DistanceModel, HealthPolicy, Prefix, PrefixError, PrefixTable, SiteId, SiteMap, Timestamp,
};

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
    health: HealthPolicy,
}

/// Settings of a [`Selector`].
#[derive(Debug)]
pub struct SelectorBuilder {
    sites: SiteMap,
    clients: BTreeMap<Prefix, ClientFacts>,
    health: HealthPolicy,
    policy: Policy,
    model: DistanceModel,
    pairs_max: usize,
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

    /// What is known of the clients of a whole table, such as a [`ClientAtlas`](crate::ClientAtlas) makes.
    #[must_use]
    pub fn clients(mut self, table: PrefixTable<ClientFacts>) -> Self {
        self.clients.extend(table.iter().map(|(prefix, facts)| (prefix, facts.clone())));
        self
    }

    /// How quickly sites fall and rise.
    #[must_use]
    pub fn health(mut self, policy: HealthPolicy) -> Self {
        self.health = policy;
        self
    }

    /// How to decide.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// What a distance costs where nothing is measured.
    #[must_use]
    pub fn distance(mut self, model: DistanceModel) -> Self {
        self.model = model;
        self
    }

    /// How many pairs of client prefix and site may have measurements: 32 bytes each.
    /// [`PAIRS_MAX`](crate::PAIRS_MAX) if not said.
    #[must_use]
    pub const fn pairs_max(mut self, pairs: usize) -> Self {
        self.pairs_max = pairs;
        self
    }

    /// The selector, every site taken for healthy.
    #[must_use]
    pub fn build(self) -> Selector {
        self.build_with(|_| {})
    }

    /// The selector that takes over from another: sites of the same name keep their health, drain and shedding, and
    /// prefixes that are known in both keep their measurements. This is how a map is changed while it serves: build
    /// the next one beside it, and swap the [`Arc`] that readers take.
    #[must_use]
    pub fn build_after(self, before: &Selector) -> Selector {
        self.build_with(|control| control.inherit(&before.control()))
    }

    fn build_with(self, learn: impl FnOnce(&mut Control)) -> Selector {
        let sites = Arc::new(self.sites);
        let mut control =
            Control::new(Arc::clone(&sites), self.clients, self.policy, self.model, self.pairs_max);
        learn(&mut control);
        let snapshot = control.compile(Timestamp::ZERO).expect("the first compilation decides everything");
        Selector {
            published: ArcSwap::from_pointee(snapshot),
            control: Mutex::new(control),
            sites,
            health: self.health,
        }
    }
}

impl Selector {
    /// Settings for a selector among these sites.
    #[must_use]
    pub fn builder(sites: SiteMap) -> SelectorBuilder {
        SelectorBuilder {
            sites,
            clients: BTreeMap::new(),
            health: HealthPolicy::default(),
            policy: Policy::default(),
            model: DistanceModel::default(),
            pairs_max: PAIRS_MAX,
        }
    }

    /// The sites.
    #[must_use]
    pub fn sites(&self) -> &SiteMap {
        &self.sites
    }

    /// The choice for a block of clients. One longest-prefix match; no lock, no allocation.
    pub fn select(&self, client: (IpAddr, u8)) -> Choice {
        self.published.load().choose(client)
    }

    /// All decisions as they stand, to take many choices from: they will all be of one moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// Takes a measured round trip between a client and a site in; false if it is rejected: out of bounds, from a
    /// client of whom nothing is known, or beyond the pairs that may be kept. It counts at the next
    /// [`recompile`](Self::recompile), for the longest known prefix around the client and for no other.
    pub fn measure(&self, client: (IpAddr, u8), site: SiteId, rtt: Duration, now: Timestamp) -> bool {
        self.control().measure(Prefix::host(client.0), site, rtt, now)
    }

    /// What is known of the round trip between the clients of a prefix and a site; `None` while it is not confident.
    #[must_use]
    pub fn measured(&self, client: (IpAddr, u8), site: SiteId, now: Timestamp) -> Option<Measured> {
        let control = self.control();
        let (_, _, prefix) = control.class_of(Prefix::host(client.0));
        control.rtts.get(prefix?, site)?.confident(now)
    }

    /// Sets what the clients of the longest known prefix around `client` ask for, in the unit of the sites'
    /// capacities; false if nothing is known of them. It counts at the next [`recompile`](Self::recompile).
    pub fn demand(&self, client: (IpAddr, u8), demand: f64) -> bool {
        self.control().demand(Prefix::host(client.0), demand)
    }

    /// The load that a site gets by the decisions as they stand. Zero where no site has a capacity: then nobody adds up.
    #[must_use]
    pub fn load(&self, site: SiteId) -> f64 {
        self.control().load_of(site)
    }

    /// Takes the result of a probe of a site in. If that changes its health, every client of it moves at once.
    /// True if it did. Costs a compilation then, nothing else.
    pub fn probed(&self, site: SiteId, success: bool, now: Timestamp) -> bool {
        let mut control = self.control();
        let state = control.states.get_mut(site.index());
        let changed = state.is_some_and(|state| state.health.observe(success, now, &self.health));
        if changed {
            control.touch(site);
            self.publish(&mut control, now);
        }
        changed
    }

    /// Lets a site take no more clients, or lets it take them again.
    pub fn drain(&self, site: SiteId, drained: bool, now: Timestamp) {
        let mut control = self.control();
        if let Some(state) = control.states.get_mut(site.index()) {
            state.drained = drained;
            control.touch(site);
            self.publish(&mut control, now);
        }
    }

    /// Sends a part of a site's clients to their next nearest site, whatever that has to carry: what a site can decide
    /// by itself when it sees nothing of the others (after FastRoute, NSDI 2015). See [`LocalShed`](crate::LocalShed)
    /// for when.
    pub fn shed(&self, site: SiteId, part: f64, now: Timestamp) {
        let mut control = self.control();
        let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        if let Some(state) = control.states.get_mut(site.index()).filter(|state| state.shed != part) {
            state.shed = part;
            control.touch(site);
            self.publish(&mut control, now);
        }
    }

    /// Whether a site is taken for healthy.
    #[must_use]
    pub fn is_healthy(&self, site: SiteId) -> bool {
        self.control().states.get(site.index()).is_some_and(|state| state.health.is_up())
    }

    /// Takes in what was measured and demanded until now, and drops what is too old. Ranks only the classes that
    /// something changed for. Call it as often as changes should be seen, every 100 ms for instance.
    pub fn recompile(&self, now: Timestamp) {
        self.publish(&mut self.control(), now);
    }

    /// Fits the distance model to all confident measurements of clients whose place is known, and ranks everybody
    /// anew. `None`, and nothing changes, if there are too few.
    pub fn fit_distance(&self, now: Timestamp) -> Option<DistanceModel> {
        let mut control = self.control();
        let pairs = control.rtts.iter().filter_map(|(prefix, site, estimate)| {
            let (_, facts, _) = control.class_of(prefix);
            let here = facts.location?.direction();
            Some((here.distance_km(control.directions[site.index()]), estimate.confident(now)?.millis))
        });
        let model = DistanceModel::fit(pairs)?;
        control.model = model;
        control.touch_all();
        self.publish(&mut control, now);
        Some(model)
    }

    /// Why a client is sent where it is: every site, what became of it, and the numbers.
    #[must_use]
    pub fn explain(&self, client: (IpAddr, u8)) -> Explanation {
        let control = self.control();
        explain::explain(&control, &self.select(client), client)
    }

    fn publish(&self, control: &mut Control, now: Timestamp) {
        if let Some(snapshot) = control.compile(now) {
            self.published.store(Arc::new(snapshot));
        }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        // Nothing panics while it is held; were it so, its data would still be whole.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
