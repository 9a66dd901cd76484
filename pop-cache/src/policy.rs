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

use crate::memory::{Slab, Slot, kind, zeroed_half_words};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::table::{LOAD, Table};

/// Hits since the entry was last looked at that are told apart.
const HEAT_MAX: u8 = 2;
const HEAT: u8 = 3;
const FREQUENCY_MAX: u8 = 15;
/// Hot entries that a search for one victim passes before it takes the coldest of them.
const LOOKS: usize = 8;
/// Slots without an entry of the main clock that a search passes.
const SKIPS: usize = 32;
/// Ticks that a thread counts before it tells the others.
const TICKS_HELD_BACK: u64 = if cfg!(loom) { 0 } else { 15 };
/// From so many entries on, a window that is to become shorter waits for entries that win their contest, instead of moving
/// whoever comes next to the main clock: worth 0.8 points where a hundred thousand entries see a Zipf load. In a
/// smaller cache it would keep the window too large, which costs up to 4.
const PATIENT: u64 = 2048;
/// So many candidates ahead the window's slots are asked for.
const PREPARED: u64 = 4;
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

/// What one thread has counted and not told the others yet, and what it has taken in hand for its next steps: they would
/// fight for the cache lines at every insert. Only that thread writes it. A thread without one does every step at once.
pub(crate) struct Local {
    ticks: AtomicU64,
    drops: [AtomicU64; 2],
    /// Entries that came into the main clock, less those that went: a difference in two's complement.
    mains: AtomicU64,
    /// Slots that its hand passes next, up to the second.
    hand: [AtomicU32; 2],
    /// Places of the window whose candidates are next, up to the second; of the ring at this address.
    candidates: [AtomicU64; 2],
    ring: AtomicUsize,
    /// Handles that it has admitted and not put into the window yet.
    admitted: [AtomicU32; PORTION as usize],
    admitted_count: AtomicU32,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self {
            ticks: AtomicU64::new(0),
            drops: [AtomicU64::new(0), AtomicU64::new(0)],
            mains: AtomicU64::new(0),
            hand: [AtomicU32::new(0), AtomicU32::new(0)],
            candidates: [AtomicU64::new(0), AtomicU64::new(0)],
            ring: AtomicUsize::new(0),
            admitted: std::array::from_fn(|_| AtomicU32::new(0)),
            admitted_count: AtomicU32::new(0),
        }
    }
}

