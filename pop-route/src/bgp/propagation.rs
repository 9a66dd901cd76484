//! Where an anycast prefix goes: valley-free propagation over the graph of systems, and the catchments that come of it.
//!
//! ```text
//! every system prefers what a customer tells to what a peer tells to what a provider tells  (Gao, Rexford, ToN 2001)
//! among those the shortest path; what is still equal is split: load balancing and hot potatoes flip sites
//! customers' routes are told to everybody, others' only to customers
//!
//! 1  up      breadth first from the sites' systems to providers: customer routes
//! 2  across  one step from whoever has a customer route (or is an origin) to peers
//! 3  down    from everybody to customers, shortest first: provider routes
//! ```
//!
//! A catchment is therefore a distribution: for each system, the parts of its clients that each site catches. Pairwise
//! preferences that were measured (AnyOpt, SIGCOMM 2021) override the model.

use std::collections::BTreeMap;

use super::graph::{AsGraph, Relation};
use crate::SiteId;

/// Where a site announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Ingress {
    /// The site.
    pub site: SiteId,
    /// The neighbouring system it announces to.
    pub neighbour: u32,
    /// What that is to us: mostly a provider or a peer.
    pub relation: Relation,
    /// How often our own number is repeated.
    pub prepends: u8,
}

/// What catches whom: for each system, the part of its clients that each site gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catchment {
    parts: BTreeMap<u32, Vec<(SiteId, f64)>>,
}

/// Parts below this are forgotten, the others scaled: balancing over ten ways leaves no dust.
const PART_MIN: f64 = 1e-3;

/// The kind of a route; the lower the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Customer,
    Peer,
    Provider,
}

/// The best routes of a system: all of one kind and length.
#[derive(Clone, Debug)]
struct Best {
    kind: Kind,
    length: u32,
    parts: Vec<(SiteId, f64)>,
}

/// Routes that arrive: at which system, over a path of which length, leading where.
type Arrivals = BTreeMap<u32, BTreeMap<usize, Vec<Vec<(SiteId, f64)>>>>;

impl Catchment {
    /// The catchments of a prefix announced at these places. Neighbours that the graph does not know are passed over.
    /// O(links).
    #[must_use]
    pub fn predict(graph: &AsGraph, announced: &[Ingress]) -> Self {
        let mut best: Vec<Option<Best>> = vec![None; graph.len()];
        // What the neighbour is to us says what we are to it.
        let heard = |wanted: Relation| {
            let mut arrivals = Arrivals::new();
            for ingress in announced.iter().filter(|ingress| ingress.relation == wanted) {
                if let Some(place) = graph.place(ingress.neighbour) {
                    let length = 1 + u32::from(ingress.prepends);
                    arrivals
                        .entry(length)
                        .or_default()
                        .entry(place)
                        .or_default()
                        .push(vec![(ingress.site, 1.0)]);
                }
            }
            arrivals
        };
        spread(graph, &mut best, heard(Relation::Provider), Kind::Customer, Relation::Provider);
        let mut across = heard(Relation::Peer);
        tell(graph, &best, &mut across, Relation::Peer, |best| best.kind == Kind::Customer);
        settle_all(&mut best, across, Kind::Peer);
        let mut down = heard(Relation::Customer);
        tell(graph, &best, &mut down, Relation::Customer, |_| true);
        spread(graph, &mut best, down, Kind::Provider, Relation::Customer);
        let parts =
            best.into_iter().enumerate().filter_map(|(place, best)| Some((graph.system(place), best?.parts)));
        Self { parts: parts.collect() }
    }

    /// The catchments without a site: what happens when it withdraws.
    #[must_use]
    pub fn without(graph: &AsGraph, announced: &[Ingress], site: SiteId) -> Self {
        let rest: Vec<Ingress> = announced.iter().filter(|ingress| ingress.site != site).copied().collect();
        Self::predict(graph, &rest)
    }

    /// The catchments when a site repeats our number `prepends` times more.
    #[must_use]
    pub fn prepended(graph: &AsGraph, announced: &[Ingress], site: SiteId, prepends: u8) -> Self {
        let changed = announced.iter().map(|&ingress| {
            let more = if ingress.site == site { prepends } else { 0 };
            Ingress { prepends: ingress.prepends.saturating_add(more), ..ingress }
        });
        Self::predict(graph, &changed.collect::<Vec<_>>())
    }

