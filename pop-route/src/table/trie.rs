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
//! Poptrie a node has one bitmap: the tag that tells a child from a leaf travels in the entry. A node is eight groups
//! of 32 slots, each a bitmap and its own base in eight bytes: 64 bytes in all, one load touches eight, and counting
//! the ones of 32 bits is cheap on processors for which no POPCNT was compiled in.

use super::Cuts;
use super::word::Word;

/// Leading bits that index directly.
const DIRECT_BITS: u8 = 16;
/// Bits that a node resolves.
const NODE_BITS: u8 = 8;
/// Bits that a wide node resolves, and the ranges that make one worth its 16 KiB.
const WIDE_BITS: u8 = 12;
const WIDE_RANGES_MIN: usize = 256;
/// Bits that a list resolves, and the ranges it holds at most: more are quicker in a node.
const LIST_BITS: u8 = 32;
const LIST_RANGES_MAX: usize = 16;

/// What an entry says, in its upper bits: a leaf has the highest bit clear.
const NODE: u32 = 0b100 << 29;
const WIDE: u32 = 0b101 << 29;
/// Four bits of range count less one stand above the list's place in the pool.
const LIST: u32 = 0b11 << 30;
const LIST_COUNT_SHIFT: u32 = 26;
const TAG_MASK: u32 = 0b111 << 29;

/// What stands at the bottom: a value and a length. 23 bits of value, 8 bits of length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf(u32);

impl Leaf {
    /// Values of a leaf, [`NOTHING`](Self::NOTHING) among them.
    pub(crate) const VALUES: u32 = 1 << 23;
    /// The value that means none.
    pub(crate) const NOTHING: u32 = Self::VALUES - 1;

    pub(crate) const fn new(value: u32, length: u8) -> Self {
        debug_assert!(value < Self::VALUES);
        Self(value << 8 | length as u32)
    }

    #[inline]
    pub(crate) const fn value(self) -> u32 {
        self.0 >> 8
    }

    #[inline]
    pub(crate) const fn length(self) -> u8 {
        self.0 as u8
    }

    pub(crate) const fn mark(self) -> u32 {
        self.0
    }
}

const fn is_leaf(entry: u32) -> bool {
    entry & (1 << 31) == 0
}

/// 32 slots of a node: where runs begin, and the index of the entry before the group's first run.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    begins: u32,
    base: u32,
}

const GROUPS: usize = (1 << NODE_BITS) / 32;

/// One family's trie.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    direct: Vec<u32>,
    groups: Vec<Group>,
    entries: Vec<u32>,
    wide: Vec<u32>,
    pool: Vec<u32>,
}

impl Trie {
    /// The leaf at an address.
    #[inline]
    pub(crate) fn find<W: Word>(&self, address: W) -> Leaf {
        let mut entry = self.direct[address.take(0, DIRECT_BITS) as usize];
        let mut depth = DIRECT_BITS;
        while !is_leaf(entry) {
            (entry, depth) = self.step(entry, address, depth);
        }
        Leaf(entry)
    }

    /// The leaves at many addresses: all of them go down side by side, so that their loads overlap.
    #[inline]
    pub(crate) fn find_lanes<W: Word, const LANES: usize>(&self, addresses: [W; LANES]) -> [Leaf; LANES] {
        let mut entries = addresses.map(|address| self.direct[address.take(0, DIRECT_BITS) as usize]);
        if W::BITS == 32 {
            self.step_lanes(&mut entries, &addresses);
        }
        let mut depths = [if W::BITS == 32 { DIRECT_BITS + NODE_BITS } else { DIRECT_BITS }; LANES];
        while entries.iter().any(|&entry| !is_leaf(entry)) {
            for lane in 0..LANES {
                if !is_leaf(entries[lane]) {
                    (entries[lane], depths[lane]) = self.step(entries[lane], addresses[lane], depths[lane]);
                }
            }
        }
        entries.map(Leaf)
    }

