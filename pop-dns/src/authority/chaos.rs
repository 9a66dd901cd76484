//! What a server tells of itself in class CH (RFC 4892).

use super::Authority;
use super::edns::ExtendedError;
use super::exchange::Exchange;
use crate::{Class, RawRData, Rcode, RecordType};

/// Octets of an identity: one character string.
pub(super) const IDENTITY_OCTETS_MAX: usize = 255;

impl Authority {
    pub(super) fn chaos(&self, exchange: Exchange<'_, '_>, answer: &mut Vec<u8>) -> Rcode {
        let query = exchange.query;
        let text = match query.lower_wire() {
            b"\x02id\x06server\x00" | b"\x08hostname\x04bind\x00" => self.server_id.as_deref(),
            b"\x07version\x06server\x00" | b"\x07version\x04bind\x00" => self.version.as_deref(),
            _ => None,
        };
        let Some(text) = text else { return exchange.refused(ExtendedError::PROHIBITED, answer) };
        let mut reply = exchange.reply(answer);
        reply.authoritative();
        if matches!(query.qtype, RecordType::TXT | RecordType::ANY) {
            let mut rdata = [0; IDENTITY_OCTETS_MAX + 1];
            rdata[0] = text.len() as u8;
            rdata[1..=text.len()].copy_from_slice(text);
            let rdata = RawRData::new(RecordType::TXT, &rdata[..=text.len()]);
            reply.of_class(query.lower_wire(), Class::CH, rdata);
        }
        *answer = reply.finish(Rcode::NOERROR);
        Rcode::NOERROR
    }
}
