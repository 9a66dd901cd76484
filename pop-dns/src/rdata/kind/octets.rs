//! Fields that hold octets: text, digits of some base, or both.

use core::fmt::{self, Write};

use super::{Kind, Spaced, kinds, show_escaped, show_quoted};
use crate::ParseError;
use crate::rdata::base::{show_base32, show_base64, show_hex};
use crate::rdata::reader::Reader;
use crate::rdata::strings::Strings;
#[cfg(feature = "alloc")]
use {
    super::write_string,
    crate::rdata::base::Collector,
    crate::rdata::text::{Fields, RDataTextError},
    alloc::vec::Vec,
};

kinds! {
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
