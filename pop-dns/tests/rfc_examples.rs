//! The examples of the DNSSEC RFCs: each query of RFC 4035 appendix B and RFC 5155 appendix B, answered from the zone of
//! its appendix A, section by section. The signatures are ours, by a key of the test's, and each of them is checked; the
//! RFCs' own are by a key of 512 bits and expired.
//!
//! The RFCs show servers that add the zone's own servers to positive answers. That is theirs to choose (RFC 1034 §4.3.2 asks
//! for what is useful) and ours to leave: such lines are marked with `~`.
#![cfg(feature = "dnssec")]

use std::collections::BTreeMap;

use pop_dns::dnssec::{Budget, EntryPoint, Set, Signed, SigningKey, sign_set, verify_set};
use pop_dns::zone::Zone;
use pop_dns::{
    Authority, EdnsParts, Flags, Message, MessageBuilder, NameBuf, Outcome, RData, Rcode, RecordType,
    Section, Timestamp, Transport,
};

const NOW: u32 = 1_800_000_000;

fn name(text: &str) -> NameBuf {
    text.parse().unwrap()
}

/// An authority for a zone whose sets were signed by `key`.
struct Example {
    authority: Authority,
    key: SigningKey,
}

impl Example {
    fn new(text: &str) -> Self {
        let random = ring::rand::SystemRandom::new();
        let der = ring::signature::Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let key = SigningKey::from_pkcs8(der.as_ref(), EntryPoint::No).unwrap();
        let dnskey = RData::parse(RecordType::DNSKEY, key.dnskey(), 0).unwrap();
        let mut text = format!("{text}example. DNSKEY {dnskey}\n");
        let zone = Zone::parse(text.as_bytes(), name("example")).unwrap();
        let mut sets: BTreeMap<(NameBuf, u16), Vec<Vec<u8>>> = BTreeMap::new();
        for record in zone.iter() {
            let owner = record.owner.to_name_buf().unwrap();
            sets.entry((owner, record.rtype.0)).or_default().push(record.rdata.to_vec());
        }
        let apex = name("example");
        let cuts: Vec<NameBuf> = sets
            .keys()
            .filter(|key| key.1 == RecordType::NS.0 && key.0 != apex)
            .map(|key| key.0.clone())
            .collect();
        for ((owner, rtype), rdata) in &sets {
            let rtype = RecordType(*rtype);
            // RFC 4035 §2.2: neither the servers of a delegation nor their addresses.
            let above = |cut: &NameBuf| owner.is_within(cut) && (owner != cut || rtype == RecordType::NS);
            if cuts.iter().any(above) {
                continue;
            }
            let rdata: Vec<&[u8]> = rdata.iter().map(|rdata| &rdata[..]).collect();
            let set = Set { owner: owner.as_name(), rtype, rdata: &rdata };
            let times = Signed { original_ttl: 3600, inception: NOW - 60, expiration: NOW + 60 };
            let signature = sign_set(&key, apex.as_name(), &set, times).unwrap();
            let signature = RData::parse(RecordType::RRSIG, &signature, 0).unwrap();
            text += &format!("{owner} RRSIG {signature}\n");
        }
        let zone = Zone::parse(text.as_bytes(), apex).unwrap();
        Self { authority: Authority::new([zone]), key }
    }

    /// Asks, and compares code, AA and all three sections with `expected`: a section a paragraph, a record a line, a
    /// signature by what it covers and how many labels it counts. `~` marks what the RFC shows and we leave out.
    fn check(&self, qname: &str, qtype: RecordType, code: &str, expected: [&str; 3]) {
        let mut builder = MessageBuilder::query(1, &name(qname), qtype);
        let edns = EdnsParts { udp_payload: 1232, dnssec_ok: true, ..EdnsParts::default() };
        builder.edns(&edns, Rcode::NOERROR).unwrap();
        let now = Timestamp::from_nanos(u64::from(NOW) * 1_000_000_000);
        let (client, mut answer) = ("192.0.2.99".parse().unwrap(), Vec::new());
        let outcome = self.authority.respond(&builder.finish(), client, now, Transport::Tcp, &mut answer);
        let message = Message::parse(&answer).unwrap();
        message.check().unwrap();
        let Outcome::Answered(rcode) = outcome else { panic!("silence") };
        let flags = message.header().flags;
        assert_eq!(format!("{rcode}{}", if flags.has(Flags::AA) { " aa" } else { "" }), code, "{qname}");
        let dnssec_ok = message.edns().unwrap().unwrap().dnssec_ok;
        assert!(dnssec_ok, "RFC 3225 §3: DO comes back");
        for (section, expected) in
            [Section::Answer, Section::Authority, Section::Additional].into_iter().zip(expected)
        {
            let mut lines: Vec<String> =
                message.section(section).unwrap().filter_map(|record| line(&record.unwrap())).collect();
            let mut wanted: Vec<String> = expected
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .filter(|line| !line.is_empty() && !line.starts_with('~'))
                .collect();
            lines.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(lines, wanted, "{qname} {qtype} {section:?}");
            self.verify(&message, section);
        }
    }

