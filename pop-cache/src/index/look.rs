//! Looks at a whole bucket at once, without branches: they would be mispredicted, and the fewer instructions a look takes,
//! the more of them wait for memory at the same time.

use self::bits::Words;
use crate::table::{Bucket, CARRY, FROZEN, Hash, OCCUPIED, TENTATIVE, WORDS};

/// A bucket's words at one look: each as it was at some moment of the look, none before what the caller did last.
pub(super) struct Look(Words);

/// The upper half of a word: everything but the handle.
const fn upper(word: u64) -> u32 {
    (word >> 32) as u32
}

impl Look {
    #[inline]
    pub(super) fn at(bucket: &Bucket) -> Self {
        Self(Words::of(bucket))
    }

    /// Nothing is handed over, and no entry went on from here.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.0.have_none(upper(FROZEN | CARRY))
    }

    /// Words that hold an entry with the tag, a bit for each.
    #[inline]
    pub(super) fn matching(&self, hash: Hash) -> u32 {
        self.0.with(upper(!CARRY), upper(hash.want))
    }

    /// Words that hold an entry with the tag or are about to.
    #[inline]
    pub(super) fn same(&self, hash: Hash) -> u32 {
        self.0.with(upper(!(CARRY | TENTATIVE)), upper(hash.want))
    }

    /// The word that holds this entry, if one does and is not being handed over.
    #[inline]
    pub(super) fn entry(&self, handle: u32) -> Option<usize> {
        let held = self.0.with(upper(OCCUPIED | TENTATIVE | FROZEN), upper(OCCUPIED)) & self.0.naming(handle);
        (held != 0).then(|| held.trailing_zeros() as usize % WORDS)
    }

    /// The word for a new entry: that of its ghost, else another one for each key, so that no ghost stays for ever. None
    /// if the case is not plain.
    #[inline]
    pub(super) fn vacancy(&self, hash: Hash) -> Option<usize> {
        let vacant = self.0.with(upper(OCCUPIED), 0);
        if !self.is_plain() || self.same(hash) != 0 || vacant == 0 {
            return None;
        }
        let ghosts = self.0.with(upper(!CARRY), upper(hash.want ^ OCCUPIED));
        if ghosts != 0 {
            return Some(ghosts.trailing_zeros() as usize % WORDS);
        }
        let turn = upper(hash.want) % WORDS as u32;
        let turned = vacant >> turn | vacant << (WORDS as u32 - turn);
        Some((turned.trailing_zeros() + turn) as usize % WORDS)
    }
}

#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
mod bits {
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_epi8,
        _mm_or_si128, _mm_packs_epi16, _mm_packs_epi32, _mm_set1_epi32, _mm_setzero_si128, _mm_shuffle_ps,
    };

    use crate::table::Bucket;

    /// The halves of eight words.
    pub(super) struct Words {
        upper: [__m128i; 2],
        lower: [__m128i; 2],
    }

    impl Words {
        #[inline]
        pub(super) fn of(bucket: &Bucket) -> Self {
            let (a, b, c, d): (__m128i, __m128i, __m128i, __m128i);
            // SAFETY: SSE2 is part of the architecture. The bucket's 64 bytes are aligned to 64, and loads of sixteen
            // aligned bytes are pairs of loads of eight, each as whole as an atomic one: the processors promise that much.
            // They also keep loads behind the loads and the locked instructions that come before them, which is all that
            // acquire and sequential consistency ask of a load; and as this may touch any memory, for all that the compiler
            // knows, it does not move it either.
            unsafe {
                core::arch::asm!(
                    "movdqa {a}, [{bucket}]",
                    "movdqa {b}, [{bucket} + 16]",
                    "movdqa {c}, [{bucket} + 32]",
                    "movdqa {d}, [{bucket} + 48]",
                    bucket = in(reg) bucket.as_ptr(),
                    a = lateout(xmm_reg) a,
                    b = out(xmm_reg) b,
                    c = out(xmm_reg) c,
                    d = out(xmm_reg) d,
                    options(nostack, preserves_flags),
                );
            }
            Self {
                upper: [halves::<0xdd>(a, b), halves::<0xdd>(c, d)],
                lower: [halves::<0x88>(a, b), halves::<0x88>(c, d)],
            }
        }

        /// A bit for each word whose upper half is `value` under the mask.
        #[inline]
        pub(super) fn with(&self, mask: u32, value: u32) -> u32 {
            // SAFETY: as above.
            unsafe {
                let mask = _mm_set1_epi32(mask.cast_signed());
                equal(self.upper.map(|half| _mm_and_si128(half, mask)), value)
            }
        }

        /// A bit for each word with this lower half.
        #[inline]
        pub(super) fn naming(&self, handle: u32) -> u32 {
            equal(self.lower, handle)
        }

        /// Whether no upper half has any of these bits.
        #[inline]
        pub(super) fn have_none(&self, bits: u32) -> bool {
            // SAFETY: as above.
            unsafe {
                let any = _mm_or_si128(self.upper[0], self.upper[1]);
                let any = _mm_and_si128(any, _mm_set1_epi32(bits.cast_signed()));
                _mm_movemask_epi8(_mm_cmpeq_epi32(any, _mm_setzero_si128())) == 0xffff
            }
        }
    }

    #[inline]
    fn halves<const WHICH: i32>(first: __m128i, second: __m128i) -> __m128i {
        // SAFETY: as above.
        unsafe {
            _mm_castps_si128(_mm_shuffle_ps::<WHICH>(_mm_castsi128_ps(first), _mm_castsi128_ps(second)))
        }
    }

    #[inline]
    fn equal(halves: [__m128i; 2], value: u32) -> u32 {
        // SAFETY: as above.
        unsafe {
            let value = _mm_set1_epi32(value.cast_signed());
            let [a, b] = halves.map(|half| _mm_cmpeq_epi32(half, value));
            let all = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_setzero_si128());
            _mm_movemask_epi8(all).cast_unsigned()
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
mod bits {
    use super::upper;
    use crate::sync::Ordering;
    use crate::table::{Bucket, WORDS};

    pub(super) struct Words([u64; WORDS]);

    impl Words {
        #[inline]
        pub(super) fn of(bucket: &Bucket) -> Self {
            Self(core::array::from_fn(|index| bucket[index].load(Ordering::SeqCst)))
        }

        #[inline]
        fn bits(&self, is_one: impl Fn(u64) -> bool) -> u32 {
            let bits = self.0.iter().enumerate().map(|(index, &word)| u32::from(is_one(word)) << index);
            bits.fold(0, |all, bit| all | bit)
        }

        /// A bit for each word whose upper half is `value` under the mask.
        #[inline]
        pub(super) fn with(&self, mask: u32, value: u32) -> u32 {
            self.bits(|word| upper(word) & mask == value)
        }

        /// A bit for each word with this lower half.
        #[inline]
        pub(super) fn naming(&self, handle: u32) -> u32 {
            self.bits(|word| word as u32 == handle)
        }

        /// Whether no upper half has any of these bits.
        #[inline]
        pub(super) fn have_none(&self, bits: u32) -> bool {
            upper(self.0.iter().fold(0, |all, word| all | word)) & bits == 0
        }
    }
}
