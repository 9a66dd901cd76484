//! How long HTTP caches may keep an answer (RFC 8484 §5.1).

use crate::{Message, RData, Rcode, RecordType, Section};

/// Seconds: the shortest TTL of the answer, or for how long a denial may be kept. `None` for what may not be kept.
pub(super) fn seconds(answer: &[u8]) -> Option<u32> {
    let message = Message::parse(answer).ok()?;
    let rcode = message
        .edns()
        .ok()?
        .map_or(message.header().flags.rcode(), |edns| edns.rcode(message.header().flags.rcode()));
    if !matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
        return None;
    }
    let mut shortest = None;
    for record in message.answers().ok()? {
        let ttl = record.ok()?.ttl;
        shortest = Some(shortest.map_or(ttl, |shortest: u32| shortest.min(ttl)));
    }
    for record in message.section(Section::Authority).ok()? {
        let record = record.ok()?;
        if record.rtype == RecordType::SOA
            && let Ok(RData::Soa(soa)) = record.rdata()
        {
            // RFC 2308 §5.
            let ttl = record.ttl.min(soa.minimum);
            shortest = Some(shortest.map_or(ttl, |shortest| shortest.min(ttl)));
        }
    }
    // RFC 2181 §8: a TTL with the top bit set counts as zero.
    shortest.map(|ttl| if ttl > i32::MAX as u32 { 0 } else { ttl })
}
