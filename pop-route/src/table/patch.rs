//! An IPv4 trie under change: each prefix that comes or goes is painted over the runs it covers.
//!
//! ```text
//! insert p:  every leaf inside p whose match is not longer than p's becomes p's
//! remove p:  the same, with the leaf of the prefix around p: what is longer than p stays, nothing shorter is there
//!
//! direct slot   a leaf is painted; a node is painted within
//! node          the runs that p touches, and their two neighbours, are cut at p's ends, painted, merged again and
//!               spliced back; a node of one run goes, and its leaf takes its place
//! ```
//!
//! So a change costs what it touches: some hundred nanoseconds for a /24, more for what covers many networks. Nodes are
//! the inline ones that readers use, in rooms of a few words more than they need, so that most changes stay in place;
//! a room that is left waits in a list for the next node of its size. Publishing copies both arrays as they are.

use super::nodes::{Begins, HEADER_WORDS, NODE_BITS, Nodes, begins, header, run_of};
use super::trie::{DIRECT_BITS, Kind, Leaf, Trie, is_leaf, tag_bits, tagged};
use super::word::Word;

/// Runs come in rooms of a multiple of this.
const ROOM_RUNS: usize = 4;
/// Sizes of rooms; a node has 256 runs at most.
const ROOMS: usize = (1 << NODE_BITS) / ROOM_RUNS;
/// Free rooms may take a quarter of all words and this many (a quarter of a mebibyte) before they are squeezed out.
const FREE_WORDS_MIN: usize = 1 << 16;
/// An entry names a place in 26 bits. One change can at worst move every node, so half of that is the limit.
pub(super) const PATCH_WORDS_MAX: usize = 1 << 25;

/// The trie.
#[derive(Debug)]
pub(super) struct PatchedTrie {
    direct: Vec<u32>,
    words: Vec<u32>,
    /// Places of free rooms, by size.
    free: Vec<Vec<u32>>,
    free_words: usize,
    words_max: usize,
    /// The runs that are being spliced in: first slot and entry.
    runs: Vec<(u32, u32)>,
}

impl PatchedTrie {
    /// From a trie that was [built to be patched](super::TrieBuilder::build_to_patch). `None` if that is larger than
    /// `words_max`.
    pub(super) fn new(mut trie: Trie, words_max: usize) -> Option<Self> {
        trie.direct.resize(1 << DIRECT_BITS, 0);
        let mut patched = Self {
            direct: trie.direct,
            words: core::mem::take(trie.nodes.words()),
            free: vec![Vec::new(); ROOMS + 1],
            free_words: 0,
            words_max,
            runs: Vec::new(),
        };
        patched.squeeze();
        patched.has_room().then_some(patched)
    }

    /// Whether it may be changed further.
    pub(super) fn has_room(&self) -> bool {
        self.words.len() <= self.words_max
    }

    /// The leaf at an address.
    pub(super) fn find(&self, address: u32) -> Leaf {
        let (mut entry, mut depth) = (self.direct[address.take(0, DIRECT_BITS) as usize], DIRECT_BITS);
        while !is_leaf::<u32>(entry) {
            let run = run_of(&self.words[place_of(entry)..], address.take(depth, NODE_BITS));
            entry = self.words[place_of(entry) + HEADER_WORDS + run];
            depth += NODE_BITS;
        }
        Leaf::of::<u32>(entry)
    }

    /// Paints the block of `length` bits around `first`. What is matched longer stays.
    pub(super) fn paint(&mut self, first: u32, length: u8, mark: u32) {
        debug_assert!(is_leaf::<u32>(mark) && first.last_of(length) >= first);
        let slots = first.take(0, DIRECT_BITS)..=first.last_of(length).take(0, DIRECT_BITS);
        for slot in slots {
            let entry = self.direct[slot as usize];
            self.direct[slot as usize] = self.painted(entry, DIRECT_BITS, first, length, mark);
        }
        if self.free_words > self.words.len() / 4 + FREE_WORDS_MIN || !self.has_room() && self.free_words > 0
        {
            self.squeeze();
        }
    }

    /// What stands for a block of `depth` bits after painting; the painted block is inside of it or around it.
    fn painted(&mut self, entry: u32, depth: u8, first: u32, length: u8, mark: u32) -> u32 {
        if is_leaf::<u32>(entry) {
            // One leaf can be of several networks side by side, of which only one is painted.
            let painted = repainted(entry, length, mark);
            if length <= depth || painted == entry {
                return painted;
            }
            let mut begins = Begins::default();
            begins[0] = 1;
            let place = self.room(1);
            self.words[place..place + HEADER_WORDS].copy_from_slice(&header(&begins));
            self.words[place + HEADER_WORDS] = entry;
            return self.paint_node(place, depth, first, length, mark);
        }
        self.paint_node(place_of(entry), depth, first, length, mark)
    }

