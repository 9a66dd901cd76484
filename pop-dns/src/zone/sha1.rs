//! SHA-1 (FIPS 180-4), which NSEC3 takes over names (RFC 5155 §5). Nothing here is secret.

const ROUNDS: [(usize, u32); 4] = [(0, 0x5A82_7999), (20, 0x6ED9_EBA1), (40, 0x8F1B_BCDC), (60, 0xCA62_C1D6)];

/// The digest of `parts`, one behind the other; 300 octets at most.
pub(super) fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut input = [0_u8; 320 + 64];
    let mut octets = 0;
    for part in parts {
        input[octets..octets + part.len()].copy_from_slice(part);
        octets += part.len();
    }
    input[octets] = 0x80;
    let whole = (octets + 9).next_multiple_of(64);
    input[whole - 8..whole].copy_from_slice(&(octets as u64 * 8).to_be_bytes());
    let mut state = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    for block in input[..whole].as_chunks::<64>().0 {
        compress(&mut state, block);
    }
    let mut digest = [0; 20];
    for (octets, word) in digest.chunks_exact_mut(4).zip(state) {
        octets.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn compress(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut words = [0_u32; 80];
    for (word, octets) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*octets);
    }
    for index in 16..80 {
        words[index] =
            (words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (first, constant) in ROUNDS {
        for word in &words[first..first + 20] {
            let mixed = match first {
                0 => b & c | !b & d,
                40 => b & c | b & d | c & d,
                _ => b ^ c ^ d,
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d, e]) {
        *old = old.wrapping_add(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digest: [u8; 20]) -> String {
        digest.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// FIPS 180-2 appendix A, and the lengths around a block.
    #[test]
    fn known_digests() {
        assert_eq!(hex(sha1(&[b"a", b"bc"])), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(sha1(&[b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"])),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        );
        assert_eq!(hex(sha1(&[])), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(sha1(&[&[b'a'; 55]])), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
        assert_eq!(hex(sha1(&[&[b'a'; 64]])), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
    }
}
