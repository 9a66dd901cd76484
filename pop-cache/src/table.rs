//! The index's words, and how a table hands them over to a larger one.
//!
//! A table is an array of buckets of eight words, a cache line each. A word holds a tag (bits of the key's hash) and
//! the handle of an entry's slot, so that a look-up compares keys only where they are almost surely equal:
//!
//! ```text
//! 63      62..60  59         58        57..32  31..0
//! FROZEN  CARRY   TENTATIVE  OCCUPIED  tag     handle
//! ```
//!
//! - Zero: nothing was ever written here. In a table that succeeds another it means: not handed over yet.
//! - `VACANT`: no entry. The tag and what is beside the flag may be those of the last entry that was here and was
//!   evicted: its *ghost*, for the policy. Who comes to insert that key again is in this cache line anyway.
//! - `OCCUPIED`: the entry with this handle is in the cache; with `TENTATIVE`, it is about to be.
//! - `FROZEN`: this word is being handed over and never changes again; look in the successor.
//! - `CARRY`, in the first word of a bucket: how many entries found the bucket full and went on to their next choice
//!   (7: seven or more, for ever). A look-up goes on where it isn't zero.
//!
//! A key has [`PROBES`] choices of bucket. Growing doubles the number of buckets, and by the arithmetic of
//! [`bucket_of`] what is in bucket `b` goes to `2b` or `2b + 1` by the same choice. So a hand-over needs no search:
//! freeze the eight words; what they hold and where each goes is settled now, the same for everyone who looks; write the
//! sixteen words of the two heirs, each from zero and so only once. Any number of threads may do this at the same
//! time, and a late one changes nothing.

use crate::memory::{Lines, prefetch};
use crate::policy::Queues;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Words in a bucket: one cache line.
pub(crate) const WORDS: usize = if cfg!(loom) { 2 } else { 8 };
/// Choices of bucket for a key. Full load takes all of the scattered ones from one insert in ten million, and then the
/// spread ones follow: only keys with one hash ever find all of them full.
pub(crate) const PROBES: usize = if cfg!(loom) { 2 } else { SCATTERED + SPREAD };
/// The first choices: anywhere.
const SCATTERED: usize = 8;
/// The last ones: an equal step apart, so that in a table of so many buckets or fewer they reach every one.
const SPREAD: usize = 8;
/// Entries for each bucket that a table is laid out for. More leave fewer words to ghosts and crowd the first choices,
/// fewer cost memory: 64 bytes for each bucket and what goes with it.
pub(crate) const LOAD: u32 = if cfg!(loom) { 2 } else { 3 };

pub(crate) const FROZEN: u64 = 1 << 63;
pub(crate) const CARRY_ONE: u64 = 1 << 60;
pub(crate) const CARRY: u64 = 7 * CARRY_ONE;
pub(crate) const TENTATIVE: u64 = 1 << 59;
pub(crate) const OCCUPIED: u64 = 1 << 58;
pub(crate) const VACANT: u64 = 1;
const TAG_BITS: u32 = 26;
const TAG: u64 = ((1 << TAG_BITS) - 1) << 32;
/// Bits of what a vacant word remembers, above the flag.
pub(crate) const GHOST_BITS: u32 = 20;
const HANDLE: u64 = u32::MAX as u64;

/// A key's hash, as the index uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash {
    /// Chooses the buckets; kept in the slot.
    pub(crate) home: u32,
    /// `OCCUPIED` and the tag, in place.
    pub(crate) want: u64,
}

impl Hash {
    #[inline]
    pub(crate) fn new(hash: u64) -> Self {
        let tag = hash & ((1 << TAG_BITS) - 1);
        Self { home: (hash >> 32) as u32, want: OCCUPIED | (tag << 32) }
    }

    /// The word of an entry with this hash.
    #[inline]
    pub(crate) fn word(self, handle: u32) -> u64 {
        self.want | u64::from(handle)
    }

    /// Whether the word holds an entry with this tag: in the cache, and not being handed over.
    #[inline]
    pub(crate) fn matches(self, word: u64) -> bool {
        (word ^ self.want) & !(CARRY | HANDLE) == 0
    }

    /// The same for an entry that is about to be in the cache.
    pub(crate) fn matches_tentative(self, word: u64) -> bool {
        self.matches(word ^ TENTATIVE)
    }

