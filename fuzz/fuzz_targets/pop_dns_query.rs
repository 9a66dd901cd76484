//! Queries to an authority: no panic, and what comes back is a whole message within its limit, or nothing where an answer
//! might loop.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pop_dns::zone::Zone;
use pop_dns::{Authority, CookiePolicy, CookieSecret, DynamicAnswer, Flags, Message, Outcome, Rcode, Timestamp, Transport};

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let text = b"@ 300 SOA ns h 1 2 3 4 5\n@ 300 NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\nwww AAAA 2001:db8::1\n\
        a CNAME b\nb CNAME a\n*.w TXT x\nd DNAME www\nsub NS ns.sub\nns.sub A 192.0.2.3\nm MX 1 www\n";
    let zone = Zone::parse(text, "z".parse().expect("a name")).expect("a zone");
    Authority::new([zone])
        .server_id("fuzz")
        .cookies(CookieSecret::new([1; 16]), CookiePolicy::Offer)
        .transfers(|_| true)
        .notifications(|_| true)
        .updates(|update| update.apply().map_or_else(|rcode| rcode, |_| Rcode::NOERROR))
        .dynamic(&"geo.z".parse().expect("a name"), |_| {
            DynamicAnswer::addresses(["192.0.2.9".parse().expect("an address")], 30, 24)
        })
});

fuzz_target!(|query: &[u8]| {
    let client = "203.0.113.9".parse().expect("an address");
    let mut answer = Vec::new();
    for (transport, limit) in [(Transport::Udp, 1232), (Transport::Tcp, 65_535), (Transport::Tls, 65_535)] {
        let outcome = AUTHORITY.respond(query, client, Timestamp::ZERO, transport, &mut answer);
        let Outcome::Answered(rcode) = outcome else { continue };
        assert!(query[2] & 0x80 == 0, "a response is never answered");
        assert!(answer.len() <= limit);
        let message = Message::parse(&answer).expect("a header");
        message.check().expect("a whole message");
        assert!(message.header().flags.has(Flags::QR) && message.header().id.to_be_bytes() == query[..2]);
        let whole = message.edns().expect("well-formed").map_or(message.header().flags.rcode(), |edns| {
            edns.rcode(message.header().flags.rcode())
        });
        assert_eq!(whole, rcode);
    }
    if let Some(transfer) = AUTHORITY.transfer(query, client, Timestamp::ZERO) {
        transfer.for_each(|message| Message::parse(&message).expect("a header").check().expect("a whole message"));
    }
});
