//! What becomes of a query: octets and `now` in, a decision out. No socket, clock or spawn.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::cache::Cache;
use super::entry::{Age, Entry};
use super::failures::Failures;
use super::key::Key;
use super::lists::{Action, Lists};
use super::reply::{self, Extras, extended};
use super::scopes::{Scopes, is_public};
use super::shard::Asked;
use super::sift::{Rules, Useless, sift};
use super::stats::{Counters, count};
use super::subscribers::Subscribers;
use crate::client::Request;
use crate::{
    Class, ClientSubnet, Flags, NameBuf, Outcome, Query, Rcode, RecordType, Section, Timestamp, Transport,
};

/// Seconds for which an answer of a list, or a negative one, may be kept.
const LISTED_TTL: u32 = 60;

/// What is done with queries from outside the subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// They are told REFUSED: never longer than the query but for an OPT record.
    #[default]
    Refuse,
    /// They are told nothing.
    Drop,
}

/// Settings of the decisions.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) rules: Rules,
    pub(super) stale_max: Duration,
    pub(super) strangers: Strangers,
    /// The most of a client's address that upstreams are told, by family; `None`: nothing.
    pub(super) subnet: Option<(u8, u8)>,
    pub(super) special: bool,
}

/// What becomes of a query.
#[must_use]
pub(super) enum Decision {
    /// It is answered, or never will be.
    Done(Outcome),
    /// It is answered, and the answer should be renewed.
    Renew(Outcome, Fetch),
    /// An upstream has to be asked. Should that fail, or take long, the stale answer will do.
    Ask(Fetch, Option<Arc<Entry>>),
}

/// A question for an upstream.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    /// What makes queries share its answer.
    pub(super) key: Key,
    /// The question without the client's block.
    question: Key,
    name: NameBuf,
    qtype: RecordType,
    subnet: Option<ClientSubnet>,
    pub(super) request: Request,
    /// Something stale is at hand.
    stale: bool,
}

#[derive(Debug)]
pub(super) struct Core {
    policy: Policy,
    subscribers: Subscribers,
    pub(super) lists: ArcSwap<Lists>,
    special: Lists,
    pub(super) cache: Cache,
    pub(super) failures: Failures,
    scopes: Scopes,
    pub(super) counters: Counters,
}

impl Core {
    pub(super) fn new(policy: Policy, subscribers: Subscribers, lists: Lists, cache_octets: usize) -> Self {
        let special = if policy.special { super::special::lists() } else { Lists::default() };
        Self {
            policy,
            subscribers,
            lists: ArcSwap::from_pointee(lists),
            special,
            cache: Cache::new(cache_octets),
            failures: Failures::new(),
            scopes: Scopes::default(),
            counters: Counters::default(),
        }
    }

