//! A part of the cache.
//!
//! Each shard is two queues (S3-FIFO; Yang et al., 2023): a newcomer enters the *small* queue, which may hold a
//! tenth of the octets. If it is asked for again before it reaches the front, it moves to the *main* queue;
//! otherwise it goes, and leaves its hash among the *ghosts*, so that it enters the main queue at once should it come
//! back soon. The main queue gives an entry that was used another round for each use, three at most.
//!
//! ```text
//! get(key):     entry.uses = min(entry.uses + 1, 3)
//! insert(key):  while full: evict();  (key in ghosts ? main : small).push(key)
//! evict():      if small > 10 %: front of small: used ? to main : out, into ghosts
//!               else:            front of main:  used ? uses - 1, to the back : out
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use ahash::RandomState;

use super::entry::Entry;

/// The share of the octets that newcomers have: one in so many.
const SMALL_SHARE: usize = 10;
/// Uses that count.
const USES_MAX: u8 = 3;

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) map: HashMap<Box<[u8]>, u32, RandomState>,
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
    pub(super) small: VecDeque<u32>,
    pub(super) main: VecDeque<u32>,
    ghosts: Ghosts,
    capacity: usize,
    pub(super) octets: usize,
    pub(super) small_octets: usize,
    pub(super) evictions: u64,
}

#[derive(Debug)]
pub(super) struct Slot {
    key: Box<[u8]>,
    /// `None` once it is vacant; the queue still names the slot, which is free when it comes to the front.
    entry: Option<Arc<Entry>>,
    pub(super) octets: usize,
    uses: u8,
    pub(super) queue: Queue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Small,
    Main,
}

/// Whether an entry had been asked for before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    First,
    Again,
}

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Option<(Arc<Entry>, Asked)> {
        let slot = &mut self.slots[*self.map.get(key)? as usize];
        let asked = if slot.uses == 0 { Asked::First } else { Asked::Again };
        slot.uses = (slot.uses + 1).min(USES_MAX);
        Some((Arc::clone(slot.entry.as_ref()?), asked))
    }

    pub(super) fn insert(&mut self, key: &[u8], entry: Arc<Entry>, octets: usize) -> bool {
        if octets > self.capacity {
            return false;
        }
        let uses = match self.map.get(key) {
            // A newer answer to the same question takes the place, and the merits, of the older one.
            Some(&slot) => {
                let (uses, queue) = (self.slots[slot as usize].uses, self.slots[slot as usize].queue);
                self.vacate(slot);
                Some((uses, queue))
            }
            None => None,
        };
        while self.octets + octets > self.capacity {
            if !self.evict() {
                return false;
            }
        }
        let (uses, queue) = uses.unwrap_or_else(|| {
            let known = self.ghosts.remove(self.map.hasher().hash_one(key));
            (0, if known { Queue::Main } else { Queue::Small })
        });
        let slot = Slot { key: key.into(), entry: Some(entry), octets, uses, queue };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.map.insert(key.into(), index);
        self.octets += octets;
        self.enqueue(index, queue);
        debug_assert!(self.octets <= self.capacity && self.small_octets <= self.octets);
        true
    }

    fn enqueue(&mut self, index: u32, queue: Queue) {
        let slot = &mut self.slots[index as usize];
        slot.queue = queue;
        match queue {
            Queue::Small => {
                self.small_octets += slot.octets;
                self.small.push_back(index);
            }
            Queue::Main => self.main.push_back(index),
        }
    }

    /// One step towards room. Whoever calls it in a loop is done soon: each step frees an entry, moves one out of
    /// the small queue, or takes one of at most three uses away. `false` if nothing is there.
    fn evict(&mut self) -> bool {
        let from_small = self.main.is_empty() || self.small_octets > self.capacity / SMALL_SHARE;
        let front = if from_small { self.small.pop_front() } else { self.main.pop_front() };
        let Some(index) = front else { return false };
        let slot = &mut self.slots[index as usize];
        let octets = slot.octets;
        if slot.entry.is_none() {
            self.free.push(index);
            return true;
        }
        if from_small {
            self.small_octets -= octets;
        }
        match (from_small, slot.uses) {
            (true, 1..) => {
                slot.uses = 0;
                self.enqueue(index, Queue::Main);
            }
            (false, 1..) => {
                slot.uses -= 1;
                self.enqueue(index, Queue::Main);
            }
            (_, 0) => {
                if from_small {
                    let hash = self.map.hasher().hash_one(&*slot.key);
                    let ghosts_max = self.map.len();
                    self.ghosts.push(hash, ghosts_max);
                }
                let slot = &mut self.slots[index as usize];
                slot.entry = None;
                self.map.remove(&slot.key);
                slot.key = Box::default();
                self.octets -= octets;
                self.free.push(index);
                self.evictions += 1;
            }
        }
        true
    }

    /// Empties a slot whose place in its queue remains until it comes to the front.
    pub(super) fn vacate(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        self.map.remove(&slot.key);
        slot.key = Box::default();
        slot.entry = None;
        self.octets -= slot.octets;
        if slot.queue == Queue::Small {
            self.small_octets -= slot.octets;
        }
        self.trim();
    }

    /// Vacant slots at the fronts of the queues are freed, and queues that are mostly vacant are swept, so that
    /// replacing one entry for ever does not make a queue grow for ever.
    fn trim(&mut self) {
        let places = self.small.len() + self.main.len();
        if places > 2 * self.map.len() + 64 {
            for queue in [&mut self.small, &mut self.main] {
                queue.retain(|&index| {
                    let vacant = self.slots[index as usize].entry.is_none();
                    if vacant {
                        self.free.push(index);
                    }
                    !vacant
                });
            }
        }
    }
}

/// Hashes of what was put out of the small queue lately.
#[derive(Debug, Default)]
struct Ghosts {
    order: VecDeque<u64>,
    known: HashSet<u64, RandomState>,
}

impl Ghosts {
    fn push(&mut self, hash: u64, max: usize) {
        if self.known.insert(hash) {
            self.order.push_back(hash);
        }
        while self.order.len() > max.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Whether `hash` was there. Its place in the order stays until its turn.
    fn remove(&mut self, hash: u64) -> bool {
        self.known.remove(&hash)
    }
}
