//! What was invalidated since a fetch began: its answer is older than that, and may not be stored.
//!
//! Every invalidation has a number, its epoch, and a fetch remembers the one at which it began. A stripe of keys
//! remembers its latest few invalidations, each by the hash of its key, so that an unsafe request to one key keeps no
//! other's answer out of the store; of those it has forgotten it knows the last epoch, and counts them against every
//! key. A purge of many keys counts against all that is under way.

use core::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const STRIPES: usize = 1024;

/// The invalidations that a stripe tells apart. More of them while one fetch is under way are rare, and cost it its
/// place in the store.
const REMEMBERED: usize = 8;

pub(crate) struct Epochs {
    /// Counts invalidations.
    latest: AtomicU64,
    /// The epoch of the latest purge of more than a key.
    swept: AtomicU64,
    stripes: Box<[Mutex<Recent>]>,
}

/// The latest invalidations of a stripe.
#[derive(Debug, Default)]
struct Recent {
    /// Hash and epoch, at most [`REMEMBERED`], the oldest first.
    keys: Vec<(u64, u64)>,
    /// The epoch of the latest that is not among them any more.
    forgotten: u64,
}

/// The right to change what is stored for the keys of one stripe.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    epochs: &'a Epochs,
    recent: MutexGuard<'a, Recent>,
    hash: u64,
}

impl Epochs {
    pub(crate) fn new() -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { latest: AtomicU64::new(1), swept: AtomicU64::new(0), stripes }
    }

    /// The present epoch, for a fetch that begins now.
    pub(crate) fn now(&self) -> u64 {
        // Pairs with `next`: a fetch that reads an epoch asks the origin after that invalidation.
        self.latest.load(Ordering::Acquire)
    }

    fn next(&self) -> u64 {
        self.latest.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Waits for the other writers of the stripe of a key with this hash.
    pub(crate) fn writer(&self, hash: u64) -> Writer<'_> {
        let place = usize::try_from(hash % STRIPES as u64).expect("a remainder of 1024");
        // A list of numbers is whole after every step.
        let recent = self.stripes[place].lock().unwrap_or_else(PoisonError::into_inner);
        Writer { epochs: self, recent, hash }
    }

    /// Outdates every fetch under way, before many keys are purged.
    pub(crate) fn sweep(&self) {
        self.swept.store(self.next(), Ordering::Release);
    }
}

impl Writer<'_> {
    /// Whether the key was invalidated after `epoch`.
    pub(crate) fn is_outdated(&self, epoch: u64) -> bool {
        self.recent.forgotten > epoch
            || self.recent.keys.iter().any(|&(hash, at)| hash == self.hash && at > epoch)
            || self.epochs.swept.load(Ordering::Acquire) > epoch
    }

    /// Outdates the fetches of the key that are under way.
    pub(crate) fn invalidate(&mut self) {
        let (hash, epoch) = (self.hash, self.epochs.next());
        let recent = &mut *self.recent;
        recent.keys.retain(|&(other, _)| other != hash);
        if recent.keys.len() == REMEMBERED {
            recent.forgotten = recent.keys.remove(0).1;
        }
        recent.keys.push((hash, epoch));
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Epochs").field("latest", &self.latest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of one stripe.
    fn hash(key: u64) -> u64 {
        key * STRIPES as u64
    }

    #[test]
    fn only_what_is_older_than_the_invalidation_of_its_own_key_is_outdated() {
        let epochs = Epochs::new();
        let before = epochs.now();
        epochs.writer(hash(1)).invalidate();
        assert!(epochs.writer(hash(1)).is_outdated(before));
        assert!(!epochs.writer(hash(2)).is_outdated(before));
        assert!(!epochs.writer(hash(1)).is_outdated(epochs.now()));
    }

    #[test]
    fn what_is_forgotten_counts_against_all_keys_of_the_stripe() {
        let epochs = Epochs::new();
        let before = epochs.now();
        for key in 0..REMEMBERED as u64 {
            epochs.writer(hash(key)).invalidate();
            epochs.writer(hash(key)).invalidate();
        }
        assert!(!epochs.writer(hash(99)).is_outdated(before), "each key counts once");
        epochs.writer(hash(50)).invalidate();
        assert!(epochs.writer(hash(99)).is_outdated(before));
        assert!(epochs.writer(hash(0)).is_outdated(before));
        assert!(!epochs.writer(hash(99) + 1).is_outdated(before), "another stripe");
        assert!(!epochs.writer(hash(99)).is_outdated(epochs.now()));
    }

    #[test]
    fn a_sweep_outdates_everything_under_way() {
        let epochs = Epochs::new();
        let before = epochs.now();
        epochs.sweep();
        assert!(epochs.writer(hash(7)).is_outdated(before));
        assert!(!epochs.writer(hash(7)).is_outdated(epochs.now()));
    }
}
