//! Load that a site cannot carry goes to others, as much as they have room for.
//!
//! ```text
//! load of a site := what the classes that it is best for ask for
//! a site above `high` spills, until its load is below `low` again
//! for each way out (class, spilling site, other site), the cheapest in milliseconds first
//!     move as much as must go, as the class has there, as the other has room for
//! first others are filled to `comfort`, then to `high`; first the near ones, then all
//! ```
//!
//! Load is computed from what classes ask for, not from what sites measure after spilling: there is no feedback, so
//! nothing swings. Nobody is filled above `high` by what others spill, so no site falls because its neighbour did. What
//! nobody has room for stays where it is nearest.

use super::policy::SpillRule;
use crate::SiteId;

/// A class with something to carry.
#[derive(Clone, Debug)]
pub(super) struct Load<'a> {
    pub(super) demand: f64,
    /// Where it goes, parts adding up to one.
    pub(super) parts: Vec<(SiteId, f64)>,
    /// Where it may go, with milliseconds.
    pub(super) sites: &'a [(SiteId, f64)],
}

/// What is known of the sites.
#[derive(Debug)]
pub(super) struct Rooms {
    /// Infinite where there is no limit.
    pub(super) capacity: Vec<f64>,
    pub(super) load: Vec<f64>,
    /// Which sites are spilling; kept from one time to the next.
    pub(super) spilling: Vec<bool>,
}

/// Below this part of a demand nothing is worth moving.
const TRIFLE: f64 = 1e-6;
/// A way of which the cost is not known comes last.
const COST_UNKNOWN: f64 = 1e9;

impl Rooms {
    /// Moves load in `classes` until no site is above what it can carry, or nobody it may go to has room.
    /// `everywhere` says where a class may go beyond the sites that it lists.
    pub(super) fn level(
        &mut self,
        rule: &SpillRule,
        classes: &mut [Load<'_>],
        everywhere: impl Fn(usize) -> Vec<(SiteId, f64)>,
    ) {
        self.load.fill(0.0);
        for class in classes.iter() {
            for &(site, part) in &class.parts {
                self.load[site.index()] += part * class.demand;
            }
        }
        for (index, spilling) in self.spilling.iter_mut().enumerate() {
            let limit = self.capacity[index] * if *spilling { rule.low } else { rule.high };
            *spilling = self.load[index] > limit;
        }
        if !self.spilling.contains(&true) {
            return;
        }
        for near in [true, false] {
            let ways_out = |index: usize, class: &Load<'_>| {
                if near { class.sites.to_vec() } else { everywhere(index) }
            };
            self.pass(rule.low, rule.comfort.min(rule.low), classes, ways_out);
            self.pass(rule.high, rule.high, classes, ways_out);
        }
    }

    /// Goes through the ways out once. Spilling sites are brought down to the part `down_to` of their capacity, others
    /// are filled up to `up_to`, which is no more: so nobody who has shed here has room afterwards, and once is enough.
    fn pass(
        &mut self,
        down_to: f64,
        up_to: f64,
        classes: &mut [Load<'_>],
        ways_out: impl Fn(usize, &Load<'_>) -> Vec<(SiteId, f64)>,
    ) {
        debug_assert!(up_to <= down_to);
        let mut ways = Vec::new();
        for (index, class) in classes.iter().enumerate().filter(|(_, class)| class.demand > 0.0) {
            for &(from, _) in class.parts.iter().filter(|(from, _)| self.excess(*from, down_to) > 0.0) {
                let out = ways_out(index, class);
                let here = out.iter().find(|(site, _)| *site == from).map_or(0.0, |&(_, millis)| millis);
                let others = out.into_iter().filter(|(to, _)| *to != from && self.room(*to, up_to) > 0.0);
                ways.extend(others.map(|(to, millis)| (cost(millis - here), index, from, to)));
            }
        }
        ways.sort_by(|one, other| {
            one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)).then(one.3.cmp(&other.3))
        });
        for (_, index, from, to) in ways {
            let amount = self.excess(from, down_to).min(self.room(to, up_to));
            let moved = classes[index].shift(from, to, amount);
            self.load[from.index()] -= moved;
            self.load[to.index()] += moved;
        }
    }

    /// What a spilling site has to lose.
    fn excess(&self, site: SiteId, down_to: f64) -> f64 {
        let index = site.index();
        if self.spilling[index] { self.load[index] - self.capacity[index] * down_to } else { 0.0 }
    }

    fn room(&self, site: SiteId, up_to: f64) -> f64 {
        self.capacity[site.index()] * up_to - self.load[site.index()]
    }
}

fn cost(millis: f64) -> f64 {
    if millis.is_finite() { millis } else { COST_UNKNOWN }
}

