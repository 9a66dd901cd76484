//! Which entry goes: a contest between the window and the main clock, decided by aged frequencies.
//!
//! ```text
//! hit    : heat + 1, at most 2
//! insert : to the end of the window; its frequency is 1, or what its ghost remembers plus 1
//!          a ghost of the window that comes back soon makes the window larger, one of the main clock smaller
//! evict  : the window is shorter than its target? the first cold entry under the clock's hand goes
//!          else take the window's first, c, and the first cold one under the hand, v:
//!              c was used more often than v → c moves to the main clock, v goes
//!              c was hit in the window      → c gets a second round in it
//!              else                         → c goes; the hand stays on v
//! ```
//!
//! The window is a ring of handles. The main clock needs no queue: it is the slab itself in slot order, so a step of
//! its hand reads the next eight bytes that are not far. `docs/eviction.md` has the measurements behind every
//! constant. All of it is advisory: a lost or doubled hint costs a worse choice and nothing else, so every access here
//! is relaxed, counters may lose a count to a race, and no step waits for another.

mod ghost;
mod local;
mod ring;
mod victim;

use self::ghost::Ghost;
pub(crate) use self::local::Local;
use self::local::bump_by_and_by;
use self::ring::Ring;
use crate::memory::{Slab, Slot, kind};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::table::LOAD;

/// Hits since the entry was last looked at that are told apart.
const HEAT_MAX: u8 = 2;
const HEAT: u8 = 3;
const FREQUENCY_MAX: u8 = 15;
/// Ticks that a thread counts before it tells the others.
const TICKS_HELD_BACK: u64 = if cfg!(loom) { 0 } else { 15 };
/// Slots, candidates and admitted entries that a thread takes in hand at once, at most; and the part of all that threads may
/// have in hand together: one in so many, as a power of two.
const PORTION: u32 = if cfg!(loom) { 1 } else { 16 };
const IN_HAND_BITS: u32 = 6;
/// An epoch, in which a frequency halves: so many ticks (misses and hits) an entry.
const EPOCH_TICKS: u64 = 10;
/// The window's share of all entries, in 1/65,536: at first a tenth, and its bounds.
const SHARE_FIRST: u32 = 6_554;
const SHARE_MIN: u32 = 655;
const SHARE_MAX: u32 = 64_881;
/// A ghost that comes back says in full how the window should have been while its queue has dropped less than one in so
/// many entries since; then less, in proportion to the room that would have kept it.
const NEAR: u64 = 20;

/// A hit. No write once the entry is hot; a lost increment is a hint lost.
#[inline]
pub(crate) fn hit<K, V>(slot: &Slot<K, V>) {
    let frequency = slot.frequency.load(Ordering::Relaxed);
    if frequency & HEAT < HEAT_MAX {
        slot.frequency.store(frequency + 1, Ordering::Relaxed);
    }
}

/// Whose choice an eviction was, as ghosts remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Window = 1,
    Main = 2,
    /// The window's, but the other was used as often.
    Tie = 3,
}

/// What grows with the number of entries; a larger table starts with empty ones.
pub(crate) struct Queues {
    window: Ring,
}

impl Queues {
    pub(crate) fn new(buckets: u32) -> Self {
        let entries = buckets as usize * LOAD as usize;
        Self { window: Ring::new(entries) }
    }
}

/// What all entries share.
#[repr(align(128))]
pub(crate) struct Policy {
    hand: AtomicU32,
    /// The window's share.
    share: AtomicU32,
    epoch: AtomicU32,
    ticks: AtomicU64,
    /// Entries of the main clock.
    mains: AtomicU64,
    /// Drops by the window, and by the main clock.
    drops: [AtomicU64; 2],
    /// Threads that may have something in hand, as a power of two.
    threads_bits: u32,
}

/// Adds where a lost count does no harm.
fn bump(counter: &AtomicU64, by: u64) -> u64 {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(by);
    counter.store(sum, Ordering::Relaxed);
    sum
}

