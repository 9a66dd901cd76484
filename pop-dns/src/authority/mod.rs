//! The authority: query octets in, answer octets out. No socket and no clock.

mod answer;
mod denial;
mod direct;
mod dynamic;
mod edns;
mod limit;
mod names;
mod notify;
#[cfg(feature = "dnssec")]
mod online;
mod reply;
mod rrl;
mod transfer;
mod update;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

pub use dynamic::{ClientBlock, DynamicAnswer, DynamicQuery, LearnedFrom};
pub use limit::{Limit, LimitQuery};
pub use notify::Notification;
pub use rrl::ResponseRateLimit;
pub use transfer::{Transfer, TransferQuery};
pub use update::{UPDATE_RECORDS_MAX, Update};

use self::direct::{Direct, is_plain};
use self::dynamic::Hook;
use self::edns::{ExtendedError, Opt};
use self::limit::Limiter;
use self::names::Names;
use self::notify::Notifications;
use self::reply::Reply;
use self::transfer::Transfers;
use self::update::Updates;
use crate::zone::{Found, NodeFlags, Zone, ZoneChange};
use crate::{
    Class, CookieSecret, CookieVerdict, Flags, Header, MessageBuilder, NameBuf, Opcode, Query, QueryError,
    RawRData, Rcode, RecordType, Timestamp, UDP_PAYLOAD_OCTETS,
};

/// Octets of an identity: one character string.
const IDENTITY_OCTETS_MAX: usize = 255;
/// Versions of a zone from which the way to the current one is known (RFC 1995 §5).
pub const ZONE_CHANGES_MAX: usize = 32;

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

/// Zones, dynamic names, and the rules by which they answer (RFC 1034 §4.3.2, 2308, 4035, 4592, 5155, 6672, 7871, 8020,
/// 8482). Cloning one shares the zones: what changes is made on a clone, and the clone put in its place whole.
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
#[derive(Clone, Debug, Default)]
pub struct Authority {
    zones: Names<Arc<Zone>>,
    dynamic: Names<Hook>,
    server_id: Option<Box<[u8]>>,
    version: Option<Box<[u8]>>,
    cookies: Option<(CookieSecret, CookiePolicy)>,
    limiter: Option<Limiter>,
    /// The latest changes of each zone, the newest last.
    changes: Names<VecDeque<Arc<ZoneChange>>>,
    transfers: Option<Transfers>,
    notifications: Option<Notifications>,
    updates: Option<Updates>,
    #[cfg(feature = "dnssec")]
    online: Names<online::OnlineSigner>,
}

/// What is asked of clients that send cookies (RFC 7873 §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookiePolicy {
    /// A client without a valid server cookie is answered, gets one, and stays subject to the limit.
    #[default]
    Offer,
    /// A client that sends its own cookie over UDP without a valid one of ours gets BADCOOKIE and a new one, and asks
    /// again. Clients that know nothing of cookies are answered.
    Demand,
}

impl Authority {
    /// An authority for these zones. Of two with the same origin the later one counts.
    #[must_use]
    pub fn new(zones: impl IntoIterator<Item = impl Into<Arc<Zone>>>) -> Self {
        let mut authority = Self::default();
        zones.into_iter().for_each(|zone| authority.insert(zone));
        authority
    }

    /// Adds a zone, or puts it in the place of the one with the same origin.
    pub fn insert(&mut self, zone: impl Into<Arc<Zone>>) {
        let zone = zone.into();
        let origin = zone.origin().clone();
        self.changes.remove(origin.as_wire());
        self.zones.insert(origin.as_wire(), zone);
    }

