//! What of an upstream's answer is taken: the chain from the question to its end, and the proof of a negative answer.
//!
//! Nothing is ever filed under a name that was not asked for, so a poisoned record could only ride along with the
//! answer it came in. Even there it finds no seat: owners have to be on the chain that begins at the question, the
//! SOA above its end, and the additional section is left behind.

use super::entry::Entry;
use crate::{
    Class, ClientSubnet, Flags, Message, MessageBuilder, Name, NameBuf, ParseError, RData, Rcode, Record,
    RecordType, Section, Timestamp,
};

/// CNAMEs and DNAMEs from the question to its answer.
pub(super) const CHAIN_MAX: usize = 12;

/// What is kept of an answer, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Bounds on TTLs, in seconds.
    pub(super) ttl_min: u32,
    pub(super) ttl_max: u32,
    /// For what does not exist (RFC 2308 §5).
    pub(super) negative_ttl_max: u32,
    /// Flags that are kept: AD, if the upstreams validate and the way to them is safe.
    pub(super) flags: u16,
}

impl Rules {
    /// A TTL within the bounds. Zero stays zero: what must not be kept is not kept.
    fn clamp(&self, ttl: u32) -> u32 {
        match ttl {
            // RFC 2181 §8.
            0 | 0x8000_0000.. => 0,
            _ => ttl.clamp(self.ttl_min, self.ttl_max),
        }
    }
}

/// Why an answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Useless {
    /// The server failed, or refused.
    Code(Rcode),
    /// It cannot be read.
    Malformed(ParseError),
    /// The chain is longer than [`CHAIN_MAX`], or bites its tail.
    Chain,
    /// A server that does not recurse told us to ask elsewhere.
    Referral,
}

impl From<ParseError> for Useless {
    fn from(error: ParseError) -> Self {
        Self::Malformed(error)
    }
}

/// Sifts the answer to the question `(name, qtype)`. `subnet` is what was sent with it.
pub(super) fn sift(
    octets: &[u8],
    name: &NameBuf,
    qtype: RecordType,
    subnet: Option<ClientSubnet>,
    rules: &Rules,
    now: Timestamp,
) -> Result<Entry, Useless> {
    let message = Message::parse(octets)?;
    let edns = message.edns()?;
    let flags = message.header().flags;
    let rcode = edns.map_or(flags.rcode(), |edns| edns.rcode(flags.rcode()));
    if !matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
        return Err(Useless::Code(rcode));
    }
    let scope = match (subnet, edns) {
        (Some(sent), Some(edns)) => edns.client_subnet()?.map_or(0, |told| told.scope().min(sent.block().1)),
        _ => 0,
    };
    let mut sieve = Sieve::new(name, qtype, rules);
    sieve.builder.set_header(0, Flags(flags.0 & rules.flags).with(Flags::QR).with_rcode(rcode));
    let end = sieve.chain(&message, name)?;
    if !sieve.answered || rcode == Rcode::NXDOMAIN {
        sieve.denial(&message, &end)?;
        if !sieve.denied && rcode == Rcode::NOERROR && !flags.has(Flags::RA) && !flags.has(Flags::AA) {
            return Err(Useless::Referral);
        }
    } else {
        sieve.proofs(&message)?;
    }
    let lifetime = sieve.lifetime.unwrap_or(0);
    Ok(Entry::new(sieve.builder.finish(), lifetime, scope, now)?)
}

struct Sieve<'l> {
    qtype: RecordType,
    rules: &'l Rules,
    builder: MessageBuilder,
    /// The shortest TTL so far.
    lifetime: Option<u32>,
    answered: bool,
    denied: bool,
}

impl<'l> Sieve<'l> {
    fn new(name: &NameBuf, qtype: RecordType, rules: &'l Rules) -> Self {
        let mut builder = MessageBuilder::new(usize::from(u16::MAX));
        // The first question of an empty message fits.
        let _ = builder.question(name.as_wire(), qtype, Class::IN);
        Self { qtype, rules, builder, lifetime: None, answered: false, denied: false }
    }

