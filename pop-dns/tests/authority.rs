//! The authority by its rules: what is asked, what comes back.
#![cfg(feature = "std")]

use std::net::IpAddr;

use pop_dns::zone::Zone;
use pop_dns::{
    Authority, ClientSubnet, DynamicAnswer, EdnsParts, Flags, LearnedFrom, Message, MessageBuilder, NameBuf,
    Outcome, Rcode, RecordType, Section, Timestamp, Transport,
};

const ZONE: &[u8] = br#"
$TTL 300
@       IN SOA ns1 hostmaster ( 2026010100 ; serial
                                2h 15m 2w 5m )
        NS    ns1
        NS    ns2.elsewhere.test.
        MX    10 mail
ns1     A     192.0.2.53
mail    AAAA  2001:db8::25
www  60 A     192.0.2.1
www     A     192.0.2.2
alias   CNAME www
out     CNAME www.elsewhere.test.
loop1   CNAME loop2
loop2   CNAME loop1
*.wild  TXT   "any; thing" "two"
a.b.ent A     192.0.2.7
child   NS    ns.child
ns.child A    192.0.2.99
old     DNAME new
spin    DNAME y.spin2
spin2   DNAME x.spin
x.new   A     192.0.2.8
$GENERATE 1-3 host$ A 198.51.100.$
geo     A     192.0.2.200
"#;

fn authority() -> Authority {
    let zone = Zone::parse(ZONE, name("example.org")).unwrap();
    Authority::new([zone]).server_id("fra1").dynamic(&name("geo.example.org"), |query| {
        let host = if query.client.learned == LearnedFrom::ClientSubnet { 10 } else { 20 };
        DynamicAnswer::addresses([IpAddr::from([192, 0, 2, host])], 30, 20)
    })
}

fn name(text: &str) -> NameBuf {
    text.parse().unwrap()
}

fn ask(query: &[u8], transport: Transport) -> (Outcome, Vec<u8>) {
    let mut answer = Vec::new();
    let client = "203.0.113.9".parse().unwrap();
    let outcome = authority().respond(query, client, Timestamp::ZERO, transport, &mut answer);
    (outcome, answer)
}

/// Code, flags of note, and the records as text, by section.
fn check(qname: &str, qtype: &str, expected: &str) {
    let qtype = RecordType::from_text(qtype).unwrap();
    let (outcome, wire) = ask(&MessageBuilder::query(1, &name(qname), qtype).finish(), Transport::Tcp);
    let Outcome::Answered(rcode) = outcome else { panic!("silence") };
    let message = Message::parse(&wire).unwrap();
    assert_eq!(message.header().flags.rcode(), rcode);
    let mut lines =
        vec![format!("{rcode}{}", if message.header().flags.has(Flags::AA) { " aa" } else { "" })];
    for (mark, section) in
        [("", Section::Answer), ("auth ", Section::Authority), ("add ", Section::Additional)]
    {
        for record in message.section(section).unwrap() {
            let record = record.unwrap();
            lines.push(format!(
                "{mark}{} {} {} {}",
                record.name,
                record.ttl,
                record.rtype,
                record.rdata().unwrap()
            ));
        }
    }
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, expected, "{qname} {qtype}");
}

const SOA: &str =
    "auth example.org. 300 SOA ns1.example.org. hostmaster.example.org. 2026010100 7200 900 1209600 300";

#[test]
fn positive_answers_carry_the_lowest_ttl_of_the_set_and_useful_addresses() {
    // The owner points at the question, so that its spelling comes back (0x20).
    check(
        "WWW.example.org",
        "A",
        "NOERROR aa\nWWW.example.org. 60 A 192.0.2.1\nWWW.example.org. 60 A 192.0.2.2",
    );
    check(
        "example.org",
        "MX",
        "NOERROR aa\nexample.org. 300 MX 10 mail.example.org.\nadd mail.example.org. 300 AAAA 2001:db8::25",
    );
    check("host2.example.org", "A", "NOERROR aa\nhost2.example.org. 300 A 198.51.100.2");
}

