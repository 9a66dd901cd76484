//! What an authority says beside answers: cookies, limits, options, notifications, transfers.
#![cfg(feature = "std")]

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use pop_dns::zone::Zone;
use pop_dns::{
    Authority, Class, Cookie, CookiePolicy, CookieSecret, EdnsParts, Flags, Limit, Message, MessageBuilder,
    NameBuf, Opcode, Outcome, RData, Rcode, RecordType, ResponseRateLimit, Section, Timestamp, Transport,
    option,
};

const ZONE: &str =
    "@ 300 SOA ns hostmaster 7 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 192.0.2.53\nwww 60 A 192.0.2.1\n";

fn name(text: &str) -> NameBuf {
    text.parse().unwrap()
}

fn zone(text: &str) -> Zone {
    Zone::parse(text.as_bytes(), name("example.org")).unwrap()
}

fn client() -> IpAddr {
    "203.0.113.9".parse().unwrap()
}

fn query(qname: &str, qtype: RecordType, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut builder = MessageBuilder::query(9, &name(qname), qtype);
    builder.edns(&EdnsParts { udp_payload: 4096, options, ..EdnsParts::default() }, Rcode::NOERROR).unwrap();
    builder.finish()
}

fn ask_by(authority: &Authority, query: &[u8], seconds: u64, transport: Transport) -> (Outcome, Vec<u8>) {
    let mut answer = Vec::new();
    let now = Timestamp::from_nanos(seconds * 1_000_000_000);
    let outcome = authority.respond(query, client(), now, transport, &mut answer);
    (outcome, answer)
}

fn option_of(answer: &[u8], code: u16) -> Option<Vec<u8>> {
    Message::parse(answer).unwrap().edns().unwrap().unwrap().option(code).map(<[u8]>::to_vec)
}

#[test]
fn a_client_gets_a_cookie_and_is_known_by_it() {
    let secret = CookieSecret::new([7; 16]);
    let authority = Authority::new([zone(ZONE)]).cookies(secret, CookiePolicy::Demand);
    let own = [1, 2, 3, 4, 5, 6, 7, 8];
    let at = 1_800_000_000;
    let first = query("www.example.org", RecordType::A, &[(option::COOKIE, &own)]);
    let (outcome, answer) = ask_by(&authority, &first, at, Transport::Udp);
    assert_eq!(outcome, Outcome::Answered(Rcode::BADCOOKIE));
    assert_eq!(Message::parse(&answer).unwrap().answers().unwrap().count(), 0);
    let cookie = option_of(&answer, option::COOKIE).unwrap();
    assert_eq!(cookie[..8], own);
    let again = query("www.example.org", RecordType::A, &[(option::COOKIE, &cookie)]);
    assert_eq!(ask_by(&authority, &again, at + 10, Transport::Udp).0, Outcome::Answered(Rcode::NOERROR));
    assert_eq!(ask_by(&authority, &again, at + 4000, Transport::Udp).0, Outcome::Answered(Rcode::BADCOOKIE));
    // Over TCP the address is proved anyway, and who knows no cookies is answered.
    assert_eq!(ask_by(&authority, &first, at, Transport::Tcp).0, Outcome::Answered(Rcode::NOERROR));
    let plain = query("www.example.org", RecordType::A, &[]);
    assert_eq!(ask_by(&authority, &plain, at, Transport::Udp).0, Outcome::Answered(Rcode::NOERROR));
    let odd = query("www.example.org", RecordType::A, &[(option::COOKIE, &[1; 12])]);
    assert_eq!(ask_by(&authority, &odd, at, Transport::Udp).0, Outcome::Answered(Rcode::FORMERR));
}

