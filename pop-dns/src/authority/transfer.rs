//! Zones on their way out: whole (RFC 5936), or what changed (RFC 1995). Messages come one by one, as they are sent.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::Authority;
use super::dynamic::is_in_block;
use crate::zone::{Zone, ZoneChange, ZoneRecord};
use crate::{
    Class, Flags, Message, MessageBuilder, Name, NameBuf, Query, RData, RawRData, RecordType, Section,
    Timestamp,
};

/// Octets of a message: as far as compression pointers reach. A record that needs more gets a message of its own.
const MESSAGE_OCTETS: usize = 0x4000;

/// Who asks for a zone.
#[derive(Clone, Copy, Debug)]
pub struct TransferQuery<'a> {
    /// Where from.
    pub client: IpAddr,
    /// The zone.
    pub zone: &'a NameBuf,
    /// The key that the query is signed with, if [`Authority::keys`] has it.
    pub key: Option<&'a NameBuf>,
    /// The octets of the query.
    pub query: &'a [u8],
}

impl TransferQuery<'_> {
    /// Whether it comes from one of these blocks, each an address and a prefix length.
    #[must_use]
    pub fn is_from(&self, blocks: &[(IpAddr, u8)]) -> bool {
        blocks.iter().any(|block| is_in_block(self.client, *block))
    }
}

type Allow = dyn Fn(&TransferQuery<'_>) -> bool + Send + Sync;

/// A closure that decides who gets zones.
#[derive(Clone)]
pub(super) struct Transfers(pub(super) Arc<Allow>);

impl fmt::Debug for Transfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transfers")
    }
}

impl Authority {
    /// The messages that answer a query for a whole zone or its changes, which came over a stream; `None` where it is no
    /// such query, or one that has to be refused: [`respond`](Self::respond) does that. If the query is signed, so is
    /// each of them, with the time `now`; who takes longer than the signature's fudge of 300 s has to ask again.
    #[must_use]
    pub fn transfer(&self, query: &[u8], client: IpAddr, now: Timestamp) -> Option<Transfer> {
        let Transfers(allow) = self.transfers.as_ref().filter(|_| asks_for_zone(query))?;
        let parsed = Query::parse(query).ok().filter(|query| query.qclass == Class::IN)?;
        let zone = self.zones.get_by_name(parsed.lower_wire())?;
        #[cfg(feature = "dnssec")]
        let signer = match self.keys.as_ref().filter(|_| parsed.tsig.is_some()) {
            Some(keys) => Some(Signer::check(keys, query, now)?),
            None => None,
        };
        #[cfg(feature = "dnssec")]
        let key = signer.as_ref().map(|signer| signer.transaction.key().name());
        #[cfg(not(feature = "dnssec"))]
        let (key, _) = (None, now);
        if !allow(&TransferQuery { client, zone: zone.origin(), key, query }) {
            return None;
        }
        let none = VecDeque::new();
        let changes = self.changes.get_by_name(parsed.lower_wire()).unwrap_or(&none);
        let transfer = Transfer::new(&parsed, zone, changes);
        #[cfg(feature = "dnssec")]
        let transfer = Transfer { signer, ..transfer };
        Some(transfer)
    }
}

/// Signs the messages of one transfer.
#[cfg(feature = "dnssec")]
#[derive(Debug)]
struct Signer {
    transaction: crate::tsig::Transaction,
    /// Seconds since 1970.
    now: u64,
}

#[cfg(feature = "dnssec")]
impl Signer {
    /// `None` where the signature of the query does not hold.
    fn check(keys: &crate::tsig::Keyring, query: &[u8], now: Timestamp) -> Option<Self> {
        let now = now.as_nanos() / 1_000_000_000;
        let transaction = crate::tsig::Transaction::check_query(keys, query, now).ok()??;
        Some(Self { transaction, now })
    }
}

/// The messages that answer AXFR or IXFR. The zone stays alive as long as they come.
#[derive(Debug)]
pub struct Transfer {
    id: u16,
    flags: Flags,
    qname: NameBuf,
    qtype: RecordType,
    zone: Arc<Zone>,
    /// What is left to send.
    parts: VecDeque<Part>,
    first: bool,
    #[cfg(feature = "dnssec")]
    signer: Option<Signer>,
}

/// A run of records.
#[derive(Debug)]
enum Part {
    /// The SOA of the zone as it is now.
    Soa,
    /// All records but the SOA, so many of them sent.
    All { node: usize, sent: usize },
    /// A step from one version to the next: its old SOA and what went, its new SOA and what came.
    Step { change: Arc<ZoneChange>, sent: usize },
}

impl Transfer {
    /// The answer to a query of type AXFR or IXFR for the zone; `changes` are its latest, the newest last.
    pub(super) fn new(query: &Query<'_>, zone: &Arc<Zone>, changes: &VecDeque<Arc<ZoneChange>>) -> Self {
        let parts = match requested_serial(query) {
            Some(serial) if serial == zone.serial() || is_newer(serial, zone.serial()) => [Part::Soa].into(),
            Some(serial) => steps(serial, zone, changes),
            None => whole(),
        };
        Self {
            id: query.header.id,
            flags: Flags(query.header.flags.0 & Flags::RD).with(Flags::QR).with(Flags::AA),
            qname: query.name.to_name_buf().unwrap_or_else(|_| zone.origin().clone()),
            qtype: query.qtype,
            zone: Arc::clone(zone),
            parts,
            first: true,
            #[cfg(feature = "dnssec")]
            signer: None,
        }
    }

