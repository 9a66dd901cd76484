//! What an incremental transfer changes (RFC 1995 §4), summed up over all its steps.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;

use super::TransferError;
use crate::zone::{Zone, ZoneBuilder};
use crate::{NameBuf, RawRData, Record, RecordType};

/// Records that the steps of one incremental transfer may name. For more, the whole zone is cheaper.
pub const CHANGES_MAX: usize = 1 << 20;

/// What makes two records one: owner, type, and RDATA in canonical form.
type Identity = (NameBuf, RecordType, Box<[u8]>);

/// From one serial to another, in the end.
#[derive(Clone, Debug)]
pub struct Changes {
    from: u32,
    to: u32,
    owners: HashSet<NameBuf, RandomState>,
    records: HashMap<Identity, Change, RandomState>,
    /// Records named, each step counted.
    named: usize,
}

#[derive(Clone, Debug)]
struct Change {
    /// The first step deletes it, so it has to be there.
    was_there: bool,
    /// TTL and RDATA, if the last step leaves it there.
    now: Option<(u32, Box<[u8]>)>,
}

impl Changes {
    pub(super) fn new(from: u32, to: u32) -> Self {
        Self { from, to, owners: HashSet::default(), records: HashMap::default(), named: 0 }
    }

    /// The serial of the zone that they change, and the one of what it becomes.
    #[must_use]
    pub const fn serials(&self) -> (u32, u32) {
        (self.from, self.to)
    }

    /// How many records they change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether they change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn delete(&mut self, record: &Record<'_>) -> Result<(), TransferError> {
        let identity = self.name(record)?;
        let change = self.records.entry(identity).or_insert(Change { was_there: true, now: None });
        change.now = None;
        Ok(())
    }

    pub(super) fn add(&mut self, record: &Record<'_>) -> Result<(), TransferError> {
        let identity = self.name(record)?;
        let mut rdata = Vec::new();
        record.raw_rdata().write_uncompressed(&mut rdata)?;
        let change = self.records.entry(identity).or_insert(Change { was_there: false, now: None });
        change.now = Some((record.ttl, rdata.into()));
        Ok(())
    }

    fn name(&mut self, record: &Record<'_>) -> Result<Identity, TransferError> {
        self.named += 1;
        if self.named > CHANGES_MAX {
            return Err(TransferError::TooManyChanges);
        }
        let owner = record.name.to_name_buf()?.to_lower();
        if !self.owners.contains(&owner) {
            self.owners.insert(owner.clone());
        }
        Ok((owner, record.rtype, canonical(record.raw_rdata())?))
    }

    /// The zone as it is after them. Costs a walk over the zone.
    ///
    /// # Errors
    /// [`TransferError::Mismatch`] if they were made for another zone, and [`TransferError::Zone`] if the result is no
    /// zone.
    pub fn apply(&self, zone: &Zone) -> Result<Zone, TransferError> {
        if zone.serial() != self.from {
            return Err(TransferError::Mismatch);
        }
        let mut builder = ZoneBuilder::new(zone.origin());
        let mut there = 0;
        for record in zone.iter() {
            let rdata = RawRData::new(record.rtype, record.rdata);
            let owner = record.owner.to_name_buf()?;
            if self.owners.contains(&owner)
                && let Some(change) = self.records.get(&(owner, record.rtype, canonical(rdata)?))
            {
                there += usize::from(change.was_there);
                continue;
            }
            builder.add(record.owner, record.ttl, rdata)?;
        }
        if there != self.records.values().filter(|change| change.was_there).count() {
            return Err(TransferError::Mismatch);
        }
        for ((owner, rtype, _), change) in &self.records {
            if let Some((ttl, rdata)) = &change.now {
                builder.add(owner.as_name(), *ttl, RawRData::new(*rtype, rdata))?;
            }
        }
        let changed = builder.finish()?;
        if changed.serial() == self.to { Ok(changed) } else { Err(TransferError::Mismatch) }
    }
}

fn canonical(rdata: RawRData<'_>) -> Result<Box<[u8]>, TransferError> {
    let mut wire = Vec::new();
    rdata.write_canonical(&mut wire)?;
    Ok(wire.into())
}
