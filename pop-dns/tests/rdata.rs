//! Text and wire of every type: each is the other's inverse.
#![cfg(feature = "alloc")]

use pop_dns::rdata::TYPED;
use pop_dns::{NameBuf, RData, RDataTextError, RawRData, RecordType, Token, parse_rdata};

/// Tokens as a master file has them: blanks separate, quotes keep together.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let quoted = rest.starts_with('"');
        let mut inside = quoted;
        let mut end = usize::from(quoted);
        let octets = rest.as_bytes();
        while end < octets.len() {
            match octets[end] {
                b'\\' => end += 1,
                b'"' if quoted => break,
                b'"' => inside = !inside,
                b' ' if !inside => break,
                _ => {}
            }
            end += 1;
        }
        tokens.push(Token { octets: &octets[usize::from(quoted)..end], quoted });
        rest = rest[end + usize::from(quoted)..].trim_start();
    }
    tokens
}

fn to_wire(rtype: RecordType, text: &str) -> Result<Vec<u8>, RDataTextError> {
    let origin: NameBuf = "example.com".parse().unwrap();
    let mut wire = Vec::new();
    parse_rdata(rtype, tokens(text), &origin, &mut wire).map(|()| wire)
}

/// `text` becomes `expected` by way of the wire, and that reads back to the same wire, as text and as RFC 3597 has it.
fn check(rtype: &str, text: &str, expected: &str) {
    let rtype = RecordType::from_text(rtype).unwrap();
    let wire = to_wire(rtype, text).unwrap_or_else(|error| panic!("{rtype} {text}: {error}"));
    let typed = RData::parse(rtype, &wire, 0).unwrap_or_else(|error| panic!("{rtype} {text}: {error}"));
    assert_eq!(typed.to_string(), expected, "{rtype}");
    assert_eq!(typed.rtype(), rtype);
    assert_eq!(to_wire(rtype, expected), Ok(wire.clone()), "{rtype} {expected}");
    let mut written = Vec::new();
    typed.write_wire(&mut written).unwrap();
    assert_eq!(written, wire, "{rtype} {text}");
    let generic = RData::Unknown(rtype, &wire).to_string();
    assert_eq!(to_wire(rtype, &generic), Ok(wire.clone()), "{rtype} {generic}");
    let mut plain = Vec::new();
    RawRData::new(rtype, &wire).write_uncompressed(&mut plain).unwrap();
    assert_eq!(plain, wire);
}

/// One line a type at least: type, text, and the text that comes back where it differs.
const EXAMPLES: &str = include_str!("data/rdata.txt");

fn examples() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    EXAMPLES.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap_or_default();
        (field(), field(), field())
    })
}

#[test]
fn every_type_goes_both_ways() {
    for (rtype, text, expected) in examples() {
        match expected {
            "!" => assert!(to_wire(RecordType::from_text(rtype).unwrap(), text).is_err(), "{rtype} {text}"),
            "" => check(rtype, text, text),
            expected => check(rtype, text, expected),
        }
    }
    for rtype in TYPED {
        let name = rtype.to_string();
        assert!(examples().any(|(example, _, _)| example == name), "no example of {name}");
    }
    check("TYPE65280", "\\# 3 abcdef", "\\# 3 abcdef");
}

/// The types of the IANA registry that hold data, by number. What is not here is reserved, unassigned, obsolete in a way
/// that left no form to read (NULL, NXT, A6, UINFO, UID, GID, UNSPEC), a question (IXFR, AXFR, MAILB, MAILA, ANY), or a marker
/// (OPT, NXNAME).
#[test]
fn every_active_type_of_the_registry_is_typed() {
    let ranges =
        [1..=9, 11..=29, 31..=37, 39..=40, 42..=53, 55..=68, 99..=99, 104..=109, 249..=250, 256..=264];
    let active = ranges.into_iter().flatten().chain([32_768, 32_769]);
    for code in active {
        let rtype = RecordType(code);
        assert!(rtype.mnemonic().is_some(), "TYPE{code} has a name");
        assert!(TYPED.contains(&rtype), "{rtype}");
    }
    assert_eq!(TYPED.len(), 9 + 19 + 7 + 2 + 12 + 14 + 1 + 6 + 2 + 9 + 2);
}

