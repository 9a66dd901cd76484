//! Dynamic update (RFC 2136), as far as it is pure: a message and a zone in, a zone out. Who may change what, and where
//! the new zone goes, is the caller's to decide.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::respond::Asker;
use crate::zone::{Zone, ZoneBuilder};
use crate::{Class, Message, Name, NameBuf, ParseError, RData, RawRData, Rcode, Record, RecordType, Section};

/// Prerequisites and updates of one message that are looked at.
pub const UPDATE_RECORDS_MAX: usize = 1024;

/// A request to change a zone.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    message: Message<'a>,
    zone: &'a Arc<Zone>,
    client: IpAddr,
    key: Option<&'a NameBuf>,
}

type Decide = dyn Fn(&Update<'_>) -> Rcode + Send + Sync;

/// A closure that decides about updates.
#[derive(Clone)]
pub(super) struct Updates(pub(super) Arc<Decide>);

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Updates")
    }
}

impl fmt::Debug for Update<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").field("zone", self.zone.origin()).field("client", &self.client).finish()
    }
}

/// A record while a zone is being changed.
type Entry = (NameBuf, RecordType, u32, Vec<u8>);

impl<'a> Update<'a> {
    pub(super) const fn new(message: Message<'a>, zone: &'a Arc<Zone>, asker: &Asker<'a>) -> Self {
        Self { message, zone, client: asker.client, key: asker.key }
    }

    /// The zone to be changed, as it is.
    #[must_use]
    pub const fn zone(&self) -> &'a Arc<Zone> {
        self.zone
    }

    /// Where the request came from.
    #[must_use]
    pub const fn client(&self) -> IpAddr {
        self.client
    }

    /// The key that it is signed with, if [`Authority::keys`](crate::Authority::keys) has it.
    #[must_use]
    pub const fn key(&self) -> Option<&'a NameBuf> {
        self.key
    }

    /// The whole message, less a TSIG record that was checked.
    #[must_use]
    pub const fn message(&self) -> Message<'a> {
        self.message
    }

    /// The zone with the update made, and a higher serial if the update did not give one. Costs a walk over the zone.
    ///
    /// # Errors
    /// The response code that RFC 2136 §3 asks for: a prerequisite that does not hold, a name outside the zone, a
    /// malformed record; the zone stays as it is.
    pub fn apply(&self) -> Result<Zone, Rcode> {
        self.check_prerequisites()?;
        let mut entries: Vec<Entry> = Vec::with_capacity(self.zone.records());
        for record in self.zone.iter() {
            let owner = record.owner.to_name_buf().map_err(|_| Rcode::SERVFAIL)?;
            entries.push((owner, record.rtype, record.ttl, record.rdata.to_vec()));
        }
        let before = self.zone.serial();
        for record in self.records(Section::Authority)? {
            self.change(&mut entries, &record?)?;
        }
        let origin = self.zone.origin();
        let soa = entries.iter_mut().find(|entry| entry.1 == RecordType::SOA).ok_or(Rcode::SERVFAIL)?;
        bump(&mut soa.3, before);
        let mut builder = ZoneBuilder::new(origin);
        for (owner, rtype, ttl, rdata) in &entries {
            let added = builder.add(owner.as_name(), *ttl, RawRData::new(*rtype, rdata));
            added.map_err(|_| Rcode::REFUSED)?;
        }
        builder.finish().map_err(|_| Rcode::REFUSED)
    }

    /// RFC 2136 §3.2.
    fn check_prerequisites(&self) -> Result<(), Rcode> {
        // Sets that have to be as given: the records seen, and the sets they belong to.
        let mut exact: Vec<Entry> = Vec::new();
        for record in self.records(Section::Answer)? {
            let record = record?;
            let owner = self.inside(record.name)?;
            let any = record.rtype == RecordType::ANY;
            let here = |entry: &crate::zone::ZoneRecord<'_>| {
                entry.owner == owner.as_name() && (any || entry.rtype == record.rtype)
            };
            let present = || self.zone.iter().any(|entry| here(&entry));
            if record.ttl != 0 {
                return Err(Rcode::FORMERR);
            }
            match record.class {
                Class::ANY | Class::NONE if !record.rdata_octets().is_empty() => return Err(Rcode::FORMERR),
                Class::ANY if !present() => return Err(if any { Rcode::NXDOMAIN } else { Rcode::NXRRSET }),
                Class::NONE if present() => return Err(if any { Rcode::YXDOMAIN } else { Rcode::YXRRSET }),
                Class::ANY | Class::NONE => {}
                Class::IN => exact.push((owner, record.rtype, 0, plain(&record)?)),
                _ => return Err(Rcode::FORMERR),
            }
        }
        let key = |entry: &Entry| (entry.0.clone(), entry.1);
        exact.sort_by(|one, two| key(one).cmp(&key(two)).then_with(|| one.3.cmp(&two.3)));
        exact.dedup();
        for set in exact.chunk_by(|one, two| key(one) == key(two)) {
            let (owner, rtype) = key(&set[0]);
            let stored =
                self.zone.iter().filter(|entry| entry.owner == owner.as_name() && entry.rtype == rtype);
            let mut stored: Vec<&[u8]> = stored.map(|entry| entry.rdata).collect();
            stored.sort_unstable();
            if !stored.into_iter().eq(set.iter().map(|entry| &entry.3[..])) {
                return Err(Rcode::NXRRSET);
            }
        }
        Ok(())
    }

    /// RFC 2136 §3.4.2.
    fn change(&self, entries: &mut Vec<Entry>, record: &Record<'_>) -> Result<(), Rcode> {
        let owner = self.inside(record.name)?;
        let apex = owner == *self.zone.origin();
        let kept = |rtype| apex && matches!(rtype, RecordType::SOA | RecordType::NS);
        let pseudo = record.rtype.is_pseudo();
        match record.class {
            Class::ANY if record.ttl == 0 && record.rdata_octets().is_empty() => {
                let any = record.rtype == RecordType::ANY;
                if pseudo && !any {
                    return Err(Rcode::FORMERR);
                }
                entries.retain(|entry| entry.0 != owner || kept(entry.1) || !any && entry.1 != record.rtype);
            }
            Class::NONE if record.ttl == 0 && !pseudo => {
                let rdata = plain(record)?;
                let of_set = |entry: &Entry| entry.0 == owner && entry.1 == record.rtype;
                // The last name server and the SOA stay.
                let last = apex
                    && record.rtype == RecordType::NS
                    && entries.iter().filter(|e| of_set(e)).count() == 1;
                if record.rtype != RecordType::SOA && !last {
                    entries.retain(|entry| !of_set(entry) || entry.3 != rdata);
                }
            }
            Class::IN if !pseudo => add(entries, owner, record, apex)?,
            _ => return Err(Rcode::FORMERR),
        }
        Ok(())
    }

    fn records(
        &self,
        section: Section,
    ) -> Result<impl Iterator<Item = Result<Record<'a>, Rcode>> + use<'a>, Rcode> {
        if usize::from(self.message.header().counts[section as usize]) > UPDATE_RECORDS_MAX {
            return Err(Rcode::REFUSED);
        }
        let records = self.message.section(section).map_err(|_| Rcode::FORMERR)?;
        Ok(records.map(|record| record.map_err(|_: ParseError| Rcode::FORMERR)))
    }

    fn inside(&self, name: Name<'_>) -> Result<NameBuf, Rcode> {
        let name = name.to_name_buf().map_err(|_| Rcode::FORMERR)?.to_lower();
        if name.is_within(self.zone.origin()) { Ok(name) } else { Err(Rcode::NOTZONE) }
    }
}

