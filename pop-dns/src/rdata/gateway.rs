//! A gateway that is nothing, an address or a name: IPSECKEY (RFC 4025) and AMTRELAY (RFC 8777).

use core::fmt::{self, Write};
use core::net::{Ipv4Addr, Ipv6Addr};

use super::kind::{Kind, Spaced};
use super::reader::Reader;
use crate::{Name, ParseError};
#[cfg(feature = "alloc")]
use {
    super::kind,
    super::text::{Fields, RDataTextError},
    alloc::vec::Vec,
};

/// Where a gateway or relay is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Gateway<'m> {
    /// There is none.
    None,
    /// At an IPv4 address.
    Ipv4(Ipv4Addr),
    /// At an IPv6 address.
    Ipv6(Ipv6Addr),
    /// At a name.
    Name(Name<'m>),
}

impl<'m> Gateway<'m> {
    fn read(code: u8, reader: &mut Reader<'m>) -> Result<Self, ParseError> {
        Ok(match code {
            0 => Self::None,
            1 => Self::Ipv4(reader.array::<4>()?.into()),
            2 => Self::Ipv6(reader.array::<16>()?.into()),
            3 => Self::Name(reader.plain_name()?),
            _ => return Err(reader.bad()),
        })
    }

    const fn code(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Ipv4(_) => 1,
            Self::Ipv6(_) => 2,
            Self::Name(_) => 3,
        }
    }

    #[cfg(feature = "alloc")]
    fn write(&self, wire: &mut Vec<u8>) -> Result<(), ParseError> {
        match self {
            Self::None => Ok(()),
            Self::Ipv4(address) => kind::Ipv4::write(address, wire),
            Self::Ipv6(address) => kind::Ipv6::write(address, wire),
            Self::Name(name) => kind::Plain::write(name, wire),
        }
    }

    #[cfg(feature = "alloc")]
    fn scan(code: u8, fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        match code {
            0 => match fields.token()?.octets {
                b"." => Ok(()),
                _ => Err(RDataTextError::Unexpected { expected: "a dot for no gateway" }),
            },
            1 => kind::Ipv4::scan(fields, wire),
            2 => kind::Ipv6::scan(fields, wire),
            3 => kind::Plain::scan(fields, wire),
            _ => Err(RDataTextError::Unexpected { expected: "a gateway type from 0 to 3" }),
        }
    }
}

impl fmt::Display for Gateway<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_char('.'),
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Gateway type, algorithm and gateway of an IPSECKEY.
#[derive(Debug)]
pub(crate) enum KeyGateway {}

impl Kind for KeyGateway {
    /// The algorithm, which stands between the two, and the gateway.
    type Value<'m> = (u8, Gateway<'m>);

    fn read<'m>(reader: &mut Reader<'m>) -> Result<(u8, Gateway<'m>), ParseError> {
        let (code, algorithm) = (reader.u8()?, reader.u8()?);
        Ok((algorithm, Gateway::read(code, reader)?))
    }

    fn show((algorithm, gateway): &(u8, Gateway<'_>), f: &mut Spaced<'_, '_>) -> fmt::Result {
        write!(f, "{} {algorithm} {gateway}", gateway.code())
    }

    #[cfg(feature = "alloc")]
    fn write((algorithm, gateway): &(u8, Gateway<'_>), wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.extend([gateway.code(), *algorithm]);
        gateway.write(wire)
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        let code = fields.parsed("a gateway type")?;
        wire.push(code);
        kind::U8::scan(fields, wire)?;
        Gateway::scan(code, fields, wire)
    }
}

/// Discovery bit, relay type and relay of an AMTRELAY.
#[derive(Debug)]
pub(crate) enum Relay {}

impl Kind for Relay {
    /// Whether discovery is optional, and the relay.
    type Value<'m> = (bool, Gateway<'m>);

    fn read<'m>(reader: &mut Reader<'m>) -> Result<(bool, Gateway<'m>), ParseError> {
        let code = reader.u8()?;
        Ok((code & 0x80 != 0, Gateway::read(code & 0x7F, reader)?))
    }

    fn show((optional, relay): &(bool, Gateway<'_>), f: &mut Spaced<'_, '_>) -> fmt::Result {
        write!(f, "{} {} {relay}", u8::from(*optional), relay.code())
    }

    #[cfg(feature = "alloc")]
    fn write((optional, relay): &(bool, Gateway<'_>), wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.push(u8::from(*optional) << 7 | relay.code());
        relay.write(wire)
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        let optional: u8 = fields.parsed("0 or 1")?;
        let code: u8 = fields.parsed("a relay type")?;
        if optional > 1 || code > 127 {
            return Err(RDataTextError::Unexpected { expected: "0 or 1, and a relay type" });
        }
        wire.push(optional << 7 | code);
        Gateway::scan(code, fields, wire)
    }
}

/// All of a HIP record: its lengths stand before everything else (RFC 8005 §5).
#[derive(Debug)]
pub(crate) enum HostIdentity {}

/// A host identity (RFC 8005).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hip<'m> {
    /// The algorithm of the key.
    pub algorithm: u8,
    /// The host identity tag.
    pub tag: &'m [u8],
    /// The public key.
    pub key: &'m [u8],
    /// The rendezvous servers, most preferred first.
    pub servers: Servers<'m>,
}

