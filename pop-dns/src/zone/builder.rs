//! Zones from records, however they come: from a master file, a transfer, a program.

use std::collections::HashMap;

use ahash::RandomState;

use super::arena::{NodeFlags, Stored, storing_order, write_node};
use super::table::{Table, hash_key};
use super::{Parts, ZONE_RECORDS_MAX, Zone, ZoneProblem};
use crate::name::LowerName;
use crate::rdata::RData;
use crate::{Name, NameBuf, RawRData, RecordType};

/// No node, no record.
const NONE: u32 = u32::MAX;
/// A record: the next of its name, type, octets of RDATA, TTL, and where the RDATA lie.
#[derive(Debug)]
struct RawRecord {
    next: u32,
    ttl: u32,
    at: u32,
    octets: u16,
    rtype: RecordType,
}

/// A name while the zone grows.
#[derive(Debug)]
struct RawNode {
    hash: u64,
    name: u32,
    parent: u32,
    first: u32,
    last: u32,
    octets: u8,
    flags: NodeFlags,
    /// What stands here: a CNAME, or something that no CNAME stands beside.
    has_alias: bool,
    has_other: bool,
    has_name_servers: bool,
}

/// Makes a [`Zone`] from records in any order.
///
/// ```
/// use pop_dns::zone::ZoneBuilder;
/// use pop_dns::{NameBuf, RawRData, RecordType};
///
/// let origin: NameBuf = "example.org".parse()?;
/// let mut builder = ZoneBuilder::new(&origin);
/// let soa = b"\x02ns\x07example\x03org\x00\x04host\x07example\x03org\x00\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
/// builder.add(origin.as_name(), 300, RawRData::new(RecordType::SOA, soa))?;
/// builder.add(origin.as_name(), 300, RawRData::new(RecordType::NS, b"\x02ns\x07example\x03org\x00"))?;
/// assert_eq!(builder.finish()?.records(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ZoneBuilder {
    origin: NameBuf,
    origin_labels: usize,
    /// Node numbers plus one by hash, open addressing; a power of two.
    slots: Vec<u32>,
    nodes: Vec<RawNode>,
    names: Vec<u8>,
    records: Vec<RawRecord>,
    rdata: Vec<u8>,
    /// Records of which a name has one: by node and type.
    single: HashMap<(u32, RecordType), u32, RandomState>,
}

impl ZoneBuilder {
    /// An empty zone of this name.
    #[must_use]
    pub fn new(origin: &NameBuf) -> Self {
        let origin = origin.to_lower();
        let mut builder = Self {
            origin_labels: origin.labels().count(),
            origin,
            slots: vec![0; 64],
            nodes: Vec::new(),
            names: Vec::new(),
            records: Vec::new(),
            rdata: Vec::new(),
            single: HashMap::default(),
        };
        let origin = builder.lower(builder.origin.as_wire());
        let apex = builder.node(&origin);
        builder.nodes[apex as usize].flags = NodeFlags(NodeFlags::APEX);
        builder
    }

    /// The name of the zone, in lower case.
    #[must_use]
    pub const fn origin(&self) -> &NameBuf {
        &self.origin
    }

    /// Adds a record of class IN. Owner and RDATA may stand in a message, compressed. A set has one TTL, the lowest
    /// that was given (RFC 2181 §5.2); a duplicate counts once.
    ///
    /// # Errors
    /// [`ZoneProblem`] for a name outside the zone, a CNAME beside other data, a second SOA, RDATA that do not hold what
    /// the type says. The zone is as it was before.
    pub fn add(&mut self, owner: Name<'_>, ttl: u32, rdata: RawRData<'_>) -> Result<(), ZoneProblem> {
        let mut wire = [0; crate::NAME_OCTETS_MAX];
        let octets = owner.write_wire(&mut wire).map_err(ZoneProblem::Malformed)?;
        let mut plain = Vec::with_capacity(64);
        rdata.write_uncompressed(&mut plain).map_err(ZoneProblem::Malformed)?;
        RData::parse(rdata.rtype(), &plain, 0).map_err(ZoneProblem::Malformed)?;
        self.add_wire(&wire[..octets], rdata.rtype(), ttl, &plain)
    }

