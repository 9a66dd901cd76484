//! How flat ranges become a trie.

use super::Cuts;
use super::nodes::{Begins, NODE_BITS, Node, Nodes};
use super::trie::{
    DIRECT_BITS, Kind, LIST_BITS, LIST_COUNT_BITS, LIST_RANGES_MAX, Trie, WIDE_BITS, WIDE_RANGES_MIN,
    is_node, is_v4, tag_bits, tagged,
};
use super::word::Word;

/// Builds a trie from flat ranges.
#[derive(Debug, Default)]
pub(crate) struct TrieBuilder {
    wide: Vec<u32>,
    pool: Vec<u32>,
    /// Nodes that stand directly below the leading bits come behind all others in the end: entries name only those, which
    /// are few, and small numbers make small entries.
    upper: Vec<Node>,
    lower: Vec<Node>,
    entries: Vec<u32>,
}

impl TrieBuilder {
    /// The trie of these ranges, whose marks are leaves. O(ranges).
    pub(crate) fn build<W: Word>(cuts: &Cuts<W>) -> Trie {
        if cuts.marks == [0] {
            return Trie::default();
        }
        let (builder, direct) = Self::of_cuts(cuts);
        builder.finish::<W, false>(direct)
    }

    /// The IPv4 trie of these ranges to [patch](super::patch): all nodes inline, whatever that takes.
    pub(super) fn build_to_patch(cuts: &Cuts<u32>) -> Trie {
        let (builder, direct) = Self::of_cuts(cuts);
        builder.finish::<u32, true>(direct)
    }

    fn of_cuts<W: Word>(cuts: &Cuts<W>) -> (Self, Vec<u32>) {
        let mut builder = Self::default();
        builder.entries.reserve(cuts.starts.len());
        let mut direct = Vec::with_capacity(1 << DIRECT_BITS);
        let ranges = Ranges { starts: &cuts.starts, marks: &cuts.marks };
        builder.slots(ranges, W::MIN, 0, DIRECT_BITS, |_, slots, entry| {
            direct.resize(direct.len() + slots, entry);
        });
        debug_assert_eq!(direct.len(), 1 << DIRECT_BITS);
        (builder, direct)
    }

    fn finish<W: Word, const TO_PATCH: bool>(mut self, mut direct: Vec<u32>) -> Trie {
        let lower = self.lower.len() as u32;
        for entry in direct.iter_mut().filter(|entry| is_node::<W>(**entry)) {
            *entry += lower << tag_bits::<W>();
        }
        let mut nodes = self.lower;
        nodes.append(&mut self.upper);
        let renamed = |entry: u32, places: &[u32]| match entry {
            entry if is_node::<W>(entry) => {
                tagged::<W>(Kind::Node, places[(entry >> tag_bits::<W>()) as usize])
            }
            entry => entry,
        };
        let (nodes, places) = if TO_PATCH {
            let (nodes, places) = Nodes::inline(&nodes, &self.entries, renamed);
            (nodes, Some(places))
        } else {
            Nodes::new(nodes, self.entries, renamed)
        };
        if let Some(places) = places {
            direct.iter_mut().chain(&mut self.wide).for_each(|entry| *entry = renamed(*entry, &places));
        }
        self.wide.shrink_to_fit();
        self.pool.shrink_to_fit();
        Trie { direct, nodes, wide: self.wide, pool: self.pool }
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
        if is_v4::<W>() {
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
        let (mut begins, mut entries, mut slot) = (Begins::default(), [0_u32; 1 << NODE_BITS], 0);
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
        let node = Node::new(begins, &entries[..runs], &mut self.entries);
        let nodes = if depth == DIRECT_BITS { &mut self.upper } else { &mut self.lower };
        nodes.push(node);
        tagged::<W>(Kind::Node, nodes.len() as u32 - 1)
    }

    fn wide<W: Word>(&mut self, ranges: Ranges<'_, W>, first: W, depth: u8) -> u32 {
        let mut array = Vec::with_capacity(1 << WIDE_BITS);
        self.slots(ranges, first, depth, WIDE_BITS, |_, slots, entry| {
            array.resize(array.len() + slots, entry);
        });
        let place = self.wide.len() >> WIDE_BITS;
        self.wide.extend_from_slice(&array);
        tagged::<W>(Kind::Wide, place as u32)
    }

    /// A list, if the ranges are few and the bits it looks at tell them apart.
    fn list<W: Word>(&mut self, ranges: Ranges<'_, W>, depth: u8) -> Option<u32> {
        let starts = &ranges.starts[1..];
        let apart = depth + LIST_BITS >= W::BITS
            || starts.iter().all(|start| start.to_aligned() << depth << LIST_BITS == 0);
        let place = self.pool.len();
        if ranges.len() > LIST_RANGES_MAX || !apart || place >> (32 - LIST_COUNT_BITS - tag_bits::<W>()) > 0 {
            return None;
        }
        // The last address of each range but the last. A start is above the block's first, so its bits are not zero.
        self.pool.extend(starts.iter().map(|start| start.take(depth, LIST_BITS) - 1));
        self.pool.extend_from_slice(ranges.marks);
        Some(tagged::<W>(Kind::List, (place as u32) << LIST_COUNT_BITS | starts.len() as u32))
    }
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
