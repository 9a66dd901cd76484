//! Answers from a zone (RFC 1034 §4.3.2), built record by record.

use super::dynamic::{DynamicAnswer, DynamicSet};
use super::reply::Reply;
use crate::name::LowerName;
use crate::zone::{Found, Node, RrSet, Zone, hash_suffix, negative_ttl};
use crate::{NAME_OCTETS_MAX, Rcode, RecordType, Section};

/// Aliases followed within one answer; a longer chain is left to the resolver.
const ALIASES_MAX: usize = 8;
/// `RFC8482` and an empty string, which answers ANY (RFC 8482 §4.2).
const HINFO_RFC_8482: &[u8] = b"\x07RFC8482\x00";
/// How long that holds, seconds.
const HINFO_TTL: u32 = 3600;
/// Octets of SVCB RDATA before the target.
const SVCB_HEAD: usize = 2;

/// Answers for `name` and whatever it is an alias of. `found` is what stands at the name.
pub(super) fn from_zone<'z>(
    zone: &'z Zone,
    name: &LowerName,
    found: Found<'z>,
    reply: &mut Reply<'_, '_>,
) -> Rcode {
    let mut tail = Tail { wildcard: None, named: None };
    let rcode = follow(zone, name, found, &mut tail, reply);
    if let Some((name, encloser)) = &tail.wildcard {
        super::denial::no_closer_name(zone, name, encloser, reply);
    }
    if let Some(set) = &tail.named {
        additional(zone, set, reply);
    }
    rcode
}

/// What has to wait until the answer section is complete.
struct Tail<'z> {
    /// A name that a wildcard made, and the wildcard's parent: the proof that nothing is closer.
    wildcard: Option<(LowerName, Node<'z>)>,
    /// A set that names hosts: their addresses.
    named: Option<RrSet<'z>>,
}

fn follow<'z>(
    zone: &'z Zone,
    name: &LowerName,
    found: Found<'z>,
    tail: &mut Tail<'z>,
    reply: &mut Reply<'_, '_>,
) -> Rcode {
    let (mut name, mut found) = (*name, found);
    for followed in 0..ALIASES_MAX {
        let target = match found {
            Found::Delegation(cut) => return delegation(zone, &name, &cut, followed, reply),
            Found::Nothing(encloser) => {
                reply.authoritative();
                negative(zone, reply);
                super::denial::no_name(zone, &name, &encloser, reply);
                return Rcode::NXDOMAIN;
            }
            Found::Node(node) => {
                reply.authoritative();
                match positive(&node, &name, tail, reply) {
                    Positive::Alias(target) => target,
                    Positive::Answered => return Rcode::NOERROR,
                    Positive::NoData => {
                        negative(zone, reply);
                        super::denial::no_type(zone, &name, &node, reply);
                        return Rcode::NOERROR;
                    }
                }
            }
            Found::Wildcard { source, encloser } => {
                reply.authoritative();
                // One proof is kept for the end; a second wildcard on the way is the resolver's to ask for.
                if tail.wildcard.is_some() && reply.signed {
                    return Rcode::NOERROR;
                }
                match positive(&source, &name, tail, reply) {
                    Positive::NoData => {
                        negative(zone, reply);
                        super::denial::no_type_by_wildcard(zone, &name, &source, &encloser, reply);
                        return Rcode::NOERROR;
                    }
                    Positive::Answered => {
                        tail.wildcard = Some((name, encloser));
                        return Rcode::NOERROR;
                    }
                    Positive::Alias(target) => {
                        tail.wildcard = Some((name, encloser));
                        target
                    }
                }
            }
            Found::Dname(dname) => {
                reply.authoritative();
                match synthesize(&dname, &name, reply) {
                    Some(target) => target,
                    None => return Rcode::YXDOMAIN,
                }
            }
        };
        name = target;
        if !is_in(zone, &name) {
            return Rcode::NOERROR;
        }
        let whole = hash_suffix(&name, name.labels());
        found = zone.find(&name, whole);
    }
    Rcode::NOERROR
}

