//! Two old types with forms of their own: WKS (RFC 1035 §3.4.2) and ATMA (the ATM Forum's af-dans-0152).

use core::fmt::{self, Write};

use super::base::show_hex;
use super::kind::{Kind, Spaced};
use super::reader::Reader;
use crate::ParseError;
#[cfg(feature = "alloc")]
use {
    super::base::Collector,
    super::text::{Fields, RDataTextError},
    alloc::vec::Vec,
};

/// The bit map of WKS: a bit a port.
#[derive(Debug)]
pub(crate) enum Ports {}

impl Kind for Ports {
    type Value<'m> = &'m [u8];

    fn read<'m>(reader: &mut Reader<'m>) -> Result<&'m [u8], ParseError> {
        let bits = reader.rest();
        // 65,536 ports; a zero octet at the end would have no text.
        if bits.len() > 8192 || bits.last() == Some(&0) { Err(reader.bad()) } else { Ok(bits) }
    }

    fn show(value: &&[u8], f: &mut Spaced<'_, '_>) -> fmt::Result {
        let ports = (0..value.len() * 8).filter(|port| value[port / 8] & 0x80 >> (port % 8) != 0);
        ports.into_iter().try_for_each(|port| {
            f.gap();
            write!(f, "{port}")
        })
    }

    #[cfg(feature = "alloc")]
    fn write(value: &&[u8], wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.extend_from_slice(value);
        Ok(())
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        let start = wire.len();
        while fields.more() {
            let port = usize::from(fields.parsed::<u16>("a port")?);
            let octet = start + port / 8;
            if wire.len() <= octet {
                wire.resize(octet + 1, 0);
            }
            wire[octet] |= 0x80 >> (port % 8);
        }
        Ok(())
    }
}

/// The protocol of WKS by name or number.
#[derive(Debug)]
pub(crate) enum Protocol {}

impl Kind for Protocol {
    type Value<'m> = u8;

    fn read(reader: &mut Reader<'_>) -> Result<u8, ParseError> {
        reader.u8()
    }

    fn show(value: &u8, f: &mut Spaced<'_, '_>) -> fmt::Result {
        write!(f, "{value}")
    }

    #[cfg(feature = "alloc")]
    fn write(value: &u8, wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.push(*value);
        Ok(())
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        let word = fields.word("a protocol")?;
        let known = [("tcp", 6), ("udp", 17)].iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        let number = known.map_or_else(|| word.parse().ok(), |(_, number)| Some(*number));
        wire.push(number.ok_or(RDataTextError::Unexpected { expected: "tcp, udp or a protocol number" })?);
        Ok(())
    }
}

/// An ATM address: format 0 (AESA) in hexadecimal, format 1 (E.164) as a plus sign and digits.
#[derive(Debug)]
pub(crate) enum AtmAddress {}

impl Kind for AtmAddress {
    /// The format and the address.
    type Value<'m> = (u8, &'m [u8]);

    fn read<'m>(reader: &mut Reader<'m>) -> Result<(u8, &'m [u8]), ParseError> {
        let (format, address) = (reader.u8()?, reader.rest());
        let digits = address.iter().all(u8::is_ascii_digit);
        match format {
            0 => Ok((0, address)),
            1 if digits && !address.is_empty() => Ok((1, address)),
            _ => Err(reader.bad()),
        }
    }

    fn show((format, address): &(u8, &[u8]), f: &mut Spaced<'_, '_>) -> fmt::Result {
        if *format == 0 && address.is_empty() {
            return f.write_char('-');
        }
        if *format == 0 {
            return show_hex(address, f);
        }
        f.write_char('+')?;
        address.iter().try_for_each(|&digit| f.write_char(digit.into()))
    }

    #[cfg(feature = "alloc")]
    fn write((format, address): &(u8, &[u8]), wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.push(*format);
        wire.extend_from_slice(address);
        Ok(())
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        const EXPECTED: RDataTextError =
            RDataTextError::Unexpected { expected: "hexadecimal digits, or + and decimal digits" };
        let token = fields.token()?.octets;
        if let Some(digits) = token.strip_prefix(b"+") {
            wire.push(1);
            wire.extend_from_slice(digits);
            let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            return if valid { Ok(()) } else { Err(EXPECTED) };
        }
        wire.push(0);
        if token == b"-" {
            return Ok(());
        }
        let mut collector = Collector::hex(wire);
        let mut digits = token.iter().filter(|&&octet| octet != b'.');
        digits.try_for_each(|&octet| collector.push(octet)).and_then(|()| collector.finish()).ok_or(EXPECTED)
    }
}
