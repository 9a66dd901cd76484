//! The kinds of field that RDATA are made of. Each says four things in one place: how it is read from the wire,
//! written to it, shown as text, and scanned from text.

use core::fmt::{self, Write};
use core::net::{Ipv4Addr, Ipv6Addr};

use super::base::{show_base32, show_base64, show_hex};
use super::reader::Reader;
use crate::{Name, ParseError, RecordType};
#[cfg(feature = "alloc")]
use {
    super::base::Collector,
    super::text::{Fields, RDataTextError, parse_ttl},
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
        show(value, f) super::time::show(*value, f);
        write(value, out) out.extend_from_slice(&value.to_be_bytes());
        scan(fields, wire) {
            let word = fields.word("YYYYMMDDHHmmSS or seconds")?;
            let time = super::time::parse(word);
            let time = time.ok_or(RDataTextError::Unexpected { expected: "YYYYMMDDHHmmSS or seconds" })?;
            wire.extend(time.to_be_bytes());
        };
    }
    /// A character string.
    Text: &'m [u8] {
        read(r) r.string();
        show(value, f) show_quoted(value, f);
        write(value, out) write_string(value, out);
        scan(fields, wire) fields.string(wire)?;
    }
    /// A character string that may be missing: ISDN's subaddress (RFC 1183 §3.2).
    OptionalText: Option<&'m [u8]> {
        read(r) if r.is_empty() { Ok(None) } else { r.string().map(Some) };
        show(value, f) value.map_or(Ok(()), |value| show_quoted(value, f));
        write(value, out) if let Some(value) = value { write_string(value, out) };
        scan(fields, wire) if fields.more() { fields.string(wire)? };
    }
    /// One character string or more.
    Texts: Strings<'m> {
        read(r) {
            let octets = r.rest();
            Strings::parse(octets).ok_or_else(|| r.bad())
        };
        show(value, f) value.enumerate().try_for_each(|(index, string)| {
            if index > 0 {
                f.write_char(' ')?;
            }
            show_quoted(string, f)
        });
        write(value, out) out.extend_from_slice(value.as_wire());
        scan(fields, wire) {
            fields.string(wire)?;
            while fields.more() {
                fields.string(wire)?;
            }
        };
    }
    /// A tag of letters and digits behind its length (RFC 8659 §4.1).
    Tag: &'m [u8] {
        read(r) r.string().and_then(|tag| if is_tag(tag) { Ok(tag) } else { Err(r.bad()) });
        show(value, f) show_escaped(value, f);
        write(value, out) write_string(value, out);
        scan(fields, wire) {
            let at = wire.len();
            fields.string(wire)?;
            if !is_tag(&wire[at + 1..]) {
                return Err(RDataTextError::Unexpected { expected: "a tag of letters and digits" });
            }
        };
    }
    /// Text to the end of the RDATA.
    Quoted: &'m [u8] {
        read(r) Ok(r.rest());
        show(value, f) show_quoted(value, f);
        write(value, out) out.extend_from_slice(value);
        scan(fields, wire) fields.unescaped(wire)?;
    }
    /// Octets to the end of the RDATA, in hexadecimal.
    Hex: &'m [u8] {
        read(r) Ok(r.rest());
        show(value, f) show_hex(value, f);
        write(value, out) out.extend_from_slice(value);
        scan(fields, wire) fields.digits(Collector::hex(wire), "hexadecimal digits")?;
    }
    /// The same, at least twelve (RFC 8976 §2.2.4).
    ZoneDigest: &'m [u8] {
        read(r) Some(r.rest()).filter(|digest| digest.len() >= 12).ok_or_else(|| r.bad());
        show(value, f) show_hex(value, f);
        write(value, out) out.extend_from_slice(value);
        scan(fields, wire) {
            let start = wire.len();
            Hex::scan(fields, wire)?;
            if wire.len() < start + 12 {
                return Err(RDataTextError::Unexpected { expected: "a digest of at least 12 octets" });
            }
        };
    }
    /// Text to the end of the RDATA that is not empty (RFC 7553 §4.4).
    Target: &'m [u8] {
        read(r) Some(r.rest()).filter(|target| !target.is_empty()).ok_or_else(|| r.bad());
        show(value, f) show_quoted(value, f);
        write(value, out) out.extend_from_slice(value);
        scan(fields, wire) {
            let start = wire.len();
            Quoted::scan(fields, wire)?;
            if wire.len() == start {
                return Err(RDataTextError::Unexpected { expected: "a URI" });
            }
        };
    }
    /// Octets to the end of the RDATA, in base 64.
    Base64: &'m [u8] {
        read(r) Ok(r.rest());
        show(value, f) show_base64(value, f);
        write(value, out) out.extend_from_slice(value);
        scan(fields, wire) fields.digits(Collector::base64(wire), "base 64")?;
    }
    /// Octets behind their length in two octets, in base 64; a hyphen for none.
    Base64Counted: &'m [u8] {
        read(r) r.u16().and_then(|octets| r.take(octets.into()));
        show(value, f) if value.is_empty() { f.write_char('-') } else { show_base64(value, f) };
        write(value, out) {
            out.extend_from_slice(&(value.len() as u16).to_be_bytes());
            out.extend_from_slice(value);
        };
        scan(fields, wire) {
            let at = wire.len();
            wire.extend_from_slice(&[0, 0]);
            scan_counted(fields, wire, Collector::base64, "base 64, or -")?;
            let octets = u16::try_from(wire.len() - at - 2).map_err(|_| RDataTextError::TooLong)?;
            wire[at..at + 2].copy_from_slice(&octets.to_be_bytes());
        };
    }
    /// A salt behind its length, in hexadecimal; a hyphen for none (RFC 5155 §3.3).
    Salt: &'m [u8] {
        read(r) r.string();
        show(value, f) if value.is_empty() { f.write_char('-') } else { show_hex(value, f) };
        write(value, out) write_string(value, out);
        scan(fields, wire) {
            let at = wire.len();
            wire.push(0);
            scan_counted(fields, wire, Collector::hex, "hexadecimal digits, or -")?;
            wire[at] = u8::try_from(wire.len() - at - 1).map_err(|_| RDataTextError::TooLong)?;
        };
    }
    /// A hash behind its length, in base 32 (RFC 5155 §3.3).
    Hash: &'m [u8] {
        read(r) r.string().and_then(|hash| if hash.is_empty() { Err(r.bad()) } else { Ok(hash) });
        show(value, f) show_base32(value, f);
        write(value, out) write_string(value, out);
        scan(fields, wire) {
            let at = wire.len();
            wire.push(0);
            scan_counted(fields, wire, Collector::base32, "base 32")?;
            wire[at] = u8::try_from(wire.len() - at - 1).map_err(|_| RDataTextError::TooLong)?;
            if wire[at] == 0 {
                return Err(RDataTextError::Unexpected { expected: "base 32" });
            }
        };
    }
    /// Six octets with hyphens between them (RFC 7043 §3.2).
    Octets6: [u8; 6] {
        read(r) r.array();
        show(value, f) show_pairs(value, f);
        write(value, out) out.extend_from_slice(value);
        scan(fields, wire) scan_pairs::<6>(fields, wire)?;
    }
    /// Eight octets with hyphens between them (RFC 7043 §4.2).
    Octets8: [u8; 8] {
        read(r) r.array();
        show(value, f) show_pairs(value, f);
        write(value, out) out.extend_from_slice(value);
        scan(fields, wire) scan_pairs::<8>(fields, wire)?;
    }
    /// 64 bits as four groups of hexadecimal digits (RFC 6742 §2.1.1).
    Groups: u64 {
        read(r) r.array().map(u64::from_be_bytes);
        show(value, f) write!(f, "{:x}:{:x}:{:x}:{:x}", value >> 48, value >> 32 & 0xFFFF, value >> 16 & 0xFFFF, value & 0xFFFF);
        write(value, out) out.extend_from_slice(&value.to_be_bytes());
        scan(fields, wire) {
            const EXPECTED: RDataTextError = RDataTextError::Unexpected { expected: "four groups of hexadecimal digits" };
            let word = fields.word("four groups of hexadecimal digits")?;
            let mut groups = 0;
            for group in word.split(':') {
                if group.is_empty() || group.len() > 4 || group.starts_with('+') {
                    return Err(EXPECTED);
                }
                groups += 1;
                wire.extend(u16::from_str_radix(group, 16).map_err(|_| EXPECTED)?.to_be_bytes());
            }
            if groups != 4 {
                return Err(EXPECTED);
            }
        };
    }
    /// An NSAP address: 0x and hexadecimal digits, with dots where one likes (RFC 1706 §7).
    Nsap: &'m [u8] {
        read(r) Ok(r.rest());
        show(value, f) {
            f.write_str("0x")?;
            show_hex(value, f)
        };
        write(value, out) out.extend_from_slice(value);
        scan(fields, wire) {
            const EXPECTED: RDataTextError = RDataTextError::Unexpected { expected: "0x and hexadecimal digits" };
            let token = fields.token()?.octets;
            let digits = token.strip_prefix(b"0x").or(token.strip_prefix(b"0X")).ok_or(EXPECTED)?;
            let mut collector = Collector::hex(wire);
            let mut digits = digits.iter().filter(|&&octet| octet != b'.');
            digits.try_for_each(|&octet| collector.push(octet)).and_then(|()| collector.finish()).ok_or(EXPECTED)?;
        };
    }
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

