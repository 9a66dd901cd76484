//! One slot of a keyed table: a word with a tag, a credit and a theoretical arrival time (TAT).
//!
//! ```text
//! 63      50 49    44 43                                  0
//! ┌─────────┬────────┬────────────────────────────────────┐
//! │ tag 14  │ credit │ TAT high mark, 44 bits of units    │
//! └─────────┴────────┴────────────────────────────────────┘
//! ```
//!
//! The TAT in the word is a high mark that never falls while the word is in use; what was refunded stands beside it
//! as a credit, in quanta. The key's real TAT is the high mark less the credit.

use crate::virtual_time::{Budget, VirtualTime};

pub(crate) const TAT_BITS: u32 = crate::virtual_time::KEYED_BITS;
pub(crate) const TAT_MASK: u64 = (1 << TAT_BITS) - 1;
pub(crate) const CREDIT_BITS: u32 = 6;
pub(crate) const CREDIT_MAX: u64 = (1 << CREDIT_BITS) - 1;
const CREDIT_SHIFT: u32 = TAT_BITS;
pub(crate) const TAG_SHIFT: u32 = TAT_BITS + CREDIT_BITS;

/// A tick is four to eight microseconds where tokens are slow, and 44 bits of them last two years. Where more than
/// four million tokens come in a second, several make a unit.
pub(crate) const BUDGET: Budget = Budget {
    shift_max: 18,
    fine_per_second: 18,
    coarse_per_second: 22,
    burst_units: 40,
    live_per_second: 26,
};

/// What the words of one table mean: how a debt is told from an old word, and what a quantum of credit is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scheme {
    /// log₂ of the units in a quantum of credit: a token, or a sixty-third of the burst if that is more.
    quantum_log2: u32,
}

/// A word seen at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The high mark's distance from `V(now)`, negative if it has passed; `i64::MIN` if it is empty or ancient.
    pub(crate) high: i64,
    /// Units of credit.
    credit: u64,
}

impl Scheme {
    pub(crate) fn new(time: &VirtualTime) -> Self {
        let sixty_third = time.burst_units.div_ceil(CREDIT_MAX).max(time.token_units()).max(1);
        // At most 2^62 units: the next power of two exists.
        Self { quantum_log2: sixty_third.next_power_of_two().trailing_zeros() }
    }

    #[inline]
    pub(crate) const fn see(self, word: u64, virtual_now: u64, horizon: i64) -> Seen {
        let high = ahead(word, virtual_now, horizon);
        let credit = (word >> CREDIT_SHIFT) & CREDIT_MAX;
        // Seldom anything but zero, and then the branch is cheaper than the shift.
        Seen { high, credit: if credit == 0 { 0 } else { credit << self.quantum_log2 } }
    }

    /// Units that the slot's own key owes.
    #[inline]
    pub(crate) const fn owed(self, seen: Seen) -> u64 {
        if seen.credit == 0 {
            return if seen.high > 0 { seen.high as u64 } else { 0 };
        }
        let owed = seen.high.saturating_sub_unsigned(seen.credit);
        if owed > 0 { owed as u64 } else { 0 }
    }

    /// The word of a key that owes `owed` from `virtual_now` on. The high mark stays at or above `high`; the
    /// difference is credit, rounded down.
    #[inline]
    pub(crate) const fn word(self, tag: u64, virtual_now: u64, high: i64, owed: u64) -> u64 {
        // Without credit, and without a refund, what is owed is never below the mark.
        if owed as i64 >= high {
            return tag | (virtual_now.wrapping_add(owed) & TAT_MASK);
        }
        let mark = high as u64;
        let credit = (mark - owed) >> self.quantum_log2;
        let credit = if credit < CREDIT_MAX { credit } else { CREDIT_MAX };
        tag | credit << CREDIT_SHIFT | (virtual_now.wrapping_add(mark) & TAT_MASK)
    }
}

/// The tag bits of a hash, in place; never zero, so that an empty word matches nobody.
#[inline]
pub(crate) const fn tag(hash: u64) -> u64 {
    let tag = hash << TAG_SHIFT;
    if tag == 0 { 1 << TAG_SHIFT } else { tag }
}

#[inline]
pub(crate) const fn has_tag(word: u64, tag: u64) -> bool {
    (word ^ tag) >> TAG_SHIFT == 0
}

#[inline]
pub(crate) const fn has_credit(word: u64) -> bool {
    word & (CREDIT_MAX << CREDIT_SHIFT) != 0
}

/// How far the word's high mark is ahead of `virtual_now`, negative if it has passed.
#[inline]
pub(crate) const fn ahead(word: u64, virtual_now: u64, horizon: i64) -> i64 {
    let ahead = ahead_of_tagged(word, virtual_now);
    // Further ahead than any debt, even for a clock that stepped back: from before the wrap, so the oldest of all.
    if ahead > horizon || word == 0 { i64::MIN } else { ahead }
}

/// The same for a word that is not empty, and with the far future as it stands.
#[inline]
pub(crate) const fn ahead_of_tagged(word: u64, virtual_now: u64) -> i64 {
    // Sign-extends: half of the space is past, half is future.
    ((word.wrapping_sub(virtual_now) << (64 - TAT_BITS)) as i64) >> (64 - TAT_BITS)
}
