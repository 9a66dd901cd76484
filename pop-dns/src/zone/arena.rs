//! How a zone lies in memory: one run of octets, node after node.
//!
//! ```text
//! node     flags 1 | octets of the name 1 | RRsets 2 | name, lower-case wire format | RRset ...
//! RRset    type 2 | records 2 | octets of them 2 | signatures 2 | octets of them 2 | records | signatures
//! record   C0 0C | type | class IN | TTL | length | RDATA without compression
//! ```
//!
//! A record is stored as an answer carries it: its owner is a pointer to the question, which stands at offset 12 of
//! every message. So an answer from a set is one copy, and with the signatures (RRSIG, for whoever wants DNSSEC) it is one
//! longer copy. Beyond name and RDATA a name costs 4 octets and 10 in the table, a set 10, a record 12.

use super::ZoneProblem;
use crate::{Name, NameBuf, RecordType};

/// Octets before a node's name.
const NODE_HEAD: usize = 4;
/// Octets before a set's records.
const SET_HEAD: usize = 10;
/// Octets of a record before its RDATA.
pub(crate) const RECORD_HEAD: usize = 12;
/// Owner, as a pointer to the question.
const OWNER: [u8; 2] = [0xC0, 12];
/// Octets of a set: what an answer can hold beside a header, the longest question and an OPT record.
const SET_OCTETS_MAX: usize = 65_000;

/// What is known of a node beside its sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeFlags(pub(crate) u8);

impl NodeFlags {
    /// The name of the zone.
    pub(crate) const APEX: u8 = 1;
    /// The zone ends here: an NS set, and not the apex.
    pub(crate) const CUT: u8 = 2;
    /// Below a cut or a DNAME: here for its addresses at most.
    pub(crate) const OCCLUDED: u8 = 4;
    /// It has a DNAME.
    pub(crate) const DNAME: u8 = 8;
    /// Its child `*` exists.
    pub(crate) const WILDCARD_BELOW: u8 = 16;
    /// Nothing but NSEC3 and its signatures: not there for whoever asks (RFC 5155 §7.2.8).
    pub(crate) const HASHED: u8 = 32;
    /// It has a CNAME.
    pub(crate) const ALIAS: u8 = 64;

    #[inline]
    pub(crate) const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
}

/// A name of the zone, with its sets; none of them at an empty non-terminal.
#[derive(Clone, Copy)]
pub(crate) struct Node<'z> {
    arena: &'z [u8],
    at: usize,
}

impl<'z> Node<'z> {
    #[inline]
    pub(super) const fn new(arena: &'z [u8], at: usize) -> Self {
        Self { arena, at }
    }

    #[inline]
    pub(crate) fn flags(&self) -> NodeFlags {
        NodeFlags(self.arena[self.at])
    }

    /// In lower-case wire format.
    #[inline]
    pub(crate) fn name(&self) -> &'z [u8] {
        let octets = usize::from(self.arena[self.at + 1]);
        &self.arena[self.at + NODE_HEAD..][..octets]
    }

    /// The sets in the order of their types.
    #[inline]
    pub(crate) fn rrsets(&self) -> RrSets<'z> {
        let left = word(self.arena, self.at + 2);
        let octets = usize::from(self.arena[self.at + 1]);
        RrSets { arena: self.arena, at: self.at + NODE_HEAD + octets, left }
    }

    /// The set of a type, or its signatures at least.
    #[inline]
    pub(crate) fn rrset(&self, rtype: RecordType) -> Option<RrSet<'z>> {
        self.rrsets().find(|rrset| rrset.rtype == rtype)
    }

    /// All records, the signatures of a set behind it.
    pub(crate) fn records(&self) -> impl Iterator<Item = ZoneRecord<'z>> + use<'z> {
        let owner = Name::checked(self.name(), 0);
        self.rrsets().flat_map(move |set| {
            let record = move |rtype, ttl, rdata| ZoneRecord { owner, rtype, ttl, rdata };
            let (ttl, signature_ttl) = (set.ttl(), set.signature_ttl());
            let plain = set.rdata().map(move |rdata| record(set.rtype, ttl, rdata));
            plain.chain(set.signatures().map(move |rdata| record(RecordType::RRSIG, signature_ttl, rdata)))
        })
    }

    /// Whether there is nothing here.
    pub(crate) fn is_empty(&self) -> bool {
        word(self.arena, self.at + 2) == 0
    }

    /// Where the next node begins.
    pub(super) fn end(&self) -> usize {
        let mut rrsets = self.rrsets();
        while rrsets.next().is_some() {}
        rrsets.at
    }

    #[inline]
    pub(super) const fn offset(&self) -> usize {
        self.at
    }
}

/// The sets of a node.
#[derive(Clone)]
pub(crate) struct RrSets<'z> {
    arena: &'z [u8],
    at: usize,
    left: u16,
}

impl<'z> Iterator for RrSets<'z> {
    type Item = RrSet<'z>;

    #[inline]
    fn next(&mut self) -> Option<RrSet<'z>> {
        self.left = self.left.checked_sub(1)?;
        let (arena, at) = (self.arena, self.at);
        let octets = usize::from(word(arena, at + 4));
        let signed_octets = octets + usize::from(word(arena, at + 8));
        let signed = &arena[at + SET_HEAD..][..signed_octets];
        self.at = at + SET_HEAD + signed_octets;
        Some(RrSet {
            rtype: RecordType(word(arena, at)),
            count: word(arena, at + 2),
            signature_count: word(arena, at + 6),
            octets,
            signed,
        })
    }
}

/// The records of one name and type, and the signatures over them.
#[derive(Clone, Copy)]
pub(crate) struct RrSet<'z> {
    pub(crate) rtype: RecordType,
    pub(crate) count: u16,
    pub(crate) signature_count: u16,
    octets: usize,
    signed: &'z [u8],
}

