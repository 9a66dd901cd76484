//! Looks at a whole bucket, without branches.

use crate::sync::Ordering;
use crate::table::{Bucket, CARRY, FROZEN, Hash, OCCUPIED, TENTATIVE, WORDS};

pub(super) fn words_of(bucket: &Bucket) -> [u64; WORDS] {
    core::array::from_fn(|index| bucket[index].load(Ordering::SeqCst))
}

/// What a bucket's words say at one look; a bit for each word. Without branches.
pub(super) struct Look {
    /// Nothing is handed over, and no entry went on from here.
    pub(super) is_plain: bool,
    /// They hold an entry with the tag, or one is about to be there.
    pub(super) same: u32,
    /// They remember one.
    pub(super) ghosts: u32,
    pub(super) vacant: u32,
}

impl Look {
    #[inline]
    pub(super) fn at(words: &[u64; WORDS], hash: Hash) -> Self {
        let mut look = Self { is_plain: true, same: 0, ghosts: 0, vacant: 0 };
        let mut all = 0;
        for (index, &word) in words.iter().enumerate() {
            all |= word;
            look.same |= u32::from(hash.matches(word & !TENTATIVE)) << index;
            look.ghosts |= u32::from(hash.matches(word ^ OCCUPIED)) << index;
            look.vacant |= u32::from(word & OCCUPIED == 0) << index;
        }
        look.is_plain = all & (FROZEN | CARRY) == 0;
        look
    }

    /// The word for a new entry: that of its ghost, else another one for each key, so that no ghost stays for ever. None
    /// if the case is not plain.
    #[inline]
    pub(super) fn vacancy(&self, hash: Hash) -> Option<usize> {
        if !self.is_plain || self.same != 0 || self.vacant == 0 {
            return None;
        }
        if self.ghosts != 0 {
            return Some(self.ghosts.trailing_zeros() as usize % WORDS);
        }
        let turn = (hash.want >> 32) as u32 % WORDS as u32;
        let turned = self.vacant >> turn | self.vacant << (WORDS as u32 - turn);
        Some((turned.trailing_zeros() + turn) as usize % WORDS)
    }
}

/// A bit for each word of a bucket that holds an entry with this tag. Without branches, which would be mispredicted;
/// the fewer instructions, the more look-ups wait for memory at the same time.
#[inline]
pub(super) fn matching(bucket: &Bucket, hash: Hash) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    {
        use core::arch::x86_64::{__m128i, _mm_set1_epi32};
        let matching: u32;
        // SAFETY: SSE2 is part of the architecture. The bucket's 64 bytes are aligned to 64, and loads of sixteen aligned
        // bytes are pairs of loads of eight, each as whole as a relaxed one: the processors promise that much.
        // The upper halves of the words, without the count, are compared with the tag.
        unsafe {
            let want: __m128i = _mm_set1_epi32((hash.want >> 32) as i32);
            let mask: __m128i = _mm_set1_epi32((!CARRY >> 32) as i32);
            core::arch::asm!(
                "movdqa {a}, [{bucket}]",
                "shufps {a}, [{bucket} + 16], 0xdd",
                "movdqa {b}, [{bucket} + 32]",
                "shufps {b}, [{bucket} + 48], 0xdd",
                "pand {a}, {mask}",
                "pand {b}, {mask}",
                "pcmpeqd {a}, {want}",
                "pcmpeqd {b}, {want}",
                "packssdw {a}, {b}",
                "packsswb {a}, {a}",
                "pmovmskb {matching:e}, {a}",
                bucket = in(reg) bucket.as_ptr(),
                want = in(xmm_reg) want,
                mask = in(xmm_reg) mask,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                matching = out(reg) matching,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        matching & 0xff
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    {
        let mut matching = 0;
        for (index, word) in bucket.iter().enumerate() {
            matching |= u32::from(hash.matches(word.load(Ordering::Relaxed))) << index;
        }
        matching
    }
}