/// Answers with what a hook chose, of which `set` has to be sent: the type asked for, or an alias.
pub(super) fn chosen(
    zone: &Zone,
    chosen: &DynamicAnswer,
    set: Option<&DynamicSet>,
    reply: &mut Reply<'_, '_>,
) -> Rcode {
    reply.authoritative();
    let Some(set) = set else {
        negative(zone, reply);
        return Rcode::NOERROR;
    };
    let owner = *reply.query.lower();
    reply.required(Section::Answer, owner.as_wire(), set.rtype, chosen.ttl, set.rdata());
    if set.rtype != RecordType::CNAME || reply.query.qtype == RecordType::CNAME {
        return Rcode::NOERROR;
    }
    let target = set.rdata().next().and_then(|target| LowerName::parse(target, 0).ok());
    let Some((target, _)) = target.filter(|(target, _)| is_in(zone, target)) else { return Rcode::NOERROR };
    let hash = hash_suffix(&target, target.labels());
    from_zone(zone, &target, zone.find(&target, hash), reply)
}

/// Whether a name lies in a zone.
fn is_in(zone: &Zone, name: &LowerName) -> bool {
    let labels = zone.labels();
    name.labels() >= labels && name.suffix(labels) == zone.origin().as_wire()
}

/// What a node had to say.
#[allow(
    clippy::large_enum_variant,
    reason = "lives on the stack for a moment; a box would be an allocation a query"
)]
enum Positive {
    Answered,
    NoData,
    Alias(LowerName),
}

/// Writes what the node has of the type asked for.
fn positive<'z>(
    node: &Node<'z>,
    name: &LowerName,
    tail: &mut Tail<'z>,
    reply: &mut Reply<'_, '_>,
) -> Positive {
    let qtype = reply.query.qtype;
    if qtype == RecordType::ANY && !node.is_empty() {
        any(node, name, reply);
        return Positive::Answered;
    }
    if qtype == RecordType::RRSIG {
        let mut any = false;
        for set in node.rrsets().filter(|set| set.signature_count > 0) {
            any = true;
            let ttl = set.signature_ttl();
            reply.required(Section::Answer, name.as_wire(), RecordType::RRSIG, ttl, set.signatures());
        }
        return if any { Positive::Answered } else { Positive::NoData };
    }
    if let Some(set) = node.rrset(qtype).filter(|set| set.count > 0) {
        reply.set(Section::Answer, name.as_wire(), &set);
        tail.named = Some(set);
        return Positive::Answered;
    }
    let Some(alias) = node.rrset(RecordType::CNAME).filter(|set| set.count > 0) else {
        return Positive::NoData;
    };
    reply.set(Section::Answer, name.as_wire(), &alias);
    match alias.rdata().next().map(|target| LowerName::parse(target, 0)) {
        Some(Ok((target, _))) => Positive::Alias(target),
        _ => Positive::Answered,
    }
}

/// RFC 8482: one small record instead of everything. A signed name answers with one of its signed sets (§4.1), since
/// what is made up has no signature.
fn any(node: &Node<'_>, name: &LowerName, reply: &mut Reply<'_, '_>) {
    let signed = node.rrsets().find(|set| set.count > 0 && set.signature_count > 0);
    match signed.filter(|_| reply.signed) {
        Some(set) => reply.set(Section::Answer, name.as_wire(), &set),
        None => {
            let hinfo = RecordType::HINFO;
            reply.required(Section::Answer, name.as_wire(), hinfo, HINFO_TTL, [HINFO_RFC_8482]);
        }
    }
}

/// No such name, or no such type: the SOA tells how long that may be kept (RFC 2308 §3).
pub(super) fn negative(zone: &Zone, reply: &mut Reply<'_, '_>) {
    let soa = zone.soa();
    reply.set_for(Section::Authority, zone.origin().as_wire(), &soa, negative_ttl(&soa));
}

/// A referral, or what the parent knows of the child itself: its DS set (RFC 4035 §3.1.4.1).
fn delegation(
    zone: &Zone,
    name: &LowerName,
    cut: &Node<'_>,
    followed: usize,
    reply: &mut Reply<'_, '_>,
) -> Rcode {
    if reply.query.qtype == RecordType::DS && cut.name() == name.as_wire() {
        reply.authoritative();
        match cut.rrset(RecordType::DS).filter(|set| set.count > 0) {
            Some(set) => reply.set(Section::Answer, name.as_wire(), &set),
            None => {
                negative(zone, reply);
                super::denial::no_type(zone, name, cut, reply);
            }
        }
        return Rcode::NOERROR;
    }
    // An alias that leads below a cut is the resolver's to follow.
    if followed == 0 {
        refer(zone, cut, reply);
    }
    Rcode::NOERROR
}

