//! One slot of a keyed table: a word with a tag, a credit and a theoretical arrival time (TAT).
//!
//! ```text
//! 63                                 20 19    14 13      0
//! ┌────────────────────────────────────┬────────┬─────────┐
//! │ TAT high mark, 44 bits of units    │ credit │ tag 14  │
//! └────────────────────────────────────┴────────┴─────────┘
//! ```
//!
//! The mark stands highest, so that it wraps as whole words do and compares by its sign: what a check computes from
//! such a word needs neither masks nor shifts.
//!
//! The TAT in the word is a high mark that never falls while the word is in use; what was refunded stands beside it
//! as a credit, in quanta. The key's real TAT is the high mark less the credit.

use crate::virtual_time::{Budget, VirtualTime};

pub(crate) const TAG_BITS: u32 = 14;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
const CREDIT_BITS: u32 = 6;
const CREDIT_MAX: u64 = (1 << CREDIT_BITS) - 1;
const TAT_SHIFT: u32 = TAG_BITS + CREDIT_BITS;
/// The tag and the credit.
const BELOW_TAT: u64 = (1 << TAT_SHIFT) - 1;

const _: () = assert!(TAT_SHIFT + crate::virtual_time::KEYED_BITS == u64::BITS);

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
        let credit = (word >> TAG_BITS) & CREDIT_MAX;
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
            return tag | virtual_now.wrapping_add(owed) << TAT_SHIFT;
        }
        let mark = high as u64;
        let credit = (mark - owed) >> self.quantum_log2;
        let credit = if credit < CREDIT_MAX { credit } else { CREDIT_MAX };
        tag | credit << TAG_BITS | virtual_now.wrapping_add(mark) << TAT_SHIFT
    }
}

/// The tag bits of a hash; never zero, so that an empty word matches nobody.
#[inline]
pub(crate) const fn tag(hash: u64) -> u64 {
    let tag = hash & TAG_MASK;
    if tag == 0 { 1 } else { tag }
}

#[inline]
pub(crate) const fn has_tag(word: u64, tag: u64) -> bool {
    (word ^ tag) & TAG_MASK == 0
}

/// How far the word's high mark is ahead of `virtual_now`, negative if it has passed.
#[inline]
pub(crate) const fn ahead(word: u64, virtual_now: u64, horizon: i64) -> i64 {
    // Sign-extends: half of the space is past, half is future.
    let ahead = word.wrapping_sub(virtual_now << TAT_SHIFT) as i64 >> TAT_SHIFT;
    // Further ahead than any debt, even for a clock that stepped back: from before the wrap, so the oldest of all.
    if ahead > horizon || word == 0 { i64::MIN } else { ahead }
}

/// The word of a key that owes nothing at `virtual_now`.
#[inline]
pub(crate) const fn full(tag: u64, virtual_now: u64) -> u64 {
    virtual_now << TAT_SHIFT | tag
}

/// How far a word's mark is ahead of that of a full bucket, scaled, negative if it has passed; `None` where the tag is
/// another or there is credit.
#[inline]
pub(crate) const fn apart(word: u64, full: u64) -> Option<i64> {
    let apart = word.wrapping_sub(full);
    if apart & BELOW_TAT == 0 { Some(apart as i64) } else { None }
}

/// Units where marks stand in a word. A burst has at most 2^40 units, and a debt twice that.
#[inline]
pub(crate) const fn scaled(units: u64) -> u64 {
    units << TAT_SHIFT
}

#[inline]
pub(crate) const fn unscaled(scaled: u64) -> u64 {
    scaled >> TAT_SHIFT
}

/// A word as a snapshot keeps it: with the distance of its mark in place of the mark.
#[inline]
pub(crate) const fn relative(word: u64, ahead: u64) -> u64 {
    word & BELOW_TAT | ahead << TAT_SHIFT
}
