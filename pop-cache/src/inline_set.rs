//! The sets of the inline cache: a few pairs, their tags, and a version that writers lock.
//!
//! A set is a few whole lines of words:
//!
//! ```text
//! word 0   version: hand 3 bits | count of writes | 1 while a writer is in
//! word 1   marks:   a byte each way: tag 7 bits (0: empty), low heat bit; the top byte: the high heat bits
//! word 2…  pairs:   key and value of each way
//! ```
//!
//! It is a sequence lock (Boehm, MSPC '12), and all of it is atomic words, so a torn read is a wrong number that the
//! version exposes, never undefined behaviour:
//!
//! ```text
//! read:   v = version (acquire), again while odd; marks and words (relaxed); fence (acquire); version still v?
//! write:  version := v + 1 by compare-and-swap; fence (release); words (relaxed); version := v + 2 (release)
//! ```
//!
//! If a reader saw a word of a write, its acquire fence pairs with the writer's release fence, so it sees the odd
//! version, or a later one, and reads again. If it saw none it read what was before, whole.
//!
//! Heat is set by readers outside of this: a bit each for the first and the second hit, by an atomic or, and no write
//! after that. A writer swaps the marks whole, once: that may undo a hit of the same moment, which is a hint less, and an
//! atomic or brings no old tag back.

use crate::memory::{Lines, prefetch};
use crate::sync::{AtomicU64, Ordering, fence};

/// Ways of a set, at most: seven bytes of marks.
pub(crate) const WAYS_MAX: usize = 7;
/// Words of a line.
const LINE: usize = 8;
/// Version and marks.
const HEAD: usize = 2;
/// A byte each way.
const LANES: u64 = 0x0001_0101_0101_0101;
const TAGS: u64 = LANES * 0x7F;
const LOW_HEAT: u64 = LANES * 0x80;
const HIGH_HEAT_SHIFT: u32 = 56;
const HAND_SHIFT: u32 = 61;
const BUSY: u64 = 1;
/// Looks at a busy set before a reader or writer lets others run.
const SPINS: u32 = 64;

/// How pairs lie in sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) words: usize,
    pub(crate) ways: usize,
    pub(crate) lines: usize,
}

impl Layout {
    /// The least wasteful of all numbers of lines, for pairs of so many bits.
    pub(crate) const fn of(bits: u32) -> Self {
        let words = bits.div_ceil(64) as usize;
        let words = if words == 0 { 1 } else { words };
        let mut best = Self { words, ways: 0, lines: 1 };
        let mut lines = 1;
        while lines <= (HEAD + WAYS_MAX * words).div_ceil(LINE) {
            let fit = (lines * LINE - HEAD) / words;
            let ways = if fit < WAYS_MAX { fit } else { WAYS_MAX };
            if ways * best.lines > best.ways * lines {
                best = Self { words, ways, lines };
            }
            lines += 1;
        }
        best
    }
}

/// The key and value of a way: as many words as the layout says, at most four.
pub(crate) type Pair = [u64; 4];

/// Where the hand of a set is after it made a way free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    /// At the newcomer: unless that is hit, it makes room for the next. So one-timers pass through one way, while the
    /// others keep what was hit: right for scans and loops.
    Stays,
    /// At the way after: each newcomer has a whole round to be hit. Right where recency is all.
    GoesOn,
}

/// All sets of a cache.
pub(crate) struct Sets {
    /// On large pages where the system has them: with small ones a look-up misses the translation buffer as often as the
    /// cache.
    lines: Lines<LINE>,
    count: usize,
}

/// One of them.
#[derive(Clone, Copy)]
pub(crate) struct Set<'a> {
    words: &'a [AtomicU64],
    layout: Layout,
}

/// A set whose version this writer has locked.
pub(crate) struct Locked<'a> {
    set: Set<'a>,
    version: u64,
}

impl Sets {
    pub(crate) fn new(sets: usize, layout: Layout) -> Self {
        let count = sets * layout.lines;
        Self { lines: Lines::new(count), count }
    }

    #[inline(always)]
    pub(crate) fn set(&self, index: usize, layout: Layout) -> Set<'_> {
        Set { words: self.lines.words(index * layout.lines, layout.lines), layout }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.count * size_of::<[AtomicU64; LINE]>()
    }
}

