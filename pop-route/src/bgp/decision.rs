//! The decision process (RFC 4271 §9.1.2.2), with the reason for each route that lost.
//!
//! ```text
//! preference      highest degree of preference (§9.1.1)
//! a  path length  shortest AS path, a set counting as one
//! b  origin       lowest
//! c  MED          lowest among routes of one neighbouring system: each group drops its own worse ones
//! d  peering      external before internal
//! e  IGP cost     lowest
//! f  router id    lowest BGP identifier
//! g  peer         lowest address
//! ```
//!
//! The steps remove from the whole set, one after the other, as the RFC says; comparing pairs instead would make the
//! outcome depend on the order of arrival, for MEDs are no total order.

use core::fmt;

use super::Route;

/// A step of the decision process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Step {
    /// The degree of preference.
    LocalPref,
    /// The length of the AS path.
    PathLength,
    /// The origin.
    Origin,
    /// The multi-exit discriminator, within one neighbouring system.
    Med,
    /// External before internal.
    Peering,
    /// The cost to the next hop.
    IgpCost,
    /// The BGP identifier.
    RouterId,
    /// The address of the peer.
    PeerAddress,
    /// Two routes that are the same to the last step: the first in the list stays.
    Order,
}

/// What became of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Compared {
    /// It is the best.
    Best,
    /// It lost in this step.
    Lost(Step),
}

/// The best of some routes to one prefix, and why the others are not.
///
/// ```
/// use pop_route::{BestPath, Compared, Route, Step};
///
/// let near = Route::new([64500, 64510], "192.0.2.1".parse()?);
/// let far = Route::new([64501, 64502, 64510], "192.0.2.2".parse()?);
/// let best = BestPath::of(&[far, near]).expect("there are routes");
/// assert_eq!(best.index(), 1);
/// assert_eq!(best.fates()[0], Compared::Lost(Step::PathLength));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BestPath {
    index: usize,
    fates: Vec<Compared>,
}

impl BestPath {
    /// The best of these; `None` if there is none. O(n) for each step, O(n²) for MEDs of many neighbours.
    #[must_use]
    pub fn of(routes: &[Route]) -> Option<Self> {
        let mut left: Vec<usize> = (0..routes.len()).collect();
        let mut fates = vec![Compared::Best; routes.len()];
        lowest(&mut left, &mut fates, Step::LocalPref, |index| u32::MAX - routes[index].local_pref);
        lowest(&mut left, &mut fates, Step::PathLength, |index| routes[index].path_length());
        lowest(&mut left, &mut fates, Step::Origin, |index| routes[index].origin);
        by_med(&mut left, &mut fates, routes);
        lowest(&mut left, &mut fates, Step::Peering, |index| routes[index].peering);
        lowest(&mut left, &mut fates, Step::IgpCost, |index| routes[index].igp_cost);
        lowest(&mut left, &mut fates, Step::RouterId, |index| routes[index].router_id);
        lowest(&mut left, &mut fates, Step::PeerAddress, |index| routes[index].peer);
        lowest(&mut left, &mut fates, Step::Order, |index| index);
        debug_assert!(left.len() <= 1);
        Some(Self { index: *left.first()?, fates })
    }

    /// The place of the best route in the list.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// What became of each route, in order of the list.
    #[must_use]
    pub fn fates(&self) -> &[Compared] {
        &self.fates
    }
}

/// Keeps the routes with the lowest key.
fn lowest<K: Ord>(left: &mut Vec<usize>, fates: &mut [Compared], step: Step, key: impl Fn(usize) -> K) {
    let Some(best) = left.iter().map(|&index| key(index)).min() else { return };
    left.retain(|&index| {
        let stays = key(index) == best;
        if !stays {
            fates[index] = Compared::Lost(step);
        }
        stays
    });
}

