//! The authority: query octets in, answer octets out. No socket and no clock.

mod answer;
mod dynamic;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;

pub use dynamic::{ClientBlock, DynamicAnswer, DynamicQuery, LearnedFrom};

use crate::authority::dynamic::Hook;
use crate::zone::Zone;
use crate::{
    Class, EdnsParts, Flags, Header, MessageBuilder, NameBuf, Query, QueryError, Rcode, RecordType, Section,
    Timestamp, UDP_PAYLOAD_OCTETS,
};

/// How a query came, which decides how large the answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A datagram: at most what EDNS offers, and never above 1232 octets.
    Udp,
    /// A stream: at most 65,535 octets.
    Tcp,
    /// A stream inside TLS (RFC 7858).
    Tls,
    /// An HTTP exchange (RFC 8484).
    Https,
}

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an answer that nobody sends helps nobody"]
pub enum Outcome {
    /// The buffer holds an answer with this code.
    Answered(Rcode),
    /// Nothing may be sent: these octets were no query.
    Silent,
}

/// Zones, dynamic names, and the rules by which they answer (RFC 1034 §4.3.2, 2308, 4592, 6672, 7871, 8020, 8482).
///
/// ```
/// use pop_dns::{Authority, Message, MessageBuilder, Outcome, Rcode, RecordType, Timestamp, Transport, zone::Zone};
///
/// let text = b"@ 300 SOA ns host 1 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 192.0.2.53\nwww 60 A 192.0.2.1\n";
/// let authority = Authority::new([Zone::parse(text, "example.org".parse()?)?]);
/// let query = MessageBuilder::query(1, &"www.example.org".parse()?, RecordType::A).finish();
/// let mut answer = Vec::new();
/// let client = "203.0.113.9".parse()?;
/// let outcome = authority.respond(&query, client, Timestamp::ZERO, Transport::Udp, &mut answer);
/// assert_eq!(outcome, Outcome::Answered(Rcode::NOERROR));
/// assert_eq!(Message::parse(&answer)?.answers()?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Authority {
    /// By origin in lower-case wire format.
    zones: HashMap<Box<[u8]>, Zone, RandomState>,
    /// By name in lower-case wire format.
    dynamic: HashMap<Box<[u8]>, Hook, RandomState>,
    server_id: Option<Box<[u8]>>,
}

impl Authority {
    /// An authority for these zones. Of two with the same origin the later one counts.
    #[must_use]
    pub fn new(zones: impl IntoIterator<Item = Zone>) -> Self {
        let zones = zones.into_iter().map(|zone| (zone.origin().as_wire().into(), zone)).collect();
        Self { zones, ..Self::default() }
    }

    /// What `id.server` and `hostname.bind` in class CH answer (RFC 4892), and NSID (RFC 5001): the name of the PoP.
    /// Cut to 255 octets. Without it those are refused.
    #[must_use]
    pub fn server_id(mut self, id: &str) -> Self {
        self.server_id = Some(id.as_bytes()[..id.len().min(255)].into());
        self
    }

    /// Lets `choose` decide the records of `name`, which has to lie in one of the zones to be found. It runs on the
    /// serving thread for each query: quick, and without waiting for anything.
    #[must_use]
    pub fn dynamic(
        mut self,
        name: &NameBuf,
        choose: impl Fn(&DynamicQuery<'_>) -> DynamicAnswer + Send + Sync + 'static,
    ) -> Self {
        self.dynamic.insert(name.to_lower().as_wire().into(), Hook(Arc::new(choose)));
        self
    }

    /// The zones' names.
    pub fn origins(&self) -> impl Iterator<Item = &NameBuf> {
        self.zones.values().map(Zone::origin)
    }

    /// Answers `query` into `answer`, which is emptied first.
    pub fn respond(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(error) => return respond_error(&error, answer),
        };
        let limit = match (transport, query.edns) {
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_payload.min(UDP_PAYLOAD_OCTETS)),
            (Transport::Udp, None) => 512,
            _ => usize::from(u16::MAX),
        };
        let mut reply = Reply::new(&query, limit, std::mem::take(answer));
        let rcode = match query.qclass {
            Class::IN | Class::ANY => self.internet(&query, client, now, &mut reply),
            Class::CH => self.chaos(&query, &mut reply),
            _ => Rcode::REFUSED,
        };
        *answer = reply.finish(rcode, self.nsid(&query));
        Outcome::Answered(rcode)
    }

    fn internet(&self, query: &Query<'_>, client: IpAddr, now: Timestamp, reply: &mut Reply) -> Rcode {
        let Some(zone) = self.zone_of(query.lower_wire()) else { return Rcode::REFUSED };
        if matches!(query.qtype, RecordType::AXFR | RecordType::IXFR) {
            return Rcode::REFUSED;
        }
        if let Some(hook) = self.dynamic.get(query.lower_wire()) {
            return dynamic::answer(hook, zone, query, client, now, reply);
        }
        answer::from_zone(zone, query, reply)
    }

    fn zone_of(&self, lower: &[u8]) -> Option<&Zone> {
        let mut position = 0;
        loop {
            if let Some(zone) = self.zones.get(&lower[position..]) {
                return Some(zone);
            }
            match lower[position] {
                0 => return None,
                label => position += usize::from(label) + 1,
            }
        }
    }

    fn chaos(&self, query: &Query<'_>, reply: &mut Reply) -> Rcode {
        let known = [&b"\x02id\x06server\x00"[..], b"\x08hostname\x04bind\x00"].contains(&query.lower_wire());
        let Some(id) = self.server_id.as_deref().filter(|_| known) else { return Rcode::REFUSED };
        if matches!(query.qtype, RecordType::TXT | RecordType::ANY) {
            let mut rdata = vec![id.len() as u8];
            rdata.extend_from_slice(id);
            // The record's class is the question's; resolvers that ask CH look at the data alone.
            reply.answer(query.lower_wire(), RecordType::TXT, 0, [&rdata[..]]);
        }
        Rcode::NOERROR
    }

    fn nsid(&self, query: &Query<'_>) -> Option<&[u8]> {
        let asked = query.edns.and_then(|edns| edns.option(crate::option::NSID)).is_some();
        self.server_id.as_deref().filter(|_| asked)
    }
}