fn is_tag(tag: &[u8]) -> bool {
    !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric)
}

fn show_pairs(octets: &[u8], f: &mut Spaced<'_, '_>) -> fmt::Result {
    octets.iter().enumerate().try_for_each(|(index, octet)| {
        f.write_str(if index > 0 { "-" } else { "" })?;
        write!(f, "{octet:02x}")
    })
}

#[cfg(feature = "alloc")]
fn scan_pairs<const N: usize>(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
    const EXPECTED: RDataTextError =
        RDataTextError::Unexpected { expected: "pairs of hexadecimal digits with hyphens between them" };
    let word = fields.word("pairs of hexadecimal digits with hyphens between them")?;
    let mut pairs = 0;
    for pair in word.split('-') {
        let valid = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        wire.push(u8::from_str_radix(pair, 16).ok().filter(|_| valid).ok_or(EXPECTED)?);
        pairs += 1;
    }
    if pairs == N { Ok(()) } else { Err(EXPECTED) }
}

/// One token of digits, or a hyphen for none.
#[cfg(feature = "alloc")]
fn scan_counted<'o>(
    fields: &mut Fields<'_, '_>,
    wire: &'o mut Vec<u8>,
    collector: fn(&'o mut Vec<u8>) -> Collector<'o>,
    expected: &'static str,
) -> Result<(), RDataTextError> {
    if fields.peek().is_some_and(|token| token.octets == b"-") {
        return fields.token().map(drop);
    }
    let mut collector = collector(wire);
    fields.digits_of_one(&mut collector, expected)?;
    collector.finish().ok_or(RDataTextError::Unexpected { expected })
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

/// Character strings one after the other, each of up to 255 octets (RFC 1035 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strings<'m>(&'m [u8]);

impl<'m> Strings<'m> {
    #[inline]
    fn parse(octets: &'m [u8]) -> Option<Self> {
        let mut rest = octets;
        while let [length, tail @ ..] = rest {
            rest = tail.get(usize::from(*length)..)?;
        }
        Some(Self(octets))
    }

    /// Strings that the caller has checked.
    pub(crate) const fn checked(octets: &'m [u8]) -> Self {
        Self(octets)
    }

    /// The strings, each behind its length, that are still to come.
    #[must_use]
    pub const fn as_wire(&self) -> &'m [u8] {
        self.0
    }
}

impl<'m> Iterator for Strings<'m> {
    type Item = &'m [u8];

    #[inline]
    fn next(&mut self) -> Option<&'m [u8]> {
        let (&length, rest) = self.0.split_first()?;
        let (string, rest) = rest.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(string)
    }
}
