//! Real sockets: UDP and TCP on one port, pipelining, and a stop that waits for nobody.
#![cfg(feature = "tokio")]

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pop_dns::server::{Counters, Counts, Handled, Handler, Server, Swap};
use pop_dns::zone::Zone;
use pop_dns::{Authority, Message, MessageBuilder, Rcode, RecordType, Timestamp, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;

fn authority(address: &str) -> Authority {
    let text = format!("@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\nwww 60 A {address}\n");
    Authority::new([Zone::parse(text.as_bytes(), "example.org".parse().unwrap()).unwrap()])
}

fn query() -> Vec<u8> {
    MessageBuilder::query(5, &"www.example.org".parse().unwrap(), RecordType::A).finish()
}

fn address(answer: &[u8]) -> String {
    let message = Message::parse(answer).unwrap();
    message.answers().unwrap().next().unwrap().unwrap().rdata().unwrap().to_string()
}

async fn udp(server: SocketAddr) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query(), server).await.unwrap();
    let mut answer = vec![0; 1500];
    let octets =
        tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut answer)).await.unwrap().unwrap();
    answer.truncate(octets);
    answer
}

#[tokio::test]
async fn udp_and_tcp_answer_and_the_zone_can_be_swapped() {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let bound = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let counters = Arc::new(Counters::default());
    let swap = Swap::new(authority("192.0.2.1"));
    let running = tokio::spawn(server.run(swap.clone(), Arc::clone(&counters), async {
        let _ = stopped.await;
    }));
    assert_eq!(address(&udp(bound).await), "192.0.2.1");
    swap.store(authority("192.0.2.2"));
    assert_eq!(address(&udp(bound).await), "192.0.2.2");

    // Two queries in one packet, the second torn.
    let mut stream = TcpStream::connect(bound).await.unwrap();
    let mut framed = Vec::new();
    for _ in 0..2 {
        framed.extend_from_slice(&(query().len() as u16).to_be_bytes());
        framed.extend_from_slice(&query());
    }
    let (head, tail) = framed.split_at(framed.len() - 7);
    stream.write_all(head).await.unwrap();
    stream.flush().await.unwrap();
    stream.write_all(tail).await.unwrap();
    for _ in 0..2 {
        let length = usize::from(stream.read_u16().await.unwrap());
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(address(&answer), "192.0.2.2");
    }
    let counts = counters.read();
    assert_eq!((counts.udp, counts.tcp, counts.rcodes[usize::from(Rcode::NOERROR.0)]), (2, 2, 4));

    // An idle connection does not hold up the stop.
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Server::bind(first.local_addr()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot bind {} for DNS", first.local_addr()));
}

/// Echoes a query as its answer, after as many milliseconds as its identifier says, and counts what it was handed.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicUsize>);

impl Handler for Slow {
    fn handle(&self, query: &[u8], _: IpAddr, _: Timestamp, _: Transport, _: &mut Vec<u8>) -> Handled {
        self.0.fetch_add(1, Ordering::SeqCst);
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        let delay = Duration::from_millis(u16::from_be_bytes([query[0], query[1]]).into());
        Handled::Later(Box::pin(async move {
            tokio::time::sleep(delay).await;
            Some(answer)
        }))
    }
}

#[tokio::test]
async fn later_answers_overtake_each_other_and_a_stop_waits_for_them() {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let bound = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let counters = Arc::new(Counters::default());
    let slow = Slow::default();
    let running = tokio::spawn(server.run(slow.clone(), Arc::clone(&counters), async {
        let _ = stopped.await;
    }));
    let query = |id| MessageBuilder::query(id, &"www.example.org".parse().unwrap(), RecordType::A).finish();
    let mut stream = TcpStream::connect(bound).await.unwrap();
    let mut framed = Vec::new();
    for id in [400, 0] {
        framed.extend_from_slice(&(query(id).len() as u16).to_be_bytes());
        framed.extend_from_slice(&query(id));
    }
    stream.write_all(&framed).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query(300), bound).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let length = usize::from(stream.read_u16().await.unwrap());
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await.unwrap();
        ids.push(Message::parse(&answer).unwrap().header().id);
    }
    assert_eq!(ids, [0, 400], "the quick one first");
    let mut answer = [0; 512];
    let octets =
        tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(Message::parse(&answer[..octets]).unwrap().header().id, 300);
    socket.send_to(&query(300), bound).await.unwrap();
    while slow.0.load(Ordering::SeqCst) < 4 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut answer)).await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    assert_eq!(counters.read().udp, 2);
}

