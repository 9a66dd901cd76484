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

use core::hash::Hash;
use core::marker::PhantomData;
use std::boxed::Box;

use ahash::RandomState;

use crate::slot::{self, Scheme, TAT_MASK};
use crate::sync::{AtomicU64, Ordering};
use crate::timeline::Timeline;
use crate::virtual_time::VirtualTime;
use crate::{Decision, Quota, QuotaError, Timestamp};

/// Slots in a line: eight words, one cache line.
pub const SLOTS_PER_LINE: usize = 8;

#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct Line(pub(crate) [AtomicU64; SLOTS_PER_LINE]);

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

/// The slot that a key would use, as it was seen.
struct Found<'a> {
    slot: &'a AtomicU64,
    word: u64,
    /// Whether it is the key's own.
    own: bool,
}

/// What a key would be told, and the swap that makes it so.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) decision: Decision,
    /// `None` where it takes more than a swap, and where there is nothing to take.
    pub(crate) charge: Option<Charge<'a>>,
}

/// A cost that one swap takes, as long as the key's word is what it was.
#[derive(Clone, Copy)]
pub(crate) struct Charge<'a> {
    slot: &'a AtomicU64,
    word: u64,
    next: u64,
}

impl Charge<'_> {
    /// Takes the cost; `false` if the word has changed, and nothing is taken.
    #[inline]
    pub(crate) fn take(self) -> bool {
        swap(self.slot, self.word, self.next)
    }
}

/// Where a key lives.
struct Place<'a> {
    line: &'a Line,
    first: usize,
    tag: u64,
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
            lines: (0..lines.max(1)).map(|_| Line(core::array::from_fn(|_| AtomicU64::new(0)))).collect(),
            hasher: RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]),
            seeds,
            inherited: AtomicU64::new(0),
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

    pub(crate) fn give_back(&self, hash: u64, clock: impl Fn() -> Timestamp, charged: Timestamp, cost: u64) {
        let time = self.timeline.current();
        let (charged, units) = (time.at(charged), time.units(cost));
        let place = self.place(hash);
        let horizon = time.horizon;
        loop {
            // Where the key's own slot is does not depend on the time.
            let found = find(&place, charged & TAT_MASK, horizon);
            // After the word was seen: see `TokenBucket::refund_by`.
            let now = time.at(clock());
            let elapsed = now.wrapping_sub(charged);
            let elapsed = if elapsed <= u64::MAX / 2 { elapsed } else { 0 };
            let (due, virtual_now) = (units.saturating_sub(elapsed), now & TAT_MASK);
            let seen = self.scheme.see(found.word, virtual_now, horizon);
            if !found.own || due == 0 || seen.high <= 0 {
                return;
            }
            let owed = self.scheme.owed(seen).saturating_sub(due);
            let next = self.scheme.word(place.tag, virtual_now, seen.high, owed);
            if swap(found.slot, found.word, next) {
                return;
            }
        }
    }

    #[inline]
    fn decide(&self, hash: u64, now: Timestamp, cost: u64, charge: bool) -> Decision {
        if charge
            && let Some(time) = self.timeline.unchanged()
            && let Some(decision) = self.decide_common(time, time.at(now), hash, cost)
        {
            return decision;
        }
        self.decide_by(&self.timeline.current(), hash, now, cost, charge)
    }

    /// The common case, in few instructions, so that the processor can look ahead to the next key's line: the first
    /// quota, a key with a slot of its own and without credit. `None` leaves the case to the general path.
    #[inline(always)]
    fn decide_common(&self, time: &VirtualTime, virtual_now: u64, hash: u64, cost: u64) -> Option<Decision> {
        match self.ask_common(time, virtual_now, hash, cost)? {
            Asked { charge: None, decision } => Some(decision),
            Asked { charge: Some(charge), decision } => charge.take().then_some(decision),
        }
    }

    /// The common case up to the swap that takes the cost.
    #[inline(always)]
    fn ask_common(&self, time: &VirtualTime, virtual_now: u64, hash: u64, cost: u64) -> Option<Asked<'_>> {
        let cost = time.cost(cost).filter(|&cost| cost > 0)?;
        let place = self.place(hash);
        // Most keys stand at the first place they would take, and the processor guesses that ahead of the load.
        // Acquire pairs with the Release of `swap`: see the third point of the proof.
        let first = &place.line.0[place.first];
        let word = first.load(Ordering::Acquire);
        let (slot, word) = if slot::has_tag(word, place.tag) {
            (first, word)
        } else {
            let slot = matching(&place)?;
            (slot, slot.load(Ordering::Acquire))
        };
        let virtual_now = virtual_now & TAT_MASK;
        let ahead = slot::ahead_of_tagged(word, virtual_now);
        if !slot::has_tag(word, place.tag) || slot::has_credit(word) || ahead > time.horizon {
            return None;
        }
        let after = ahead.max(0) as u64 + cost;
        if after > time.burst_units {
            return Some(Asked { decision: time.limited(after - time.burst_units), charge: None });
        }
        let next = place.tag | (virtual_now.wrapping_add(after) & TAT_MASK);
        let decision = Decision::Allowed { remaining: time.whole_tokens(time.burst_units - after) };
        Some(Asked { decision, charge: Some(Charge { slot, word, next }) })
    }

    /// Asks for `cost` tokens without taking them; [`Charge::take`] takes them if nothing has changed since.
    #[inline]
    pub(crate) fn ask(&self, hash: u64, now: Timestamp, cost: u64) -> Asked<'_> {
        let common = |time: &VirtualTime| self.ask_common(time, time.at(now), hash, cost);
        self.timeline.unchanged().and_then(common).unwrap_or_else(|| {
            let decision = self.decide_by(&self.timeline.current(), hash, now, cost, false);
            Asked { decision, charge: None }
        })
    }

    /// Takes `cost` tokens from the bucket of a key with this hash.
    pub(crate) fn charge(&self, hash: u64, now: Timestamp, cost: u64) -> Decision {
        self.decide(hash, now, cost, true)
    }

    #[inline(never)]
    fn decide_by(&self, time: &VirtualTime, hash: u64, now: Timestamp, cost: u64, charge: bool) -> Decision {
        let Some(cost) = time.cost(cost) else { return time.never() };
        let place = self.place(hash);
        let virtual_now = time.at(now) & TAT_MASK;
        loop {
            let found = find(&place, virtual_now, time.horizon);
            let seen = self.scheme.see(found.word, virtual_now, time.horizon);
            let owed = if found.own { self.scheme.owed(seen) } else { u64::try_from(seen.high).unwrap_or(0) };
            let after = owed + cost;
            if after > time.burst_units {
                return time.limited(after - time.burst_units);
            }
            let allowed = Decision::Allowed { remaining: time.whole_tokens(time.burst_units - after) };
            if !charge || cost == 0 {
                return allowed;
            }
            let next = self.scheme.word(place.tag, virtual_now, seen.high, after);
            if swap(found.slot, found.word, next) {
                if !found.own && owed > 0 {
                    self.inherited.fetch_add(1, Ordering::Relaxed);
                }
                return allowed;
            }
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The line of a hash, its first place in it, and its tag.
    #[inline]
    fn place(&self, hash: u64) -> Place<'_> {
        // The upper bits pick the line by multiplication; the lowest seventeen are tag and place: independent for
        // any table of less than 2^47 lines.
        let line = ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize;
        let first = (hash >> (64 - slot::TAG_SHIFT)) as usize % SLOTS_PER_LINE;
        Place { line: &self.lines[line], first, tag: slot::tag(hash) }
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
        self.inherited.load(Ordering::Relaxed)
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
        let (virtual_now, horizon) = (time.at(now) & TAT_MASK, time.horizon);
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

/// Replaces a word that is still what it was.
#[inline]
fn swap(slot: &AtomicU64, word: u64, next: u64) -> bool {
    // Release pairs with the Acquire loads of a line: whoever sees this word also sees what its writer had seen.
    slot.compare_exchange(word, next, Ordering::Release, Ordering::Relaxed).is_ok()
}

/// The slot of a line that bears the tag, if one does.
#[inline(always)]
fn matching<'a>(place: &Place<'a>) -> Option<&'a AtomicU64> {
    // All eight tags at once, without a branch: which slot it is cannot be guessed, and a wrong guess costs more than
    // seven loads from a line that is here anyway.
    let mut matching = 0_u32;
    for (index, slot) in place.line.0.iter().enumerate() {
        // Acquire pairs with the Release of `swap`: see the third point of the proof.
        matching |= u32::from(slot::has_tag(slot.load(Ordering::Acquire), place.tag)) << index;
    }
    (matching != 0).then(|| &place.line.0[matching.trailing_zeros() as usize % SLOTS_PER_LINE])
}