#[test]
fn negative_answers_carry_the_soa() {
    check("www.example.org", "AAAA", &format!("NOERROR aa\n{SOA}"));
    check("nobody.example.org", "A", &format!("NXDOMAIN aa\n{SOA}"));
    check("b.ent.example.org", "A", &format!("NOERROR aa\n{SOA}"));
    check("ent.example.org", "TXT", &format!("NOERROR aa\n{SOA}"));
}

#[test]
fn aliases_are_followed_inside_the_zone_and_a_loop_ends() {
    check(
        "alias.example.org",
        "A",
        "NOERROR aa\nalias.example.org. 300 CNAME www.example.org.
         www.example.org. 60 A 192.0.2.1\nwww.example.org. 60 A 192.0.2.2",
    );
    check("out.example.org", "A", "NOERROR aa\nout.example.org. 300 CNAME www.elsewhere.test.");
    let (outcome, wire) =
        ask(&MessageBuilder::query(1, &name("loop1.example.org"), RecordType::A).finish(), Transport::Tcp);
    assert_eq!(outcome, Outcome::Answered(Rcode::NOERROR));
    assert_eq!(Message::parse(&wire).unwrap().answers().unwrap().count(), 8);
}

#[test]
fn wildcards_cover_any_depth_but_not_what_exists() {
    check("q.wild.example.org", "TXT", "NOERROR aa\nq.wild.example.org. 300 TXT \"any; thing\" \"two\"");
    check("p.q.wild.example.org", "TXT", "NOERROR aa\np.q.wild.example.org. 300 TXT \"any; thing\" \"two\"");
    check("q.wild.example.org", "A", &format!("NOERROR aa\n{SOA}"));
    check("wild.example.org", "TXT", &format!("NOERROR aa\n{SOA}"));
}

#[test]
fn delegations_refer_with_glue_and_without_authority() {
    let referral = "NOERROR\nauth child.example.org. 300 NS ns.child.example.org.
                    add ns.child.example.org. 300 A 192.0.2.99";
    check("deep.child.example.org", "A", referral);
    check("child.example.org", "NS", referral);
    check("ns.child.example.org", "A", referral);
}

#[test]
fn dnames_make_cnames() {
    check(
        "x.old.example.org",
        "A",
        "NOERROR aa\nold.example.org. 300 DNAME new.example.org.
         x.old.example.org. 300 CNAME x.new.example.org.\nx.new.example.org. 300 A 192.0.2.8",
    );
    check("old.example.org", "A", &format!("NOERROR aa\n{SOA}"));
}

#[test]
fn any_is_answered_small_and_foreign_names_are_refused() {
    check("www.example.org", "ANY", "NOERROR aa\nwww.example.org. 3600 HINFO \"RFC8482\" \"\"");
    check("www.example.net", "A", "REFUSED");
    check("example.org", "AXFR", "REFUSED");
}

#[test]
fn geographic_answers_carry_the_scope_of_the_decision() {
    let mut builder = MessageBuilder::query(1, &name("geo.example.org"), RecordType::A);
    let subnet = ClientSubnet::new("198.51.100.0".parse().unwrap(), 24);
    let parts = EdnsParts { udp_payload: 1232, client_subnet: Some(subnet), ..EdnsParts::default() };
    builder.edns(&parts, Rcode::NOERROR).unwrap();
    let (_, wire) = ask(&builder.finish(), Transport::Udp);
    let message = Message::parse(&wire).unwrap();
    assert_eq!(message.edns().unwrap().unwrap().client_subnet().unwrap(), Some(subnet.with_scope(20)));
    let record = message.answers().unwrap().next().unwrap().unwrap();
    assert_eq!((record.ttl, record.rdata().unwrap().to_string()), (30, "192.0.2.10".to_owned()));
    check("geo.example.org", "A", "NOERROR aa\ngeo.example.org. 30 A 192.0.2.20");
    check("geo.example.org", "AAAA", &format!("NOERROR aa\n{SOA}"));
}

