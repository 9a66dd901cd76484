//! The client against servers that lose, delay, lie and cut.
#![cfg(feature = "tokio")]

mod upstream;

use std::sync::Mutex;
use std::time::Duration;

use pop_dns::client::{Client, ClientError, Request};
use pop_dns::{CookieSecret, Flags, MessageBuilder, Query, Rcode, RecordType, Section, Transport, option};
use upstream::{Upstream, address, answer, now};

fn request() -> Request {
    Request::new("www.example.org".parse().unwrap(), RecordType::A)
}

fn quick() -> Client {
    Client::builder().patience(Duration::from_millis(100)).deadline(Duration::from_secs(2)).build()
}

fn first(answer: &pop_dns::client::Answer) -> String {
    answer.message().answers().unwrap().next().unwrap().unwrap().rdata().unwrap().to_string()
}

#[tokio::test]
async fn an_answer_is_taken_and_spelled_as_asked() {
    let server = Upstream::start(|query, _, _| now(address(query, 60, "192.0.2.1"))).await;
    let answer = quick().query(server.address, &request()).await.unwrap();
    assert_eq!((first(&answer).as_str(), answer.transport), ("192.0.2.1", Transport::Udp));
    let question = answer.message().questions().next().unwrap().unwrap();
    assert_eq!(question.name.to_string(), "www.example.org.");
    let owner = answer.message().answers().unwrap().next().unwrap().unwrap().name.to_string();
    assert_eq!(owner, "www.example.org.");
}

#[tokio::test]
async fn a_lost_query_is_asked_again() {
    let server = Upstream::start(
        |query, _, nth| {
            if nth < 2 { Vec::new() } else { now(address(query, 60, "192.0.2.1")) }
        },
    )
    .await;
    assert!(quick().query(server.address, &request()).await.is_ok());
    assert_eq!(server.queries(), 3);
}

#[tokio::test]
async fn a_slow_first_attempt_still_wins() {
    let server = Upstream::start(|query, _, nth| {
        if nth == 0 {
            vec![(Duration::from_millis(250), address(query, 60, "192.0.2.1"))]
        } else {
            Vec::new()
        }
    })
    .await;
    assert!(quick().query(server.address, &request()).await.is_ok());
}

/// Every attempt has its own identifier, port and spelling.
#[tokio::test]
async fn nothing_of_a_query_can_be_guessed_from_another() {
    static SEEN: Mutex<Vec<(u16, Vec<u8>)>> = Mutex::new(Vec::new());
    let server = Upstream::start(|query, _, _| {
        let parsed = Query::parse(query).unwrap();
        SEEN.lock().unwrap().push((parsed.header.id, parsed.name.as_wire().unwrap().to_vec()));
        now(address(query, 60, "192.0.2.1"))
    })
    .await;
    let client = quick();
    for _ in 0..64 {
        client.query(server.address, &request()).await.unwrap();
    }
    let seen = SEEN.lock().unwrap();
    let distinct = |count: usize| count > 50;
    assert!(distinct(seen.iter().map(|(id, _)| id).collect::<std::collections::HashSet<_>>().len()));
    assert!(distinct(seen.iter().map(|(_, name)| name).collect::<std::collections::HashSet<_>>().len()));
}

/// RFC 5452 §9.2: the source port is drawn for each query, and is none that a server would take for a loop.
#[tokio::test]
async fn every_query_has_a_port_of_its_own() {
    let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (client, place) = (quick(), server.local_addr().unwrap());
    let mut ports = std::collections::HashSet::new();
    for _ in 0..64 {
        let (client, mut query) = (client.clone(), [0; 512]);
        let asked = tokio::spawn(async move { client.query(place, &request()).await.map(drop) });
        let (octets, peer) = server.recv_from(&mut query).await.unwrap();
        server.send_to(&address(&query[..octets], 60, "192.0.2.1"), peer).await.unwrap();
        asked.await.unwrap().unwrap();
        assert!(peer.port() > 1023, "{peer}");
        ports.insert(peer.port());
    }
    assert!(ports.len() > 50, "{} ports for 64 queries", ports.len());
}