    /// The parts of a system's clients that sites catch, adding up to one; empty if the prefix does not reach it.
    #[must_use]
    pub fn of(&self, system: u32) -> &[(SiteId, f64)] {
        self.parts.get(&system).map_or(&[], Vec::as_slice)
    }

    /// Every system that is reached.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[(SiteId, f64)])> {
        self.parts.iter().map(|(&system, parts)| (system, parts.as_slice()))
    }

    /// Says what was measured: of two sites that both announce, the clients of a system prefer the first. Moves the part
    /// of the second, if the model gave it one, to the first.
    pub fn prefer(&mut self, system: u32, preferred: SiteId, over: SiteId) {
        let Some(parts) = self.parts.get_mut(&system) else { return };
        let Some(index) = parts.iter().position(|(site, _)| *site == over && over != preferred) else {
            return;
        };
        let (_, part) = parts.remove(index);
        add(parts, preferred, part);
    }

    /// The part of all weight that each site catches, by a weight for each system.
    #[must_use]
    pub fn shares(&self, weight: impl Fn(u32) -> f64) -> BTreeMap<SiteId, f64> {
        let mut shares = BTreeMap::new();
        let mut total = 0.0;
        for (system, parts) in self.iter() {
            let weight = weight(system);
            total += weight;
            for &(site, part) in parts {
                *shares.entry(site).or_insert(0.0) += weight * part;
            }
        }
        shares.values_mut().filter(|_| total > 0.0).for_each(|share| *share /= total);
        shares
    }
}

/// Settles arrivals, shortest first, and tells what was settled on to the neighbours that `towards` names.
fn spread(graph: &AsGraph, best: &mut [Option<Best>], mut arrivals: Arrivals, kind: Kind, towards: Relation) {
    while let Some((length, at)) = arrivals.pop_first() {
        for place in settle(best, at, kind, length) {
            let Some(settled) = &best[place] else { continue };
            for &(neighbour, relation) in graph.neighbours(place) {
                if relation == towards && best[neighbour as usize].is_none() {
                    let told = arrivals.entry(length + 1).or_default().entry(neighbour as usize).or_default();
                    told.push(settled.parts.clone());
                }
            }
        }
    }
}

/// Settles arrivals that nobody passes on for now.
fn settle_all(best: &mut [Option<Best>], arrivals: Arrivals, kind: Kind) {
    for (length, at) in arrivals {
        settle(best, at, kind, length);
    }
}

/// Gives each system that has nothing better the mean of what arrived; returns who was settled.
fn settle(
    best: &mut [Option<Best>],
    at: BTreeMap<usize, Vec<Vec<(SiteId, f64)>>>,
    kind: Kind,
    length: u32,
) -> Vec<usize> {
    let mut settled = Vec::new();
    for (place, told) in at {
        if best[place].is_none() {
            best[place] = Some(Best { kind, length, parts: mean(&told) });
            settled.push(place);
        }
    }
    settled
}

/// Lets everybody whose route `passes` tell it to neighbours of one relation.
fn tell(
    graph: &AsGraph,
    best: &[Option<Best>],
    arrivals: &mut Arrivals,
    towards: Relation,
    passes: impl Fn(&Best) -> bool,
) {
    for (place, settled) in best.iter().enumerate() {
        let Some(settled) = settled.as_ref().filter(|settled| passes(settled)) else { continue };
        for &(neighbour, relation) in graph.neighbours(place) {
            if relation == towards && best[neighbour as usize].is_none() {
                let at = arrivals.entry(settled.length + 1).or_default();
                at.entry(neighbour as usize).or_default().push(settled.parts.clone());
            }
        }
    }
}

fn mean(told: &[Vec<(SiteId, f64)>]) -> Vec<(SiteId, f64)> {
    let mut parts = Vec::new();
    for &(site, part) in told.iter().flatten() {
        add(&mut parts, site, part / told.len() as f64);
    }
    parts.retain(|(_, part)| *part >= PART_MIN);
    let sum: f64 = parts.iter().map(|(_, part)| part).sum();
    parts.iter_mut().for_each(|(_, part)| *part /= sum);
    parts.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    parts
}