/// The key's own slot, or the one with the smallest high mark, the first from the key's place on.
fn find<'a>(place: &Place<'a>, virtual_now: u64, horizon: i64) -> Found<'a> {
    let mut smallest = (i64::MAX, place.first, 0);
    for step in 0..SLOTS_PER_LINE {
        let index = (place.first + step) % SLOTS_PER_LINE;
        let word = place.line.0[index].load(Ordering::Acquire);
        // Its own slot counts even when the debt is over: as long as nobody took it, the key is in no other.
        if slot::has_tag(word, place.tag) {
            return Found { slot: &place.line.0[index], word, own: true };
        }
        let ahead = slot::ahead(word, virtual_now, horizon);
        if ahead < smallest.0 {
            smallest = (ahead, index, word);
        }
    }
    let (_, index, word) = smallest;
    Found { slot: &place.line.0[index], word, own: false }
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

    /// A million keys chosen to meet in one line of one limiter are spread over the lines of any other.
    #[test]
    fn chosen_keys_do_not_meet_again() {
        let line_of = |limiter: &KeyedLimiter<u64>, key| {
            let line: *const Line = limiter.place(limiter.hash(&key)).line;
            line as usize
        };
        let [mine, theirs] = [(); 2].map(|()| KeyedLimiter::<u64>::new(Quota::per_second(1), 64 << 10));
        let target = line_of(&mine, 0);
        let chosen: Vec<u64> = (0..1_000_000).filter(|&key| line_of(&mine, key) == target).collect();
        assert!(chosen.len() > 500, "{} of a million over 1024 lines", chosen.len());
        let lines: std::collections::HashSet<usize> =
            chosen.iter().map(|&key| line_of(&theirs, key)).collect();
        assert!(lines.len() > chosen.len() / 3, "{} keys in {} lines", chosen.len(), lines.len());
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
            // One token is ten milliseconds, one tick at this rate 5 µs.
            let tat = oracle.entry(key).or_insert(0);
            let start = u128::from(nanos).max(*tat);
            *tat = start + 10_000_000;
            assert!(*tat - u128::from(nanos) <= 50_000_000 + 5_000, "key {key} over-admitted");
        }
        assert!(passed > 1000 && refused > 1000, "{passed} passed, {refused} refused");
    }
}
