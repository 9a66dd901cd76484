//! A bucket for every key, in memory that never grows.
//!
//! The table is an array of cache lines, eight slots a line. A key hashes (with a secret) to one line and to a
//! 16-bit tag; a slot is one word: the tag and the key's theoretical arrival time (TAT, see `virtual_time`).
//!
//! ```text
//! check(key, n):
//!   scan the line for a slot with the key's tag whose debt is not over
//!   found:      the usual check on its TAT, by compare-and-swap
//!   not found:  take the slot with the smallest TAT of the line (ties: the lowest index)
//!               its debt is over  → the newcomer starts with none; a full bucket *is* a free slot
//!               all are in debt   → the newcomer starts with the victim's debt
//! ```
//!
//! **No key is ever over-admitted**, with any number of keys in any order:
//! - TATs in a line only grow. A victim was the smallest, so whoever comes back finds every TAT of its line at or
//!   above the one it left: either its debt is really over, or it inherits at least what it owed. Forgetting
//!   therefore never forgives.
//! - No key is ever in two slots. Inserting replaces the smallest TAT by compare-and-swap. Since the others only
//!   grew since they were read, the victim is the true minimum at that instant; two inserters of one key that did
//!   not see each other would have to have replaced two different minima while both stood, a contradiction.
//! - Two keys with one tag in one line share a bucket: fewer pass, never more. The chance is 7 in 65,536 at most.
//!
//! For that reason there is no refund here: a TAT that fell would break both proofs.

use core::hash::Hash;
use core::marker::PhantomData;
use std::boxed::Box;
use std::vec::Vec;

use ahash::RandomState;

use crate::sync::{AtomicU64, Ordering};
use crate::virtual_time::VirtualTime;
use crate::{Decision, Quota, Timestamp};

/// Slots in a line: eight words, one cache line.
pub const SLOTS_PER_LINE: usize = 8;
const TAT_BITS: u32 = 48;
const TAT_MASK: u64 = (1 << TAT_BITS) - 1;
/// 2²⁰ units a second: a microsecond at worst where tokens are slow; 48 bits of them last eight years.
const UNITS_PER_SECOND_LOG2: u32 = 20;
/// A burst takes at most 2⁴⁰ units of the 2⁴⁸, so that an old TAT is told from a debt.
const BURST_UNITS_LOG2: u32 = 40;
/// No debt reaches further ahead; what does is a TAT from before the wrap.
const DEBT_UNITS_MAX: i64 = 2 << BURST_UNITS_LOG2;

#[repr(align(64))]
#[derive(Debug)]
struct Line([AtomicU64; SLOTS_PER_LINE]);

/// A limiter with a bucket for each key, all of one [`Quota`], in fixed memory.
///
/// Lock-free; one cache line is read per check, and one word of it written when the check passes. Nothing is
/// allocated after construction. Memory is exactly `64 × lines` bytes.
///
/// **Sizing.** A key occupies a slot only while it owes something, at most `burst / rate` seconds after its last
/// cost. A flood of `p` packets a second with a fresh key each keeps `p × cost / rate` slots busy: a million a
/// second at one token each and ten tokens a second are 100,000 slots, 0.8 MB. Beyond capacity newcomers
/// inherit the smallest debt of their line: the limiter gets stricter, never laxer, and
/// [`pressure`](Self::pressure) counts it.
///
/// ```
/// use pop_ratelimit::{KeyedLimiter, Quota, Timestamp};
///
/// let limiter = KeyedLimiter::<str>::new(Quota::per_second(10).burst(3), 1 << 20);
/// let now = Timestamp::ZERO;
/// let passed = (0..10).filter(|_| limiter.check_at("alice", now, 1).is_allowed()).count();
/// assert_eq!(passed, 3);
/// assert!(limiter.check_at("bob", now, 1).is_allowed());
/// assert!(limiter.memory_bytes() <= 1 << 20);
/// ```
pub struct KeyedLimiter<K: ?Sized> {
    time: VirtualTime,
    lines: Box<[Line]>,
    hasher: RandomState,
    /// Newcomers that had to inherit a debt. A counter and nothing else; written only when that happens.
    inherited: AtomicU64,
    keys: PhantomData<fn(&K)>,
}