/// Drops routes for which the same neighbour offers a lower MED. A route of our own system is in no group.
fn by_med(left: &mut Vec<usize>, fates: &mut [Compared], routes: &[Route]) {
    let med = |index: usize| routes[index].med.unwrap_or(0);
    let all = left.clone();
    left.retain(|&index| {
        let neighbour = routes[index].neighbour();
        let worse = neighbour.is_some()
            && all.iter().any(|&other| routes[other].neighbour() == neighbour && med(other) < med(index));
        if worse {
            fates[index] = Compared::Lost(Step::Med);
        }
        !worse
    });
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LocalPref => "local preference",
            Self::PathLength => "AS path length",
            Self::Origin => "origin",
            Self::Med => "MED",
            Self::Peering => "external before internal",
            Self::IgpCost => "IGP cost",
            Self::RouterId => "router id",
            Self::PeerAddress => "peer address",
            Self::Order => "order, all else being equal",
        })
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::super::{Origin, Peering, Segment};
    use super::*;

    fn route(neighbour: u32) -> Route {
        Route::new([neighbour, 65000], Ipv4Addr::new(10, 0, 0, neighbour as u8))
    }

    /// Of two routes that differ in one attribute the first wins, in that step, in either order.
    fn check(step: Step, better: Route, worse: Route) {
        let best = BestPath::of(&[better.clone(), worse.clone()]).unwrap();
        assert_eq!((best.index(), best.fates()[1]), (0, Compared::Lost(step)));
        let best = BestPath::of(&[worse, better]).unwrap();
        assert_eq!((best.index(), best.fates()[0]), (1, Compared::Lost(step)));
    }

    #[test]
    fn each_step_decides_before_the_next() {
        let base = route(9);
        check(
            Step::LocalPref,
            Route { local_pref: 200, as_path: vec![Segment::Sequence(vec![1; 9])], ..base.clone() },
            base.clone(),
        );
        let set = vec![Segment::Sequence(vec![9]), Segment::Set(vec![1, 2, 3])];
        let longer = vec![Segment::Sequence(vec![9, 1, 2])];
        check(
            Step::PathLength,
            Route { as_path: set, origin: Origin::Incomplete, ..base.clone() },
            Route { as_path: longer, ..base.clone() },
        );
        check(
            Step::Origin,
            Route { med: Some(9), ..base.clone() },
            Route { origin: Origin::Egp, ..base.clone() },
        );
        check(
            Step::Med,
            Route { peering: Peering::Internal, ..base.clone() },
            Route { med: Some(1), ..base.clone() },
        );
        check(
            Step::Peering,
            Route { igp_cost: 9, ..base.clone() },
            Route { peering: Peering::Internal, ..base.clone() },
        );
        check(
            Step::IgpCost,
            Route { router_id: Ipv4Addr::BROADCAST, ..base.clone() },
            Route { igp_cost: 1, ..base.clone() },
        );
        check(
            Step::RouterId,
            Route { peer: Ipv4Addr::BROADCAST.into(), ..base.clone() },
            Route { router_id: Ipv4Addr::BROADCAST, ..base.clone() },
        );
        check(Step::PeerAddress, base.clone(), Route { peer: Ipv4Addr::BROADCAST.into(), ..base.clone() });
        assert_eq!(BestPath::of(&[base.clone(), base]).unwrap().fates()[1], Compared::Lost(Step::Order));
        assert_eq!(BestPath::of(&[]), None);
    }

    #[test]
    fn meds_of_different_neighbours_are_not_compared() {
        let cheap = Route { med: Some(0), igp_cost: 9, ..route(1) };
        let near = Route { med: Some(100), igp_cost: 1, ..route(2) };
        let best = BestPath::of(&[cheap, near]).unwrap();
        assert_eq!((best.index(), best.fates()[0]), (1, Compared::Lost(Step::IgpCost)));
    }

    /// The textbook case in which comparing pairs goes round in circles.
    #[test]
    fn a_route_that_lost_by_med_does_not_decide_later_steps() {
        let a = Route { med: Some(10), igp_cost: 1, ..route(1) };
        let b = Route { med: Some(0), igp_cost: 3, ..route(1) };
        let c = Route { igp_cost: 2, ..route(2) };
        for order in [[&a, &b, &c], [&c, &b, &a], [&b, &a, &c], [&c, &a, &b]] {
            let routes: Vec<Route> = order.into_iter().cloned().collect();
            let best = BestPath::of(&routes).unwrap();
            assert_eq!(routes[best.index()], c);
        }
    }

    /// The obvious twin: what survives every step, each written as "nobody left is better".
    fn naive(routes: &[Route]) -> Vec<Route> {
        let mut left: Vec<Route> = routes.to_vec();
        type Better = fn(&Route, &Route) -> bool;
        let steps: [Better; 8] = [
            |one, other| one.local_pref > other.local_pref,
            |one, other| one.path_length() < other.path_length(),
            |one, other| one.origin < other.origin,
            |one, other| {
                one.neighbour().is_some()
                    && one.neighbour() == other.neighbour()
                    && one.med.unwrap_or(0) < other.med.unwrap_or(0)
            },
            |one, other| one.peering < other.peering,
            |one, other| one.igp_cost < other.igp_cost,
            |one, other| one.router_id < other.router_id,
            |one, other| one.peer < other.peer,
        ];
        for better in steps {
            let all = left.clone();
            left.retain(|route| !all.iter().any(|other| better(other, route)));
        }
        left
    }

    fn routes() -> impl Strategy<Value = Route> {
        (
            0_u32..2,
            prop::collection::vec(1_u32..3, 1..3),
            0_u8..2,
            prop::option::of(0_u32..3),
            any::<bool>(),
            0_u32..2,
            0_u8..3,
            0_u8..2,
        )
            .prop_map(|(local_pref, path, origin, med, internal, igp_cost, id, peer)| Route {
                local_pref,
                origin: if origin == 0 { Origin::Igp } else { Origin::Incomplete },
                med,
                peering: if internal { Peering::Internal } else { Peering::External },
                igp_cost,
                peer: Ipv4Addr::new(10, 1, 0, peer).into(),
                ..Route::new(path, Ipv4Addr::new(10, 0, 0, id))
            })
    }

    proptest! {
        #[test]
        fn agrees_with_naive_in_every_order(routes in prop::collection::vec(routes(), 1..8), turn in 0_usize..8) {
            let best = BestPath::of(&routes).unwrap();
            let survivors = naive(&routes);
            prop_assert!(survivors.contains(&routes[best.index()]));
            let mut turned = routes.clone();
            turned.rotate_left(turn % routes.len());
            let other = BestPath::of(&turned).unwrap();
            prop_assert!(survivors.contains(&turned[other.index()]), "equal in every step, whatever came first");
        }
    }
}