impl<'a> Set<'a> {
    #[inline]
    fn word(self, at: usize) -> &'a AtomicU64 {
        &self.words[at]
    }

    #[inline]
    fn version(self) -> &'a AtomicU64 {
        &self.words[0]
    }

    #[inline]
    fn marks(self) -> &'a AtomicU64 {
        &self.words[1]
    }

    /// What `read` makes of the set, from a moment when no writer was in it. It may run several times, on words that
    /// do not fit each other.
    #[inline(always)]
    pub(crate) fn read<R>(self, read: impl Fn(Set<'a>) -> R) -> R {
        let mut spins = 0;
        loop {
            // Acquire: pairs with the release in `Locked::drop`: what that writer wrote is seen.
            let version = self.version().load(Ordering::Acquire);
            if version & BUSY == 0 {
                let result = read(self);
                // Pairs with the fence in `lock`; see above.
                fence(Ordering::Acquire);
                if self.version().load(Ordering::Relaxed) == version {
                    return result;
                }
            }
            wait(&mut spins);
        }
    }

    /// Asks for the lines after the first: which of them a look-up needs it knows only when it has the first.
    #[inline(always)]
    pub(crate) fn prefetch(self) {
        for line in 1..self.layout.lines {
            prefetch(&self.words[line * LINE]);
        }
    }

    /// The way with this tag for which `is_it` holds.
    #[inline(always)]
    pub(crate) fn find(self, tag: u8, is_it: impl Fn(Pair) -> bool) -> Option<(usize, Pair)> {
        let marks = self.marks().load(Ordering::Relaxed);
        // A byte whose seven bits are the tag has no carry into its eighth.
        let differs = (marks & TAGS) ^ (LANES * u64::from(tag));
        let mut same = !(differs + TAGS) & LOW_HEAT;
        while same != 0 {
            let way = (same.trailing_zeros() / 8) as usize;
            let pair = self.pair(way);
            if is_it(pair) {
                return Some((way, pair));
            }
            same &= same - 1;
        }
        None
    }

    #[inline(always)]
    pub(crate) fn pair(self, way: usize) -> Pair {
        let start = HEAD + way * self.layout.words;
        let mut pair = [0; 4];
        for (at, word) in pair.iter_mut().take(self.layout.words).enumerate() {
            *word = self.word(start + at).load(Ordering::Relaxed);
        }
        pair
    }

    /// Whether there is a pair in a way.
    pub(crate) fn holds(self, way: usize) -> bool {
        self.marks().load(Ordering::Relaxed) >> (8 * way) & 0x7F != 0
    }

    /// How many pairs there are.
    pub(crate) fn len(self) -> usize {
        (0..self.layout.ways).filter(|&way| self.holds(way)).count()
    }

    /// A hit of a way. Relaxed: if the pair was replaced meanwhile, a newcomer starts warm. No write when it is hot.
    #[inline]
    pub(crate) fn warm(self, way: usize) {
        let low = 0x80 << (8 * way);
        let high = 1 << (HIGH_HEAT_SHIFT + way as u32);
        let marks = self.marks().load(Ordering::Relaxed);
        if marks & low == 0 {
            self.marks().fetch_or(low, Ordering::Relaxed);
        } else if marks & high == 0 {
            self.marks().fetch_or(high, Ordering::Relaxed);
        }
    }

    /// Waits until no other writer is in the set.
    pub(crate) fn lock(self) -> Locked<'a> {
        let mut spins = 0;
        loop {
            let version = self.version().load(Ordering::Relaxed);
            // Acquire: pairs with the release of the last writer, whose words this one works on.
            if version & BUSY == 0
                && self
                    .version()
                    .compare_exchange_weak(version, version | BUSY, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                // Pairs with the fence in `read`: whoever sees a word of this write sees the busy version.
                fence(Ordering::Release);
                return Locked { set: self, version };
            }
            wait(&mut spins);
        }
    }
}

impl Locked<'_> {
    fn marks(&self) -> u64 {
        self.set.marks().load(Ordering::Relaxed)
    }

    /// Relaxed: the version publishes it. Only this writer changes tags; a reader's heat of the same moment may be lost, which
    /// is a hint less, and since readers set heat by atomic changes they bring no old tag back.
    fn set_marks(&mut self, marks: u64) {
        let _heat_of_the_same_moment = self.set.marks().swap(marks, Ordering::Relaxed);
    }

    /// Puts a pair into a way that is empty or makes room, as cold as can be.
    #[cfg(test)]
    pub(crate) fn put(&mut self, way: usize, tag: u8, pair: Pair) {
        self.overwrite(way, pair);
        self.set_marks(with_tag(self.marks(), way, tag));
    }

    /// Changes the pair of a way; it stays as hot as it was.
    #[inline]
    pub(crate) fn overwrite(&mut self, way: usize, pair: Pair) {
        let start = HEAD + way * self.set.layout.words;
        for (at, &word) in pair.iter().take(self.set.layout.words).enumerate() {
            self.set.word(start + at).store(word, Ordering::Relaxed);
        }
    }

    /// Empties a way.
    pub(crate) fn clear(&mut self, way: usize) {
        self.set_marks(self.marks() & !marks_of(way));
    }

    /// Puts a new pair in, as cold as can be: into an empty way below `ways`, else into the first cold one from the hand on;
    /// those it passes cool. The hand then stays or goes on, see [`Hand`].
    #[inline]
    pub(crate) fn push(&mut self, ways: usize, hand: Hand, tag: u8, pair: Pair) {
        let mut marks = self.marks();
        let way = match empty(marks, ways) {
            Some(way) => way,
            None => self.make_room(&mut marks, ways, hand),
        };
        self.overwrite(way, pair);
        self.set_marks(with_tag(marks, way, tag));
    }

    fn make_room(&mut self, marks: &mut u64, ways: usize, hand: Hand) -> usize {
        let after = |way: usize| if way + 1 < ways { way + 1 } else { 0 };
        let mut way = (self.version >> HAND_SHIFT) as usize;
        if way >= ways {
            way = 0;
        }
        // Each round takes one bit of heat from each way, of two.
        while cool(marks, way) {
            way = after(way);
        }
        let next = match hand {
            Hand::Stays => way,
            Hand::GoesOn => after(way),
        };
        self.version = self.version & !(7 << HAND_SHIFT) | (next as u64) << HAND_SHIFT;
        way
    }

    #[inline]
    pub(crate) fn set(&self) -> Set<'_> {
        self.set
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let hand = self.version & 7 << HAND_SHIFT;
        let count = (self.version + 2) & !(7 << HAND_SHIFT);
        // Release: pairs with the acquires in `read` and `lock`.
        self.set.version().store(hand | count, Ordering::Release);
    }
}