    /// Every signature of a section holds for the set that it stands beside.
    fn verify(&self, message: &Message<'_>, section: Section) {
        let records: Vec<_> = message.section(section).unwrap().map(Result::unwrap).collect();
        let wire = |record: &pop_dns::Record<'_>| {
            let mut wire = Vec::new();
            record.raw_rdata().write_uncompressed(&mut wire).unwrap();
            wire
        };
        for record in &records {
            let Ok(RData::Rrsig(rrsig)) = record.rdata() else { continue };
            let of_set =
                |other: &&pop_dns::Record<'_>| other.rtype == rrsig.type_covered && other.name == record.name;
            let set: Vec<Vec<u8>> = records.iter().filter(of_set).map(wire).collect();
            let set: Vec<&[u8]> = set.iter().map(|rdata| &rdata[..]).collect();
            let set = Set { owner: record.name, rtype: rrsig.type_covered, rdata: &set };
            let (signature, origin) = (wire(record), name("example"));
            let keys = [self.key.dnskey()];
            let verified =
                verify_set(&set, &[&signature], origin.as_name(), &keys, NOW, &mut Budget::default());
            assert_eq!(verified, Ok(()), "{} {}", record.name, rrsig.type_covered);
        }
    }
}

/// A record as the expectations have it; nothing for OPT.
fn line(record: &pop_dns::Record<'_>) -> Option<String> {
    match record.rdata().unwrap() {
        _ if record.rtype == RecordType::OPT => None,
        RData::Rrsig(rrsig) => Some(format!("{} RRSIG {} {}", record.name, rrsig.type_covered, rrsig.labels)),
        rdata => Some(format!("{} {} {rdata}", record.name, record.rtype)),
    }
}

const SOA_4035: &str =
    "example. SOA ns1.example. bugs.x.w.example. 1081539377 3600 300 3600000 3600\nexample. RRSIG SOA 1\n";

/// The sections of RFC 4035 appendix B by their numbers.
#[test]
fn rfc_4035_appendix_b() {
    let example = Example::new(include_str!("data/rfc4035.zone"));
    // B.1: an answer.
    example.check(
        "x.w.example",
        RecordType::MX,
        "NOERROR aa",
        [
            "x.w.example. MX 1 xx.example.
         x.w.example. RRSIG MX 3",
            "~ example. NS ns1.example.
         ~ example. NS ns2.example.
         ~ example. RRSIG NS 1",
            "xx.example. A 192.0.2.10
         xx.example. RRSIG A 2
         xx.example. AAAA 2001:db8::f00:baaa
         xx.example. RRSIG AAAA 2
         ~ ns1.example. A 192.0.2.1
         ~ ns1.example. RRSIG A 2
         ~ ns2.example. A 192.0.2.2
         ~ ns2.example. RRSIG A 2",
        ],
    );
    // B.2: no such name, nor a wildcard for it.
    let absent = "b.example. NSEC ns1.example. NS RRSIG NSEC
                  b.example. RRSIG NSEC 2
                  example. NSEC a.example. NS SOA MX RRSIG NSEC DNSKEY
                  example. RRSIG NSEC 1";
    example.check("ml.example", RecordType::A, "NXDOMAIN aa", ["", &format!("{SOA_4035}{absent}"), ""]);
    // B.3: no such type.
    let no_type = "ns1.example. NSEC ns2.example. A RRSIG NSEC
                   ns1.example. RRSIG NSEC 2";
    example.check("ns1.example", RecordType::MX, "NOERROR aa", ["", &format!("{SOA_4035}{no_type}"), ""]);
    // B.4: a referral to a signed zone.
    example.check(
        "mc.a.example",
        RecordType::MX,
        "NOERROR",
        [
            "",
            "a.example. NS ns1.a.example.
         a.example. NS ns2.a.example.
         a.example. DS 57855 5 1 b6dcd485719adca18e5f3d48a2331627fdd3636b
         a.example. RRSIG DS 2",
            "ns1.a.example. A 192.0.2.5
         ns2.a.example. A 192.0.2.6",
        ],
    );
    // B.5: a referral to an unsigned one, and the proof that it is.
    example.check(
        "mc.b.example",
        RecordType::MX,
        "NOERROR",
        [
            "",
            "b.example. NS ns1.b.example.
         b.example. NS ns2.b.example.
         b.example. NSEC ns1.example. NS RRSIG NSEC
         b.example. RRSIG NSEC 2",
            "ns1.b.example. A 192.0.2.7
         ns2.b.example. A 192.0.2.8",
        ],
    );
    // B.6: made by a wildcard, with the proof that nothing is closer.
    example.check(
        "a.z.w.example",
        RecordType::MX,
        "NOERROR aa",
        [
            "a.z.w.example. MX 1 ai.example.
         a.z.w.example. RRSIG MX 2",
            "~ example. NS ns1.example.
         ~ example. NS ns2.example.
         ~ example. RRSIG NS 1
         x.y.w.example. NSEC xx.example. MX RRSIG NSEC
         x.y.w.example. RRSIG NSEC 4",
            "ai.example. A 192.0.2.9
         ai.example. RRSIG A 2
         ai.example. AAAA 2001:db8::f00:baa9
         ai.example. RRSIG AAAA 2",
        ],
    );
    // B.7: a wildcard without the type.
    let wildcard = "x.y.w.example. NSEC xx.example. MX RRSIG NSEC
                    x.y.w.example. RRSIG NSEC 4
                    *.w.example. NSEC x.w.example. MX RRSIG NSEC
                    *.w.example. RRSIG NSEC 2";
    example.check(
        "a.z.w.example",
        RecordType::AAAA,
        "NOERROR aa",
        ["", &format!("{SOA_4035}{wildcard}"), ""],
    );
    // B.8: the DS of the zone itself, which only the parent has.
    let apex = "example. NSEC a.example. NS SOA MX RRSIG NSEC DNSKEY
                example. RRSIG NSEC 1";
    example.check("example", RecordType::DS, "NOERROR aa", ["", &format!("{SOA_4035}{apex}"), ""]);
}

