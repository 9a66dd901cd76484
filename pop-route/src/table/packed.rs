//! Entries of as many bits as they need, side by side.
//!
//! A full table has a million entries: at 32 bits each they are most of its memory, and few need them. Width is what
//! the largest entry asks for. Where the distinct entries are few (a map of some hundred sites), entries are numbers
//! in a dictionary instead, which is small enough to stay in the nearest caches.

/// The widest entries for which a dictionary is looked into: marking which of them occur takes 32 KiB.
const DICTIONARY_BITS_MAX: u32 = 18;
/// A load of eight bytes that begins at the last entry must not pass the end.
const PADDING: usize = 8;

/// A sequence of numbers, packed.
#[derive(Debug, Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    width: u32,
    mask: u32,
    /// What the packed numbers stand for; empty where they stand for themselves.
    dictionary: Vec<u32>,
}

impl Packed {
    /// Packs these as numbers in a dictionary, if that spares an eighth at least: it costs a further load. O(n).
    pub(super) fn coded(entries: &[u32]) -> Option<Self> {
        let width = width_of(entries.iter().copied().max().unwrap_or(0));
        if width > DICTIONARY_BITS_MAX {
            return None;
        }
        let dictionary = distinct(entries, width);
        let coded = width_of(dictionary.len().saturating_sub(1) as u32);
        let bits = entries.len() * coded as usize + dictionary.len() * 32;
        (bits < entries.len() * width as usize / 8 * 7).then(|| {
            let codes = encode(entries, &dictionary, width);
            Self { dictionary, ..Self::of_width(&codes, coded) }
        })
    }

    /// Packs these. O(n).
    pub(super) fn new(entries: &[u32]) -> Self {
        Self::of_width(entries, width_of(entries.iter().copied().max().unwrap_or(0)))
    }

    fn of_width(numbers: &[u32], width: u32) -> Self {
        let mask = if width == 32 { u32::MAX } else { (1 << width) - 1 };
        Self { bytes: pack(numbers, width), width, mask, dictionary: Vec::new() }
    }

    /// Becomes equal to another one, with the allocations that it has.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.bytes.clone_from(&other.bytes);
        self.dictionary.clone_from(&other.dictionary);
        (self.width, self.mask) = (other.width, other.mask);
    }

    /// One of them.
    #[inline]
    pub(super) fn get<const CODED: bool>(&self, index: u32) -> u32 {
        debug_assert_eq!(CODED, !self.dictionary.is_empty());
        let bit = index as usize * self.width as usize;
        let bytes = self.bytes.get(bit / 8..bit / 8 + PADDING).and_then(<[u8]>::first_chunk);
        // At most 32 bits from one of eight places in a byte: 39 of 64.
        let word = bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let number = (word >> (bit % 8)) as u32 & self.mask;
        if CODED { self.dictionary[number as usize] } else { number }
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.dictionary.capacity() * size_of::<u32>()
    }
}

/// Bits that a number needs; one at least.
const fn width_of(number: u32) -> u32 {
    let bits = 32 - number.leading_zeros();
    if bits == 0 { 1 } else { bits }
}

/// The distinct ones among numbers of `width` bits, in order.
fn distinct(entries: &[u32], width: u32) -> Vec<u32> {
    let mut occurs = vec![0_u64; (1_usize << width).div_ceil(64)];
    for &entry in entries {
        occurs[entry as usize / 64] |= 1 << (entry % 64);
    }
    let numbers =
        (0..1_u32 << width).filter(|&number| occurs[number as usize / 64] & 1 << (number % 64) != 0);
    let mut distinct: Vec<u32> = numbers.collect();
    distinct.shrink_to_fit();
    distinct
}

/// The places of entries in the dictionary.
fn encode(entries: &[u32], dictionary: &[u32], width: u32) -> Vec<u32> {
    let mut codes = vec![0_u32; 1 << width];
    for (code, &entry) in (0..).zip(dictionary) {
        codes[entry as usize] = code;
    }
    entries.iter().map(|&entry| codes[entry as usize]).collect()
}

fn pack(entries: &[u32], width: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((entries.len() * width as usize).div_ceil(32) * 4 + PADDING);
    let (mut word, mut filled) = (0_u64, 0);
    for &entry in entries {
        word |= u64::from(entry) << filled;
        filled += width;
        if filled >= 32 {
            bytes.extend_from_slice(&(word as u32).to_le_bytes());
            word >>= 32;
            filled -= 32;
        }
    }
    if filled > 0 {
        bytes.extend_from_slice(&(word as u32).to_le_bytes());
    }
    bytes.extend_from_slice(&[0; PADDING]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(entries: Vec<u32>) -> Packed {
        let packed = Packed::new(&entries);
        let coded = Packed::coded(&entries);
        for (index, &entry) in (0..).zip(&entries) {
            assert_eq!(packed.get::<false>(index), entry, "{index} of width {}", packed.width);
            assert!(coded.as_ref().is_none_or(|coded| coded.get::<true>(index) == entry), "{index}");
        }
        coded.unwrap_or(packed)
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(bits in 0_u32..=32, entries in prop::collection::vec(any::<u32>(), 0..300)) {
            let mask = u32::MAX.checked_shr(32 - bits).unwrap_or(0);
            check(entries.into_iter().map(|entry| entry & mask).collect());
        }
    }

    #[test]
    fn few_distinct_ones_get_a_dictionary_and_wide_ones_take_their_bits() {
        let few: Vec<u32> = (0..10_000).map(|index| (index % 9) * 7_000).collect();
        let packed = check(few);
        assert_eq!((packed.width, packed.dictionary.len()), (4, 9));
        assert!(packed.memory_bytes() < 10_000 * 4 / 8 + 64);
        let many = check((0..10_000).map(|index| index * 400_000).collect());
        assert_eq!((many.width, many.dictionary.len()), (32, 0));
        assert_eq!(check(vec![0; 5]).width, 1);
        assert_eq!(check(Vec::new()).memory_bytes(), PADDING);
    }
}
