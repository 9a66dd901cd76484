//! How a change becomes a snapshot.
//!
//! ```text
//! identify   prefixes → classes: those that share their facts, and those with measurements of their own
//! evaluate   stale classes only: candidates, ranking (what a changed site or a new sample can affect)
//! level      load against capacity, if any is set
//! decide     ranking and parts → decision; equal decisions have one number
//! lay out    classes → decisions over the address space, neighbours merged, cut into blocks: a block is a scope
//! ```

use std::collections::BTreeMap;

use ahash::AHashMap;

use super::candidates::{Fate, candidates};
use super::class::{Class, Known, UNKNOWN};
use super::control::{Control, SiteState};
use super::rank::{NEAR_MAX, rank};
use super::snapshot::{Decision, PICKS_MAX, Reason, SCOPE_V4_MAX, SCOPE_V6_MAX, Share, Snapshot, lead_with};
use super::spill::{Load, Rooms};
use crate::hash::salt;
use crate::rtt::ESTIMATE_AGE_MAX;
use crate::table::{Cuts, Leaf, TrieBuilder, Word, into_blocks};
use crate::{SiteId, Timestamp};

/// The address space by class.
#[derive(Debug)]
pub(super) struct Layout {
    v4: Cuts<u32>,
    v6: Cuts<u128>,
}

impl Default for Layout {
    /// Nothing is known of anybody.
    fn default() -> Self {
        Self { v4: Cuts::whole(UNKNOWN), v6: Cuts::whole(UNKNOWN) }
    }
}

/// Every distinct decision, by number.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    numbers: AHashMap<Decision, u32>,
    list: Vec<Decision>,
}

/// Decisions nobody uses any more are swept out when they outnumber the classes this many times.
const DECISIONS_PER_CLASS_MAX: usize = 4;

/// Whole parts, as weights.
const WEIGHT_ONE: f64 = 65_535.0;

impl Control {
    /// Brings everything up to date. `None` if no decision changed.
    pub(super) fn compile(&mut self, now: Timestamp) -> Option<Snapshot> {
        self.now = self.now.max(now);
        let moved = core::mem::take(&mut self.moved);
        if moved {
            self.layout = Layout { v4: layout(&self.clients.v4), v6: layout(&self.clients.v6) };
        }
        self.evaluate();
        self.level();
        let changed = self.decide();
        if changed && self.decisions.list.len() > (self.classes.len() + 1) * DECISIONS_PER_CLASS_MAX {
            // New numbers for what is in use.
            self.decisions = Decisions::default();
            self.touch_all();
            self.decide();
        }
        (changed || moved).then(|| Snapshot {
            v4: self.trie(&self.layout.v4, SCOPE_V4_MAX),
            v6: self.trie(&self.layout.v6, SCOPE_V6_MAX),
            decisions: self.decisions.list.clone(),
        })
    }

    fn evaluate(&mut self) {
        let mut classes = core::mem::take(&mut self.classes);
        for class in &mut classes {
            // Measurements age: what rests on them is looked at again, a few times in their life.
            let aged = self.now.saturating_since(class.evaluated) > ESTIMATE_AGE_MAX / 8;
            class.stale |= class.measured.is_some() && aged;
            if !class.stale {
                continue;
            }
            let facts = &self.facts[class.facts as usize];
            let candidates = candidates(self, facts, class.measured);
            class.ranking = rank(self, facts, &candidates, class.ranking.left);
            class.evaluated = self.now;
        }
        self.classes = classes;
    }

    /// Parts of each class: its shares, less what its sites send away, less what they cannot carry.
    fn level(&mut self) {
        let shed = self.states.iter().any(|state| state.shed > 0.0);
        for class in &mut self.classes {
            class.parts = class.ranking.parts();
            if shed {
                send_away(&mut class.parts, &class.ranking.sites, &self.states);
            }
        }
        if self.rooms.capacity.iter().all(|capacity| capacity.is_infinite()) {
            return;
        }
        let mut rooms = core::mem::replace(
            &mut self.rooms,
            Rooms { capacity: Vec::new(), load: Vec::new(), spilling: Vec::new() },
        );
        let mut loads: Vec<Load<'_>> = self
            .classes
            .iter()
            .map(|class| Load {
                demand: class.demand,
                parts: class.parts.clone(),
                sites: if class.ranking.reason == Some(Reason::Panic) { &[] } else { &class.ranking.sites },
            })
            .collect();
        rooms.level(&self.policy.spill, &mut loads, |index| self.everywhere(&self.classes[index]));
        let parts: Vec<_> = loads.into_iter().map(|load| load.parts).collect();
        for (class, parts) in self.classes.iter_mut().zip(parts) {
            class.parts = parts;
        }
        self.rooms = rooms;
    }