    /// Adds a record whose owner and RDATA are known to be well-formed and uncompressed.
    pub(super) fn add_wire(
        &mut self,
        owner: &[u8],
        rtype: RecordType,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), ZoneProblem> {
        let node = self.node_of(owner)?;
        let full = self.records.len() >= ZONE_RECORDS_MAX || self.rdata.len() + rdata.len() > NONE as usize;
        let octets = u16::try_from(rdata.len()).map_err(|_| ZoneProblem::TooMany)?;
        if full {
            return Err(ZoneProblem::TooMany);
        }
        if !self.fits(node, rtype, rdata)? {
            return Ok(());
        }
        let number = self.records.len() as u32;
        if matches!(rtype, RecordType::SOA | RecordType::CNAME | RecordType::DNAME) {
            self.single.insert((node, rtype), number);
        }
        let raw = &mut self.nodes[node as usize];
        // RFC 1034 §3.6.2, and RFC 4035 §2.5 for what DNSSEC puts beside an alias.
        match rtype {
            RecordType::CNAME => raw.has_alias = true,
            RecordType::RRSIG | RecordType::NSEC => {}
            _ => raw.has_other = true,
        }
        raw.has_name_servers |= rtype == RecordType::NS;
        raw.flags.0 |= match rtype {
            RecordType::DNAME => NodeFlags::DNAME,
            RecordType::CNAME => NodeFlags::ALIAS,
            _ => 0,
        };
        let last = std::mem::replace(&mut raw.last, number);
        match self.records.get_mut(last as usize) {
            Some(last) => last.next = number,
            None => raw.first = number,
        }
        let at = self.rdata.len() as u32;
        self.rdata.extend_from_slice(rdata);
        self.records.push(RawRecord { next: NONE, ttl, at, octets, rtype });
        Ok(())
    }

    /// Whether a record may stand at a node; false for one that stands there already, as far as that matters now.
    fn fits(&self, node: u32, rtype: RecordType, rdata: &[u8]) -> Result<bool, ZoneProblem> {
        let raw = &self.nodes[node as usize];
        if let Some(&other) = self.single.get(&(node, rtype)) {
            let other = &self.records[other as usize];
            return if self.rdata_of(other) == rdata {
                Ok(false)
            } else {
                Err(ZoneProblem::Several { owner: self.owner(node), rtype })
            };
        }
        let clash = match rtype {
            RecordType::CNAME => raw.has_other,
            RecordType::RRSIG | RecordType::NSEC => false,
            _ => raw.has_alias,
        };
        if clash {
            return Err(ZoneProblem::CnameAndOther { owner: self.owner(node) });
        }
        Ok(true)
    }

    fn rdata_of(&self, record: &RawRecord) -> &[u8] {
        &self.rdata[record.at as usize..][..usize::from(record.octets)]
    }

    fn name_of(&self, node: &RawNode) -> &[u8] {
        &self.names[node.name as usize..][..usize::from(node.octets)]
    }

    fn owner(&self, node: u32) -> NameBuf {
        NameBuf::from_checked(self.name_of(&self.nodes[node as usize]).into())
    }

    fn lower(&self, wire: &[u8]) -> LowerName {
        // What comes here is a name in wire format; the root stands for what is not, and lies outside most zones.
        LowerName::parse(wire, 0).map_or(LowerName::ROOT, |(name, _)| name)
    }

    /// The node of a name within the zone.
    fn node_of(&mut self, owner: &[u8]) -> Result<u32, ZoneProblem> {
        // Records of one owner come one after the other.
        if let Some(last) = self.records.last().map(|_| self.nodes.len() - 1)
            && self.name_of(&self.nodes[last]) == owner
        {
            return Ok(last as u32);
        }
        let name = self.lower(owner);
        let within =
            name.labels() >= self.origin_labels && name.suffix(self.origin_labels) == self.origin.as_wire();
        if !within {
            let owner = NameBuf::from_checked(owner.into());
            return Err(ZoneProblem::OutOfZone { owner, origin: self.origin.clone() });
        }
        Ok(self.node(&name))
    }

    /// The node of a name; made if it is not there, with those between it and the next that is (RFC 4592 §2.2.2).
    fn node(&mut self, name: &LowerName) -> u32 {
        let key = hash_key();
        let mut hashes = [0; crate::LABELS_MAX + 1];
        let labels = name.labels();
        let mut hash = key.root();
        for index in (0..labels).rev() {
            hash = key.child(hash, name, index);
            hashes[index] = hash;
        }
        hashes[labels] = key.root();
        if let Some(node) = self.find(hashes[0], name.as_wire()) {
            return node;
        }
        let node = self.insert(hashes[0], name.as_wire());
        let mut child = node;
        let above = labels.saturating_sub(self.origin_labels);
        for (index, &hash) in hashes.iter().enumerate().take(above + 1).skip(1) {
            let suffix = name.suffix(labels - index);
            let known = self.find(hash, suffix);
            let parent = known.unwrap_or_else(|| self.insert(hash, suffix));
            self.nodes[child as usize].parent = parent;
            if name.as_wire()[name.start(index - 1)..].starts_with(b"\x01*") {
                self.nodes[parent as usize].flags.0 |= NodeFlags::WILDCARD_BELOW;
            }
            if known.is_some() {
                break;
            }
            child = parent;
        }
        node
    }