/// All marks of a way.
fn marks_of(way: usize) -> u64 {
    0xFF << (8 * way) | 1 << (HIGH_HEAT_SHIFT + way as u32)
}

/// The marks, with a cold pair of this tag in a way.
#[inline]
fn with_tag(marks: u64, way: usize, tag: u8) -> u64 {
    debug_assert!(tag != 0 && tag < 0x80, "0 is an empty way");
    marks & !marks_of(way) | u64::from(tag) << (8 * way)
}

/// An empty way below `ways`.
#[inline]
fn empty(marks: u64, ways: usize) -> Option<usize> {
    // A byte whose seven bits are zero has no carry into its eighth.
    let free = !((marks & TAGS) + TAGS) & LOW_HEAT;
    let way = (free.trailing_zeros() / 8) as usize;
    (way < ways).then_some(way)
}

/// Takes one bit of heat from a way. False if it had none.
#[inline]
fn cool(marks: &mut u64, way: usize) -> bool {
    let low = 0x80 << (8 * way);
    let high = 1 << (HIGH_HEAT_SHIFT + way as u32);
    let bit = if *marks & high != 0 { high } else { *marks & low };
    *marks &= !bit;
    bit != 0
}

/// Another thread is in the set: a few dozen instructions, unless it was put aside right there.
#[cold]
fn wait(spins: &mut u32) {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    if *spins < SPINS {
        *spins += 1;
        core::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
    #[cfg(loom)]
    let _ = (spins, SPINS);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn layouts_waste_less_than_four_bytes_a_pair_up_to_24_bytes() {
        for (bits, words, ways, lines) in [(64, 1, 6, 1), (128, 2, 7, 2), (192, 3, 7, 3), (256, 4, 7, 4)] {
            assert_eq!(Layout::of(bits), Layout { words, ways, lines });
        }
        for words in 1..=3 {
            let layout = Layout::of(64 * words);
            let beyond = layout.lines * 64 - layout.ways * 8 * layout.words;
            assert!(beyond < 4 * layout.ways, "{layout:?}: {beyond}");
        }
    }

    #[test]
    fn tags_are_told_apart_in_every_way() {
        let layout = Layout::of(128);
        let sets = Sets::new(1, layout);
        let set = sets.set(0, layout);
        for way in 0..layout.ways {
            set.lock().put(way, (way + 1) as u8, [way as u64, 0, 0, 0]);
        }
        for tag in 1..=127_u8 {
            let found = set.find(tag, |_| true).map(|(way, _)| way);
            let expected = (usize::from(tag) <= layout.ways).then(|| usize::from(tag) - 1);
            assert_eq!(found, expected, "tag {tag}");
        }
        (0..layout.ways).for_each(|way| (0..2).for_each(|_| set.warm(way)));
        assert!(set.find(3, |_| true).is_some(), "heat is no part of a tag");
        assert!(set.find(100, |_| true).is_none());
    }

    #[test]
    fn the_hand_spares_what_was_hit_and_comes_to_an_end() {
        let layout = Layout::of(128);
        let sets = Sets::new(1, layout);
        let set = sets.set(0, layout);
        (0..7).for_each(|way| set.lock().put(way, 1, [way as u64, 0, 0, 0]));
        (0..7).for_each(|way| (0..2).for_each(|_| set.warm(way)));
        let mut next = 100;
        let mut push = |hand| {
            next += 1;
            set.lock().push(7, hand, 2, [next, 0, 0, 0]);
            (0..7).find(|&way| set.pair(way)[0] == next).expect("it is in")
        };
        assert_eq!(push(Hand::Stays), 0, "two rounds cool them all");
        (0..3).for_each(|way| set.warm(way));
        assert_eq!(push(Hand::Stays), 3);
        assert_eq!(push(Hand::GoesOn), 3, "the hand stayed");
        assert_eq!(push(Hand::Stays), 4, "the hand went on");
        set.lock().clear(6);
        assert_eq!(push(Hand::Stays), 6, "an empty way comes first");
    }
}
