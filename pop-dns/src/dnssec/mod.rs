//! DNSSEC: digests, signatures checked within bounds, signatures made (RFC 4033–4035, 5702, 6605, 8080, 8624).
//!
//! What is checked and what is made is one set of records of one name and type. Everything an attacker can choose is
//! bounded: a [`Budget`] caps the signature checks of a message and the keys that share a tag (KeyTrap, CVE-2023-50387).

mod digest;
mod key;
mod sign;
mod verify;
mod zonemd;

pub use digest::{DsDigest, ds_matches, key_tag};
pub use key::{EntryPoint, KeyError, SigningKey};
pub use sign::{Signed, sign_set};
pub use verify::{Budget, COLLISIONS_MAX, SIGNATURE_CHECKS_MAX, VerifyError, verify_set};
pub use zonemd::{ZonemdError, verify_zone};

use crate::name::lower_in_place;
use crate::rdata::Rrsig;
use crate::{NAME_OCTETS_MAX, Name, ParseError, RawRData, RecordType};

/// A set of records to be signed or checked: owner, type, and RDATA in whatever order.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// The owner.
    pub owner: Name<'a>,
    /// The type.
    pub rtype: RecordType,
    /// RDATA in uncompressed wire format.
    pub rdata: &'a [&'a [u8]],
}

/// The RDATA of an RRSIG less its signature: what is signed first.
fn signature_head(rrsig: &Rrsig<'_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
    out.extend_from_slice(&rrsig.type_covered.0.to_be_bytes());
    out.extend_from_slice(&[rrsig.algorithm, rrsig.labels]);
    for number in [rrsig.original_ttl, rrsig.expiration, rrsig.inception] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&rrsig.key_tag.to_be_bytes());
    let mut signer = [0; NAME_OCTETS_MAX];
    let octets = rrsig.signer.write_lower(&mut signer)?;
    out.extend_from_slice(&signer[..octets]);
    Ok(())
}

/// The octets that a signature is made over (RFC 4034 §3.1.8.1). `None` where the labels of the signature and of the owner
/// cannot belong together.
fn signed_octets(set: &Set<'_>, rrsig: &Rrsig<'_>) -> Result<Option<Vec<u8>>, ParseError> {
    let mut out = Vec::with_capacity(256);
    signature_head(rrsig, &mut out)?;
    let mut owner = [0; NAME_OCTETS_MAX];
    let octets = set.owner.write_wire(&mut owner)?;
    lower_in_place(&mut owner[..octets]);
    let Some(owner) = signed_owner(&owner[..octets], rrsig.labels.into()) else { return Ok(None) };
    let mut canonical = Vec::with_capacity(set.rdata.len());
    for rdata in set.rdata {
        let mut wire = Vec::with_capacity(rdata.len());
        RawRData::new(set.rtype, rdata).write_canonical(&mut wire)?;
        canonical.push(wire);
    }
    // RFC 4034 §6.3: by octets, each once.
    canonical.sort_unstable();
    canonical.dedup();
    for rdata in canonical {
        out.extend_from_slice(&owner);
        out.extend_from_slice(&set.rtype.0.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&rrsig.original_ttl.to_be_bytes());
        out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        out.extend_from_slice(&rdata);
    }
    Ok(Some(out))
}

/// The owner as it was signed: where the signature has fewer labels, a wildcard made the name (RFC 4035 §5.3.2).
fn signed_owner(owner: &[u8], labels: usize) -> Option<Vec<u8>> {
    let mut starts = Vec::new();
    let mut at = 0;
    while owner[at] > 0 {
        starts.push(at);
        at += 1 + usize::from(owner[at]);
    }
    let wildcard = owner.starts_with(b"\x01*");
    let count = starts.len() - usize::from(wildcard);
    match count.checked_sub(labels)? {
        0 => Some(owner.to_vec()),
        _ => {
            let from = starts.get(starts.len() - labels).copied().unwrap_or(owner.len() - 1);
            Some([b"\x01*", &owner[from..]].concat())
        }
    }
}
