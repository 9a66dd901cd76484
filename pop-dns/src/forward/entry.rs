//! An answer as it is kept, and how it becomes the answer to a query.

use std::time::Duration;

use super::reply::{self, Extras};
use crate::header::HEADER_OCTETS;
use crate::{Flags, Header, Message, ParseError, Query, Rcode, Timestamp, Transport};

/// Seconds that stale data are said to be good for (RFC 8767 §4).
const STALE_TTL: u32 = 30;

/// A sifted answer: question, answer and authority, names compressed, no OPT.
#[derive(Debug)]
pub(super) struct Entry {
    message: Box<[u8]>,
    /// Where the TTLs stand in the message.
    ttls: Box<[u16]>,
    /// When it came.
    stored: Timestamp,
    /// Seconds after which the first of its records is no longer good.
    pub(super) lifetime: u32,
    /// The prefix length for which it is right: 0 for everybody.
    pub(super) scope: u8,
}

/// What is said of the age of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It is fresh.
    Fresh,
    /// It is past its time, and nothing newer is to be had (RFC 8767).
    Stale,
}

impl Entry {
    /// Keeps `message`, which was sifted at `now`.
    pub(super) fn new(
        message: Vec<u8>,
        lifetime: u32,
        scope: u8,
        now: Timestamp,
    ) -> Result<Self, ParseError> {
        let mut ttls = Vec::new();
        let mut records = Message::parse(&message)?.records()?;
        while let Some(record) = records.next() {
            let rdata = record?.rdata_octets().len();
            // A TTL stands six octets before the RDATA; messages are below 2^16 octets.
            ttls.push((records.position() - rdata - 6) as u16);
        }
        Ok(Self { ttls: ttls.into(), message: message.into(), stored: now, lifetime, scope })
    }

    /// Octets that it occupies beside the cache's own bookkeeping.
    pub(super) fn octets(&self) -> usize {
        self.message.len() + 2 * self.ttls.len() + size_of::<Self>()
    }

    pub(super) fn rcode(&self) -> Rcode {
        self.flags().rcode()
    }

    fn flags(&self) -> Flags {
        Flags(u16::from_be_bytes([self.message[2], self.message[3]]))
    }

    fn expires(&self) -> Timestamp {
        self.stored.saturating_add(Duration::from_secs(self.lifetime.into()))
    }

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.expires()
    }

    /// Whether it may still be used if nothing newer is to be had.
    pub(super) fn is_usable(&self, now: Timestamp, stale_max: Duration) -> bool {
        now < self.expires().saturating_add(stale_max)
    }

    /// Whether less than a tenth of its lifetime is left.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let lifetime = Duration::from_secs(self.lifetime.into());
        self.expires().saturating_since(now) < lifetime / 10
    }

    /// Writes the answer to `query`, which asks what this answers. Costs a copy and a write for each TTL.
    pub(super) fn answer(
        &self,
        query: &Query<'_>,
        now: Timestamp,
        age: Age,
        extras: &Extras,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Rcode {
        let rcode = self.rcode();
        let limit = reply::limit(query, transport);
        let opt_octets = extras.octets(query);
        let question = &query.name.as_wire().unwrap_or(query.lower_wire());
        let flags = reply::flags(query).with_rcode(rcode).with(self.flags().0 & Flags::AD);
        answer.clear();
        if self.message.len() + opt_octets > limit {
            // Whole sets only, and there is but one (RFC 2181 §9).
            let header = Header { id: query.header.id, flags: flags.with(Flags::TC), counts: [1, 0, 0, 0] };
            answer.extend_from_slice(&header.to_wire());
            answer.extend_from_slice(&self.message[HEADER_OCTETS..HEADER_OCTETS + question.len() + 4]);
        } else {
            answer.extend_from_slice(&self.message);
            answer[..2].copy_from_slice(&query.header.id.to_be_bytes());
            answer[2..4].copy_from_slice(&flags.0.to_be_bytes());
            let elapsed = now.saturating_since(self.stored).as_secs();
            let elapsed = u32::try_from(elapsed).unwrap_or(u32::MAX);
            for &at in &self.ttls {
                let at = usize::from(at);
                let octets: &mut [u8; 4] =
                    answer[at..].first_chunk_mut().expect("a TTL stands before its RDATA");
                let left = match age {
                    Age::Fresh => u32::from_be_bytes(*octets).saturating_sub(elapsed),
                    Age::Stale => STALE_TTL,
                };
                *octets = left.to_be_bytes();
            }
        }
        // The name has the octets it had when this was stored, but for the case of its letters.
        answer[HEADER_OCTETS..HEADER_OCTETS + question.len()].copy_from_slice(question);
        extras.append(query, rcode, transport, answer);
        rcode
    }
}