/// Answers what is no query: the header with a code, or silence.
fn respond_error(error: &QueryError, answer: &mut Vec<u8>) -> Outcome {
    let Some(header) = error.header else { return Outcome::Silent };
    let keep = Flags(header.flags.0 & (Flags::RD | Flags::CD)).with_opcode(header.flags.opcode());
    answer.clear();
    if error.rcode == Rcode::BADVERS {
        let mut builder = MessageBuilder::with_buffer(std::mem::take(answer), 512);
        builder.set_header(header.id, keep.with(Flags::QR));
        // Twelve octets of header and eleven of OPT fit into 512.
        let _ =
            builder.edns(&EdnsParts { udp_payload: UDP_PAYLOAD_OCTETS, ..EdnsParts::default() }, error.rcode);
        *answer = builder.finish();
    } else {
        let flags = keep.with(Flags::QR).with_rcode(error.rcode);
        answer.extend_from_slice(&Header { id: header.id, flags, counts: [0; 4] }.to_wire());
    }
    Outcome::Answered(error.rcode)
}

/// An answer under construction.
struct Reply {
    builder: MessageBuilder,
    /// Where the records begin.
    question_octets: usize,
    edns: Option<EdnsParts<'static>>,
    truncated: bool,
}

impl Reply {
    fn new(query: &Query<'_>, limit: usize, buffer: Vec<u8>) -> Self {
        let mut builder = MessageBuilder::with_buffer(buffer, limit);
        let keep = query.header.flags.0 & (Flags::RD | Flags::CD);
        builder.set_header(query.header.id, Flags(keep).with(Flags::QR));
        // The name of a query is never compressed, so its spelling comes back as it was (0x20).
        let name = query.name.as_wire().unwrap_or(query.lower_wire());
        // A header and a question are below 512 octets.
        let _ = builder.question(name, query.qtype, query.qclass);
        let edns = query.edns.map(|edns| EdnsParts {
            udp_payload: UDP_PAYLOAD_OCTETS,
            dnssec_ok: edns.dnssec_ok,
            // RFC 7871 §7.2.1: echoed, with scope 0 where the answer holds for everybody.
            client_subnet: query.client_subnet.map(|subnet| subnet.with_scope(0)),
            options: &[],
        });
        if let Some(edns) = &edns {
            // Room for the subnet and for a name server id.
            let id = [0; 255];
            builder.reserve_edns(&EdnsParts { options: &[(crate::option::NSID, &id)], ..*edns });
        }
        let question_octets = builder.len();
        Self { builder, question_octets, edns, truncated: false }
    }

    fn authoritative(&mut self) {
        let flags = self.builder.flags().with(Flags::AA);
        self.builder.set_flags(flags);
    }

    fn scope(&mut self, scope: u8) {
        if let Some(edns) = &mut self.edns {
            edns.client_subnet = edns.client_subnet.map(|subnet| subnet.with_scope(scope));
        }
    }

    /// Records that the answer is not complete without.
    fn answer<'a>(
        &mut self,
        owner: &[u8],
        rtype: RecordType,
        ttl: u32,
        rdata: impl IntoIterator<Item = &'a [u8]>,
    ) {
        self.required(Section::Answer, owner, rtype, ttl, rdata);
    }

    fn required<'a>(
        &mut self,
        section: Section,
        owner: &[u8],
        rtype: RecordType,
        ttl: u32,
        rdata: impl IntoIterator<Item = &'a [u8]>,
    ) {
        if !self.truncated && self.builder.rrset(section, owner, rtype, ttl, rdata).is_err() {
            self.truncated = true;
        }
    }

    /// Records that may be left out without a word, but for glue (RFC 9471), which is required.
    fn optional<'a>(
        &mut self,
        owner: &[u8],
        rtype: RecordType,
        ttl: u32,
        rdata: impl IntoIterator<Item = &'a [u8]>,
    ) {
        if !self.truncated {
            let _ = self.builder.rrset(Section::Additional, owner, rtype, ttl, rdata);
        }
    }

    fn finish(mut self, rcode: Rcode, nsid: Option<&[u8]>) -> Vec<u8> {
        if self.truncated {
            // Whole sets only: what is left would mislead (RFC 2181 §9).
            self.builder.clear_records(self.question_octets);
            self.builder.set_truncated();
        }
        let flags = self.builder.flags().with_rcode(rcode);
        self.builder.set_flags(flags);
        if let Some(edns) = self.edns {
            let option = nsid.map(|id| [(crate::option::NSID, id)]);
            let options = option.as_ref().map_or(&[][..], |option| &option[..]);
            // The room was reserved.
            let _ = self.builder.edns(&EdnsParts { options, ..edns }, rcode);
        }
        self.builder.finish()
    }
}
