//! Sets of record types as NSEC, NSEC3 and CSYNC hold them (RFC 4034 §4.1.2).

use core::fmt::{self, Write};

use super::kind::{Kind, Spaced};
use super::reader::Reader;
use crate::{ParseError, RecordType};
#[cfg(feature = "alloc")]
use {
    super::text::{Fields, RDataTextError},
    alloc::vec::Vec,
};

/// A set of record types: windows of up to 32 octets, one bit a type. Checked when it is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypeBitmap<'m>(&'m [u8]);

impl<'m> TypeBitmap<'m> {
    /// Checks the windows: ascending, each of 1 to 32 octets of which the last is not zero.
    fn parse(octets: &'m [u8]) -> Option<Self> {
        let mut rest = octets;
        let mut last = None;
        while let [window, length, tail @ ..] = rest {
            let (bits, tail) = tail.split_at_checked(usize::from(*length))?;
            if !(1..=32).contains(length) || bits.last() == Some(&0) || last >= Some(*window) {
                return None;
            }
            (rest, last) = (tail, Some(*window));
        }
        rest.is_empty().then_some(Self(octets))
    }

    /// The octets as they stand.
    #[must_use]
    pub const fn as_wire(&self) -> &'m [u8] {
        self.0
    }

    /// Whether `rtype` is in the set. Costs a walk over the windows.
    #[must_use]
    pub fn contains(&self, rtype: RecordType) -> bool {
        let [window, bit] = rtype.0.to_be_bytes();
        let mut rest = self.0;
        while let [this, length, tail @ ..] = rest {
            let (bits, tail) = tail.split_at(usize::from(*length));
            if *this == window {
                return bits.get(usize::from(bit / 8)).is_some_and(|octet| octet & 0x80 >> (bit % 8) != 0);
            }
            rest = tail;
        }
        false
    }

    /// The types of the set in ascending order.
    pub fn types(&self) -> impl Iterator<Item = RecordType> + use<'m> {
        let mut rest = self.0;
        let windows = core::iter::from_fn(move || {
            let [window, length, tail @ ..] = rest else { return None };
            let (bits, tail) = tail.split_at(usize::from(*length));
            rest = tail;
            Some((*window, bits))
        });
        windows.flat_map(|(window, bits)| {
            (0..=255_u8)
                .filter(move |bit| bits.get(usize::from(bit / 8)).is_some_and(|o| o & 0x80 >> (bit % 8) != 0))
                .map(move |bit| RecordType(u16::from_be_bytes([window, bit])))
        })
    }
}

impl fmt::Debug for TypeBitmap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.types()).finish()
    }
}

/// Appends the bitmap of `types`, which may come in any order and more than once.
#[cfg(feature = "alloc")]
pub(crate) fn write_types(types: &mut Vec<RecordType>, wire: &mut Vec<u8>) {
    types.sort_unstable();
    types.dedup();
    for window in types.chunk_by(|one, two| one.0 >> 8 == two.0 >> 8) {
        let mut bits = [0_u8; 32];
        let mut length = 0;
        for rtype in window {
            let [_, bit] = rtype.0.to_be_bytes();
            bits[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
            length = usize::from(bit / 8) + 1;
        }
        wire.extend_from_slice(&[(window[0].0 >> 8) as u8, length as u8]);
        wire.extend_from_slice(&bits[..length]);
    }
}

/// A set of record types to the end of the RDATA.
#[derive(Debug)]
pub(crate) enum Bitmap {}

impl Kind for Bitmap {
    type Value<'m> = TypeBitmap<'m>;

    fn read<'m>(reader: &mut Reader<'m>) -> Result<TypeBitmap<'m>, ParseError> {
        TypeBitmap::parse(reader.rest()).ok_or_else(|| reader.bad())
    }

    fn show(value: &TypeBitmap<'_>, f: &mut Spaced<'_, '_>) -> fmt::Result {
        value.types().try_for_each(|rtype| {
            f.gap();
            write!(f, "{rtype}")
        })
    }

    #[cfg(feature = "alloc")]
    fn write(value: &TypeBitmap<'_>, wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.extend_from_slice(value.0);
        Ok(())
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        let mut types = Vec::new();
        while fields.more() {
            let rtype = RecordType::from_text(fields.word("a record type")?);
            types.push(rtype.ok_or(RDataTextError::Unexpected { expected: "a record type" })?);
        }
        write_types(&mut types, wire);
        Ok(())
    }
}
