//! The policy of `pop_cache::Cache`, written for one thread: plain, and what the concurrent cache is compared with.
//!
//! Entries sit in slots and never move. An entry begins in the WINDOW, a queue. When it leaves, it meets in a contest
//! of frequencies the coldest entry near the hand of a clock over the slots, which are MAIN: the winner stays, the
//! loser goes. Of what goes, the HISTORY keeps a fingerprint, the frequency, and who dropped it. A key that comes
//! back soon after the window dropped it says that the window is too small; after MAIN dropped it, that the window
//! is too large. So the window finds its size: large where recency rules (then all this is a CLOCK), small where
//! frequency does (then it is TinyLFU).
//!
//! ```text
//! hit:    heat = min(heat + 1, 2)                                   (no other write, nothing moves)
//! miss:   frequency = what the history knows, halved once an epoch, + 1; the window's share moves by what it knows
//!         while there is no room:
//!           window below its share: evict what the hand finds
//!           else c = the window's first
//!             window above its share: c moves to MAIN
//!             v = what the hand finds
//!             c has the higher frequency, and was asked for twice: c moves to MAIN, evict v
//!             else c was hit in the window: c goes round in it once more
//!             else evict c; the hand stays at v
//! hand:   passes hot entries and cools them by one, up to eight; finds the first cold one, else the coldest it passed
//! ```
//!
//! Prior art: W-TinyLFU (Einziger, Friedman, Manes 2017) for window and contest; GCLOCK (Smith 1978) for heat;
//! ARC (FAST '03) and Cliffhanger (NSDI '16) for learning from ghosts; S3-FIFO (SOSP '23) for hits that move nothing.

use std::collections::{HashMap, VecDeque};

use super::history::{By, History};
use crate::peers::Simulated;

/// Hits are counted to this between two visits of the hand. Three would cost 0.03 points, one 0.2.
const HEAT_MAX: u8 = 2;
/// Frequencies are counted to this: four bits.
const FREQUENCY_MAX: u8 = 15;
/// Hot entries that one insert may pass over.
const LOOKS_MAX: u32 = 8;
/// Slots not in MAIN that one search may pass over.
const SKIPS_MAX: u32 = 32;
/// A candidate that was asked for once only pushes nothing out of MAIN.
const FREQUENCY_FLOOR: u8 = 1;
/// Frequencies are halved every so many counted requests an entry.
const EPOCH_REQUESTS: u64 = 10;
/// The smallest cache that epochs are laid out for: below, a key would be forgotten before it comes back.
const EPOCH_ENTRIES_MIN: u64 = 128;
/// A share of the whole, in the unit of the window's share.
const WHOLE: u32 = 1 << 16;
/// A key that comes back counts in full while its queue dropped less than this part of the entries since, then less
/// and less, and from three quarters on not at all: a loop larger than the cache would only mislead.
const NEAR_PARTS: u64 = 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Free,
    Window,
    Main,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    weight: u64,
    place: Place,
    heat: u8,
    frequency: u8,
    /// When the frequency was last brought up to date; known in MAIN only.
    epoch: u64,
}

/// The policy over keys that are numbers.
#[derive(Debug)]
pub struct Contest {
    capacity: u64,
    weight: u64,
    slots: Vec<Slot>,
    free: VecDeque<usize>,
    /// Slot by key.
    index: HashMap<u64, usize, ahash::RandomState>,
    window: VecDeque<usize>,
    /// The window's share of the entries, of [`WHOLE`].
    share: u32,
    hand: usize,
    history: History,
    /// Requests counted since the epoch began.
    ticks: u64,
    epoch: u64,
    /// The expected number of entries.
    size: u64,
}

impl Contest {
    /// For this much weight, and about this many entries.
    #[must_use]
    pub fn new(capacity: u64, entries: u64) -> Self {
        let size = entries.max(1);
        Self {
            capacity,
            weight: 0,
            slots: Vec::new(),
            free: VecDeque::new(),
            index: HashMap::default(),
            window: VecDeque::new(),
            share: WHOLE / 10,
            hand: 0,
            history: History::new(size),
            ticks: 0,
            epoch: 0,
            size,
        }
    }

    /// The weight of all entries: never above the capacity.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// True if the key is there. Counts as a hit.
    pub fn get(&mut self, key: u64) -> bool {
        let Some(&slot) = self.index.get(&key) else { return false };
        let slot = &mut self.slots[slot];
        slot.heat = (slot.heat + 1).min(HEAT_MAX);
        true
    }

