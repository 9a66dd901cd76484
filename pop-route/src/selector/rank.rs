//! The middle stages: from candidates to an order, for one class of clients.
//!
//! Lowest round trip first; where BGP is known to catch the clients, anycast stays in front until a gain is proven;
//! neighbours within the band share by weight; and if no site is well, those that are not, marked as panic.

use super::candidates::{Candidate, Fate};
use super::policy::AnycastRule;
use super::snapshot::Reason;
use super::{Policy, control::Control};
use crate::{ClientFacts, SiteId};

/// How many of the nearest sites a class remembers. Health of others cannot change its decision, unless so many of
/// these are gone that it had to look further.
pub(super) const NEAR_MAX: usize = 16;

/// The outcome for a class, before load is looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ranking {
    /// Sites that may serve, the best first, with their round trip. At most [`NEAR_MAX`].
    pub(super) sites: Vec<(SiteId, f64)>,
    /// The sites whose state can change the outcome; see [`NEAR_MAX`].
    pub(super) near: Vec<SiteId>,
    /// It looked beyond the near sites: any site's state can change it.
    pub(super) thin: bool,
    pub(super) reason: Option<Reason>,
    /// Clients should use the anycast address; the first site is the one that most likely catches them.
    pub(super) anycast: bool,
    /// How clients are split, parts adding up to one; empty where all go to the first.
    pub(super) shares: Vec<(SiteId, f64)>,
}

/// What the anycast rule saw.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AnycastGain {
    /// The round trip over anycast, in milliseconds: that of the catching sites, weighted by their parts.
    pub anycast_millis: f64,
    /// The gain of the best site over it, in milliseconds.
    pub gain_millis: f64,
    /// The gain that is proven: the lower end of its confidence interval. `None` where either side is not measured.
    pub proven_millis: Option<f64>,
    /// Whether clients leave anycast for it.
    pub leaves: bool,
}

/// Orders the candidates. `left` says whether the class has left anycast before.
pub(super) fn rank(control: &Control, facts: &ClientFacts, candidates: &[Candidate], left: bool) -> Ranking {
    let order = |one: &&Candidate, other: &&Candidate| {
        one.millis.total_cmp(&other.millis).then(one.site.cmp(&other.site))
    };
    let best = |wanted: &dyn Fn(Fate) -> bool| -> Vec<&Candidate> {
        let mut found: Vec<&Candidate> =
            candidates.iter().filter(|candidate| wanted(candidate.fate)).collect();
        if found.len() > NEAR_MAX {
            found.select_nth_unstable_by(NEAR_MAX, order);
            found.truncate(NEAR_MAX);
        }
        found.sort_by(order);
        found
    };
    let permitted = best(&|fate| !matches!(fate, Fate::FencedOut | Fate::AdminDown));
    let mut eligible = best(&|fate| fate == Fate::Eligible);
    let panic = eligible.is_empty();
    if panic {
        // Draining sites are well, so they come before sick ones; an operator's "down" is the last resort.
        eligible = [Fate::Draining, Fate::Unhealthy, Fate::AdminDown]
            .iter()
            .flat_map(|&wanted| best(&move |fate| fate == wanted))
            .take(NEAR_MAX)
            .collect();
    }
    let mut near: Vec<SiteId> = permitted.iter().map(|candidate| candidate.site).collect();
    let thin = panic || eligible.iter().any(|candidate| !near.contains(&candidate.site));
    // A catching site can be far away: its state counts, too.
    for (site, _) in &facts.catchment {
        if !near.contains(site) {
            near.push(*site);
        }
    }
    let mut ranking = Ranking {
        near,
        thin,
        sites: eligible.iter().map(|candidate| (candidate.site, candidate.millis)).collect(),
        ..Ranking::default()
    };
    ranking.reason = eligible.first().map(|best| match best {
        _ if panic => Reason::Panic,
        best if best.measured => Reason::Measured,
        best if best.millis.is_finite() => Reason::Distance,
        _ => Reason::Unknown,
    });
    let gain = if panic { None } else { anycast_gain(&control.policy.anycast, facts, candidates, left) };
    match gain {
        Some(gain) if !gain.leaves => stay_on_anycast(&mut ranking, facts, candidates),
        _ => ranking.shares = band_shares(&control.policy, control, &ranking.sites),
    }
    ranking
}