    /// Paints within the node of a block of `depth` bits, and tells the entry that names it then, or the leaf that is
    /// left of it.
    fn paint_node(&mut self, place: usize, depth: u8, first: u32, length: u8, mark: u32) -> u32 {
        let below = depth + NODE_BITS;
        if length > below {
            // Inside of one slot.
            let slot = first.take(depth, NODE_BITS);
            let entry = self.words[place + HEADER_WORDS + run_of(&self.words[place..], slot)];
            let painted = self.painted(entry, below, first, length, mark);
            return if painted == entry {
                tagged::<u32>(Kind::Node, place as u32)
            } else {
                self.splice(place, slot, slot, |_| painted)
            };
        }
        let (from, to) = if length <= depth {
            (0, u8::MAX.into())
        } else {
            (first.take(depth, NODE_BITS), first.last_of(length).take(depth, NODE_BITS))
        };
        // Nodes below first: they may move, or end as a leaf, which the splice merges.
        let begins = self.begins(place);
        for run in rank(&begins, from) - 1..rank(&begins, to) {
            let entry = self.words[place + HEADER_WORDS + run];
            if !is_leaf::<u32>(entry) {
                self.words[place + HEADER_WORDS + run] =
                    self.paint_node(place_of(entry), below, first, length, mark);
            }
        }
        self.splice(place, from, to, |entry| repainted(entry, length, mark))
    }

    /// Puts other entries into the slots `from..=to`, merges what became equal, and tells the entry for the node.
    fn splice(&mut self, place: usize, from: u32, to: u32, new: impl Fn(u32) -> u32) -> u32 {
        let mut begins = self.begins(place);
        let count = ones(&begins);
        let entry = |words: &[u32], run: usize| words[place + HEADER_WORDS + run];
        // The runs `cut.0..cut.1` are to be replaced: those that are touched, and a neighbour on each side.
        let mut run = rank(&begins, from) - 1;
        let mut cut = (run, 0);
        self.runs.clear();
        let first = last_begin(&begins, from);
        if first < from {
            self.runs.push((first, entry(&self.words, run)));
        } else if run > 0 {
            cut.0 = run - 1;
            self.runs.push((last_begin(&begins, from - 1), entry(&self.words, run - 1)));
        }
        let mut slot = from;
        let next = loop {
            let old = entry(&self.words, run);
            push_run(&mut self.runs, slot, new(old));
            let next = next_begin(&begins, slot);
            if next > to {
                break next;
            }
            (slot, run) = (next, run + 1);
        };
        cut.1 = run + 1;
        if to + 1 < next {
            push_run(&mut self.runs, to + 1, entry(&self.words, run));
        } else if cut.1 < count {
            push_run(&mut self.runs, to + 1, entry(&self.words, cut.1));
            cut.1 += 1;
        }
        set_begins(&mut begins, &self.runs, to + 1);
        self.replace(place, count, cut, &begins)
    }

    /// Replaces the runs `cut.0..cut.1` of the `count` of a node by those that are ready.
    fn replace(&mut self, place: usize, count: usize, cut: (usize, usize), begins: &Begins) -> u32 {
        let (kept, tail) = (cut.0, count - cut.1);
        let after = kept + self.runs.len() + tail;
        debug_assert_eq!(after, ones(begins));
        if after == 1 && is_leaf::<u32>(self.runs[0].1) {
            self.leave(place, count);
            return self.runs[0].1;
        }
        let entries = place + HEADER_WORDS;
        let to = if rooms(after) == rooms(count) { place } else { self.room(after) };
        let moved = to + HEADER_WORDS;
        if to != place {
            self.words.copy_within(entries..entries + kept, moved);
        }
        let end = moved + kept + self.runs.len();
        self.words.copy_within(entries + cut.1..entries + count, end);
        for (word, &(_, entry)) in self.words[moved + kept..end].iter_mut().zip(&self.runs) {
            *word = entry;
        }
        self.words[to..moved].copy_from_slice(&header(begins));
        if to != place {
            self.leave(place, count);
        }
        tagged::<u32>(Kind::Node, to as u32)
    }

    fn begins(&self, place: usize) -> Begins {
        self.words[place..].first_chunk().map(begins).expect("a node begins with its header")
    }

    /// A room for a node of this many runs.
    fn room(&mut self, runs: usize) -> usize {
        let rooms = rooms(runs);
        if let Some(place) = self.free[rooms].pop() {
            self.free_words -= words_of(rooms);
            return place as usize;
        }
        let (place, words) = (self.words.len(), words_of(rooms));
        if self.words.capacity() - place < words {
            // An eighth is enough to grow by: a table of routes grows slowly.
            self.words.reserve_exact(words.max(place / 8));
        }
        self.words.resize(place + words, 0);
        place
    }