impl<K: ?Sized> core::fmt::Debug for KeyedLimiter<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeyedLimiter")
            .field("quota", &self.quota())
            .field("lines", &self.lines.len())
            .field("pressure", &self.pressure())
            .finish_non_exhaustive()
    }
}

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// A limiter in at most `memory_bytes` bytes (but at least one line of 64), every bucket full. The hash is
    /// keyed with fresh random bits, so nobody outside can choose keys that meet in one line.
    #[must_use]
    pub fn new(quota: Quota, memory_bytes: usize) -> Self {
        Self::with_hasher(quota, memory_bytes, RandomState::new())
    }

    fn with_hasher(quota: Quota, memory_bytes: usize, hasher: RandomState) -> Self {
        let lines = (memory_bytes / size_of::<Line>()).max(1);
        let lines: Vec<Line> =
            (0..lines).map(|_| Line(core::array::from_fn(|_| AtomicU64::new(0)))).collect();
        Self {
            time: VirtualTime::with_budget(quota, UNITS_PER_SECOND_LOG2, BURST_UNITS_LOG2),
            lines: lines.into_boxed_slice(),
            hasher,
            inherited: AtomicU64::new(0),
            keys: PhantomData,
        }
    }

    /// Takes `cost` tokens from the key's bucket at `now`, or says when they would be there.
    ///
    /// Lock-free: a lost compare-and-swap means that another caller on this line was served.
    #[inline]
    pub fn check_at(&self, key: &K, now: Timestamp, cost: u64) -> Decision {
        self.decide(key, now, cost, true)
    }

    /// What [`check_at`](Self::check_at) would answer, without taking anything.
    pub fn peek_at(&self, key: &K, now: Timestamp, cost: u64) -> Decision {
        self.decide(key, now, cost, false)
    }

    #[inline]
    fn decide(&self, key: &K, now: Timestamp, cost: u64, charge: bool) -> Decision {
        let Some(cost) = self.time.cost(cost) else { return self.time.never() };
        let (line, tag) = self.place(key);
        let virtual_now = self.time.at(now) & TAT_MASK;
        loop {
            let (index, word, own) = find(line, tag, virtual_now);
            let ahead = ahead(word, virtual_now);
            let debt = u64::try_from(ahead).unwrap_or(0);
            let after = debt + cost;
            if after > self.time.burst_units() {
                return self.time.limited(after - self.time.burst_units());
            }
            let remaining = self.time.whole_tokens(self.time.burst_units() - after);
            if !charge || cost == 0 {
                return Decision::Allowed { remaining };
            }
            let next = tag | (virtual_now.wrapping_add(after) & TAT_MASK);
            // Relaxed: each word stands for itself; the proofs above need only that a word changes by one
            // compare-and-swap after another.
            if line.0[index].compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                if !own && debt > 0 {
                    self.inherited.fetch_add(1, Ordering::Relaxed);
                }
                return Decision::Allowed { remaining };
            }
        }
    }

    /// The line of a key and its tag, in the upper bits of the word.
    #[inline]
    fn place(&self, key: &K) -> (&Line, u64) {
        let hash = self.hasher.hash_one(key);
        // The upper half picks the line by multiplication, the lowest sixteen bits are the tag: independent.
        let index = ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize;
        (&self.lines[index], hash << TAT_BITS)
    }
}

impl<K: ?Sized> KeyedLimiter<K> {
    /// The quota of every key.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.time.quota()
    }

    /// Newcomers so far that found their line full of debtors and inherited the smallest debt. Zero in a table of
    /// the right size.
    #[must_use]
    pub fn pressure(&self) -> u64 {
        self.inherited.load(Ordering::Relaxed)
    }

    /// Bytes of the table, fixed at construction.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }
}

#[cfg(feature = "std")]
impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// [`check_at`](Self::check_at) by the process clock ([`crate::now`]).
    #[inline]
    pub fn check(&self, key: &K, cost: u64) -> Decision {
        self.check_at(key, crate::now(), cost)
    }
}

