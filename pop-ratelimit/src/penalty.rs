//! Blocks with expiry and back-off, in memory that never grows.
//!
//! Lines of eight words, like the keyed limiter's. A word is a 24-bit tag, a 5-bit count of offences, and the tick at
//! which the block ends. A key that was never punished is in no word, but for a tag that happens to be the same:
//! at most 8 in 16 million.

use core::hash::Hash;
use core::marker::PhantomData;
use core::time::Duration;
use std::boxed::Box;

use ahash::RandomState;

use crate::Timestamp;
use crate::keyed::{Line, SLOTS_PER_LINE};
use crate::sync::{AtomicU64, Ordering};

/// A tick is 2²⁶ ns, 67 ms; 35 bits of them last 73 years.
const TICK_SHIFT: u32 = 26;
const UNTIL_BITS: u32 = 35;
const UNTIL_MAX: u64 = (1 << UNTIL_BITS) - 1;
const LEVEL_BITS: u32 = 5;
const LEVEL_MAX: u64 = (1 << LEVEL_BITS) - 1;
const TAG_SHIFT: u32 = UNTIL_BITS + LEVEL_BITS;

/// How long offenders are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(deny_unknown_fields))]
pub struct PenaltyTerms {
    first: Duration,
    longest: Duration,
    forget_after: Duration,
}

impl PenaltyTerms {
    /// A first block of `first`, doubling with each further offence up to an hour; each ten minutes without an
    /// offence take one off the count.
    #[must_use]
    pub const fn new(first: Duration) -> Self {
        Self { first, longest: Duration::from_secs(3600), forget_after: Duration::from_secs(600) }
    }

    /// The longest block.
    #[must_use]
    pub const fn longest(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// How much good conduct after a block takes one offence off the count; zero forgets at once.
    #[must_use]
    pub const fn forget_after(self, forget_after: Duration) -> Self {
        Self { forget_after, ..self }
    }

    /// The block for the offence that brings the count to `offences`.
    #[must_use]
    pub fn block_for(&self, offences: u32) -> Duration {
        let doublings = offences.saturating_sub(1).min(63);
        let longest = self.longest.max(self.first);
        1_u32
            .checked_shl(doublings)
            .and_then(|factor| self.first.checked_mul(factor))
            .map_or(longest, |block| block.min(longest))
    }
}

/// A block in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a block that nobody looks at blocks nothing"]
pub struct Penalty {
    /// When it ends.
    pub until: Timestamp,
    /// Offences that count, this one included.
    pub offences: u32,
}

/// Keys that are blocked for a while, longer with each offence, in fixed memory.
///
/// Lock-free; a look-up reads one cache line and writes nothing. Where a line is full of blocks, the one that ends
/// first makes room, and [`displaced`](Self::displaced) counts it. Memory is exactly `64 × lines` bytes.
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::{PenaltyBox, PenaltyTerms, Timestamp};
///
/// let penalties = PenaltyBox::<str>::new(PenaltyTerms::new(Duration::from_secs(10)), 1 << 16);
/// let now = Timestamp::ZERO;
/// assert_eq!(penalties.blocked_at("mallory", now), None);
/// let penalty = penalties.punish_at("mallory", now);
/// assert_eq!((penalty.offences, penalties.is_blocked_at("mallory", now)), (1, true));
///
/// let again = penalties.punish_at("mallory", penalty.until);
/// assert_eq!(again.offences, 2);
/// assert!(again.until.saturating_since(penalty.until) >= Duration::from_secs(20));
/// ```
pub struct PenaltyBox<K: ?Sized> {
    terms: PenaltyTerms,
    lines: Box<[Line]>,
    hasher: RandomState,
    /// Blocks that ended early for want of room. A counter and nothing else.
    displaced: AtomicU64,
    keys: PhantomData<fn(&K)>,
}

impl<K: ?Sized> core::fmt::Debug for PenaltyBox<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PenaltyBox")
            .field("terms", &self.terms)
            .field("lines", &self.lines.len())
            .field("displaced", &self.displaced())
            .finish_non_exhaustive()
    }
}