    /// Takes an absent key in, unless it is heavier than the capacity. Calls `evicted` with each that goes for it.
    ///
    /// # Panics
    /// In debug builds, if the key is there.
    pub fn insert(&mut self, key: u64, weight: u64, mut evicted: impl FnMut(u64)) -> bool {
        debug_assert!(!self.index.contains_key(&key), "an update is a removal and an insert");
        if weight > self.capacity {
            return false;
        }
        self.tick(1);
        let mut frequency = 1;
        if let Some(known) = self.history.take(key, self.epoch) {
            frequency = (aged(known.frequency, known.epochs) + 1).min(FREQUENCY_MAX);
            self.learn(known.by, known.drops);
        }
        while self.weight + weight > self.capacity {
            self.evict(&mut evicted);
        }
        self.weight += weight;
        let new = Slot { key, weight, place: Place::Window, heat: 0, frequency, epoch: 0 };
        let slot = match self.free.pop_front() {
            Some(slot) => {
                self.slots[slot] = new;
                slot
            }
            None => {
                self.slots.push(new);
                self.slots.len() - 1
            }
        };
        self.index.insert(key, slot);
        self.window.push_back(slot);
        debug_assert!(self.weight <= self.capacity, "room was made first");
        true
    }

    /// Takes a key out on demand: the history does not hear of it.
    pub fn remove(&mut self, key: u64) -> bool {
        let Some(&slot) = self.index.get(&key) else { return false };
        self.window.retain(|&other| other != slot);
        self.vacate(slot);
        true
    }

    /// What a key that came back says about the window. Growing slowly and shrinking fast is worth 0.1 points: a
    /// returning key of the window might as well have been kept by a larger MAIN.
    fn learn(&mut self, by: By, drops: u64) {
        let entry = (u64::from(WHOLE) / self.size) as u32;
        let down = (WHOLE / 500).max(entry.min(WHOLE / 64));
        let least = (WHOLE / 100).max(entry.min(WHOLE / 2));
        if drops >= self.size.div_ceil(4) * 3 {
            return;
        }
        // What kept it would have had to be larger by as much as was dropped since: the more, the less it says.
        let near = self.size.div_ceil(NEAR_PARTS);
        let down = (u64::from(down) * near / drops.max(near)) as u32;
        match by {
            By::Window => self.share = (self.share + down * 2 / 5).min(WHOLE - WHOLE / 100),
            By::Main => self.share = self.share.saturating_sub(down).max(least),
            By::Tie => {}
        }
    }

    /// One entry goes.
    fn evict(&mut self, evicted: &mut impl FnMut(u64)) {
        let mut looks = LOOKS_MAX;
        loop {
            let target = ((self.len() as u64 * u64::from(self.share)) >> 16).max(1) as usize;
            if self.window.len() < target
                && let Some(victim) = self.search(&mut looks)
            {
                return self.forget(victim, By::Main, evicted);
            }
            let is_long = self.window.len() > target;
            let Some(candidate) = self.window.pop_front() else { continue };
            let heat = self.slots[candidate].heat;
            let frequency = self.cool(candidate, HEAT_MAX);
            if is_long {
                self.promote(candidate);
                continue;
            }
            let victim = self.search(&mut looks);
            let defended = victim.map(|victim| self.slots[victim].frequency);
            match victim {
                Some(victim) if frequency > defended.unwrap_or(0).max(FREQUENCY_FLOOR) => {
                    self.promote(candidate);
                    return self.forget(victim, By::Main, evicted);
                }
                _ if heat > 0 && looks > 0 => {
                    looks -= 1;
                    self.window.push_back(candidate);
                }
                _ => {
                    let by = if defended == Some(frequency) { By::Tie } else { By::Window };
                    return self.forget(candidate, by, evicted);
                }
            }
        }
    }

    fn promote(&mut self, slot: usize) {
        self.slots[slot].place = Place::Main;
        self.slots[slot].epoch = self.epoch;
    }

    /// Moves the hand to the next cold entry of MAIN, or says which was the coldest of those it passed. It does not
    /// move past a cold one: a victim that won its contest is the next victim too.
    fn search(&mut self, looks: &mut u32) -> Option<usize> {
        let mut coldest: Option<(u8, usize)> = None;
        let mut skips = SKIPS_MAX;
        loop {
            let at = self.hand;
            if self.slots[at].place == Place::Main {
                let is_hot = self.slots[at].heat > 0;
                let frequency = self.cool(at, 1);
                if !is_hot {
                    return Some(at);
                }
                let warmth = frequency + self.slots[at].heat;
                if coldest.is_none_or(|(least, _)| warmth < least) {
                    coldest = Some((warmth, at));
                }
                if *looks == 0 {
                    return coldest.map(|(_, at)| at);
                }
                *looks -= 1;
            } else {
                if skips == 0 {
                    return coldest.map(|(_, at)| at);
                }
                skips -= 1;
            }
            self.hand = (at + 1) % self.slots.len();
        }
    }

    /// Moves up to `by` of an entry's heat into its frequency, which is returned.
    fn cool(&mut self, slot: usize, by: u8) -> u8 {
        let epoch = self.epoch;
        let slot = &mut self.slots[slot];
        let heat = slot.heat.min(by);
        slot.heat -= heat;
        // The window is too short to age in.
        let epochs = if slot.place == Place::Main { epoch - slot.epoch } else { 0 };
        slot.frequency = (aged(slot.frequency, epochs) + heat).min(FREQUENCY_MAX);
        slot.epoch = epoch;
        let frequency = slot.frequency;
        self.tick(u64::from(heat));
        frequency
    }

