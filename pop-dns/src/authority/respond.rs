//! From a query to its answer: who asks, which zone that is about, what may be said.

use std::net::IpAddr;

use super::edns::{ExtendedError, Opt};
use super::exchange::{Exchange, refuse};
use super::transfer::{TransferQuery, Transfers};
use super::{Authority, CookiePolicy, Outcome, Transport};
use crate::zone::Zone;
use crate::{
    Class, CookieVerdict, NameBuf, Opcode, Query, QueryError, Rcode, RecordType, Timestamp,
    UDP_PAYLOAD_OCTETS,
};

/// Who asks: where from, when, how, and under which key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'k> {
    pub(crate) client: IpAddr,
    pub(crate) now: Timestamp,
    pub(crate) transport: Transport,
    /// The key that the query is signed with, once that was checked.
    pub(super) key: Option<&'k NameBuf>,
    /// Octets that the signature of the answer will take.
    pub(super) signature_octets: usize,
}

impl Asker<'_> {
    #[inline]
    pub(crate) const fn new(client: IpAddr, now: Timestamp, transport: Transport) -> Self {
        Self { client, now, transport, key: None, signature_octets: 0 }
    }

    /// Seconds since 1970, as cookies and signatures count them.
    #[inline]
    pub(super) const fn seconds(&self) -> u64 {
        self.now.as_nanos() / 1_000_000_000
    }

    /// Octets that an answer may have.
    #[inline]
    fn limit(&self, query: &Query<'_>) -> usize {
        match (self.transport, query.edns) {
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_payload.min(UDP_PAYLOAD_OCTETS)),
            (Transport::Udp, None) => 512,
            _ => usize::from(u16::MAX),
        }
    }
}

impl Authority {
    /// Answers `query` into `answer`, which is emptied first. Nothing is allocated once `answer` has grown, but for
    /// answers with more than 32 distinct names.
    pub fn respond(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        let mut located = Located::BLANK;
        self.locate(query, &mut located);
        self.respond_located(query, &located, &Asker::new(client, now, transport), answer)
    }

    /// The first half of answering: reads the query and finds its zone, but does not look into that. Between the halves
    /// [`Located::glance`] and [`Located::touch`] fetch what the second half needs, for many queries at once. `located` may
    /// hold an earlier query: it is large, and so used again.
    #[inline]
    pub(crate) fn locate<'a, 'q>(&'a self, query: &'q [u8], located: &mut Located<'a, 'q>) {
        located.checked = located.query.read(query, Opcode::QUERY);
        let (zone, hash) = match located.checked {
            Ok(()) => self.zones.longest(located.query.lower(), located.query.qtype == RecordType::DS),
            Err(_) => (None, 0),
        };
        (located.zone, located.hash) = (zone.map(|zone| &**zone), hash);
    }