/// Adds a record (§3.4.2.2): a CNAME and other data do not replace each other, a SOA only an older one.
fn add(entries: &mut Vec<Entry>, owner: NameBuf, record: &Record<'_>, apex: bool) -> Result<(), Rcode> {
    let rdata = plain(record)?;
    let alias = record.rtype == RecordType::CNAME;
    let beside = |rtype| matches!(rtype, RecordType::RRSIG | RecordType::NSEC);
    let clash = entries.iter().any(|entry| {
        entry.0 == owner
            && !beside(entry.1)
            && !beside(record.rtype)
            && (entry.1 == RecordType::CNAME) != alias
    });
    if clash {
        return Ok(());
    }
    let single = matches!(record.rtype, RecordType::CNAME | RecordType::SOA | RecordType::DNAME);
    let there = entries
        .iter_mut()
        .find(|entry| entry.0 == owner && entry.1 == record.rtype && (single || entry.3 == rdata));
    match there {
        Some(entry) if record.rtype == RecordType::SOA => {
            if super::transfer::is_newer(serial(&rdata), serial(&entry.3)) {
                (entry.2, entry.3) = (record.ttl, rdata);
            }
        }
        Some(entry) => (entry.2, entry.3) = (record.ttl, rdata),
        None if record.rtype == RecordType::SOA && !apex => {}
        None => entries.push((owner, record.rtype, record.ttl, rdata)),
    }
    Ok(())
}

fn plain(record: &Record<'_>) -> Result<Vec<u8>, Rcode> {
    let mut rdata = Vec::new();
    record.raw_rdata().write_uncompressed(&mut rdata).map_err(|_| Rcode::FORMERR)?;
    RData::parse(record.rtype, &rdata, 0).map_err(|_| Rcode::FORMERR)?;
    if rdata.is_empty() { Err(Rcode::FORMERR) } else { Ok(rdata) }
}

/// The serial of a SOA: the first of the five numbers that end it.
fn serial(soa: &[u8]) -> u32 {
    soa.last_chunk::<20>().map_or(0, |n| u32::from_be_bytes([n[0], n[1], n[2], n[3]]))
}

/// RFC 2136 §3.6: the serial goes up.
fn bump(soa: &mut [u8], before: u32) {
    if !super::transfer::is_newer(serial(soa), before)
        && let Some(numbers) = soa.last_chunk_mut::<20>()
    {
        // 0 is skipped, as some secondaries take it for "never".
        let next = before.wrapping_add(1).max(1);
        numbers[..4].copy_from_slice(&next.to_be_bytes());
    }
}
