//! Nodes of 256 slots with their entries, laid out the quickest way for which there is room.
//!
//! ```text
//! inline   a node is a header of 64 bytes with its entries behind it, whole words all: the runs up to a slot come from
//!          one half word, eight bits of which say where runs begin and eight how many begin before, and a small table
//! compact  nodes of 44 bytes, entries in a sequence of their own, each as wide as the widest asks for
//! coded    the same, but entries are numbers in a dictionary
//! ```
//!
//! A few hundred distinct entries (a map of sites) are coded; else all is inline up to [`INLINE_WORDS_MAX`], and a full
//! table with a value of its own for every prefix is compact.

use super::packed::Packed;

/// Bits that a node resolves.
pub(super) const NODE_BITS: u8 = 8;
/// Five mebibytes: a full table of origins takes less than four of them, and stays well below eight with the rest.
const INLINE_WORDS_MAX: usize = 5 << 18;
/// Words of a header: two half words each, of eight slots.
pub(super) const HEADER_WORDS: usize = (1 << NODE_BITS) / 16;
/// Words of a compact node's bitmap.
const BITMAP_WORDS: usize = (1 << NODE_BITS) / 32;

/// Where runs of equal slots begin: a bit a slot.
pub(super) type Begins = [u32; BITMAP_WORDS];

/// The layouts, as constant parameters: a look-up asks once which one it is.
pub(super) mod layout {
    pub(in super::super) const INLINE: u8 = 0;
    pub(in super::super) const COMPACT: u8 = 1;
    pub(in super::super) const CODED: u8 = 2;
}

/// The ones among the first bits of eight, as `rank` asks for them.
const RANKS: [u8; 1 << 11] = {
    let mut ranks = [0; 1 << 11];
    let mut index = 0;
    while index < ranks.len() {
        let (begins, slot) = (index as u32 >> 3, index as u32 & 7);
        ranks[index] = (begins & (0xff >> (7 - slot))).count_ones() as u8;
        index += 1;
    }
    ranks
};

/// The ones of eight bits, up to and with that of a slot.
#[inline]
fn rank(begins: u32, slot: u32) -> u32 {
    RANKS[((begins & 0xff) << 3 | (slot & 7)) as usize].into()
}

/// A compact node: where runs begin, in words of 32 slots; the runs before each word; the place before the first entry.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Node {
    begins: Begins,
    before: [u8; BITMAP_WORDS],
    base: u32,
}

const _: () = assert!(size_of::<Node>() == 44);

impl Node {
    /// The node whose runs begin there, their entries in order behind what stands in `entries`.
    pub(super) fn new(begins: Begins, runs: &[u32], entries: &mut Vec<u32>) -> Self {
        debug_assert!(begins[0] & 1 == 1, "the first slot begins a run");
        let (mut before, mut count) = ([0; BITMAP_WORDS], 0_u32);
        for (before, begins) in before.iter_mut().zip(begins) {
            // At most 224 runs begin before the last word.
            *before = count as u8;
            count += begins.count_ones();
        }
        debug_assert_eq!(count as usize, runs.len());
        let base = (entries.len() as u32).wrapping_sub(1);
        entries.extend_from_slice(runs);
        Self { begins, before, base }
    }

    /// The places of its entries.
    fn runs(&self) -> core::ops::Range<usize> {
        let first = self.base.wrapping_add(1) as usize;
        first..first + self.begins.iter().map(|begins| begins.count_ones() as usize).sum::<usize>()
    }
}

/// The header of an inline node.
pub(super) fn header(begins: &Begins) -> [u32; HEADER_WORDS] {
    let (mut header, mut count) = ([0; HEADER_WORDS], 0);
    for (eight, begins) in begins.iter().flat_map(|begins| begins.to_le_bytes()).enumerate() {
        // At most 248 runs begin before the last eight slots.
        header[eight / 2] |= (u32::from(begins) | count << 8) << (eight % 2 * 16);
        count += begins.count_ones();
    }
    header
}