/// Names one after the other, none compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Servers<'m>(&'m [u8]);

impl<'m> Iterator for Servers<'m> {
    type Item = Name<'m>;

    fn next(&mut self) -> Option<Name<'m>> {
        // The names were checked when the record was read.
        let end = crate::name::skip_plain(self.0, 0).ok()?;
        let (name, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(Name::checked(name, 0))
    }
}

impl Kind for HostIdentity {
    type Value<'m> = Hip<'m>;

    fn read<'m>(reader: &mut Reader<'m>) -> Result<Hip<'m>, ParseError> {
        let (tag, algorithm, key) = (reader.u8()?, reader.u8()?, reader.u16()?);
        let (tag, key) = (reader.take(tag.into())?, reader.take(key.into())?);
        let servers = reader.rest();
        let mut rest = servers;
        while !rest.is_empty() {
            rest = &rest[crate::name::skip_plain(rest, 0).map_err(|_| reader.bad())?..];
        }
        if tag.is_empty() || key.is_empty() {
            return Err(reader.bad());
        }
        Ok(Hip { algorithm, tag, key, servers: Servers(servers) })
    }

    fn show(value: &Hip<'_>, f: &mut Spaced<'_, '_>) -> fmt::Result {
        write!(f, "{} ", value.algorithm)?;
        super::base::show_hex(value.tag, f)?;
        f.gap();
        super::base::show_base64(value.key, f)?;
        value.servers.into_iter().try_for_each(|server| write!(f, " {server}"))
    }

    #[cfg(feature = "alloc")]
    fn write(value: &Hip<'_>, wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.extend([value.tag.len() as u8, value.algorithm]);
        wire.extend((value.key.len() as u16).to_be_bytes());
        wire.extend_from_slice(value.tag);
        wire.extend_from_slice(value.key);
        wire.extend_from_slice(value.servers.0);
        Ok(())
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        use super::base::Collector;
        let algorithm = fields.parsed("an algorithm")?;
        let (mut tag, mut key) = (Vec::new(), Vec::new());
        let mut digits = Collector::hex(&mut tag);
        fields.digits_of_one(&mut digits, "hexadecimal digits")?;
        digits.finish().ok_or(RDataTextError::Unexpected { expected: "hexadecimal digits" })?;
        let mut digits = Collector::base64(&mut key);
        fields.digits_of_one(&mut digits, "base 64")?;
        digits.finish().ok_or(RDataTextError::Unexpected { expected: "base 64" })?;
        let octets = u8::try_from(tag.len()).map_err(|_| RDataTextError::TooLong)?;
        wire.extend([octets, algorithm]);
        wire.extend(u16::try_from(key.len()).map_err(|_| RDataTextError::TooLong)?.to_be_bytes());
        wire.extend_from_slice(&tag);
        wire.extend_from_slice(&key);
        while fields.more() {
            fields.name(wire)?;
        }
        if tag.is_empty() || key.is_empty() {
            return Err(RDataTextError::Unexpected { expected: "a tag and a key" });
        }
        Ok(())
    }
}
