//! What a thread holds back, so that it need not touch what all share at every step.

use super::{PORTION, bump};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What one thread has counted and not told the others yet, and what it has taken in hand for its next steps: they would
/// fight for the cache lines at every insert. Only that thread writes it. A thread without one does every step at once.
pub(crate) struct Local {
    pub(super) ticks: AtomicU64,
    pub(super) drops: [AtomicU64; 2],
    /// Entries that came into the main clock, less those that went: a difference in two's complement.
    pub(super) mains: AtomicU64,
    /// Slots that its hand passes next, up to the second.
    pub(super) hand: [AtomicU32; 2],
    /// Places of the window whose candidates are next, up to the second; of the ring at this address.
    pub(super) candidates: [AtomicU64; 2],
    pub(super) ring: AtomicUsize,
    /// Handles that it has admitted and not put into the window yet.
    pub(super) admitted: [AtomicU32; PORTION as usize],
    pub(super) admitted_count: AtomicU32,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self {
            ticks: AtomicU64::new(0),
            drops: [AtomicU64::new(0), AtomicU64::new(0)],
            mains: AtomicU64::new(0),
            hand: [AtomicU32::new(0), AtomicU32::new(0)],
            candidates: [AtomicU64::new(0), AtomicU64::new(0)],
            ring: AtomicUsize::new(0),
            admitted: std::array::from_fn(|_| AtomicU32::new(0)),
            admitted_count: AtomicU32::new(0),
        }
    }
}

/// A counter, and what a thread holds back of it.
pub(super) fn bump_by_and_by(counter: &AtomicU64, local: Option<&AtomicU64>, by: u64, held_back: u64) -> u64 {
    let Some(local) = local else { return bump(counter, by) };
    let sum = local.load(Ordering::Relaxed).wrapping_add(by);
    if sum <= held_back {
        local.store(sum, Ordering::Relaxed);
        return counter.load(Ordering::Relaxed);
    }
    local.store(0, Ordering::Relaxed);
    bump(counter, sum)
}
