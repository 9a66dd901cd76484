//! Zones from server to server: whole, in steps, signed, broken.
#![cfg(all(feature = "tokio", feature = "dnssec"))]

mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pop_dns::server::{Counters, Server, Swap};
use pop_dns::transfer::{Event, Incoming, Progress, Received, Secondary, TransferError, Transfers};
use pop_dns::tsig::{Algorithm, Key, Keyring};
use pop_dns::zone::Zone;
use pop_dns::{Authority, Message, MessageBuilder, NameBuf, Rcode, RecordType, Section};
use proptest::prelude::*;
use tokio::sync::oneshot;
use upstream::{Text, Upstream};

fn origin() -> NameBuf {
    "example.org".parse().unwrap()
}

fn zone(serial: u32, hosts: impl IntoIterator<Item = u32>) -> Zone {
    let mut text = format!("@ 300 SOA ns host {serial} 3600 1 86400 300\n@ 300 NS ns\nns 300 A 192.0.2.53\n");
    for host in hosts {
        text += &format!("host-{host} 60 A 10.{}.{}.{}\n", host >> 16, host >> 8 & 255, host & 255);
    }
    Zone::parse(text.as_bytes(), origin()).unwrap()
}

/// All records of a zone, in an order of their own.
fn records(zone: &Zone) -> Vec<String> {
    let show = |record: pop_dns::zone::ZoneRecord<'_>| {
        let rdata = pop_dns::RawRData::new(record.rtype, record.rdata);
        format!("{} {} {} {rdata}", record.owner, record.ttl, record.rtype)
    };
    let mut all: Vec<String> = zone.iter().map(show).collect();
    all.sort();
    all
}

fn key() -> Key {
    Key::new(&"transfer".parse().unwrap(), Algorithm::HmacSha256, b"secret of the two")
}

struct Primary {
    address: SocketAddr,
    swap: Swap,
    _stop: oneshot::Sender<()>,
}

