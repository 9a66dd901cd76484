//! The first stages: every site as it looks from a client. Fence, admin state, health, then a round trip in
//! milliseconds, measured where that is confident, else by distance.

use super::control::Control;
use crate::{AdminState, ClientFacts, Prefix, Site, SiteId};

/// What became of a site for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Fate {
    /// It may serve.
    Eligible,
    /// The client's fence does not permit its country or region.
    FencedOut,
    /// An operator took it down.
    AdminDown,
    /// Its probes fail.
    Unhealthy,
    /// It takes no new clients.
    Draining,
}

/// A site as it looks from a client.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Candidate {
    /// The site.
    pub site: SiteId,
    /// What became of it.
    pub fate: Fate,
    /// Round trip in milliseconds, measured or by distance; infinite if nothing is known.
    pub millis: f64,
    /// Whether it was measured.
    pub measured: bool,
    /// The standard error of a measured round trip, in milliseconds; 0 if it was not.
    pub error_millis: f64,
    /// Samples so far, also while they are too few to count.
    pub samples: u32,
}

/// Every site with what became of it, in order of ids.
pub(super) fn candidates(control: &Control, facts: &ClientFacts, prefix: Option<Prefix>) -> Vec<Candidate> {
    let here = facts.location.map(|location| location.direction());
    let mut candidates: Vec<Candidate> = control
        .sites
        .iter()
        .zip(&control.directions)
        .map(|((id, site), direction)| Candidate {
            site: id,
            fate: fate(control, facts, id, site),
            millis: here.map_or(f64::INFINITY, |here| control.model.millis(here.distance_km(*direction))),
            measured: false,
            error_millis: 0.0,
            samples: 0,
        })
        .collect();
    for &(site, estimate) in prefix.map_or(&[][..], |prefix| control.rtts.of(prefix)) {
        let Some(candidate) = candidates.get_mut(site.index()) else { continue };
        candidate.samples = estimate.samples();
        if let Some(measured) = estimate.confident(control.now) {
            candidate.millis = measured.millis;
            candidate.error_millis = measured.error_millis;
            candidate.measured = true;
        }
    }
    candidates
}

fn fate(control: &Control, facts: &ClientFacts, id: SiteId, site: &Site) -> Fate {
    let state = &control.states[id.index()];
    if !permits(&facts.fence, site) {
        Fate::FencedOut
    } else if site.admin_state() == AdminState::Down {
        Fate::AdminDown
    } else if !state.health.is_up() {
        Fate::Unhealthy
    } else if site.admin_state() == AdminState::Draining || state.drained {
        Fate::Draining
    } else {
        Fate::Eligible
    }
}

/// Whether a fence lets clients go to a site. A site of unknown place lies outside every fence.
fn permits(fence: &[String], site: &Site) -> bool {
    let within = |place: &String| {
        site.country_code() == Some(place.as_str()) || site.region_name() == Some(place.as_str())
    };
    fence.is_empty() || fence.iter().any(within)
}
