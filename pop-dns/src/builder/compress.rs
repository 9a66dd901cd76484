//! Name compression (RFC 1035 §4.1.4) in time linear in the names written.
//!
//! The suffixes written so far form a tree: the root of the DNS at its root, one node a label. A name is looked up
//! from its last label towards its first: `node = child(node, label)` until there is none. What was found becomes a
//! pointer, what was not is written and becomes nodes. Each step is one probe into a hash table and one comparison:
//! of a word with a word where label and length fit into eight octets, else also with the octets in the message. So
//! nothing is quadratic; chosen collisions cost at most [`PROBES_MAX`] steps and then compression, not time.

use crate::name::lower_word;

/// Nodes held without an allocator; without `alloc` these are all.
const NODES_INLINE: usize = 32;
/// Slots of the first table, a power of two.
const SLOTS_INLINE: usize = 64;
/// Slots looked at before a label counts as unknown.
const PROBES_MAX: usize = 24;
/// A pointer has 14 bits.
const POINTER_MAX: usize = 0x3FFF;
/// Nodes of the largest table: what can be pointed to has labels of two octets at least.
#[cfg(feature = "alloc")]
const NODES_MAX: usize = POINTER_MAX / 2;

/// A suffix that stands in the message.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// The first eight octets of the label, its length first, in lower case; zeros behind a shorter one.
    word: u64,
    /// Of label and parent.
    hash: u32,
    /// Where its first label stands.
    offset: u16,
    /// The node of the rest, plus one; 0 is the root of the DNS.
    parent: u16,
}

/// The suffixes that may be pointed to.
#[derive(Debug)]
pub(super) struct Compressor {
    used: usize,
    nodes: [Node; NODES_INLINE],
    slots: [u8; SLOTS_INLINE],
    #[cfg(feature = "alloc")]
    large: Option<Large>,
}

/// The table once the first is full: all nodes, and slots that are a power of two and at least twice as many.
#[cfg(feature = "alloc")]
#[derive(Debug)]
struct Large {
    nodes: alloc::vec::Vec<Node>,
    slots: alloc::vec::Vec<u16>,
}

impl Compressor {
    pub(super) const fn new() -> Self {
        Self {
            used: 0,
            nodes: [Node { word: 0, hash: 0, offset: 0, parent: 0 }; NODES_INLINE],
            slots: [0; SLOTS_INLINE],
            #[cfg(feature = "alloc")]
            large: None,
        }
    }

    /// How many nodes there are, to come back to by [`Compressor::forget`].
    pub(super) const fn mark(&self) -> usize {
        self.used
    }

    /// Removes the nodes made since `mark`, the last first: no later one was placed past an earlier one's slot, so
    /// emptying the slots breaks no probe sequence.
    pub(super) fn forget(&mut self, mark: usize) {
        while self.used > mark {
            let number = self.used;
            let node = self.node(number);
            for probe in 0..PROBES_MAX {
                let slot = self.slot(node.hash, probe);
                if self.at(slot) == number {
                    self.put(slot, 0);
                    break;
                }
            }
            #[cfg(feature = "alloc")]
            if let Some(large) = &mut self.large {
                large.nodes.pop();
            }
            self.used -= 1;
        }
    }

    /// The node of a label before the suffix `parent`; `None` where it is not known.
    #[inline]
    pub(super) fn find(&self, message: &[u8], label: &Folded<'_>, parent: usize) -> Option<usize> {
        let hash = label.hash(parent);
        for probe in 0..PROBES_MAX {
            let number = self.at(self.slot(hash, probe));
            if number == 0 {
                return None;
            }
            let node = self.node(number);
            if node.word == label.word
                && usize::from(node.parent) == parent
                && label.tail_stands(message, node.offset)
            {
                return Some(number);
            }
        }
        None
    }

    /// Notes that a label stands at `offset` before the suffix `parent`; `None` where that cannot be pointed to.
    #[inline]
    pub(super) fn insert(&mut self, label: &Folded<'_>, parent: usize, offset: usize) -> Option<usize> {
        if offset > POINTER_MAX || !self.has_room() {
            return None;
        }
        let hash = label.hash(parent);
        for probe in 0..PROBES_MAX {
            let slot = self.slot(hash, probe);
            if self.at(slot) == 0 {
                self.push(Node { word: label.word, hash, offset: offset as u16, parent: parent as u16 });
                self.put(slot, self.used);
                return Some(self.used);
            }
        }
        None
    }

    /// Room for one node more, made if there is none.
    #[inline]
    fn has_room(&mut self) -> bool {
        #[cfg(feature = "alloc")]
        if let Some(large) = &self.large {
            return large.slots.len() >= 2 * (self.used + 1) || self.grow();
        }
        self.used < NODES_INLINE || self.grow()
    }

