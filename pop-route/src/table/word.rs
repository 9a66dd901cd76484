//! The two widths of an address, so that one algorithm serves both families.

use core::fmt::Debug;

use crate::{Family, Prefix};

/// An address as an unsigned number: `u32` or `u128`.
pub(crate) trait Word: Copy + Ord + Debug + Send + Sync + 'static {
    /// The family it belongs to.
    const FAMILY: Family;
    /// Bits of an address.
    const BITS: u8 = Self::FAMILY.bits();
    /// Bits that hold any length of a prefix.
    const LENGTH_BITS: u32;
    /// Zero.
    const MIN: Self;
    /// The key of a prefix in an ordered map: by first address, then by length.
    type Key: Copy + Ord + Debug + Send + Sync;

    /// From the left-aligned form that [`Prefix`] uses.
    fn from_aligned(bits: u128) -> Self;
    /// Back to it.
    fn to_aligned(self) -> u128;
    /// The address `by` after this one, if there is one.
    fn checked_add_one(self) -> Option<Self>;
    /// The last address of the block of `length` leading bits around this one.
    fn last_of(self, length: u8) -> Self;
    /// The next `count` bits after the first `depth`; fewer where the address ends, as if zeros followed.
    /// `count` is at most 32, `depth` below the width.
    fn take(self, depth: u8, count: u8) -> u32;
    /// The key of the prefix with this first address.
    fn key(self, length: u8) -> Self::Key;
    /// What a key was made of.
    fn unkey(key: Self::Key) -> (Self, u8);
}

impl Word for u32 {
    const FAMILY: Family = Family::V4;
    const LENGTH_BITS: u32 = 6;
    const MIN: Self = 0;
    /// The address above eight bits of length: half the size of a pair, and one comparison.
    type Key = u64;

    fn from_aligned(bits: u128) -> Self {
        (bits >> 96) as Self
    }

    fn to_aligned(self) -> u128 {
        u128::from(self) << 96
    }

    fn checked_add_one(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn last_of(self, length: u8) -> Self {
        self | Self::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    #[inline]
    fn take(self, depth: u8, count: u8) -> u32 {
        (self << depth) >> (32 - count)
    }

    fn key(self, length: u8) -> u64 {
        u64::from(self) << 8 | u64::from(length)
    }

    fn unkey(key: u64) -> (Self, u8) {
        ((key >> 8) as Self, key as u8)
    }
}

impl Word for u128 {
    const FAMILY: Family = Family::V6;
    const LENGTH_BITS: u32 = 8;
    const MIN: Self = 0;
    type Key = (u128, u8);

    fn from_aligned(bits: u128) -> Self {
        bits
    }

    fn to_aligned(self) -> u128 {
        self
    }

    fn checked_add_one(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn last_of(self, length: u8) -> Self {
        self | Self::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    #[inline]
    fn take(self, depth: u8, count: u8) -> u32 {
        ((self << depth) >> (128 - u32::from(count))) as u32
    }

    fn key(self, length: u8) -> Self::Key {
        (self, length)
    }

    fn unkey(key: Self::Key) -> (Self, u8) {
        key
    }
}

/// The prefix of `length` leading bits around an address.
pub(crate) fn prefix<W: Word>(address: W, length: u8) -> Prefix {
    Prefix::from_bits(address.to_aligned(), length, W::FAMILY)
}
