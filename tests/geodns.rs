//! A PoP's name server over real sockets: the nearest site for whoever asks, for how wide a block, and the next when it dies.
#![cfg(all(feature = "serve", feature = "dns", feature = "route"))]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pop_edge::Pop;
use pop_edge::dns::zone::Zone;
use pop_edge::dns::{ClientSubnet, EdnsParts, Message, MessageBuilder, NameBuf, RData, Rcode, RecordType};
use pop_edge::route::{ClientFacts, HealthPolicy, Location, Selector, Site, SiteMap, Timestamp};
use support::{PATIENCE, Running, loopback, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const ZONE: &[u8] =
    b"@ 300 SOA ns hostmaster 1 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 192.0.2.53\nwww 60 A 192.0.2.9\n";

fn place(latitude: f64, longitude: f64) -> Location {
    Location::new(latitude, longitude).expect("on the earth")
}

/// Frankfurt and Ashburn; clients in Berlin (198.51.100.0/24) and New York (203.0.113.0/24).
fn selector() -> Arc<Selector> {
    let sites = [
        Site::new("FRA", place(50.1, 8.7)).address([192, 0, 2, 1].into()),
        Site::new("IAD", place(38.9, -77.5)).address([192, 0, 2, 2].into()),
    ];
    let client = |builder: pop_edge::route::SelectorBuilder, block: [u8; 4], at| {
        builder.client((block.into(), 24), ClientFacts::at(at)).expect("a block")
    };
    let builder = Selector::builder(SiteMap::new(sites).expect("two sites"));
    let builder = client(builder, [198, 51, 100, 0], place(52.5, 13.4));
    Arc::new(client(builder, [203, 0, 113, 0], place(40.7, -74.0)).build())
}

async fn steering(selector: &Arc<Selector>) -> Running {
    let origin: NameBuf = "example.org".parse().expect("a name");
    let zone = Zone::parse(ZONE, origin).expect("a zone");
    let builder = Pop::cdn("test").dns(loopback(), zone).route(Arc::clone(selector)).geo("www.example.org");
    start(builder).await
}

/// A query for the IPv4 address of a name, on behalf of a client where one is given.
fn query(name: &str, client: Option<[u8; 4]>) -> Vec<u8> {
    let mut query = MessageBuilder::query(7, &name.parse().expect("a name"), RecordType::A);
    let client_subnet = client.map(|client| ClientSubnet::new(client.into(), 24));
    let parts = EdnsParts { udp_payload: 1232, client_subnet, ..EdnsParts::default() };
    query.edns(&parts, Rcode::NOERROR).expect("room");
    query.finish()
}

/// Response code, the addresses, and the scope of the answer.
fn read(answer: &[u8]) -> (Rcode, Vec<IpAddr>, Option<u8>) {
    let message = Message::parse(answer).expect("a message");
    let records = message.answers().expect("an answer section").map(|record| record.expect("a record"));
    let addresses = records.filter_map(|record| match record.rdata() {
        Ok(RData::A(address)) => Some(IpAddr::V4(address)),
        _ => None,
    });
    let scope = message.edns().expect("EDNS").and_then(|edns| edns.client_subnet().expect("a subnet"));
    (message.header().flags.rcode(), addresses.collect(), scope.map(|subnet| subnet.scope()))
}

async fn ask(server: SocketAddr, query: &[u8]) -> (Rcode, Vec<IpAddr>, Option<u8>) {
    let socket = UdpSocket::bind(loopback()).await.expect("a port");
    socket.connect(server).await.expect("a route");
    socket.send(query).await.expect("sent");
    let mut buffer = [0; 1232];
    let length =
        tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("an answer");
    read(&buffer[..length])
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> (Rcode, Vec<IpAddr>, Option<u8>) {
    let mut stream = TcpStream::connect(server).await.expect("it listens");
    stream.write_u16(u16::try_from(query.len()).expect("short")).await.expect("open");
    stream.write_all(query).await.expect("open");
    let exchange = async {
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    read(&tokio::time::timeout(PATIENCE, exchange).await.expect("in time").expect("an answer"))
}

const FRANKFURT: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1))];
const ASHBURN: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2))];
const BERLIN: [u8; 4] = [198, 51, 100, 0];
const NEW_YORK: [u8; 4] = [203, 0, 113, 0];

#[tokio::test]
async fn who_asks_is_sent_to_the_nearest() {
    let pop = steering(&selector()).await;
    let server = pop.addresses.dns[0];
    for (client, site) in [(BERLIN, FRANKFURT), (NEW_YORK, ASHBURN)] {
        let query = query("www.example.org", Some(client));
        for (rcode, addresses, scope) in [ask(server, &query).await, ask_tcp(server, &query).await] {
            assert_eq!((rcode, &addresses[..]), (Rcode::NOERROR, &site[..]));
            assert_eq!(scope, Some(24), "the other neighbour goes elsewhere");
        }
    }
    // Names that nobody steers are the zone's; names of nobody are refused.
    let (_, addresses, scope) = ask(server, &query("ns.example.org", Some(BERLIN))).await;
    assert_eq!((addresses, scope), (vec![IpAddr::from([192, 0, 2, 53])], Some(0)));
    assert_eq!(ask(server, &query("www.example.net", None)).await.0, Rcode::REFUSED);
    assert_eq!(ask(server, &query("no.example.org", None)).await.0, Rcode::NXDOMAIN);
}

#[tokio::test]
async fn only_the_dead_site_s_clients_move() {
    let selector = selector();
    let pop = steering(&selector).await;
    let server = pop.addresses.dns[0];
    let frankfurt = selector.sites().find("FRA").expect("it is there");
    for _ in 0..HealthPolicy::default().fall {
        selector.probed(frankfurt, false, Timestamp::ZERO);
    }
    for client in [BERLIN, NEW_YORK] {
        let (_, addresses, _) = ask(server, &query("www.example.org", Some(client))).await;
        assert_eq!(addresses, ASHBURN);
    }
    // All are dead: the answer is the best that is known, never nothing.
    let ashburn = selector.sites().find("IAD").expect("it is there");
    for _ in 0..HealthPolicy::default().fall {
        selector.probed(ashburn, false, Timestamp::ZERO);
    }
    let (rcode, addresses, _) = ask(server, &query("www.example.org", Some(BERLIN))).await;
    assert_eq!((rcode, addresses.len()), (Rcode::NOERROR, 1));
}