    /// Everywhere a class may go.
    fn everywhere(&self, class: &Class) -> Vec<(SiteId, f64)> {
        if class.ranking.sites.len() < NEAR_MAX {
            return class.ranking.sites.clone();
        }
        candidates(self, &self.facts[class.facts as usize], class.measured)
            .into_iter()
            .filter(|candidate| candidate.fate == Fate::Eligible)
            .map(|candidate| (candidate.site, candidate.millis))
            .collect()
    }

    /// Numbers the decisions of the classes; true if any class has a new one.
    fn decide(&mut self) -> bool {
        let mut changed = false;
        let mut classes = core::mem::take(&mut self.classes);
        for class in &mut classes {
            if class.stale || class.is_split() || self.was_split(class) {
                let number = self.decisions.number(self.decision(class));
                changed |= class.decision != number;
                class.decision = number;
                class.stale = false;
            }
        }
        self.classes = classes;
        changed
    }

    fn was_split(&self, class: &Class) -> bool {
        let decision = self.decisions.list.get(class.decision as usize);
        decision.is_none_or(|decision| decision.reason == Reason::Capacity || !decision.shares.is_empty())
    }

    fn decision(&self, class: &Class) -> Decision {
        let ranking = &class.ranking;
        let count = ranking.sites.len().min(PICKS_MAX);
        let mut decision = Decision {
            sites: [SiteId(0); PICKS_MAX],
            count: count as u8,
            reason: ranking.reason.unwrap_or(Reason::FencedOut),
            anycast: ranking.anycast,
            ttl: 0,
            shares: Box::default(),
        };
        for (place, (site, _)) in decision.sites.iter_mut().zip(&ranking.sites[..count]) {
            *place = *site;
        }
        let base = ranking.parts();
        let stands_in = |site: SiteId| base.iter().all(|(other, _)| *other != site);
        match &class.parts[..] {
            [] => {}
            [(site, _)] => {
                if lead_with(&mut decision.sites[..count], *site) {
                    (decision.reason, decision.anycast) = (Reason::Capacity, false);
                }
            }
            parts => {
                decision.shares =
                    parts.iter().filter_map(|&part| self.share(part, stands_in(part.0))).collect();
            }
        }
        let unsettled = matches!(decision.reason, Reason::Panic | Reason::Capacity)
            || decision.shares.iter().any(|share| share.spilled);
        let ttl = if unsettled { self.policy.ttl_unsettled } else { self.policy.ttl };
        decision.ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
        decision
    }

    fn share(&self, (site, part): (SiteId, f64), spilled: bool) -> Option<Share> {
        let weight = (part * WEIGHT_ONE).round() as u32;
        let salt = salt(self.sites.site(site).name());
        (weight > 0).then_some(Share { site, weight, spilled, salt })
    }

    fn trie<W: Word>(&self, classes: &Cuts<W>, grain: u8) -> crate::table::Trie {
        let mut decisions = Cuts { starts: Vec::new(), marks: Vec::new() };
        for (&start, &mark) in classes.starts.iter().zip(&classes.marks) {
            let class = &self.classes[mark as usize];
            // What is finer than the grain goes with the first address of its block.
            if let Some(start) = round_up(start, grain) {
                decisions.push(start, Leaf { value: class.decision, length: 0 }.mark::<W>());
            }
        }
        TrieBuilder::build(&into_blocks(&decisions))
    }
}

/// The first address at or after this one at which a block of `length` begins.
fn round_up<W: Word>(address: W, length: u8) -> Option<W> {
    let last = address.last_of(length);
    let first = W::from_aligned(address.to_aligned() & !(u128::MAX >> length));
    if first == address { Some(address) } else { last.checked_add_one() }
}