    /// The first step of IPv4, where all but a leaf is a node, without a branch: lanes that are done read slot zero
    /// and throw it away.
    #[inline]
    fn step_lanes<W: Word, const LANES: usize>(&self, entries: &mut [u32; LANES], addresses: &[W; LANES]) {
        if self.groups.is_empty() {
            return;
        }
        let mut places = [0_u32; LANES];
        for lane in 0..LANES {
            let entry = entries[lane];
            let node = if is_leaf(entry) { 0 } else { entry & !TAG_MASK };
            places[lane] = self.place(node, addresses[lane].take(DIRECT_BITS, NODE_BITS));
        }
        for lane in 0..LANES {
            let below = self.entries[places[lane] as usize];
            entries[lane] = if is_leaf(entries[lane]) { entries[lane] } else { below };
        }
    }

    #[inline]
    fn step<W: Word>(&self, entry: u32, address: W, depth: u8) -> (u32, u8) {
        // IPv4 is built of nodes alone.
        if W::BITS == 32 || entry & TAG_MASK == NODE {
            let place = self.place(entry & !TAG_MASK, address.take(depth, NODE_BITS));
            return (self.entries[place as usize], depth + NODE_BITS);
        }
        if entry & TAG_MASK == WIDE {
            let slot = address.take(depth, WIDE_BITS);
            let array = ((entry & !TAG_MASK) as usize) << WIDE_BITS;
            return (self.wide[array + slot as usize], depth + WIDE_BITS);
        }
        let ends = ((entry >> LIST_COUNT_SHIFT) & 0xf) as usize;
        let start = (entry & ((1 << LIST_COUNT_SHIFT) - 1)) as usize;
        let list = &self.pool[start..start + 2 * ends + 1];
        let wanted = address.take(depth, LIST_BITS);
        let below = list[..ends].iter().map(|&end| usize::from(end < wanted)).sum::<usize>();
        (list[ends + below], depth)
    }

    /// Where the entry of a node's slot stands.
    #[inline]
    fn place(&self, node: u32, slot: u32) -> u32 {
        let group = self.groups[node as usize * GROUPS + (slot >> 5) as usize];
        let up_to_slot = u32::MAX >> (31 - (slot & 31));
        group.base.wrapping_add((group.begins & up_to_slot).count_ones())
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        let words =
            self.direct.capacity() + self.entries.capacity() + self.wide.capacity() + self.pool.capacity();
        words * size_of::<u32>() + self.groups.capacity() * size_of::<Group>()
    }
}

/// Builds a trie from flat ranges.
#[derive(Debug, Default)]
pub(crate) struct TrieBuilder {
    trie: Trie,
}

impl TrieBuilder {
    /// The trie of these ranges, whose marks are leaves. O(ranges).
    pub(crate) fn build<W: Word>(cuts: &Cuts<W>) -> Trie {
        let mut builder = Self::default();
        // Where no run begins, the base must still point at something.
        builder.trie.entries.push(Leaf::new(Leaf::NOTHING, 0).mark());
        builder.trie.direct = Vec::with_capacity(1 << DIRECT_BITS);
        let ranges = Ranges { starts: &cuts.starts, marks: &cuts.marks };
        builder.slots(ranges, W::MIN, 0, DIRECT_BITS, |builder, slots, entry| {
            let filled = builder.trie.direct.len();
            builder.trie.direct.resize(filled + slots, entry);
        });
        debug_assert_eq!(builder.trie.direct.len(), 1 << DIRECT_BITS);
        let Trie { direct, groups, entries, wide, pool } = &mut builder.trie;
        groups.shrink_to_fit();
        [direct, entries, wide, pool].into_iter().for_each(Vec::shrink_to_fit);
        builder.trie
    }

    /// Cuts the block of `depth` bits around `first` into `1 << bits` slots, in order, and hands each run of slots
    /// that have one entry to `fill`.
    fn slots<W: Word>(
        &mut self,
        ranges: Ranges<'_, W>,
        first: W,
        depth: u8,
        bits: u8,
        mut fill: impl FnMut(&mut Self, usize, u32),
    ) {
        let slots = 1_usize << bits;
        let slot_of = |start: W| start.take(depth, bits) as usize;
        let (mut slot, mut index) = (0, 0);
        while slot < slots {
            let begins = first_of_slot(first, depth, bits, slot);
            while index + 1 < ranges.len() && ranges.starts[index + 1] <= begins {
                index += 1;
            }
            let last = begins.last_of(depth + bits);
            let inside = ranges.starts[index + 1..].iter().take_while(|&&start| start <= last).count();
            if inside == 0 {
                // Uniform, up to the slot in which the next range begins.
                let next = ranges.starts.get(index + 1).map_or(slots, |&start| slot_of(start));
                fill(self, next - slot, ranges.marks[index]);
                slot = next;
            } else {
                let entry = self.entry(ranges.part(index, index + 1 + inside), begins, depth + bits);
                fill(self, 1, entry);
                slot += 1;
            }
        }
    }