    /// Whether a vacant word remembers an entry with this tag.
    #[inline]
    pub(crate) fn remembers(self, word: u64) -> bool {
        self.matches(word ^ OCCUPIED) && ghost_of(word) != 0
    }
}

/// What a vacant word remembers; zero is nothing.
#[inline]
pub(crate) fn ghost_of(word: u64) -> u32 {
    (word & HANDLE) as u32 >> 1
}

/// The vacant word that an entry leaves behind whose word this is.
#[inline]
pub(crate) fn vacated(word: u64, ghost: u32) -> u64 {
    debug_assert!(ghost >> GHOST_BITS == 0);
    if ghost == 0 { VACANT } else { word & TAG | u64::from(ghost) << 1 | VACANT }
}

#[inline]
pub(crate) fn handle_of(word: u64) -> u32 {
    (word & HANDLE) as u32
}

/// The bucket of a home hash's `probe`-th choice, of so many. Twice as many buckets: twice that, or one more.
#[inline]
fn bucket_of(home: u32, probe: usize, buckets: u32) -> usize {
    let choice = match probe {
        0 => home,
        1..SCATTERED => stirred(home, probe as u32),
        _ => home.wrapping_add((probe - SCATTERED) as u32 * (u32::MAX / SPREAD as u32 + 1)),
    };
    ((u64::from(choice) * u64::from(buckets)) >> 32) as usize
}

fn stirred(home: u32, probe: u32) -> u32 {
    let mut word = home ^ probe.wrapping_mul(0x9e37_79b9);
    word = (word ^ (word >> 16)).wrapping_mul(0x85eb_ca6b);
    word = (word ^ (word >> 13)).wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}

/// Eight words.
pub(crate) type Bucket = [AtomicU64; WORDS];

/// What [`Table::add_carry`] found.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    Done,
    /// The bucket is being handed over.
    Frozen,
}

#[repr(C, align(64))]
pub(crate) struct Table {
    lines: Lines<WORDS>,
    buckets: u32,
    /// The table that this one succeeds, until all of it is handed over.
    pub(crate) previous: AtomicPtr<Table>,
    /// The buckets of `previous` below this are handed over.
    handed_over: AtomicUsize,
    /// In a list of retired tables, the next.
    pub(crate) next_retired: AtomicPtr<Table>,
    /// What of the policy's memory grows with the number of entries.
    pub(crate) queues: Queues,
}

impl Table {
    /// Laid out for `entries`.
    pub(crate) fn new(entries: u64) -> Self {
        let buckets = (entries / u64::from(LOAD) + 1).min(u64::from(u32::MAX / 64)) as u32;
        Self::with_buckets(buckets, core::ptr::null_mut())
    }

    /// Twice the buckets of `previous`, which it is going to succeed.
    pub(crate) fn successor(previous: &Self) -> Option<Self> {
        let buckets = previous.buckets.checked_mul(2)?;
        Some(Self::with_buckets(buckets, core::ptr::from_ref(previous).cast_mut()))
    }

    fn with_buckets(buckets: u32, previous: *mut Self) -> Self {
        Self {
            lines: Lines::new(buckets as usize),
            buckets,
            previous: AtomicPtr::new(previous),
            handed_over: AtomicUsize::new(0),
            next_retired: AtomicPtr::new(core::ptr::null_mut()),
            queues: Queues::new(buckets),
        }
    }

    pub(crate) fn buckets(&self) -> usize {
        self.buckets as usize
    }

    /// How many entries this table is laid out for.
    pub(crate) fn entries(&self) -> u32 {
        self.buckets.saturating_mul(LOAD)
    }

    #[inline]
    pub(crate) fn place(&self, home: u32, probe: usize) -> usize {
        bucket_of(home, probe, self.buckets)
    }

    /// Whether an earlier choice is this bucket already, as happens in a small table. Whoever looks through the
    /// choices passes it by: a word has one position only, under the first choice that leads to its bucket.
    #[inline]
    pub(crate) fn repeats(&self, home: u32, probe: usize) -> bool {
        let place = self.place(home, probe);
        (0..probe).any(|earlier| self.place(home, earlier) == place)
    }

    #[inline]
    pub(crate) fn bucket(&self, place: usize) -> &Bucket {
        self.lines.get(place)
    }

    /// Asks for the first choice of a home hash.
    #[inline]
    pub(crate) fn prefetch(&self, home: u32) {
        prefetch(self.bucket(self.place(home, 0)));
    }