    /// A message of as many records as fit into `octets`; the parts move on.
    fn message(&mut self, octets: usize) -> Option<Vec<u8>> {
        let mut builder = MessageBuilder::new(octets);
        builder.set_header(self.id, self.flags);
        #[cfg(feature = "dnssec")]
        builder.reserve(self.signer.as_ref().map_or(0, |signer| signer.transaction.key().record_octets()));
        if self.first {
            // Twelve octets and a question fit into any message (RFC 5936 §2.2.1: later ones may leave it out).
            let _ = builder.question(self.qname.as_wire(), self.qtype, Class::IN);
        }
        let empty = builder.len();
        while let Some(part) = self.parts.front_mut() {
            match part.write(&self.zone, &mut builder) {
                Progress::Done => drop(self.parts.pop_front()),
                Progress::Full => break,
            }
        }
        if builder.len() == empty {
            return None;
        }
        self.first = false;
        #[cfg_attr(not(feature = "dnssec"), expect(unused_mut))]
        let mut message = builder.finish();
        #[cfg(feature = "dnssec")]
        if let Some(Signer { transaction, now }) = &mut self.signer {
            transaction.sign(&mut message, *now);
        }
        Some(message)
    }
}

impl Iterator for Transfer {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.parts.is_empty() {
            return None;
        }
        let message = self.message(MESSAGE_OCTETS).or_else(|| self.message(usize::from(u16::MAX)));
        if message.is_none() {
            // A record that fits into no message: nothing more can be sent.
            self.parts.clear();
        }
        message
    }
}

enum Progress {
    Done,
    Full,
}

impl Part {
    fn write(&mut self, zone: &Zone, builder: &mut MessageBuilder) -> Progress {
        match self {
            Self::Soa => match zone.iter().find(|record| record.rtype == RecordType::SOA) {
                Some(soa) if !push(builder, &soa) => Progress::Full,
                _ => Progress::Done,
            },
            Self::All { node, sent } => {
                while let Some((at, next)) = zone.node_from(*node) {
                    for record in at.records().skip(*sent) {
                        if record.rtype != RecordType::SOA && !push(builder, &record) {
                            return Progress::Full;
                        }
                        *sent += 1;
                    }
                    (*node, *sent) = (next, 0);
                }
                Progress::Done
            }
            Self::Step { change, sent } => {
                for record in change.in_order().skip(*sent) {
                    if !push(builder, &record) {
                        return Progress::Full;
                    }
                    *sent += 1;
                }
                Progress::Done
            }
        }
    }
}

/// Writes a record; `false` where there is no room.
fn push(builder: &mut MessageBuilder, record: &ZoneRecord<'_>) -> bool {
    let rdata = RawRData::new(record.rtype, record.rdata);
    builder.records(Section::Answer, record.owner, Class::IN, record.ttl, [rdata]).is_ok()
}

fn whole() -> VecDeque<Part> {
    [Part::Soa, Part::All { node: 0, sent: 0 }, Part::Soa].into()
}

/// From one version to now, if the way is known; else the whole zone (RFC 1995 §4).
fn steps(serial: u32, zone: &Zone, changes: &VecDeque<Arc<ZoneChange>>) -> VecDeque<Part> {
    let Some(first) = changes.iter().position(|change| change.from == serial) else { return whole() };
    let way = changes.iter().skip(first);
    let leads_here = changes.back().is_some_and(|change| change.to == zone.serial());
    let records: usize = way.clone().map(|change| change.len()).sum();
    // More changes than records: the zone itself is shorter.
    if !leads_here || records > zone.records() {
        return whole();
    }
    let mut parts: VecDeque<Part> = [Part::Soa].into();
    parts.extend(way.map(|change| Part::Step { change: Arc::clone(change), sent: 0 }));
    parts.push_back(Part::Soa);
    parts
}

/// The serial that the asker of an IXFR has: in the authority section (RFC 1995 §3).
fn requested_serial(query: &Query<'_>) -> Option<u32> {
    if query.qtype != RecordType::IXFR {
        return None;
    }
    let message = Message::parse(query.whole()).ok()?;
    let record = message.section(Section::Authority).ok()?.next()?.ok()?;
    match record.rdata() {
        Ok(RData::Soa(soa)) => Some(soa.serial),
        _ => None,
    }
}

/// Whether `one` comes after `other` (RFC 1982 §3.2).
pub(super) const fn is_newer(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) > 0
}

/// Whether a message asks for a zone: a look at the question, no more.
fn asks_for_zone(octets: &[u8]) -> bool {
    let Ok((_, end)) = Name::parse(octets, crate::HEADER_OCTETS) else { return false };
    matches!(octets.get(end..end + 2), Some([0, 251 | 252]))
}