/// The servers of the child, its DS set or the proof that there is none, and addresses where only we can know them.
fn refer(zone: &Zone, cut: &Node<'_>, reply: &mut Reply<'_, '_>) {
    let Some(servers) = cut.rrset(RecordType::NS) else { return };
    reply.required(Section::Authority, cut.name(), RecordType::NS, servers.ttl(), servers.rdata());
    if reply.signed && zone.is_signed() {
        match cut.rrset(RecordType::DS).filter(|set| set.count > 0) {
            Some(set) => reply.set(Section::Authority, cut.name(), &set),
            None => super::denial::no_delegation_signer(zone, cut, reply),
        }
    }
    // RFC 9471: glue inside the child is no courtesy, without it nobody gets there. So it comes first.
    for inside in [true, false] {
        for server in servers.rdata() {
            let Some(host) = host(zone, server) else { continue };
            if ends_in(host.name(), cut.name()) != inside {
                continue;
            }
            for set in addresses(&host) {
                if inside {
                    reply.required(Section::Additional, server, set.rtype, set.ttl(), set.rdata());
                } else {
                    reply.optional(server, &set);
                }
            }
        }
    }
}

/// Addresses of the hosts that an answer names.
fn additional(zone: &Zone, set: &RrSet<'_>, reply: &mut Reply<'_, '_>) {
    let skip = match set.rtype {
        RecordType::NS => 0,
        RecordType::MX => 2,
        RecordType::SRV => 6,
        RecordType::SVCB | RecordType::HTTPS => SVCB_HEAD,
        _ => return,
    };
    for rdata in set.rdata() {
        let Some(target) = rdata.get(skip..).and_then(|rest| LowerName::parse(rest, 0).ok()) else {
            continue;
        };
        let (target, octets) = target;
        let Some(host) = host(zone, target.as_wire()) else { continue };
        let spelled = &rdata[skip..skip + octets];
        addresses(&host).for_each(|set| reply.optional(spelled, &set));
    }
}

/// The node of a host within the zone, glue included.
fn host<'z>(zone: &'z Zone, wire: &[u8]) -> Option<Node<'z>> {
    let (name, _) = LowerName::parse(wire, 0).ok()?;
    if !is_in(zone, &name) {
        return None;
    }
    zone.node(hash_suffix(&name, name.labels()), name.as_wire())
}

fn addresses<'z>(host: &Node<'z>) -> impl Iterator<Item = RrSet<'z>> + use<'z> {
    host.rrsets().filter(|set| set.count > 0 && matches!(set.rtype, RecordType::A | RecordType::AAAA))
}

/// The DNAME, and the CNAME that it makes for this name; `None` where the new name would be too long, which is
/// YXDOMAIN (RFC 6672 §2.2).
fn synthesize(node: &Node<'_>, name: &LowerName, reply: &mut Reply<'_, '_>) -> Option<LowerName> {
    let dname = node.rrset(RecordType::DNAME)?;
    reply.set(Section::Answer, node.name(), &dname);
    let target = dname.rdata().next()?;
    let kept = name.as_wire().len() - node.name().len();
    let mut made = [0; NAME_OCTETS_MAX];
    let made = made.get_mut(..kept + target.len())?;
    made[..kept].copy_from_slice(&name.as_wire()[..kept]);
    made[kept..].copy_from_slice(target);
    reply.required(Section::Answer, name.as_wire(), RecordType::CNAME, dname.ttl(), [&made[..]]);
    LowerName::parse(made, 0).ok().map(|(target, _)| target)
}

/// Whether a lower-case name lies within another.
fn ends_in(name: &[u8], zone: &[u8]) -> bool {
    let Some(skip) = name.len().checked_sub(zone.len()) else { return false };
    let mut position = 0;
    while position < skip {
        position += usize::from(name[position]) + 1;
    }
    position == skip && name[skip..] == *zone
}
