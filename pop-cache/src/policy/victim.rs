//! The contest: which entry goes next.

use super::*;
use crate::table::Table;

/// Hot entries that a search for one victim passes before it takes the coldest of them.
const LOOKS: usize = 8;
/// Slots without an entry of the main clock that a search passes.
const SKIPS: usize = 32;
/// From so many entries on, a window that is to become shorter waits for entries that win their contest, instead of moving
/// whoever comes next to the main clock: worth 0.8 points where a hundred thousand entries see a Zipf load. In a
/// smaller cache it would keep the window too large, which costs up to 4.
const PATIENT: u64 = 2048;

impl Policy {
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
}
