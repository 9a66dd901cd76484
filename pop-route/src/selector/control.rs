//! Everything that can change: sites, clients, measurements, and the classes that clients of one kind form.
//! How a change becomes a snapshot is told in [`compile`](super::compile).

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::AHashMap;

use super::class::{Class, Known, UNKNOWN};
use super::compile::{Decisions, Layout};
use super::policy::Policy;
use super::spill::Rooms;
use crate::client::FactsKey;
use crate::health::Health;
use crate::location::Direction;
use crate::rtt::RttStore;
use crate::{ClientFacts, DistanceModel, Prefix, PrefixTable, SiteId, SiteMap, Timestamp};

/// What can change about a site.
#[derive(Clone, Copy, Debug)]
pub(super) struct SiteState {
    pub(super) health: Health,
    pub(super) drained: bool,
    /// The part of its clients that a site sends away by its own decision.
    pub(super) shed: f64,
}

/// What snapshots are compiled from.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) sites: Arc<SiteMap>,
    pub(super) directions: Vec<Direction>,
    pub(super) policy: Policy,
    pub(super) model: DistanceModel,
    pub(super) states: Vec<SiteState>,
    pub(super) rtts: RttStore,
    pub(super) now: Timestamp,
    pub(super) facts: Vec<ClientFacts>,
    pub(super) clients: PrefixTable<Known>,
    pub(super) classes: Vec<Class>,
    pub(super) rooms: Rooms,
    pub(super) decisions: Decisions,
    pub(super) layout: Layout,
    /// Prefixes changed class: the layout must be drawn anew.
    pub(super) moved: bool,
}

impl Control {
    pub(super) fn new(
        sites: Arc<SiteMap>,
        clients: BTreeMap<Prefix, ClientFacts>,
        policy: Policy,
        model: DistanceModel,
        pairs_max: usize,
    ) -> Self {
        let state = SiteState { health: Health::HEALTHY, drained: false, shed: 0.0 };
        let capacity: Vec<f64> =
            sites.iter().map(|(_, site)| site.capacity_limit().unwrap_or(f64::INFINITY)).collect();
        let mut control = Self {
            directions: sites.iter().map(|(_, site)| site.location().direction()).collect(),
            states: vec![state; sites.len()],
            rooms: Rooms { load: vec![0.0; sites.len()], spilling: vec![false; sites.len()], capacity },
            sites,
            policy,
            model,
            rtts: RttStore::new(pairs_max),
            now: Timestamp::ZERO,
            facts: Vec::new(),
            clients: PrefixTable::new(),
            classes: Vec::new(),
            decisions: Decisions::default(),
            layout: Layout::default(),
            moved: true,
        };
        control.know(clients);
        control
    }

    /// Numbers the distinct facts; each makes a class.
    fn know(&mut self, clients: BTreeMap<Prefix, ClientFacts>) {
        let mut numbers: AHashMap<FactsKey, u32> = AHashMap::new();
        numbers.insert(FactsKey(ClientFacts::default()), UNKNOWN);
        self.facts.push(ClientFacts::default());
        self.classes.push(Class::new(UNKNOWN, None));
        let (facts, classes) = (&mut self.facts, &mut self.classes);
        let known = clients.into_iter().map(|(prefix, mut said)| {
            let demand = valid_demand(core::mem::take(&mut said.demand));
            let next = facts.len() as u32;
            let number = *numbers.entry(FactsKey(said)).or_insert_with_key(|key| {
                facts.push(key.0.clone());
                classes.push(Class::new(next, None));
                next
            });
            classes[number as usize].demand += demand;
            (prefix, Known { facts: number, class: number, demand })
        });
        self.clients = known.collect();
    }

    /// Takes a sample in for the longest known prefix around the client. That prefix leaves the class it shared.
    pub(super) fn measure(&mut self, client: Prefix, site: SiteId, rtt: Duration, now: Timestamp) -> bool {
        let Some((prefix, known)) =
            self.clients.longest(client.address()).map(|(prefix, known)| (prefix, *known))
        else {
            return false;
        };
        if site.index() >= self.sites.len() || !self.rtts.observe(prefix, site, rtt, now) {
            return false;
        }
        self.stands_alone(prefix, known);
        true
    }

    /// Gives a prefix with measurements a class of its own, or makes the one that it has stale.
    fn stands_alone(&mut self, prefix: Prefix, known: Known) {
        if self.classes[known.class as usize].measured == Some(prefix) {
            self.classes[known.class as usize].stale = true;
            return;
        }
        let class = self.classes.len() as u32;
        self.classes[known.class as usize].demand -= known.demand;
        self.classes.push(Class { demand: known.demand, ..Class::new(known.facts, Some(prefix)) });
        self.clients.insert(prefix, Known { class, ..known });
        self.moved = true;
    }

    /// Takes over what another one has learnt of sites that have the same name here, and of prefixes that are known here.
    pub(super) fn inherit(&mut self, other: &Self) {
        let here: Vec<Option<SiteId>> =
            other.sites.iter().map(|(_, site)| self.sites.find(site.name())).collect();
        for (state, here) in other.states.iter().zip(&here) {
            if let Some(here) = here {
                self.states[here.index()] = *state;
            }
        }
        for (prefix, site, estimate) in other.rtts.iter() {
            let known = self.clients.exact(prefix).copied();
            if let (Some(known), Some(site)) = (known, here[site.index()])
                && self.rtts.adopt(prefix, site, estimate)
            {
                self.stands_alone(prefix, known);
            }
        }
        self.now = self.now.max(other.now);
    }

    /// Sets what the clients of a known prefix ask for.
    pub(super) fn demand(&mut self, client: Prefix, demand: f64) -> bool {
        let Some((prefix, known)) =
            self.clients.longest(client.address()).map(|(prefix, known)| (prefix, *known))
        else {
            return false;
        };
        let demand = valid_demand(demand);
        self.classes[known.class as usize].demand += demand - known.demand;
        self.clients.insert(prefix, Known { demand, ..known });
        true
    }

    /// Marks the classes whose decision a change of this site can touch.
    pub(super) fn touch(&mut self, site: SiteId) {
        for class in &mut self.classes {
            class.stale |= class.ranking.thin || class.ranking.near.contains(&site);
        }
    }

    /// Marks all classes.
    pub(super) fn touch_all(&mut self) {
        self.classes.iter_mut().for_each(|class| class.stale = true);
    }

    /// The class, facts and measured prefix of clients.
    pub(super) fn class_of(&self, client: Prefix) -> (&Class, &ClientFacts, Option<Prefix>) {
        let known = self.clients.longest(client.address());
        let class = &self.classes[known.map_or(UNKNOWN, |(_, known)| known.class) as usize];
        (class, &self.facts[class.facts as usize], known.map(|(prefix, _)| prefix))
    }

    pub(super) fn load_of(&self, site: SiteId) -> f64 {
        self.rooms.load.get(site.index()).copied().unwrap_or(0.0)
    }
}

fn valid_demand(demand: f64) -> f64 {
    if demand.is_finite() && demand > 0.0 { demand } else { 0.0 }
}