impl Load<'_> {
    /// Moves at most `amount` of the class from one site to another; returns how much it was.
    fn shift(&mut self, from: SiteId, to: SiteId, amount: f64) -> f64 {
        let Some(source) = self.parts.iter_mut().find(|(site, _)| *site == from) else { return 0.0 };
        let part = (amount / self.demand).min(source.1);
        // Nor is anything to be moved where nothing is asked for: the part is not a number then.
        if part.is_nan() || part <= TRIFLE {
            return 0.0;
        }
        source.1 -= part;
        match self.parts.iter_mut().find(|(site, _)| *site == to) {
            Some((_, target)) => *target += part,
            None => self.parts.push((to, part)),
        }
        self.parts.retain(|(_, part)| *part > TRIFLE);
        part * self.demand
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(index: usize) -> SiteId {
        SiteId(index as u16)
    }

    fn rooms(capacity: &[f64]) -> Rooms {
        let capacity = capacity.to_vec();
        Rooms { load: vec![0.0; capacity.len()], spilling: vec![false; capacity.len()], capacity }
    }

    #[test]
    fn a_dead_sites_load_is_spread_over_several_by_their_room() {
        // Site 0 can carry nothing; 1 is nearest, 2 next, 3 far.
        let mut rooms = rooms(&[0.0, 50.0, 50.0, 1000.0]);
        let sites: Vec<_> =
            [(0, 1.0), (1, 10.0), (2, 20.0), (3, 200.0)].map(|(index, millis)| (site(index), millis)).into();
        let mut classes = [
            Load { demand: 100.0, parts: vec![(site(0), 1.0)], sites: &sites },
            Load { demand: 20.0, parts: vec![(site(1), 1.0)], sites: &sites },
        ];
        rooms.level(&SpillRule::default(), &mut classes, |_| sites.clone());
        assert!((rooms.load.iter().sum::<f64>() - 120.0).abs() < 1e-3, "{:?}", rooms.load);
        // To comfort everywhere before anybody is filled up.
        assert!(
            (rooms.load[1] - 40.0).abs() < 1e-3 && (rooms.load[2] - 40.0).abs() < 1e-3,
            "{:?}",
            rooms.load
        );
        assert!((rooms.load[3] - 40.0).abs() < 1e-3);
    }

    #[test]
    fn a_step_of_demand_changes_the_answer_once() {
        let mut rooms = rooms(&[100.0, 100.0]);
        let sites = [(site(0), 1.0), (site(1), 10.0)];
        let mut at = |demand: f64| {
            let mut classes = [Load { demand, parts: vec![(site(0), 1.0)], sites: &sites }];
            rooms.level(&SpillRule::default(), &mut classes, |_| sites.to_vec());
            classes[0].parts.clone()
        };
        assert_eq!(at(99.0).len(), 1);
        let full = at(130.0);
        assert_eq!(full.len(), 2);
        assert!((0..5).all(|_| at(130.0) == full), "the same demand, the same answer");
        // It goes on spilling just below its limit, and stops below `low`.
        assert_eq!(at(97.0).len(), 2);
        assert_eq!(at(94.0).len(), 1);
        assert_eq!(at(97.0).len(), 1);
    }

    proptest! {
        #[test]
        fn load_is_conserved_and_nobody_overflows_while_another_has_room(
            capacity in prop::collection::vec(0.0_f64..100.0, 2..8),
            demands in prop::collection::vec((0.0_f64..50.0, any::<prop::sample::Index>(), any::<u8>()), 1..20),
        ) {
            let count = capacity.len();
            let lists: Vec<Vec<(SiteId, f64)>> = demands
                .iter()
                .map(|(_, first, fence)| {
                    let first = first.index(count);
                    let permitted = |index: usize| index == first || fence & (1 << index) != 0;
                    (0..count).filter(|&index| permitted(index)).map(|index| {
                        (site(index), if index == first { 0.0 } else { index as f64 + 1.0 })
                    }).collect()
                })
                .collect();
            let mut classes: Vec<Load<'_>> = demands
                .iter()
                .zip(&lists)
                .map(|((demand, first, _), sites)| Load { demand: *demand, parts: vec![(site(first.index(count)), 1.0)], sites })
                .collect();
            let mut rooms = rooms(&capacity);
            let rule = SpillRule::default();
            rooms.level(&rule, &mut classes, |index| lists[index].clone());
            let total: f64 = demands.iter().map(|(demand, _, _)| demand).sum();
            prop_assert!((rooms.load.iter().sum::<f64>() - total).abs() < 1e-3);
            for (class, list) in classes.iter().zip(&lists) {
                prop_assert!((class.parts.iter().map(|(_, part)| part).sum::<f64>() - 1.0).abs() < 1e-4);
                for (from, part) in &class.parts {
                    prop_assert!(list.iter().any(|(site, _)| site == from), "outside the fence");
                    let over = rooms.load[from.index()] > capacity[from.index()] * rule.high + 1e-2;
                    if over && *part * class.demand > 1e-2 {
                        for (to, _) in list.iter().filter(|(to, _)| to != from) {
                            let room = capacity[to.index()] * rule.high - rooms.load[to.index()];
                            prop_assert!(room < 1e-2, "{from:?} overflows beside {to:?} with {room}");
                        }
                    }
                }
            }
        }
    }
}