/// A new secret: cookies of the old one are good until they are too old, and are answered with new ones.
#[test]
fn a_cookie_outlives_the_secret_it_was_made_with() {
    let (old, new) = ([7; 16], [8; 16]);
    let ask = |secret, cookie: &[u8], at| {
        let authority = Authority::new([zone(ZONE)]).cookies(secret, CookiePolicy::Demand);
        let asked = query("www.example.org", RecordType::A, &[(option::COOKIE, cookie)]);
        let (outcome, answer) = ask_by(&authority, &asked, at, Transport::Udp);
        (outcome, option_of(&answer, option::COOKIE).unwrap())
    };
    let at = 1_800_000_000;
    let good = Outcome::Answered(Rcode::NOERROR);
    let (_, first) = ask(CookieSecret::new(old), &[9; 8], at);
    let rolled = CookieSecret::new(new).with_previous(old);
    let (outcome, second) = ask(rolled, &first, at + 60);
    assert_eq!((outcome, second[..8] == [9; 8], second == first), (good, true, false));
    assert_eq!(ask(CookieSecret::new(new), &second, at + 120).0, good, "the next is made with the new one");
    let bad = Outcome::Answered(Rcode::BADCOOKIE);
    assert_eq!(ask(CookieSecret::new(new), &first, at + 120).0, bad, "the old one is gone");
    assert_eq!(ask(rolled, &first, at + 4000).0, bad, "too old");
    assert_eq!(ask(CookieSecret::new(old).with_previous(new), &second, at + 60).0, good, "the first step");
}

/// RFC 7873 §5.4.
#[test]
fn a_message_without_a_question_may_ask_for_a_cookie() {
    let secret = CookieSecret::new([7; 16]);
    let mut builder = MessageBuilder::new(512);
    let options = [(option::COOKIE, &[5_u8; 8][..])];
    builder
        .edns(&EdnsParts { udp_payload: 1232, options: &options, ..EdnsParts::default() }, Rcode::NOERROR)
        .unwrap();
    let asks = builder.finish();
    let authority = Authority::new([zone(ZONE)]).cookies(secret, CookiePolicy::Offer);
    let (outcome, answer) = ask_by(&authority, &asks, 1_800_000_000, Transport::Udp);
    assert_eq!(outcome, Outcome::Answered(Rcode::NOERROR));
    let made = option_of(&answer, option::COOKIE).unwrap();
    let verdict = secret.check(&Cookie::parse(&made).unwrap(), client(), 1_800_000_000);
    assert_eq!(verdict, pop_dns::CookieVerdict::Valid { renew: false });
    let without = Authority::new([zone(ZONE)]);
    assert_eq!(ask_by(&without, &asks, 0, Transport::Udp).0, Outcome::Answered(Rcode::FORMERR));
}

#[test]
fn a_limit_sends_slips_and_drops_but_never_to_who_has_a_cookie() {
    let secret = CookieSecret::new([7; 16]);
    let decision = Arc::new(Mutex::new((Limit::Send, Vec::new())));
    let hook = Arc::clone(&decision);
    let authority = Authority::new([zone(ZONE)]).cookies(secret, CookiePolicy::Offer).limit(move |asked| {
        let mut decision = hook.lock().unwrap();
        decision.1.push((asked.name.to_vec(), asked.rcode, asked.answer_octets > asked.query_octets));
        decision.0
    });
    let plain = query("www.example.org", RecordType::A, &[]);
    let absent = query("x.y.example.org", RecordType::A, &[]);
    assert_eq!(ask_by(&authority, &plain, 0, Transport::Udp).0, Outcome::Answered(Rcode::NOERROR));
    assert_eq!(ask_by(&authority, &absent, 0, Transport::Udp).0, Outcome::Answered(Rcode::NXDOMAIN));
    // Random names below a zone count as the zone.
    let zone = name("example.org").as_wire().to_vec();
    let seen = std::mem::take(&mut decision.lock().unwrap().1);
    let www = name("www.example.org").as_wire().to_vec();
    assert_eq!(seen, [(www, Rcode::NOERROR, true), (zone, Rcode::NXDOMAIN, true)]);

    decision.lock().unwrap().0 = Limit::Slip;
    let (outcome, answer) = ask_by(&authority, &plain, 0, Transport::Udp);
    let message = Message::parse(&answer).unwrap();
    message.check().unwrap();
    assert_eq!(outcome, Outcome::Answered(Rcode::NOERROR));
    assert!(message.header().flags.has(Flags::TC) && answer.len() <= plain.len());
    assert_eq!(message.answers().unwrap().count(), 0);
    let curious = query("www.example.org", RecordType::A, &[(option::COOKIE, &[3; 8])]);
    let (outcome, answer) = ask_by(&authority, &curious, 100, Transport::Udp);
    assert_eq!(outcome, Outcome::Answered(Rcode::BADCOOKIE));

    decision.lock().unwrap().0 = Limit::Drop;
    assert_eq!(ask_by(&authority, &plain, 0, Transport::Udp).0, Outcome::Silent);
    assert_eq!(ask_by(&authority, &plain, 0, Transport::Tcp).0, Outcome::Answered(Rcode::NOERROR));
    let cookie = option_of(&answer, option::COOKIE).unwrap();
    let known = query("www.example.org", RecordType::A, &[(option::COOKIE, &cookie)]);
    assert_eq!(ask_by(&authority, &known, 101, Transport::Udp).0, Outcome::Answered(Rcode::NOERROR));
}

