//! The read-optimised form: a trie over the flat ranges, of which every step is one or two loads.
//!
//! ```text
//! entry := direct[the leading 16 bits]
//! loop, by the entry's tag
//!   leaf   a mark: done
//!   node   the next 8 bits pick one of 256 slots. Runs of equal slots share an entry: bit i of the bitmap says that
//!          a run begins at slot i, so the entry's index is the base plus the number of ones up to the slot
//!   wide   the next 12 bits index a plain array (IPv6, where thousands of networks share the leading 16 bits)
//!   list   a handful of ranges: count the ends below the next 32 bits
//! ```
//!
//! Kin: Poptrie (Asai, Ohara, SIGCOMM 2015) for the bitmap with merged runs, DXR (Zec, Rizzo, Mikuc, CCR 2012) for
//! direct bits and short ranges, DIR-24-8 (Gupta, Lin, McKeown, INFOCOM 1998) for stopping at 16 + 8 bits. Unlike
//! Poptrie a node has one bitmap: the tag that tells a child from a leaf travels in the entry. The bitmap comes in
//! words of 32 slots, each with the count of runs before it, so one word is counted, and counting the ones of 32 bits
//! is cheap on processors for which no POPCNT was compiled in. Entries are [`Packed`]: as wide as they need to be.

use super::nodes::{NODE_BITS, Nodes, layout};
use super::word::Word;

/// Leading bits that index directly.
pub(super) const DIRECT_BITS: u8 = 16;
/// Bits that a wide node resolves, and the ranges that make one worth its 16 KiB.
pub(super) const WIDE_BITS: u8 = 12;
pub(super) const WIDE_RANGES_MIN: usize = 256;
/// Bits that a list resolves, and the ranges it holds at most: more are quicker in a node.
pub(super) const LIST_BITS: u8 = 32;
pub(super) const LIST_RANGES_MAX: usize = 16;
pub(super) const LIST_COUNT_BITS: u32 = 4;

/// What stands at the bottom: a value and a length.
///
/// As an entry of the trie, a mark: the value above the length. So small values make small entries, whatever else they
/// say. What is no leaf, is told by the lowest bits: for IPv4 by a length that cannot be, for IPv6 by one bit more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) value: u32,
    pub(crate) length: u8,
}

impl Leaf {
    /// Values that fit into a mark of either family.
    pub(crate) const VALUES: u32 = 1 << (32 - length_shift::<u128>() - u128::LENGTH_BITS);

    pub(crate) const fn mark<W: Word>(self) -> u32 {
        debug_assert!(self.value < Self::VALUES && self.length <= W::BITS);
        (self.value << W::LENGTH_BITS | self.length as u32) << length_shift::<W>()
    }

    #[inline]
    pub(super) const fn of<W: Word>(mark: u32) -> Self {
        let mark = mark >> length_shift::<W>();
        let length = mark & ((1 << W::LENGTH_BITS) - 1);
        Self { value: mark >> W::LENGTH_BITS, length: length as u8 }
    }
}

/// The kind of an entry that is no leaf. IPv4 is built of nodes alone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Node = 0b001,
    Wide = 0b011,
    /// One less than its ranges stands below the list's place in the pool.
    List = 0b101,
}

const KIND_BITS: u32 = 3;

pub(super) const fn is_v4<W: Word>() -> bool {
    W::BITS == 32
}

/// Bits below the length of a leaf.
const fn length_shift<W: Word>() -> u32 {
    if is_v4::<W>() { 0 } else { 1 }
}

/// Bits below the place of an entry that is no leaf: for IPv4 all of a length, set.
pub(super) const fn tag_bits<W: Word>() -> u32 {
    if is_v4::<W>() { W::LENGTH_BITS } else { KIND_BITS }
}

pub(super) const fn is_leaf<W: Word>(entry: u32) -> bool {
    let tag = (1 << tag_bits::<W>()) - 1;
    if is_v4::<W>() { entry & tag != tag } else { entry & 1 == 0 }
}

pub(super) const fn is_node<W: Word>(entry: u32) -> bool {
    entry & ((1 << tag_bits::<W>()) - 1) == tagged::<W>(Kind::Node, 0)
}

pub(super) const fn tagged<W: Word>(kind: Kind, place: u32) -> u32 {
    debug_assert!(place <= u32::MAX >> tag_bits::<W>());
    let tag = if is_v4::<W>() { (1 << tag_bits::<W>()) - 1 } else { kind as u32 };
    place << tag_bits::<W>() | tag
}

/// One family's trie.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    pub(super) direct: Vec<u32>,
    pub(super) nodes: Nodes,
    pub(super) wide: Vec<u32>,
    pub(super) pool: Vec<u32>,
}

