//! Answers from a zone (RFC 1034 §4.3.2).

use super::Reply;
use crate::zone::{Node, RrSet, Zone};
use crate::{Query, Rcode, RecordType, Section};

/// Aliases followed within one answer; a longer chain is left to the resolver.
const ALIASES_MAX: usize = 8;
/// HINFO, which answers ANY (RFC 8482 §4.2).
const HINFO: RecordType = RecordType(13);
/// `RFC8482` and an empty string.
const HINFO_RFC_8482: &[u8] = b"\x07RFC8482\x00";

/// What stands at a name, or above it.
enum Found<'z> {
    /// The name itself, or the wildcard that covers it.
    Node(&'z Node),
    /// The zone ends above the name.
    Delegation(&'z RrSet),
    /// Everything below this name is elsewhere (RFC 6672).
    Dname(&'z RrSet),
    /// Nothing.
    Nothing,
}

pub(super) fn from_zone(zone: &Zone, query: &Query<'_>, reply: &mut Reply) -> Rcode {
    let mut name = query.lower_wire().to_vec();
    for _ in 0..ALIASES_MAX {
        let target = match find(zone, &name) {
            Found::Delegation(servers) => {
                if name == query.lower_wire() {
                    refer(zone, servers, reply);
                }
                return Rcode::NOERROR;
            }
            Found::Nothing => {
                reply.authoritative();
                negative(zone, reply);
                return Rcode::NXDOMAIN;
            }
            Found::Node(node) => {
                reply.authoritative();
                let Some(alias) = positive(zone, node, &name, query.qtype, reply) else {
                    return Rcode::NOERROR;
                };
                alias.to_vec()
            }
            Found::Dname(dname) => {
                reply.authoritative();
                let Some(target) = synthesize(dname, &name, reply) else { return Rcode(6) };
                target
            }
        };
        name = target.to_ascii_lowercase();
        if !ends_in(&name, zone.origin().as_wire()) {
            return Rcode::NOERROR;
        }
    }
    Rcode::NOERROR
}

/// Walks from the apex down to the name.
fn find<'z>(zone: &'z Zone, name: &[u8]) -> Found<'z> {
    let apex = name.len() - zone.origin().as_wire().len();
    // Where the labels begin, the leftmost first.
    let mut starts = Vec::with_capacity(8);
    let mut position = 0;
    while position < apex {
        starts.push(position);
        position += usize::from(name[position]) + 1;
    }
    let mut encloser = apex;
    for &start in starts.iter().rev() {
        // RFC 6672 §2.4: a DNAME above the name, its own owner left out.
        if let Some(dname) = zone.node(&name[encloser..]).and_then(|node| node.rrset(RecordType::DNAME)) {
            return Found::Dname(dname);
        }
        let Some(node) = zone.node(&name[start..]) else { return wildcard(zone, &name[encloser..]) };
        if let Some(servers) = node.rrset(RecordType::NS) {
            return Found::Delegation(servers);
        }
        encloser = start;
    }
    zone.node(name).map_or(Found::Nothing, Found::Node)
}

/// The source of synthesis below the closest encloser (RFC 4592 §3.3.1).
fn wildcard<'z>(zone: &'z Zone, encloser: &[u8]) -> Found<'z> {
    let mut source = [0; crate::NAME_OCTETS_MAX];
    let Some(slot) = source.get_mut(..encloser.len() + 2) else { return Found::Nothing };
    slot[..2].copy_from_slice(b"\x01*");
    slot[2..].copy_from_slice(encloser);
    zone.node(slot).map_or(Found::Nothing, Found::Node)
}

