//! Lower-casing and keyed hashing of names in wire form, eight octets at a time.

/// The key of the hash over names. Whoever keeps names from the network in a table gives that table a key of
/// its own that nobody can guess.
///
/// The hash folds 64×64-bit products, as wyhash and ahash do: quick on short input and, with a secret key, not
/// open to chosen collisions from outside. It is no message authentication code.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 2]);

/// Odd constants with as many ones as zeros (digits of π), so that an all-zero key still mixes.
const PI: [u64; 2] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7345];

impl HashKey {
    /// A key of these 128 bits.
    #[must_use]
    pub const fn new(seed: [u64; 2]) -> Self {
        Self([seed[0] ^ PI[0], seed[1] ^ PI[1]])
    }

    /// A key from the operating system's randomness.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let state = RandomState::new();
        Self::new([state.hash_one(0_u8), state.hash_one(1_u8)])
    }

    /// The hash of a name in **lower-cased**, uncompressed wire form. Names that differ in case only have one
    /// hash only if the caller lower-cases them first, as [`crate::NameBuf::to_lower`] does.
    #[inline]
    #[must_use]
    pub fn hash_wire(&self, lower: &[u8]) -> u64 {
        let mut state = self.0[0] ^ lower.len() as u64;
        let (chunks, rest) = lower.as_chunks::<8>();
        for chunk in chunks {
            state = fold(state ^ u64::from_le_bytes(*chunk), self.0[1]);
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        state = fold(state ^ u64::from_le_bytes(last), self.0[1]);
        fold(state, PI[0])
    }

    /// Where the hashes of names begin that are made label by label: that of the root.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) const fn root(&self) -> u64 {
        self.0[0]
    }

    /// The hash of the suffix that begins at the label `index` of `name`, from that of the suffix behind the label.
    /// So one pass from the root gives the hash of each suffix.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn child(&self, parent: u64, name: &super::LowerName, index: usize) -> u64 {
        let mut at = name.start(index);
        let mut left = name.start(index + 1) - at;
        let mut state = parent;
        while left > 8 {
            state = fold(state ^ name.word(at), self.0[1]);
            (at, left) = (at + 8, left - 8);
        }
        // What lies behind the label is cut off: 1 to 8 octets are left.
        let word = name.word(at) & (u64::MAX >> (64 - 8 * left));
        fold(state ^ word, self.0[1])
    }
}

/// The key stays secret in logs.
impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Lower-cases the letters A to Z of a name in wire form. Lengths are at most 63, below any letter, so the
/// whole name can be treated as one run of octets.
#[inline]
pub(crate) fn lower_in_place(wire: &mut [u8]) {
    let (chunks, rest) = wire.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = lower_word(u64::from_le_bytes(*chunk)).to_le_bytes();
    }
    rest.make_ascii_lowercase();
}

#[inline]
pub(crate) fn lower_word(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xFF;
    let low = word & (0x7F * ONES);
    let above_z = low + (0x7F - b'Z' as u64) * ONES;
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let upper = !word & (from_a ^ above_z) & (0x80 * ONES);
    word | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_lowered_as_its_octets_are() {
        for octet in 0..=255_u8 {
            for lane in 0..8 {
                let mut octets = [b'Q', 0xC1, b'@', b'[', b'Z', b'A', 0x80, b'z'];
                octets[lane] = octet;
                assert_eq!(
                    lower_word(u64::from_le_bytes(octets)).to_le_bytes(),
                    octets.map(|o| o.to_ascii_lowercase())
                );
            }
        }
    }

    #[test]
    fn keys_and_lengths_separate_hashes() {
        let (one, other) = (HashKey::new([1, 2]), HashKey::new([1, 3]));
        assert_ne!(one.hash_wire(b"\x01a\0"), other.hash_wire(b"\x01a\0"));
        assert_ne!(one.hash_wire(b"\x01a\0"), one.hash_wire(b"\x01a\0\0"));
        assert_eq!(one.hash_wire(b"\x03abc\x03def\0"), one.hash_wire(b"\x03abc\x03def\0"));
    }
}