impl Trie {
    /// Becomes equal to another one, with the allocations that it has.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.direct.clone_from(&other.direct);
        self.nodes.copy_from(&other.nodes);
        self.wide.clone_from(&other.wide);
        self.pool.clone_from(&other.pool);
    }

    /// The leaf at an address. One step below the leading bits is nearly always enough; what is deeper is not made part
    /// of the caller, whose loads of several look-ups then overlap.
    #[inline]
    pub(crate) fn find<W: Word>(&self, address: W) -> Leaf {
        // Asked between two loads, this would lengthen every chain of look-ups by half.
        match self.nodes.layout() {
            layout::INLINE => self.find_in::<W, { layout::INLINE }>(address),
            layout::COMPACT => self.find_in::<W, { layout::COMPACT }>(address),
            _ => self.find_in::<W, { layout::CODED }>(address),
        }
    }

    #[inline]
    fn find_in<W: Word, const LAYOUT: u8>(&self, address: W) -> Leaf {
        let entry = self.root(address);
        if is_leaf::<W>(entry) {
            return Leaf::of::<W>(entry);
        }
        let (entry, depth) = self.step::<W, LAYOUT>(entry, address, DIRECT_BITS);
        if is_leaf::<W>(entry) {
            return Leaf::of::<W>(entry);
        }
        self.find_below::<W, LAYOUT>(entry, address, depth)
    }

    #[inline(never)]
    fn find_below<W: Word, const LAYOUT: u8>(&self, mut entry: u32, address: W, mut depth: u8) -> Leaf {
        while !is_leaf::<W>(entry) {
            (entry, depth) = self.step::<W, LAYOUT>(entry, address, depth);
        }
        Leaf::of::<W>(entry)
    }

    /// The entry of the leading bits. A trie of nothing has none: the mark of no value and no length is zero.
    #[inline]
    fn root<W: Word>(&self, address: W) -> u32 {
        self.direct.get(address.take(0, DIRECT_BITS) as usize).copied().unwrap_or(0)
    }

    /// The leaves at many addresses: all of them go down side by side, so that their loads overlap.
    #[inline]
    pub(crate) fn find_lanes<W: Word, const LANES: usize>(&self, addresses: [W; LANES]) -> [Leaf; LANES] {
        match self.nodes.layout() {
            layout::INLINE => self.find_lanes_in::<W, LANES, { layout::INLINE }>(addresses),
            layout::COMPACT => self.find_lanes_in::<W, LANES, { layout::COMPACT }>(addresses),
            _ => self.find_lanes_in::<W, LANES, { layout::CODED }>(addresses),
        }
    }

    #[inline]
    fn find_lanes_in<W: Word, const LANES: usize, const LAYOUT: u8>(
        &self,
        addresses: [W; LANES],
    ) -> [Leaf; LANES] {
        let mut entries = addresses.map(|address| self.root(address));
        if is_v4::<W>() {
            self.step_lanes::<W, LANES, LAYOUT>(&mut entries, &addresses);
        }
        let mut depths = [if is_v4::<W>() { DIRECT_BITS + NODE_BITS } else { DIRECT_BITS }; LANES];
        while entries.iter().any(|&entry| !is_leaf::<W>(entry)) {
            for lane in 0..LANES {
                if !is_leaf::<W>(entries[lane]) {
                    (entries[lane], depths[lane]) =
                        self.step::<W, LAYOUT>(entries[lane], addresses[lane], depths[lane]);
                }
            }
        }
        entries.map(Leaf::of::<W>)
    }

    /// The first step of IPv4, where all but a leaf is a node, without a branch: lanes that are done read slot zero
    /// and throw it away. Loads and arithmetic take turns, so that the counting of all lanes is done in vectors.
    #[inline]
    fn step_lanes<W: Word, const LANES: usize, const LAYOUT: u8>(
        &self,
        entries: &mut [u32; LANES],
        addresses: &[W; LANES],
    ) {
        if self.nodes.is_empty() {
            return;
        }
        let (mut begins, mut places) = ([0_u32; LANES], [0_u32; LANES]);
        for lane in 0..LANES {
            let entry = entries[lane];
            let node = if is_leaf::<W>(entry) { 0 } else { entry >> tag_bits::<W>() };
            let slot = addresses[lane].take(DIRECT_BITS, NODE_BITS);
            (begins[lane], places[lane]) = self.nodes.up_to::<LAYOUT>(node, slot);
        }
        for lane in 0..LANES {
            places[lane] = places[lane].wrapping_add(begins[lane].count_ones());
        }
        for lane in 0..LANES {
            let below = self.nodes.entry::<LAYOUT>(places[lane]);
            entries[lane] = if is_leaf::<W>(entries[lane]) { entries[lane] } else { below };
        }
    }

    #[inline]
    fn step<W: Word, const LAYOUT: u8>(&self, entry: u32, address: W, depth: u8) -> (u32, u8) {
        let place = entry >> tag_bits::<W>();
        let kind = entry & ((1 << KIND_BITS) - 1);
        if is_v4::<W>() || kind == Kind::Node as u32 {
            return (self.nodes.get::<LAYOUT>(place, address.take(depth, NODE_BITS)), depth + NODE_BITS);
        }
        if kind == Kind::Wide as u32 {
            let slot = address.take(depth, WIDE_BITS);
            return (self.wide[((place << WIDE_BITS) + slot) as usize], depth + WIDE_BITS);
        }
        let ends = (place & ((1 << LIST_COUNT_BITS) - 1)) as usize;
        let start = (place >> LIST_COUNT_BITS) as usize;
        let list = &self.pool[start..start + 2 * ends + 1];
        let wanted = address.take(depth, LIST_BITS);
        let below = list[..ends].iter().map(|&end| usize::from(end < wanted)).sum::<usize>();
        (list[ends + below], depth)
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        let words = self.direct.capacity() + self.wide.capacity() + self.pool.capacity();
        words * size_of::<u32>() + self.nodes.memory_bytes()
    }
}