/// A counter, and what a thread holds back of it.
fn bump_by_and_by(counter: &AtomicU64, local: Option<&AtomicU64>, by: u64, held_back: u64) -> u64 {
    let Some(local) = local else { return bump(counter, by) };
    let sum = local.load(Ordering::Relaxed).wrapping_add(by);
    if sum <= held_back {
        local.store(sum, Ordering::Relaxed);
        return counter.load(Ordering::Relaxed);
    }
    local.store(0, Ordering::Relaxed);
    bump(counter, sum)
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

    /// Chooses a victim, in a bounded number of steps. None if it saw none that may go. Of the window's entries,
    /// `ahead` are there that a cache evicting before it inserts would not have yet.
    pub(crate) fn victim<K, V>(
        &self,
        local: Option<&Local>,
        slab: &Slab<K, V>,
        table: &Table,
        ahead: u64,
        is_expired: impl Fn(u32, u8) -> bool,
    ) -> Option<(u32, By)> {
        let queues = &table.queues;
        let mut looks = LOOKS;
        // Each round uses up a look, or makes the window shorter than its target.
        for _ in 0..2 * LOOKS {
            crate::steps::step();
            let residents = self.residents(queues);
            let share = u64::from(self.share.load(Ordering::Relaxed));
            let target = ((residents * share) >> 16).max(1);
            let length = queues.window.length().saturating_sub(ahead);
            if length < target
                && let Some(victim) = self.search(local, slab, table, &mut looks, &is_expired)
            {
                return Some((victim, By::Main));
            }
            let Some((position, candidate)) = queues.window.pop(local, self.portion(slab)) else {
                return self
                    .search(local, slab, table, &mut looks, &is_expired)
                    .map(|victim| (victim, By::Main));
            };
            let slot = slab.slot(candidate);
            queues.window.prepare(slab, table, position);
            if !queues.window.is_at(slot, position) {
                continue;
            }
            let marks = slot.kind.load(Ordering::Relaxed);
            if marks & kind::PINNED != 0 {
                self.promote(local, slot);
                continue;
            }
            if marks & kind::DEADLINE != 0 && is_expired(candidate, marks) {
                return Some((candidate, By::Tie));
            }
            // No ageing in the window: it is short.
            let old = slot.frequency.load(Ordering::Relaxed);
            let (heat, frequency) = (old & HEAT, ((old >> 2) + (old & HEAT)).min(FREQUENCY_MAX));
            slot.frequency.store(frequency << 2, Ordering::Relaxed);
            self.tick(local, u64::from(heat), residents);
            // Far more than its share, as when the cache has just become full: the main clock is not full yet.
            let slack = if residents < PATIENT { 0 } else { residents / 64 + 1 };
            if length > target + slack {
                self.promote(local, slot);
                continue;
            }
            let victim = self.search(local, slab, table, &mut looks, &is_expired);
            let other = victim.map(|victim| slab.slot(victim).frequency.load(Ordering::Relaxed) >> 2);
            match (victim, other) {
                (Some(victim), Some(other)) if frequency > other.max(1) => {
                    self.promote(local, slot);
                    if length <= target {
                        return Some((victim, By::Main));
                    }
                    // The window is to become shorter: by those who earned it, not by whoever comes next.
                }
                _ if heat > 0 && looks > 0 => {
                    looks -= 1;
                    queues.window.push(slab, [candidate].into_iter());
                }
                _ => {
                    let is_tie = other == Some(frequency);
                    return Some((candidate, if is_tie { By::Tie } else { By::Window }));
                }
            }
        }
        None
    }

    /// The next cold entry of the main clock, which the hand stays on; or the coldest of those it looked at.
    fn search<K, V>(
        &self,
        local: Option<&Local>,
        slab: &Slab<K, V>,
        table: &Table,
        looks: &mut usize,
        is_expired: impl Fn(u32, u8) -> bool,
    ) -> Option<u32> {
        let length = slab.length();
        let portion = self.portion(slab);
        let epoch = self.epoch.load(Ordering::Relaxed);
        let residents = self.residents(&table.queues);
        let mut has_moved = false;
        let mut skips = SKIPS;
        let mut best: Option<(u8, u32)> = None;
        loop {
            crate::steps::step();
            let handle = self.hand(local, length, portion);
            let slot = slab.slot(handle);
            let marks = slot.kind.load(Ordering::Relaxed);
            if marks & kind::MASK == kind::MAIN && marks & kind::PINNED == 0 {
                if marks & kind::DEADLINE != 0 && is_expired(handle, marks) {
                    return Some(handle);
                }
                let old = slot.frequency.load(Ordering::Relaxed);
                let is_hot = u8::from(old & HEAT > 0);
                let epochs = u32::from((epoch as u16).wrapping_sub(slot.stamp.load(Ordering::Relaxed)));
                let frequency = (aged(old >> 2, epochs) + is_hot).min(FREQUENCY_MAX);
                let heat = (old & HEAT) - is_hot;
                slot.frequency.store(frequency << 2 | heat, Ordering::Relaxed);
                slot.stamp.store(epoch as u16, Ordering::Relaxed);
                if is_hot == 0 {
                    if has_moved {
                        // Sooner or later it goes.
                        table.prefetch(slot.home());
                    }
                    return Some(handle);
                }
                self.tick(local, 1, residents);
                if best.is_none_or(|(least, _)| frequency + heat < least) {
                    best = Some((frequency + heat, handle));
                }
                if *looks == 0 {
                    return best.map(|(_, handle)| handle);
                }
                *looks -= 1;
            } else if skips == 0 {
                return best.map(|(_, handle)| handle);
            } else {
                skips -= 1;
            }
            let hand = local.map_or(&self.hand, |local| &local.hand[0]);
            hand.store(handle + 1, Ordering::Relaxed);
            has_moved = true;
        }
    }

    /// The slot that the hand is at. A thread has a hand of its own, which walks through a portion of the slots.
    #[inline]
    fn hand(&self, local: Option<&Local>, length: u32, portion: u32) -> u32 {
        let within = |hand: u32| if hand < length { hand } else { 0 };
        let Some(local) = local else { return within(self.hand.load(Ordering::Relaxed)) };
        let hand = local.hand[0].load(Ordering::Relaxed);
        if hand < local.hand[1].load(Ordering::Relaxed) && hand < length {
            return hand;
        }
        let start = within(self.hand.load(Ordering::Relaxed));
        let end = start + portion.max(1);
        // Two threads may take the same portion: then each meets what the other has left.
        self.hand.store(end, Ordering::Relaxed);
        local.hand[0].store(start, Ordering::Relaxed);
        local.hand[1].store(end, Ordering::Relaxed);
        start
    }

    /// Looks at one slot and takes whatever may go: for an insert that finds nothing else.
    pub(crate) fn any_victim<K, V>(
        &self,
        local: Option<&Local>,
        slab: &Slab<K, V>,
        queues: &Queues,
    ) -> Option<u32> {
        let length = slab.length();
        if length == 0 {
            return None;
        }
        crate::steps::step();
        let hand = self.hand.load(Ordering::Relaxed);
        let handle = if hand < length { hand } else { 0 };
        self.hand.store(handle + 1, Ordering::Relaxed);
        let slot = slab.slot(handle);
        let marks = slot.kind.load(Ordering::Relaxed);
        let is_resident = matches!(marks & kind::MASK, kind::SMALL | kind::MAIN);
        if marks & kind::MASK == kind::SMALL && !queues.window.holds(slot) {
            // Its place in the ring was overwritten, or is in the ring of a table that is gone.
            self.promote(local, slot);
        }
        (is_resident && marks & kind::PINNED == 0).then_some(handle)
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

/// A queue of handles. An entry's place is its slot's stamp, coarsely, so that a handle whose slot was reused meanwhile is
/// known for stale.
struct Ring {
    /// Handle plus one.
    handles: Box<[AtomicU32]>,
    /// The stamp is the position without so many bits.
    coarse: u32,
    head: Lone<AtomicU64>,
    tail: Lone<AtomicU64>,
}

/// In a cache line of its own: it is written all the time, and what lies beside it is read by every look-up.
#[repr(align(128))]
struct Lone<T>(T);

impl<T> std::ops::Deref for Lone<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl Ring {
    fn new(entries: usize) -> Self {
        let length = (entries * 3 / 4).next_power_of_two().max(if cfg!(loom) { 2 } else { 16 });
        Self {
            handles: zeroed_half_words(length),
            // A full ring spans half of the stamps.
            coarse: (length >> 15).max(1).ilog2(),
            head: Lone(AtomicU64::new(0)),
            tail: Lone(AtomicU64::new(0)),
        }
    }

    fn length(&self) -> u64 {
        let head = self.head.load(Ordering::Relaxed);
        self.tail.load(Ordering::Relaxed).saturating_sub(head)
    }

    /// Whether there are so many places.
    fn has(&self, places: u64) -> bool {
        self.length() + places <= self.handles.len() as u64
    }

    fn place(&self, position: u64) -> &AtomicU32 {
        // The length is a power of two.
        &self.handles[position as usize & (self.handles.len() - 1)]
    }

    fn stamp(&self, position: u64) -> u16 {
        (position >> self.coarse) as u16
    }

    fn is_at<K, V>(&self, slot: &Slot<K, V>, position: u64) -> bool {
        slot.is(kind::SMALL) && slot.stamp.load(Ordering::Relaxed) == self.stamp(position)
    }

    fn push<K, V>(&self, slab: &Slab<K, V>, handles: impl ExactSizeIterator<Item = u32>) {
        let first = self.tail.fetch_add(handles.len() as u64, Ordering::Relaxed);
        for (position, handle) in (first..).zip(handles) {
            let slot = slab.slot(handle);
            // Else it is gone already, or in the main clock.
            if slot.is(kind::SMALL) {
                slot.stamp.store(self.stamp(position), Ordering::Relaxed);
            }
            self.place(position).store(handle + 1, Ordering::Relaxed);
        }
    }

    /// The next candidate and its position, of those that the thread has in hand, or else of a new portion.
    fn pop(&self, local: Option<&Local>, portion: u32) -> Option<(u64, u32)> {
        let position = match local {
            Some(local) => self.next(local, portion)?,
            None => self.claim(1)?.0,
        };
        // Whoever pushed may not have written yet: then it is a handle of the last round, stale or none.
        Some((position, self.place(position).load(Ordering::Relaxed).checked_sub(1)?))
    }

    fn next(&self, local: &Local, portion: u32) -> Option<u64> {
        let [next, end] = &local.candidates;
        let mut position = next.load(Ordering::Relaxed);
        let address = std::ptr::from_ref(self).addr();
        if position >= end.load(Ordering::Relaxed) || local.ring.load(Ordering::Relaxed) != address {
            let (first, last) = self.claim(u64::from(portion.max(1)))?;
            local.ring.store(address, Ordering::Relaxed);
            end.store(last, Ordering::Relaxed);
            position = first;
        }
        next.store(position + 1, Ordering::Relaxed);
        Some(position)
    }

    /// Takes up to so many positions off the head.
    fn claim(&self, most: u64) -> Option<(u64, u64)> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let end = self.tail.load(Ordering::Relaxed).min(head + most);
            if head >= end {
                return None;
            }
            // Another pop won if this fails.
            match self.head.compare_exchange_weak(head, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some((head, end)),
                Err(other) => head = other,
            }
        }
    }

    /// Asks for what the next candidates after the one at `position` need: the slot of one, the bucket of another.
    fn prepare<K, V>(&self, slab: &Slab<K, V>, table: &Table, position: u64) {
        if let Some(far) = self.place(position + PREPARED).load(Ordering::Relaxed).checked_sub(1) {
            slab.prefetch(far);
        }
        if let Some(next) = self.place(position + 1).load(Ordering::Relaxed).checked_sub(1) {
            table.prefetch(slab.slot(next).home());
        }
    }

    /// Whether the slot's stamp may still be in the ring.
    fn holds<K, V>(&self, slot: &Slot<K, V>) -> bool {
        let tail = self.stamp(self.tail.load(Ordering::Relaxed));
        let behind = tail.wrapping_sub(slot.stamp.load(Ordering::Relaxed));
        u64::from(behind) <= (self.length() >> self.coarse) + 1
    }
}

/// What is remembered of an entry that was evicted, as `frequency 4 | epoch 4 | by 2 | stamp 10`.
struct Ghost {
    frequency: u8,
    /// Its last four bits.
    epoch: u32,
    by: u32,
    /// When, in drops of its kind, coarsely; ten bits.
    stamp: u32,
}

impl Ghost {
    fn bits(&self) -> u32 {
        u32::from(self.frequency) << 16 | self.epoch << 12 | self.by << 10 | self.stamp
    }

    /// None if there was none: `by` is never zero.
    fn of(bits: u32) -> Option<Self> {
        (bits != 0).then_some(Self {
            frequency: (bits >> 16) as u8 & FREQUENCY_MAX,
            epoch: bits >> 12 & 15,
            by: bits >> 10 & 3,
            stamp: bits & 1023,
        })
    }
}

const _: () = assert!(crate::table::GHOST_BITS == 20);
