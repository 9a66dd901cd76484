//! Zones: what a server is authoritative for.

mod arena;
mod builder;
mod change;
mod denial;
mod error;
mod lexer;
mod master;
mod negative;
mod sha1;
mod table;

pub use arena::ZoneRecord;
pub(crate) use arena::{Node, NodeFlags, RECORD_HEAD, RrSet, write_head};
pub use builder::ZoneBuilder;
pub(crate) use change::ZoneChange;
pub use denial::NSEC3_ITERATIONS_MAX;
pub(crate) use denial::{Denial, Nsec3, next_closer};
pub use error::{ZoneError, ZoneProblem};
pub(crate) use negative::{NegativeTemplate, negative_ttl};
pub(crate) use table::{hash_key, hash_suffix};

use std::fmt;

use self::table::Table;
use crate::name::LowerName;
use crate::{HashKey, NameBuf, RecordType};

/// Records in a zone file, `$INCLUDE`d ones and what `$GENERATE` makes counted in.
pub const ZONE_RECORDS_MAX: usize = 50_000_000;

/// A zone: every name below its origin, with the records that stand there. Immutable once loaded; a changed file
/// makes a new one, which replaces the old one whole.
///
/// Memory: a name costs its octets and 14, a set of records of one type 10, a record 12 and its RDATA; a signed zone 4
/// more for each name. Owners are kept in lower case (RFC 4343 §2 compares them so); answers repeat the case of the
/// question. Each look-up costs a hash over the name and one comparison, whatever the number of names.
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
pub struct Zone {
    origin: NameBuf,
    labels: usize,
    hash: u64,
    table: Table,
    arena: Box<[u8]>,
    /// Where the apex lies.
    apex: usize,
    negative: NegativeTemplate,
    denial: Denial,
    records: usize,
    nodes: usize,
}

/// What a builder hands over.
struct Parts {
    origin: NameBuf,
    labels: usize,
    table: Table,
    arena: Box<[u8]>,
    records: usize,
    nodes: usize,
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

    fn from_parts(parts: Parts) -> Result<Self, ZoneProblem> {
        let Parts { origin, labels, table, arena, records, nodes } = parts;
        let (name, _) = LowerName::parse(origin.as_wire(), 0).map_err(ZoneProblem::Malformed)?;
        let hash = hash_suffix(&name, labels);
        // The apex is the first that a builder makes, right behind the octet that keeps offset 0 free.
        let apex = 1;
        let no_soa = || ZoneProblem::NoSoa { origin: origin.clone() };
        let soa = Node::new(&arena, apex).rrset(RecordType::SOA).ok_or_else(no_soa)?;
        let negative = NegativeTemplate::new(&origin, &soa);
        let denial = Denial::None;
        let mut zone = Self { negative, denial, origin, labels, hash, table, arena, apex, records, nodes };
        zone.denial = Denial::of(&zone)?;
        Ok(zone)
    }

    /// The name of the zone, in lower case.
    #[must_use]
    pub const fn origin(&self) -> &NameBuf {
        &self.origin
    }