/// RFC 9460 appendix D: what becomes of the text on the wire.
#[test]
fn service_bindings_of_the_rfc() {
    let check = |text: &str, wire: &[u8]| {
        assert_eq!(to_wire(RecordType::SVCB, text).as_deref(), Ok(wire), "{text}");
        let back = RData::parse(RecordType::SVCB, wire, 0).unwrap().to_string();
        assert_eq!(to_wire(RecordType::SVCB, &back).as_deref(), Ok(wire), "{back}");
    };
    const FOO: &[u8] = b"\x03foo\x07example\x03com\x00";
    let with =
        |priority: u16, target: &[u8], params: &[u8]| [&priority.to_be_bytes(), target, params].concat();
    check("0 foo.example.com.", &with(0, FOO, b""));
    check("1 .", &with(1, b"\0", b""));
    check("16 foo.example.com. port=53", &with(16, FOO, b"\x00\x03\x00\x02\x00\x35"));
    check("1 foo.example.com. key667=hello", &with(1, FOO, b"\x02\x9b\x00\x05hello"));
    check("1 foo.example.com. key667=\"hello\\210qoo\"", &with(1, FOO, b"\x02\x9b\x00\x09hello\xd2qoo"));
    let hints = b"\x00\x06\x00\x20\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\x53\0\x01";
    check("1 foo.example.com. ipv6hint=\"2001:db8::1,2001:db8::53:1\"", &with(1, FOO, hints));
    let mapped = b"\x00\x06\x00\x10\x20\x01\x0d\xb8\x01\x22\x03\x44\0\0\0\0\xc0\0\x02\x21";
    check(
        "1 example.com. ipv6hint=\"2001:db8:122:344::192.0.2.33\"",
        &with(1, b"\x07example\x03com\0", mapped),
    );
    let sorted =
        b"\x00\x00\x00\x04\x00\x01\x00\x04\x00\x01\x00\x09\x02h2\x05h3-19\x00\x04\x00\x04\xc0\x00\x02\x01";
    check(
        "16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1",
        &with(16, b"\x03foo\x07example\x03org\0", sorted),
    );
    let commas = b"\x00\x01\x00\x0c\x08f\\oo,bar\x02h2";
    for text in ["alpn=\"f\\\\\\\\oo\\\\,bar,h2\"", "alpn=f\\\\\\092oo\\092,bar,h2"] {
        check(&format!("16 foo.example.org. {text}"), &with(16, b"\x03foo\x07example\x03org\0", commas));
    }
}

/// RFC 9460 appendix D.3, and what else must not pass.
#[test]
fn service_bindings_that_are_refused() {
    for text in [
        "1 foo key123=abc key123=def",
        "1 foo mandatory",
        "1 foo alpn",
        "1 foo port",
        "1 foo ipv4hint",
        "1 foo ipv6hint",
        "1 foo no-default-alpn=abc",
        "1 foo mandatory=key123",
        "1 foo mandatory=mandatory",
        "1 foo mandatory=key123,key123 key123=abc",
        "1 foo no-default-alpn",
        "1 foo port=65536",
        "1 foo alpn=",
        "1 foo alpn=h2,,h3",
        "1 foo key65535=x",
        "1 foo key007=x",
    ] {
        assert!(to_wire(RecordType::SVCB, text).is_err(), "{text}");
    }
    for params in [
        &b"\x00\x03\x00\x02\x00\x35\x00\x01\x00\x03\x02h2"[..], // keys descend
        b"\x00\x03\x00\x02\x00\x35\x00\x03\x00\x02\x00\x35",    // twice
        b"\x00\x03\x00\x03\x00\x35\x00",                        // a port of three octets
        b"\x00\x00\x00\x02\x00\x01",                            // mandatory, but absent
        b"\x00\x01\x00\x01\x00",                                // an empty protocol
        b"\x00\x04\x00\x05\xc0\x00\x02\x01\x00",
        b"\x00\x03\x00",
    ] {
        let wire = [b"\x00\x01\x00", params].concat();
        assert!(RData::parse(RecordType::SVCB, &wire, 0).is_err(), "{params:02x?}");
    }
}

