//! A bucket for every key, in memory that never grows.
//!
//! The table is an array of cache lines, eight slots a line. A key hashes (with a secret) to one line, to a place in
//! it, and to a 14-bit tag; a slot is one word with the tag, the key's theoretical arrival time (TAT) as a high
//! mark, and the credit that refunds left (see `slot`).
//!
//! ```text
//! check(key, n):
//!   look at the key's place, then at the whole line, for the key's tag
//!   found:      owed = high mark − credit − V(now); passes if owed + n ≤ burst, by compare-and-swap
//!   not found:  take the slot with the smallest high mark of the line (ties: the first from the key's place)
//!               it has passed   → the newcomer owes nothing; a full bucket *is* a free slot
//!               all lie ahead   → the newcomer owes what the victim's high mark says
//! refund(key, n): adds to the credit of the key's own slot; the high mark stays
//! ```
//!
//! **No key is ever over-admitted**, with any number of keys in any order, refunds included:
//! - *High marks in a line only grow.* A charge leaves `max(high mark, new TAT)`, a refund leaves it alone, and a
//!   newcomer starts at the victim's. A victim had the smallest, so whoever comes back finds every high mark of its
//!   line at or above the one it left: either its debt is really over, or it inherits at least what it owed.
//!   Forgetting never forgives, and credit belongs to the key in the slot and dies with it.
//! - *No key is ever in two slots.* Say A puts a key into slot i where it replaced the mark a, and B puts the same key
//!   into slot j where it replaced b, and neither saw the other's. A saw in j no more than b (marks only grow, and
//!   what B wrote would have shown the tag) and chose i, so a ≤ b; likewise b ≤ a. With a = b both saw the tie
//!   and chose the same slot, since ties go by an order that depends on the key alone.
//! - *A returning key never misses its own line's growth.* If D puts a key back while E evicts it elsewhere, then
//!   either D saw the tag, or E's swap happens before D's look (Acquire reads what Release wrote), and the marks
//!   that E compared with are behind those that D sees.
//! - *Refunds remove no more than still lies ahead*: `cost − (V(now) − V(charged))`, the argument of
//!   [`TokenBucket::refund_at`](crate::TokenBucket::refund_at); rounding of credits is downwards.
//! - Two keys with one tag in one line share a bucket: fewer pass, never more. The chance is 7 in 16,384 at most.
//!
//! Marks of two rates do not compare, so a table has one quota; classes of quotas are tables side by side
//! ([`KeyedClasses`](crate::KeyedClasses)).

mod decide;
mod line;
#[cfg(test)]
mod tests;

use core::hash::Hash;
use core::marker::PhantomData;
use std::boxed::Box;

use ahash::RandomState;

pub(crate) use self::decide::Charge;
pub(crate) use self::line::Line;
use crate::slot::{self, Scheme};
use crate::sync::{AtomicU64, Ordering, Padded};
use crate::timeline::Timeline;
use crate::{Decision, Quota, QuotaError, Timestamp};

/// Slots in a line: eight words, one cache line.
pub const SLOTS_PER_LINE: usize = 8;

/// Places to count in.
const STRIPES: usize = 8;