impl<K: Hash + ?Sized> PenaltyBox<K> {
    /// An empty box in at most `memory_bytes` bytes, but at least one line of 64.
    #[must_use]
    pub fn new(terms: PenaltyTerms, memory_bytes: usize) -> Self {
        let lines = (memory_bytes / size_of::<Line>()).max(1);
        Self {
            terms,
            lines: (0..lines).map(|_| Line(core::array::from_fn(|_| AtomicU64::new(0)))).collect(),
            hasher: RandomState::new(),
            displaced: AtomicU64::new(0),
            keys: PhantomData,
        }
    }

    /// Blocks `key` for its next offence. While it is blocked already nothing changes: many witnesses of one offence
    /// are one offence.
    pub fn punish_at(&self, key: &K, now: Timestamp) -> Penalty {
        let (line, tag) = self.place(key);
        let tick = ticks_down(now);
        loop {
            let (slot, word, own) = find(line, tag);
            if own && until(word) > tick {
                return penalty(word);
            }
            let offences = if own { self.remembered(word, tick) + 1 } else { 1 };
            let offences = offences.min(LEVEL_MAX);
            let block = self.terms.block_for(offences as u32);
            let end = ticks_up(now.saturating_add(block)).max(tick + 1).min(UNTIL_MAX);
            let next = tag | offences << UNTIL_BITS | end;
            // Relaxed: the word stands for itself. Losing means that another offence of this line was recorded.
            if slot.compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                if !own && until(word) > tick {
                    self.displaced.fetch_add(1, Ordering::Relaxed);
                }
                return penalty(next);
            }
        }
    }

    /// The block of `key` in force at `now`.
    #[inline]
    pub fn blocked_at(&self, key: &K, now: Timestamp) -> Option<Penalty> {
        let (line, tag) = self.place(key);
        let (_, word, own) = find(line, tag);
        (own && until(word) > ticks_down(now)).then(|| penalty(word))
    }

    /// Whether `key` is blocked at `now`.
    #[inline]
    #[must_use]
    pub fn is_blocked_at(&self, key: &K, now: Timestamp) -> bool {
        self.blocked_at(key, now).is_some()
    }

    /// Forgets every offence of `key`.
    pub fn pardon(&self, key: &K) {
        let (line, tag) = self.place(key);
        loop {
            let (slot, word, own) = find(line, tag);
            if !own {
                return;
            }
            // Relaxed: as above. A lost race looks again.
            let _ = slot.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// [`punish_at`](Self::punish_at) by the process clock.
    pub fn punish(&self, key: &K) -> Penalty {
        self.punish_at(key, crate::now())
    }

    /// [`is_blocked_at`](Self::is_blocked_at) by the process clock.
    #[must_use]
    pub fn is_blocked(&self, key: &K) -> bool {
        self.is_blocked_at(key, crate::now())
    }

    /// Offences of a word that still count at `tick`.
    fn remembered(&self, word: u64, tick: u64) -> u64 {
        let quiet = tick.saturating_sub(until(word));
        let forget = (self.terms.forget_after.as_nanos() >> TICK_SHIFT) as u64;
        offences(word).saturating_sub(quiet.checked_div(forget).unwrap_or(LEVEL_MAX))
    }

    #[inline]
    fn place(&self, key: &K) -> (&Line, u64) {
        let hash = self.hasher.hash_one(key);
        let line = ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize;
        let tag = hash << TAG_SHIFT;
        (&self.lines[line], if tag == 0 { 1 << TAG_SHIFT } else { tag })
    }
}

impl<K: ?Sized> PenaltyBox<K> {
    /// How long offenders are blocked.
    #[must_use]
    pub const fn terms(&self) -> PenaltyTerms {
        self.terms
    }

    /// Blocks that ended early because their line was full. Zero in a box of the right size.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    /// How many blocks are in force at `now`. Reads the whole box.
    #[must_use]
    pub fn len_at(&self, now: Timestamp) -> usize {
        let tick = ticks_down(now);
        let words = self.lines.iter().flat_map(|line| &line.0);
        words.filter(|word| until(word.load(Ordering::Relaxed)) > tick).count()
    }

    /// Bytes of the table, fixed at construction.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }
}

/// The key's word with the latest end, or the word of the line that ends first, and whether it is the key's own.
///
/// Two racing first offences of one key may leave two words; the later end counts, and the other expires.
#[inline]
fn find(line: &Line, tag: u64) -> (&AtomicU64, u64, bool) {
    let (mut own, mut first) = (None, (0, u64::MAX));
    for index in 0..SLOTS_PER_LINE {
        let word = line.0[index].load(Ordering::Relaxed);
        if (word ^ tag) >> TAG_SHIFT == 0 && own.is_none_or(|(_, best)| until(word) > until(best)) {
            own = Some((index, word));
        }
        if first.1 == u64::MAX || until(word) < until(first.1) {
            first = (index, word);
        }
    }
    let (index, word) = own.unwrap_or(first);
    (&line.0[index], word, own.is_some())
}

const fn until(word: u64) -> u64 {
    word & UNTIL_MAX
}

const fn offences(word: u64) -> u64 {
    word >> UNTIL_BITS & LEVEL_MAX
}

const fn penalty(word: u64) -> Penalty {
    Penalty { until: Timestamp::from_nanos(until(word) << TICK_SHIFT), offences: offences(word) as u32 }
}

/// Stamps beyond 73 years count as the last tick but one.
fn ticks_down(now: Timestamp) -> u64 {
    (now.as_nanos() >> TICK_SHIFT).min(UNTIL_MAX - 1)
}

fn ticks_up(then: Timestamp) -> u64 {
    then.as_nanos().div_ceil(1 << TICK_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn blocks_double_up_to_the_longest_and_good_conduct_is_rewarded() {
        let terms = PenaltyTerms::new(SECOND).longest(5 * SECOND).forget_after(60 * SECOND);
        let blocks: Vec<u64> = (0..6).map(|offences| terms.block_for(offences).as_secs()).collect();
        assert_eq!(blocks, [1, 1, 2, 4, 5, 5]);
        assert_eq!(terms.block_for(u32::MAX), 5 * SECOND);

        let penalties = PenaltyBox::<u32>::new(terms, 4096);
        let mut now = Timestamp::ZERO;
        for offences in 1..=4 {
            let penalty = penalties.punish_at(&7, now);
            assert_eq!(penalty.offences, offences);
            assert_eq!(penalties.punish_at(&7, now), penalty, "a witness changes nothing");
            assert!(penalty.until.saturating_since(now) >= terms.block_for(offences));
            assert!(!penalties.is_blocked_at(&7, penalty.until));
            now = penalty.until;
        }
        // Two minutes take two offences off the count.
        assert_eq!(penalties.punish_at(&7, now.saturating_add(125 * SECOND)).offences, 3);
    }

    #[test]
    fn the_box_is_bounded_and_counts_what_it_lets_go() {
        let penalties = PenaltyBox::<u32>::new(PenaltyTerms::new(60 * SECOND), 64);
        for key in 0..1000 {
            let _ = penalties.punish_at(&key, Timestamp::ZERO);
        }
        assert_eq!(penalties.len_at(Timestamp::ZERO), SLOTS_PER_LINE);
        assert_eq!(penalties.displaced(), 1000 - SLOTS_PER_LINE as u64);
        assert!(penalties.is_blocked_at(&999, Timestamp::ZERO));
        assert_eq!(penalties.len_at(Timestamp::ZERO.saturating_add(61 * SECOND)), 0);
    }

    #[test]
    fn a_pardon_forgets_everything() {
        let penalties = PenaltyBox::<u32>::new(PenaltyTerms::new(SECOND), 4096);
        let _ = penalties.punish_at(&1, Timestamp::ZERO);
        penalties.pardon(&1);
        assert!(!penalties.is_blocked_at(&1, Timestamp::ZERO));
        assert_eq!(penalties.punish_at(&1, Timestamp::ZERO).offences, 1);
    }

    #[test]
    fn a_poisoned_clock_neither_panics_nor_blocks_for_nothing() {
        let penalties = PenaltyBox::<u32>::new(PenaltyTerms::new(Duration::MAX), 4096);
        let end = Timestamp::from_nanos(u64::MAX);
        assert!(!penalties.is_blocked_at(&1, end));
        let _ = penalties.punish_at(&1, end);
        assert!(penalties.is_blocked_at(&1, end));
    }
}