#[test]
fn malformed_octets_are_refused() {
    for (rtype, wire) in [
        (RecordType::A, &b"\xc0\x00\x02"[..]),
        (RecordType::A, b"\xc0\x00\x02\x01\x00"),
        (RecordType::TXT, b"\x05four"),
        (RecordType::MX, b"\x00\x0a"),
        (RecordType::NSEC, b"\x00\x00\x01\x00"),
        (RecordType::NSEC, b"\x00\x01\x01\x80\x00\x01\x80"),
        (RecordType::NSEC, b"\x00\x00\x21\x00"),
        (RecordType::CAA, b"\x00\x00value"),
        (RecordType::CAA, b"\x00\x02a-x"),
        (RecordType::APL, b"\x00\x01\x21\x00"),
        (RecordType::APL, b"\x00\x01\x18\x03\x0a\x00\x00"),
        (RecordType::LOC, b"\x01\x12\x16\x13\x80\0\0\0\x80\0\0\0\0\0\0\0"),
        (RecordType::HIP, b"\x00\x02\x00\x01A"),
        (RecordType::IPSECKEY, b"\x0a\x04\x02"),
        (RecordType::NSEC3, b"\x01\x00\x00\x00\x00\x00"),
        (RecordType::EUI48, b"\x00\x00\x5e\x00\x53"),
        (RecordType::ZONEMD, b"\0\0\0\x01\x01\x01elevenoctet"),
        (RecordType::URI, b"\x00\x0a\x00\x01"),
        (RecordType::TSIG, b"\x00\0\0\0\0\0\0\x01\x2c\x00\x05AB"),
    ] {
        assert!(RData::parse(rtype, wire, 0).is_err(), "{rtype} {wire:02x?}");
        // What is not understood is still shown.
        assert!(RawRData::new(rtype, wire).to_string().starts_with("\\# "));
    }
}

/// An address of the Chaosnet is a name and a number: no IPv4 address, and no error.
#[test]
fn addresses_of_another_class_are_left_alone() {
    use pop_dns::{Class, Message, MessageBuilder, Section};
    let mut builder = MessageBuilder::new(512);
    let chaos = RawRData::new(RecordType::A, b"\x02ch\x00\x01\x02");
    builder.records(Section::Answer, pop_dns::Name::ROOT, Class::CH, 0, [chaos]).unwrap();
    let wire = builder.finish();
    let message = Message::parse(&wire).unwrap();
    message.check().unwrap();
    let record = message.answers().unwrap().next().unwrap().unwrap();
    assert_eq!(record.rdata(), Ok(RData::Unknown(RecordType::A, b"\x02ch\x00\x01\x02")));
}

#[test]
fn malformed_text_is_refused() {
    for (rtype, text) in [
        ("A", "192.0.2.256"),
        ("A", "192.0.2.1 x"),
        ("AAAA", "::g"),
        ("MX", "+10 mail"),
        ("MX", "10"),
        ("DS", "1 8 2 abc"),
        ("DNSKEY", "256 3 8 AQI"),
        ("DNSKEY", "256 3 8 AQID="),
        ("NSEC", "a. FOO"),
        ("EUI48", "00-00-5e-00-53"),
        ("NID", "10 0014:4fff:ff20"),
        ("RRSIG", "A 8 2 3600 20201301000000 20200101000000 1 x. AQID"),
        ("TXT", "\"\\256\""),
        ("CAA", "0 is-sue x"),
        ("APL", "1:2001:db8::/32"),
        ("APL", "1:192.0.2.0/33"),
        ("CSYNC", "1"),
        ("A", "\\# 3 010203"),
        ("A", "\\# 4 010203"),
        ("TYPE65280", "abc"),
        ("HIP", "2 zz AQID"),
        ("ZONEMD", "1 1 1 0011223344556677889900"),
        ("URI", "10 1 \"\""),
        ("ATMA", "+12a"),
    ] {
        assert!(to_wire(RecordType::from_text(rtype).unwrap(), text).is_err(), "{rtype} {text}");
    }
}

/// RFC 4034 §6.2: lower case and no compression, for the types it lists and no others.
#[test]
fn canonical_form() {
    let check = |rtype: RecordType, text: &str, expected: &str| {
        let wire = to_wire(rtype, text).unwrap();
        let mut canonical = Vec::new();
        RawRData::new(rtype, &wire).write_canonical(&mut canonical).unwrap();
        assert_eq!(RawRData::new(rtype, &canonical).to_string(), expected);
    };
    check(RecordType::MX, "10 MAIL.X.", "10 mail.x.");
    check(RecordType::SOA, "A.X. B.X. 1 2 3 4 5", "a.x. b.x. 1 2 3 4 5");
    check(RecordType::NAPTR, "1 2 \"S\" \"SIP\" \"\" C.X.", "1 2 \"S\" \"SIP\" \"\" c.x.");
    check(RecordType::SRV, "1 2 3 C.X.", "1 2 3 c.x.");
    check(RecordType::NSEC, "C.X. A", "C.X. A");
    check(RecordType::HTTPS, "1 C.X.", "1 C.X.");
    check(RecordType::TXT, "ABC", "\"ABC\"");
}