/// The catching sites that announce now, parts scaled to add up to one. Empty where anycast cannot be used: nothing
/// is known, nobody is left, or part of it would lead out of the fence.
fn announced<'a>(facts: &ClientFacts, candidates: &'a [Candidate]) -> Vec<(&'a Candidate, f64)> {
    let caught =
        facts.catchment.iter().filter_map(|&(site, part)| Some((candidates.get(site.index())?, part)));
    let mut announced: Vec<(&Candidate, f64)> = Vec::new();
    for (candidate, part) in caught {
        match candidate.fate {
            Fate::Eligible => announced.push((candidate, part)),
            Fate::FencedOut => return Vec::new(),
            // A site that is down or drained has withdrawn; BGP divides its clients among the others.
            Fate::AdminDown | Fate::Unhealthy | Fate::Draining => {}
        }
    }
    let sum: f64 = announced.iter().map(|(_, part)| part).sum();
    announced.iter_mut().for_each(|(_, part)| *part /= sum);
    announced
}

/// What leaving anycast would gain; `None` where there is no anycast to leave.
pub(super) fn anycast_gain(
    rule: &AnycastRule,
    facts: &ClientFacts,
    candidates: &[Candidate],
    left: bool,
) -> Option<AnycastGain> {
    let announced = announced(facts, candidates);
    let eligible = candidates.iter().filter(|candidate| candidate.fate == Fate::Eligible);
    let best = eligible.min_by(|one, other| one.millis.total_cmp(&other.millis))?;
    if announced.is_empty() {
        return None;
    }
    let (mut millis, mut variance, mut measured) = (0.0, 0.0, best.measured);
    for (candidate, part) in announced {
        millis += part * candidate.millis;
        variance += (part * candidate.error_millis).powi(2);
        measured &= candidate.measured;
    }
    let gain = millis - best.millis;
    let error = (variance + best.error_millis.powi(2)).sqrt();
    let proven = measured.then_some(gain - rule.sigmas * error);
    let enough = if left { rule.keep } else { rule.gain }.as_secs_f64() * 1e3;
    let leaves = proven.is_some_and(|proven| proven >= enough);
    Some(AnycastGain { anycast_millis: millis, gain_millis: gain, proven_millis: proven, leaves })
}

/// Puts the catching sites in front, the likeliest first.
fn stay_on_anycast(ranking: &mut Ranking, facts: &ClientFacts, candidates: &[Candidate]) {
    let mut caught = announced(facts, candidates);
    caught.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.site.cmp(&other.0.site)));
    let mut sites: Vec<(SiteId, f64)> =
        caught.iter().map(|(candidate, _)| (candidate.site, candidate.millis)).collect();
    sites
        .extend(ranking.sites.iter().filter(|(site, _)| caught.iter().all(|(other, _)| other.site != *site)));
    sites.truncate(NEAR_MAX);
    (ranking.sites, ranking.anycast, ranking.reason) = (sites, true, Some(Reason::Anycast));
}

/// Sites within the band of the best share by weight.
fn band_shares(policy: &Policy, control: &Control, sites: &[(SiteId, f64)]) -> Vec<(SiteId, f64)> {
    let band = policy.band.as_secs_f64() * 1e3;
    let Some(&(_, best)) = sites.first().filter(|(_, best)| band > 0.0 && best.is_finite()) else {
        return Vec::new();
    };
    let near: Vec<(SiteId, f64)> = sites
        .iter()
        .filter(|(_, millis)| *millis <= best + band)
        .map(|&(site, _)| (site, control.sites.site(site).weight_share()))
        .collect();
    let sum: f64 = near.iter().map(|(_, weight)| weight).sum();
    if near.len() < 2 {
        return Vec::new();
    }
    near.into_iter().map(|(site, weight)| (site, weight / sum)).collect()
}
