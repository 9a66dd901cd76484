//! Signatures made.

use super::key::{KeyError, SigningKey};
use super::{Set, signature_head, signed_octets};
use crate::Name;
use crate::rdata::Rrsig;

/// When a signature holds, in seconds since 1970 modulo 2^32, and for which TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The TTL of the set in the zone.
    pub original_ttl: u32,
    /// From then.
    pub inception: u32,
    /// Until then.
    pub expiration: u32,
}

/// The RDATA of the RRSIG over a set of the zone `signer`.
///
/// # Errors
/// [`KeyError::Sign`] where a name is broken or the key cannot sign.
pub fn sign_set(
    key: &SigningKey,
    signer: Name<'_>,
    set: &Set<'_>,
    times: Signed,
) -> Result<Vec<u8>, KeyError> {
    let wildcard = matches!(set.owner.labels().next(), Some(Ok(b"*")));
    let labels = set.owner.labels().count() - usize::from(wildcard);
    let rrsig = Rrsig {
        type_covered: set.rtype,
        algorithm: key.algorithm(),
        labels: labels as u8,
        original_ttl: times.original_ttl,
        expiration: times.expiration,
        inception: times.inception,
        key_tag: key.tag(),
        signer,
        signature: &[],
    };
    let octets = signed_octets(set, &rrsig).map_err(|_| KeyError::Sign)?.ok_or(KeyError::Sign)?;
    let mut rdata = Vec::with_capacity(128);
    signature_head(&rrsig, &mut rdata).map_err(|_| KeyError::Sign)?;
    rdata.extend_from_slice(&key.sign(&octets)?);
    Ok(rdata)
}
