//! Name compression (RFC 1035 §4.1.4) in time linear in the names written.
//!
//! The suffixes written so far form a tree: the root of the DNS at its root, one node a label, each with the hash of
//! the suffix that begins with it. A name is looked up as a whole, then without its first label, and so on: mostly the
//! first probe finds all of it. What was found becomes a pointer, what was not is written and becomes nodes.
//!
//! ```text
//! word(label)   = the length and the first seven octets, zeros behind a shorter one
//! weight(label) = word, bit 5 of each octet set so that case makes no difference; mixed with the last octets of a long one
//! sum(name)     = weight(first label) + M * sum(rest)     so sum(rest) = (sum(name) - weight(first label)) / M
//! ```
//!
//! M is odd, hence has an inverse modulo 2^64: one pass gives the sum of the name, and one product that of each further
//! suffix. A sum proves nothing, so a hit is walked up the tree label by label. Chosen collisions cost at most
//! [`PROBES_MAX`] slots a suffix and [`Spelled::steps_max`] labels a name, and then compression, not time: nothing is
//! quadratic.

use super::spelled::Spelled;

/// Nodes held without an allocator; without `alloc` these are all.
const NODES_INLINE: usize = 32;
/// Slots of the first table, a power of two.
const SLOTS_INLINE: usize = 64;
/// Slots looked at before a label counts as unknown.
const PROBES_MAX: usize = 24;
/// The factor of the hash, and its inverse modulo 2^64.
pub(super) const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
const INVERSE: u64 = inverse(FACTOR);
/// A pointer has 14 bits.
const POINTER_MAX: usize = 0x3FFF;
/// Nodes of the largest table: what can be pointed to has labels of two octets at least.
#[cfg(feature = "alloc")]
const NODES_MAX: usize = POINTER_MAX / 2;

const _: () = assert!(FACTOR.wrapping_mul(INVERSE) == 1);

/// The inverse of an odd number modulo 2^64: Newton's iteration doubles the bits that are right, from three.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut bits = 3;
    while bits < 64 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

/// A suffix that stands in the message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Node {
    /// The word of its first label, as it is spelled.
    pub(super) word: u64,
    /// Of the suffix.
    hash: u32,
    /// Where its first label stands.
    pub(super) offset: u16,
    /// The node of the rest, plus one; 0 is the root of the DNS.
    pub(super) parent: u16,
}

/// The suffixes that may be pointed to.
#[derive(Debug)]
pub(super) struct Compressor {
    used: usize,
    nodes: [Node; NODES_INLINE],
    slots: [u16; SLOTS_INLINE],
    #[cfg(feature = "alloc")]
    large: Option<Large>,
}

