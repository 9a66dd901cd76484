//! Which NSEC or NSEC3 record proves that something is not there (RFC 4035 §3.1.3, RFC 5155 §7.2).

use super::arena::Node;
use super::sha1::sha1;
use super::{Zone, ZoneProblem};
use crate::name::{LowerName, canonical_order};
use crate::rdata::RData;
use crate::{NAME_OCTETS_MAX, RecordType};

/// Iterations of the NSEC3 hash: a zone with more is not loaded. RFC 9276 §3.1 asks for none at all; validators give up
/// between 50 and 150.
pub const NSEC3_ITERATIONS_MAX: u16 = 150;
/// Digits of a SHA-1 in base 32.
const HASH_DIGITS: usize = 32;

/// The records that deny, in an order that can be searched.
#[derive(Debug)]
pub(crate) enum Denial {
    /// The zone cannot prove absence.
    None,
    /// By name: where nodes with NSEC lie, in canonical order.
    Nsec(Box<[u32]>),
    /// By hash: where nodes with NSEC3 lie, in the order of their hashes.
    Nsec3(Nsec3),
}

/// NSEC3 with the parameters of the zone.
#[derive(Debug)]
pub(crate) struct Nsec3 {
    order: Box<[u32]>,
    iterations: u16,
    salt: Box<[u8]>,
}

impl Denial {
    /// Collects them from a zone that has all its nodes.
    pub(super) fn of(zone: &Zone) -> Result<Self, ZoneProblem> {
        if let Some(parameters) = zone.apex().rrset(RecordType::NSEC3PARAM) {
            return Nsec3::of(zone, parameters.rdata().next().unwrap_or_default());
        }
        if zone.apex().rrset(RecordType::NSEC).is_none() {
            return Ok(Self::None);
        }
        let mut order = Vec::new();
        for node in zone.nodes().filter(|node| node.rrset(RecordType::NSEC).is_some()) {
            order.push(node.offset() as u32);
        }
        // A signer writes them in order, which this sort makes use of.
        order.sort_by(|&one, &two| canonical_order(zone.at(one).name(), zone.at(two).name()));
        Ok(Self::Nsec(order.into()))
    }

    /// Octets that it occupies.
    pub(super) fn memory_octets(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Nsec(order) => size_of_val(&**order),
            Self::Nsec3(nsec3) => size_of_val(&*nsec3.order) + nsec3.salt.len(),
        }
    }
}

impl Zone {
    /// The node with an NSEC record for `name` or, if it has none, for the name before it.
    pub(crate) fn nsec_at_or_before<'z>(&'z self, order: &[u32], name: &[u8]) -> Option<Node<'z>> {
        let after = order.partition_point(|&at| canonical_order(self.at(at).name(), name).is_le());
        // The apex is before every name of its zone.
        order.get(after.checked_sub(1)?).map(|&at| self.at(at))
    }
}

impl Nsec3 {
    fn of(zone: &Zone, parameters: &[u8]) -> Result<Denial, ZoneProblem> {
        let RData::Nsec3Param(parameters) =
            RData::parse(RecordType::NSEC3PARAM, parameters, 0).map_err(ZoneProblem::Malformed)?
        else {
            return Ok(Denial::None);
        };
        if parameters.algorithm != 1 {
            return Ok(Denial::None);
        }
        if parameters.iterations > NSEC3_ITERATIONS_MAX {
            return Err(ZoneProblem::Expected("NSEC3 with at most 150 iterations (RFC 9276 asks for 0)"));
        }
        let mut order = Vec::new();
        for node in zone.nodes() {
            let of_this_chain = |rdata: &[u8]| match RData::parse(RecordType::NSEC3, rdata, 0) {
                Ok(RData::Nsec3(nsec3)) => {
                    (nsec3.algorithm, nsec3.iterations, nsec3.salt)
                        == (1, parameters.iterations, parameters.salt)
                }
                _ => false,
            };
            let set = node.rrset(RecordType::NSEC3);
            let hashed = usize::from(node.name()[0]) == HASH_DIGITS;
            if hashed && set.is_some_and(|set| set.rdata().any(of_this_chain)) {
                order.push(node.offset() as u32);
            }
        }
        order.sort_by(|&one, &two| zone.at(one).name().cmp(zone.at(two).name()));
        let salt = parameters.salt.into();
        Ok(Denial::Nsec3(Self { order: order.into(), iterations: parameters.iterations, salt }))
    }

    /// The NSEC3 record of `name`, `Ok`, or that of the hash before its own, `Err`.
    pub(crate) fn find<'z>(&self, zone: &'z Zone, name: &[u8]) -> Option<Result<Node<'z>, Node<'z>>> {
        let digits = self.digits(name);
        let before =
            self.order.partition_point(|&at| &zone.at(at).name()[1..=HASH_DIGITS] < digits.as_slice());
        if let Some(&at) = self.order.get(before)
            && zone.at(at).name()[1..=HASH_DIGITS] == digits
        {
            return Some(Ok(zone.at(at)));
        }
        // The last covers what lies before the first.
        let covering = before.checked_sub(1).map_or_else(|| self.order.last(), |index| self.order.get(index));
        covering.map(|&at| Err(zone.at(at)))
    }

    /// The hash of a name in base 32 with the extended hex alphabet (RFC 5155 §3.3, §5).
    fn digits(&self, lower: &[u8]) -> [u8; HASH_DIGITS] {
        debug_assert!(lower.len() <= NAME_OCTETS_MAX);
        let mut hash = sha1(&[lower, self.salt()]);
        for _ in 0..self.iterations {
            hash = sha1(&[&hash, self.salt()]);
        }
        let mut digits = [0; HASH_DIGITS];
        for (octets, digits) in hash.chunks_exact(5).zip(digits.chunks_exact_mut(8)) {
            let word = octets.iter().fold(0_u64, |word, &octet| word << 8 | u64::from(octet));
            for (index, digit) in digits.iter_mut().enumerate() {
                *digit = b"0123456789abcdefghijklmnopqrstuv"[(word >> (35 - 5 * index)) as usize & 31];
            }
        }
        digits
    }

    /// The salt. A name and 64 octets of it are what the hash takes in; a longer one is not used by anybody.
    fn salt(&self) -> &[u8] {
        &self.salt[..self.salt.len().min(64)]
    }
}

/// The suffix of `name` that is one label longer than `encloser`: the next closer name (RFC 5155 §1.3).
pub(crate) fn next_closer<'n>(name: &'n LowerName, encloser: &Node<'_>) -> &'n [u8] {
    let labels = (0..=name.labels()).rev().find(|&labels| name.suffix(labels).len() == encloser.name().len());
    name.suffix((labels.unwrap_or(0) + 1).min(name.labels()))
}
