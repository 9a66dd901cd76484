//! The first twelve octets of a message, and the codes in it.

use crate::{Opcode, ParseError, Rcode};

/// Octets of a header (RFC 1035 §4.1.1).
pub const HEADER_OCTETS: usize = 12;

/// A message header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// What the client chose to tell answers apart.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, Z, AD, CD and RCODE, as on the wire.
    pub flags: Flags,
    /// Questions, answers, authority and additional records, as the header claims.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below twelve octets.
    pub fn parse(message: &[u8]) -> Result<Self, ParseError> {
        let Some(octets) = message.first_chunk::<HEADER_OCTETS>() else {
            return Err(ParseError::Truncated { offset: message.len() });
        };
        let word = |index: usize| u16::from_be_bytes([octets[index], octets[index + 1]]);
        Ok(Self { id: word(0), flags: Flags(word(2)), counts: [word(4), word(6), word(8), word(10)] })
    }

    /// The twelve octets.
    #[must_use]
    pub fn to_wire(self) -> [u8; HEADER_OCTETS] {
        let mut wire = [0; HEADER_OCTETS];
        let words = [self.id, self.flags.0].into_iter().chain(self.counts);
        for (octets, word) in wire.chunks_exact_mut(2).zip(words) {
            octets.copy_from_slice(&word.to_be_bytes());
        }
        wire
    }
}

/// The second word of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// This is a response.
    pub const QR: u16 = 1 << 15;
    /// The answer is authoritative.
    pub const AA: u16 = 1 << 10;
    /// The answer did not fit.
    pub const TC: u16 = 1 << 9;
    /// Recursion is desired.
    pub const RD: u16 = 1 << 8;
    /// Recursion is available.
    pub const RA: u16 = 1 << 7;
    /// The data are authentic (RFC 4035).
    pub const AD: u16 = 1 << 5;
    /// Checking is disabled (RFC 4035).
    pub const CD: u16 = 1 << 4;

    /// Whether all bits of `mask` are set.
    #[must_use]
    pub const fn has(self, mask: u16) -> bool {
        self.0 & mask == mask
    }

    /// These flags and `mask`.
    #[must_use]
    pub const fn with(self, mask: u16) -> Self {
        Self(self.0 | mask)
    }

    /// The opcode.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        Opcode((self.0 >> 11) as u8 & 15)
    }

    /// The lower four bits of the response code; EDNS has the upper eight.
    #[must_use]
    pub const fn rcode(self) -> Rcode {
        Rcode(self.0 & 15)
    }

    /// These flags with another opcode.
    #[must_use]
    pub const fn with_opcode(self, opcode: Opcode) -> Self {
        Self((self.0 & !(15 << 11)) | ((opcode.0 as u16 & 15) << 11))
    }

    /// These flags with the lower four bits of another response code.
    #[must_use]
    pub const fn with_rcode(self, rcode: Rcode) -> Self {
        Self((self.0 & !15) | (rcode.0 & 15))
    }
}
