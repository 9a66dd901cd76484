//! Messages of other kinds than queries: word that a zone has changed (RFC 1996), requests to change one (RFC 2136).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::Authority;
use super::respond::Asker;
use super::update::{Update, Updates};
use crate::{Class, Flags, Message, MessageBuilder, NameBuf, Opcode, Query, RData, Rcode, RecordType};

/// Word that a zone has changed.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// Who says so.
    pub client: IpAddr,
    /// The zone, in lower case; perhaps one that is not here, or not yet.
    pub zone: &'a NameBuf,
    /// The key that it is signed with, if [`Authority::keys`] has it.
    pub key: Option<&'a NameBuf>,
    /// Its new serial, if it was told: a hint, to be checked (RFC 1996 §3.7).
    pub serial: Option<u32>,
    /// The octets of the message, less a TSIG record that was checked.
    pub message: &'a [u8],
}

type Notified = dyn Fn(&Notification<'_>) -> bool + Send + Sync;

/// A closure that is told.
#[derive(Clone)]
pub(super) struct Notifications(pub(super) Arc<Notified>);

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notifications")
    }
}

impl Authority {
    /// Answers a notification; `None` where it is malformed.
    #[cold]
    pub(super) fn notify(&self, octets: &[u8], asker: &Asker<'_>, answer: &mut Vec<u8>) -> Option<Rcode> {
        let query = Query::parse_as(octets, Opcode::NOTIFY).ok()?;
        let zone = query.name.to_name_buf().ok()?.to_lower();
        let unwelcome =
            if self.zones.get_by_name(zone.as_wire()).is_some() { Rcode::REFUSED } else { Rcode::NOTAUTH };
        let rcode = match &self.notifications {
            _ if query.qtype != RecordType::SOA || query.qclass != Class::IN => Rcode::FORMERR,
            None => unwelcome,
            Some(Notifications(notified)) => {
                let serial = Message::parse(octets).and_then(|message| message.answers()).ok();
                let serial = serial.and_then(|mut records| records.next()?.ok()?.rdata().ok());
                let serial = serial.and_then(|rdata| match rdata {
                    RData::Soa(soa) => Some(soa.serial),
                    _ => None,
                });
                let &Asker { client, key, .. } = asker;
                let told = Notification { client, zone: &zone, key, serial, message: octets };
                if notified(&told) { Rcode::NOERROR } else { unwelcome }
            }
        };
        echo(&query, rcode, answer);
        Some(rcode)
    }

    /// Answers an update; `None` where it is malformed.
    #[cold]
    pub(super) fn update(&self, octets: &[u8], asker: &Asker<'_>, answer: &mut Vec<u8>) -> Option<Rcode> {
        let query = Query::parse_as(octets, Opcode::UPDATE).ok()?;
        let message = Message::parse(octets).ok().filter(|message| message.check().is_ok())?;
        let zone = self.zones.get_by_name(query.lower_wire());
        let rcode = match (zone, &self.updates) {
            _ if query.qtype != RecordType::SOA => Rcode::FORMERR,
            (None, _) => Rcode::NOTAUTH,
            (Some(_), None) => Rcode::REFUSED,
            (Some(zone), Some(Updates(decide))) => decide(&Update::new(message, zone, asker)),
        };
        echo(&query, rcode, answer);
        Some(rcode)
    }
}

/// Header, question and a code.
fn echo(query: &Query<'_>, rcode: Rcode, answer: &mut Vec<u8>) {
    let mut builder = MessageBuilder::with_buffer(std::mem::take(answer), 512);
    let flags = Flags(Flags::QR | Flags::AA).with_opcode(query.header.flags.opcode()).with_rcode(rcode);
    builder.set_header(query.header.id, flags);
    // A header and a question fit into 512 octets.
    let _ = builder.question(query.lower_wire(), query.qtype, query.qclass);
    *answer = builder.finish();
}
