//! What changed between two versions of a zone (RFC 1995 §2).

use super::{Zone, ZoneRecord};
use crate::{Name, NameBuf, RecordType};

/// A record of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    owner: NameBuf,
    rtype: RecordType,
    ttl: u32,
    rdata: Box<[u8]>,
}

impl Owned {
    fn of(record: &ZoneRecord<'_>) -> Self {
        // Names of a zone are uncompressed.
        let owner = record.owner.to_name_buf().unwrap_or_else(|_| NameBuf::root());
        Self { owner, rtype: record.rtype, ttl: record.ttl, rdata: record.rdata.into() }
    }

    fn borrow(&self) -> ZoneRecord<'_> {
        let owner: Name<'_> = self.owner.as_name();
        ZoneRecord { owner, rtype: self.rtype, ttl: self.ttl, rdata: &self.rdata }
    }
}

/// The records that went and the records that came, the SOA of either version first.
#[derive(Debug)]
pub(crate) struct ZoneChange {
    /// The serial before.
    pub(crate) from: u32,
    /// The serial after.
    pub(crate) to: u32,
    removed: Vec<Owned>,
    added: Vec<Owned>,
}

impl ZoneChange {
    /// Compares two versions. Costs a look-up for each record of either.
    pub(crate) fn between(old: &Zone, new: &Zone) -> Self {
        let soa = |zone: &Zone| {
            zone.iter().find(|record| record.rtype == RecordType::SOA).map(|soa| Owned::of(&soa))
        };
        let missing = |zone: &Zone, other: &Zone| {
            let gone = zone.iter().filter(|record| record.rtype != RecordType::SOA && !other.holds(record));
            soa(zone).into_iter().chain(gone.map(|record| Owned::of(&record))).collect()
        };
        Self { from: old.serial(), to: new.serial(), removed: missing(old, new), added: missing(new, old) }
    }

    /// How many records it moves.
    pub(crate) fn len(&self) -> usize {
        self.removed.len() + self.added.len()
    }

    /// Old SOA, what went, new SOA, what came.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = ZoneRecord<'_>> {
        self.removed.iter().chain(&self.added).map(Owned::borrow)
    }
}
