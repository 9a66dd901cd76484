//! Streams under attack: idle, half-sent, one octet at a time, too many, too eager.
#![cfg(feature = "tokio")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pop_dns::server::{CONNECTIONS_PER_PREFIX_MAX, Counters, Handled, Handler, IDLE, PIPELINED_MAX, Server};
use pop_dns::{Message, MessageBuilder, Outcome, Rcode, RecordType, Timestamp, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Echoes queries as answers; a query whose identifier is 9 is answered when the test says so.
#[derive(Clone, Default)]
struct Echo {
    waiting: Arc<AtomicUsize>,
    release: Arc<tokio::sync::Notify>,
}

impl Handler for Echo {
    fn handle(&self, query: &[u8], _: IpAddr, _: Timestamp, _: Transport, answer: &mut Vec<u8>) -> Handled {
        let Ok(message) = Message::parse(query) else { return Handled::Done(Outcome::Silent) };
        answer.clear();
        answer.extend_from_slice(query);
        answer[2] |= 0x80;
        if message.header().id != 9 {
            return Handled::Done(Outcome::Answered(Rcode::NOERROR));
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let (answer, released) = (answer.clone(), Arc::clone(&self.release));
        Handled::Later(Box::pin(async move {
            released.notified().await;
            Some(answer)
        }))
    }
}

async fn serve(echo: Echo) -> (SocketAddr, Arc<Counters>) {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, counters) = (server.local_addr(), Arc::new(Counters::default()));
    tokio::spawn(server.run(echo, Arc::clone(&counters), std::future::pending()));
    (address, counters)
}

fn framed(id: u16) -> Vec<u8> {
    let query = MessageBuilder::query(id, &"www.example.org".parse().unwrap(), RecordType::A).finish();
    [&(query.len() as u16).to_be_bytes()[..], &query].concat()
}

async fn answer(stream: &mut TcpStream) -> std::io::Result<u16> {
    let length = usize::from(stream.read_u16().await?);
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(u16::from_be_bytes([answer[0], answer[1]]))
}

/// The time that passes, by the runtime's clock, until the server closes a connection on which `octets` were sent, one
/// by one with a second between them if `slowly`.
async fn closed_after(octets: &[u8], pause: Duration) -> Duration {
    let (address, _) = serve(Echo::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    let mut rest = [0; 512];
    for octet in octets {
        if stream.write_all(&[*octet]).await.is_err() {
            return start.elapsed();
        }
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(pause, stream.read(&mut rest)).await {
            return start.elapsed();
        }
    }
    while let Ok(1..) = stream.read(&mut rest).await {}
    start.elapsed()
}

/// The clock jumps to the next deadline whenever nothing else is to do, so these take no time.
#[tokio::test(start_paused = true)]
async fn who_does_not_finish_a_query_is_closed() {
    let second = Duration::from_secs(1);
    let query = framed(1);
    for (what, octets, pause) in [
        ("idle", &[][..], Duration::ZERO),
        ("half a length", &query[..1], Duration::ZERO),
        ("a length and no query", &query[..2], Duration::ZERO),
        ("one octet short", &query[..query.len() - 1], Duration::ZERO),
        ("one octet a second", &query[..], second),
    ] {
        let after = closed_after(octets, pause).await;
        assert!(after >= IDLE && after < IDLE + 3 * second, "{what}: closed after {after:?}");
    }
}

#[tokio::test]
async fn what_is_no_query_ends_the_connection() {
    let (address, counters) = serve(Echo::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&framed(1)).await.unwrap();
    stream.write_all(b"\x00\x05GET /").await.unwrap();
    assert_eq!(answer(&mut stream).await.unwrap(), 1, "what was asked before is answered");
    assert!(answer(&mut stream).await.is_err());
    assert_eq!(counters.read().silent, 1);
}

#[tokio::test]
async fn a_network_has_so_many_connections_and_no_more() {
    let (address, counters) = serve(Echo::default()).await;
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS_PER_PREFIX_MAX + 10 {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    let mut answered = 0;
    for stream in &mut streams {
        let asked = stream.write_all(&framed(1)).await.is_ok();
        answered += usize::from(asked && answer(stream).await.is_ok());
    }
    assert_eq!(answered, CONNECTIONS_PER_PREFIX_MAX);
    assert_eq!(counters.read().refused_connections, 10);
    // Who leaves makes room.
    drop(streams);
    let mut late = loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if stream.write_all(&framed(2)).await.is_ok() && answer(&mut stream).await.is_ok() {
            break stream;
        }
    };
    late.write_all(&framed(3)).await.unwrap();
    assert_eq!(answer(&mut late).await.unwrap(), 3);
}

#[tokio::test]
async fn who_asks_ahead_waits_for_answers() {
    let echo = Echo::default();
    let (address, _) = serve(echo.clone()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let eager: Vec<u8> = (0..PIPELINED_MAX * 3).flat_map(|_| framed(9)).collect();
    stream.write_all(&eager).await.unwrap();
    while echo.waiting.load(Ordering::SeqCst) < PIPELINED_MAX {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(echo.waiting.load(Ordering::SeqCst), PIPELINED_MAX, "the others are not even read");
    let mut answered = 0;
    while answered < PIPELINED_MAX * 3 {
        echo.release.notify_one();
        assert_eq!(answer(&mut stream).await.unwrap(), 9);
        answered += 1;
    }
}

/// Answers that nobody takes: the connection is closed, and what it holds stays bounded.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_closed() {
    let (address, _) = serve(Echo::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let many: Vec<u8> = (0..2000).flat_map(|_| framed(1)).collect();
    let start = Instant::now();
    let mut sent = 0_u64;
    while let Ok(Ok(())) = tokio::time::timeout(IDLE * 3, stream.write_all(&many)).await {
        sent += many.len() as u64;
        assert!(sent < 1 << 30, "somebody keeps all of it");
    }
    assert!(start.elapsed() < Duration::from_secs(400));
}