#[test]
fn what_does_not_fit_is_truncated_whole() {
    let mut text = String::from("@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\n");
    (0..40).for_each(|host| text.push_str(&format!("big 60 A 10.0.0.{host}\n")));
    let authority = Authority::new([Zone::parse(text.as_bytes(), name("t")).unwrap()]);
    let query = MessageBuilder::query(9, &name("big.t"), RecordType::A).finish();
    let client = "203.0.113.9".parse().unwrap();
    let mut answer = Vec::new();
    for (transport, truncated, records) in [(Transport::Udp, true, 0), (Transport::Tcp, false, 40)] {
        assert_eq!(
            authority.respond(&query, client, Timestamp::ZERO, transport, &mut answer),
            Outcome::Answered(Rcode::NOERROR)
        );
        let message = Message::parse(&answer).unwrap();
        assert_eq!(message.header().flags.has(Flags::TC), truncated);
        assert_eq!(message.answers().unwrap().count(), records);
        assert!(transport == Transport::Tcp || answer.len() <= 512);
    }
}

#[test]
fn broken_queries_get_what_the_rfc_says() {
    let good = MessageBuilder::query(0x1234, &name("www.example.org"), RecordType::A).finish();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut query = good.clone();
        change(&mut query);
        ask(&query, Transport::Udp).0
    };
    assert_eq!(with(|query| query[2] |= 0x80), Outcome::Silent, "an answer is never answered");
    assert_eq!(with(|query| query.truncate(11)), Outcome::Silent);
    assert_eq!(with(|query| query.truncate(14)), Outcome::Answered(Rcode::FORMERR));
    assert_eq!(with(|query| query[5] = 2), Outcome::Answered(Rcode::FORMERR), "RFC 9619");
    assert_eq!(with(|query| query[5] = 0), Outcome::Answered(Rcode::FORMERR));
    assert_eq!(with(|query| query[2] |= 2 << 3), Outcome::Answered(Rcode::NOTIMP), "STATUS");
    assert_eq!(with(|query| query[2] |= 4 << 3), Outcome::Answered(Rcode::FORMERR), "NOTIFY of no SOA");
    assert_eq!(with(|query| query[12] = 0xc0), Outcome::Answered(Rcode::FORMERR), "a pointer to itself");
    let opt = |version: u8| {
        let mut query = good.clone();
        query[11] += 1;
        query.extend_from_slice(&[0, 0, 41, 4, 208, 0, version, 0, 0, 0, 0]);
        query
    };
    assert_eq!(ask(&opt(0), Transport::Udp).0, Outcome::Answered(Rcode::NOERROR));
    let (outcome, wire) = ask(&opt(1), Transport::Udp);
    assert_eq!(outcome, Outcome::Answered(Rcode::BADVERS));
    let message = Message::parse(&wire).unwrap();
    assert_eq!(message.edns().unwrap().unwrap().rcode(message.header().flags.rcode()), Rcode::BADVERS);
    let mut twice = opt(0);
    twice[11] += 1;
    twice.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ask(&twice, Transport::Udp).0, Outcome::Answered(Rcode::FORMERR));
}

/// DNAMEs that lead to each other make a name longer each time: it ends at eight, or when there is no room in a name.
#[test]
fn a_chain_of_dnames_ends() {
    let long = "a234567890.".repeat(21);
    for (below, rcode, dnames) in [("a.", Rcode::NOERROR, 8), (&long[..], Rcode::YXDOMAIN, 3)] {
        let qname = format!("{below}spin.example.org");
        let query = MessageBuilder::query(1, &name(&qname), RecordType::A).finish();
        let (outcome, wire) = ask(&query, Transport::Tcp);
        let message = Message::parse(&wire).unwrap();
        message.check().unwrap();
        let records = message.answers().unwrap().map(Result::unwrap);
        let seen = records.filter(|record| record.rtype == RecordType::DNAME).count();
        assert_eq!((outcome, seen), (Outcome::Answered(rcode), dnames), "{qname}");
    }
}