    /// The entry for a block of `depth` bits that holds more than one range.
    fn entry<W: Word>(&mut self, ranges: Ranges<'_, W>, first: W, depth: u8) -> u32 {
        debug_assert!(ranges.len() > 1 && depth < W::BITS);
        if W::BITS == 32 {
            return self.node(ranges, first, depth);
        }
        if let Some(list) = self.list(ranges, depth) {
            return list;
        }
        if depth == DIRECT_BITS && ranges.len() >= WIDE_RANGES_MIN {
            return self.wide(ranges, first, depth);
        }
        self.node(ranges, first, depth)
    }

    fn node<W: Word>(&mut self, ranges: Ranges<'_, W>, first: W, depth: u8) -> u32 {
        let node = self.trie.groups.len();
        self.trie.groups.resize(node + GROUPS, Group::default());
        let (mut begins, mut entries, mut slot) = ([0_u32; GROUPS], [0_u32; 1 << NODE_BITS], 0);
        let mut runs = 0;
        self.slots(ranges, first, depth, NODE_BITS, |_, slots, entry| {
            if runs == 0 || entries[runs - 1] != entry {
                begins[slot / 32] |= 1 << (slot % 32);
                entries[runs] = entry;
                runs += 1;
            }
            slot += slots;
        });
        // Children have put their entries in before.
        let mut base = self.trie.entries.len() as u32 - 1;
        self.trie.entries.extend_from_slice(&entries[..runs]);
        for (group, begins) in self.trie.groups[node..].iter_mut().zip(begins) {
            *group = Group { begins, base };
            base += begins.count_ones();
        }
        tagged(NODE, node / GROUPS, TAG_MASK)
    }

    fn wide<W: Word>(&mut self, ranges: Ranges<'_, W>, first: W, depth: u8) -> u32 {
        let mut array = Vec::with_capacity(1 << WIDE_BITS);
        self.slots(ranges, first, depth, WIDE_BITS, |_, slots, entry| {
            array.resize(array.len() + slots, entry);
        });
        let place = self.trie.wide.len() >> WIDE_BITS;
        self.trie.wide.extend_from_slice(&array);
        tagged(WIDE, place, TAG_MASK)
    }

    /// A list, if the ranges are few and the bits it looks at tell them apart.
    fn list<W: Word>(&mut self, ranges: Ranges<'_, W>, depth: u8) -> Option<u32> {
        let starts = &ranges.starts[1..];
        let apart = depth + LIST_BITS >= W::BITS
            || starts.iter().all(|start| start.to_aligned() << depth << LIST_BITS == 0);
        let place = self.trie.pool.len();
        if ranges.len() > LIST_RANGES_MAX || !apart || place >= 1 << LIST_COUNT_SHIFT {
            return None;
        }
        // The last address of each range but the last. A start is above the block's first, so its bits are not zero.
        self.trie.pool.extend(starts.iter().map(|start| start.take(depth, LIST_BITS) - 1));
        self.trie.pool.extend_from_slice(ranges.marks);
        Some(LIST | (starts.len() as u32) << LIST_COUNT_SHIFT | place as u32)
    }
}

fn tagged(tag: u32, place: usize, mask: u32) -> u32 {
    debug_assert!(place <= (!mask) as usize);
    tag | place as u32
}

fn first_of_slot<W: Word>(first: W, depth: u8, bits: u8, slot: usize) -> W {
    W::from_aligned(first.to_aligned() | (slot as u128) << (128 - u32::from(depth) - u32::from(bits)))
}

/// Ranges of a block: the first holds the block's first address, the others begin inside.
#[derive(Clone, Copy, Debug)]
struct Ranges<'a, W> {
    starts: &'a [W],
    marks: &'a [u32],
}

impl<'a, W> Ranges<'a, W> {
    fn len(self) -> usize {
        self.starts.len()
    }

    fn part(self, from: usize, to: usize) -> Ranges<'a, W> {
        Ranges { starts: &self.starts[from..to], marks: &self.marks[from..to] }
    }
}
