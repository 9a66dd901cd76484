//! What a vacant word of the index remembers of the entry that was evicted from it.

use super::FREQUENCY_MAX;

/// What is remembered of an entry that was evicted, as `frequency 4 | epoch 4 | by 2 | stamp 10`.
pub(super) struct Ghost {
    pub(super) frequency: u8,
    /// Its last four bits.
    pub(super) epoch: u32,
    pub(super) by: u32,
    /// When, in drops of its kind, coarsely; ten bits.
    pub(super) stamp: u32,
}

impl Ghost {
    pub(super) fn bits(&self) -> u32 {
        u32::from(self.frequency) << 16 | self.epoch << 12 | self.by << 10 | self.stamp
    }

    /// None if there was none: `by` is never zero.
    pub(super) fn of(bits: u32) -> Option<Self> {
        (bits != 0).then_some(Self {
            frequency: (bits >> 16) as u8 & FREQUENCY_MAX,
            epoch: bits >> 12 & 15,
            by: bits >> 10 & 3,
            stamp: bits & 1023,
        })
    }
}

const _: () = assert!(crate::table::GHOST_BITS == 20);