fn layout<W: Word>(clients: &BTreeMap<W::Key, Known>) -> Cuts<W> {
    let marks = clients.iter().map(|(key, known)| {
        let (first, length) = W::unkey(*key);
        (first, length, known.class)
    });
    Cuts::flatten(marks, UNKNOWN)
}

/// Each site keeps what it does not send away; the rest goes to the next one that sends nobody away.
fn send_away(parts: &mut Vec<(SiteId, f64)>, sites: &[(SiteId, f64)], states: &[SiteState]) {
    for index in 0..parts.len() {
        let (from, part) = parts[index];
        let sent = part * states[from.index()].shed;
        let next = sites.iter().find(|(site, _)| *site != from && states[site.index()].shed <= 0.0);
        if let Some(&(to, _)) = next.filter(|_| sent > 0.0) {
            parts[index].1 -= sent;
            match parts.iter_mut().find(|(site, _)| *site == to) {
                Some((_, target)) => *target += sent,
                None => parts.push((to, sent)),
            }
        }
    }
    parts.retain(|(_, part)| *part > 0.0);
}

impl Decisions {
    fn number(&mut self, decision: Decision) -> u32 {
        let next = self.list.len() as u32;
        *self.numbers.entry(decision).or_insert_with_key(|decision| {
            self.list.push(decision.clone());
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::Policy;
    use super::*;
    use crate::{ClientFacts, DistanceModel, HealthPolicy, Location, Prefix, Site, SiteMap};

    fn control(capacity: bool) -> Control {
        let sites = (0..24_u8).map(|index| {
            let place = Location::new(f64::from(index % 5) * 10.0, f64::from(index) * 14.0 - 170.0).unwrap();
            let site = Site::new(format!("S{index}"), place).country(if index % 3 == 0 { "X" } else { "Y" });
            if capacity && index % 2 == 0 { site.capacity(30.0) } else { site }
        });
        let clients = (0..40_u8).map(|index| {
            let prefix = Prefix::new([10, index, 0, 0].into(), 16 - index % 3).unwrap();
            let place = Location::new(f64::from(index) - 20.0, f64::from(index) * 9.0 - 180.0).unwrap();
            let facts = ClientFacts::at(place).demand(f64::from(index % 7) * 3.0);
            let facts = if index % 4 == 0 { facts.fenced_to("X") } else { facts };
            let caught = [(SiteId(u16::from(index % 24)), 2.0), (SiteId(3), 1.0)];
            (prefix, if index % 5 == 0 { facts.caught_by(caught) } else { facts })
        });
        let sites = Arc::new(SiteMap::new(sites).unwrap());
        let mut control =
            Control::new(sites, clients.collect(), Policy::default(), DistanceModel::default(), 1000);
        assert!(control.compile(Timestamp::ZERO).is_some());
        control
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever changes, evaluating only what it touched leaves nothing that evaluating everything would change.
        #[test]
        fn incremental_compilation_is_complete(
            capacity in any::<bool>(),
            changes in prop::collection::vec((0_u8..5, 0_u16..24, 0_u8..40, 1_u64..200), 1..30),
        ) {
            let mut control = control(capacity);
            let health = HealthPolicy { fall: 1, rise: 1, hold_down: Duration::ZERO, ..HealthPolicy::default() };
            // Time stands still: that estimates age is looked at now and then, not at every change.
            let now = Timestamp::from_nanos(1);
            for (count, (kind, site, client, value)) in changes.into_iter().enumerate() {
                let client = Prefix::host([10, client, 0, 0].into());
                let state = &mut control.states[usize::from(site)];
                match kind {
                    0 => {
                        state.health.observe(value % 2 == 0, now, &health);
                    }
                    1 => state.drained = value % 2 == 0,
                    2 => state.shed = value as f64 / 400.0,
                    3 => (0..4).for_each(|_| {
                        assert!(control.measure(client, SiteId(site), Duration::from_millis(value), now));
                    }),
                    _ => assert!(control.demand(client, value as f64)),
                }
                if kind < 3 {
                    control.touch(SiteId(site));
                }
                let _ = control.compile(now);
                control.touch_all();
                prop_assert!(control.compile(now).is_none(), "after change {count} of kind {kind}");
            }
        }
    }
}