    /// Leaves a room. What stands in it stays there: a reader's batch may look at any header, and then throw it away.
    fn leave(&mut self, place: usize, runs: usize) {
        self.free[rooms(runs)].push(place as u32);
        self.free_words += words_of(rooms(runs));
    }

    /// Lays all nodes out anew, in the order of addresses, without free rooms between them.
    fn squeeze(&mut self) {
        let old = core::mem::take(&mut self.words);
        self.words.reserve_exact(old.len() - self.free_words + old.len() / 16);
        self.free.iter_mut().for_each(Vec::clear);
        self.free_words = 0;
        for slot in 0..self.direct.len() {
            self.direct[slot] = self.moved(&old, self.direct[slot]);
        }
    }

    fn moved(&mut self, old: &[u32], entry: u32) -> u32 {
        if is_leaf::<u32>(entry) {
            return entry;
        }
        let from = place_of(entry);
        let runs = old[from..].first_chunk().map_or(0, |header| ones(&begins(header)));
        let place = self.room(runs);
        let node = HEADER_WORDS + runs;
        self.words[place..place + node].copy_from_slice(&old[from..from + node]);
        for word in place + HEADER_WORDS..place + node {
            self.words[word] = self.moved(old, self.words[word]);
        }
        tagged::<u32>(Kind::Node, place as u32)
    }

    /// Copies it into a trie to read, whose allocations are used again.
    pub(super) fn copy_to(&self, trie: &mut Trie) {
        trie.direct.clone_from(&self.direct);
        let mut words = core::mem::take(trie.nodes.words());
        let wanted = self.words.len();
        if !(wanted..=wanted + wanted / 4 + FREE_WORDS_MIN).contains(&words.capacity()) {
            words = Vec::with_capacity(wanted + wanted / 16);
        }
        words.clone_from(&self.words);
        trie.nodes = Nodes::of_words(words);
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        let free: usize = self.free.iter().map(Vec::capacity).sum();
        (self.direct.capacity() + self.words.capacity() + free) * size_of::<u32>()
    }
}

/// A leaf under paint. Nodes are not painted from here.
fn repainted(entry: u32, length: u8, mark: u32) -> u32 {
    if is_leaf::<u32>(entry) && Leaf::of::<u32>(entry).length <= length { mark } else { entry }
}

fn place_of(entry: u32) -> usize {
    (entry >> tag_bits::<u32>()) as usize
}

fn rooms(runs: usize) -> usize {
    runs.div_ceil(ROOM_RUNS)
}

fn words_of(rooms: usize) -> usize {
    HEADER_WORDS + rooms * ROOM_RUNS
}

fn push_run(runs: &mut Vec<(u32, u32)>, slot: u32, entry: u32) {
    if runs.last().is_none_or(|&(_, last)| last != entry) {
        runs.push((slot, entry));
    }
}

/// Clears the begins from that of the first of these runs to `last`, and sets theirs.
fn set_begins(begins: &mut Begins, runs: &[(u32, u32)], last: u32) {
    let first = runs[0].0;
    for (word, begins) in (0..).zip(begins.iter_mut()) {
        let from = first.saturating_sub(word * 32);
        let to = (last + 1).saturating_sub(word * 32);
        let up_to = |bits: u32| 1_u32.checked_shl(bits).map_or(u32::MAX, |bit| bit - 1);
        *begins &= !(up_to(to) & !up_to(from));
    }
    for &(slot, _) in runs {
        begins[slot as usize / 32] |= 1 << (slot % 32);
    }
}

fn ones(begins: &Begins) -> usize {
    begins.iter().map(|word| word.count_ones() as usize).sum()
}

/// The runs that begin up to and at a slot.
fn rank(begins: &Begins, slot: u32) -> usize {
    let word = slot as usize / 32;
    let within = begins[word] & (u32::MAX >> (31 - slot % 32));
    begins[..word].iter().map(|word| word.count_ones() as usize).sum::<usize>() + within.count_ones() as usize
}

/// Where the run that holds a slot begins. The first slot always begins one.
fn last_begin(begins: &Begins, slot: u32) -> u32 {
    let mut word = slot / 32;
    let mut bits = begins[word as usize] & (u32::MAX >> (31 - slot % 32));
    while bits == 0 {
        word -= 1;
        bits = begins[word as usize];
    }
    word * 32 + 31 - bits.leading_zeros()
}

/// Where the next run after the one that holds a slot begins; 256 behind the last.
fn next_begin(begins: &Begins, slot: u32) -> u32 {
    let mut word = slot / 32;
    let mut bits = begins[word as usize] & (u32::MAX << (slot % 32)) << 1;
    // Shifted twice: by 32 at once would not be zero. The slot's own bit is out.
    while bits == 0 {
        word += 1;
        match begins.get(word as usize) {
            Some(&next) => bits = next,
            None => return 1 << NODE_BITS,
        }
    }
    word * 32 + bits.trailing_zeros()
}