/// Where the runs of an inline node begin, out of its header.
pub(super) fn begins(header: &[u32; HEADER_WORDS]) -> Begins {
    let sixteen = |word: u32| word & 0xff | word >> 8 & 0xff00;
    core::array::from_fn(|index| sixteen(header[2 * index]) | sixteen(header[2 * index + 1]) << 16)
}

/// Which of an inline node's runs holds a slot.
pub(super) fn run_of(node: &[u32], slot: u32) -> usize {
    let half = node[(slot >> 4) as usize] >> ((slot & 8) << 1);
    ((half >> 8 & 0xff) + rank(half, slot)) as usize - 1
}

/// All nodes of a trie.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    layout: u8,
    inline: Vec<u32>,
    compact: Vec<Node>,
    entries: Packed,
}

impl Nodes {
    /// Lays nodes out. Where they are inline they change places: `renamed` puts a node's new place into an entry that
    /// named its old one, and all places are handed back, for whoever else names them.
    pub(super) fn new(
        nodes: Vec<Node>,
        entries: Vec<u32>,
        renamed: impl Fn(u32, &[u32]) -> u32,
    ) -> (Self, Option<Vec<u32>>) {
        Self::within(INLINE_WORDS_MAX, nodes, entries, renamed)
    }

    fn within(
        inline_max: usize,
        nodes: Vec<Node>,
        entries: Vec<u32>,
        renamed: impl Fn(u32, &[u32]) -> u32,
    ) -> (Self, Option<Vec<u32>>) {
        if let Some(coded) = Packed::coded(&entries) {
            return (Self { layout: layout::CODED, compact: nodes, entries: coded, ..Self::default() }, None);
        }
        let words = nodes.len() * HEADER_WORDS + entries.len();
        if words > inline_max {
            let entries = Packed::new(&entries);
            return (Self { layout: layout::COMPACT, compact: nodes, entries, ..Self::default() }, None);
        }
        let (nodes, places) = Self::inline(&nodes, &entries, renamed);
        (nodes, Some(places))
    }

    /// Lays nodes out inline, however large that is, and tells their places.
    pub(super) fn inline(
        nodes: &[Node],
        entries: &[u32],
        renamed: impl Fn(u32, &[u32]) -> u32,
    ) -> (Self, Vec<u32>) {
        let (mut places, mut place) = (Vec::with_capacity(nodes.len()), 0);
        for node in nodes {
            places.push(place as u32);
            place += HEADER_WORDS + node.runs().len();
        }
        let mut inline = Vec::with_capacity(place);
        for node in nodes {
            inline.extend(header(&node.begins));
            inline.extend(entries[node.runs()].iter().map(|&entry| renamed(entry, &places)));
        }
        (Self::of_words(inline), places)
    }

    /// The inline layout of these words, as [`words`](Self::words) gives them.
    pub(super) fn of_words(inline: Vec<u32>) -> Self {
        Self { layout: layout::INLINE, inline, ..Self::default() }
    }

