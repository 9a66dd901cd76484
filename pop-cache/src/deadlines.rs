//! When the next entry expires: a tree of earliest deadlines over the slab.
//!
//! Sixty-four slots are a region, sixty-four regions one of the next level, up to a single root. A region knows a time no
//! later than any deadline in it. What it says may be too early, which costs a look; too late would leave what is over
//! in memory.
//!
//! ```text
//! arm    : the entry is in the index; lower its region's time, and the times above, until one is early enough
//! expire : the root is due: go down to a region that is; forget its time; look at its slots; take out what is over, lower
//!          the time again by what is not; then the same for each region above
//! ```
//!
//! Both are a bounded number of steps, whatever the number of entries. Nothing is queued, so entries that are replaced or
//! removed before their time leave nothing behind, and a region of 64 slots costs 8 bytes.
//!
//! **Why nothing is forgotten.** Who arms writes the entry, then reads the time; who expires erases the time, then reads the
//! entries, with a sequentially consistent fence in between on both sides. So one sees the other: the entry is
//! looked at, or its time is written after it was erased. The same holds between each level and the one above. A
//! thread that stalls between erasing and lowering hides that region's times until it goes on: its entries are not
//! served, and can be evicted, but their memory does not come back by itself.

use crate::Timestamp;
use crate::memory::Words;
use crate::sync::{AtomicU64, Ordering, fence};

/// So many slots in a region, and regions in a larger one, as a power of two.
const FAN_BITS: u32 = if cfg!(all(loom, not(shuttle))) { 1 } else { 6 };
/// Enough for every handle.
const LEVELS: usize = if cfg!(all(loom, not(shuttle))) { 2 } else { 6 };

/// Words are turned round, so that zeroed memory says that there is nothing.
pub(crate) struct Deadlines {
    levels: [Words; LEVELS],
}

/// A region of the lowest level in which something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region(usize);

impl Region {
    /// The handles of its slots.
    pub(crate) fn handles(self) -> std::ops::RangeInclusive<u32> {
        let first = (self.0 << FAN_BITS) as u32;
        first..=first + ((1 << FAN_BITS) - 1)
    }
}

/// The earlier, the more urgent; the end of time is not.
fn urgency(deadline: Timestamp) -> u64 {
    u64::MAX - deadline.as_nanos()
}

fn place(handle: u32, level: usize) -> usize {
    (u64::from(handle) >> (FAN_BITS * (level as u32 + 1))) as usize
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self { levels: std::array::from_fn(|_| Words::new()) }
    }

    fn root(&self) -> u64 {
        self.word(LEVELS - 1, 0).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn word(&self, level: usize, place: usize) -> Option<&AtomicU64> {
        self.levels[level].get(place)
    }

    /// Whether any entry has a deadline, for all that is known.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.root() == 0
    }

    /// An entry with a deadline has come into the index.
    pub(crate) fn arm(&self, handle: u32, deadline: Timestamp) {
        fence(Ordering::SeqCst);
        self.lower(handle, deadline, 0..LEVELS);
    }

    fn lower(&self, handle: u32, deadline: Timestamp, levels: std::ops::Range<usize>) {
        let urgency = urgency(deadline);
        for level in levels {
            let word = self.levels[level].at(place(handle, level));
            // Sequentially consistent, as the module says.
            if word.load(Ordering::SeqCst) >= urgency || word.fetch_max(urgency, Ordering::SeqCst) >= urgency
            {
                return;
            }
        }
    }

    /// Whether something is due, or was.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.root() >= urgency(now).max(1)
    }

    /// A region with something to look at. None if nothing is due.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Region> {
        let urgent = urgency(now).max(1);
        let is_due =
            |level, place| self.word(level, place).is_some_and(|word| word.load(Ordering::Relaxed) >= urgent);
        if !self.is_due(now) {
            return None;
        }
        let mut parent = 0;
        for level in (0..LEVELS - 1).rev() {
            let first = parent << FAN_BITS;
            let Some(child) = (first..first + (1 << FAN_BITS)).find(|&child| is_due(level, child)) else {
                // What it said was too early.
                self.refresh(level + 1, parent);
                return None;
            };
            parent = child;
        }
        Some(Region(parent))
    }

    /// Forgets a region's time, before a look at its slots.
    pub(crate) fn look_at(&self, region: Region) -> Look<'_> {
        self.levels[0].at(region.0).swap(0, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Look { deadlines: self, region }
    }

    /// Learns the times of a region and of those above it from their parts.
    fn refresh(&self, level: usize, mut region: usize) {
        for level in level..LEVELS {
            let word = self.levels[level].at(region);
            word.swap(0, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            let first = region << FAN_BITS;
            let parts = (first..first + (1 << FAN_BITS)).filter_map(|part| self.word(level - 1, part));
            let earliest = parts.map(|part| part.load(Ordering::SeqCst)).max().unwrap_or(0);
            word.fetch_max(earliest, Ordering::SeqCst);
            region >>= FAN_BITS;
        }
    }
}

/// A look at the slots of a region, whose time is forgotten.
pub(crate) struct Look<'d> {
    deadlines: &'d Deadlines,
    region: Region,
}

impl Look<'_> {
    /// A slot of the region has this deadline still.
    pub(crate) fn keep(&self, handle: u32, deadline: Timestamp) {
        self.deadlines.lower(handle, deadline, 0..1);
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It ended early: whatever is left may be due.
            self.keep((self.region.0 << FAN_BITS) as u32, Timestamp::ZERO);
        }
        self.deadlines.refresh(1, self.region.0 >> FAN_BITS);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn the_earliest_is_found_among_millions() {
        let deadlines = Deadlines::new();
        assert!(deadlines.is_empty());
        for handle in (0..4_000_000).step_by(997) {
            deadlines.arm(handle, at(1000 + u64::from(handle)));
        }
        deadlines.arm(3_000_000_000, at(500));
        assert_eq!(deadlines.due(at(499)), None);
        let region = deadlines.due(at(500)).expect("it is due");
        assert!(region.handles().contains(&3_000_000_000));
        drop(deadlines.look_at(region));
        assert_eq!(deadlines.due(at(999)), None);
        assert!(deadlines.due(at(1000)).expect("it is due").handles().contains(&0));
    }

    #[test]
    fn what_is_kept_comes_due_again() {
        let deadlines = Deadlines::new();
        deadlines.arm(70, at(10));
        let region = deadlines.due(at(10)).expect("it is due");
        let look = deadlines.look_at(region);
        look.keep(71, at(20));
        drop(look);
        assert_eq!(deadlines.due(at(19)), None);
        assert_eq!(deadlines.due(at(20)), Some(region));
    }

    #[test]
    fn the_end_of_time_is_never_due() {
        let deadlines = Deadlines::new();
        deadlines.arm(1, at(u64::MAX));
        assert!(deadlines.is_empty());
        assert_eq!(deadlines.due(at(u64::MAX)), None);
    }
}
