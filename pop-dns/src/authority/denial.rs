//! Proofs of absence, for whoever wants DNSSEC and in a zone that has them.

use super::reply::Reply;
use crate::name::LowerName;
use crate::zone::{Denial, Node, Nsec3, Zone, next_closer};
use crate::{NAME_OCTETS_MAX, RecordType, Section};

/// Records of a proof: three at most (RFC 5155 §7.2.2).
const PROOF_MAX: usize = 3;

/// The records of one proof, each once.
struct Proof<'z> {
    nodes: [Option<Node<'z>>; PROOF_MAX],
}

impl<'z> Proof<'z> {
    fn of(nodes: [Option<Node<'z>>; PROOF_MAX]) -> Self {
        Self { nodes }
    }

    fn write(self, rtype: RecordType, reply: &mut Reply<'_, '_>) {
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let again = self.nodes[..index].iter().flatten().any(|other| other.name() == node.name());
            if let Some(set) = node.rrset(rtype).filter(|_| !again) {
                reply.set(Section::Authority, node.name(), &set);
            }
        }
    }
}

/// `*` before the name of a node.
fn wildcard_of(encloser: &Node<'_>, buffer: &mut [u8; NAME_OCTETS_MAX]) -> usize {
    let octets = (encloser.name().len() + 2).min(NAME_OCTETS_MAX);
    buffer[..2].copy_from_slice(b"\x01*");
    buffer[2..octets].copy_from_slice(&encloser.name()[..octets - 2]);
    octets
}

/// The name is not there, nor is a wildcard that covers it.
pub(super) fn no_name(zone: &Zone, name: &LowerName, encloser: &Node<'_>, reply: &mut Reply<'_, '_>) {
    if !reply.signed {
        return;
    }
    let mut wildcard = [0; NAME_OCTETS_MAX];
    let octets = wildcard_of(encloser, &mut wildcard);
    let wildcard = &wildcard[..octets];
    match zone.denial() {
        Denial::None => {}
        Denial::Nsec(order) => {
            let [name, wildcard] = [name.as_wire(), wildcard].map(|name| zone.nsec_at_or_before(order, name));
            Proof::of([name, wildcard, None]).write(RecordType::NSEC, reply);
        }
        Denial::Nsec3(nsec3) => {
            let [encloser, next] = enclosed(zone, nsec3, name, encloser);
            let wildcard = nsec3.find(zone, wildcard).map(either);
            Proof::of([encloser, next, wildcard]).write(RecordType::NSEC3, reply);
        }
    }
}

/// The name is there, the type is not.
pub(super) fn no_type(zone: &Zone, name: &LowerName, node: &Node<'_>, reply: &mut Reply<'_, '_>) {
    if !reply.signed {
        return;
    }
    match zone.denial() {
        Denial::None => {}
        // An empty non-terminal has no NSEC: then the one before it shows that something stands below (RFC 4035 §3.1.3.1).
        Denial::Nsec(order) => {
            Proof::of([zone.nsec_at_or_before(order, node.name()), None, None])
                .write(RecordType::NSEC, reply);
        }
        Denial::Nsec3(nsec3) => by_hash(zone, nsec3, name, node.name(), reply),
    }
}

/// The name is made by a wildcard that has no such type.
pub(super) fn no_type_by_wildcard(
    zone: &Zone,
    name: &LowerName,
    source: &Node<'_>,
    encloser: &Node<'_>,
    reply: &mut Reply<'_, '_>,
) {
    if !reply.signed {
        return;
    }
    match zone.denial() {
        Denial::None => {}
        Denial::Nsec(order) => {
            let [name, source] =
                [name.as_wire(), source.name()].map(|name| zone.nsec_at_or_before(order, name));
            Proof::of([name, source, None]).write(RecordType::NSEC, reply);
        }
        Denial::Nsec3(nsec3) => {
            let [encloser, next] = enclosed(zone, nsec3, name, encloser);
            let source = nsec3.find(zone, source.name()).map(either);
            Proof::of([encloser, next, source]).write(RecordType::NSEC3, reply);
        }
    }
}

/// The answer is made by a wildcard: nothing closer is there (RFC 4035 §3.1.3.3, RFC 5155 §7.2.6).
pub(super) fn no_closer_name(zone: &Zone, name: &LowerName, encloser: &Node<'_>, reply: &mut Reply<'_, '_>) {
    if !reply.signed {
        return;
    }
    match zone.denial() {
        Denial::None => {}
        Denial::Nsec(order) => {
            let node = zone.nsec_at_or_before(order, name.as_wire());
            Proof::of([node, None, None]).write(RecordType::NSEC, reply);
        }
        Denial::Nsec3(nsec3) => {
            let node = nsec3.find(zone, next_closer(name, encloser)).map(either);
            Proof::of([node, None, None]).write(RecordType::NSEC3, reply);
        }
    }
}

/// The child is not signed (RFC 4035 §3.1.4, RFC 5155 §7.2.7).
pub(super) fn no_delegation_signer(zone: &Zone, cut: &Node<'_>, reply: &mut Reply<'_, '_>) {
    match zone.denial() {
        Denial::None => {}
        Denial::Nsec(order) => {
            Proof::of([zone.nsec_at_or_before(order, cut.name()), None, None]).write(RecordType::NSEC, reply);
        }
        Denial::Nsec3(nsec3) => {
            if let Ok((name, _)) = LowerName::parse(cut.name(), 0) {
                by_hash(zone, nsec3, &name, cut.name(), reply);
            }
        }
    }
}

/// The NSEC3 of a name that is there or, where opt-out left it out, the closest encloser that has one and the record
/// that covers what is next to it (RFC 5155 §7.2.4, §7.2.7).
fn by_hash(zone: &Zone, nsec3: &Nsec3, name: &LowerName, exact: &[u8], reply: &mut Reply<'_, '_>) {
    if let Some(Ok(node)) = nsec3.find(zone, exact) {
        return Proof::of([Some(node), None, None]).write(RecordType::NSEC3, reply);
    }
    for labels in (zone.labels()..name.labels()).rev() {
        if let Some(Ok(encloser)) = nsec3.find(zone, name.suffix(labels)) {
            let next = nsec3.find(zone, name.suffix(labels + 1)).map(either);
            return Proof::of([Some(encloser), next, None]).write(RecordType::NSEC3, reply);
        }
    }
}

/// The closest encloser is there, and the next closer name is not (RFC 5155 §7.2.1).
fn enclosed<'z>(
    zone: &'z Zone,
    nsec3: &Nsec3,
    name: &LowerName,
    encloser: &Node<'_>,
) -> [Option<Node<'z>>; 2] {
    let matching = nsec3.find(zone, encloser.name()).map(either);
    [matching, nsec3.find(zone, next_closer(name, encloser)).map(either)]
}

fn either<T>(found: Result<T, T>) -> T {
    match found {
        Ok(found) | Err(found) => found,
    }
}
