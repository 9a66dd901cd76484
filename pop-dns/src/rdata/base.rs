//! Octets as text: hexadecimal, base 64 and base 32 with the extended hex alphabet (RFC 4648).

use core::fmt::{self, Write};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

pub(crate) fn show_hex(octets: &[u8], f: &mut impl Write) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

pub(crate) fn show_base64(octets: &[u8], f: &mut impl Write) -> fmt::Result {
    for chunk in octets.chunks(3) {
        let word = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for digit in 0..4 {
            let symbol = BASE64[(word >> (18 - 6 * digit)) as usize & 63];
            f.write_char(if digit <= chunk.len() { symbol.into() } else { '=' })?;
        }
    }
    Ok(())
}

/// Without padding, as RFC 5155 §3.3 has it.
pub(crate) fn show_base32(octets: &[u8], f: &mut impl Write) -> fmt::Result {
    for chunk in octets.chunks(5) {
        let mut word = [0; 8];
        word[3..3 + chunk.len()].copy_from_slice(chunk);
        let word = u64::from_be_bytes(word);
        for digit in 0..(chunk.len() * 8).div_ceil(5) {
            f.write_char(BASE32[(word >> (35 - 5 * digit)) as usize & 31].into())?;
        }
    }
    Ok(())
}

/// Collects digits of `bits` bits each into octets.
#[cfg(feature = "alloc")]
pub(crate) struct Collector<'o> {
    out: &'o mut alloc::vec::Vec<u8>,
    bits: u32,
    word: u32,
    held: u32,
    padding: u32,
    digits: u32,
}

#[cfg(feature = "alloc")]
impl<'o> Collector<'o> {
    pub(crate) const fn hex(out: &'o mut alloc::vec::Vec<u8>) -> Self {
        Self { out, bits: 4, word: 0, held: 0, padding: 0, digits: 0 }
    }

    pub(crate) const fn base32(out: &'o mut alloc::vec::Vec<u8>) -> Self {
        Self { out, bits: 5, word: 0, held: 0, padding: 0, digits: 0 }
    }

    pub(crate) const fn base64(out: &'o mut alloc::vec::Vec<u8>) -> Self {
        Self { out, bits: 6, word: 0, held: 0, padding: 0, digits: 0 }
    }

    /// Takes one symbol; `None` if it is no digit.
    pub(crate) fn push(&mut self, symbol: u8) -> Option<()> {
        if symbol == b'=' && self.bits == 6 {
            self.padding += 1;
            return (self.padding <= 2).then_some(());
        }
        let digit = match (self.bits, symbol) {
            (4, b'0'..=b'9') | (5, b'0'..=b'9') => symbol - b'0',
            (4, b'a'..=b'f') | (5, b'a'..=b'v') => symbol - b'a' + 10,
            (4, b'A'..=b'F') | (5, b'A'..=b'V') => symbol - b'A' + 10,
            (6, b'A'..=b'Z') => symbol - b'A',
            (6, b'a'..=b'z') => symbol - b'a' + 26,
            (6, b'0'..=b'9') => symbol - b'0' + 52,
            (6, b'+') => 62,
            (6, b'/') => 63,
            _ => return None,
        };
        if self.padding > 0 {
            return None;
        }
        self.digits += 1;
        self.word = self.word << self.bits | u32::from(digit);
        self.held += self.bits;
        if self.held >= 8 {
            self.held -= 8;
            self.out.push((self.word >> self.held) as u8);
            self.word &= (1 << self.held) - 1;
        }
        Some(())
    }

    /// `None` where digits are missing, padding is wrong, or bits are left that are not zero.
    pub(crate) fn finish(self) -> Option<()> {
        let whole = match self.bits {
            4 => self.held == 0,
            5 => self.held < 5,
            _ => (self.digits + self.padding).is_multiple_of(4) && self.held < 6,
        };
        (whole && self.word == 0).then_some(())
    }
}