impl<'z> RrSet<'z> {
    /// The records as an answer carries them.
    #[inline]
    pub(crate) fn records(&self) -> &'z [u8] {
        &self.signed[..self.octets]
    }

    /// The same with the signatures behind.
    #[inline]
    pub(crate) const fn records_signed(&self) -> &'z [u8] {
        self.signed
    }

    /// Seconds; a set has one TTL (RFC 2181 §5.2).
    #[inline]
    pub(crate) fn ttl(&self) -> u32 {
        stored_ttl(self.signed)
    }

    /// RDATA of the records.
    #[inline]
    pub(crate) fn rdata(&self) -> RDatas<'z> {
        RDatas(self.records())
    }

    /// RDATA of the RRSIG records.
    pub(crate) fn signatures(&self) -> RDatas<'z> {
        RDatas(&self.signed[self.octets..])
    }

    /// The TTL of the signatures.
    pub(crate) fn signature_ttl(&self) -> u32 {
        stored_ttl(&self.signed[self.octets..])
    }
}

/// RDATA, one after the other.
#[derive(Clone)]
pub(crate) struct RDatas<'z>(&'z [u8]);

impl<'z> Iterator for RDatas<'z> {
    type Item = &'z [u8];

    #[inline]
    fn next(&mut self) -> Option<&'z [u8]> {
        let (head, rest) = self.0.split_first_chunk::<RECORD_HEAD>()?;
        let (rdata, rest) = rest.split_at(usize::from(u16::from_be_bytes([head[10], head[11]])));
        self.0 = rest;
        Some(rdata)
    }
}

/// The TTL of the first record.
fn stored_ttl(records: &[u8]) -> u32 {
    records.get(6..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u32::from_be_bytes(*octets))
}

#[inline]
fn word(arena: &[u8], at: usize) -> u16 {
    arena[at..].first_chunk().map_or(0, |octets| u16::from_le_bytes(*octets))
}

/// A record to be stored: its type, its TTL, its RDATA.
pub(super) type Stored<'r> = (RecordType, u32, &'r [u8]);

/// Appends a node with these records, which lie in the order that [`storing_order`] gives.
pub(super) fn write_node(
    arena: &mut Vec<u8>,
    flags: NodeFlags,
    name: &[u8],
    records: &[Stored<'_>],
) -> Result<(), ZoneProblem> {
    let start = arena.len();
    arena.extend_from_slice(&[flags.0, name.len() as u8, 0, 0]);
    arena.extend_from_slice(name);
    let mut sets = 0_u16;
    for set in records.chunk_by(|one, two| storing_set(one) == storing_set(two)) {
        let rtype = storing_set(&set[0]);
        let head = arena.len();
        arena.extend_from_slice(&[0; SET_HEAD]);
        let plain = set.iter().take_while(|record| record.0 == rtype).count();
        let octets = write_records(arena, &set[..plain]);
        let signature_octets = write_records(arena, &set[plain..]);
        if octets + signature_octets > SET_OCTETS_MAX {
            let owner = NameBuf::from_checked(name.into());
            return Err(ZoneProblem::TooLarge { owner, rtype });
        }
        let words =
            [rtype.0, plain as u16, octets as u16, (set.len() - plain) as u16, signature_octets as u16];
        for (slot, word) in arena[head..head + SET_HEAD].chunks_exact_mut(2).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        sets += 1;
    }
    arena[start + 2..start + NODE_HEAD].copy_from_slice(&sets.to_le_bytes());
    Ok(())
}

/// The set to which a record belongs: a signature to that of the type it covers (RFC 4034 §3.1.1).
fn storing_set(record: &Stored<'_>) -> RecordType {
    match (record.0, record.2.first_chunk()) {
        (RecordType::RRSIG, Some(covered)) => RecordType(u16::from_be_bytes(*covered)),
        _ => record.0,
    }
}

/// By set, the signatures last, then by RDATA as octets.
pub(super) fn storing_order(one: &Stored<'_>, two: &Stored<'_>) -> std::cmp::Ordering {
    let key = |record: &Stored<'_>| (storing_set(record), record.0 == RecordType::RRSIG);
    key(one).cmp(&key(two)).then_with(|| one.2.cmp(two.2))
}

fn write_records(arena: &mut Vec<u8>, records: &[Stored<'_>]) -> usize {
    let start = arena.len();
    // RFC 2181 §5.2: a set has one TTL; of several, the lowest is the safe one.
    let ttl = records.iter().map(|record| record.1).min().unwrap_or(0);
    for (rtype, _, rdata) in records {
        write_head(arena, *rtype, ttl, rdata.len());
        arena.extend_from_slice(rdata);
    }
    arena.len() - start
}

/// What stands before the RDATA of a record whose owner is the question.
pub(crate) fn write_head(out: &mut Vec<u8>, rtype: RecordType, ttl: u32, rdata_octets: usize) {
    let mut head = [0; RECORD_HEAD];
    head[..2].copy_from_slice(&OWNER);
    head[2..4].copy_from_slice(&rtype.0.to_be_bytes());
    head[5] = 1;
    head[6..10].copy_from_slice(&ttl.to_be_bytes());
    head[10..].copy_from_slice(&(rdata_octets as u16).to_be_bytes());
    out.extend_from_slice(&head);
}

/// A record of a zone, borrowed from it.
#[derive(Clone, Copy, Debug)]
pub struct ZoneRecord<'z> {
    /// The owner, in lower case.
    pub owner: Name<'z>,
    /// The type.
    pub rtype: RecordType,
    /// Seconds.
    pub ttl: u32,
    /// Wire format without compression.
    pub rdata: &'z [u8],
}
