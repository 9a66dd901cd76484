//! Zones from server to server: whole, in steps, signed, broken.
#![cfg(all(feature = "tokio", feature = "dnssec"))]

mod upstream;
mod zones;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pop_dns::server::{Counters, Server, Swap};
use pop_dns::transfer::{Event, Incoming, Progress, Received, Secondary, TransferError, notify};
use pop_dns::tsig::{Algorithm, Checked, Key, Transaction, TsigError};
use pop_dns::zone::Zone;
use pop_dns::{
    Authority, Flags, Message, MessageBuilder, Outcome, Rcode, RecordType, Section, Timestamp, Transport,
    ZONE_CHANGES_MAX,
};
use tokio::sync::oneshot;
use upstream::{Text, Upstream};
use zones::{SOA_1, SOA_2, SOA_3, host, ns, origin, records, soa, zone};

fn key() -> Key {
    Key::new(&"transfer".parse().unwrap(), Algorithm::HmacSha256, b"secret of the two")
}

struct Primary {
    address: SocketAddr,
    swap: Swap,
    _stop: oneshot::Sender<()>,
}

async fn primary(authority: Authority) -> Primary {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, swap) = (server.local_addr(), Swap::new(authority));
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(server.run(swap.clone(), Arc::new(Counters::default()), async {
        let _ = stopped.await;
    }));
    Primary { address, swap, _stop: stop }
}

/// A secondary at work, and what it has published.
struct Follower {
    events: Arc<Mutex<Vec<Event>>>,
    notifier: pop_dns::transfer::Notifier,
    _stop: oneshot::Sender<()>,
}

