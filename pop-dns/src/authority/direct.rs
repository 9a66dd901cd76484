//! Answers that are copies: header and question from the query, records as the zone stores them, OPT.

use super::dynamic::{DynamicAnswer, DynamicSet, patch_ttl};
use super::edns::Opt;
use crate::zone::{RrSet, Zone};
use crate::{Flags, HEADER_OCTETS, Query, Rcode, RecordType};

/// Whether a set may be sent as it is stored: its RDATA hold no name that a full answer compresses or adds addresses for.
#[inline]
pub(super) const fn is_plain(rtype: RecordType) -> bool {
    !matches!(
        rtype,
        RecordType::NS
            | RecordType::CNAME
            | RecordType::SOA
            | RecordType::MX
            | RecordType::SRV
            | RecordType::SVCB
            | RecordType::HTTPS
            | RecordType::NAPTR
            | RecordType::DNAME
            | RecordType::RRSIG
            | RecordType::ANY
            | RecordType::MAILA
            | RecordType::MAILB
    )
}

/// A reply to one query, as far as copying goes.
pub(super) struct Direct<'a, 'q> {
    pub(super) query: &'a Query<'q>,
    pub(super) opt: Opt<'a>,
    pub(super) limit: usize,
}

impl Direct<'_, '_> {
    /// The records of a set, with their signatures for whoever wants DNSSEC; `false` where they do not fit.
    #[inline]
    pub(super) fn set(&self, set: &RrSet<'_>, answer: &mut Vec<u8>) -> bool {
        let signed = self.query.edns.is_some_and(|edns| edns.dnssec_ok);
        let (records, count) = if signed {
            (set.records_signed(), set.count + set.signature_count)
        } else {
            (set.records(), set.count)
        };
        if !self.fits(records.len()) {
            return false;
        }
        self.head([count, 0], answer);
        answer.extend_from_slice(records);
        self.opt.finish(self.query, Rcode::NOERROR, self.limit, answer);
        true
    }

    /// The records that a hook chose; `false` where they do not fit.
    #[inline]
    pub(super) fn chosen(&self, chosen: &DynamicAnswer, set: &DynamicSet, answer: &mut Vec<u8>) -> bool {
        if !self.fits(set.records().len()) {
            return false;
        }
        self.head([set.count, 0], answer);
        let start = answer.len();
        answer.extend_from_slice(set.records());
        patch_ttl(&mut answer[start..], chosen.ttl);
        self.opt.finish(self.query, Rcode::NOERROR, self.limit, answer);
        true
    }

    /// No such name, or no such type, without proof; `false` where the SOA does not fit.
    #[inline]
    pub(super) fn negative(&self, zone: &Zone, rcode: Rcode, answer: &mut Vec<u8>) -> bool {
        let template = zone.negative();
        if !self.fits(template.len()) {
            return false;
        }
        self.head([0, 1], answer);
        let name = self.query.lower();
        template.append(answer, HEADER_OCTETS + name.start(name.labels() - zone.labels()));
        self.opt.finish(self.query, rcode, self.limit, answer);
        true
    }

    #[inline]
    fn fits(&self, records: usize) -> bool {
        self.query.head().len() + records + self.opt.octets(self.query) <= self.limit
    }

    /// Header and question: the identifier, the question's spelling, RD and CD come back as they were.
    #[inline]
    fn head(&self, [answers, authorities]: [u16; 2], answer: &mut Vec<u8>) {
        answer.clear();
        answer.extend_from_slice(self.query.head());
        let keep = self.query.header.flags.0 & (Flags::RD | Flags::CD);
        answer[2..4].copy_from_slice(&(keep | Flags::QR | Flags::AA).to_be_bytes());
        answer[6..8].copy_from_slice(&answers.to_be_bytes());
        answer[8..10].copy_from_slice(&authorities.to_be_bytes());
        answer[10..12].fill(0);
    }
}