/// A ghost's stamp counts drops in steps of so many, as a power of two: about a hundredth of the residents. The number of
/// residents moves a little all the time; a step that moved with it would make nonsense of the stamps that are there. So it
/// changes where hardly any cache's size is: at 8/9 of a power of two.
fn stride_bits(residents: u64) -> u32 {
    (residents + residents / 8).max(1).ilog2().saturating_sub(6)
}

fn aged(frequency: u8, epochs: u32) -> u8 {
    frequency >> epochs.min(7)
}

impl Policy {
    /// For so many threads, a power of two, with a [`Local`] of their own.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            hand: AtomicU32::new(0),
            share: AtomicU32::new(SHARE_FIRST),
            epoch: AtomicU32::new(0),
            ticks: AtomicU64::new(0),
            mains: AtomicU64::new(0),
            drops: [AtomicU64::new(0), AtomicU64::new(0)],
            threads_bits: threads.ilog2(),
        }
    }

    fn residents(&self, queues: &Queues) -> u64 {
        // What threads hold back may make it look less than none.
        let mains = self.mains.load(Ordering::Relaxed).cast_signed().max(0).cast_unsigned();
        (mains + queues.window.length()).max(1)
    }

    /// How much a thread takes in hand at once.
    fn portion<K, V>(&self, slab: &Slab<K, V>) -> u32 {
        (slab.length() >> (IN_HAND_BITS + self.threads_bits)).min(PORTION)
    }

    /// One entry more in the main clock, or, by minus one in two's complement, one less.
    fn count_main(&self, local: Option<&Local>, by: u64) {
        let Some(local) = local else {
            self.mains.fetch_add(by, Ordering::Relaxed);
            return;
        };
        let sum = local.mains.load(Ordering::Relaxed).wrapping_add(by);
        let is_little = sum.cast_signed().unsigned_abs() < TICKS_HELD_BACK;
        local.mains.store(if is_little { sum } else { 0 }, Ordering::Relaxed);
        if !is_little {
            self.mains.fetch_add(sum, Ordering::Relaxed);
        }
    }

    fn tick(&self, local: Option<&Local>, by: u64, residents: u64) {
        if by > 0
            && bump_by_and_by(&self.ticks, local.map(|local| &local.ticks), by, TICKS_HELD_BACK)
                >= EPOCH_TICKS * residents.max(128)
        {
            self.ticks.store(0, Ordering::Relaxed);
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An entry is in whose key was not there: its first frequency, by what its ghost remembers.
    pub(crate) fn admit(&self, local: Option<&Local>, queues: &Queues, ghost: u32) -> u8 {
        let residents = self.residents(queues);
        self.tick(local, 1, residents);
        let Some(ghost) = Ghost::of(ghost) else { return 1 << 2 };
        let epoch = self.epoch.load(Ordering::Relaxed);
        let epochs = epoch.wrapping_sub(ghost.epoch) & 15;
        let frequency = (aged(ghost.frequency, epochs) + 1).min(FREQUENCY_MAX);
        let stride_bits = stride_bits(residents);
        let drops = &self.drops[usize::from(ghost.by == By::Main as u32)];
        let now = drops.load(Ordering::Relaxed) >> stride_bits;
        let age = now.wrapping_sub(u64::from(ghost.stamp)) & 1023;
        self.adapt(ghost.by, age << stride_bits, residents);
        frequency << 2
    }

    /// The window should have been larger, or smaller: an entry came back after so many drops by the same queue.
    fn adapt(&self, by: u32, drops: u64, residents: u64) {
        // From there on it looks like a loop that no window would hold.
        if drops >= residents.div_ceil(4) * 3 {
            return;
        }
        let entry = u32::try_from(65_536 / residents).unwrap_or(u32::MAX);
        let near = residents.div_ceil(NEAR);
        let step = (u64::from(entry.clamp(131, 1024)) * near / drops.max(near)) as u32;
        let share = self.share.load(Ordering::Relaxed);
        let new = match by {
            by if by == By::Window as u32 => (share + step * 2 / 5).min(SHARE_MAX),
            by if by == By::Main as u32 => {
                share.saturating_sub(step).max(SHARE_MIN.max(entry)).min(SHARE_MAX)
            }
            _ => return,
        };
        self.share.store(new, Ordering::Relaxed);
    }

    /// An entry is in whose slot is marked as the window's, and has a place there from now on.
    pub(crate) fn inserted<K, V>(
        &self,
        local: Option<&Local>,
        slab: &Slab<K, V>,
        queues: &Queues,
        handle: u32,
    ) {
        let portion = self.portion(slab);
        let Some(local) = local.filter(|_| portion > 1) else {
            self.make_way(None, slab, queues, 1);
            queues.window.push(slab, [handle].into_iter());
            return;
        };
        let count = local.admitted_count.load(Ordering::Relaxed).min(PORTION - 1);
        local.admitted[count as usize].store(handle, Ordering::Relaxed);
        if count + 1 < portion {
            local.admitted_count.store(count + 1, Ordering::Relaxed);
            return;
        }
        local.admitted_count.store(0, Ordering::Relaxed);
        self.make_way(Some(local), slab, queues, u64::from(count) + 1);
        let admitted = local.admitted[..=count as usize].iter();
        queues.window.push(slab, admitted.map(|handle| handle.load(Ordering::Relaxed)));
    }

    /// Sees to it that the window's ring has so many places.
    fn make_way<K, V>(&self, local: Option<&Local>, slab: &Slab<K, V>, queues: &Queues, places: u64) {
        while !queues.window.has(places) {
            let Some((position, handle)) = queues.window.pop(None, 1) else { break };
            if queues.window.is_at(slab.slot(handle), position) {
                self.promote(local, slab.slot(handle));
            }
        }
    }

    /// One entry took the place of another with the same key: it is as hot as that was, and a hit more.
    pub(crate) fn inherit<K, V>(
        &self,
        local: Option<&Local>,
        slab: &Slab<K, V>,
        queues: &Queues,
        old: u32,
        new: u32,
    ) {
        let (old, slot) = (slab.slot(old), slab.slot(new));
        slot.frequency.store(old.frequency.load(Ordering::Relaxed), Ordering::Relaxed);
        hit(slot);
        if old.is(kind::MAIN) {
            // It needs no place in the window, which would be one for nothing.
            self.promote(local, slot);
        } else {
            self.inserted(local, slab, queues, new);
        }
    }

    /// An entry of this kind is gone, for whatever cause.
    pub(crate) fn gone(&self, local: Option<&Local>, was: u8) {
        if was & kind::MASK == kind::MAIN {
            self.count_main(local, 1_u64.wrapping_neg());
        }
    }

    /// An entry of this last frequency is evicted by this policy's choice: its ghost.
    pub(crate) fn evicted(&self, local: Option<&Local>, queues: &Queues, frequency: u8, by: By) -> u32 {
        let stride_bits = stride_bits(self.residents(queues));
        let which = usize::from(by == By::Main);
        // A part of what a stamp can tell apart.
        let held_back = (1 << stride_bits) / 8;
        let local = local.map(|local| &local.drops[which]);
        let drops = bump_by_and_by(&self.drops[which], local, 1, held_back.min(16));
        let ghost = Ghost {
            frequency: frequency >> 2,
            epoch: self.epoch.load(Ordering::Relaxed) & 15,
            by: by as u32,
            stamp: (drops >> stride_bits) as u32 & 1023,
        };
        ghost.bits()
    }

    /// From the window into the main clock.
    fn promote<K, V>(&self, local: Option<&Local>, slot: &Slot<K, V>) {
        let marks = slot.kind.load(Ordering::Relaxed);
        if marks & kind::MASK == kind::SMALL {
            let main = marks & !kind::MASK | kind::MAIN;
            // If this fails the entry is gone, or its marks were changed: then the clock finds it lost in the window.
            if slot.kind.compare_exchange(marks, main, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                slot.stamp.store(self.epoch.load(Ordering::Relaxed) as u16, Ordering::Relaxed);
                self.count_main(local, 1);
            }
        }
    }
}