    /// Where the suffix `number` stands.
    #[inline]
    pub(super) fn offset(&self, number: usize) -> u16 {
        self.node(number).offset
    }

    #[cfg(not(feature = "alloc"))]
    const fn grow(&mut self) -> bool {
        false
    }

    /// A table of twice the slots; false at the largest.
    #[cfg(feature = "alloc")]
    #[cold]
    fn grow(&mut self) -> bool {
        if self.large.as_ref().map_or(0, |large| large.nodes.len()) >= NODES_MAX {
            return false;
        }
        let (nodes, slots) = match self.large.take() {
            Some(large) => (large.nodes, large.slots.len() * 2),
            None => (self.nodes.to_vec(), 4 * SLOTS_INLINE),
        };
        let mut table = Large { nodes, slots: alloc::vec![0; slots] };
        for (number, node) in (1_u16..).zip(&table.nodes) {
            let free = (0..PROBES_MAX)
                .map(|probe| place(node.hash, probe, slots))
                .find(|slot| table.slots[*slot] == 0);
            // A node without a slot stays as a parent but is not found: compression is lost, nothing else.
            if let Some(slot) = free {
                table.slots[slot] = number;
            }
        }
        self.large = Some(table);
        true
    }

    #[inline]
    fn node(&self, number: usize) -> Node {
        #[cfg(feature = "alloc")]
        if let Some(large) = &self.large {
            return large.nodes[number - 1];
        }
        self.nodes[number - 1]
    }

    #[inline]
    fn push(&mut self, node: Node) {
        #[cfg(feature = "alloc")]
        if let Some(large) = &mut self.large {
            large.nodes.push(node);
            self.used += 1;
            return;
        }
        self.nodes[self.used] = node;
        self.used += 1;
    }

    #[inline]
    fn slot(&self, hash: u32, probe: usize) -> usize {
        #[cfg(feature = "alloc")]
        if let Some(large) = &self.large {
            return place(hash, probe, large.slots.len());
        }
        place(hash, probe, SLOTS_INLINE)
    }

    #[inline]
    fn at(&self, slot: usize) -> usize {
        #[cfg(feature = "alloc")]
        if let Some(large) = &self.large {
            return large.slots[slot].into();
        }
        self.slots[slot].into()
    }

    #[inline]
    fn put(&mut self, slot: usize, number: usize) {
        #[cfg(feature = "alloc")]
        if let Some(large) = &mut self.large {
            large.slots[slot] = number as u16;
            return;
        }
        self.slots[slot] = number as u8;
    }
}

/// The slot of the `probe`th try; `slots` is a power of two.
#[inline]
const fn place(hash: u32, probe: usize, slots: usize) -> usize {
    (hash as usize + probe) & (slots - 1)
}

/// A label behind its length, ready to be looked up.
#[derive(Debug)]
pub(super) struct Folded<'w> {
    word: u64,
    /// What follows the first eight octets.
    tail: &'w [u8],
}

impl<'w> Folded<'w> {
    /// The label whose length octet stands at `start` of a name in wire format that was checked.
    #[inline]
    pub(super) fn new(wire: &'w [u8], start: usize) -> Self {
        let octets = 1 + usize::from(wire[start]);
        let rest = &wire[start..];
        let word = match (rest.first_chunk::<8>(), wire.last_chunk::<8>()) {
            (Some(word), _) => u64::from_le_bytes(*word),
            // Near the end of the name: the last eight octets, moved down.
            (None, Some(word)) => u64::from_le_bytes(*word) >> (8 * (8 - rest.len())),
            (None, None) => {
                let mut word = [0; 8];
                word[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(word)
            }
        };
        let mask = if octets < 8 { (1 << (8 * octets)) - 1 } else { u64::MAX };
        Self { word: lower_word(word & mask), tail: rest.get(8..octets).unwrap_or_default() }
    }

    #[inline]
    fn hash(&self, parent: usize) -> u32 {
        const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut state = (self.word ^ (parent as u64).wrapping_mul(MIX)).wrapping_mul(MIX);
        if !self.tail.is_empty() {
            // The last octets tell apart what begins alike; what lies between does not count.
            let mut last = [0; 8];
            let from = self.tail.len().saturating_sub(8);
            last[..self.tail.len() - from].copy_from_slice(&self.tail[from..]);
            state = (state ^ state >> 29 ^ lower_word(u64::from_le_bytes(last))).wrapping_mul(MIX);
        }
        (state >> 32) as u32
    }

    /// Whether what follows the first eight octets stands at `offset` too.
    #[inline]
    fn tail_stands(&self, message: &[u8], offset: u16) -> bool {
        let from = usize::from(offset) + 8;
        self.tail.is_empty()
            || message
                .get(from..from + self.tail.len())
                .is_some_and(|there| there.eq_ignore_ascii_case(self.tail))
    }
}
