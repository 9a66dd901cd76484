//! Fields of one size, and names.

use core::fmt;
use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Kind, Spaced, kinds};
use crate::rdata::reader::Reader;
use crate::rdata::time;
use crate::{Name, ParseError, RecordType};
#[cfg(feature = "alloc")]
use {
    super::write_name,
    crate::rdata::text::{Fields, RDataTextError, parse_ttl},
    alloc::vec::Vec,
};

kinds! {
    U8: u8 {
        read(r) r.u8();
        show(value, f) write!(f, "{value}");
        write(value, out) out.push(*value);
        scan(fields, wire) wire.push(fields.parsed("a number up to 255")?);
    }
    U16: u16 {
        read(r) r.u16();
        show(value, f) write!(f, "{value}");
        write(value, out) out.extend_from_slice(&value.to_be_bytes());
        scan(fields, wire) wire.extend(fields.parsed::<u16>("a number up to 65535")?.to_be_bytes());
    }
    U32: u32 {
        read(r) r.u32();
        show(value, f) write!(f, "{value}");
        write(value, out) out.extend_from_slice(&value.to_be_bytes());
        scan(fields, wire) wire.extend(fields.parsed::<u32>("a number up to 4294967295")?.to_be_bytes());
    }
    U64: u64 {
        read(r) r.array().map(u64::from_be_bytes);
        show(value, f) write!(f, "{value}");
        write(value, out) out.extend_from_slice(&value.to_be_bytes());
        scan(fields, wire) wire.extend(fields.parsed::<u64>("a number below 2^64")?.to_be_bytes());
    }
    /// Seconds in 48 bits.
    U48: u64 {
        read(r) r.array::<6>().map(|o| u64::from_be_bytes([0, 0, o[0], o[1], o[2], o[3], o[4], o[5]]));
        show(value, f) write!(f, "{value}");
        write(value, out) out.extend_from_slice(&value.to_be_bytes()[2..]);
        scan(fields, wire) {
            const EXPECTED: &str = "a number below 2^48";
            let value = fields.parsed::<u64>(EXPECTED)?;
            if value >> 48 > 0 {
                return Err(RDataTextError::Unexpected { expected: EXPECTED });
            }
            wire.extend_from_slice(&value.to_be_bytes()[2..]);
        };
    }
    /// Seconds, as a number or in units.
    Seconds: u32 {
        read(r) r.u32();
        show(value, f) write!(f, "{value}");
        write(value, out) out.extend_from_slice(&value.to_be_bytes());
        scan(fields, wire) {
            let token = fields.token()?;
            // What the wire can hold reads back, though the times of a SOA end below 2^31.
            let plain = core::str::from_utf8(token.octets).ok().and_then(|text| text.parse().ok());
            let seconds = parse_ttl(token.octets).or(plain);
            wire.extend(seconds.ok_or(RDataTextError::Unexpected { expected: "a time in seconds" })?.to_be_bytes());
        };
    }
    Ipv4: Ipv4Addr {
        read(r) r.array::<4>().map(Ipv4Addr::from);
        show(value, f) write!(f, "{value}");
        write(value, out) out.extend_from_slice(&value.octets());
        scan(fields, wire) wire.extend(fields.parsed::<Ipv4Addr>("an IPv4 address")?.octets());
    }
    Ipv6: Ipv6Addr {
        read(r) r.array::<16>().map(Ipv6Addr::from);
        show(value, f) write!(f, "{value}");
        write(value, out) out.extend_from_slice(&value.octets());
        scan(fields, wire) wire.extend(fields.parsed::<Ipv6Addr>("an IPv6 address")?.octets());
    }
    /// A name of the types whose names a reader decompresses (RFC 3597 §4).
    Domain: Name<'m> {
        read(r) r.name();
        show(value, f) write!(f, "{value}");
        write(value, out) write_name(value, out)?;
        scan(fields, wire) fields.name(wire)?;
    }
    /// A name of all later types: never compressed.
    Plain: Name<'m> {
        read(r) r.plain_name();
        show(value, f) write!(f, "{value}");
        write(value, out) write_name(value, out)?;
        scan(fields, wire) fields.name(wire)?;
    }
    Rtype: RecordType {
        read(r) r.u16().map(RecordType);
        show(value, f) write!(f, "{value}");
        write(value, out) out.extend_from_slice(&value.0.to_be_bytes());
        scan(fields, wire) {
            let word = fields.word("a record type")?;
            let rtype = RecordType::from_text(word).or_else(|| word.parse().ok().map(RecordType));
            wire.extend(rtype.ok_or(RDataTextError::Unexpected { expected: "a record type" })?.0.to_be_bytes());
        };
    }
    /// A DNSSEC algorithm (the IANA registry; RFC 8624).
    Algorithm: u8 {
        read(r) r.u8();
        show(value, f) write!(f, "{value}");
        write(value, out) out.push(*value);
        scan(fields, wire) {
            let word = fields.word("an algorithm")?;
            wire.push(algorithm(word).ok_or(RDataTextError::Unexpected { expected: "an algorithm" })?);
        };
    }
    /// A type of certificate (RFC 4398 §2.1).
    CertificateType: u16 {
        read(r) r.u16();
        show(value, f) write!(f, "{value}");
        write(value, out) out.extend_from_slice(&value.to_be_bytes());
        scan(fields, wire) {
            let word = fields.word("a certificate type")?;
            let known = ["PKIX", "SPKI", "PGP", "IPKIX", "ISPKI", "IPGP", "ACPKIX", "IACPKIX"];
            let found = known.iter().zip(1..).find(|(name, _)| word.eq_ignore_ascii_case(name));
            let found = match (found, word) {
                (Some((_, code)), _) => Some(code),
                (None, "URI") => Some(253),
                (None, "OID") => Some(254),
                (None, number) => number.parse().ok(),
            };
            let code: u16 = found.ok_or(RDataTextError::Unexpected { expected: "a certificate type" })?;
            wire.extend(code.to_be_bytes());
        };
    }
    /// Seconds since 1970 modulo 2^32, shown as a date (RFC 4034 §3.2).
    Time: u32 {
        read(r) r.u32();
        show(value, f) time::show(*value, f);
        write(value, out) out.extend_from_slice(&value.to_be_bytes());
        scan(fields, wire) {
            let word = fields.word("YYYYMMDDHHmmSS or seconds")?;
            let time = time::parse(word);
            let time = time.ok_or(RDataTextError::Unexpected { expected: "YYYYMMDDHHmmSS or seconds" })?;
            wire.extend(time.to_be_bytes());
        };
    }
}

#[cfg(feature = "alloc")]
fn algorithm(word: &str) -> Option<u8> {
    const NAMES: [(&str, u8); 15] = [
        ("RSAMD5", 1),
        ("DH", 2),
        ("DSA", 3),
        ("RSASHA1", 5),
        ("DSA-NSEC3-SHA1", 6),
        ("RSASHA1-NSEC3-SHA1", 7),
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECC-GOST", 12),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
        ("ED448", 16),
        ("PRIVATEDNS", 253),
        ("PRIVATEOID", 254),
    ];
    let named = NAMES.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
    named.map_or_else(|| word.parse().ok(), |(_, code)| Some(*code))
}
