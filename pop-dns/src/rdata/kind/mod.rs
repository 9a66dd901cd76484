//! The kinds of field that RDATA are made of. Each says four things in one place: how it is read from the wire,
//! written to it, shown as text, and scanned from text.

mod numbers;
mod octets;

pub(crate) use numbers::*;
pub(crate) use octets::*;

use core::fmt::{self, Write};

use super::reader::Reader;
use crate::ParseError;
#[cfg(feature = "alloc")]
use {
    super::text::{Fields, RDataTextError},
    crate::Name,
    alloc::vec::Vec,
};

/// A kind of field.
pub(crate) trait Kind {
    /// What it holds.
    type Value<'m>: Copy + fmt::Debug;

    fn read<'m>(reader: &mut Reader<'m>) -> Result<Self::Value<'m>, ParseError>;

    fn show(value: &Self::Value<'_>, f: &mut Spaced<'_, '_>) -> fmt::Result;

    /// Names lose their compression; that alone can fail.
    #[cfg(feature = "alloc")]
    fn write(value: &Self::Value<'_>, wire: &mut Vec<u8>) -> Result<(), ParseError>;

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError>;
}

/// Puts one blank between fields, and none beside a field that shows nothing.
pub(crate) struct Spaced<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    begun: bool,
    gap: bool,
}

impl<'a, 'b> Spaced<'a, 'b> {
    pub(crate) const fn new(f: &'a mut fmt::Formatter<'b>) -> Self {
        Self { f, begun: false, gap: false }
    }

    /// A blank before whatever comes next.
    pub(crate) const fn gap(&mut self) {
        self.gap = self.begun;
    }
}

impl Write for Spaced<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.is_empty() {
            return Ok(());
        }
        if self.gap {
            self.f.write_char(' ')?;
        }
        (self.gap, self.begun) = (false, true);
        self.f.write_str(text)
    }
}

/// Shows octets within quotes (RFC 1035 §5.1).
pub(crate) fn show_quoted(octets: &[u8], f: &mut impl Write) -> fmt::Result {
    f.write_char('"')?;
    show_escaped(octets, f)?;
    f.write_char('"')
}

fn show_escaped(octets: &[u8], f: &mut impl Write) -> fmt::Result {
    octets.iter().try_for_each(|&octet| match octet {
        b'"' | b'\\' => write!(f, "\\{}", char::from(octet)),
        0x20..=0x7e => f.write_char(octet.into()),
        _ => write!(f, "\\{octet:03}"),
    })
}

#[cfg(feature = "alloc")]
fn write_name(name: &Name<'_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
    for label in name.labels() {
        write_string(label?, out);
    }
    out.push(0);
    Ok(())
}

/// Octets of at most 255 behind their length.
#[cfg(feature = "alloc")]
fn write_string(string: &[u8], out: &mut Vec<u8>) {
    debug_assert!(string.len() <= 255);
    out.push(string.len() as u8);
    out.extend_from_slice(string);
}

/// Defines kinds: what each holds, and how it is read, shown, written and scanned.
macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident: $value:ty {
        read($r:ident) $read:expr;
        show($s:ident, $f:ident) $show:expr;
        write($w:ident, $out:ident) $write:expr;
        scan($fields:ident, $wire:ident) $scan:expr;
    })*) => {$(
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) enum $kind {}

        impl Kind for $kind {
            type Value<'m> = $value;

            #[inline]
            fn read<'m>($r: &mut Reader<'m>) -> Result<$value, ParseError> {
                $read
            }

            fn show<'m>($s: &$value, $f: &mut Spaced<'_, '_>) -> fmt::Result {
                $show
            }

            #[cfg(feature = "alloc")]
            fn write<'m>($w: &$value, $out: &mut Vec<u8>) -> Result<(), ParseError> {
                $write;
                Ok(())
            }

            #[cfg(feature = "alloc")]
            fn scan($fields: &mut Fields<'_, '_>, $wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
                $scan;
                Ok(())
            }
        }
    )*};
}
use kinds;
