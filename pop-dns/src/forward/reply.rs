//! Answers of our own, and the EDNS part of all answers.

use std::convert::Infallible;

use crate::header::HEADER_OCTETS;
use crate::{
    Class, ClientSubnet, EdnsParts, Flags, Header, MessageBuilder, Name, Outcome, Query, QueryError,
    RawRData, Rcode, RecordType, Section, Transport, UDP_PAYLOAD_OCTETS, option,
};

/// Octets that an answer is padded to a multiple of.
const PADDING_BLOCK_OCTETS: usize = 468;

/// Extended errors (RFC 8914).
pub(super) mod extended {
    use crate::ExtendedError;

    pub(crate) const STALE_ANSWER: u16 = ExtendedError::STALE_ANSWER.0;
    pub(crate) const CACHED_ERROR: u16 = ExtendedError::CACHED_ERROR.0;
    pub(crate) const BLOCKED: u16 = ExtendedError::BLOCKED.0;
    pub(crate) const PROHIBITED: u16 = ExtendedError::PROHIBITED.0;
    pub(crate) const STALE_NXDOMAIN: u16 = ExtendedError::STALE_NXDOMAIN_ANSWER.0;
    pub(crate) const NOT_SUPPORTED: u16 = ExtendedError::NOT_SUPPORTED.0;
    pub(crate) const NO_REACHABLE_AUTHORITY: u16 = ExtendedError::NO_REACHABLE_AUTHORITY.0;
}

/// What an answer says beside its records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extras {
    /// The client's block with the scope of the answer.
    pub(super) subnet: Option<ClientSubnet>,
    /// What went wrong.
    pub(super) error: Option<u16>,
}

impl Extras {
    pub(super) const fn error(code: u16) -> Self {
        Self { subnet: None, error: Some(code) }
    }

    /// Hands the EDNS part to `then`; `None` where the query had none.
    fn with<T>(&self, query: &Query<'_>, then: impl FnOnce(&EdnsParts<'_>) -> T) -> Option<T> {
        let edns = query.edns?;
        let code = self.error.unwrap_or_default().to_be_bytes();
        let error = [(option::EXTENDED_ERROR, &code[..])];
        Some(then(&EdnsParts {
            udp_payload: UDP_PAYLOAD_OCTETS,
            dnssec_ok: edns.dnssec_ok,
            compact_ok: false,
            client_subnet: self.subnet,
            options: if self.error.is_some() { &error } else { &[] },
        }))
    }

    /// Octets of the OPT record in the answer to `query`.
    pub(super) fn octets(&self, query: &Query<'_>) -> usize {
        self.with(query, |edns| edns.octets()).unwrap_or(0)
    }

    /// Appends the OPT record to a message that ends with its authority section; padded if the query was, on the ways
    /// where that hides anything (RFC 8467 §4.1).
    pub(super) fn append(&self, query: &Query<'_>, rcode: Rcode, transport: Transport, answer: &mut Vec<u8>) {
        let hidden = matches!(transport, Transport::Tls | Transport::Https);
        let padded = hidden && query.edns.is_some_and(|edns| edns.option(option::PADDING).is_some());
        let appended = self.with(query, |edns| {
            let octets = answer.len() + edns.octets() + 4;
            let missing = octets.next_multiple_of(PADDING_BLOCK_OCTETS) - octets;
            if !padded || octets + missing > usize::from(u16::MAX) {
                return append(edns, rcode, answer);
            }
            let padding = [0; PADDING_BLOCK_OCTETS];
            let padding = (option::PADDING, &padding[..missing]);
            let options: Vec<_> = edns.options.iter().copied().chain([padding]).collect();
            append(&EdnsParts { options: &options, ..*edns }, rcode, answer);
        });
        answer[11] = u8::from(appended.is_some());
    }
}

/// The flags of an answer to `query`: ours is recursive service, and never authoritative.
pub(super) fn flags(query: &Query<'_>) -> Flags {
    Flags(query.header.flags.0 & (Flags::RD | Flags::CD)).with(Flags::QR | Flags::RA)
}

/// Octets that an answer to `query` may have.
pub(super) fn limit(query: &Query<'_>, transport: Transport) -> usize {
    match (transport, query.edns) {
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_payload.min(UDP_PAYLOAD_OCTETS)),
        (Transport::Udp, None) => 512,
        _ => usize::from(u16::MAX),
    }
}

/// Answers what is no query: header, the question where it could be read, and a code; or silence.
pub(super) fn malformed(error: &QueryError, octets: &[u8], answer: &mut Vec<u8>) -> Outcome {
    let Some(header) = error.header else { return Outcome::Silent };
    let keep = header.flags.0 & (Flags::RD | Flags::CD);
    let flags = Flags(keep).with_opcode(header.flags.opcode()).with(Flags::QR).with_rcode(error.rcode);
    let question = octets.get(HEADER_OCTETS..error.question_end.into()).unwrap_or_default();
    let extended = error.rcode == Rcode::BADVERS;
    let counts = [u16::from(!question.is_empty()), 0, 0, u16::from(extended)];
    answer.clear();
    answer.extend_from_slice(&Header { id: header.id, flags, counts }.to_wire());
    answer.extend_from_slice(question);
    if extended {
        append(&EdnsParts { udp_payload: UDP_PAYLOAD_OCTETS, ..EdnsParts::default() }, error.rcode, answer);
    }
    Outcome::Answered(error.rcode)
}

fn append(edns: &EdnsParts<'_>, rcode: Rcode, answer: &mut Vec<u8>) {
    let written = edns.write(rcode, |octets| {
        answer.extend_from_slice(octets);
        Ok::<_, Infallible>(())
    });
    written.unwrap_or_else(|never| match never {});
}

/// A record of an answer of our own.
pub(super) type OwnRecord<'a> = (Section, &'a [u8], RecordType, u32, &'a [u8]);

/// Writes an answer of our own: a code and perhaps records.
pub(super) fn own<'a>(
    query: &Query<'_>,
    rcode: Rcode,
    records: impl IntoIterator<Item = OwnRecord<'a>>,
    extras: &Extras,
    transport: Transport,
    answer: &mut Vec<u8>,
) {
    let mut builder = MessageBuilder::with_buffer(std::mem::take(answer), limit(query, transport));
    builder.set_header(query.header.id, flags(query).with_rcode(rcode));
    let name = query.name.as_wire().unwrap_or(query.lower_wire());
    builder.reserve(extras.octets(query));
    // A header, a question and our OPT are below 512 octets.
    let _ = builder.question(name, query.qtype, query.qclass);
    let question_octets = builder.len();
    for (section, owner, rtype, ttl, rdata) in records {
        let rdata = [RawRData::new(rtype, rdata)];
        let Ok(owner) = Name::from_wire(owner) else { continue };
        if builder.records(section, owner, Class::IN, ttl, rdata).is_err() {
            builder.clear_records(question_octets);
            builder.set_truncated();
            break;
        }
    }
    let mut octets = builder.finish();
    extras.append(query, rcode, transport, &mut octets);
    *answer = octets;
}
