//! What is remembered of keys that went: fingerprints, in buckets of one cache line.
//!
//! A word is `fingerprint 12 | frequency 4 | epoch 4 | by 2 (0: empty) | stamp 10`. A false fingerprint costs one
//! wrong guess at a frequency; with sixteen ways of twelve bits that befalls four misses in a thousand.

/// Who dropped it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// The window: it lost its contest.
    Window = 1,
    /// MAIN: it was the victim of another's contest, or MAIN had to shrink.
    Main = 2,
    /// The window, at a tie: a larger MAIN would have kept it as well as a larger window, so it speaks for neither.
    Tie = 3,
}

/// What the history knows of a key.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// How often it was asked for, when it went.
    pub frequency: u8,
    /// Epochs since.
    pub epochs: u64,
    /// Who dropped it.
    pub by: By,
    /// How many the same queue dropped since, about.
    pub drops: u64,
}

const WAYS: usize = 16;
/// The fewest words: a cache of ten entries sees no more of its load than one of a hundred would have to.
const WORDS_MIN: u64 = 512;
/// Words for each entry. One would cost 0.3 points of hit ratio, more than two gains nothing.
const WORDS_PER_ENTRY: u64 = 2;
/// Stamps are in parts of the entries: ten bits reach back sixteen times the entries.
const STAMP_PARTS: u64 = 64;
const STAMP_MASK: u32 = (1 << 10) - 1;

/// Fingerprints of keys that went.
#[derive(Debug)]
pub struct History {
    buckets: Vec<[u32; WAYS]>,
    /// By the window, and by MAIN.
    drops: [u64; 2],
    stride: u64,
    random: u64,
}

impl History {
    /// For a cache of about this many entries.
    #[must_use]
    pub fn new(entries: u64) -> Self {
        let words = (WORDS_PER_ENTRY * entries).max(WORDS_MIN);
        Self {
            buckets: vec![[0; WAYS]; words.div_ceil(WAYS as u64) as usize],
            drops: [0; 2],
            stride: entries.div_ceil(STAMP_PARTS),
            random: 1,
        }
    }

    fn place(&self, key: u64) -> (usize, u32) {
        let hash = key.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let hash = (hash ^ hash >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let hash = hash ^ hash >> 32;
        let bucket = (u128::from(hash) * self.buckets.len() as u128) >> 64;
        (bucket as usize, hash as u32 & 0xFFF)
    }

    fn stamp(&self, by: By) -> u32 {
        (self.drops[usize::from(by == By::Main)] / self.stride) as u32 & STAMP_MASK
    }

    /// Remembers a key: in an empty way, else in a random one. The age of those there makes no difference.
    pub fn put(&mut self, key: u64, frequency: u8, epoch: u64, by: By) {
        self.drops[usize::from(by == By::Main)] += 1;
        let (bucket, fingerprint) = self.place(key);
        let word = fingerprint << 20
            | u32::from(frequency & 15) << 16
            | (epoch as u32 & 15) << 12
            | (by as u32) << 10
            | self.stamp(by);
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bucket = &mut self.buckets[bucket];
        let way = bucket.iter().position(|&word| word == 0).unwrap_or((self.random >> 60) as usize);
        bucket[way] = word;
    }

    /// What is known of a key; it is forgotten then.
    pub fn take(&mut self, key: u64, epoch: u64) -> Option<Known> {
        let (bucket, fingerprint) = self.place(key);
        let mut ways = self.buckets[bucket].iter_mut();
        let word = std::mem::take(ways.find(|word| **word != 0 && **word >> 20 == fingerprint)?);
        let by = match word >> 10 & 3 {
            1 => By::Window,
            2 => By::Main,
            _ => By::Tie,
        };
        Some(Known {
            frequency: (word >> 16 & 15) as u8,
            epochs: u64::from((epoch as u32).wrapping_sub(word >> 12) & 15),
            by,
            drops: u64::from(self.stamp(by).wrapping_sub(word) & STAMP_MASK) * self.stride,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_once() {
        let mut history = History::new(1000);
        history.put(7, 5, 18, By::Main);
        (0..100).for_each(|other| history.put(1000 + other, 1, 18, By::Main));
        let known = history.take(7, 20).expect("put before");
        assert_eq!((known.frequency, known.epochs, known.by), (5, 2, By::Main));
        assert!(known.drops.abs_diff(100) <= 32, "{known:?}");
        assert!(history.take(7, 20).is_none());
    }

    #[test]
    fn a_full_history_forgets_and_does_not_grow() {
        let mut history = History::new(100);
        (0..100_000).for_each(|key| history.put(key, 1, 0, By::Window));
        let remembered = (0..100_000).filter(|&key| history.take(key, 0).is_some()).count();
        assert!(remembered <= 512 * 40, "at most a word each, and false fingerprints");
        assert!(history.buckets.len() == 32);
    }
}
