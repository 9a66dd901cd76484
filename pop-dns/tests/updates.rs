//! Dynamic updates (RFC 2136).
#![cfg(feature = "std")]

use std::sync::{Arc, Mutex};

use pop_dns::zone::Zone;
use pop_dns::{
    Authority, Class, Flags, MessageBuilder, NameBuf, Opcode, Outcome, RawRData, Rcode, RecordType, Section,
    Timestamp, Transport,
};

fn name(text: &str) -> NameBuf {
    text.parse().unwrap()
}

fn zone() -> Zone {
    let text =
        b"@ 300 SOA ns hostmaster 7 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 192.0.2.53\nwww 60 A 192.0.2.1\n";
    Zone::parse(text, name("example.org")).unwrap()
}

fn ask(authority: &Authority, message: &[u8]) -> Outcome {
    let client = "203.0.113.9".parse().unwrap();
    authority.respond(message, client, Timestamp::ZERO, Transport::Udp, &mut Vec::new())
}

fn update(build: impl FnOnce(&mut MessageBuilder)) -> Vec<u8> {
    let mut builder = MessageBuilder::new(65_535);
    builder.set_header(5, Flags(0).with_opcode(Opcode::UPDATE));
    builder.question(name("example.org").as_wire(), RecordType::SOA, Class::IN).unwrap();
    build(&mut builder);
    builder.finish()
}

fn push(
    builder: &mut MessageBuilder,
    section: Section,
    owner: &str,
    class: Class,
    ttl: u32,
    rtype: RecordType,
    rdata: &[u8],
) {
    builder.records(section, name(owner).as_name(), class, ttl, [RawRData::new(rtype, rdata)]).unwrap();
}

/// What an update leads to: the code, and the addresses at `www` of the new zone with its serial.
fn check_update(message: &[u8]) -> (Rcode, Option<(u32, usize)>) {
    let made = Arc::new(Mutex::new(None));
    let hook = Arc::clone(&made);
    let authority = Authority::new([zone()]).updates(move |update| match update.apply() {
        Ok(zone) => {
            let www = name("www.example.org");
            let count = zone.iter().filter(|record| record.owner == www.as_name()).count();
            *hook.lock().unwrap() = Some((zone.serial(), count));
            Rcode::NOERROR
        }
        Err(rcode) => rcode,
    });
    let Outcome::Answered(rcode) = ask(&authority, message) else { panic!("silence") };
    let made = made.lock().unwrap().take();
    (rcode, made)
}

#[test]
fn updates_change_a_zone_as_rfc_2136_has_it() {
    use Section::{Answer, Authority as Updates};
    let (a, any, none) = (RecordType::A, Class::ANY, Class::NONE);
    let www = "www.example.org";
    let add = update(|b| push(b, Updates, www, Class::IN, 60, a, &[192, 0, 2, 9]));
    assert_eq!(check_update(&add), (Rcode::NOERROR, Some((8, 2))));
    let delete_set = update(|b| push(b, Updates, www, any, 0, a, &[]));
    assert_eq!(check_update(&delete_set), (Rcode::NOERROR, Some((8, 0))));
    let delete_one = update(|b| push(b, Updates, www, none, 0, a, &[192, 0, 2, 1]));
    assert_eq!(check_update(&delete_one), (Rcode::NOERROR, Some((8, 0))));
    let delete_last_server = update(|b| {
        push(b, Updates, "example.org", none, 0, RecordType::NS, name("ns.example.org").as_wire());
    });
    assert_eq!(check_update(&delete_last_server), (Rcode::NOERROR, Some((8, 1))));
    let alias_beside = update(|b| push(b, Updates, www, Class::IN, 60, RecordType::CNAME, b"\x01x\x00"));
    assert_eq!(check_update(&alias_beside), (Rcode::NOERROR, Some((8, 1))), "ignored without a word");
    let outside = update(|b| push(b, Updates, "www.example.net", Class::IN, 60, a, &[1, 2, 3, 4]));
    assert_eq!(check_update(&outside), (Rcode::NOTZONE, None));
    let malformed = update(|b| push(b, Updates, www, Class::IN, 60, a, &[1, 2, 3]));
    assert_eq!(check_update(&malformed), (Rcode::FORMERR, None));
    for (owner, class, rtype, rdata, rcode) in [
        (www, any, RecordType::ANY, &[][..], Rcode::NOERROR),
        ("x.example.org", any, RecordType::ANY, &[], Rcode::NXDOMAIN),
        (www, any, RecordType::TXT, &[], Rcode::NXRRSET),
        (www, none, RecordType::ANY, &[], Rcode::YXDOMAIN),
        (www, none, a, &[], Rcode::YXRRSET),
        (www, Class::IN, a, &[192, 0, 2, 1], Rcode::NOERROR),
        (www, Class::IN, a, &[192, 0, 2, 2], Rcode::NXRRSET),
    ] {
        let message = update(|b| push(b, Answer, owner, class, 0, rtype, rdata));
        assert_eq!(check_update(&message).0, rcode, "{owner} {class} {rtype}");
    }
    let refused = Authority::new([zone()]);
    assert_eq!(ask(&refused, &add), Outcome::Answered(Rcode::REFUSED));
}