    /// How many records it has.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.records
    }

    /// The serial of its SOA.
    #[must_use]
    pub fn serial(&self) -> u32 {
        let rdata = self.soa().rdata().next().unwrap_or_default();
        // The serial is the first of the five numbers that end a SOA.
        rdata
            .last_chunk::<20>()
            .map_or(0, |numbers| u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]))
    }

    /// Octets of memory that it occupies.
    #[must_use]
    pub fn memory_octets(&self) -> usize {
        size_of::<Self>()
            + self.origin.as_wire().len()
            + self.table.memory_octets()
            + self.arena.len()
            + self.denial.memory_octets()
    }

    /// All records, name after name; those of the zone's own name come first.
    pub fn iter(&self) -> impl Iterator<Item = ZoneRecord<'_>> {
        self.nodes().flat_map(|node| node.records())
    }

    /// All names in canonical order. Costs a sort.
    #[cfg(feature = "dnssec")]
    pub(crate) fn canonical(&self) -> Vec<Node<'_>> {
        let mut nodes: Vec<_> = self.nodes().collect();
        nodes.sort_by(|one, two| crate::name::canonical_order(one.name(), two.name()));
        nodes
    }

    /// Whether a record is there, its TTL included.
    pub(crate) fn holds(&self, record: &ZoneRecord<'_>) -> bool {
        let wire = record.owner.as_wire().unwrap_or_default();
        let Ok((name, _)) = LowerName::parse(wire, 0) else { return false };
        let node = self.node(hash_suffix(&name, name.labels()), name.as_wire());
        node.is_some_and(|node| {
            node.records().any(|other| {
                (other.rtype, other.ttl, other.rdata) == (record.rtype, record.ttl, record.rdata)
            })
        })
    }

    /// The node at an offset, 0 for the first, and the offset of the next; `None` behind the last.
    pub(crate) fn node_from(&self, at: usize) -> Option<(Node<'_>, usize)> {
        let at = at.max(self.apex);
        (at < self.arena.len()).then(|| {
            let node = Node::new(&self.arena, at);
            (node, node.end())
        })
    }

    /// All names, the apex first.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        let mut at = self.apex;
        (0..self.nodes).map(move |_| {
            let node = Node::new(&self.arena, at);
            at = node.end();
            node
        })
    }

    /// The node at an offset of the arena.
    #[inline]
    fn at(&self, at: u32) -> Node<'_> {
        Node::new(&self.arena, at as usize)
    }

    /// What proves absence here.
    pub(crate) const fn denial(&self) -> &Denial {
        &self.denial
    }

    /// Whether the zone can answer those who want DNSSEC.
    #[inline]
    pub(crate) const fn is_signed(&self) -> bool {
        !matches!(self.denial, Denial::None)
    }

    /// How many labels its name has.
    #[inline]
    pub(crate) const fn labels(&self) -> usize {
        self.labels
    }

    /// The node of a name in lower-case wire format, by its hash. There is one for empty non-terminals too.
    #[inline]
    pub(crate) fn node(&self, hash: u64, lower: &[u8]) -> Option<Node<'_>> {
        let at = self.table.find(hash, |at| Node::new(&self.arena, at).name() == lower)?;
        Some(Node::new(&self.arena, at))
    }

    /// Where a name with this hash probably lies.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn glance(&self, hash: u64) -> usize {
        self.table.glance(hash)
    }

    /// An octet of the node there.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn touch(&self, at: usize) -> u8 {
        self.arena[at]
    }

    /// The node of the zone's own name.
    #[inline]
    pub(crate) fn apex(&self) -> Node<'_> {
        Node::new(&self.arena, self.apex)
    }

    /// The start of authority, which every zone has.
    pub(crate) fn soa(&self) -> RrSet<'_> {
        self.apex().rrset(RecordType::SOA).expect("a zone without a SOA is not built")
    }

    /// The SOA for negative answers.
    #[inline]
    pub(crate) const fn negative(&self) -> &NegativeTemplate {
        &self.negative
    }

    /// What stands at a name in this zone, or above it (RFC 1034 §4.3.2 step 3). `hash` is the name's.
    pub(crate) fn find<'z>(&'z self, name: &LowerName, hash: u64) -> Found<'z> {
        if let Some(node) = self.node(hash, name.as_wire()) {
            let flags = node.flags();
            if !flags.has(NodeFlags::CUT | NodeFlags::OCCLUDED | NodeFlags::HASHED) {
                return Found::Node(node);
            }
            if flags.has(NodeFlags::CUT) && !flags.has(NodeFlags::OCCLUDED) {
                return Found::Delegation(node);
            }
        }
        self.descend(hash_key(), name)
    }

    /// Walks from the apex down towards a name that is not there, or not ours.
    fn descend<'z>(&'z self, key: &HashKey, name: &LowerName) -> Found<'z> {
        let (mut encloser, mut hash) = (self.apex(), self.hash);
        for index in (0..name.labels() - self.labels).rev() {
            let flags = encloser.flags();
            // RFC 6672 §2.4: a DNAME above the name, its own owner left out.
            if flags.has(NodeFlags::DNAME) {
                return Found::Dname(encloser);
            }
            let below = key.child(hash, name, index);
            let suffix = name.suffix(name.labels() - index);
            match self.node(below, suffix).filter(|node| !node.flags().has(NodeFlags::HASHED)) {
                Some(node) if node.flags().has(NodeFlags::CUT) => return Found::Delegation(node),
                Some(node) => (encloser, hash) = (node, below),
                None => {
                    let source = flags.has(NodeFlags::WILDCARD_BELOW).then(|| self.wildcard(hash, &encloser));
                    return source
                        .flatten()
                        .map_or(Found::Nothing(encloser), |source| Found::Wildcard { source, encloser });
                }
            }
        }
        Found::Node(encloser)
    }

    /// The child `*` of a node: the source of synthesis (RFC 4592 §3.3.1).
    fn wildcard(&self, hash: u64, encloser: &Node<'_>) -> Option<Node<'_>> {
        let mut wire = [0; crate::NAME_OCTETS_MAX];
        let slot = wire.get_mut(..encloser.name().len() + 2)?;
        slot[..2].copy_from_slice(b"\x01*");
        slot[2..].copy_from_slice(encloser.name());
        let (name, _) = LowerName::parse(slot, 0).ok()?;
        self.node(hash_key().child(hash, &name, 0), slot)
    }
}

/// What stands at a name, or above it.
pub(crate) enum Found<'z> {
    /// The name itself; perhaps empty.
    Node(Node<'z>),
    /// The wildcard that covers it, and the name below which the wildcard stands.
    Wildcard {
        /// The wildcard.
        source: Node<'z>,
        /// Its parent.
        encloser: Node<'z>,
    },
    /// The zone ends at this node, which is the name or above it.
    Delegation(Node<'z>),
    /// Everything below this node is elsewhere.
    Dname(Node<'z>),
    /// Nothing; the lowest name above it that is there.
    Nothing(Node<'z>),
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zone")
            .field("origin", &self.origin)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}