/// The NSEC3 record of a name by its hash, and its signature.
fn nsec3(hash: &str) -> String {
    let zone = include_str!("data/rfc5155.zone");
    let find = |line: &&str| line.starts_with(hash) && line.contains(" NSEC3 ");
    let line = zone.lines().find(find).expect("a hash of the zone");
    let (_, rdata) = line.split_once(" NSEC3 ").expect("its RDATA");
    // Types are shown in the order of their numbers.
    let rdata = rdata
        .replace("MX DNSKEY NS SOA NSEC3PARAM RRSIG", "NS SOA MX RRSIG DNSKEY NSEC3PARAM")
        .replace("HINFO A AAAA", "A HINFO AAAA");
    format!("{hash}.example. NSEC3 {rdata}\n{hash}.example. RRSIG NSEC3 2\n")
}

const SOA_5155: &str =
    "example. SOA ns1.example. bugs.x.w.example. 1 3600 300 3600000 3600\nexample. RRSIG SOA 1\n";

/// The sections of RFC 5155 appendix B by their numbers.
#[test]
fn rfc_5155_appendix_b() {
    let example = Example::new(include_str!("data/rfc5155.zone"));
    let denied = |hashes: &[&str]| hashes.iter().fold(SOA_5155.to_owned(), |text, hash| text + &nsec3(hash));
    let (apex, a) = ("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", "35mthgpgcu1qg68fab165klnsnk3dpvl");
    let (ns1, ns2) = ("2t7b4g4vsa5smi47k61mv5bv1a22bojr", "q04jkcevqvmu85r014c7dkba38o0ji5r");
    let (w, x_w) = ("k8udemvp1j2f7eg6jebps17vp3n8i58h", "b4um86eghhds6nea196smvmlo4ors995");
    let (any_w, y_w) = ("r53bq7cc2uvmubfu5ocmm6pers9tk9en", "ji6neoaepv8b5o6k4ev33abha8ht9fgc");
    // B.1: no such name: the closest encloser, the next closer name, the wildcard.
    example.check("a.c.x.w.example", RecordType::A, "NXDOMAIN aa", ["", &denied(&[apex, x_w, a]), ""]);
    // B.2: no such type. The hash of this name is a name with an address.
    example.check("ns1.example", RecordType::MX, "NOERROR aa", ["", &denied(&[ns1]), ""]);
    // B.2.1: an empty non-terminal.
    example.check("y.w.example", RecordType::A, "NOERROR aa", ["", &denied(&[y_w]), ""]);
    // B.3: a referral to a zone that opted out.
    let referral =
        format!("c.example. NS ns1.c.example.\nc.example. NS ns2.c.example.\n{}{}", nsec3(a), nsec3(apex));
    let glue = "ns1.c.example. A 192.0.2.7\nns2.c.example. A 192.0.2.8";
    example.check("mc.c.example", RecordType::MX, "NOERROR", ["", &referral, glue]);
    // B.4: made by a wildcard.
    let servers = "~ example. NS ns1.example.\n~ example. NS ns2.example.\n~ example. RRSIG NS 1\n";
    example.check(
        "a.z.w.example",
        RecordType::MX,
        "NOERROR aa",
        [
            "a.z.w.example. MX 1 ai.example.
         a.z.w.example. RRSIG MX 2",
            &format!("{servers}{}", nsec3(ns2)),
            "ai.example. A 192.0.2.9
         ai.example. RRSIG A 2
         ai.example. AAAA 2001:db8::f00:baa9
         ai.example. RRSIG AAAA 2",
        ],
    );
    // B.5: a wildcard without the type.
    example.check("a.z.w.example", RecordType::AAAA, "NOERROR aa", ["", &denied(&[w, ns2, any_w]), ""]);
    // B.6: the DS of the zone itself.
    example.check("example", RecordType::DS, "NOERROR aa", ["", &denied(&[apex]), ""]);
    // The name that is a hash has an address, and answers with it.
    let hash = "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example";
    let address = format!("{hash}. A 192.0.2.127\n{hash}. RRSIG A 2");
    example.check(hash, RecordType::A, "NOERROR aa", [&address, "", ""]);
}