    fn tick(&mut self, requests: u64) {
        self.ticks += requests;
        if self.ticks >= EPOCH_REQUESTS * self.size.max(EPOCH_ENTRIES_MIN) {
            self.ticks = 0;
            self.epoch += 1;
        }
    }

    fn forget(&mut self, slot: usize, by: By, evicted: &mut impl FnMut(u64)) {
        let Slot { key, frequency, .. } = self.slots[slot];
        self.vacate(slot);
        self.history.put(key, frequency, self.epoch, by);
        evicted(key);
    }

    fn vacate(&mut self, slot: usize) {
        let was = &mut self.slots[slot];
        debug_assert_ne!(was.place, Place::Free, "only residents go");
        was.place = Place::Free;
        self.weight -= was.weight;
        self.index.remove(&was.key);
        self.free.push_back(slot);
    }
}

/// A frequency, halved once an epoch.
fn aged(frequency: u8, epochs: u64) -> u8 {
    frequency >> epochs.min(7)
}

impl Simulated for Contest {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.get(u64::from(key));
        if !hit {
            self.insert(u64::from(key), 1, |_| ());
        }
        hit
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Action {
        Get(u64),
        Insert(u64, u64),
        Remove(u64),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            3 => (0..60_u64).prop_map(Action::Get),
            4 => (0..60_u64, 0..40_u64).prop_map(|(key, weight)| Action::Insert(key, weight)),
            1 => (0..60_u64).prop_map(Action::Remove),
        ]
    }

    proptest! {
        /// Whatever is asked of it, it holds what was put in and did not go, within its capacity, each key once.
        #[test]
        fn every_entry_is_resident_or_went_once(capacity in 0..90_u64, entries in 1..20_u64,
            actions in prop::collection::vec(action(), 1..400)) {
            let mut policy = Contest::new(capacity, entries);
            let mut residents: HashMap<u64, u64> = HashMap::new();
            for action in actions {
                match action {
                    Action::Get(key) => prop_assert_eq!(policy.get(key), residents.contains_key(&key)),
                    Action::Remove(key) => prop_assert_eq!(policy.remove(key), residents.remove(&key).is_some()),
                    Action::Insert(key, weight) => {
                        if residents.contains_key(&key) {
                            continue;
                        }
                        let mut went = Vec::new();
                        let taken = policy.insert(key, weight, |key| went.push(key));
                        prop_assert_eq!(taken, weight <= capacity);
                        for key in went {
                            prop_assert!(residents.remove(&key).is_some());
                        }
                        if taken {
                            residents.insert(key, weight);
                        }
                    }
                }
                let weight: u64 = residents.values().sum();
                prop_assert_eq!(policy.weight(), weight);
                prop_assert_eq!(policy.len(), residents.len());
                prop_assert!(weight <= capacity);
                prop_assert!(policy.window.len() <= residents.len());
            }
        }

        /// One insert looks at a bounded number of slots for each entry that goes, however hot everything is.
        #[test]
        fn an_eviction_is_bounded_when_everything_is_hot(capacity in 1..200_u64) {
            let mut policy = Contest::new(capacity, capacity);
            for key in 0..4 * capacity {
                for resident in 0..key {
                    policy.get(resident);
                }
                let mut went = 0;
                let hand = policy.hand;
                policy.insert(key, 1, |_| went += 1);
                prop_assert!(went <= 1);
                let length = policy.slots.len();
                let moved = (policy.hand + length - hand) % length;
                prop_assert!(moved as u32 <= (LOOKS_MAX + 1) * (SKIPS_MAX + 1));
            }
        }
    }

    #[test]
    fn a_loop_larger_than_the_cache_keeps_what_fits() {
        let mut policy = Contest::new(500, 500);
        let hits = (0..100_000_u32).filter(|turn| policy.request(turn % 1000)).count();
        assert!(hits > 45_000, "{hits} of at most 50,000");
    }

    /// Each key comes back once, after eight hundred others of a thousand that fit.
    #[test]
    fn recency_is_served_by_a_large_window() {
        let mut policy = Contest::new(1000, 1000);
        let hits = (0..200_000_u32)
            .filter(|turn| policy.request(turn / 2 - (turn % 2) * (turn / 2).min(400)))
            .count();
        assert!(hits > 80_000, "{hits} of at most 100,000");
        assert!(policy.share > WHOLE / 2);
    }

    #[test]
    fn a_cache_of_one_holds_the_last() {
        let mut policy = Contest::new(1, 1);
        assert!(!policy.request(1));
        assert!(policy.request(1));
        for key in 2..100 {
            policy.request(key);
            assert_eq!(policy.len(), 1);
        }
    }
}
