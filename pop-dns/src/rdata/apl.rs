//! Lists of address prefixes (RFC 3123).

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::kind::{Kind, Spaced};
use super::reader::Reader;
use crate::ParseError;
#[cfg(feature = "alloc")]
use {
    super::text::{Fields, RDataTextError},
    alloc::vec::Vec,
};

/// One entry of an APL record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPrefix {
    /// The address; what lies beyond the octets on the wire is zero.
    pub address: IpAddr,
    /// The prefix length in bits.
    pub length: u8,
    /// Whether the entry is an exception.
    pub negated: bool,
}

/// The entries of an APL record. Checked when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPrefixes<'m>(&'m [u8]);

fn split(octets: &[u8]) -> Option<(AddressPrefix, &[u8])> {
    let (&[f0, f1, length, afd], rest) = octets.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(usize::from(afd & 0x7F))?;
    let mut whole = [0; 16];
    whole.get_mut(..part.len())?.copy_from_slice(part);
    let (address, bits, octets) = match u16::from_be_bytes([f0, f1]) {
        1 => (IpAddr::from(Ipv4Addr::new(whole[0], whole[1], whole[2], whole[3])), 32, 4),
        2 => (IpAddr::from(Ipv6Addr::from(whole)), 128, 16),
        _ => return None,
    };
    // §4: trailing zero octets are left out.
    let valid = length <= bits && part.len() <= octets && part.last() != Some(&0);
    valid.then_some((AddressPrefix { address, length, negated: afd & 0x80 != 0 }, rest))
}

impl Iterator for AddressPrefixes<'_> {
    type Item = AddressPrefix;

    fn next(&mut self) -> Option<AddressPrefix> {
        let (prefix, rest) = split(self.0)?;
        self.0 = rest;
        Some(prefix)
    }
}

/// Address prefixes to the end of the RDATA.
#[derive(Debug)]
pub(crate) enum Prefixes {}

impl Kind for Prefixes {
    type Value<'m> = AddressPrefixes<'m>;

    fn read<'m>(reader: &mut Reader<'m>) -> Result<AddressPrefixes<'m>, ParseError> {
        let octets = reader.rest();
        let mut rest = octets;
        while !rest.is_empty() {
            (_, rest) = split(rest).ok_or_else(|| reader.bad())?;
        }
        Ok(AddressPrefixes(octets))
    }

    fn show(value: &AddressPrefixes<'_>, f: &mut Spaced<'_, '_>) -> fmt::Result {
        value.into_iter().try_for_each(|AddressPrefix { address, length, negated }| {
            f.gap();
            let family = if address.is_ipv4() { 1 } else { 2 };
            write!(f, "{}{family}:{address}/{length}", if negated { "!" } else { "" })
        })
    }

    #[cfg(feature = "alloc")]
    fn write(value: &AddressPrefixes<'_>, wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.extend_from_slice(value.0);
        Ok(())
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        const EXPECTED: &str = "[!]FAMILY:ADDRESS/LENGTH";
        while fields.more() {
            let word = fields.word(EXPECTED)?;
            scan_one(word, wire).ok_or(RDataTextError::Unexpected { expected: EXPECTED })?;
        }
        Ok(())
    }
}

#[cfg(feature = "alloc")]
fn scan_one(word: &str, wire: &mut Vec<u8>) -> Option<()> {
    let (negated, word) = word.strip_prefix('!').map_or((0, word), |word| (0x80, word));
    let (family, word) = word.split_once(':')?;
    let (address, length) = word.split_once('/')?;
    let length: u8 = length.parse().ok()?;
    let address: IpAddr = address.parse().ok()?;
    let (code, bits) = if address.is_ipv4() { (1_u8, 32) } else { (2, 128) };
    if family.parse() != Ok(code) || length > bits {
        return None;
    }
    let mut octets = [0; 16];
    match address {
        IpAddr::V4(address) => octets[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => octets = address.octets(),
    }
    let used = octets.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
    wire.extend_from_slice(&[0, code, length, negated | used as u8]);
    wire.extend_from_slice(&octets[..used]);
    Some(())
}