    /// Decides about the query in `octets`.
    pub(super) fn decide(
        &self,
        octets: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Decision {
        count(&self.counters.queries);
        let stranger = !self.subscribers.contains(client);
        if stranger {
            count(&self.counters.strangers);
            if self.policy.strangers == Strangers::Drop {
                return Decision::Done(Outcome::Silent);
            }
        }
        let query = match Query::parse(octets) {
            Ok(query) => query,
            Err(error) => {
                count(&self.counters.refused);
                return Decision::Done(reply::malformed(&error, octets, answer));
            }
        };
        let mut own = |rcode, extras: &Extras| {
            reply::own(&query, rcode, [], extras, transport, answer);
            Decision::Done(Outcome::Answered(rcode))
        };
        if stranger {
            return own(Rcode::REFUSED, &Extras::error(extended::PROHIBITED));
        }
        if let Some((rcode, code)) = unforwardable(&query) {
            count(&self.counters.refused);
            return own(rcode, &Extras::error(code));
        }
        if let Some(decided) = self.listed(&query, transport, answer) {
            return Decision::Done(decided);
        }
        self.resolve(&query, client, now, transport, answer)
    }

    /// Answers what a list names, and the queries that everybody answers shortly.
    fn listed(&self, query: &Query<'_>, transport: Transport, answer: &mut Vec<u8>) -> Option<Outcome> {
        let lists = self.lists.load();
        let listed = lists.action_for(query.lower_wire());
        let action = match listed {
            Some(Action::Allow) => None,
            Some(action) => Some(action),
            None => self.special.action_for(query.lower_wire()),
        };
        if let Some(action) = action {
            count(&self.counters.listed);
            let code = if listed.is_some() { extended::BLOCKED } else { extended::NOT_SUPPORTED };
            return Some(act(action, code, query, transport, answer));
        }
        if query.qtype == RecordType::ANY {
            // RFC 8482 §4.2: short, and nobody upstream is bothered.
            let hinfo = b"\x07RFC8482\x00";
            let record =
                (Section::Answer, query.lower_wire(), RecordType::HINFO, LISTED_TTL * 60, &hinfo[..]);
            reply::own(query, Rcode::NOERROR, [record], &Extras::default(), transport, answer);
            return Some(Outcome::Answered(Rcode::NOERROR));
        }
        None
    }

    /// Answers from the cache, or says what to ask.
    fn resolve(
        &self,
        query: &Query<'_>,
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Decision {
        let question = Key::new(query);
        let subnet = self.subnet(query, client);
        let (fresh, stale) = self.look(&question, subnet, now);
        let fetch = || self.fetch(query, question, subnet, stale.is_some());
        if let Some((entry, asked)) = fresh {
            count(&self.counters.hits);
            let extras = self.extras(query, entry.scope, None);
            let rcode = entry.answer(query, now, Age::Fresh, &extras, transport, answer);
            let outcome = Outcome::Answered(rcode);
            // Whoever asks shortly before the end, for what was asked for before, lets it be renewed.
            let due = asked == Asked::Again && entry.is_due(now);
            return match due.then(fetch).flatten() {
                Some(fetch) if !self.failures.is_failing(&fetch.key, now) => Decision::Renew(outcome, fetch),
                _ => Decision::Done(outcome),
            };
        }
        let Some(fetch) = fetch() else { return Decision::Done(Outcome::Silent) };
        if self.failures.is_failing(&fetch.key, now) {
            let code = if stale.is_some() { None } else { Some(extended::CACHED_ERROR) };
            count(if stale.is_some() { &self.counters.stale } else { &self.counters.failures_remembered });
            let rcode = self.failed(query, stale.as_deref(), code, now, transport, answer);
            return Decision::Done(Outcome::Answered(rcode));
        }
        count(&self.counters.misses);
        Decision::Ask(fetch, stale)
    }

    /// A fresh entry, or else one that may be used if need be.
    #[expect(clippy::type_complexity, reason = "a pair of options, each said in the sentence above")]
    fn look(
        &self,
        question: &Key,
        subnet: Option<ClientSubnet>,
        now: Timestamp,
    ) -> (Option<(Arc<Entry>, Asked)>, Option<Arc<Entry>>) {
        let mut stale = None;
        let mut probe = |key: &Key| {
            let (entry, asked) = self.cache.get(key)?;
            if entry.is_fresh(now) {
                return Some((entry, asked));
            }
            if stale.is_none() && entry.is_usable(now, self.policy.stale_max) {
                stale = Some(entry);
            }
            None
        };
        let fresh = match subnet.map(|subnet| subnet.block()).filter(|block| block.1 > 0) {
            None => probe(question),
            Some(block) => self
                .scopes
                .longest_first(block)
                .find_map(|length| probe(&question.within((block.0, length))))
                .or_else(|| probe(&question.everywhere())),
        };
        (fresh, stale)
    }

    /// What upstreams are told of the client: nothing, what the client itself told, or its block.
    fn subnet(&self, query: &Query<'_>, client: IpAddr) -> Option<ClientSubnet> {
        let (v4, v6) = self.policy.subnet?;
        let (address, length) = match query.client_subnet {
            Some(told) => told.block(),
            None if is_public(client.to_canonical()) => (client.to_canonical(), u8::MAX),
            None => return None,
        };
        Some(ClientSubnet::new(address, length.min(if address.is_ipv4() { v4 } else { v6 })))
    }

    fn fetch(
        &self,
        query: &Query<'_>,
        question: Key,
        subnet: Option<ClientSubnet>,
        stale: bool,
    ) -> Option<Fetch> {
        let name = NameBuf::from_wire(query.lower_wire()).ok()?;
        let mut request = Request::new(name.clone(), query.qtype);
        if query.edns.is_some_and(|edns| edns.dnssec_ok) {
            request = request.dnssec_ok();
        }
        if query.header.flags.has(Flags::CD) {
            request = request.checking_disabled();
        }
        if let Some(subnet) = subnet {
            request = request.client_subnet(subnet.block());
        }
        let key = match subnet.filter(|subnet| subnet.block().1 > 0) {
            Some(subnet) => question.within(subnet.block()),
            None => question,
        };
        Some(Fetch { key, question, name, qtype: query.qtype, subnet, request, stale })
    }

    /// What of an upstream's answer is taken.
    pub(super) fn sift(&self, fetch: &Fetch, octets: &[u8], now: Timestamp) -> Result<Entry, Useless> {
        sift(octets, &fetch.name, fetch.qtype, fetch.subnet, &self.policy.rules, now)
    }

    /// Keeps the answer, or the failure, of `fetch`.
    pub(super) fn land(&self, fetch: &Fetch, entry: Option<Entry>, now: Timestamp) -> Option<Arc<Entry>> {
        let Some(entry) = entry else {
            self.failures.failed(&fetch.key, now, fetch.stale);
            return None;
        };
        self.failures.succeeded(&fetch.key);
        let entry = Arc::new(entry);
        if entry.lifetime > 0 {
            let key = match fetch.subnet.filter(|subnet| subnet.block().1 > 0) {
                Some(subnet) => {
                    let (address, _) = subnet.block();
                    self.scopes.seen((address, entry.scope));
                    fetch.question.within((address, entry.scope))
                }
                None => fetch.question,
            };
            self.cache.insert(&key, Arc::clone(&entry));
        }
        Some(entry)
    }

    /// Answers a query that waited: with what came, else with what is stale, else with SERVFAIL.
    pub(super) fn answer_waiting(
        &self,
        octets: &[u8],
        landed: Option<Arc<Entry>>,
        stale: Option<&Entry>,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        let Ok(query) = Query::parse(octets) else { return Outcome::Silent };
        let rcode = if let Some(entry) = landed {
            let extras = self.extras(&query, entry.scope, None);
            entry.answer(&query, now, Age::Fresh, &extras, transport, answer)
        } else {
            count(if stale.is_some() { &self.counters.stale } else { &self.counters.servfails });
            self.failed(&query, stale, Some(extended::NO_REACHABLE_AUTHORITY), now, transport, answer)
        };
        Outcome::Answered(rcode)
    }

    /// A stale answer where there is one, else SERVFAIL with `code`.
    fn failed(
        &self,
        query: &Query<'_>,
        stale: Option<&Entry>,
        code: Option<u16>,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Rcode {
        let Some(entry) = stale else {
            let extras = Extras { subnet: None, error: code };
            reply::own(query, Rcode::SERVFAIL, [], &extras, transport, answer);
            return Rcode::SERVFAIL;
        };
        let denied = entry.rcode() == Rcode::NXDOMAIN;
        let code = if denied { extended::STALE_NXDOMAIN } else { extended::STALE_ANSWER };
        entry.answer(query, now, Age::Stale, &self.extras(query, entry.scope, Some(code)), transport, answer)
    }

    /// The client's block as it told it with the scope of the answer, if we pass blocks on at all; and `error`.
    fn extras(&self, query: &Query<'_>, scope: u8, error: Option<u16>) -> Extras {
        let told = query.client_subnet.filter(|_| self.policy.subnet.is_some());
        Extras { subnet: told.map(|told| told.with_scope(scope)), error }
    }
}

/// What is not for us to resolve, with a code and its reason.
fn unforwardable(query: &Query<'_>) -> Option<(Rcode, u16)> {
    if query.qclass != Class::IN {
        return Some((Rcode::REFUSED, extended::NOT_SUPPORTED));
    }
    if !query.header.flags.has(Flags::RD) {
        // Answering from the cache alone would tell strangers' secrets: what our subscribers ask for.
        return Some((Rcode::REFUSED, extended::PROHIBITED));
    }
    let transfer = matches!(query.qtype, RecordType::AXFR | RecordType::IXFR);
    let pseudo = query.qtype.is_pseudo() && query.qtype != RecordType::ANY;
    (transfer || pseudo).then_some((Rcode::NOTIMP, extended::NOT_SUPPORTED))
}

fn act(action: &Action, code: u16, query: &Query<'_>, transport: Transport, answer: &mut Vec<u8>) -> Outcome {
    // No server, no mailbox, serial 1, and how long the denial may be kept.
    let mut soa = [0; 22];
    for (field, value) in soa[2..].chunks_exact_mut(4).zip([1_u32, 3600, 600, 86_400, LISTED_TTL]) {
        field.copy_from_slice(&value.to_be_bytes());
    }
    let denial = (Section::Authority, query.lower_wire(), RecordType::SOA, LISTED_TTL, &soa[..]);
    let extras = Extras::error(code);
    let rcode = match action {
        Action::Drop => return Outcome::Silent,
        Action::Refuse => Rcode::REFUSED,
        Action::NxDomain => Rcode::NXDOMAIN,
        Action::NoData | Action::Allow | Action::Local(_) => Rcode::NOERROR,
    };
    let of_type = |local: &&(RecordType, Box<[u8]>)| {
        local.0 == query.qtype || local.0 == RecordType::CNAME || query.qtype == RecordType::ANY
    };
    let local: &[_] = if let Action::Local(local) = action { local } else { &[] };
    let mut records = local
        .iter()
        .filter(of_type)
        .map(|(rtype, rdata)| (Section::Answer, query.lower_wire(), *rtype, LISTED_TTL, &**rdata))
        .peekable();
    match records.peek() {
        Some(_) => reply::own(query, rcode, records, &Extras::default(), transport, answer),
        None if rcode == Rcode::REFUSED => reply::own(query, rcode, [], &extras, transport, answer),
        None => reply::own(query, rcode, [denial], &extras, transport, answer),
    }
    Outcome::Answered(rcode)
}