    /// Becomes equal to another one, with the allocations that it has.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.layout = other.layout;
        self.inline.clone_from(&other.inline);
        self.compact.clone_from(&other.compact);
        self.entries.copy_from(&other.entries);
    }

    /// The words of the inline layout; empty in another.
    pub(super) fn words(&mut self) -> &mut Vec<u32> {
        &mut self.inline
    }

    /// One of [`layout`].
    #[inline]
    pub(super) fn layout(&self) -> u8 {
        self.layout
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inline.is_empty() && self.compact.is_empty()
    }

    /// The entry of a slot in the node at a place.
    #[inline]
    pub(super) fn get<const LAYOUT: u8>(&self, place: u32, slot: u32) -> u32 {
        debug_assert_eq!(LAYOUT, self.layout);
        if LAYOUT == layout::INLINE {
            let half = self.half(place, slot);
            return self.inline[(before_first(place) + (half >> 8 & 0xff) + rank(half, slot)) as usize];
        }
        let (begins, before) = self.up_to::<LAYOUT>(place, slot);
        self.entry::<LAYOUT>(before.wrapping_add(begins.count_ones()))
    }

    /// The first half of [`get`](Self::get) for many at once: the begins of runs up to a slot in its word, and the place
    /// that their number is to be added to.
    #[inline]
    pub(super) fn up_to<const LAYOUT: u8>(&self, place: u32, slot: u32) -> (u32, u32) {
        if LAYOUT == layout::INLINE {
            let half = self.half(place, slot);
            return (half & (0xff >> (7 - (slot & 7))), before_first(place) + (half >> 8 & 0xff));
        }
        let (node, word) = (&self.compact[place as usize], (slot >> 5) as usize);
        let begins = node.begins[word] & (u32::MAX >> (31 - (slot & 31)));
        (begins, node.base.wrapping_add(node.before[word].into()))
    }

    /// The second half: the entry at that sum.
    #[inline]
    pub(super) fn entry<const LAYOUT: u8>(&self, place: u32) -> u32 {
        match LAYOUT {
            layout::INLINE => self.inline[place as usize],
            layout::COMPACT => self.entries.get::<false>(place),
            _ => self.entries.get::<true>(place),
        }
    }

    /// Of a header: eight bits of begins, and above them the runs before. What stands above is of the next eight slots.
    #[inline]
    fn half(&self, place: u32, slot: u32) -> u32 {
        self.inline[(place + (slot >> 4)) as usize] >> ((slot & 8) << 1)
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        self.inline.capacity() * size_of::<u32>()
            + self.compact.capacity() * size_of::<Node>()
            + self.entries.memory_bytes()
    }
}

/// The last word of a header: runs are counted from one.
#[inline]
fn before_first(place: u32) -> u32 {
    place + HEADER_WORDS as u32 - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every slot of every node, alone and in halves, against the slots themselves.
    fn check<const LAYOUT: u8>(nodes: &Nodes, places: &[u32], slots: &[Vec<u32>]) {
        assert_eq!(nodes.layout(), LAYOUT);
        for (&place, slots) in places.iter().zip(slots) {
            for (slot, &entry) in (0..).zip(slots) {
                assert_eq!(nodes.get::<LAYOUT>(place, slot), entry, "slot {slot}");
                let (begins, before) = nodes.up_to::<LAYOUT>(place, slot);
                assert_eq!(nodes.entry::<LAYOUT>(before.wrapping_add(begins.count_ones())), entry);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn layouts_agree_with_the_slots(
            rows in prop::collection::vec((prop::collection::vec(any::<u32>(), 256), 0_u32..=32), 1..6),
            few in any::<bool>(),
        ) {
            // Up to 256 runs a node, of wide entries or of a few.
            let slots: Vec<Vec<u32>> = rows.into_iter().map(|(row, often)| {
                let mut last = row[0];
                row.into_iter().map(|entry| {
                    last = if entry % 32 < often { entry } else { last };
                    if few { last % 4 * 1000 } else { last | 1 << 31 }
                }).collect()
            }).collect();
            let (mut nodes, mut entries) = (Vec::new(), Vec::new());
            for slots in &slots {
                let (mut begins, mut runs) = (Begins::default(), Vec::new());
                for (slot, &entry) in slots.iter().enumerate() {
                    if slot == 0 || slots[slot - 1] != entry {
                        begins[slot / 32] |= 1 << (slot % 32);
                        runs.push(entry);
                    }
                }
                nodes.push(Node::new(begins, &runs, &mut entries));
            }
            let numbers: Vec<u32> = (0..nodes.len() as u32).collect();
            for room in [usize::MAX, 0] {
                let (laid, places) = Nodes::within(room, nodes.clone(), entries.clone(), |entry, _| entry);
                match laid.layout() {
                    layout::INLINE => check::<{ layout::INLINE }>(&laid, &places.unwrap(), &slots),
                    layout::COMPACT => check::<{ layout::COMPACT }>(&laid, &numbers, &slots),
                    _ => check::<{ layout::CODED }>(&laid, &numbers, &slots),
                }
                let expected = if room == 0 { layout::COMPACT } else { layout::INLINE };
                prop_assert!(few || laid.layout() == expected, "{}", laid.layout());
            }
        }
    }
}