    /// Puts a newer version of a zone in its place and remembers what changed, so that secondaries which have the old one
    /// get the difference (IXFR). Costs a look-up for each record. A version that is not newer, by its serial, goes in
    /// without a memory. At most [`ZONE_CHANGES_MAX`] changes are remembered, and not more records than the zone has.
    pub fn replace(&mut self, zone: impl Into<Arc<Zone>>) {
        let zone = zone.into();
        let origin = zone.origin().as_wire();
        let newer = |old: &&Arc<Zone>| transfer::is_newer(zone.serial(), old.serial());
        let Some(old) = self.zones.get_by_name(origin).filter(newer) else { return self.insert(zone) };
        let mut changes = self.changes.get_by_name(origin).cloned().unwrap_or_default();
        changes.push_back(Arc::new(ZoneChange::between(old, &zone)));
        let heavy = |changes: &VecDeque<Arc<ZoneChange>>| {
            changes.iter().map(|change| change.len()).sum::<usize>() > zone.records()
        };
        while changes.len() > ZONE_CHANGES_MAX || heavy(&changes) {
            changes.pop_front();
        }
        self.changes.insert(origin, changes);
        let origin = zone.origin().clone();
        self.zones.insert(origin.as_wire(), zone);
    }

    /// Takes a zone away.
    pub fn remove(&mut self, origin: &NameBuf) -> Option<Arc<Zone>> {
        self.zones.remove(origin.to_lower().as_wire())
    }

    /// The zone of this name.
    #[must_use]
    pub fn zone(&self, origin: &NameBuf) -> Option<&Arc<Zone>> {
        self.zones.get_by_name(origin.to_lower().as_wire())
    }

    /// What `id.server` and `hostname.bind` in class CH answer (RFC 4892), and NSID (RFC 5001): the name of the PoP.
    /// Cut to 255 octets. Without it those are refused.
    #[must_use]
    pub fn server_id(mut self, id: &str) -> Self {
        self.server_id = Some(id.as_bytes()[..id.len().min(IDENTITY_OCTETS_MAX)].into());
        self
    }

