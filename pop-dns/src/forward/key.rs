//! What makes two queries one.

use std::net::IpAddr;

use crate::{Flags, NAME_OCTETS_MAX, Query};

/// Octets of a key: a name, type, flags, family with prefix length, prefix.
const KEY_OCTETS_MAX: usize = NAME_OCTETS_MAX + 2 + 1 + 1 + 16;

/// Name in lower case, type, whether DNSSEC records and unchecked data are wanted, and for whom the answer is. On the
/// stack; nothing is allocated to look something up.
#[derive(Clone, Copy)]
pub(super) struct Key {
    octets: [u8; KEY_OCTETS_MAX],
    /// Octets of everything but the prefix.
    question_octets: u16,
    length: u16,
}

impl Key {
    /// The key of a query that tells no client's block.
    pub(super) fn new(query: &Query<'_>) -> Self {
        let name = query.lower_wire();
        let mut octets = [0; KEY_OCTETS_MAX];
        octets[..name.len()].copy_from_slice(name);
        octets[name.len()..name.len() + 2].copy_from_slice(&query.qtype.0.to_be_bytes());
        let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
        let unchecked = query.header.flags.has(Flags::CD);
        octets[name.len() + 2] = u8::from(dnssec_ok) | u8::from(unchecked) << 1;
        let question_octets = name.len() as u16 + 3;
        Self { octets, question_octets, length: question_octets }
    }

    /// The same question for all clients of whatever block: the answer to one block said that it holds for all.
    ///
    /// That is not the key of [`new`](Self::new), which is for queries that tell no block: what an upstream answers to
    /// those may be right for its own neighbourhood only.
    pub(super) fn everywhere(mut self) -> Self {
        self.octets[usize::from(self.question_octets)] = 0xFF;
        self.length = self.question_octets + 1;
        self
    }

    /// The same question for the block `(address, length)`; of length 0, [`everywhere`](Self::everywhere).
    pub(super) fn within(mut self, (address, length): (IpAddr, u8)) -> Self {
        if length == 0 {
            return self.everywhere();
        }
        let at = usize::from(self.question_octets);
        let (bits, family) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 0),
            IpAddr::V6(address) => (address.to_bits(), 0x80),
        };
        let mask = !u128::MAX.checked_shr(length.into()).unwrap_or(0);
        // IPv4 has 1 to 32, IPv6 129 to 255 and, for a whole address, 0.
        self.octets[at] = length.wrapping_add(family);
        self.octets[at + 1..at + 17].copy_from_slice(&(bits & mask).to_be_bytes());
        self.length = self.question_octets + 17;
        self
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..self.length.into()]
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:02x?})", self.octets())
    }
}
