//! Asking a forwarder as a subscriber asks, and what it says.
#![allow(dead_code, reason = "each test uses its part")]

use std::net::IpAddr;
use std::time::Duration;

use pop_dns::forward::{Forwarder, ForwarderBuilder};
use pop_dns::server::{Handled, Handler};
use pop_dns::{
    ClientSubnet, EdnsOption, EdnsParts, Flags, Message, MessageBuilder, Outcome, Rcode, RecordType,
    Timestamp, Transport,
};

use crate::upstream::Upstream;

pub(crate) const SUBSCRIBER: &str = "192.0.2.7";

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn builder(upstream: &Upstream) -> ForwarderBuilder {
    Forwarder::builder().upstream(upstream.address).allow((ip("192.0.2.0"), 24))
}

/// A query with EDNS, and perhaps for a block.
pub(crate) fn query(name: &str, qtype: RecordType, subnet: Option<(&str, u8)>) -> Vec<u8> {
    let mut builder = MessageBuilder::query(77, &name.parse().unwrap(), qtype);
    let client_subnet = subnet.map(|(address, length)| ClientSubnet::new(ip(address), length));
    let edns = EdnsParts { udp_payload: 1232, client_subnet, ..EdnsParts::default() };
    builder.edns(&edns, Rcode::NOERROR).unwrap();
    builder.finish()
}

pub(crate) async fn ask_as(forwarder: &Forwarder, client: &str, query: &[u8]) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    match forwarder.handle(query, ip(client), Timestamp::ZERO, Transport::Udp, &mut answer) {
        Handled::Done(Outcome::Silent) => None,
        Handled::Done(Outcome::Answered(_)) => Some(answer),
        Handled::Later(later) => later.await,
        Handled::Many(_) => unreachable!("a forwarder transfers nothing"),
    }
}

/// What an answer says: its code, its records, its extended error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) rcode: Rcode,
    pub(crate) records: Vec<(String, u32)>,
    pub(crate) error: Option<u16>,
}

impl Said {
    pub(crate) fn new(octets: &[u8]) -> Self {
        let message = Message::parse(octets).unwrap();
        message.check().unwrap();
        assert_eq!(message.header().id, 77);
        assert!(message.header().flags.has(Flags::QR | Flags::RA));
        let records = message.answers().unwrap().map(|record| {
            let record = record.unwrap();
            (record.rdata().unwrap().to_string(), record.ttl)
        });
        let edns = message.edns().unwrap();
        let error = edns.and_then(|edns| {
            edns.typed_options().find_map(|option| match option {
                Ok(EdnsOption::ExtendedError { code, .. }) => Some(code),
                _ => None,
            })
        });
        Self { rcode: message.header().flags.rcode(), records: records.collect(), error }
    }

    pub(crate) fn data(&self) -> Vec<&str> {
        self.records.iter().map(|(data, _)| data.as_str()).collect()
    }
}

pub(crate) async fn ask(forwarder: &Forwarder, name: &str) -> Said {
    Said::new(&ask_as(forwarder, SUBSCRIBER, &query(name, RecordType::A, None)).await.unwrap())
}

pub(crate) async fn later(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}
