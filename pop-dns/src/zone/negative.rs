//! The SOA record as a negative answer carries it (RFC 2308 §3), ready to be copied.
//!
//! Names in it are compressed against the zone's name, which every question in the zone ends in. Where that stands in
//! the question differs, so the few pointers are written after the copy.

use super::arena::RrSet;
use crate::{Class, MessageBuilder, NameBuf, RecordType, Section};

/// Pointers of the record: owner, primary server, mailbox.
const POINTERS_MAX: usize = 3;
/// A header and nothing else.
const HEADER: usize = crate::HEADER_OCTETS;

/// A pointer to be written.
#[derive(Clone, Copy, Debug, Default)]
struct Fix {
    /// Where it stands in the template.
    at: u16,
    /// Where it leads: so many octets behind the zone's name in the question, or behind the start of the template.
    to: u16,
    inside: bool,
}

/// The authority section of a negative answer without signatures: one record.
#[derive(Debug)]
pub(crate) struct NegativeTemplate {
    octets: Box<[u8]>,
    fixes: [Fix; POINTERS_MAX],
    used: usize,
}

impl NegativeTemplate {
    /// Compiles it. Its TTL is the lower of the SOA's own and its minimum field.
    pub(super) fn new(origin: &NameBuf, soa: &RrSet<'_>) -> Self {
        let rdata = soa.rdata().next().unwrap_or_default();
        let mut builder = MessageBuilder::new(usize::from(u16::MAX));
        // A question and one record of three names fit into 65,535 octets, and its names are well-formed.
        let _ = builder.question(origin.as_wire(), RecordType::SOA, Class::IN);
        let start = builder.len();
        let _ =
            builder.rrset(Section::Authority, origin.as_wire(), RecordType::SOA, negative_ttl(soa), [rdata]);
        let octets: Box<[u8]> = builder.finish()[start..].into();
        let mut template = Self { octets, fixes: Default::default(), used: 0 };
        // Owner, then behind type, class, TTL and length the two names.
        let mut at = 0;
        for skip in [0, 10, 0] {
            at = template.name(at + skip, start);
        }
        template
    }

    /// Notes the pointer that ends the name at `at`, if one does; the offset behind the name.
    fn name(&mut self, mut at: usize, start: usize) -> usize {
        loop {
            match self.octets[at] {
                0 => return at + 1,
                high @ 0xC0.. => {
                    let target = usize::from(high & 0x3F) << 8 | usize::from(self.octets[at + 1]);
                    let inside = target >= start;
                    let to = (target - if inside { start } else { HEADER }) as u16;
                    self.fixes[self.used] = Fix { at: at as u16, to, inside };
                    self.used += 1;
                    return at + 2;
                }
                length => at += 1 + usize::from(length),
            }
        }
    }

    /// Octets that it adds to a message.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.octets.len()
    }

    /// Appends it to a message whose question holds the zone's name at `origin`.
    #[inline]
    pub(crate) fn append(&self, message: &mut Vec<u8>, origin: usize) {
        let start = message.len();
        message.extend_from_slice(&self.octets);
        for fix in &self.fixes[..self.used] {
            let target = usize::from(fix.to) + if fix.inside { start } else { origin };
            let at = start + usize::from(fix.at);
            message[at..at + 2].copy_from_slice(&(0xC000 | target as u16).to_be_bytes());
        }
    }
}

/// Seconds for which an absence may be remembered (RFC 2308 §5).
pub(crate) fn negative_ttl(soa: &RrSet<'_>) -> u32 {
    let minimum = soa.rdata().next().and_then(|rdata| rdata.last_chunk::<4>());
    soa.ttl().min(minimum.map_or(0, |octets| u32::from_be_bytes(*octets)))
}
