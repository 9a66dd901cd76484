//! Zones: what a server is authoritative for.

mod error;
mod lexer;
mod master;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ahash::RandomState;

pub use error::{ZoneError, ZoneProblem};

use crate::{NameBuf, RecordType};

/// Records in a zone file, `$INCLUDE`d ones and what `$GENERATE` makes counted in.
pub const ZONE_RECORDS_MAX: usize = 10_000_000;

/// A zone: every name below its origin, with the records that stand there. Immutable once loaded; a changed file
/// makes a new one, which replaces the old one whole.
///
/// ```
/// use pop_dns::zone::Zone;
///
/// let text = b"@ 300 IN SOA ns hostmaster 1 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 192.0.2.53\nwww 60 A 192.0.2.1\n";
/// let zone = Zone::parse(text, "example.org".parse()?)?;
/// assert_eq!((zone.origin().to_string().as_str(), zone.records()), ("example.org.", 4));
///
/// let error = Zone::parse(b"@ SOA broken", "example.org".parse()?).unwrap_err();
/// assert_eq!(error.to_string(), "line 1, column 13: expected the mailbox of the one responsible, found the end of the record");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Zone {
    origin: NameBuf,
    /// By name in lower-case wire format. Empty non-terminals are there, with no records.
    nodes: HashMap<Box<[u8]>, Node, RandomState>,
    records: usize,
}

/// The records of one name.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) rrsets: Vec<RrSet>,
}

impl Node {
    pub(crate) fn rrset(&self, rtype: RecordType) -> Option<&RrSet> {
        self.rrsets.iter().find(|rrset| rrset.rtype == rtype)
    }
}

/// The records of one name and type.
#[derive(Debug)]
pub(crate) struct RrSet {
    /// The owner, with the case of the file.
    pub(crate) owner: NameBuf,
    pub(crate) rtype: RecordType,
    pub(crate) ttl: u32,
    /// Uncompressed wire format.
    pub(crate) rdata: Vec<Box<[u8]>>,
}

impl RrSet {
    pub(crate) fn rdata(&self) -> impl Iterator<Item = &[u8]> {
        self.rdata.iter().map(|rdata| &**rdata)
    }
}

impl Zone {
    /// Reads a master file (RFC 1035 §5). Relative names are completed by `origin`, which is the zone's name.
    ///
    /// # Errors
    /// [`ZoneError`] with line, column and what was expected; [`ZoneProblem`] of the zone as a whole when it has no
    /// SOA, a CNAME beside other data, or a record outside of it.
    pub fn parse(text: &[u8], origin: NameBuf) -> Result<Self, ZoneError> {
        master::load(text, None, origin)
    }

    /// Reads a master file from disk; `$INCLUDE` is taken relative to the file's folder and must stay below it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when a file cannot be read. The error names the file.
    pub fn load(path: &std::path::Path, origin: NameBuf) -> Result<Self, ZoneError> {
        let text = std::fs::read(path).map_err(|error| ZoneError::unreadable(path, &error))?;
        master::load(&text, Some(path), origin)
    }

    /// The name of the zone.
    #[must_use]
    pub const fn origin(&self) -> &NameBuf {
        &self.origin
    }

    /// How many records it has.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.records
    }

    /// The node of a name in lower-case wire format. There is one for empty non-terminals too.
    pub(crate) fn node(&self, lower: &[u8]) -> Option<&Node> {
        self.nodes.get(lower)
    }

    /// The start of authority, which every zone has.
    pub(crate) fn soa(&self) -> &RrSet {
        let apex = self.nodes.get(self.origin.as_wire()).and_then(|node| node.rrset(RecordType::SOA));
        apex.expect("a zone without a SOA is not built")
    }

    fn new(origin: &NameBuf) -> Self {
        Self { origin: origin.to_lower(), nodes: HashMap::default(), records: 0 }
    }

    /// Adds a record. A set has one TTL: the lowest that was given (RFC 2181 §5.2). A duplicate is dropped.
    fn add(
        &mut self,
        owner: &NameBuf,
        rtype: RecordType,
        ttl: u32,
        rdata: Box<[u8]>,
    ) -> Result<(), ZoneProblem> {
        if !owner.is_within(&self.origin) {
            return Err(ZoneProblem::OutOfZone { owner: owner.clone(), origin: self.origin.clone() });
        }
        if self.records >= ZONE_RECORDS_MAX {
            return Err(ZoneProblem::TooMany);
        }
        let lower = owner.to_lower();
        let known = self.nodes.contains_key(lower.as_wire());
        let node = self.nodes.entry(lower.as_wire().into()).or_default();
        let alias = |rtype| rtype == RecordType::CNAME;
        // RFC 1034 §3.6.2, and RFC 4035 §2.5 for what DNSSEC puts beside.
        let beside = |rtype| matches!(rtype, RecordType::RRSIG | RecordType::NSEC);
        if node
            .rrsets
            .iter()
            .any(|other| alias(other.rtype) != alias(rtype) && !beside(other.rtype) && !beside(rtype))
        {
            return Err(ZoneProblem::CnameAndOther { owner: owner.clone() });
        }
        match node.rrsets.iter_mut().find(|rrset| rrset.rtype == rtype) {
            Some(rrset) if rrset.rdata.contains(&rdata) => return Ok(()),
            Some(_) if alias(rtype) || rtype == RecordType::SOA => {
                return Err(ZoneProblem::Several { owner: owner.clone(), rtype });
            }
            Some(rrset) => {
                rrset.ttl = rrset.ttl.min(ttl);
                rrset.rdata.push(rdata);
            }
            None => node.rrsets.push(RrSet { owner: owner.clone(), rtype, ttl, rdata: vec![rdata] }),
        }
        self.records += 1;
        if !known {
            self.add_empty_non_terminals(&lower);
        }
        Ok(())
    }

    /// The names between a new one and the next that is known (RFC 4592 §2.2.2).
    fn add_empty_non_terminals(&mut self, lower: &NameBuf) {
        let mut name = lower.clone();
        while let Some(parent) = name.parent().filter(|parent| parent.is_within(&self.origin)) {
            match self.nodes.entry(parent.as_wire().into()) {
                Entry::Occupied(_) => return,
                Entry::Vacant(entry) => entry.insert(Node::default()),
            };
            name = parent;
        }
    }

    fn finish(self) -> Result<Self, ZoneProblem> {
        let apex = self.nodes.get(self.origin.as_wire());
        match apex.and_then(|node| node.rrset(RecordType::SOA)) {
            None => Err(ZoneProblem::NoSoa { origin: self.origin.clone() }),
            Some(_) if apex.is_some_and(|node| node.rrset(RecordType::NS).is_none()) => {
                Err(ZoneProblem::NoNs { origin: self.origin.clone() })
            }
            Some(_) => Ok(self),
        }
    }
}