/// Spoofed repeats of one query: what comes out is a small multiple of what went in, and another client is not touched.
#[test]
fn response_rate_limiting_bounds_amplification() {
    let limit = Arc::new(ResponseRateLimit::new(10, 2));
    let hook = Arc::clone(&limit);
    let authority = Authority::new([zone(ZONE)]).limit(move |asked| hook.check(asked));
    let any = query("www.example.org", RecordType::ANY, &[]);
    let (mut octets_in, mut octets_out, mut silent, mut truncated) = (0, 0, 0, 0);
    for _ in 0..1000 {
        let (outcome, answer) = ask_by(&authority, &any, 50, Transport::Udp);
        octets_in += any.len();
        match outcome {
            Outcome::Silent => silent += 1,
            Outcome::Answered(_) => {
                octets_out += answer.len();
                truncated += u32::from(answer[2] & 2 != 0);
            }
        }
    }
    assert_eq!((silent, truncated), (495, 495), "ten pass, then every second slips");
    assert!(octets_out < octets_in * 6 / 10, "{octets_out} for {octets_in}");
    // A second later there are ten more; somebody else was never limited.
    let sent = (0..20).filter(|_| ask_by(&authority, &any, 51, Transport::Udp).1.len() > any.len()).count();
    assert_eq!(sent, 10);
    let mut answer = Vec::new();
    let other = "198.51.100.7".parse().unwrap();
    let now = Timestamp::from_nanos(50_000_000_000);
    assert_eq!(
        authority.respond(&any, other, now, Transport::Udp, &mut answer),
        Outcome::Answered(Rcode::NOERROR)
    );
}

#[test]
fn options_are_answered_where_they_make_sense() {
    let authority = Authority::new([zone(ZONE)]).server_id("fra1").version("9");
    let asks = |code| query("www.example.org", RecordType::A, &[(code, &[])]);
    let by = |code, transport| option_of(&ask_by(&authority, &asks(code), 0, transport).1, code);
    assert_eq!(by(option::NSID, Transport::Udp), Some(b"fra1".to_vec()));
    assert_eq!(by(option::TCP_KEEPALIVE, Transport::Udp), None);
    assert_eq!(by(option::TCP_KEEPALIVE, Transport::Tcp), Some(vec![0, 100]));
    assert_eq!(by(option::PADDING, Transport::Tcp), None);
    assert!(by(option::PADDING, Transport::Tls).is_some());
    assert_eq!(ask_by(&authority, &asks(option::PADDING), 0, Transport::Tls).1.len(), 468);
    let (outcome, answer) =
        ask_by(&authority, &query("www.example.net", RecordType::A, &[]), 0, Transport::Udp);
    assert_eq!(outcome, Outcome::Answered(Rcode::REFUSED));
    assert_eq!(option_of(&answer, option::EXTENDED_ERROR), Some(vec![0, 20]), "not authoritative");
}