/// Runs a server while `talk` talks to it, and returns what it counted.
async fn while_serving<F: Future<Output = ()>>(server: Server, talk: impl FnOnce(SocketAddr) -> F) -> Counts {
    let bound = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let counters = Arc::new(Counters::default());
    let running = tokio::spawn(server.run(authority("192.0.2.1"), Arc::clone(&counters), async {
        let _ = stopped.await;
    }));
    talk(bound).await;
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    counters.read()
}

#[tokio::test]
async fn many_workers_answer_every_client_of_a_burst() {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = server.workers(NonZeroUsize::new(3).unwrap()).unwrap();
    let counts = while_serving(server, |bound| async move {
        let mut sockets = Vec::new();
        for _ in 0..20 {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            for id in 0..10_u8 {
                let mut query = query();
                query[1] = id;
                socket.send_to(&query, bound).await.unwrap();
            }
            sockets.push(socket);
        }
        for socket in sockets {
            let mut ids = Vec::new();
            for _ in 0..10 {
                let mut answer = [0; 1500];
                let received = socket.recv_from(&mut answer);
                let (octets, from) =
                    tokio::time::timeout(Duration::from_secs(20), received).await.unwrap().unwrap();
                assert_eq!((address(&answer[..octets]), from), ("192.0.2.1".to_owned(), bound));
                ids.push(answer[1]);
            }
            ids.sort_unstable();
            assert_eq!(ids, (0..10).collect::<Vec<u8>>());
        }
    })
    .await;
    assert_eq!((counts.udp, counts.rcodes[0], counts.silent), (200, 200, 0));
}

/// On a wildcard each answer comes from the address that was asked, over IPv4 and over IPv6.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_wildcard_answers_from_the_address_asked() {
    for (bind, asked) in [("0.0.0.0:0", "127.0.3.7"), ("[::]:0", "::1"), ("[::]:0", "127.0.3.8")] {
        let server = Server::bind(bind.parse().unwrap()).await.unwrap();
        let _ = while_serving(server, |bound| async move {
            let asked = SocketAddr::new(asked.parse().unwrap(), bound.port());
            let any: IpAddr = if asked.is_ipv4() { [0; 4].into() } else { [0_u8; 16].into() };
            let socket = UdpSocket::bind((any, 0)).await.unwrap();
            // A connected socket takes nothing from any other address.
            socket.connect(asked).await.unwrap();
            for _ in 0..3 {
                socket.send(&query()).await.unwrap();
                let mut answer = [0; 1500];
                let received = socket.recv(&mut answer);
                let octets = tokio::time::timeout(Duration::from_secs(20), received).await.unwrap().unwrap();
                assert_eq!(address(&answer[..octets]), "192.0.2.1");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_datagram_longer_than_we_take_is_malformed_and_an_answer_is_never_answered() {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let counts = while_serving(server, |bound| async move {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut long = query();
        long.resize(2000, 0);
        socket.send_to(&long, bound).await.unwrap();
        let mut answer = [0; 1500];
        socket.recv(&mut answer).await.unwrap();
        assert_eq!(u16::from(answer[3] & 15), Rcode::FORMERR.0);
        let mut response = query();
        response[2] |= 0x80;
        socket.send_to(&response, bound).await.unwrap();
        // What comes next is the answer to the next query, and to nothing before it.
        socket.send_to(&query(), bound).await.unwrap();
        let octets = socket.recv(&mut answer).await.unwrap();
        assert_eq!(address(&answer[..octets]), "192.0.2.1");
    })
    .await;
    assert_eq!((counts.udp, counts.silent, counts.rcodes[0], counts.rcodes[1]), (3, 1, 1, 1));
}
