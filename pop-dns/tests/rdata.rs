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
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("A", "192.0.2.1", ""),
    ("NS", "ns1", "ns1.example.com."),
    ("MD", "mail.example.", ""),
    ("MF", "mail.example.", ""),
    ("CNAME", "a\\.b.c\\032d.", ""),
    (
        "SOA",
        "ns1.x. host\\.master.x. 2026010100 2h 15m 2w 5m",
        "ns1.x. host\\.master.x. 2026010100 7200 900 1209600 300",
    ),
    ("MB", "mailbox.x.", ""),
    ("MG", "member.x.", ""),
    ("MR", "rename.x.", ""),
    ("WKS", "192.0.2.1 tcp 25 80 53", "192.0.2.1 6 25 53 80"),
    ("PTR", "@", "example.com."),
    ("HINFO", "PDP-11 \"UNIX V7\"", "\"PDP-11\" \"UNIX V7\""),
    ("MINFO", "a.x. b.x.", ""),
    ("MX", "10 mail", "10 mail.example.com."),
    ("TXT", "one \"two; three\" \"\\\"\\\\\\255\"", "\"one\" \"two; three\" \"\\\"\\\\\\255\""),
    ("RP", "a.x. .", ""),
    ("AFSDB", "1 afs.x.", ""),
    ("X25", "311061700956", "\"311061700956\""),
    ("ISDN", "150862028003217", "\"150862028003217\""),
    ("ISDN", "150862028003217 004", "\"150862028003217\" \"004\""),
    ("RT", "2 relay.x.", ""),
    (
        "NSAP",
        "0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00",
        "0x47000580005a0000000001e133ffffff00016100",
    ),
    ("NSAP-PTR", "foo.x.", ""),
    (
        "SIG",
        "0 5 0 0 20300101000000 20200101000000 12345 key.x. AQID",
        "TYPE0 5 0 0 20300101000000 20200101000000 12345 key.x. AQID",
    ),
    ("KEY", "512 255 RSASHA1 AQID", "512 255 5 AQID"),
    ("PX", "50 ab.x. cd.x.", ""),
    ("GPOS", "-32.6882 116.8652 10.0", "\"-32.6882\" \"116.8652\" \"10.0\""),
    ("AAAA", "2001:DB8::1", "2001:db8::1"),
    ("LOC", "42 21 54 N 71 06 18 W -24m 30m", "42 21 54.000 N 71 6 18.000 W -24.00m 30.00m 10000.00m 10.00m"),
    ("LOC", "52 N 4.0 E 0", "!"),
    ("LOC", "52 N 4 E 0", "52 0 0.000 N 4 0 0.000 E 0.00m 1.00m 10000.00m 10.00m"),
    (
        "LOC",
        "90 S 180 W -100000m 0 0 90000000m",
        "90 0 0.000 S 180 0 0.000 W -100000.00m 0.00m 0.00m 90000000.00m",
    ),
    ("EID", "e32c6f78163a9348", ""),
    ("NIMLOC", "32251a030067", ""),
    ("SRV", "0 5 5060 sip.x.", ""),
    ("ATMA", "47.0005.80", "47000580"),
    ("ATMA", "+61200000000", ""),
    ("NAPTR", "100 50 \"s\" \"http+I2L+I2C+I2R\" \"\" _http._tcp.x.", ""),
    ("KX", "10 kx.x.", ""),
    ("CERT", "PGP 0 0 AQID", "3 0 0 AQID"),
    ("DNAME", "new.x.", ""),
    ("SINK", "1 2 3 AQID", ""),
    (
        "APL",
        "1:192.168.32.0/21 !1:192.168.38.0/28 2:ff00::/8",
        "1:192.168.32.0/21 !1:192.168.38.0/28 2:ff00::/8",
    ),
    (
        "DS",
        "60485 5 1 2BB183AF5F22588179A53B0A 98631FAD1A292118",
        "60485 5 1 2bb183af5f22588179a53b0a98631fad1a292118",
    ),
    ("SSHFP", "2 1 123456789abcdef67890123456789abcdef67890", ""),
    ("IPSECKEY", "10 1 2 192.0.2.38 AQNR", ""),
    ("IPSECKEY", "10 0 2 . AQNR", ""),
    ("IPSECKEY", "10 2 2 2001:db8::1 AQNR", ""),
    ("IPSECKEY", "10 3 2 gw.x.", ""),
    (
        "RRSIG",
        "A ECDSAP256SHA256 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WNGv+ldvQ3WDG0",
        "A 13 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WNGv+ldvQ3WDG0",
    ),
    ("NSEC", "host.x. A MX RRSIG NSEC TYPE1234", ""),
    ("NSEC", "host.x.", ""),
    ("DNSKEY", "256 3 5 AQPSKmynfzW4kyBv 015MUG2DeIQ3", "256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3"),
    ("DHCID", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", ""),
    ("NSEC3", "1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG", ""),
    ("NSEC3", "1 0 0 - 2VPTU5TIMAMQTTGL4LUU9KG21E0AOR3S", "1 0 0 - 2vptu5timamqttgl4luu9kg21e0aor3s"),
    ("NSEC3PARAM", "1 0 12 aabbccdd", ""),
    ("NSEC3PARAM", "1 0 0 -", ""),
    ("TLSA", "3 1 1 0C72AC70B745AC19998811B131D662C9", "3 1 1 0c72ac70b745ac19998811b131d662c9"),
    ("SMIMEA", "3 1 1 0c72", ""),
    (
        "HIP",
        "2 200100107B1A74DF365639CC39F1D578 AwEAAbdx rvs1.x. rvs2.x.",
        "2 200100107b1a74df365639cc39f1d578 AwEAAbdx rvs1.x. rvs2.x.",
    ),
    ("NINFO", "status", "\"status\""),
    ("RKEY", "0 1 2 AQID", ""),
    ("TALINK", "a.x. b.x.", ""),
    ("CDS", "0 0 0 00", ""),
    ("CDNSKEY", "0 3 0 AA==", ""),
    ("OPENPGPKEY", "AQIDBA==", ""),
    ("CSYNC", "66 3 A NS AAAA", ""),
    ("ZONEMD", "2018031500 1 1 FEBE3D4CE2EC2FFA", "2018031500 1 1 febe3d4ce2ec2ffa"),
    ("SVCB", "1 .", ""),
    ("HTTPS", "0 svc.x.", ""),
    (
        "HTTPS",
        "1 . alpn=h2,h3 ech=AQID ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1",
        "1 . alpn=\"h2,h3\" ipv4hint=192.0.2.1,192.0.2.2 ech=AQID ipv6hint=2001:db8::1",
    ),
    (
        "SVCB",
        "1 x. alpn=dot no-default-alpn port=853 dohpath=/q{?dns} ohttp tls-supported-groups=29,23 mandatory=alpn,port",
        "1 x. mandatory=alpn,port alpn=\"dot\" no-default-alpn port=853 dohpath=\"/q{?dns}\" ohttp tls-supported-groups=29,23",
    ),
    ("DSYNC", "CDS NOTIFY 5359 cds-scanner.example.net.", ""),
    ("HHIT", "AQID", ""),
    ("BRID", "AQID", ""),
    ("SPF", "\"v=spf1 -all\"", ""),
    ("NID", "10 0014:4fff:ff20:ee64", "10 14:4fff:ff20:ee64"),
    ("L32", "10 10.1.2.0", ""),
    ("L64", "10 2001:0DB8:1140:1000", "10 2001:db8:1140:1000"),
    ("LP", "10 l64.x.", ""),
    ("EUI48", "00-00-5E-00-53-2a", "00-00-5e-00-53-2a"),
    ("EUI64", "00-00-5e-ef-10-00-00-2a", ""),
    ("TKEY", "gss-tsig. 20200101000000 20200102000000 3 0 AQID -", ""),
    ("TSIG", "hmac-sha256. 1600000000 300 AQID 4660 0 -", ""),
    ("URI", "10 1 \"ftp://ftp1.example.com/public\"", ""),
    ("CAA", "0 issue \"letsencrypt.org; validationmethods=dns-01\"", ""),
    ("AVC", "\"app-name:WOLFGANG\"", ""),
    ("DOA", "0 1 2 \"text/html\" AQID", ""),
    ("AMTRELAY", "10 0 3 amtrelays.example.com.", ""),
    ("AMTRELAY", "128 1 0 .", ""),
    ("AMTRELAY", "10 1 1 203.0.113.15", ""),
    ("RESINFO", "qnamemin \"exterr=15-17\"", "\"qnamemin\" \"exterr=15-17\""),
    ("WALLET", "BTC abc", "\"BTC\" \"abc\""),
    ("CLA", "tcp-v4", "\"tcp-v4\""),
    ("IPN", "18446744073709551615", ""),
    ("TA", "1 8 2 aabb", ""),
    ("DLV", "1 8 2 aabb", ""),
];

#[test]
fn every_type_goes_both_ways() {
    for (rtype, text, expected) in EXAMPLES {
        match *expected {
            "!" => assert!(to_wire(RecordType::from_text(rtype).unwrap(), text).is_err(), "{rtype} {text}"),
            "" => check(rtype, text, text),
            expected => check(rtype, text, expected),
        }
    }
    for rtype in TYPED {
        let name = rtype.to_string();
        assert!(EXAMPLES.iter().any(|(example, _, _)| *example == name), "no example of {name}");
    }
    check("TYPE65280", "\\# 3 abcdef", "\\# 3 abcdef");
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
        (RecordType::TSIG, b"\x00\0\0\0\0\0\0\x01\x2c\x00\x05AB"),
    ] {
        assert!(RData::parse(rtype, wire, 0).is_err(), "{rtype} {wire:02x?}");
        // What is not understood is still shown.
        assert!(RawRData::new(rtype, wire).to_string().starts_with("\\# "));
    }
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
