//! Plain values as bits: what the inline cache keeps in its words.

use core::net::{Ipv4Addr, Ipv6Addr};

/// A small plain value that an [`InlineCache`](crate::InlineCache) can hold, as at most 128 bits.
///
/// Equal keys must have equal bits. Pairs and byte arrays of up to 16 bytes are covered, so a newtype needs two
/// short functions:
///
/// ```
/// use pop_cache::Inline;
///
/// #[derive(Clone, Copy, PartialEq, Eq, Hash)]
/// struct Port(u16);
///
/// impl Inline for Port {
///     const BITS: u32 = u16::BITS;
///     fn to_bits(self) -> u128 {
///         self.0.into()
///     }
///     fn from_bits(bits: u128) -> Self {
///         Self(bits as u16)
///     }
/// }
/// ```
pub trait Inline: Copy + Send + Sync + 'static {
    /// How many low bits of [`to_bits`](Self::to_bits) count: at most 128.
    const BITS: u32;

    /// The value as bits; those above [`BITS`](Self::BITS) are zero.
    fn to_bits(self) -> u128;

    /// The value that [`to_bits`](Self::to_bits) gave these bits; it is called with no others.
    fn from_bits(bits: u128) -> Self;
}

macro_rules! numbers {
    ($($number:ty as $unsigned:ty),*) => {$(
        impl Inline for $number {
            const BITS: u32 = <$number>::BITS;

            #[inline]
            fn to_bits(self) -> u128 {
                (self as $unsigned) as u128
            }

            #[inline]
            fn from_bits(bits: u128) -> Self {
                bits as Self
            }
        }
    )*};
}

numbers!(u8 as u8, u16 as u16, u32 as u32, u64 as u64, u128 as u128, usize as usize);
numbers!(i8 as u8, i16 as u16, i32 as u32, i64 as u64, i128 as u128, isize as usize);

macro_rules! through {
    ($($value:ty, $bits:ty, $to:expr, $from:expr;)*) => {$(
        impl Inline for $value {
            const BITS: u32 = <$bits>::BITS;

            #[inline]
            fn to_bits(self) -> u128 {
                let to: fn($value) -> $bits = $to;
                to(self).into()
            }

            #[inline]
            fn from_bits(bits: u128) -> Self {
                let from: fn($bits) -> $value = $from;
                from(bits as $bits)
            }
        }
    )*};
}

through! {
    bool, u8, u8::from, |bits| bits != 0;
    char, u32, u32::from, |bits| char::from_u32(bits).unwrap_or(char::REPLACEMENT_CHARACTER);
    f32, u32, f32::to_bits, f32::from_bits;
    f64, u64, f64::to_bits, f64::from_bits;
    Ipv4Addr, u32, Ipv4Addr::to_bits, Ipv4Addr::from_bits;
    Ipv6Addr, u128, Ipv6Addr::to_bits, Ipv6Addr::from_bits;
}

impl Inline for () {
    const BITS: u32 = 0;

    #[inline]
    fn to_bits(self) -> u128 {
        0
    }

    #[inline]
    fn from_bits(_: u128) -> Self {}
}

impl<A: Inline, B: Inline> Inline for (A, B) {
    const BITS: u32 = {
        assert!(A::BITS + B::BITS <= 128, "a pair has at most 128 bits");
        A::BITS + B::BITS
    };

    #[inline]
    fn to_bits(self) -> u128 {
        self.0.to_bits() | self.1.to_bits().checked_shl(A::BITS).unwrap_or(0)
    }

    #[inline]
    fn from_bits(bits: u128) -> Self {
        (A::from_bits(bits & low(A::BITS)), B::from_bits(bits.checked_shr(A::BITS).unwrap_or(0)))
    }
}

impl<const N: usize> Inline for [u8; N] {
    const BITS: u32 = {
        assert!(N <= 16, "an array has at most 16 bytes");
        8 * N as u32
    };

    #[inline]
    fn to_bits(self) -> u128 {
        let mut bytes = [0; 16];
        bytes[..N].copy_from_slice(&self);
        u128::from_le_bytes(bytes)
    }

    #[inline]
    fn from_bits(bits: u128) -> Self {
        let mut array = [0; N];
        array.copy_from_slice(&bits.to_le_bytes()[..N]);
        array
    }
}

/// So many low bits.
#[inline]
pub(crate) const fn low(bits: u32) -> u128 {
    if bits >= u128::BITS { u128::MAX } else { (1 << bits) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Inline + PartialEq + core::fmt::Debug>(values: &[T]) {
        for &value in values {
            assert_eq!(T::from_bits(value.to_bits()), value);
            assert_eq!(value.to_bits() & !low(T::BITS), 0, "{value:?}: no bits beyond its own");
        }
    }

    #[test]
    fn values_survive_being_bits() {
        check(&[0_u8, 1, u8::MAX]);
        check(&[0_i8, -1, i8::MIN]);
        check(&[0_i64, -1, i64::MIN, i64::MAX]);
        check(&[0_i128, -1, i128::MIN]);
        check(&[u128::MAX, 1]);
        check(&[true, false]);
        check(&['a', '\u{10FFFF}']);
        check(&[1.5_f32, -0.0]);
        check(&[f64::MAX, f64::MIN_POSITIVE]);
        check(&[Ipv4Addr::LOCALHOST]);
        check(&[Ipv6Addr::LOCALHOST]);
        check(&[()]);
        check(&[(1_u32, -5_i16), (u32::MAX, i16::MIN)]);
        check(&[((7_u8, 9_u64), true)]);
        check(&[((), u128::MAX)]);
        check(&[(u128::MAX, ())]);
        check(&[[1_u8, 2, 3], [255; 3]]);
        check(&[[9_u8; 16]]);
    }
}