    /// The second half.
    #[inline]
    pub(crate) fn respond_located(
        &self,
        octets: &[u8],
        located: &Located<'_, '_>,
        asker: &Asker<'_>,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        if let Err(error) = &located.checked {
            return self.respond_error(octets, error, asker, answer);
        }
        let query = &located.query;
        #[cfg(feature = "dnssec")]
        if query.tsig.is_some()
            && let Some(keys) = &self.keys
        {
            return self.respond_signed(keys, octets, asker, answer);
        }
        let &Asker { client, now, transport, key, .. } = asker;
        let limit = asker.limit(query);
        let mut opt = Opt::new(query, asker, self.server_id.as_deref());
        let mut verified = key.is_some();
        if let (Some((secret, policy)), Some(cookie)) = (&self.cookies, &query.cookie) {
            let seconds = asker.seconds() as u32;
            verified |= matches!(secret.check(cookie, client, seconds), CookieVerdict::Valid { .. });
            opt.cookie = Some(secret.make(cookie.client, client, seconds));
            if !verified && *policy == CookiePolicy::Demand && transport == Transport::Udp {
                return refuse(query, opt, limit, Rcode::BADCOOKIE, answer);
            }
        }
        let exchange = Exchange { query, opt, limit, client, now, key };
        let rcode = match query.qclass {
            Class::IN | Class::ANY => self.internet(exchange, located, answer),
            Class::CH => self.chaos(exchange, answer),
            _ => exchange.refused(ExtendedError::NOT_AUTHORITATIVE, answer),
        };
        match &self.limiter {
            Some(limiter) if transport == Transport::Udp && !verified => {
                limiter.judge(&exchange, &self.zones, rcode, answer)
            }
            _ => Outcome::Answered(rcode),
        }
    }

    #[inline]
    fn internet(&self, exchange: Exchange<'_, '_>, located: &Located<'_, '_>, answer: &mut Vec<u8>) -> Rcode {
        let query = exchange.query;
        let hash = located.hash;
        let Some(zone) = located.zone else {
            return exchange.refused(ExtendedError::NOT_AUTHORITATIVE, answer);
        };
        if matches!(query.qtype, RecordType::AXFR | RecordType::IXFR) {
            return self.transfer_refused(exchange, zone, answer);
        }
        if !self.dynamic.is_empty()
            && let Some(hook) = self.dynamic.get(hash, query.lower_wire())
        {
            let chosen = exchange.ask(hook);
            #[cfg(feature = "dnssec")]
            if query.edns.is_some_and(|edns| edns.dnssec_ok)
                && let Some(signer) = self.online.get_by_name(zone.origin().as_wire())
            {
                return exchange.signed(&chosen, signer, zone, answer);
            }
            return exchange.dynamic(&chosen, zone, answer);
        }
        exchange.answer_from(zone, hash, answer)
    }

    /// A datagram is no way for a zone. To those who may have its changes the SOA says where to start over TCP (RFC 1995
    /// §2); all others are refused.
    #[cold]
    fn transfer_refused(&self, exchange: Exchange<'_, '_>, zone: &Zone, answer: &mut Vec<u8>) -> Rcode {
        let query = exchange.query;
        let asked = TransferQuery {
            client: exchange.client,
            zone: zone.origin(),
            key: exchange.key,
            query: query.whole(),
        };
        let whole_zone = query.lower_wire() == zone.origin().as_wire();
        let allowed = self.transfers.as_ref().is_some_and(|Transfers(allow)| whole_zone && allow(&asked));
        if !allowed || query.qtype == RecordType::AXFR {
            return exchange.refused(ExtendedError::PROHIBITED, answer);
        }
        let mut reply = exchange.reply(answer);
        reply.authoritative();
        reply.set(crate::Section::Answer, zone.origin().as_wire(), &zone.soa());
        *answer = reply.finish(Rcode::NOERROR);
        Rcode::NOERROR
    }
}

/// A query, and where its answer is to be looked for.
pub(crate) struct Located<'a, 'q> {
    query: Query<'q>,
    /// Whether it is one.
    checked: Result<(), QueryError>,
    zone: Option<&'a Zone>,
    /// Of the name.
    hash: u64,
    /// Where a node with this hash lies, as the first slot of the table has it.
    #[cfg(feature = "tokio")]
    at: usize,
}

impl Located<'_, '_> {
    /// Room for one.
    pub(crate) const BLANK: Self = Self {
        query: Query::BLANK,
        checked: Ok(()),
        zone: None,
        hash: 0,
        #[cfg(feature = "tokio")]
        at: 0,
    };
}

#[cfg(feature = "tokio")]
impl Located<'_, '_> {
    /// Looks into the table.
    #[inline]
    pub(crate) fn glance(&mut self) {
        self.at = self.zone.map_or(0, |zone| zone.glance(self.hash));
    }

    /// Looks at the node that the table leads to. The octet means nothing; loading it is what counts.
    #[inline]
    pub(crate) fn touch(&self) -> u8 {
        self.zone.map_or(0, |zone| zone.touch(self.at))
    }
}
