//! Real sockets: UDP and TCP on one port, pipelining, and a stop that waits for nobody.
#![cfg(feature = "tokio")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pop_dns::server::{Counters, Handled, Handler, Server, Swap};
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
        tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut answer)).await.unwrap().unwrap();
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
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Server::bind(first.local_addr()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot bind {} for DNS", first.local_addr()));
}

/// Echoes a query as its answer, after as many milliseconds as its identifier says.
struct Slow;

impl Handler for Slow {
    fn handle(&self, query: &[u8], _: IpAddr, _: Timestamp, _: Transport, _: &mut Vec<u8>) -> Handled {
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
    let running = tokio::spawn(server.run(Slow, Arc::clone(&counters), async {
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
        tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(Message::parse(&answer[..octets]).unwrap().header().id, 300);
    socket.send_to(&query(300), bound).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.send(()).unwrap();
    socket.recv(&mut answer).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    assert_eq!(counters.read().udp, 2);
}