    #[inline]
    pub(crate) fn has_previous(&self) -> bool {
        !self.previous.load(Ordering::Acquire).is_null()
    }

    /// Whether this bucket or its sibling waits for what their parent holds. Nothing may change in one heir before both
    /// are written: what was taken from one could not be told from what goes to the other. The last word of the
    /// second heir is written last.
    #[inline]
    pub(crate) fn waits(&self, place: usize) -> bool {
        self.has_previous() && self.bucket(place | 1)[WORDS - 1].load(Ordering::Acquire) == 0
    }

    /// Counts an entry in or out that went on from this bucket.
    pub(crate) fn add_carry(&self, place: usize, out: bool) -> Carried {
        let word = &self.bucket(place)[0];
        let mut old = word.load(Ordering::Relaxed);
        loop {
            if old & FROZEN != 0 {
                return Carried::Frozen;
            }
            // What has reached seven can't be counted down again.
            if old & CARRY == CARRY || (out && old & CARRY == 0) {
                return Carried::Done;
            }
            let new = if out { old - CARRY_ONE } else { old + CARRY_ONE };
            // Another change of this word won if this fails.
            match word.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Carried::Done,
                Err(other) => old = other,
            }
        }
    }

    /// Hands bucket `place` of `previous` over, whose entries' home hashes `home` tells.
    pub(crate) fn hand_over(&self, previous: &Self, place: usize, home: impl Fn(u32) -> u32) {
        let bucket = previous.bucket(place);
        // Acquire and release: whatever came before the freeze is seen by whoever reads the heirs.
        let frozen: [u64; WORDS] =
            core::array::from_fn(|index| bucket[index].fetch_or(FROZEN, Ordering::AcqRel) & !FROZEN);
        let carry = frozen[0] & CARRY;
        let mut heirs = [[VACANT; WORDS]; 2];
        let mut filled = [0; 2];
        for word in frozen.map(|word| word & !CARRY) {
            // What is tentative stays behind: whoever wrote it tries again.
            if word & OCCUPIED == 0 || word & TENTATIVE != 0 {
                continue;
            }
            let home = home(handle_of(word));
            let choice = (0..PROBES).find(|&probe| previous.place(home, probe) == place);
            // Only a thread that comes after everybody else has written finds no choice: the slot is another's now.
            let Some(heir) = choice.map(|probe| self.place(home, probe) & 1) else { continue };
            heirs[heir][filled[heir]] = word;
            filled[heir] += 1;
        }
        for (heir, mut words) in heirs.into_iter().enumerate() {
            words[0] |= carry;
            let bucket = self.bucket(2 * place + heir);
            for (word, new) in bucket.iter().zip(words) {
                // If this fails another thread has written the same.
                let _written = word.compare_exchange(0, new, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }

    /// The next bucket of `previous` to hand over; none if all are.
    pub(crate) fn next_to_hand_over(&self, previous: &Self) -> Option<usize> {
        let place = self.handed_over.load(Ordering::Acquire);
        (place < previous.buckets()).then_some(place)
    }

    /// Bucket `place` is handed over.
    pub(crate) fn did_hand_over(&self, place: usize) {
        // If this fails another thread said so.
        let _counted =
            self.handed_over.compare_exchange(place, place + 1, Ordering::AcqRel, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_buckets_keep_families_together() {
        for buckets in [1_u32, 3, 7, 1000, 123_457] {
            for home in (0..u32::MAX).step_by(9_999_991) {
                for probe in 0..PROBES {
                    assert_eq!(bucket_of(home, probe, 2 * buckets) / 2, bucket_of(home, probe, buckets));
                }
            }
        }
    }

    #[test]
    fn a_key_of_a_small_table_may_be_in_every_bucket() {
        for buckets in 1..=SPREAD as u32 {
            for home in (0..u32::MAX).step_by(9_999_991) {
                let reached: std::collections::HashSet<_> =
                    (0..PROBES).map(|probe| bucket_of(home, probe, buckets)).collect();
                assert_eq!(reached.len(), buckets as usize);
            }
        }
    }

    #[test]
    fn buckets_are_cache_lines() {
        let table = Table::new(1000);
        assert_eq!(table.bucket(0).as_ptr().addr() % 64, 0);
        assert_eq!(table.bucket(table.buckets() - 1).len(), WORDS);
    }
}