/// Whatever comes in: no panic, and an answer never longer than its limit.
#[test]
fn mutated_queries_never_panic() {
    let good = MessageBuilder::query(7, &name("a.b.wild.example.org"), RecordType::TXT).finish();
    let authority = authority();
    let client = "203.0.113.9".parse().unwrap();
    let mut answer = Vec::new();
    let mut random = 88_172_645_463_325_252_u64;
    for _ in 0..50_000 {
        let mut query = good.clone();
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let index = (random >> 8) as usize % query.len();
            query[index] = random as u8;
        }
        let _ = authority.respond(&query, client, Timestamp::ZERO, Transport::Udp, &mut answer);
        assert!(answer.len() <= 1232);
    }
}

#[test]
fn zone_errors_name_the_place_and_what_was_expected() {
    let check = |text: &str, expected: &str| {
        let error = Zone::parse(text.as_bytes(), name("example.org")).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    };
    let head = "@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\n";
    check(
        "@ 60 SOA a b 1 1 1 1\n",
        "line 1, column 21: expected the minimum time, found the end of the record",
    );
    check(&format!("{head}www A 192.0.2.256\n"), "line 3, column 7: expected an IPv4 address");
    check(&format!("{head}www A 192.0.2.1 x\n"), "line 3, column 17: expected the end of the record");
    check(&format!("{head}www FOO x\n"), "line 3, column 5: expected a record type");
    check(
        &format!("{head}www TXT \"open\n"),
        "line 3, column 9: expected a closing quote before the end of the file",
    );
    check(
        &format!("{head}www ( A\n"),
        "line 3, column 5: expected a closing parenthesis before the end of the file",
    );
    check(
        &format!("{head}a CNAME b\na A 192.0.2.1\n"),
        "line 4, column 1: expected nothing beside the CNAME of a.example.org.",
    );
    check(
        &format!("{head}x.test. A 192.0.2.1\n"),
        "line 3, column 1: expected a name within example.org., found x.test.",
    );
    check("www 60 A 192.0.2.1\n", "expected a SOA record at example.org., found none");
    check(
        &format!("{head}$INCLUDE /etc/passwd\n"),
        "line 3, column 1: $INCLUDE: expected a zone that comes from a file",
    );
    check(&format!("{head}www 3000000000 A 192.0.2.1\n"), "line 3, column 5: expected a time below 2^31 s");
}

/// A name costs its octets and 14, a set 10, a record 12 and its RDATA.
#[test]
fn memory_is_as_stated() {
    let mut text = String::from("@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\n");
    (0..10_000)
        .for_each(|host| text.push_str(&format!("h{host:05} 60 A 10.0.{}.{}\n", host / 256, host % 256)));
    let zone = Zone::parse(text.as_bytes(), name("example.org")).unwrap();
    let name_octets = name("h00000.example.org").as_wire().len();
    let stated = 10_000 * (name_octets + 14 + 10 + 12 + 4);
    let apex_and_rest = 2048;
    let octets = zone.memory_octets();
    assert!((stated..stated + apex_and_rest).contains(&octets), "{octets}, stated {stated}");
}

#[test]
fn each_of_many_zones_is_found_and_can_go() {
    let zone = |number: u32| {
        let text = format!("@ 60 SOA a b {number} 1 1 1 1\n@ 60 NS a\n");
        Zone::parse(text.as_bytes(), name(&format!("z{number}.example"))).unwrap()
    };
    let mut authority = Authority::new((0..3000).map(zone));
    authority.insert(zone(7));
    assert_eq!(authority.origins().count(), 3000);
    for number in 0..3000 {
        let origin = name(&format!("Z{number}.example"));
        assert_eq!(authority.zone(&origin).unwrap().serial(), number);
    }
    assert_eq!(authority.remove(&name("z7.example")).unwrap().serial(), 7);
    assert!(
        authority.zone(&name("z7.example")).is_none() && authority.zone(&name("z2999.example")).is_some()
    );
}
