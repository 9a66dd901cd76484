//! A zone on its way out: message after message, each as full as it may be.

use std::sync::Arc;

use crate::tsig::Transaction;
use crate::zone::{Cursor, Zone};
use crate::{Class, Flags, MESSAGE_OCTETS_MAX, MessageBuilder, Name, Query, RawRData, RecordType, Section};

/// Octets after which a message is sent. Names further than 16 KiB from the start are no targets of compression, so much
/// larger messages gain nothing.
const MESSAGE_OCTETS: usize = 1 << 15;

/// The messages of a transfer of the whole zone (RFC 5936 §2.2). Each is made when it is asked for; the zone stays in
/// memory until the last is.
#[derive(Debug)]
pub struct Outgoing {
    zone: Arc<Zone>,
    /// The query's header and question.
    id: u16,
    question: Box<[u8]>,
    qtype: RecordType,
    transaction: Option<Transaction>,
    /// Seconds since 1970, for signatures.
    now: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The SOA, and nothing else: the client has it all.
    Current,
    /// The SOA first.
    First,
    /// The other records; so many of the node at the cursor were sent.
    Records(Cursor, usize),
    End,
}

impl Outgoing {
    /// The answer to `query`, an AXFR or IXFR query for this zone. To an IXFR query of a client that `has` this serial
    /// or a newer one it is the SOA alone (RFC 1995 §4), else the whole zone.
    #[must_use]
    pub fn new(
        zone: Arc<Zone>,
        query: &Query<'_>,
        has: Option<u32>,
        transaction: Option<Transaction>,
        now: u64,
    ) -> Self {
        let current = has.is_some_and(|has| !super::is_newer(zone.serial(), has));
        Self {
            id: query.header.id,
            question: query.name.as_wire().unwrap_or(query.lower_wire()).into(),
            qtype: query.qtype,
            transaction,
            now,
            state: if current { State::Current } else { State::First },
            zone,
        }
    }

    fn begin(&self, first: bool) -> MessageBuilder {
        let mut builder = MessageBuilder::new(MESSAGE_OCTETS_MAX);
        builder.set_header(self.id, Flags(Flags::QR | Flags::AA));
        builder.reserve(self.transaction.as_ref().map_or(0, |transaction| transaction.key().record_octets()));
        if first {
            // A name and four octets fit.
            let _ = builder.question(&self.question, self.qtype, Class::IN);
        }
        builder
    }

    fn finish(&mut self, mut builder: MessageBuilder) -> Vec<u8> {
        let mut message = builder.finish();
        if let Some(transaction) = &mut self.transaction {
            transaction.sign(&mut message, self.now);
        }
        message
    }
}

fn add(builder: &mut MessageBuilder, owner: Name<'_>, rtype: RecordType, ttl: u32, rdata: &[u8]) -> bool {
    builder.records(Section::Answer, owner, Class::IN, ttl, [RawRData::new(rtype, rdata)]).is_ok()
}

impl Iterator for Outgoing {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let zone = Arc::clone(&self.zone);
        let soa = |builder: &mut MessageBuilder| {
            let set = zone.soa();
            let rdata = set.rdata().next().unwrap_or_default();
            add(builder, zone.origin().as_name(), RecordType::SOA, set.ttl(), rdata)
        };
        let first = matches!(self.state, State::First | State::Current);
        let mut builder = self.begin(first);
        if first {
            soa(&mut builder);
        }
        let (mut cursor, mut sent) = match self.state {
            State::End => return None,
            State::Current => {
                self.state = State::End;
                return Some(self.finish(builder));
            }
            State::First => (zone.cursor(), 0),
            State::Records(cursor, sent) => (cursor, sent),
        };
        while let Some(records) = zone.records_at(cursor) {
            for record in records.skip(sent) {
                let full = builder.len() >= MESSAGE_OCTETS;
                let skip = record.rtype == RecordType::SOA;
                if full || !skip && !add(&mut builder, record.owner, record.rtype, record.ttl, record.rdata) {
                    // What does not fit into an empty message is in no zone; but a transfer always ends.
                    self.state = if builder.is_empty() { State::End } else { State::Records(cursor, sent) };
                    return Some(self.finish(builder));
                }
                sent += 1;
            }
            cursor = zone.after(cursor);
            sent = 0;
        }
        // The SOA ends what it began; if there is no room left for it, it comes alone.
        self.state = if soa(&mut builder) { State::End } else { State::Records(cursor, 0) };
        Some(self.finish(builder))
    }
}
