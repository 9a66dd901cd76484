//! An answer under construction, where copying is not enough.

use super::edns::Opt;
use crate::zone::RrSet;
use crate::{Flags, MessageBuilder, Name, Query, RawRData, Rcode, RecordType, Section};

/// An answer under construction. What is required and does not fit truncates it; what is optional is left out.
pub(super) struct Reply<'a, 'q> {
    builder: MessageBuilder,
    pub(super) query: &'a Query<'q>,
    pub(super) opt: Opt<'a>,
    limit: usize,
    /// Where the records begin.
    question_octets: usize,
    /// Signatures and proofs are wanted.
    pub(super) signed: bool,
    truncated: bool,
}

impl<'a, 'q> Reply<'a, 'q> {
    pub(super) fn new(query: &'a Query<'q>, opt: Opt<'a>, limit: usize, buffer: Vec<u8>) -> Self {
        let mut builder = MessageBuilder::with_buffer(buffer, limit);
        let keep = query.header.flags.0 & (Flags::RD | Flags::CD);
        let flags = Flags(keep).with(Flags::QR).with_opcode(query.header.flags.opcode());
        builder.set_header(query.header.id, flags);
        // The name of a query is never compressed, so its spelling comes back as it was (0x20).
        let name = query.name.as_wire().unwrap_or(query.lower_wire());
        // A header and a question are below 512 octets.
        let _ = builder.question(name, query.qtype, query.qclass);
        builder.reserve(opt.octets(query));
        let question_octets = builder.len();
        let signed = query.edns.is_some_and(|edns| edns.dnssec_ok);
        Self { builder, query, opt, limit, question_octets, signed, truncated: false }
    }

    pub(super) fn authoritative(&mut self) {
        let flags = self.builder.flags().with(Flags::AA);
        self.builder.set_flags(flags);
    }

    /// A stored set that the answer is not complete without, and its signatures if they are wanted.
    pub(super) fn set(&mut self, section: Section, owner: &[u8], set: &RrSet<'_>) {
        self.set_for(section, owner, set, set.ttl());
    }

    /// The same for another time.
    pub(super) fn set_for(&mut self, section: Section, owner: &[u8], set: &RrSet<'_>, ttl: u32) {
        if set.count > 0 {
            self.required(section, owner, set.rtype, ttl, set.rdata());
        }
        if self.signed && set.signature_count > 0 {
            let ttl = set.signature_ttl().min(ttl);
            self.required(section, owner, RecordType::RRSIG, ttl, set.signatures());
        }
    }

    /// Records that the answer is not complete without.
    pub(super) fn required<'r>(
        &mut self,
        section: Section,
        owner: &[u8],
        rtype: RecordType,
        ttl: u32,
        rdata: impl IntoIterator<Item = &'r [u8]>,
    ) {
        if !self.truncated && self.builder.rrset(section, owner, rtype, ttl, rdata).is_err() {
            self.truncated = true;
        }
    }

    /// Records of another class than IN.
    pub(super) fn of_class(&mut self, owner: &[u8], class: crate::Class, rdata: RawRData<'_>) {
        let owner = Name::from_wire(owner).unwrap_or(Name::ROOT);
        if !self.truncated && self.builder.records(Section::Answer, owner, class, 0, [rdata]).is_err() {
            self.truncated = true;
        }
    }

    /// A stored set that may be left out without a word, signatures included: glue that nobody depends on, addresses that
    /// spare a question.
    pub(super) fn optional(&mut self, owner: &[u8], set: &RrSet<'_>) {
        if self.truncated
            || self.builder.rrset(Section::Additional, owner, set.rtype, set.ttl(), set.rdata()).is_err()
        {
            return;
        }
        if self.signed && set.signature_count > 0 {
            let signatures = set.signatures();
            let _ = self.builder.rrset(
                Section::Additional,
                owner,
                RecordType::RRSIG,
                set.signature_ttl(),
                signatures,
            );
        }
    }

    pub(super) fn finish(mut self, rcode: Rcode) -> Vec<u8> {
        if self.truncated {
            // Whole sets only: what is left would mislead (RFC 2181 §9).
            self.builder.clear_records(self.question_octets);
            self.builder.set_truncated();
        }
        let mut message = self.builder.into_buffer();
        self.opt.finish(self.query, rcode, self.limit, &mut message);
        message
    }
}