#[test]
fn the_server_tells_its_name_in_class_chaos() {
    let authority = Authority::new([zone(ZONE)]).server_id("fra1").version("9.9");
    for (qname, text) in
        [("id.server", "\"fra1\""), ("hostname.bind", "\"fra1\""), ("version.bind", "\"9.9\"")]
    {
        let mut builder = MessageBuilder::new(512);
        builder.question(name(qname).as_wire(), RecordType::TXT, Class::CH).unwrap();
        let (outcome, answer) = ask_by(&authority, &builder.finish(), 0, Transport::Udp);
        assert_eq!(outcome, Outcome::Answered(Rcode::NOERROR));
        let record = Message::parse(&answer).unwrap().answers().unwrap().next().unwrap().unwrap();
        assert_eq!((record.class, record.rdata().unwrap().to_string()), (Class::CH, text.to_owned()));
    }
    let mut builder = MessageBuilder::new(512);
    builder.question(name("authors.bind").as_wire(), RecordType::TXT, Class::CH).unwrap();
    assert_eq!(ask_by(&authority, &builder.finish(), 0, Transport::Udp).0, Outcome::Answered(Rcode::REFUSED));
}

#[test]
fn the_parent_answers_for_the_delegation_of_a_zone_that_is_here_too() {
    let parent = "@ 300 SOA ns h 1 1 1 1 60\n@ 300 NS ns\nsub 300 NS ns.sub\nsub 300 DS 1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    let child =
        Zone::parse(b"@ 300 SOA ns h 1 1 1 1 60\n@ 300 NS ns\nx 300 A 192.0.2.7\n", name("sub.example.org"));
    let authority = Authority::new([zone(parent), child.unwrap()]);
    let count = |qname, qtype| {
        let (_, answer) = ask_by(&authority, &query(qname, qtype, &[]), 0, Transport::Udp);
        let message = Message::parse(&answer).unwrap();
        (message.header().flags.has(Flags::AA), message.answers().unwrap().count())
    };
    assert_eq!(count("sub.example.org", RecordType::DS), (true, 1));
    assert_eq!(count("sub.example.org", RecordType::NS), (true, 1));
    assert_eq!(count("x.sub.example.org", RecordType::A), (true, 1));
}

#[test]
fn notifications_reach_the_hook_and_are_echoed() {
    let heard = Arc::new(AtomicU32::new(0));
    let hook = Arc::clone(&heard);
    let authority = Authority::new([zone(ZONE)]).notifications(move |told| {
        hook.store(told.serial.unwrap_or(0), Ordering::Relaxed);
        told.client == client() && *told.zone == name("example.org")
    });
    let notify = |zone: &str| {
        let mut builder = MessageBuilder::new(512);
        builder.set_header(77, Flags(Flags::AA).with_opcode(Opcode::NOTIFY));
        builder.question(name(zone).as_wire(), RecordType::SOA, Class::IN).unwrap();
        let soa = b"\x00\x00\0\0\0\x2A\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
        builder.rrset(Section::Answer, name(zone).as_wire(), RecordType::SOA, 1, [&soa[..]]).unwrap();
        builder.finish()
    };
    let (outcome, answer) = ask_by(&authority, &notify("example.org"), 0, Transport::Udp);
    assert_eq!((outcome, heard.load(Ordering::Relaxed)), (Outcome::Answered(Rcode::NOERROR), 42));
    let header = Message::parse(&answer).unwrap().header();
    assert_eq!((header.id, header.flags.opcode(), header.counts), (77, Opcode::NOTIFY, [1, 0, 0, 0]));
    assert!(header.flags.has(Flags::QR));
    assert_eq!(
        ask_by(&authority, &notify("example.net"), 0, Transport::Udp).0,
        Outcome::Answered(Rcode::NOTAUTH)
    );
    let deaf = Authority::new([zone(ZONE)]);
    assert_eq!(ask_by(&deaf, &notify("example.org"), 0, Transport::Udp).0, Outcome::Answered(Rcode::REFUSED));
}

