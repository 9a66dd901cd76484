//! One query on its way to an answer: copied where that is possible, built where not.

use std::net::IpAddr;

use super::direct::{Direct, is_plain};
use super::dynamic::{ClientBlock, DynamicAnswer, DynamicQuery, Hook};
use super::edns::{ExtendedError, Opt};
use super::reply::Reply;
use super::{Outcome, answer};
use crate::zone::{Found, NodeFlags, Zone};
use crate::{NameBuf, Query, Rcode, RecordType, Timestamp};

/// One query, and what decides how it is answered.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a, 'q> {
    pub(super) query: &'a Query<'q>,
    pub(super) opt: Opt<'a>,
    pub(super) limit: usize,
    pub(super) client: IpAddr,
    pub(super) now: Timestamp,
    /// The key that the query is signed with.
    pub(super) key: Option<&'a NameBuf>,
}

impl<'a, 'q> Exchange<'a, 'q> {
    pub(super) fn reply(&self, answer: &mut Vec<u8>) -> Reply<'a, 'q> {
        Reply::new(self.query, self.opt, self.limit, std::mem::take(answer))
    }

    const fn direct(&self) -> Direct<'a, 'q> {
        Direct { query: self.query, opt: self.opt, limit: self.limit }
    }

    #[cold]
    pub(super) fn refused(mut self, why: ExtendedError, answer: &mut Vec<u8>) -> Rcode {
        self.opt.error = Some(why);
        *answer = self.reply(answer).finish(Rcode::REFUSED);
        Rcode::REFUSED
    }

    /// What the zone says: a copy where that is possible.
    #[inline]
    pub(super) fn answer_from(&self, zone: &Zone, hash: u64, answer: &mut Vec<u8>) -> Rcode {
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
    pub(super) fn ask(&self, hook: &Hook) -> DynamicAnswer {
        let query = self.query;
        let client = ClientBlock::of(query, self.client);
        hook.0(&DynamicQuery { lower_wire: query.lower_wire(), qtype: query.qtype, client, now: self.now })
    }

    /// What a hook chose, signed.
    #[cfg(feature = "dnssec")]
    pub(super) fn signed(
        mut self,
        chosen: &DynamicAnswer,
        signer: &super::online::OnlineSigner,
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
    pub(super) fn dynamic(mut self, chosen: &DynamicAnswer, zone: &Zone, answer: &mut Vec<u8>) -> Rcode {
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
pub(super) fn refuse(
    query: &Query<'_>,
    opt: Opt<'_>,
    limit: usize,
    rcode: Rcode,
    answer: &mut Vec<u8>,
) -> Outcome {
    *answer = Reply::new(query, opt, limit, std::mem::take(answer)).finish(rcode);
    Outcome::Answered(rcode)
}
