//! The middle stages: from candidates to an order, for one class of clients.
//!
//! Lowest round trip first; where BGP is known to catch the clients, anycast stays in front until a gain is proven;
//! neighbours within the band share by weight; and if no site is well, those that are not, marked as panic.

use core::time::Duration;

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
    /// It is proven that another site is better than anycast, if that is well.
    pub(super) left: bool,
    /// How clients are split, parts adding up to one; empty where all go to the first.
    pub(super) shares: Vec<(SiteId, f64)>,
}

/// What the anycast rule saw.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AnycastGain {
    /// The best site if all were well.
    pub best: SiteId,
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
    let gain = anycast_gain(&control.policy.anycast, facts, candidates, left);
    ranking.left = gain.is_some_and(|gain| gain.leaves);
    if gain.is_some_and(|gain| !panic && stays(&gain, &ranking, facts, candidates)) {
        stay_on_anycast(&mut ranking, facts, candidates);
    } else {
        ranking.shares = band_shares(&control.policy, control, &ranking.sites);
    }
    ranking
}

/// Whether clients use anycast now: somebody must announce, and either nothing is proven to be better, or what is better
/// is away and the next best site is not.
fn stays(gain: &AnycastGain, ranking: &Ranking, facts: &ClientFacts, candidates: &[Candidate]) -> bool {
    let announced = announced(facts, candidates);
    let millis: f64 = announced.iter().map(|(candidate, part)| part * candidate.millis).sum();
    let stands_in = ranking.sites.first().is_some_and(|&(site, best)| site != gain.best && millis <= best);
    !announced.is_empty() && (!gain.leaves || stands_in)
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

/// What leaving anycast would gain if all sites were well; `None` where there is no anycast to leave. Outages do not count:
/// a site that goes moves only its own clients, and finds them again when it comes back.
pub(super) fn anycast_gain(
    rule: &AnycastRule,
    facts: &ClientFacts,
    candidates: &[Candidate],
    left: bool,
) -> Option<AnycastGain> {
    let serves = |candidate: &&Candidate| !matches!(candidate.fate, Fate::FencedOut | Fate::AdminDown);
    let best = candidates
        .iter()
        .filter(serves)
        .min_by(|one, other| one.millis.total_cmp(&other.millis).then(one.site.cmp(&other.site)))?;
    let caught: Vec<(&Candidate, f64)> = facts
        .catchment
        .iter()
        .filter_map(|&(site, part)| Some((candidates.get(site.index())?, part)))
        .filter(|(candidate, _)| candidate.fate != Fate::AdminDown)
        .collect();
    if caught.is_empty() || caught.iter().any(|(candidate, _)| candidate.fate == Fate::FencedOut) {
        return None;
    }
    let sum: f64 = caught.iter().map(|(_, part)| part).sum();
    let (mut millis, mut variance, mut measured, mut tail) = (0.0, 0.0, best.measured, f64::NEG_INFINITY);
    for (candidate, part) in caught {
        let part = part / sum;
        millis += part * candidate.millis;
        variance += (part * candidate.error_millis).powi(2);
        measured &= candidate.measured;
        if part >= rule.tail_part && candidate.measured {
            let error = candidate.error_millis.hypot(best.error_millis);
            tail = tail.max(candidate.millis - best.millis - rule.sigmas * error);
        }
    }
    let gain = millis - best.millis;
    let error = (variance + best.error_millis.powi(2)).sqrt();
    let proven = measured.then_some(gain - rule.sigmas * error);
    let (enough, enough_of_tail) = if left { (rule.keep, rule.tail / 2) } else { (rule.gain, rule.tail) };
    let reaches = |proven: f64, enough: Duration| proven >= enough.as_secs_f64() * 1e3;
    let leaves = proven.is_some_and(|proven| reaches(proven, enough))
        || (best.measured && reaches(tail, enough_of_tail));
    Some(AnycastGain {
        best: best.site,
        anycast_millis: millis,
        gain_millis: gain,
        proven_millis: proven,
        leaves,
    })
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