fn records(messages: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
    let mut lines = Vec::new();
    for wire in messages {
        let message = Message::parse(&wire).unwrap();
        message.check().unwrap();
        for record in message.answers().unwrap() {
            let record = record.unwrap();
            let rdata = record.rdata().unwrap();
            lines.push(match rdata {
                RData::Soa(soa) => format!("SOA {}", soa.serial),
                rdata => format!("{} {} {rdata}", record.name, record.rtype),
            });
        }
    }
    lines
}

fn ixfr(serial: u32) -> Vec<u8> {
    let mut builder = MessageBuilder::query(3, &name("example.org"), RecordType::IXFR);
    let soa = [&b"\x00\x00"[..], &serial.to_be_bytes(), &[0; 16]].concat();
    builder.rrset(Section::Authority, name("example.org").as_wire(), RecordType::SOA, 1, [&soa[..]]).unwrap();
    builder.finish()
}

#[test]
fn zones_go_out_whole_or_by_their_changes_to_who_may_have_them() {
    let mut authority = Authority::new([zone(ZONE)]);
    let axfr = MessageBuilder::query(3, &name("example.org"), RecordType::AXFR).finish();
    assert!(authority.transfer(&axfr, client(), Timestamp::ZERO).is_none());
    assert_eq!(ask_by(&authority, &axfr, 0, Transport::Tcp).0, Outcome::Answered(Rcode::REFUSED));
    authority = authority.transfers(|asked| asked.client == client());
    assert!(authority.transfer(&axfr, "192.0.2.1".parse().unwrap(), Timestamp::ZERO).is_none());
    let whole = [
        "SOA 7",
        "example.org. NS ns.example.org.",
        "ns.example.org. A 192.0.2.53",
        "www.example.org. A 192.0.2.1",
        "SOA 7",
    ];
    assert_eq!(records(authority.transfer(&axfr, client(), Timestamp::ZERO).unwrap()), whole);

    authority
        .replace(zone(&ZONE.replace(" 7 ", " 8 ").replace("192.0.2.1\n", "192.0.2.2\nnew 60 A 192.0.2.3\n")));
    authority.replace(zone(&ZONE.replace(" 7 ", " 9 ").replace("192.0.2.1\n", "192.0.2.2\n")));
    let from = |serial| records(authority.transfer(&ixfr(serial), client(), Timestamp::ZERO).unwrap());
    assert_eq!(from(9), ["SOA 9"]);
    assert_eq!(from(8), ["SOA 9", "SOA 8", "new.example.org. A 192.0.2.3", "SOA 9", "SOA 9"]);
    assert_eq!(from(5).len(), 5, "unknown: the whole zone");
    // Over UDP the SOA says what is new, and TCP brings it.
    let (outcome, answer) = ask_by(&authority, &ixfr(8), 0, Transport::Udp);
    assert_eq!(
        (outcome, records([answer].into_iter())),
        (Outcome::Answered(Rcode::NOERROR), vec!["SOA 9".into()])
    );
}

#[test]
fn a_zone_of_many_messages_arrives_complete() {
    let mut text = String::from(ZONE);
    (0..20_000).for_each(|host| text.push_str(&format!("h{host} 60 A 10.0.{}.{}\n", host / 256, host % 256)));
    let authority = Authority::new([zone(&text)]).transfers(|_| true);
    let axfr = MessageBuilder::query(3, &name("example.org"), RecordType::AXFR).finish();
    let messages: Vec<_> = authority.transfer(&axfr, client(), Timestamp::ZERO).unwrap().collect();
    assert!(messages.len() > 10 && messages.iter().all(|message| message.len() <= 0x4000));
    let mut lines = records(messages.into_iter());
    assert_eq!(lines.len(), 20_005);
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 20_004, "nothing twice but the SOA");
}
