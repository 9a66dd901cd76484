//! Names whose records somebody else chooses: the GeoDNS hook.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::Reply;
use super::answer::negative;
use crate::zone::Zone;
use crate::{Query, Rcode, RecordType, Timestamp};

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

/// What a hook answers. The clone of an answer that was made beforehand is a reference count.
#[derive(Clone, Debug)]
pub struct DynamicAnswer {
    /// All records of the name, by type with RDATA in uncompressed wire format; those of the type asked for are
    /// sent, none of them means NODATA.
    pub records: Arc<[(RecordType, Box<[u8]>)]>,
    /// Seconds.
    pub ttl: u32,
    /// The prefix length for which this very answer is right; 0 if for everybody.
    pub scope: u8,
}

impl DynamicAnswer {
    /// Addresses, as A and AAAA records.
    #[must_use]
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>, ttl: u32, scope: u8) -> Self {
        let record = |address| match address {
            IpAddr::V4(address) => (RecordType::A, Box::from(address.octets())),
            IpAddr::V6(address) => (RecordType::AAAA, Box::from(address.octets())),
        };
        Self { records: addresses.into_iter().map(record).collect(), ttl, scope }
    }
}

/// A closure that chooses.
#[derive(Clone)]
pub(super) struct Hook(pub(super) Arc<dyn Fn(&DynamicQuery<'_>) -> DynamicAnswer + Send + Sync>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

pub(super) fn answer(
    hook: &Hook,
    zone: &Zone,
    query: &Query<'_>,
    client: IpAddr,
    now: Timestamp,
    reply: &mut Reply,
) -> Rcode {
    // A subnet of length zero says "do not look at the client" (RFC 7871 §7.1.2): then the resolver's own counts.
    let told = query.client_subnet.filter(|subnet| subnet.block().1 > 0);
    let client = match told {
        Some(subnet) => ClientBlock { block: subnet.block(), learned: LearnedFrom::ClientSubnet },
        None => {
            let client = client.to_canonical();
            let length = if client.is_ipv4() { 32 } else { 128 };
            ClientBlock { block: (client, length), learned: LearnedFrom::Address }
        }
    };
    let chosen = hook.0(&DynamicQuery { lower_wire: query.lower_wire(), qtype: query.qtype, client, now });
    reply.authoritative();
    if told.is_some() {
        reply.scope(chosen.scope);
    }
    let mut rdata = chosen
        .records
        .iter()
        .filter(|(rtype, _)| *rtype == query.qtype || query.qtype == RecordType::ANY)
        .peekable();
    if rdata.peek().is_none() {
        negative(zone, reply);
        return Rcode::NOERROR;
    }
    if query.qtype == RecordType::ANY {
        // RFC 8482 §4.1: one set is answer enough.
        let first = rdata.peek().map_or(query.qtype, |(rtype, _)| *rtype);
        let of_first = rdata.filter(|(rtype, _)| *rtype == first).map(|(_, rdata)| &**rdata);
        reply.answer(query.lower_wire(), first, chosen.ttl, of_first);
    } else {
        reply.answer(query.lower_wire(), query.qtype, chosen.ttl, rdata.map(|(_, rdata)| &**rdata));
    }
    Rcode::NOERROR
}
