//! What the loom models see of the index: the protocol alone, with hashes and reclamation in the model's hand.
#![allow(unsafe_code, missing_docs, missing_debug_implementations)]

use crate::Timestamp;
use crate::deadlines::Deadlines;
use crate::hazard::{Announced, Hazard};
use crate::index::{Index, Inserted};
use crate::memory::{List, kind};
use crate::room::Room;
use crate::sync::{AtomicUsize, Ordering};
use crate::table::Hash;

/// A value that loom watches: reading it while it is dropped is a failure.
pub struct Watched {
    cell: loom::cell::UnsafeCell<u64>,
}

impl Watched {
    fn read(&self) -> u64 {
        // SAFETY: loom checks that nobody writes meanwhile.
        self.cell.with(|value| unsafe { *value })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: loom checks that nobody reads meanwhile.
        self.cell.with_mut(|value| unsafe { *value = 0 });
    }
}

/// A bound that threads reserve from and give back to.
pub struct Bound(Room);

impl Bound {
    pub fn new(capacity: u64) -> Self {
        Self(Room::new(capacity))
    }

    /// Reserves between `least` and `most`.
    pub fn claim(&self, least: u64, most: u64) -> Option<u64> {
        self.0.claim(least, most)
    }

    pub fn release(&self, amount: u64) {
        self.0.release(amount);
    }

    pub fn resize(&self, capacity: u64) {
        self.0.resize(capacity);
    }

    pub fn reserved(&self) -> u64 {
        self.0.reserved()
    }
}

/// The index, and what was taken out of it.
pub struct Model {
    index: Index<u64, Watched>,
    deadlines: Deadlines,
    limbo: List,
    /// Entries written and not dropped by [`reclaim`](Self::reclaim).
    alive: AtomicUsize,
}

impl Model {
    /// An index of one bucket, of two words.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            index: Index::new(1, 1),
            deadlines: Deadlines::new(),
            limbo: List::new(),
            alive: AtomicUsize::new(0),
        }
    }

    /// All keys have the same buckets, and the same tag if they are equal modulo 4.
    fn hash(key: u64) -> Hash {
        Hash::new(key % 4)
    }

    pub fn insert(&self, key: u64, value: u64) {
        self.put(key, value);
    }

    /// Inserts an entry with a deadline, as the store does.
    pub fn insert_until(&self, key: u64, value: u64, deadline: u64) {
        let handle = self.put(key, value);
        self.deadlines.arm(handle, Timestamp::from_nanos(deadline));
    }

    /// Takes out what is over in one region that is due, as the store does. Entries' values are their deadlines.
    pub fn expire(&self, now: u64) -> bool {
        let Some(region) = self.deadlines.due(Timestamp::from_nanos(now)) else { return false };
        let look = self.deadlines.look_at(region);
        for handle in region.handles().take_while(|&handle| handle < self.index.slab.length()) {
            let Some(found) = self.index.find_slot(handle) else { continue };
            let deadline = found.value().read();
            if deadline > now {
                look.keep(handle, Timestamp::from_nanos(deadline));
            } else if self.index.remove(&found) {
                self.retire(handle);
            }
        }
        true
    }

    fn put(&self, key: u64, value: u64) -> u32 {
        let handle = self.index.slab.bump().expect("a handle");
        let watched = Watched { cell: loom::cell::UnsafeCell::new(value) };
        let hash = Self::hash(key);
        // SAFETY: a new slot is free and ours.
        unsafe { self.index.slab.write(handle, hash.home, (key, watched), kind::MAIN) };
        self.alive.fetch_add(1, Ordering::Relaxed);
        match self.index.insert(&Hazard::new(), hash, handle) {
            Inserted::New(_) => {}
            Inserted::Replaced(old) => self.retire(old),
            Inserted::Overtaken | Inserted::Full => self.retire(handle),
        }
        handle
    }

    pub fn get(&self, key: u64) -> Option<u64> {
        self.index.find(Self::hash(key), &key).map(|found| found.value().read())
    }

    pub fn remove(&self, key: u64) -> bool {
        let Some(found) = self.index.find(Self::hash(key), &key) else { return false };
        let removed = self.index.remove(&found);
        if removed {
            self.retire(found.handle);
        }
        removed
    }

    /// Evicts by handle, as the policy does.
    pub fn evict(&self, handle: u32) -> bool {
        let Some(found) = self.index.find_slot(handle) else { return false };
        let removed = self.index.remove(&found);
        if removed {
            self.retire(handle);
        }
        removed
    }

    fn retire(&self, handle: u32) {
        self.index.slab.slot(handle).kind.fetch_or(kind::RETIRED, Ordering::Relaxed);
        self.limbo.push(&self.index.slab, handle);
    }

    pub fn reclaim(&self) {
        let slab = &self.index.slab;
        if let Some((first, taken)) = self.limbo.take(slab, u64::MAX) {
            let announced = Announced::entries().expect("a barrier");
            let mut next = Some(first);
            for _ in 0..taken {
                let handle = next.expect("as many as were taken");
                next = List::next(slab, handle);
                if announced.may_contain(slab.slot(handle).address()) {
                    self.limbo.push(slab, handle);
                } else {
                    // SAFETY: retired, and announced by nobody.
                    drop(unsafe { slab.take(handle) });
                    self.alive.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        self.index.free_tables();
    }

    pub fn grow(&self) {
        self.index.grow();
    }

    pub fn help(&self) {
        let hazard = crate::hazard::Hazard::new();
        self.index.help(self.index.table(&hazard));
    }

    /// Entries in the index, and entries not dropped.
    pub fn counts(&self) -> (usize, usize) {
        let entries = self.index.walk().count();
        (entries, self.alive.load(Ordering::Relaxed))
    }
}