    fn find(&self, hash: u64, name: &[u8]) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let number = self.slots[index].checked_sub(1)?;
            let node = &self.nodes[number as usize];
            if node.hash == hash && self.name_of(node) == name {
                return Some(number);
            }
            index = (index + 1) & mask;
        }
    }

    fn insert(&mut self, hash: u64, name: &[u8]) -> u32 {
        if (self.nodes.len() + 1) * 2 > self.slots.len() {
            self.slots = vec![0; self.slots.len() * 2];
            for number in 0..self.nodes.len() {
                self.place(self.nodes[number].hash, number as u32);
            }
        }
        let number = self.nodes.len() as u32;
        self.place(hash, number);
        self.nodes.push(RawNode {
            hash,
            name: self.names.len() as u32,
            parent: NONE,
            first: NONE,
            last: NONE,
            octets: name.len() as u8,
            flags: NodeFlags::default(),
            has_alias: false,
            has_other: false,
            has_name_servers: false,
        });
        self.names.extend_from_slice(name);
        number
    }

    fn place(&mut self, hash: u64, number: u32) {
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        while self.slots[index] != 0 {
            index = (index + 1) & mask;
        }
        self.slots[index] = number + 1;
    }

    /// The zone.
    ///
    /// # Errors
    /// [`ZoneProblem`] where the SOA or the name servers are missing, a set is larger than any message, or the zone
    /// larger than 4 GiB.
    pub fn finish(mut self) -> Result<Zone, ZoneProblem> {
        self.slots = Vec::new();
        let apex = &self.nodes[0];
        if !self.single.contains_key(&(0, RecordType::SOA)) {
            return Err(ZoneProblem::NoSoa { origin: self.origin });
        }
        if !apex.has_name_servers {
            return Err(ZoneProblem::NoNs { origin: self.origin });
        }
        self.single = HashMap::default();
        let mut table = Table::new(self.nodes.len());
        let sizes = self.names.len() + self.rdata.len() + 16 * self.nodes.len() + 12 * self.records.len();
        // Offset 0 means nowhere.
        let mut arena = Vec::with_capacity(sizes + 1);
        arena.push(0);
        let mut stored: Vec<Stored<'_>> = Vec::new();
        let mut records = 0;
        for node in &self.nodes {
            let at = u32::try_from(arena.len()).map_err(|_| ZoneProblem::TooMany)?;
            stored.clear();
            let mut next = node.first;
            while let Some(record) = self.records.get(next as usize) {
                stored.push((record.rtype, record.ttl, self.rdata_of(record)));
                next = record.next;
            }
            stored.sort_unstable_by(storing_order);
            // What differs in its TTL alone is one record; the set gets the lowest.
            stored.dedup_by(|two, one| {
                let same = one.0 == two.0 && one.2 == two.2;
                if same {
                    one.1 = one.1.min(two.1);
                }
                same
            });
            records += stored.len();
            let flags = self.final_flags(node, &stored);
            write_node(&mut arena, flags, self.name_of(node), &stored)?;
            table.insert(node.hash, at);
        }
        arena.shrink_to_fit();
        let nodes = self.nodes.len();
        let (origin, labels) = (self.origin, self.origin_labels);
        Zone::from_parts(Parts { origin, labels, table, arena: arena.into(), records, nodes })
    }

    /// The flags that depend on what stands above, and on all that stands here.
    fn final_flags(&self, node: &RawNode, stored: &[Stored<'_>]) -> NodeFlags {
        let mut flags = node.flags;
        if node.has_name_servers && !flags.has(NodeFlags::APEX) {
            flags.0 |= NodeFlags::CUT;
        }
        let hashed = |record: &Stored<'_>| match record.0 {
            RecordType::NSEC3 => true,
            RecordType::RRSIG => record.2.starts_with(&RecordType::NSEC3.0.to_be_bytes()),
            _ => false,
        };
        if !stored.is_empty() && stored.iter().all(hashed) {
            flags.0 |= NodeFlags::HASHED;
        }
        let mut parent = node.parent;
        while let Some(above) = self.nodes.get(parent as usize) {
            let cut = above.has_name_servers && !above.flags.has(NodeFlags::APEX);
            if cut || above.flags.has(NodeFlags::DNAME) {
                flags.0 |= NodeFlags::OCCLUDED;
                break;
            }
            parent = above.parent;
        }
        flags
    }
}
