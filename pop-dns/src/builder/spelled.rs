//! A name that is about to be written: its labels as words, which compare and hash at once.

use super::compress::{FACTOR, Found, Node};
use crate::ParseError;
use crate::name::{LABELS_MAX, NAME_OCTETS_MAX, lower_word};

/// Labels whose words are kept while a name is looked up; those of longer names are read anew.
const WORDS_KEPT: usize = 16;

/// A name ready to be looked up: its labels, their words, and the sum of it all.
#[derive(Debug)]
pub(super) struct Spelled<'w> {
    wire: &'w [u8],
    pub(super) labels: usize,
    pub(super) sum: u64,
    starts: [u8; LABELS_MAX + 1],
    words: [u64; WORDS_KEPT],
}

impl<'w> Spelled<'w> {
    /// No name yet.
    #[inline]
    pub(super) const fn new() -> Self {
        Self { wire: &[0], labels: 0, sum: 0, starts: [0; LABELS_MAX + 1], words: [0; WORDS_KEPT] }
    }

    /// Reads the name at `start` of `message`; false where it ends in a pointer, or in what is no label.
    ///
    /// # Errors
    /// [`ParseError::NameTooLong`].
    #[inline(always)]
    pub(super) fn scan(&mut self, message: &'w [u8], start: usize) -> Result<bool, ParseError> {
        let Some(rest) = message.get(start..) else { return Ok(false) };
        let (mut at, mut labels, mut sum, mut power) = (0, 0, 0_u64, 1_u64);
        loop {
            let Some(word) = first_word(rest, at) else { return Ok(false) };
            let octets = 1 + usize::from(word as u8);
            if octets == 1 {
                break;
            }
            if octets > 64 || octets >= rest.len() - at {
                return Ok(false);
            }
            if at + octets >= NAME_OCTETS_MAX {
                return Err(ParseError::NameTooLong { offset: start });
            }
            let word = cut(word, octets);
            self.starts[labels] = at as u8;
            if let Some(kept) = self.words.get_mut(labels) {
                *kept = word;
            }
            at += octets;
            labels += 1;
            sum = sum.wrapping_add(weight(word, rest, at).wrapping_mul(power));
            power = power.wrapping_mul(FACTOR);
        }
        (self.wire, self.labels, self.sum) = (&rest[..=at], labels, sum);
        Ok(true)
    }

    /// The name in wire format.
    #[inline]
    pub(super) const fn as_wire(&self) -> &'w [u8] {
        self.wire
    }

    /// What is found where nothing of the name is known.
    #[inline]
    pub(super) const fn unknown(&self) -> Found {
        Found { label: self.labels, node: 0, sum: 0 }
    }

    /// Where `label` begins; the root's, which is the last, too.
    #[inline]
    pub(super) fn start(&self, label: usize) -> usize {
        if label < self.labels { self.starts[label].into() } else { self.wire.len() - 1 }
    }

    /// Labels that may be compared to find the longest suffix: a few times all there are.
    pub(super) const fn steps_max(&self) -> usize {
        4 * self.labels + 8
    }

    #[inline]
    pub(super) fn word(&self, label: usize) -> u64 {
        match self.words.get(label) {
            Some(word) => *word,
            None => self.word_anew(label),
        }
    }

    #[cold]
    fn word_anew(&self, label: usize) -> u64 {
        let start = self.starts[label].into();
        cut(first_word(self.wire, start).unwrap_or_default(), 1 + usize::from(self.wire[start]))
    }

    #[inline]
    pub(super) fn weight(&self, label: usize) -> u64 {
        weight(self.word(label), self.wire, self.start(label + 1))
    }

    /// Whether the suffix from `label` on is the one of node `number`. Takes a step for each label that is compared.
    #[inline]
    pub(super) fn stands(
        &self,
        label: usize,
        mut number: u16,
        nodes: &[Node],
        message: &[u8],
        steps: &mut usize,
    ) -> bool {
        for label in label..self.labels {
            let Some(node) = nodes.get(usize::from(number).wrapping_sub(1)) else { return false };
            let word = self.word(label);
            let same = node.word == word || lower_word(node.word) == lower_word(word);
            if !same || *steps == 0 || word as u8 > 7 && !self.long_label_stands(label, message, node.offset)
            {
                return false;
            }
            *steps -= 1;
            number = node.parent;
        }
        number == 0
    }

    /// Whether a label, of which a word does not hold all, stands at `offset` of `message`.
    #[inline]
    fn long_label_stands(&self, label: usize, message: &[u8], offset: u16) -> bool {
        let (start, from) = (usize::from(self.starts[label]), usize::from(offset));
        let octets = 1 + usize::from(self.wire[start]);
        let (here, there) = (&self.wire[start..start + octets], message.get(from..from + octets));
        there.is_some_and(|there| there == here || there.eq_ignore_ascii_case(here))
    }
}

/// Eight octets from `start` on, zeros behind the last; `None` behind the end.
#[inline]
fn first_word(octets: &[u8], start: usize) -> Option<u64> {
    let rest = octets.get(start..)?;
    if let Some(word) = rest.first_chunk() {
        return Some(u64::from_le_bytes(*word));
    }
    let missing = 8 - rest.len();
    match octets.last_chunk() {
        _ if missing == 8 => None,
        // The last eight octets, moved down.
        Some(word) => Some(u64::from_le_bytes(*word) >> (8 * missing)),
        None => Some(rest.iter().rev().fold(0, |word, &octet| word << 8 | u64::from(octet))),
    }
}

/// A word without what lies behind a label of so many octets, its length included.
#[inline]
const fn cut(word: u64, octets: usize) -> u64 {
    if octets < 8 { word & (u64::MAX >> (64 - 8 * octets)) } else { word }
}

/// What a label that ends before `end` adds to the sum: its word without case, mixed with its last eight octets where it
/// has more.
#[inline]
fn weight(word: u64, wire: &[u8], end: usize) -> u64 {
    const CASE: u64 = u64::MAX / 0xFF * 0x20;
    if word as u8 <= 7 {
        return word | CASE;
    }
    let last = wire[..end].last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    (word | CASE) ^ (last | CASE).rotate_left(32).wrapping_mul(FACTOR)
}
