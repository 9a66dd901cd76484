//! Which entry goes: S3-FIFO (Yang et al., SOSP '23) over the slab.
//!
//! ```text
//! insert : remembered as a ghost? into the main clock, else to the end of the small queue
//! hit    : frequency + 1, at most 3
//! evict  : while the small queue is longer than its share, take its head:
//!              hit meanwhile? into the main clock, frequency 0; else evict it, and remember it as a ghost
//!          else look at the slot under the clock's hand:
//!              frequency > 0? frequency - 1, and on; else evict it
//! ```
//!
//! The small queue is a ring of handles. The main clock needs no queue: it is the slab itself in slot order, so a step
//! of its hand reads the next eight bytes that are not far. All of it is advisory: a lost or doubled hint costs a
//! worse choice and nothing else, so every access here is relaxed and no step waits for another.

use crate::memory::{Slab, Slot, kind, zeroed_half_words};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Hits beyond this are not counted.
const FREQUENCY_MAX: u8 = 3;
/// The small queue's share of all slots: one in so many.
const SMALL_SHARE: u32 = 10;
/// Slots looked at for one victim before the next that may go goes, however often it was hit.
pub(crate) const STEPS: usize = 8;
/// Ghosts for each bucket of the index, which has five entries.
const GHOSTS: usize = 6;
/// Ghosts in a set.
const WAYS: usize = 8;

/// A hit. No write once the entry is hot; a lost increment is a hint lost.
#[inline]
pub(crate) fn hit<K, V>(slot: &Slot<K, V>) {
    let frequency = slot.frequency.load(Ordering::Relaxed);
    if frequency < FREQUENCY_MAX {
        slot.frequency.store(frequency + 1, Ordering::Relaxed);
    }
}

/// What an entry begins with. In the main clock its slot may be right under the hand: the hand passes it once.
pub(crate) fn first_frequency(kind: u8) -> u8 {
    u8::from(kind & kind::MASK == kind::MAIN)
}

/// One entry takes the place of another with the same key: as hot as that was, and a hit more.
pub(crate) fn inherit<K, V>(old: &Slot<K, V>, new: &Slot<K, V>) {
    if old.is(kind::MAIN) {
        promote(new);
    }
    new.frequency.store(old.frequency.load(Ordering::Relaxed), Ordering::Relaxed);
    hit(new);
}

/// What grows with the number of entries; a larger table starts with empty ones.
pub(crate) struct Queues {
    small: Ring,
    ghosts: Ghosts,
}

impl Queues {
    pub(crate) fn new(buckets: u32) -> Self {
        Self { small: Ring::new(buckets), ghosts: Ghosts::new(buckets as usize * GHOSTS) }
    }

    /// Where an entry with this home hash begins.
    pub(crate) fn admit(&self, home: u32) -> u8 {
        if self.ghosts.recalls(home, self.small.time()) { kind::MAIN } else { kind::SMALL }
    }

    /// An entry of the small queue is in the index.
    pub(crate) fn inserted<K, V>(&self, slab: &Slab<K, V>, handle: u32) {
        while self.small.is_full() {
            let Some((position, handle)) = self.small.pop() else { break };
            if is_at(slab.slot(handle), position) {
                promote(slab.slot(handle));
            }
        }
        self.small.push(slab, handle);
    }

    /// An entry was evicted by this policy's choice.
    pub(crate) fn evicted(&self, home: u32) {
        self.ghosts.remember(home, self.small.time());
    }
}

/// Where the clock's hand is.
pub(crate) struct Hand(AtomicU32);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// One step: looks at one entry and says whether it should go. `anyhow` asks for any that may go.
    pub(crate) fn step<K, V>(&self, slab: &Slab<K, V>, queues: &Queues, anyhow: bool) -> Option<u32> {
        let length = slab.length();
        if length == 0 {
            return None;
        }
        if queues.small.length() > u64::from(length / SMALL_SHARE)
            && let Some((position, handle)) = queues.small.pop()
        {
            let slot = slab.slot(handle);
            if !is_at(slot, position) {
                return None;
            }
            let is_pinned = slot.kind.load(Ordering::Relaxed) & kind::PINNED != 0;
            if is_pinned || (slot.frequency.load(Ordering::Relaxed) > 0 && !anyhow) {
                promote(slot);
                return None;
            }
            return Some(handle);
        }
        let handle = self.0.fetch_add(1, Ordering::Relaxed) % length;
        let slot = slab.slot(handle);
        let kind = slot.kind.load(Ordering::Relaxed);
        if kind & kind::PINNED != 0 {
            return None;
        }
        match kind & kind::MASK {
            kind::SMALL => {
                // Its place in the ring was overwritten, or is in the ring of a table that is gone.
                if !queues.small.holds(slot) {
                    promote(slot);
                }
                anyhow.then_some(handle)
            }
            kind::MAIN => {
                let frequency = slot.frequency.load(Ordering::Relaxed);
                if frequency > 0 {
                    slot.frequency.store(frequency - 1, Ordering::Relaxed);
                }
                (frequency == 0 || anyhow).then_some(handle)
            }
            _ => None,
        }
    }
}

