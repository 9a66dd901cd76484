//! Names whose records somebody else chooses: the GeoDNS hook.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::zone::{RECORD_HEAD, write_head};
use crate::{Query, RecordType, Timestamp};

/// Where we know the client's block from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnedFrom {
    /// The resolver told it (RFC 7871).
    ClientSubnet,
    /// It is the address that the packet came from: the resolver's, or a client's without one.
    Address,
}

/// The block in which the client lives, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientBlock {
    /// Address and prefix length, host bits zero.
    pub block: (IpAddr, u8),
    /// Who told.
    pub learned: LearnedFrom,
}

impl ClientBlock {
    /// The block that a query tells, or the address it came from. A subnet of length zero says "do not look at the
    /// client" (RFC 7871 §7.1.2): then the resolver's own address counts.
    #[inline]
    pub(super) fn of(query: &Query<'_>, client: IpAddr) -> Self {
        match query.client_subnet.filter(|subnet| subnet.block().1 > 0) {
            Some(subnet) => Self { block: subnet.block(), learned: LearnedFrom::ClientSubnet },
            None => {
                let client = client.to_canonical();
                let length = if client.is_ipv4() { 32 } else { 128 };
                Self { block: (client, length), learned: LearnedFrom::Address }
            }
        }
    }
}

/// Whether an address lies in a block, address and prefix length. IPv4 inside IPv6 counts as IPv4.
pub(super) fn is_in_block(client: IpAddr, (address, length): (IpAddr, u8)) -> bool {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (32, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    let ((width, one), (of, two)) = (bits(client), bits(address));
    width == of && (one ^ two).checked_shr(128 - u32::from(length.min(width))).unwrap_or(0) == 0
}

/// What a hook is asked.
#[derive(Clone, Copy, Debug)]
pub struct DynamicQuery<'a> {
    /// The name in lower case, uncompressed wire format.
    pub lower_wire: &'a [u8],
    /// The type.
    pub qtype: RecordType,
    /// Who asks.
    pub client: ClientBlock,
    /// When.
    pub now: Timestamp,
}

/// What a hook answers. Its records are compiled when it is made, so a hook makes its answers beforehand and clones
/// one for each query: a clone is a reference count.
///
/// ```
/// use pop_dns::DynamicAnswer;
///
/// let frankfurt = DynamicAnswer::addresses(["192.0.2.1".parse()?, "2001:db8::1".parse()?], 30, 0);
/// let for_a_client = frankfurt.clone().with_scope(24);
/// assert_eq!((for_a_client.ttl, for_a_client.scope), (30, 24));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DynamicAnswer {
    sets: Arc<[DynamicSet]>,
    /// Seconds.
    pub ttl: u32,
    /// The prefix length for which this very answer is right; 0 if for everybody.
    pub scope: u8,
}

/// The records of one type, as an answer carries them.
#[derive(Debug)]
pub(super) struct DynamicSet {
    pub(super) rtype: RecordType,
    pub(super) count: u16,
    records: Box<[u8]>,
}

impl DynamicAnswer {
    /// All records of the name: types, and RDATA in uncompressed wire format. Those of the type asked for are sent; none
    /// of them means NODATA.
    #[must_use]
    pub fn new<R: AsRef<[u8]>>(
        records: impl IntoIterator<Item = (RecordType, R)>,
        ttl: u32,
        scope: u8,
    ) -> Self {
        let mut sets: Vec<(RecordType, u16, Vec<u8>)> = Vec::new();
        for (rtype, rdata) in records {
            let index = sets.iter().position(|set| set.0 == rtype).unwrap_or_else(|| {
                sets.push((rtype, 0, Vec::new()));
                sets.len() - 1
            });
            let (_, count, records) = &mut sets[index];
            *count = count.saturating_add(1);
            write_head(records, rtype, ttl, rdata.as_ref().len());
            records.extend_from_slice(rdata.as_ref());
        }
        let compile =
            |(rtype, count, records): (_, _, Vec<u8>)| DynamicSet { rtype, count, records: records.into() };
        Self { sets: sets.into_iter().map(compile).collect(), ttl, scope }
    }

    /// Addresses, as A and AAAA records.
    #[must_use]
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>, ttl: u32, scope: u8) -> Self {
        let mut octets = Vec::new();
        for address in addresses {
            octets.push(match address {
                IpAddr::V4(address) => (RecordType::A, address.octets().to_vec()),
                IpAddr::V6(address) => (RecordType::AAAA, address.octets().to_vec()),
            });
        }
        Self::new(octets, ttl, scope)
    }

    /// The same records, right for another scope.
    #[must_use]
    pub fn with_scope(self, scope: u8) -> Self {
        Self { scope, ..self }
    }

    /// The same records for another time, in seconds.
    #[must_use]
    pub fn with_ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    /// The types of its records.
    pub fn types(&self) -> impl Iterator<Item = RecordType> {
        self.sets.iter().map(|set| set.rtype)
    }

    #[inline]
    pub(super) fn set(&self, rtype: RecordType) -> Option<&DynamicSet> {
        self.sets.iter().find(|set| set.rtype == rtype)
    }

    pub(super) fn first(&self) -> Option<&DynamicSet> {
        self.sets.first()
    }
}

impl DynamicSet {
    /// The records as an answer carries them, with the TTL that they were compiled with.
    #[inline]
    pub(super) const fn records(&self) -> &[u8] {
        &self.records
    }

    /// Their RDATA.
    pub(super) fn rdata(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.records;
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<RECORD_HEAD>()?;
            let (rdata, tail) = tail.split_at(usize::from(u16::from_be_bytes([head[10], head[11]])));
            rest = tail;
            Some(rdata)
        })
    }
}

/// Writes the TTL of this answer into records that were copied.
#[inline]
pub(super) fn patch_ttl(records: &mut [u8], ttl: u32) {
    let mut rest = records;
    while let Some((head, tail)) = rest.split_first_chunk_mut::<RECORD_HEAD>() {
        head[6..10].copy_from_slice(&ttl.to_be_bytes());
        let rdata = usize::from(u16::from_be_bytes([head[10], head[11]]));
        let Some(next) = tail.get_mut(rdata..) else { return };
        rest = next;
    }
}

type Choose = dyn Fn(&DynamicQuery<'_>) -> DynamicAnswer + Send + Sync;

/// A closure that chooses.
#[derive(Clone)]
pub(super) struct Hook(pub(super) Arc<Choose>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