async fn primary(zone: Zone, arrange: impl FnOnce(Transfers) -> Transfers) -> Primary {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, swap) = (server.local_addr(), Swap::new(Authority::new([zone])));
    let handler = arrange(Transfers::new(swap.clone()));
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(server.run(handler, Arc::new(Counters::default()), async {
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

#[tokio::test]
async fn a_zone_of_many_messages_comes_whole_and_signed_and_again_when_it_changes() {
    let first = zone(1, 0..20_000);
    let expected = records(&first);
    let ring: Keyring = [key()].into_iter().collect();
    let primary = primary(first, |transfers| transfers.keys(ring)).await;
    let follower = Follower::start(Secondary::new(origin(), [primary.address]).key(key()));
    assert_eq!(records(&*follower.reach(1).await), expected);
    let second = zone(2, 5..20_005);
    let expected = records(&second);
    primary.swap.store(Authority::new([second]));
    assert!(!follower.notifier.notify("192.0.2.1".parse().unwrap()), "no primary of ours");
    assert!(follower.notifier.notify(LOCAL.0));
    assert_eq!(records(&*follower.reach(2).await), expected);
    assert_eq!(follower.events.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn who_may_not_have_the_zone_does_not_get_it() {
    let ring: Keyring = [key()].into_iter().collect();
    let wrong = Key::new(key().name(), Algorithm::HmacSha256, b"another secret");
    let far = ("192.0.2.0".parse().unwrap(), 24);
    type Arrange = Box<dyn FnOnce(Transfers) -> Transfers>;
    let cases: [(&str, Arrange, Option<Key>); 5] = [
        ("nobody was allowed", Box::new(|transfers| transfers), None),
        (
            "not signed",
            {
                let ring = ring.clone();
                Box::new(|transfers| transfers.keys(ring))
            },
            None,
        ),
        (
            "wrongly signed",
            {
                let ring = ring.clone();
                Box::new(|transfers| transfers.keys(ring))
            },
            Some(wrong),
        ),
        ("from elsewhere", Box::new(move |transfers| transfers.allow(far)), None),
        ("signed, from elsewhere", Box::new(move |transfers| transfers.keys(ring).allow(far)), Some(key())),
    ];
    for (what, arrange, key) in cases {
        let primary = primary(zone(1, 0..3), arrange).await;
        let secondary = Secondary::new(origin(), [primary.address]);
        let follower = Follower::start(match key {
            Some(key) => secondary.key(key),
            None => secondary,
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(follower.events.lock().unwrap().is_empty(), "{what}");
    }
    let primary = primary(zone(1, 0..3), |transfers| transfers.allow(LOCAL)).await;
    Follower::start(Secondary::new(origin(), [primary.address])).reach(1).await;
}

/// A secondary of ours behind our own server: a notification by UDP makes it look at once.
#[tokio::test]
async fn a_notification_wakes_the_secondary() {
    let primary = primary(zone(1, 0..3), |transfers| transfers.allow(LOCAL)).await;
    let secondary = Secondary::new(origin(), [primary.address]);
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let bound = server.local_addr();
    let handler = Transfers::new(Swap::new(Authority::default())).notify(secondary.notifier());
    let running = tokio::spawn(server.run(handler, Arc::new(Counters::default()), std::future::pending()));
    let follower = Follower::start(secondary);
    follower.reach(1).await;
    primary.swap.store(Authority::new([zone(2, 0..4)]));
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for (name, expected) in [("example.org", Rcode::NOERROR), ("example.net", Rcode::REFUSED)] {
        let mut notify = MessageBuilder::query(9, &name.parse().unwrap(), RecordType::SOA).finish();
        notify[2] = 0x24;
        socket.send_to(&notify, bound).await.unwrap();
        let mut answer = [0; 512];
        let octets = socket.recv(&mut answer).await.unwrap();
        let header = Message::parse(&answer[..octets]).unwrap().header();
        assert_eq!((header.id, header.flags.rcode(), header.flags.opcode().0), (9, expected, 4), "{name}");
    }
    follower.reach(2).await;
    running.abort();
}

const SOA_1: &str = "ns.example.org host.example.org 1 3600 1 86400 300";
const SOA_2: &str = "ns.example.org host.example.org 2 3600 1 86400 300";
const SOA_3: &str = "ns.example.org host.example.org 3 3600 1 86400 300";

fn soa(text: &'static str) -> Text<'static> {
    (Section::Answer, "example.org", RecordType::SOA, 300, text)
}

fn host(owner: &'static str, address: &'static str) -> Text<'static> {
    (Section::Answer, owner, RecordType::A, 60, address)
}

fn ns() -> Text<'static> {
    (Section::Answer, "example.org", RecordType::NS, 300, "ns.example.org")
}

/// What a transfer of these records comes to, all in one message or each in its own.
fn transfer(have: Option<u32>, records: &[Text<'_>]) -> Result<Progress, TransferError> {
    let query = MessageBuilder::query(1, &origin(), RecordType::IXFR).finish();
    let mut incoming = Incoming::new(&origin(), have);
    let whole = upstream::answer(&query, Rcode::NOERROR, records);
    let at_once = incoming.push(&Message::parse(&whole).unwrap());
    let mut incoming = Incoming::new(&origin(), have);
    let mut last = Ok(Progress::More);
    for record in records {
        let message = upstream::answer(&query, Rcode::NOERROR, &[*record]);
        last = incoming.push(&Message::parse(&message).unwrap());
        if last.is_err() {
            break;
        }
    }
    assert_eq!(
        std::mem::discriminant(at_once.as_ref().unwrap_or(&Progress::More)),
        std::mem::discriminant(last.as_ref().unwrap_or(&Progress::More)),
    );
    at_once
}

#[test]
fn steps_are_summed_up() {
    let ours = zone(1, [1, 2]);
    let steps = [
        soa(SOA_3),
        soa(SOA_1),
        host("host-1.example.org", "10.0.0.1"),
        soa(SOA_2),
        host("host-3.example.org", "10.0.0.3"),
        host("host-4.example.org", "10.0.0.4"),
        soa(SOA_2),
        host("host-4.example.org", "10.0.0.4"),
        soa(SOA_3),
        host("HOST-1.example.org", "10.0.0.1"),
        soa(SOA_3),
    ];
    let Ok(Progress::Done(Received::Changes(changes))) = transfer(Some(1), &steps) else {
        panic!("no changes")
    };
    assert_eq!(changes.serials(), (1, 3));
    assert_eq!(records(&changes.apply(&ours).unwrap()), records(&zone(3, [1, 2, 3])));
    // For another zone they do not fit: another serial, or a record that is not there.
    assert!(matches!(changes.apply(&zone(2, [1, 2])), Err(TransferError::Mismatch)));
    assert!(matches!(changes.apply(&zone(1, [2])), Err(TransferError::Mismatch)));
}

#[test]
fn the_other_forms_of_an_answer() {
    let whole = [soa(SOA_2), ns(), host("host-1.example.org", "10.0.0.1"), soa(SOA_2)];
    assert!(matches!(transfer(Some(1), &whole), Ok(Progress::Done(Received::Zone(_)))));
    assert!(matches!(transfer(None, &whole), Ok(Progress::Done(Received::Zone(_)))));
    assert!(matches!(transfer(Some(2), &[soa(SOA_2)]), Ok(Progress::Current)));
    assert!(matches!(transfer(Some(3), &[soa(SOA_2)]), Ok(Progress::Current)), "ours is newer");
    assert!(matches!(transfer(Some(1), &[soa(SOA_2)]), Ok(Progress::More)));
    // What belongs elsewhere is left out, and harms nothing.
    let stray = [soa(SOA_2), ns(), host("evil.example", "10.0.0.1"), soa(SOA_2)];
    let Ok(Progress::Done(Received::Zone(zone))) = transfer(None, &stray) else { panic!("no zone") };
    assert_eq!(zone.records(), 2);
}

#[test]
fn what_is_no_transfer() {
    for (what, records) in [
        ("no SOA first", vec![ns(), soa(SOA_2)]),
        ("nothing", vec![]),
        ("another SOA at the end", vec![soa(SOA_2), ns(), soa(SOA_3)]),
        ("no name server", vec![soa(SOA_2), soa(SOA_2)]),
        ("something behind the end", vec![soa(SOA_2), ns(), soa(SOA_2), ns()]),
        ("a step from nowhere", vec![soa(SOA_3), soa(SOA_1), soa(SOA_2), soa(SOA_1)]),
    ] {
        let query = MessageBuilder::query(1, &origin(), RecordType::IXFR).finish();
        let message = upstream::answer(&query, Rcode::NOERROR, &records);
        let pushed = Incoming::new(&origin(), Some(1)).push(&Message::parse(&message).unwrap());
        assert!(pushed.is_err(), "{what}: {pushed:?}");
    }
    let query = MessageBuilder::query(1, &origin(), RecordType::AXFR).finish();
    let refused = upstream::answer(&query, Rcode::REFUSED, &[]);
    let pushed = Incoming::new(&origin(), None).push(&Message::parse(&refused).unwrap());
    assert!(matches!(pushed, Err(TransferError::Code(Rcode::REFUSED))));
}

proptest! {
    /// Whatever two zones are, the changes between them, in one step or two, lead from one to the other.
    #[test]
    fn changes_lead_where_they_should(
        sets in proptest::collection::vec(proptest::collection::btree_set(0_u32..40, 0..20), 2..4),
    ) {
        let owner: Vec<String> = (0..40).map(|host| format!("host-{host}.example.org")).collect();
        let data: Vec<String> = (0..40).map(|host| format!("10.0.0.{host}")).collect();
        let a = |host: u32| {
            (Section::Answer, owner[host as usize].as_str(), RecordType::A, 60, data[host as usize].as_str())
        };
        let soas: Vec<String> =
            (1..5).map(|serial| format!("ns.example.org host.example.org {serial} 3600 1 86400 300")).collect();
        let soa = |serial: usize| (Section::Answer, "example.org", RecordType::SOA, 300, soas[serial - 1].as_str());
        let last = sets.len();
        let mut steps = vec![soa(last)];
        for (serial, pair) in (1..).zip(sets.windows(2)) {
            steps.push(soa(serial));
            steps.extend(pair[0].difference(&pair[1]).map(|&host| a(host)));
            steps.push(soa(serial + 1));
            steps.extend(pair[1].difference(&pair[0]).map(|&host| a(host)));
        }
        steps.push(soa(last));
        let Ok(Progress::Done(Received::Changes(changes))) = transfer(Some(1), &steps) else {
            return Err(TestCaseError::fail("no changes"));
        };
        let changed = changes.apply(&zone(1, sets[0].iter().copied())).unwrap();
        let expected = zone(last as u32, sets[last - 1].iter().copied());
        prop_assert_eq!(records(&changed), records(&expected));
    }
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
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert!(matches!(follower.events.lock().unwrap().last(), Some(Event::Expired)));
}