/// The tables once the first are full: as many nodes as there is room for, and twice as many slots, a power of two.
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
        let used = self.used;
        self.used = used.min(mark);
        let (nodes, slots) = self.tables_mut();
        for number in (mark + 1..=used).rev() {
            let hash = nodes[number - 1].hash;
            // A node for which a grown table had no slot has none to empty.
            let mut places = (0..PROBES_MAX).map(|probe| place(hash, probe, slots.len()));
            if let Some(slot) = places.find(|&slot| usize::from(slots[slot]) == number) {
                slots[slot] = 0;
            }
        }
    }

    /// Forgets every suffix that stands at `end` of the message or behind. No name stands on both sides of it, so the
    /// nodes before it were made first.
    pub(super) fn forget_from(&mut self, end: usize) {
        let first = self.tables().0[..self.used].partition_point(|node| usize::from(node.offset) < end);
        self.forget(first);
    }

    /// Where the suffix `number` stands.
    #[inline]
    pub(super) fn offset(&self, number: u16) -> u16 {
        self.tables().0[usize::from(number) - 1].offset
    }

    /// The longest suffix of `name` that stands in `message`.
    #[inline(always)]
    pub(super) fn find(&self, name: &Spelled<'_>, message: &[u8]) -> Found {
        let (nodes, slots) = self.tables();
        if self.used == 0 {
            return name.unknown();
        }
        let mut found = Found { label: 0, node: 0, sum: name.sum };
        let mut steps = name.steps_max();
        while found.label < name.labels {
            let hash = finish(found.sum);
            for probe in 0..PROBES_MAX {
                let number = slots[place(hash, probe, slots.len())];
                let Some(node) = nodes.get(usize::from(number).wrapping_sub(1)) else { break };
                if node.hash == hash && name.stands(found.label, number, nodes, message, &mut steps) {
                    found.node = number;
                    return found;
                }
            }
            found.sum = found.sum.wrapping_sub(name.weight(found.label)).wrapping_mul(INVERSE);
            found.label += 1;
        }
        found
    }

    /// Notes the labels of `name` before what was found; the name begins at `base` of the message. Returns the node of
    /// the whole name; `None` where it cannot be pointed to.
    #[inline(always)]
    pub(super) fn insert(&mut self, name: &Spelled<'_>, found: Found, base: usize) -> Option<u16> {
        let Found { label: unknown, node: mut parent, mut sum } = found;
        while self.used + unknown > self.tables().0.len() {
            if !self.grow() {
                return None;
            }
        }
        let mut used = self.used;
        let (nodes, slots) = self.tables_mut();
        let mut whole = true;
        for label in (0..unknown).rev() {
            sum = sum.wrapping_mul(FACTOR).wrapping_add(name.weight(label));
            let (hash, offset) = (finish(sum), base + name.start(label));
            let mut places = (0..PROBES_MAX).map(|probe| place(hash, probe, slots.len()));
            let slot = places.find(|&slot| slots[slot] == 0).filter(|_| offset <= POINTER_MAX);
            let Some(slot) = slot else {
                whole = false;
                break;
            };
            nodes[used] = Node { word: name.word(label), hash, offset: offset as u16, parent };
            used += 1;
            parent = used as u16;
            slots[slot] = parent;
        }
        self.used = used;
        whole.then_some(parent)
    }

    /// All nodes, those in use first, and the slots.
    #[inline]
    fn tables(&self) -> (&[Node], &[u16]) {
        #[cfg(feature = "alloc")]
        if let Some(large) = &self.large {
            return (&large.nodes, &large.slots);
        }
        (&self.nodes, &self.slots)
    }

    #[inline]
    fn tables_mut(&mut self) -> (&mut [Node], &mut [u16]) {
        #[cfg(feature = "alloc")]
        if let Some(large) = &mut self.large {
            return (&mut large.nodes, &mut large.slots);
        }
        (&mut self.nodes, &mut self.slots)
    }

    #[cfg(not(feature = "alloc"))]
    const fn grow(&mut self) -> bool {
        false
    }

    /// Tables of four times the size; false at the largest.
    #[cfg(feature = "alloc")]
    #[cold]
    fn grow(&mut self) -> bool {
        let (nodes, _) = self.tables();
        if nodes.len() >= NODES_MAX {
            return false;
        }
        let room = nodes.len() * 4;
        let mut large = Large { nodes: alloc::vec![Node::default(); room], slots: alloc::vec![0; 2 * room] };
        large.nodes[..self.used].copy_from_slice(&nodes[..self.used]);
        for (number, node) in (1_u16..).zip(&nodes[..self.used]) {
            let mut places = (0..PROBES_MAX).map(|probe| place(node.hash, probe, large.slots.len()));
            // A node without a slot stays as a parent but is not found: compression is lost, nothing else.
            if let Some(slot) = places.find(|&slot| large.slots[slot] == 0) {
                large.slots[slot] = number;
            }
        }
        self.large = Some(large);
        true
    }
}

/// The longest suffix of a name that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The label with which it begins: the number of labels if none of them is known.
    pub(super) label: usize,
    /// Its node, plus one; 0 is the root of the DNS.
    pub(super) node: u16,
    pub(super) sum: u64,
}

/// The slot of the `probe`th try; `slots` is a power of two.
#[inline]
const fn place(hash: u32, probe: usize, slots: usize) -> usize {
    (hash as usize + probe) & (slots - 1)
}

/// The upper bits of a product depend on all bits of the sum.
#[inline]
const fn finish(sum: u64) -> u32 {
    ((sum ^ sum >> 32).wrapping_mul(FACTOR) >> 32) as u32
}