fn add(parts: &mut Vec<(SiteId, f64)>, site: SiteId, part: f64) {
    match parts.iter_mut().find(|(other, _)| *other == site) {
        Some((_, sum)) => *sum += part,
        None => parts.push((site, part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SiteId = SiteId(0);
    const B: SiteId = SiteId(1);

    /// Two transit providers 1 and 2 that peer; 11 buys of 1, 12 of both, 13 of 2; 14 buys of 12 and peers with 11.
    fn graph() -> AsGraph {
        AsGraph::parse("1|2|0\n1|11|-1\n1|12|-1\n2|12|-1\n2|13|-1\n12|14|-1\n11|14|0\n").unwrap()
    }

    fn ingress(site: SiteId, neighbour: u32, relation: Relation) -> Ingress {
        Ingress { site, neighbour, relation, prepends: 0 }
    }

    fn both() -> [Ingress; 2] {
        [ingress(A, 1, Relation::Provider), ingress(B, 2, Relation::Provider)]
    }

    #[test]
    fn transit_divides_the_world_and_equals_are_split() {
        let catchment = Catchment::predict(&graph(), &both());
        assert_eq!(catchment.of(1), [(A, 1.0)]);
        assert_eq!(catchment.of(11), [(A, 1.0)]);
        assert_eq!(catchment.of(13), [(B, 1.0)]);
        assert_eq!(catchment.of(12), [(A, 0.5), (B, 0.5)]);
        assert_eq!(
            catchment.of(14),
            [(A, 0.5), (B, 0.5)],
            "only by its provider: peers do not tell providers' routes"
        );
        assert_eq!(catchment.of(99), []);
        let shares = catchment.shares(|_| 1.0);
        assert!((shares.values().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_customer_route_beats_a_shorter_one() {
        // Site B is a customer of 14: its providers 12, 1 and 2 hear of it from a customer, however long that is.
        let announced = [ingress(A, 11, Relation::Peer), ingress(B, 14, Relation::Provider)];
        let catchment = Catchment::predict(&graph(), &announced);
        assert_eq!(catchment.of(1), [(B, 1.0)]);
        assert_eq!(catchment.of(13), [(B, 1.0)]);
        assert_eq!(catchment.of(11), [(A, 1.0)], "a peer's route, one step, before the provider's");
        let alone = Catchment::predict(&graph(), &announced[..1]);
        assert_eq!(alone.of(1), [], "11 does not tell its provider what a peer told it");
    }

    #[test]
    fn what_if() {
        let catchment = Catchment::prepended(&graph(), &both(), A, 2);
        assert_eq!(catchment.of(12), [(B, 1.0)], "the shorter one");
        assert_eq!(catchment.of(1), [(A, 1.0)], "from a customer still");
        let catchment = Catchment::without(&graph(), &both(), A);
        assert!(catchment.iter().all(|(_, parts)| parts == [(B, 1.0)]));
        assert_eq!(catchment.iter().count(), 6);
    }

    #[test]
    fn measured_preferences_override() {
        let mut catchment = Catchment::predict(&graph(), &both());
        catchment.prefer(12, B, A);
        assert_eq!(catchment.of(12), [(B, 1.0)]);
        catchment.prefer(11, B, B);
        catchment.prefer(4711, A, B);
        assert_eq!(catchment.of(11), [(A, 1.0)]);
    }

    #[test]
    fn graphs_that_cannot_be() {
        use super::super::GraphError;
        let check = |text: &str, error| assert_eq!(AsGraph::parse(text).unwrap_err(), error);
        check("1|2|0\n1|2", GraphError::Syntax { line: 2 });
        check("1|2|7", GraphError::Syntax { line: 1 });
        check("x|2|0", GraphError::Syntax { line: 1 });
        check("#\n\n3|3|0", GraphError::Itself { line: 3 });
    }

    #[test]
    fn a_graph_takes_as_many_systems_and_links_as_it_may_and_no_more() {
        use super::super::GraphError;
        let chain =
            |systems: u32| -> String { (1..systems).map(|one| format!("{one}|{}|0\n", one + 1)).collect() };
        assert_eq!(AsGraph::parse(&chain(32)).unwrap().len(), 32);
        assert_eq!(AsGraph::parse(&chain(33)).unwrap_err(), GraphError::Size { line: 32 });
        // Eleven systems have 55 pairs.
        let all: String =
            (1..=11).flat_map(|one| (1..one).map(move |other| format!("{one}|{other}|-1\n"))).collect();
        let first = |lines: usize| all.lines().take(lines).collect::<Vec<_>>().join("\n");
        assert_eq!(AsGraph::parse(&first(48)).unwrap().links(), 48);
        assert_eq!(AsGraph::parse(&first(49)).unwrap_err(), GraphError::Size { line: 49 });
    }
}
