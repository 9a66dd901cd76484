//! Zones that differ by their serial and their hosts, and the records that transfers of them have.
#![allow(dead_code, reason = "each test uses its part")]

use pop_dns::zone::Zone;
use pop_dns::{NameBuf, RecordType, Section};

use crate::upstream::Text;

pub(crate) fn origin() -> NameBuf {
    "example.org".parse().unwrap()
}

pub(crate) fn zone(serial: u32, hosts: impl IntoIterator<Item = u32>) -> Zone {
    let mut text = format!("@ 300 SOA ns host {serial} 3600 1 86400 300\n@ 300 NS ns\nns 300 A 192.0.2.53\n");
    for host in hosts {
        text += &format!("host-{host} 60 A 10.{}.{}.{}\n", host >> 16, host >> 8 & 255, host & 255);
    }
    Zone::parse(text.as_bytes(), origin()).unwrap()
}

/// All records of a zone, in an order of their own.
pub(crate) fn records(zone: &Zone) -> Vec<String> {
    let show = |record: pop_dns::zone::ZoneRecord<'_>| {
        let rdata = pop_dns::RawRData::new(record.rtype, record.rdata);
        format!("{} {} {} {rdata}", record.owner, record.ttl, record.rtype)
    };
    let mut all: Vec<String> = zone.iter().map(show).collect();
    all.sort();
    all
}

pub(crate) const SOA_1: &str = "ns.example.org host.example.org 1 3600 1 86400 300";
pub(crate) const SOA_2: &str = "ns.example.org host.example.org 2 3600 1 86400 300";
pub(crate) const SOA_3: &str = "ns.example.org host.example.org 3 3600 1 86400 300";

pub(crate) fn soa(text: &'static str) -> Text<'static> {
    (Section::Answer, "example.org", RecordType::SOA, 300, text)
}

pub(crate) fn host(owner: &'static str, address: &'static str) -> Text<'static> {
    (Section::Answer, owner, RecordType::A, 60, address)
}

pub(crate) fn ns() -> Text<'static> {
    (Section::Answer, "example.org", RecordType::NS, 300, "ns.example.org")
}