/// A limiter with a bucket for each key, all of one [`Quota`], in fixed memory.
///
/// Lock-free; one cache line is read per check, and one word of it written when the check passes. Nothing is
/// allocated after construction. Memory is exactly `64 × lines` bytes.
///
/// Stamps count in ticks: of four to eight microseconds for quotas up to 262,144 tokens a second, of one token's time
/// above that, of `2^k` tokens' time above four million (costs then round up to `2^k` tokens and the burst down, see
/// [`quota`](Self::quota)). The bound over every interval holds to within one tick.
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
    pub(crate) timeline: Timeline,
    pub(crate) lines: Box<[Line]>,
    scheme: Scheme,
    hasher: RandomState,
    pub(crate) seeds: [u64; 4],
    /// Newcomers that had to inherit a debt. Counters and nothing else, in stripes: in a flood every thread counts, and
    /// must not take the fields above away from the others.
    inherited: [Padded<AtomicU64>; STRIPES],
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
        Self::with_seeds(quota, memory_bytes / size_of::<Line>(), fresh_seeds())
    }

    pub(crate) fn with_seeds(quota: Quota, lines: usize, seeds: [u64; 4]) -> Self {
        let timeline = Timeline::new(quota, slot::BUDGET);
        Self {
            scheme: Scheme::new(&timeline.current()),
            timeline,
            lines: (0..lines.max(1)).map(|_| Line::empty()).collect(),
            hasher: RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]),
            seeds,
            inherited: core::array::from_fn(|_| Padded::default()),
            keys: PhantomData,
        }
    }

    /// Takes `cost` tokens from the key's bucket at `now`, or says when they would be there.
    ///
    /// Lock-free: a lost compare-and-swap means that another caller on this line was served.
    #[inline]
    pub fn check_at(&self, key: &K, now: Timestamp, cost: u64) -> Decision {
        self.decide(self.hash(key), now, cost, true)
    }

    /// What [`check_at`](Self::check_at) would answer, without taking anything.
    #[inline]
    pub fn peek_at(&self, key: &K, now: Timestamp, cost: u64) -> Decision {
        self.decide(self.hash(key), now, cost, false)
    }

    /// Checks a batch of keys at one moment and calls `answer` with the index and the decision of each, in order.
    ///
    /// The lines of sixteen keys at a time are touched before the first of them is decided, so their cache misses
    /// overlap.
    pub fn check_batch_at<Q: core::borrow::Borrow<K>>(
        &self,
        keys: &[Q],
        now: Timestamp,
        cost: u64,
        mut answer: impl FnMut(usize, Decision),
    ) {
        const GROUP: usize = 16;
        for (group, keys) in keys.chunks(GROUP).enumerate() {
            let mut hashes = [0; GROUP];
            let mut touched = 0;
            for (hash, key) in hashes.iter_mut().zip(keys) {
                *hash = self.hash(key.borrow());
                let place = self.place(*hash);
                touched ^= place.line.0[place.first].load(Ordering::Relaxed);
            }
            // The loads above are for their effect on the cache; nothing may drop them.
            core::hint::black_box(touched);
            for (index, &hash) in hashes.iter().take(keys.len()).enumerate() {
                answer(group * GROUP + index, self.decide(hash, now, cost, true));
            }
        }
    }

    /// Gives back `cost` tokens that `key` took at `charged` and did not use, less what the rate has brought since
    /// (see [`TokenBucket::refund_at`](crate::TokenBucket::refund_at)).
    ///
    /// Exact for whole tokens in buckets of up to 63; otherwise rounded down to a sixty-fourth of the burst (the next
    /// power of two), and at most 63 such quanta are outstanding. A key whose slot was taken meanwhile gets nothing.
    pub fn refund_at(&self, key: &K, now: Timestamp, charged: Timestamp, cost: u64) {
        self.give_back(self.hash(key), || now, charged, cost);
    }

    /// [`refund_at`](Self::refund_at) by a clock that is read after the key's word was seen; see
    /// [`TokenBucket::refund_by`](crate::TokenBucket::refund_by).
    pub fn refund_by(&self, key: &K, clock: impl Fn() -> Timestamp, charged: Timestamp, cost: u64) {
        self.give_back(self.hash(key), clock, charged, cost);
    }

    #[inline]
    pub(crate) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }
}

impl<K: ?Sized> KeyedLimiter<K> {
    /// The quota of every key. Above four million tokens a second its burst is rounded down to whole units.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.timeline.current().quota
    }

    /// Another quota for every key from `now` on, without touching the table: debts stay what they are in tokens, so
    /// nobody gets a fresh burst.
    ///
    /// # Errors
    /// [`QuotaError::Live`] if the new rate or burst is beyond what the table's resolution carries.
    pub fn set_quota_at(&self, quota: Quota, now: Timestamp) -> Result<(), QuotaError> {
        self.timeline.set(quota, now)
    }

    /// Newcomers so far that found their line full of debtors and inherited the smallest debt. Zero in a table of
    /// the right size.
    #[must_use]
    pub fn pressure(&self) -> u64 {
        self.inherited.iter().map(|Padded(count)| count.load(Ordering::Relaxed)).sum()
    }

    /// Bytes of the table, fixed at construction.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    /// How many slots are in debt at `now`, of how many. Reads the whole table.
    #[must_use]
    pub fn occupancy_at(&self, now: Timestamp) -> (usize, usize) {
        let time = self.timeline.current();
        let (virtual_now, horizon) = (time.at(now), time.horizon);
        let words = self.lines.iter().flat_map(|line| &line.0);
        let busy = words.filter(|word| slot::ahead(word.load(Ordering::Relaxed), virtual_now, horizon) > 0);
        (busy.count(), self.lines.len() * SLOTS_PER_LINE)
    }
}

#[cfg(feature = "std")]
impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// [`refund_by`](Self::refund_by) the process clock.
    pub fn refund(&self, key: &K, charged: Timestamp, cost: u64) {
        self.give_back(self.hash(key), crate::now, charged, cost);
    }

    /// [`check_at`](Self::check_at) by the process clock ([`crate::now`]).
    #[inline]
    pub fn check(&self, key: &K, cost: u64) -> Decision {
        let hash = self.hash(key);
        // Asked for before the clock is read, so that the two waits overlap.
        let first = self.place(hash).line.0[0].load(Ordering::Relaxed);
        let now = self.timeline.unchanged_now();
        core::hint::black_box(first);
        if let Some((time, virtual_now)) = now
            && let Some(decision) = self.decide_common(time, virtual_now, hash, cost)
        {
            return decision;
        }
        self.decide_by(&self.timeline.current(), hash, crate::now(), cost, true)
    }
}

#[cfg(not(loom))]
fn fresh_seeds() -> [u64; 4] {
    let random = RandomState::new();
    core::array::from_fn(|index| random.hash_one(index))
}

/// A model runs again and again, and must find every key in the same place.
#[cfg(loom)]
fn fresh_seeds() -> [u64; 4] {
    [1, 2, 3, 4]
}