    /// Takes the records on the chain that begins at `name`, and returns its end.
    fn chain(&mut self, message: &Message<'_>, name: &NameBuf) -> Result<NameBuf, Useless> {
        let mut current = name.clone();
        let mut above: Option<NameBuf> = None;
        for _ in 0..=CHAIN_MAX {
            let mut next = None;
            for record in message.answers()? {
                let record = record?;
                if record.class != Class::IN {
                    continue;
                }
                let here = record.name == current.as_name();
                match record.rtype {
                    RecordType::DNAME if !here && self.qtype != RecordType::DNAME => {
                        // It stands above the name, and the CNAME that is made from it comes with it (RFC 6672 §3.1).
                        let owner = record.name.to_name_buf()?;
                        if current.is_within(&owner) && above.as_ref() != Some(&owner) {
                            above = Some(owner);
                            self.take(Section::Answer, &record)?;
                        }
                    }
                    RecordType::CNAME if here && next.is_none() && self.qtype != RecordType::CNAME => {
                        if let RData::Cname(target) = record.rdata()? {
                            next = Some(target.to_name_buf()?);
                        }
                        self.take(Section::Answer, &record)?;
                    }
                    rtype if here && rtype == self.qtype => {
                        self.answered = true;
                        self.take(Section::Answer, &record)?;
                    }
                    RecordType::RRSIG
                        if here || above.as_ref().is_some_and(|above| record.name == above.as_name()) =>
                    {
                        self.take(Section::Answer, &record)?;
                    }
                    _ => {}
                }
            }
            match next {
                Some(target) => current = target,
                None => return Ok(current),
            }
        }
        Err(Useless::Chain)
    }

    /// Takes the SOA above `end` and the records that prove the denial.
    fn denial(&mut self, message: &Message<'_>, end: &NameBuf) -> Result<(), Useless> {
        for record in message.section(Section::Authority)? {
            let record = record?;
            if record.rtype == RecordType::SOA
                && let RData::Soa(soa) = record.rdata()?
                && !self.denied
                && end.is_within(&record.name.to_name_buf()?)
            {
                self.denied = true;
                // RFC 2308 §5.
                let ttl = self.rules.clamp(record.ttl.min(soa.minimum)).min(self.rules.negative_ttl_max);
                self.take_for(Section::Authority, &record, ttl)?;
            } else if is_proof(record.rtype) {
                self.take(Section::Authority, &record)?;
            }
        }
        if !self.denied {
            // RFC 2308 §5: without a SOA it is not kept.
            self.lifetime = Some(0);
        }
        Ok(())
    }

    /// Takes the records that prove that a wildcard was right.
    fn proofs(&mut self, message: &Message<'_>) -> Result<(), Useless> {
        for record in message.section(Section::Authority)? {
            let record = record?;
            if is_proof(record.rtype) {
                self.take(Section::Authority, &record)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, section: Section, record: &Record<'_>) -> Result<(), Useless> {
        self.take_for(section, record, self.rules.clamp(record.ttl))
    }

    fn take_for(&mut self, section: Section, record: &Record<'_>, ttl: u32) -> Result<(), Useless> {
        self.lifetime = Some(self.lifetime.map_or(ttl, |shortest| shortest.min(ttl)));
        let owner: Name<'_> = record.name;
        // What came in a message fits into one: names are compressed at least as well, or the answer is odd enough.
        self.builder
            .records(section, owner, Class::IN, ttl, [record.raw_rdata()])
            .map_err(|_| Useless::Malformed(ParseError::TooLong { octets: usize::from(u16::MAX) }))
    }
}

const fn is_proof(rtype: RecordType) -> bool {
    matches!(rtype, RecordType::NSEC | RecordType::NSEC3 | RecordType::RRSIG)
}