/// From the small queue into the main clock.
fn promote<K, V>(slot: &Slot<K, V>) {
    let kind = slot.kind.load(Ordering::Relaxed);
    if kind & kind::MASK == kind::SMALL {
        slot.frequency.store(0, Ordering::Relaxed);
        let main = kind & !kind::MASK | kind::MAIN;
        // If this fails the entry is gone, or its marks were changed and the hand comes again.
        let _moved = slot.kind.compare_exchange(kind, main, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn is_at<K, V>(slot: &Slot<K, V>, position: u64) -> bool {
    slot.is(kind::SMALL) && slot.stamp.load(Ordering::Relaxed) == position as u16
}

/// A queue of handles. The low bits of an entry's position are its slot's stamp, so that a handle whose slot was
/// reused meanwhile is known for stale.
struct Ring {
    /// Handle plus one.
    handles: Box<[AtomicU32]>,
    head: AtomicU64,
    tail: AtomicU64,
}

impl Ring {
    fn new(buckets: u32) -> Self {
        let length = 1_usize << (2 * buckets).ilog2().max(if cfg!(loom) { 1 } else { 3 });
        Self { handles: zeroed_half_words(length), head: AtomicU64::new(0), tail: AtomicU64::new(0) }
    }

    fn length(&self) -> u64 {
        let head = self.head.load(Ordering::Relaxed);
        self.tail.load(Ordering::Relaxed).saturating_sub(head)
    }

    fn is_full(&self) -> bool {
        self.length() >= self.handles.len() as u64
    }

    /// Counts what has passed.
    fn time(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    fn place(&self, position: u64) -> &AtomicU32 {
        // The length is a power of two.
        &self.handles[position as usize & (self.handles.len() - 1)]
    }

    fn push<K, V>(&self, slab: &Slab<K, V>, handle: u32) {
        let position = self.tail.fetch_add(1, Ordering::Relaxed);
        slab.slot(handle).stamp.store(position as u16, Ordering::Relaxed);
        self.place(position).store(handle + 1, Ordering::Relaxed);
    }

    fn pop(&self) -> Option<(u64, u32)> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head >= self.tail.load(Ordering::Relaxed) {
                return None;
            }
            // Another pop won if this fails.
            match self.head.compare_exchange_weak(head, head + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => head = other,
            }
        }
        // Whoever pushed may not have written yet: then it is a handle of the last round, stale or none.
        Some((head, self.place(head).load(Ordering::Relaxed).checked_sub(1)?))
    }

    /// Whether the slot's stamp may still be in the ring.
    fn holds<K, V>(&self, slot: &Slot<K, V>) -> bool {
        let behind =
            (self.tail.load(Ordering::Relaxed) as u16).wrapping_sub(slot.stamp.load(Ordering::Relaxed));
        u64::from(behind) <= self.length()
    }
}

/// Fingerprints of what was evicted lately, in sets; each with the time, so that the oldest of a set goes.
struct Ghosts {
    words: Box<[AtomicU32]>,
    sets: usize,
    /// Time runs in units of so many bits.
    unit: u32,
}

const AGE_BITS: u32 = 14;
const AGE_MASK: u32 = (1 << AGE_BITS) - 1;

impl Ghosts {
    fn new(ghosts: usize) -> Self {
        let sets = ghosts.div_ceil(WAYS);
        // A thousandth of a life.
        let unit = (ghosts as u32 / 1024).max(1).ilog2();
        Self { words: zeroed_half_words(sets * WAYS), sets, unit }
    }

    fn set(&self, home: u32) -> (&[AtomicU32], u32) {
        let stirred = home.wrapping_mul(0x9e37_79b1);
        let set = (u64::from(stirred) * self.sets as u64) >> 32;
        let start = set as usize * WAYS;
        // Never 0, which is no ghost.
        let print = (home ^ (home >> 14)) & !AGE_MASK | (1 << 31);
        (&self.words[start..start + WAYS], print)
    }

    fn age(&self, word: u32, now: u64) -> u32 {
        ((now >> self.unit) as u32).wrapping_sub(word) & AGE_MASK
    }

    fn remember(&self, home: u32, now: u64) {
        let (set, print) = self.set(home);
        let mut oldest = (0, &set[0]);
        for word in set {
            let ghost = word.load(Ordering::Relaxed);
            if ghost & !AGE_MASK == print || ghost == 0 {
                oldest = (u32::MAX, word);
                break;
            }
            let age = self.age(ghost, now) + 1;
            if age > oldest.0 {
                oldest = (age, word);
            }
        }
        oldest.1.store(print | ((now >> self.unit) as u32 & AGE_MASK), Ordering::Relaxed);
    }

    /// Whether it is remembered; it is forgotten then.
    fn recalls(&self, home: u32, now: u64) -> bool {
        let (set, print) = self.set(home);
        let life = (self.words.len() as u64 >> self.unit) as u32;
        set.iter().any(|word| {
            let ghost = word.load(Ordering::Relaxed);
            let found = ghost & !AGE_MASK == print && self.age(ghost, now) <= life;
            if found {
                word.store(0, Ordering::Relaxed);
            }
            found
        })
    }
}
