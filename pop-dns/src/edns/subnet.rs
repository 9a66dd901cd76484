//! The client's block as a resolver tells it (RFC 7871).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::option;
use crate::ParseError;

/// The block of addresses in which a client lives (RFC 7871).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSubnet {
    address: IpAddr,
    source: u8,
    scope: u8,
}

impl ClientSubnet {
    /// The block as a query carries it; bits beyond `length` are cleared, `length` is cut to the family's.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Self {
        let source = length.min(if address.is_ipv4() { 32 } else { 128 });
        Self { address: mask(address, source), source, scope: 0 }
    }

    /// The same block with the scope that an answer carries.
    #[must_use]
    pub fn with_scope(self, scope: u8) -> Self {
        Self { scope: scope.min(if self.address.is_ipv4() { 32 } else { 128 }), ..self }
    }

    /// The block, as it crosses borders.
    #[must_use]
    pub const fn block(&self) -> (IpAddr, u8) {
        (self.address, self.source)
    }

    /// The prefix length for which an answer holds; zero in queries.
    #[must_use]
    pub const fn scope(&self) -> u8 {
        self.scope
    }

    /// Reads the contents of an option.
    ///
    /// # Errors
    /// [`ParseError::Option`] if they break RFC 7871 §6.
    pub fn parse(contents: &[u8]) -> Result<Self, ParseError> {
        let bad = ParseError::Option { code: option::CLIENT_SUBNET };
        let (&[f0, f1, source, scope], prefix) = contents.split_first_chunk().ok_or(bad)?;
        let (address, bits) = match u16::from_be_bytes([f0, f1]) {
            1 => {
                let mut octets = [0; 4];
                octets.get_mut(..prefix.len()).ok_or(bad)?.copy_from_slice(prefix);
                (IpAddr::V4(Ipv4Addr::from(octets)), 32)
            }
            2 => {
                let mut octets = [0; 16];
                octets.get_mut(..prefix.len()).ok_or(bad)?.copy_from_slice(prefix);
                (IpAddr::V6(Ipv6Addr::from(octets)), 128)
            }
            _ => return Err(bad),
        };
        // §6: as many octets as the length needs, the bits beyond it zero.
        let exact = source <= bits && scope <= bits && prefix.len() == usize::from(source.div_ceil(8));
        if !exact || mask(address, source) != address {
            return Err(bad);
        }
        Ok(Self { address, source, scope })
    }

    /// Writes the contents of the option and returns how many octets they are.
    pub fn write(&self, buffer: &mut [u8; 20]) -> usize {
        let prefix = usize::from(self.source.div_ceil(8));
        buffer[1] = if self.address.is_ipv4() { 1 } else { 2 };
        buffer[0] = 0;
        (buffer[2], buffer[3]) = (self.source, self.scope);
        match self.address {
            IpAddr::V4(address) => buffer[4..4 + prefix].copy_from_slice(&address.octets()[..prefix]),
            IpAddr::V6(address) => buffer[4..4 + prefix].copy_from_slice(&address.octets()[..prefix]),
        }
        4 + prefix
    }
}

fn mask(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_subnets_round_trip_and_are_strict() {
        for (text, length) in
            [("198.18.3.77", 24), ("198.18.3.77", 0), ("2001:db8:1:2::", 56), ("10.0.0.0", 9)]
        {
            let subnet = ClientSubnet::new(text.parse().unwrap(), length).with_scope(8);
            let mut buffer = [0; 20];
            let octets = subnet.write(&mut buffer);
            assert_eq!(ClientSubnet::parse(&buffer[..octets]), Ok(subnet));
        }
        let bad = Err(ParseError::Option { code: 8 });
        assert_eq!(ClientSubnet::parse(&[0, 1, 24, 0, 10, 0]), bad, "too few octets");
        assert_eq!(ClientSubnet::parse(&[0, 1, 23, 0, 10, 0, 1]), bad, "bits beyond the length");
        assert_eq!(ClientSubnet::parse(&[0, 1, 33, 0, 1, 2, 3, 4, 5]), bad, "longer than the family");
        assert_eq!(ClientSubnet::parse(&[0, 3, 0, 0]), bad, "unknown family");
    }
}