    /// What `version.server` and `version.bind` in class CH answer. Cut to 255 octets. Without it those are refused.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.as_bytes()[..version.len().min(IDENTITY_OCTETS_MAX)].into());
        self
    }

    /// Answers cookies with cookies (RFC 7873, 9018). All servers of an anycast address share the secret. Needs a `now`
    /// that counts from 1970.
    #[must_use]
    pub fn cookies(mut self, secret: CookieSecret, policy: CookiePolicy) -> Self {
        self.cookies = Some((secret, policy));
        self
    }

    /// Asks `limit` about each answer over UDP to a client that has not shown a cookie of ours: the place for response
    /// rate limiting and for limits by prefix.
    #[must_use]
    pub fn limit(mut self, limit: impl Fn(&LimitQuery<'_>) -> Limit + Send + Sync + 'static) -> Self {
        self.limiter = Some(Limiter(Arc::new(limit)));
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
        self.dynamic.insert(name.to_lower().as_wire(), Hook(Arc::new(choose)));
        self
    }

    /// Signs what hooks choose in a zone with a key of that zone, for who wants DNSSEC (algorithms 13 and 15, some 20 µs a
    /// signature; up to 4096 are kept and used again). Needs a `now` that counts from 1970.
    #[cfg(feature = "dnssec")]
    #[must_use]
    pub fn sign_dynamic(mut self, origin: &NameBuf, key: impl Into<Arc<crate::dnssec::SigningKey>>) -> Self {
        let origin = origin.to_lower();
        self.online.insert(origin.clone().as_wire(), online::OnlineSigner::new(origin, key.into()));
        self
    }

    /// Lets `allow` decide who gets whole zones (AXFR) and their changes (IXFR). Without it nobody does.
    #[must_use]
    pub fn transfers(mut self, allow: impl Fn(&TransferQuery<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.transfers = Some(Transfers(Arc::new(allow)));
        self
    }

    /// Tells `notified` when a primary says that one of these zones has changed (RFC 1996). Its answer says whether the
    /// word was welcome. Without it all such messages are refused.
    #[must_use]
    pub fn notifications(
        mut self,
        notified: impl Fn(&Notification<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.notifications = Some(Notifications(Arc::new(notified)));
        self
    }

    /// Lets `decide` answer dynamic updates (RFC 2136) of these zones: whether the sender may, what becomes of
    /// [`Update::apply`], and where the new zone goes. Without it all updates are refused.
    #[must_use]
    pub fn updates(mut self, decide: impl Fn(&Update<'_>) -> Rcode + Send + Sync + 'static) -> Self {
        self.updates = Some(Updates(Arc::new(decide)));
        self
    }

    /// The messages that answer a query for a whole zone or its changes, which came over a stream; `None` where it is no
    /// such query, or one that has to be refused: [`respond`](Self::respond) does that.
    #[must_use]
    pub fn transfer(&self, query: &[u8], client: IpAddr) -> Option<Transfer> {
        let Transfers(allow) = self.transfers.as_ref().filter(|_| transfer::asks_for_zone(query))?;
        let parsed = Query::parse(query).ok().filter(|query| query.qclass == Class::IN)?;
        let zone = self.zones.get_by_name(parsed.lower_wire())?;
        if !allow(&TransferQuery { client, zone: zone.origin(), query }) {
            return None;
        }
        let none = VecDeque::new();
        let changes = self.changes.get_by_name(parsed.lower_wire()).unwrap_or(&none);
        Some(Transfer::new(&parsed, zone, changes))
    }

    /// The zones' names.
    pub fn origins(&self) -> impl Iterator<Item = &NameBuf> {
        self.zones.iter().map(|zone| zone.origin())
    }

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
        self.respond_located(query, &self.locate(query), client, now, transport, answer)
    }

    /// The first half of answering: reads the query and finds its zone, but does not look into that. Between the halves
    /// [`Located::glance`] and [`Located::touch`] fetch what the second half needs, for many queries at once.
    #[inline]
    pub(crate) fn locate<'a, 'q>(&'a self, query: &'q [u8]) -> Located<'a, 'q> {
        let query = Query::parse(query);
        let (zone, hash) = match &query {
            Ok(query) => self.zones.longest(query.lower(), query.qtype == RecordType::DS),
            Err(_) => (None, 0),
        };
        Located {
            query,
            zone: zone.map(|zone| &**zone),
            hash,
            #[cfg(feature = "tokio")]
            at: 0,
        }
    }

    /// The second half.
    #[inline]
    pub(crate) fn respond_located(
        &self,
        octets: &[u8],
        located: &Located<'_, '_>,
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        let query = match &located.query {
            Ok(query) => query,
            Err(error) => return self.respond_error(octets, error, client, now, transport, answer),
        };
        let limit = match (transport, query.edns) {
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_payload.min(UDP_PAYLOAD_OCTETS)),
            (Transport::Udp, None) => 512,
            _ => usize::from(u16::MAX),
        };
        let mut opt = Opt::new(query, transport, self.server_id.as_deref());
        let mut verified = false;
        if let (Some((secret, policy)), Some(cookie)) = (&self.cookies, &query.cookie) {
            let seconds = (now.as_nanos() / 1_000_000_000) as u32;
            verified = matches!(secret.check(cookie, client, seconds), CookieVerdict::Valid { .. });
            opt.cookie = Some(secret.make(cookie.client, client, seconds));
            if !verified && *policy == CookiePolicy::Demand && transport == Transport::Udp {
                return refuse(query, opt, limit, Rcode::BADCOOKIE, answer);
            }
        }
        let exchange = Exchange { query, opt, limit, client, now };
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
        let asked = TransferQuery { client: exchange.client, zone: zone.origin(), query: query.whole() };
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

    fn chaos(&self, exchange: Exchange<'_, '_>, answer: &mut Vec<u8>) -> Rcode {
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

    /// Answers what is no query: the header with a code, or silence.
    #[cold]
    fn respond_error(
        &self,
        octets: &[u8],
        error: &QueryError,
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        let Some(header) = error.header else { return Outcome::Silent };
        let keep = Flags(header.flags.0 & (Flags::RD | Flags::CD)).with_opcode(header.flags.opcode());
        answer.clear();
        if error.rcode == Rcode::BADVERS {
            let mut builder = MessageBuilder::with_buffer(std::mem::take(answer), 512);
            builder.set_header(header.id, keep.with(Flags::QR));
            let edns = crate::EdnsParts { udp_payload: UDP_PAYLOAD_OCTETS, ..crate::EdnsParts::default() };
            // Twelve octets of header and eleven of OPT fit into 512.
            let _ = builder.edns(&edns, error.rcode);
            *answer = builder.finish();
            return Outcome::Answered(error.rcode);
        }
        // These are understood, so what cannot be read of them is malformed and not unknown.
        let (told, owed) = match header.flags.opcode() {
            Opcode::NOTIFY => (self.notify(octets, client, answer), Rcode::FORMERR),
            Opcode::UPDATE => (self.update(octets, client, answer), Rcode::FORMERR),
            _ => (None, error.rcode),
        };
        if let Some(rcode) = told {
            return Outcome::Answered(rcode);
        }
        if let Some(rcode) = self.cookie_query(octets, error, client, now, transport, answer) {
            return Outcome::Answered(rcode);
        }
        let flags = keep.with(Flags::QR).with_rcode(owed);
        answer.extend_from_slice(&Header { id: header.id, flags, counts: [0; 4] }.to_wire());
        Outcome::Answered(owed)
    }

    /// A message without a question that asks for a cookie alone (RFC 7873 §5.4).
    fn cookie_query(
        &self,
        octets: &[u8],
        error: &QueryError,
        client: IpAddr,
        now: Timestamp,
        _transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Option<Rcode> {
        let (secret, _) = self.cookies.as_ref()?;
        let asks = error.error == crate::ParseError::QuestionCount { count: 0 };
        let message = crate::Message::parse(octets).ok().filter(|message| asks && message.check().is_ok())?;
        let cookie = message.edns().ok()??.cookie().ok()??;
        let seconds = (now.as_nanos() / 1_000_000_000) as u32;
        let valid = matches!(secret.check(&cookie, client, seconds), CookieVerdict::Valid { .. });
        // §5.4: with a server cookie that is wrong, BADCOOKIE says so.
        let rcode = if valid || cookie.server.is_empty() { Rcode::NOERROR } else { Rcode::BADCOOKIE };
        let mut builder = MessageBuilder::with_buffer(std::mem::take(answer), 512);
        builder.set_header(message.header().id, Flags(message.header().flags.0 & Flags::RD).with(Flags::QR));
        let made = secret.make(cookie.client, client, seconds);
        let options = [(crate::option::COOKIE, &made[..])];
        let edns = crate::EdnsParts {
            udp_payload: UDP_PAYLOAD_OCTETS,
            options: &options,
            ..crate::EdnsParts::default()
        };
        // Header, OPT and a cookie fit into 512.
        let _ = builder.edns(&edns, rcode);
        *answer = builder.finish();
        Some(rcode)
    }
}

/// A query, and where its answer is to be looked for.
pub(crate) struct Located<'a, 'q> {
    query: Result<Query<'q>, QueryError>,
    zone: Option<&'a Zone>,
    /// Of the name.
    hash: u64,
    /// Where a node with this hash lies, as the first slot of the table has it.
    #[cfg(feature = "tokio")]
    at: usize,
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

/// One query, and what decides how it is answered.
#[derive(Clone, Copy)]
struct Exchange<'a, 'q> {
    query: &'a Query<'q>,
    opt: Opt<'a>,
    limit: usize,
    client: IpAddr,
    now: Timestamp,
}

impl<'a, 'q> Exchange<'a, 'q> {
    fn reply(&self, answer: &mut Vec<u8>) -> Reply<'a, 'q> {
        Reply::new(self.query, self.opt, self.limit, std::mem::take(answer))
    }

    const fn direct(&self) -> Direct<'a, 'q> {
        Direct { query: self.query, opt: self.opt, limit: self.limit }
    }

    #[cold]
    fn refused(mut self, why: ExtendedError, answer: &mut Vec<u8>) -> Rcode {
        self.opt.error = Some(why);
        *answer = self.reply(answer).finish(Rcode::REFUSED);
        Rcode::REFUSED
    }

    /// What the zone says: a copy where that is possible.
    #[inline]
    fn answer_from(&self, zone: &Zone, hash: u64, answer: &mut Vec<u8>) -> Rcode {
        let query = self.query;
        let found = zone.find(query.lower(), hash);
        let proofs = zone.is_signed() && query.edns.is_some_and(|edns| edns.dnssec_ok);
        let copied = match &found {
            Found::Node(node) => match node.rrset(query.qtype).filter(|set| set.count > 0) {
                Some(set) => is_plain(query.qtype) && self.direct().set(&set, answer),
                None => {
                    let nothing = !proofs && !node.flags().has(NodeFlags::ALIAS) && has_sets(query.qtype);
                    nothing && self.direct().negative(zone, Rcode::NOERROR, answer)
                }
            },
            Found::Nothing(_) if !proofs && self.direct().negative(zone, Rcode::NXDOMAIN, answer) => {
                return Rcode::NXDOMAIN;
            }
            _ => false,
        };
        if copied {
            return Rcode::NOERROR;
        }
        let mut reply = self.reply(answer);
        let rcode = answer::from_zone(zone, query.lower(), found, &mut reply);
        *answer = reply.finish(rcode);
        rcode
    }

    /// Asks a hook.
    #[inline]
    fn ask(&self, hook: &Hook) -> DynamicAnswer {
        let query = self.query;
        let client = ClientBlock::of(query, self.client);
        hook.0(&DynamicQuery { lower_wire: query.lower_wire(), qtype: query.qtype, client, now: self.now })
    }

    /// What a hook chose, signed.
    #[cfg(feature = "dnssec")]
    fn signed(
        mut self,
        chosen: &DynamicAnswer,
        signer: &online::OnlineSigner,
        zone: &Zone,
        answer: &mut Vec<u8>,
    ) -> Rcode {
        let query = self.query;
        self.opt.scope = chosen.scope;
        let set = match query.qtype {
            RecordType::ANY => chosen.first(),
            qtype => chosen.set(qtype).or_else(|| chosen.set(RecordType::CNAME)),
        };
        let mut reply = self.reply(answer);
        reply.authoritative();
        let owner = query.lower_wire();
        match set {
            Some(set) => {
                let rdata: Vec<&[u8]> = set.rdata().collect();
                let (section, kind) = (crate::Section::Answer, (set.rtype, chosen.ttl));
                signer.set(section, owner, kind, &rdata, self.now, &mut reply);
            }
            None => {
                answer::negative(zone, &mut reply);
                let ttl = crate::zone::negative_ttl(&zone.soa());
                signer.only_types(owner, ttl, chosen.types().collect(), self.now, &mut reply);
            }
        }
        *answer = reply.finish(Rcode::NOERROR);
        Rcode::NOERROR
    }

    /// What a hook chose.
    fn dynamic(mut self, chosen: &DynamicAnswer, zone: &Zone, answer: &mut Vec<u8>) -> Rcode {
        let query = self.query;
        self.opt.scope = chosen.scope;
        let set = match query.qtype {
            // RFC 8482 §4.1: one set is answer enough.
            RecordType::ANY => chosen.first(),
            qtype => chosen.set(qtype),
        };
        if let Some(set) = set.filter(|set| is_plain(set.rtype))
            && self.direct().chosen(chosen, set, answer)
        {
            return Rcode::NOERROR;
        }
        let alias = chosen.set(RecordType::CNAME);
        if set.is_none() && alias.is_none() && self.direct().negative(zone, Rcode::NOERROR, answer) {
            return Rcode::NOERROR;
        }
        let mut reply = self.reply(answer);
        let rcode = answer::chosen(zone, chosen, set.or(alias), &mut reply);
        *answer = reply.finish(rcode);
        rcode
    }
}

/// Whether sets of this type are stored under it.
#[inline]
const fn has_sets(qtype: RecordType) -> bool {
    !matches!(qtype, RecordType::ANY | RecordType::RRSIG)
}

/// Header, question and a code.
#[cold]
fn refuse(query: &Query<'_>, opt: Opt<'_>, limit: usize, rcode: Rcode, answer: &mut Vec<u8>) -> Outcome {
    *answer = Reply::new(query, opt, limit, std::mem::take(answer)).finish(rcode);
    Outcome::Answered(rcode)
}