/// Lies come first, each a way to be wrong; the truth comes later and is what is taken.
#[tokio::test]
async fn lies_are_ignored_while_the_truth_is_awaited() {
    type Lie = fn(&mut Vec<u8>);
    let lies: [(&str, Lie); 10] = [
        ("identifier", |wire| wire[0] ^= 1),
        ("not a response", |wire| wire[2] &= 0x7F),
        ("another name", |wire| wire[13] = b'v'),
        ("another spelling", |wire| wire[13] ^= 0x20),
        ("another type", |wire| wire[12 + 17 + 1] = 28),
        ("no question", |wire| wire[5] = 0),
        ("two questions", |wire| wire[5] = 2),
        ("cut short", |wire| wire.truncate(40)),
        ("counts lie", |wire| wire[7] = 9),
        ("octets behind", |wire| wire.push(0)),
    ];
    for (what, lie) in lies {
        let server = Upstream::start(move |query, _, _| {
            let mut lying = address(query, 60, "203.0.113.66");
            lie(&mut lying);
            vec![(Duration::ZERO, lying), (Duration::from_millis(30), address(query, 60, "192.0.2.1"))]
        })
        .await;
        let answer = quick().query(server.address, &request()).await.unwrap();
        assert_eq!((first(&answer).as_str(), answer.transport), ("192.0.2.1", Transport::Udp), "{what}");
        assert_eq!(server.queries(), 1, "{what}: one query was enough");
    }
}

#[tokio::test]
async fn who_meddles_is_evaded_by_tcp() {
    let server = Upstream::start(|query, transport, _| {
        let mut wire = address(query, 60, "192.0.2.1");
        if transport == Transport::Udp {
            wire[13] = b'v';
        }
        now(wire)
    })
    .await;
    let answer = quick().query(server.address, &request()).await.unwrap();
    assert_eq!(answer.transport, Transport::Tcp);
}

#[tokio::test]
async fn a_cut_answer_is_fetched_by_tcp_on_one_connection() {
    let server = Upstream::start(|query, transport, _| {
        if transport == Transport::Udp {
            let mut wire = answer(query, Rcode::NOERROR, &[]);
            wire[2] |= (Flags::TC >> 8) as u8;
            return now(wire);
        }
        let records: Vec<String> = (0..200).map(|last| format!("192.0.2.{last}")).collect();
        let records: Vec<_> =
            records.iter().map(|text| (Section::Answer, "@", RecordType::A, 60, text.as_str())).collect();
        now(answer(query, Rcode::NOERROR, &records))
    })
    .await;
    let client = quick();
    for _ in 0..3 {
        let answer = client.query(server.address, &request()).await.unwrap();
        assert_eq!(answer.message().answers().unwrap().count(), 200);
    }
    assert_eq!((server.queries(), server.stream_queries(), server.connections()), (3, 3, 1));
}

