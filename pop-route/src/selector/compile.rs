//! From what is known to what is read: rankings, once for each class.

use core::net::IpAddr;
use std::sync::Arc;

use super::{Candidate, ClientFacts, Control, Fate, Reason};
use crate::rtt::Estimate;
use crate::{AdminState, Location, Prefix, PrefixTable, ScopedSnapshot, SiteId, SiteMap};

/// Milliseconds of round trip for each kilometre of great circle: light in glass needs 0.01, real paths wind by about
/// a third.
const MILLIS_PER_KM: f64 = 0.0135;
/// Milliseconds that even the nearest client needs: access network and last mile.
const MILLIS_MIN: f64 = 4.0;

/// Rankings for every class of clients, immutable.
#[derive(Debug)]
pub struct Snapshot {
    table: ScopedSnapshot<usize>,
    known: crate::PrefixSnapshot<()>,
    classes: Vec<Class>,
}

/// The sites for the clients of one prefix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// `None` for everybody of whom nothing is known.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) ranking: Box<[SiteId]>,
    pub(crate) reason: Reason,
}

impl Snapshot {
    pub(crate) fn compile(sites: Arc<SiteMap>, control: &Control) -> Self {
        // Class 0 is for everybody else.
        let mut classes = vec![Class::rank(None, candidates(&sites, control, None))];
        let mut table = PrefixTable::new();
        for &prefix in control.clients.keys() {
            table.insert(prefix, classes.len());
            classes.push(Class::rank(Some(prefix), candidates(&sites, control, Some(prefix))));
        }
        let known =
            control.clients.keys().map(|&prefix| (prefix, ())).collect::<PrefixTable<()>>().snapshot();
        Self { table: table.scoped_snapshot(), known, classes }
    }

    pub(crate) fn class(&self, class: usize) -> &Class {
        &self.classes[class]
    }

    pub(crate) fn prefix_of(&self, client: IpAddr) -> Option<Prefix> {
        self.known.longest(client).map(|(prefix, ())| prefix)
    }

    /// The class of a client, and the length of the shortest prefix around it in which the class is the same.
    pub(crate) fn look_up(&self, client: IpAddr) -> (usize, u8) {
        let (class, scope) = self.table.get(client);
        (class.copied().unwrap_or(0), scope)
    }
}

impl Class {
    fn rank(prefix: Option<Prefix>, candidates: Vec<Candidate>) -> Self {
        let mut eligible: Vec<&Candidate> =
            candidates.iter().filter(|candidate| candidate.fate == Fate::Eligible).collect();
        let panic = eligible.is_empty();
        if panic {
            eligible = candidates.iter().filter(|candidate| candidate.fate != Fate::FencedOut).collect();
        }
        // A measured round trip and an estimate by distance are both milliseconds, and compare.
        eligible.sort_by(|one, two| one.millis.total_cmp(&two.millis).then(one.site.cmp(&two.site)));
        let reason = match eligible.first() {
            None => Reason::FencedOut,
            Some(_) if panic => Reason::Panic,
            Some(best) if best.measured => Reason::Measured,
            Some(best) if best.millis.is_finite() => Reason::Distance,
            Some(_) => Reason::Unknown,
        };
        Self { prefix, ranking: eligible.iter().map(|candidate| candidate.site).collect(), reason }
    }
}

/// Every site with what became of it, for the clients of one prefix.
pub(crate) fn candidates(sites: &SiteMap, control: &Control, prefix: Option<Prefix>) -> Vec<Candidate> {
    let facts = prefix.and_then(|prefix| control.clients.get(&prefix));
    let estimates = prefix.and_then(|prefix| control.estimates.get(&prefix));
    let fenced_out = |site: &crate::Site| {
        let fence = facts.map_or(&[][..], |facts: &ClientFacts| &facts.fence);
        !fence.is_empty() && !fence.iter().any(|country| site.country_code() == Some(country))
    };
    sites
        .iter()
        .map(|(id, site)| {
            let estimate = estimates.map_or(Estimate::default(), |estimates| estimates[id.index()]);
            let measured = estimate.confident(control.now);
            let millis = match (measured, facts.and_then(|facts| facts.location)) {
                (Some(rtt), _) => rtt.as_secs_f64() * 1e3,
                (None, Some(location)) => by_distance(location, site.location()),
                (None, None) => f64::INFINITY,
            };
            let fate = if fenced_out(site) {
                Fate::FencedOut
            } else if site.admin_state() == AdminState::Down {
                Fate::AdminDown
            } else if !control.health[id.index()].is_up() {
                Fate::Unhealthy
            } else if site.admin_state() == AdminState::Draining || control.drained[id.index()] {
                Fate::Draining
            } else {
                Fate::Eligible
            };
            Candidate { site: id, fate, millis, measured: measured.is_some(), samples: estimate.samples() }
        })
        .collect()
}

fn by_distance(from: Location, to: Location) -> f64 {
    MILLIS_MIN + from.distance_km(to) * MILLIS_PER_KM
}