/// Writes what the node has of the type; the target of an alias that has to be followed.
fn positive<'z>(
    zone: &Zone,
    node: &'z Node,
    name: &[u8],
    qtype: RecordType,
    reply: &mut Reply,
) -> Option<&'z [u8]> {
    if qtype == RecordType::ANY && !node.rrsets.is_empty() {
        reply.answer(name, HINFO, 3600, [HINFO_RFC_8482]);
        return None;
    }
    if let Some(rrset) = node.rrset(qtype) {
        reply.answer(name, qtype, rrset.ttl, rrset.rdata());
        additional(zone, rrset, reply);
        return None;
    }
    if let Some(alias) = node.rrset(RecordType::CNAME) {
        reply.answer(name, RecordType::CNAME, alias.ttl, alias.rdata());
        return alias.rdata().next();
    }
    negative(zone, reply);
    None
}

/// No such name, or no such type: the SOA tells how long that may be kept (RFC 2308 §3).
pub(super) fn negative(zone: &Zone, reply: &mut Reply) {
    let soa = zone.soa();
    let rdata = soa.rdata().next().unwrap_or_default();
    let minimum = rdata.last_chunk::<4>().map_or(0, |octets| u32::from_be_bytes(*octets));
    reply.required(Section::Authority, soa.owner.as_wire(), RecordType::SOA, soa.ttl.min(minimum), [rdata]);
}

/// A referral: the servers of the child, and their addresses where only we can know them.
fn refer(zone: &Zone, servers: &RrSet, reply: &mut Reply) {
    reply.required(Section::Authority, servers.owner.as_wire(), RecordType::NS, servers.ttl, servers.rdata());
    for server in servers.rdata() {
        let lower = server.to_ascii_lowercase();
        let inside = ends_in(&lower, servers.owner.to_lower().as_wire());
        let Some(node) = zone.node(&lower).filter(|_| ends_in(&lower, zone.origin().as_wire())) else {
            continue;
        };
        for rrset in [RecordType::A, RecordType::AAAA].into_iter().filter_map(|rtype| node.rrset(rtype)) {
            // RFC 9471: glue inside the child is no courtesy; without it nobody gets there.
            if inside {
                reply.required(Section::Additional, server, rrset.rtype, rrset.ttl, rrset.rdata());
            } else {
                reply.optional(server, rrset.rtype, rrset.ttl, rrset.rdata());
            }
        }
    }
}

/// Addresses of the hosts that an answer names.
fn additional(zone: &Zone, rrset: &RrSet, reply: &mut Reply) {
    let skip = match rrset.rtype {
        RecordType::NS => 0,
        RecordType::MX => 2,
        RecordType::SRV => 6,
        _ => return,
    };
    for host in rrset.rdata().filter_map(|rdata| rdata.get(skip..)) {
        let lower = host.to_ascii_lowercase();
        let Some(node) = zone.node(&lower) else { continue };
        for found in [RecordType::A, RecordType::AAAA].into_iter().filter_map(|rtype| node.rrset(rtype)) {
            reply.optional(host, found.rtype, found.ttl, found.rdata());
        }
    }
}

/// The DNAME, and the CNAME that it makes for this name; `None` where the new name would be too long, which is
/// YXDOMAIN (RFC 6672 §2.2).
fn synthesize(dname: &RrSet, name: &[u8], reply: &mut Reply) -> Option<Vec<u8>> {
    reply.answer(dname.owner.as_wire(), RecordType::DNAME, dname.ttl, dname.rdata());
    let target = dname.rdata().next()?;
    let kept = &name[..name.len() - dname.owner.as_wire().len()];
    let made = [kept, target].concat();
    if made.len() > crate::NAME_OCTETS_MAX {
        return None;
    }
    reply.answer(name, RecordType::CNAME, dname.ttl, [&made[..]]);
    Some(made)
}

/// Whether a lower-case name lies within a lower-case zone.
fn ends_in(name: &[u8], zone: &[u8]) -> bool {
    let Some(skip) = name.len().checked_sub(zone.len()) else { return false };
    let mut position = 0;
    while position < skip {
        position += usize::from(name[position]) + 1;
    }
    position == skip && name[skip..] == *zone
}