/// Ten queries at once share a connection; the answers come in an order of their own.
#[tokio::test]
async fn queries_are_pipelined() {
    let server = Upstream::start(|query, _, _| now(address(query, 60, "192.0.2.1"))).await;
    let client = quick();
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let (client, server) = (client.clone(), server.address);
            tokio::spawn(async move { client.query(server, &request().over_stream()).await.is_ok() })
        })
        .collect();
    for asked in asking {
        assert!(asked.await.unwrap());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_without_edns_is_asked_without() {
    let server = Upstream::start(|query, _, _| {
        let parsed = Query::parse(query).unwrap();
        if parsed.edns.is_none() {
            return now(address(query, 60, "192.0.2.1"));
        }
        let flags = Flags(Flags::QR).with_rcode(Rcode::FORMERR);
        let header = pop_dns::Header { id: parsed.header.id, flags, counts: [0; 4] };
        now(header.to_wire().to_vec())
    })
    .await;
    let answer = quick().query(server.address, &request()).await.unwrap();
    assert_eq!(first(&answer), "192.0.2.1");
}

/// A server that wants its cookie back gets it, and answers without it are not believed from then on.
#[tokio::test]
async fn cookies_are_given_back_and_expected() {
    let secret = CookieSecret::new([7; 16]);
    let server = Upstream::start(move |query, _, nth| {
        let parsed = Query::parse(query).unwrap();
        let cookie = parsed.cookie.expect("the client sends its cookie");
        let local = "127.0.0.1".parse().unwrap();
        let ours = secret.make(cookie.client, local, 1);
        let good = cookie.server == &ours[8..];
        let mut builder = MessageBuilder::new(1232);
        builder.set_header(parsed.header.id, Flags(Flags::QR));
        builder.question(parsed.name.as_wire().unwrap(), parsed.qtype, parsed.qclass).unwrap();
        let rcode = if good { Rcode::NOERROR } else { Rcode::BADCOOKIE };
        let options = [(option::COOKIE, &ours[..])];
        let edns = pop_dns::EdnsParts { udp_payload: 1232, options: &options, ..Default::default() };
        builder.edns(&edns, rcode).unwrap();
        let honest = builder.finish();
        if nth < 2 {
            return now(honest);
        }
        assert!(good, "it is sent from the second query on");
        let forged = address(query, 60, "203.0.113.66");
        vec![(Duration::ZERO, forged), (Duration::from_millis(30), honest)]
    })
    .await;
    let client = quick();
    let answer = client.query(server.address, &request()).await.unwrap();
    assert_eq!((answer.rcode(), server.queries()), (Rcode::NOERROR, 2));
    let answer = client.query(server.address, &request()).await.unwrap();
    assert_eq!(answer.message().answers().unwrap().count(), 0, "not the forged one");
    assert_eq!(server.queries(), 3);
}

#[tokio::test]
async fn an_answer_for_another_block_is_ignored() {
    let server = Upstream::start(|query, _, _| {
        let with = |query: &[u8]| {
            upstream::answer_with(
                query,
                Rcode::NOERROR,
                &[(Section::Answer, "@", RecordType::A, 60, "192.0.2.1")],
                Some(24),
            )
        };
        // The same answer as for a query about 198.51.101.0.
        let mut other = with(query);
        let at = other.len() - 1;
        other[at] ^= 1;
        vec![(Duration::ZERO, other), (Duration::from_millis(30), with(query))]
    })
    .await;
    let request = request().without_cookies().client_subnet(("198.51.100.0".parse().unwrap(), 24));
    let answer = quick().query(server.address, &request).await.unwrap();
    let edns = answer.message().edns().unwrap().unwrap();
    let subnet = edns.client_subnet().unwrap().unwrap();
    assert_eq!(subnet.block().0.to_string(), "198.51.100.0");
}

#[tokio::test]
async fn silence_and_refusal_are_told_apart() {
    let server = Upstream::start(|query, _, _| {
        let mut wire = address(query, 60, "192.0.2.1");
        wire[0] ^= 1;
        now(wire)
    })
    .await;
    let client = Client::builder().attempts(1).deadline(Duration::from_millis(200)).build();
    let error = client.query(server.address, &request()).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { ignored: 1, .. }), "{error}");
    server.stop();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = client.query(server.address, &request()).await.unwrap_err();
    assert!(matches!(error, ClientError::Network { .. }), "{error}");
}

/// A stream that answers another question than was asked breaks the rules.
#[tokio::test]
async fn a_lie_by_stream_is_an_error() {
    let server = Upstream::start(|query, _, _| {
        let mut wire = address(query, 60, "192.0.2.1");
        wire[13] = b'v';
        now(wire)
    })
    .await;
    let error = quick().query(server.address, &request().over_stream()).await.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
}

/// Two queries hold both sockets, so the others do not leave as long as those wait.
#[tokio::test]
async fn no_more_sockets_than_allowed() {
    let server = Upstream::start(|_, _, _| Vec::new()).await;
    let client = Client::builder().attempts(1).deadline(Duration::from_secs(60)).sockets_max(2).build();
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (client, server) = (client.clone(), server.address);
            tokio::spawn(async move { client.query(server, &request()).await })
        })
        .collect();
    while server.queries() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.queries(), 2);
    asking.iter().for_each(|asked| asked.abort());
}