/// The key's own slot, or the one with the smallest TAT: index, word, and whether it is the key's own.
#[inline]
fn find(line: &Line, tag: u64, virtual_now: u64) -> (usize, u64, bool) {
    let mut smallest = (i64::MAX, 0, 0);
    for (index, slot) in line.0.iter().enumerate() {
        let word = slot.load(Ordering::Relaxed);
        let ahead = ahead(word, virtual_now);
        // Its own slot counts even when the debt is over: as long as nobody took it, the key is in no other.
        if word & !TAT_MASK == tag && word != 0 {
            return (index, word, true);
        }
        if ahead < smallest.0 {
            smallest = (ahead, index, word);
        }
    }
    (smallest.1, smallest.2, false)
}

/// How far the word's TAT is ahead of `virtual_now`, negative if it has passed.
#[inline]
fn ahead(word: u64, virtual_now: u64) -> i64 {
    // Sign-extends 48 bits: half of the space is past, half is future.
    let ahead = ((word.wrapping_sub(virtual_now) << (64 - TAT_BITS)) as i64) >> (64 - TAT_BITS);
    // Further ahead than any debt, even for a clock that stepped back by a burst: from before the wrap, so the
    // oldest of all.
    if ahead > DEBT_UNITS_MAX { i64::MIN } else { ahead }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use std::collections::HashMap;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO.saturating_add(Duration::from_millis(millis))
    }

    #[test]
    fn a_full_bucket_is_a_free_slot() {
        let limiter = KeyedLimiter::<u64>::new(Quota::per_second(1000).burst(10), 64);
        for round in 0..1000 {
            // Nine keys in one line of eight, each quiet long enough to be full again.
            let key = round % 9;
            assert_eq!(limiter.check_at(&key, at(round * 100), 10), Decision::Allowed { remaining: 0 });
        }
        assert_eq!(limiter.pressure(), 0);
    }

    #[test]
    fn a_key_that_was_quiet_for_any_time_has_a_full_bucket() {
        let limiter = KeyedLimiter::<u64>::new(Quota::per_second(1000).burst(10), 64);
        for hours in [1, 36, 40, 71, 80, 100, 1000, 10_000] {
            let now = at(hours * 3_600_000);
            assert_eq!(limiter.check_at(&1, now, 10), Decision::Allowed { remaining: 0 }, "{hours} h");
        }
    }

    #[test]
    fn newcomers_to_a_full_line_inherit_and_are_counted() {
        let limiter = KeyedLimiter::<u64>::new(Quota::per_second(1).burst(10), 64);
        for key in 0..100 {
            let _ = limiter.check_at(&key, at(0), 4);
        }
        assert!(limiter.pressure() > 0);
        // Every slot owes at least eight of ten by now, so nobody new gets four.
        assert!(!limiter.check_at(&1000, at(0), 4).is_allowed());
    }

    /// The oracle: per key, exact arithmetic, all keys remembered for ever. Whatever passes here passes there.
    #[test]
    fn no_key_is_over_admitted_in_one_line_by_any_order_of_keys() {
        let quota = Quota::per_second(100).burst(5);
        let limiter = KeyedLimiter::<u64>::new(quota, 64);
        let mut oracle: HashMap<u64, u128> = HashMap::new();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut nanos = 0_u64;
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..200_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (random >> 33) % 40;
            nanos += (random >> 50) * 100;
            if !limiter.check_at(&key, Timestamp::from_nanos(nanos), 1).is_allowed() {
                refused += 1;
                continue;
            }
            passed += 1;
            // One token is ten milliseconds; the word's resolution is 2⁻¹³ of a token at this rate.
            let tat = oracle.entry(key).or_insert(0);
            let start = u128::from(nanos).max(*tat);
            *tat = start + 10_000_000;
            assert!(*tat - u128::from(nanos) <= 50_000_000 + 2_000, "key {key} over-admitted");
        }
        assert!(passed > 1000 && refused > 1000, "{passed} passed, {refused} refused");
    }
}