impl Follower {
    fn start(secondary: Secondary) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel::<()>();
        let (notifier, kept) = (secondary.notifier(), Arc::clone(&events));
        tokio::spawn(secondary.run(move |event| kept.lock().unwrap().push(event), async {
            let _ = stopped.await;
        }));
        Self { events, notifier, _stop: stop }
    }

    /// Waits until it has a zone of this serial.
    async fn reach(&self, serial: u32) -> Arc<Zone> {
        let waiting = async {
            loop {
                if let Some(Event::Zone(zone)) = self.events.lock().unwrap().last()
                    && zone.serial() == serial
                {
                    return Arc::clone(zone);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the zone comes")
    }
}

const LOCAL: (IpAddr, u8) = (IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 32);

/// Zones for whoever signs with our key.
fn for_the_key(asked: &pop_dns::TransferQuery<'_>) -> bool {
    asked.key == Some(key().name())
}

#[tokio::test]
async fn a_zone_of_many_messages_comes_whole_and_signed_and_its_changes_later() {
    let first = zone(1, 0..20_000);
    let expected = records(&first);
    let primary = primary(Authority::new([first]).keys([key()]).transfers(for_the_key)).await;
    let follower = Follower::start(Secondary::new(origin(), [primary.address]).key(key()));
    assert_eq!(records(&*follower.reach(1).await), expected);
    let second = Arc::new(zone(2, 5..20_005));
    let expected = records(&second);
    primary.swap.change(|authority| authority.replace(Arc::clone(&second)));
    assert!(!follower.notifier.notify("192.0.2.1".parse().unwrap()), "no primary of ours");
    assert!(follower.notifier.notify(LOCAL.0));
    assert_eq!(records(&*follower.reach(2).await), expected);
    assert_eq!(follower.events.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn who_may_not_have_the_zone_does_not_get_it() {
    let open = || Authority::new([zone(1, 0..3)]);
    let signed = || open().keys([key()]).transfers(for_the_key);
    let wrong = Key::new(key().name(), Algorithm::HmacSha256, b"another secret");
    let far = [("192.0.2.0".parse().unwrap(), 24)];
    let cases = [
        ("nobody was allowed", open(), None),
        ("not signed", signed(), None),
        ("wrongly signed", signed(), Some(wrong)),
        ("from elsewhere", open().transfers(move |asked| asked.is_from(&far)), None),
        (
            "signed, from elsewhere",
            signed().transfers(move |asked| for_the_key(asked) && asked.is_from(&far)),
            Some(key()),
        ),
    ];
    for (what, authority, key) in cases {
        for query in [ixfr(0), MessageBuilder::query(5, &origin(), RecordType::AXFR).finish()] {
            let messages = exchange(&authority, query, key.as_ref());
            let header = Message::parse(&messages[0]).unwrap().header();
            assert_eq!((messages.len(), header.counts[1]), (1, 0), "{what}");
            let owed = if what == "wrongly signed" { Rcode::NOTAUTH } else { Rcode::REFUSED };
            assert_eq!(header.flags.rcode(), owed, "{what}");
        }
    }
    let primary = primary(open().transfers(|asked| asked.is_from(&[LOCAL]))).await;
    Follower::start(Secondary::new(origin(), [primary.address])).reach(1).await;
}

/// Seconds since 1970 in tests without a clock.
const NOW: u64 = 1_800_000_000;

/// What an authority sends over a stream for a query, signed if there is a key. The signatures are not looked at.
fn exchange(authority: &Authority, mut query: Vec<u8>, key: Option<&Key>) -> Vec<Vec<u8>> {
    let _ = key.map(|key| Transaction::sign_query(key, &mut query, NOW));
    messages(authority, &query)
}

fn messages(authority: &Authority, query: &[u8]) -> Vec<Vec<u8>> {
    let now = Timestamp::from_nanos(NOW * 1_000_000_000);
    if let Some(transfer) = authority.transfer(query, LOCAL.0, now) {
        return transfer.collect();
    }
    let mut answer = Vec::new();
    let _ = authority.respond(query, LOCAL.0, now, Transport::Tcp, &mut answer);
    vec![answer]
}

/// An IXFR query of whoever has this serial.
fn ixfr(serial: u32) -> Vec<u8> {
    let mut builder = MessageBuilder::query(5, &origin(), RecordType::IXFR);
    let mut soa = vec![0, 0];
    [serial, 2, 3, 4, 5].iter().for_each(|number| soa.extend_from_slice(&number.to_be_bytes()));
    builder.rrset(Section::Authority, origin().as_wire(), RecordType::SOA, 0, [&soa[..]]).unwrap();
    builder.finish()
}

#[test]
fn every_message_of_a_transfer_is_signed() {
    let authority = Authority::new([zone(1, 0..5000)]).keys([key()]).transfers(for_the_key);
    for mut query in [ixfr(0), MessageBuilder::query(5, &origin(), RecordType::AXFR).finish()] {
        let mut transaction = Transaction::sign_query(&key(), &mut query, NOW);
        let messages = messages(&authority, &query);
        assert!(messages.len() > 5);
        let mut incoming = Incoming::new(&origin(), None);
        let mut done = false;
        for (number, message) in messages.iter().enumerate() {
            assert!(message.len() <= 1 << 14, "compression reaches all of it");
            assert_eq!(transaction.check(message, NOW), Ok(Checked::Signed), "message {number}");
            done = matches!(incoming.push(&Message::parse(message).unwrap()), Ok(Progress::Done(_)));
        }
        assert!(done);
        assert_eq!(transaction.finish(), Ok(()));
        // A message that is lost, or comes twice, breaks the chain of signatures.
        let mut transaction = {
            let mut again = MessageBuilder::query(5, &origin(), RecordType::AXFR).finish();
            Transaction::sign_query(&key(), &mut again, NOW)
        };
        assert!(transaction.check(&messages[1], NOW).is_err());
    }
}

/// An answer of the authority leads one that has serial `have` to the current one: by changes or by all of it?
fn comes_whole(authority: &Authority, have: u32) -> bool {
    let mut incoming = Incoming::new(&origin(), Some(have));
    for message in messages(authority, &ixfr(have)) {
        match incoming.push(&Message::parse(&message).unwrap()).unwrap() {
            Progress::Done(Received::Zone(_)) => return true,
            Progress::Done(Received::Changes(changes)) => {
                assert_eq!(changes.serials().0, have);
                return false;
            }
            _ => {}
        }
    }
    panic!("no end")
}

#[test]
fn so_many_changes_are_remembered_and_no_more() {
    let mut authority = Authority::new([zone(1, 0..1000)]).transfers(|_| true);
    let versions = ZONE_CHANGES_MAX as u32 + 4;
    (2..=versions).for_each(|serial| authority.replace(zone(serial, serial..1000 + serial)));
    let oldest = versions - ZONE_CHANGES_MAX as u32;
    assert!(!comes_whole(&authority, oldest), "the oldest way that is known");
    assert!(comes_whole(&authority, oldest - 1), "forgotten");
    assert!(comes_whole(&authority, u32::MAX - 9), "never known");
    // More changed than the zone has: nothing is remembered but the last small step.
    authority.replace(zone(versions + 1, 5000..6000));
    assert!(comes_whole(&authority, versions));
    authority.replace(zone(versions + 2, 5001..6000));
    assert!(!comes_whole(&authority, versions + 1));
    // A zone put there without a memory ends all ways.
    authority.insert(zone(versions + 2, 5001..6000));
    assert!(comes_whole(&authority, versions + 1));
}

/// A primary whose changes do not fit, and one that knows none: the whole zone is asked for.
#[tokio::test]
async fn where_changes_do_not_help_the_whole_zone_comes() {
    for knows in [true, false] {
        let primary = Upstream::start(move |query, _, _| {
            let qtype = Message::parse(query).unwrap().questions().next().unwrap().unwrap().qtype;
            let records: Vec<Text<'_>> = match qtype {
                RecordType::IXFR if knows => {
                    // Deletes what the secondary does not have.
                    let gone = host("host-9.example.org", "10.9.9.9");
                    vec![soa(SOA_3), soa(SOA_1), gone, soa(SOA_3), soa(SOA_3)]
                }
                RecordType::IXFR => return upstream::now(upstream::answer(query, Rcode::NOTIMP, &[])),
                _ => vec![soa(SOA_3), ns(), host("host-3.example.org", "10.0.0.3"), soa(SOA_3)],
            };
            upstream::now(upstream::answer(query, Rcode::NOERROR, &records))
        })
        .await;
        let follower = Follower::start(Secondary::new(origin(), [primary.address]).zone(zone(1, [1, 2])));
        assert_eq!(follower.reach(3).await.records(), 3);
        assert_eq!(primary.stream_queries(), 2);
    }
}

/// A secondary of ours behind our own server: word from the primary by UDP makes it look at once.
#[tokio::test]
async fn a_notification_wakes_the_secondary() {
    let primary = primary(Authority::new([zone(1, 0..3)]).transfers(|asked| asked.is_from(&[LOCAL]))).await;
    let secondary = Secondary::new(origin(), [primary.address]);
    let notifier = secondary.notifier();
    let hears = move |told: &pop_dns::Notification<'_>| {
        told.key == Some(key().name()) && told.zone == notifier.origin() && notifier.notify(told.client)
    };
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let bound = server.local_addr();
    let authority = Authority::default().keys([key()]).notifications(hears);
    let running = tokio::spawn(server.run(authority, Arc::new(Counters::default()), std::future::pending()));
    let follower = Follower::start(secondary);
    follower.reach(1).await;
    let second = Arc::new(zone(2, 0..4));
    primary.swap.change(|authority| authority.replace(Arc::clone(&second)));
    let unsigned = notify(bound, &second, None).await;
    assert!(matches!(unsigned, Err(TransferError::Code(Rcode::NOTAUTH))), "{unsigned:?}");
    assert_eq!(follower.events.lock().unwrap().len(), 1);
    notify(bound, &second, Some(&key())).await.unwrap();
    follower.reach(2).await;
    running.abort();
}

/// Everything that is signed with a key that we know is answered signed, and within its limit; what is signed otherwise
/// is not answered at all.
#[test]
fn queries_are_answered_as_they_are_signed() {
    let mut text = String::from("@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\nwww 60 A 192.0.2.1\n");
    (0..26).for_each(|host| text.push_str(&format!("big 60 A 10.0.0.{host}\n")));
    let authority = Authority::new([Zone::parse(text.as_bytes(), origin()).unwrap()]).keys([key()]);
    let ask = |name: &str, signer: &Key, skew: u64| {
        let mut query = MessageBuilder::query(5, &name.parse().unwrap(), RecordType::A).finish();
        let transaction = Transaction::sign_query(signer, &mut query, NOW - skew);
        let mut answer = Vec::new();
        let now = Timestamp::from_nanos(NOW * 1_000_000_000);
        let outcome = authority.respond(&query, LOCAL.0, now, Transport::Udp, &mut answer);
        (outcome, answer, transaction)
    };
    let (outcome, answer, mut transaction) = ask("www.example.org", &key(), 0);
    assert_eq!(outcome, Outcome::Answered(Rcode::NOERROR));
    assert_eq!(transaction.check(&answer, NOW), Ok(Checked::Signed));
    // 26 addresses fit into 512 octets, but not with a signature.
    let (_, answer, mut transaction) = ask("big.example.org", &key(), 0);
    assert_eq!(transaction.check(&answer, NOW), Ok(Checked::Signed));
    let header = Message::parse(&answer).unwrap().header();
    assert!(answer.len() <= 512 && header.flags.has(Flags::TC), "{header:?}");

    let stranger = Key::new(&"stranger".parse().unwrap(), Algorithm::HmacSha256, b"secret of the two");
    let forger = Key::new(key().name(), Algorithm::HmacSha256, b"a guess");
    let (outcome, answer, mut transaction) = ask("www.example.org", &stranger, 0);
    assert_eq!(outcome, Outcome::Answered(Rcode::NOTAUTH));
    assert_eq!(transaction.check(&answer, NOW), Err(TsigError::Refused(Rcode::BADKEY)));
    let (_, answer, mut transaction) = ask("www.example.org", &forger, 0);
    assert_eq!(transaction.check(&answer, NOW), Err(TsigError::Refused(Rcode::BADSIG)));
    assert_eq!(Message::parse(&answer).unwrap().header().counts[1], 0);
    let (_, answer, mut transaction) = ask("www.example.org", &key(), 301);
    assert_eq!(transaction.check(&answer, NOW), Err(TsigError::Refused(Rcode::BADTIME)));
    // Who knows no keys overlooks signatures.
    let mut query = MessageBuilder::query(5, &"www.example.org".parse().unwrap(), RecordType::A).finish();
    let _ = Transaction::sign_query(&stranger, &mut query, NOW);
    let plain = Authority::new([zone(1, 0..3)]);
    let mut answer = Vec::new();
    let outcome = plain.respond(&query, LOCAL.0, Timestamp::ZERO, Transport::Udp, &mut answer);
    assert_eq!(outcome, Outcome::Answered(Rcode::NXDOMAIN));
}

/// A primary that sends rubbish: the zone that is running stays, and what is good comes later.
#[tokio::test]
async fn a_broken_zone_never_replaces_a_running_one() {
    let primary = Upstream::start(|query, _, nth| {
        let records: Vec<Text<'_>> = match nth {
            // Without a name server, then without an end, then malformed, then well.
            0 => vec![soa(SOA_2), host("host-1.example.org", "10.0.0.1"), soa(SOA_2)],
            1 => vec![soa(SOA_2), ns(), soa(SOA_3)],
            2 => {
                let mut broken = upstream::answer(query, Rcode::NOERROR, &[soa(SOA_2), ns(), soa(SOA_2)]);
                broken.truncate(broken.len() - 5);
                return upstream::now(broken);
            }
            3 => vec![soa(SOA_1), ns(), soa(SOA_1)],
            _ => vec![soa(SOA_3), ns(), soa(SOA_3)],
        };
        upstream::now(upstream::answer(query, Rcode::NOERROR, &records))
    })
    .await;
    let running = zone(2, [7]);
    let follower = Follower::start(Secondary::new(origin(), [primary.address]).zone(running));
    follower.reach(3).await;
    assert_eq!(primary.stream_queries(), 5);
    assert_eq!(follower.events.lock().unwrap().len(), 1, "nothing but the good one was published");
}

#[tokio::test]
async fn an_expired_zone_is_withdrawn() {
    let primary = Upstream::start(|query, _, _| {
        let soa = (
            Section::Answer,
            "example.org",
            RecordType::SOA,
            300,
            "ns.example.org host.example.org 1 1 1 2 300",
        );
        upstream::now(upstream::answer(query, Rcode::NOERROR, &[soa, ns(), soa]))
    })
    .await;
    let follower = Follower::start(Secondary::new(origin(), [primary.address]));
    follower.reach(1).await;
    primary.stop();
    let withdrawn = async {
        while !matches!(follower.events.lock().unwrap().last(), Some(Event::Expired)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), withdrawn)
        .await
        .expect("two seconds after the last word of the primary");
}
