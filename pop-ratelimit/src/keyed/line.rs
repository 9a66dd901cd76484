//! A line of the table: where a key lives, and which of eight slots is its own.

use super::SLOTS_PER_LINE;
use crate::slot;
use crate::sync::{AtomicU64, Ordering};

/// Eight slots, one cache line.
#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct Line(pub(crate) [AtomicU64; SLOTS_PER_LINE]);

const _: () = assert!(cfg!(loom) || size_of::<Line>() == 64);

impl Line {
    pub(super) fn empty() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Where a key lives.
pub(super) struct Place<'a> {
    pub(super) line: &'a Line,
    /// The slot that it would take of an empty line.
    pub(super) first: usize,
    pub(super) tag: u64,
}

/// The slot that a key would use, as it was seen.
pub(super) struct Found<'a> {
    pub(super) slot: &'a AtomicU64,
    pub(super) word: u64,
    /// Whether it is the key's own.
    pub(super) own: bool,
}

impl<'a> Place<'a> {
    /// The line of a hash, its first place in it, and its tag.
    #[inline]
    pub(super) fn of(hash: u64, lines: &'a [Line]) -> Self {
        // The upper bits pick the line by multiplication; the lowest seventeen are tag and place: independent for
        // any table of less than 2^47 lines.
        let line = ((u128::from(hash) * lines.len() as u128) >> 64) as usize;
        let first = (hash >> slot::TAG_BITS) as usize % SLOTS_PER_LINE;
        Self { line: &lines[line], first, tag: slot::tag(hash) }
    }

    /// The slot that bears the key's tag, if one does.
    #[inline(always)]
    pub(super) fn matching(&self) -> Option<&'a AtomicU64> {
        // All eight tags at once, without a branch: which slot it is cannot be guessed, and a wrong guess costs more
        // than seven loads from a line that is here anyway.
        let mut matching = 0_u32;
        for (index, slot) in self.line.0.iter().enumerate() {
            // Acquire pairs with the Release of `swap`: see the third point of the proof.
            matching |= u32::from(slot::has_tag(slot.load(Ordering::Acquire), self.tag)) << index;
        }
        (matching != 0).then(|| &self.line.0[matching.trailing_zeros() as usize % SLOTS_PER_LINE])
    }

    /// The key's own slot, or the one with the smallest high mark, the first from the key's place on.
    pub(super) fn find(&self, virtual_now: u64, horizon: i64) -> Found<'a> {
        let mut smallest = (i64::MAX, self.first, 0);
        for step in 0..SLOTS_PER_LINE {
            let index = (self.first + step) % SLOTS_PER_LINE;
            let word = self.line.0[index].load(Ordering::Acquire);
            // Its own slot counts even when the debt is over: as long as nobody took it, the key is in no other.
            if slot::has_tag(word, self.tag) {
                return Found { slot: &self.line.0[index], word, own: true };
            }
            let ahead = slot::ahead(word, virtual_now, horizon);
            if ahead < smallest.0 {
                smallest = (ahead, index, word);
            }
        }
        let (_, index, word) = smallest;
        Found { slot: &self.line.0[index], word, own: false }
    }
}

/// Replaces a word that is still what it was.
#[inline]
pub(super) fn swap(slot: &AtomicU64, word: u64, next: u64) -> bool {
    // Release pairs with the Acquire loads of a line: whoever sees this word also sees what its writer had seen.
    slot.compare_exchange(word, next, Ordering::Release, Ordering::Relaxed).is_ok()
}
