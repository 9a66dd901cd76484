//! An upstream that answers as a test tells it, by UDP and TCP on one port.
#![allow(dead_code, reason = "each test uses its part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pop_dns::{
    Class, EdnsParts, Flags, MessageBuilder, Query, RawRData, Rcode, RecordType, Section, Token, Transport,
    parse_rdata,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What is sent for a query, and when.
pub(crate) type Replies = Vec<(Duration, Vec<u8>)>;

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    queries: Arc<AtomicUsize>,
    stream_queries: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::AbortHandle>,
}

impl Upstream {
    /// `script` is handed the query, how it came, and how many came before it.
    pub(crate) async fn start(
        script: impl Fn(&[u8], Transport, usize) -> Replies + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (Arc::new(udp), tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let script = Arc::new(script);
        let [queries, stream_queries, connections] = [0; 3].map(|_| Arc::new(AtomicUsize::new(0)));
        let (count, by_udp) = (Arc::clone(&queries), Arc::clone(&script));
        let datagrams = tokio::spawn(async move {
            let mut query = [0; 4096];
            loop {
                let Ok((octets, peer)) = udp.recv_from(&mut query).await else { continue };
                let nth = count.fetch_add(1, Ordering::SeqCst);
                for (delay, reply) in by_udp(&query[..octets], Transport::Udp, nth) {
                    let udp = Arc::clone(&udp);
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        let _ = udp.send_to(&reply, peer).await;
                    });
                }
            }
        });
        let (count, opened) = (Arc::clone(&stream_queries), Arc::clone(&connections));
        let streams = tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = tcp.accept().await else { continue };
                opened.fetch_add(1, Ordering::SeqCst);
                let (script, count) = (Arc::clone(&script), Arc::clone(&count));
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; length.into()];
                        stream.read_exact(&mut query).await.unwrap();
                        let nth = count.fetch_add(1, Ordering::SeqCst);
                        for (delay, reply) in script(&query, Transport::Tcp, nth) {
                            tokio::time::sleep(delay).await;
                            let mut framed = (reply.len() as u16).to_be_bytes().to_vec();
                            framed.extend_from_slice(&reply);
                            let _ = stream.write_all(&framed).await;
                        }
                    }
                });
            }
        });
        let tasks = vec![datagrams.abort_handle(), streams.abort_handle()];
        Self { address, queries, stream_queries, connections, tasks }
    }

    /// Queries by UDP so far.
    pub(crate) fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }

    /// Queries by TCP so far.
    pub(crate) fn stream_queries(&self) -> usize {
        self.stream_queries.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Answers nothing any more; the port is closed.
    pub(crate) fn stop(&self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A record in presentation format.
pub(crate) type Text<'a> = (Section, &'a str, RecordType, u32, &'a str);

/// At once.
pub(crate) fn now(reply: Vec<u8>) -> Replies {
    vec![(Duration::ZERO, reply)]
}

/// The answer to `query` with these records.
pub(crate) fn answer(query: &[u8], rcode: Rcode, records: &[Text<'_>]) -> Vec<u8> {
    answer_with(query, rcode, records, None)
}

/// The same, with the scope of the client subnet in the query.
pub(crate) fn answer_with(query: &[u8], rcode: Rcode, records: &[Text<'_>], scope: Option<u8>) -> Vec<u8> {
    let query = Query::parse(query).unwrap();
    let mut builder = MessageBuilder::new(65_535);
    builder.set_header(query.header.id, Flags(Flags::QR | Flags::RD | Flags::RA).with_rcode(rcode));
    builder.question(query.name.as_wire().unwrap(), query.qtype, query.qclass).unwrap();
    for &(section, owner, rtype, ttl, rdata) in records {
        let owner: pop_dns::NameBuf =
            if owner == "@" { query.name.to_name_buf().unwrap() } else { owner.parse().unwrap() };
        let words = rdata.split(' ').map(|word| Token { octets: word.as_bytes(), quoted: false });
        let mut wire = Vec::new();
        parse_rdata(rtype, words, &pop_dns::NameBuf::root(), &mut wire).unwrap();
        builder.records(section, owner.as_name(), Class::IN, ttl, [RawRData::new(rtype, &wire)]).unwrap();
    }
    if query.edns.is_some() {
        let client_subnet =
            query.client_subnet.and_then(|subnet| scope.map(|scope| subnet.with_scope(scope)));
        builder.edns(&EdnsParts { udp_payload: 1232, client_subnet, ..EdnsParts::default() }, rcode).unwrap();
    }
    builder.finish()
}

/// One A record of the name that was asked for.
pub(crate) fn address(query: &[u8], ttl: u32, address: &str) -> Vec<u8> {
    answer(query, Rcode::NOERROR, &[(Section::Answer, "@", RecordType::A, ttl, address)])
}
