//! Signatures checked.

use std::fmt;

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::{Set, key_tag, signed_octets};
use crate::rdata::{RData, Rrsig};
use crate::{Name, RecordType};

/// Signature checks that one message may cost.
pub const SIGNATURE_CHECKS_MAX: u8 = 16;
/// Keys with the tag that a signature names, of which each has to be tried.
pub const COLLISIONS_MAX: u8 = 8;

/// What one message may still cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    checks: u8,
}

impl Default for Budget {
    fn default() -> Self {
        Self { checks: SIGNATURE_CHECKS_MAX }
    }
}

/// Why a set counts as not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// No signature names a key that is there, with an algorithm that is supported.
    NoKey,
    /// Signatures are there, but none holds now.
    Time,
    /// None of them is right.
    Bogus,
    /// More keys share a tag than [`COLLISIONS_MAX`].
    Collisions,
    /// The message has cost [`SIGNATURE_CHECKS_MAX`] checks.
    Budget,
    /// A name or RDATA that are broken.
    Malformed,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "no signature by a key that is there",
            Self::Time => "no signature that holds now",
            Self::Bogus => "no signature that is right",
            Self::Collisions => "more than 8 keys with one tag",
            Self::Budget => "more than 16 signature checks",
            Self::Malformed => "a broken name or record",
        })
    }
}

impl std::error::Error for VerifyError {}

/// Checks that one of `signatures` over the set is right: made by one of `keys` (RDATA of DNSKEY records of `zone`), and
/// holding at `now`, in seconds since 1970 modulo 2^32. Both are RDATA in uncompressed wire format.
///
/// # Errors
/// [`VerifyError`], the one that says most about the signatures that were looked at.
pub fn verify_set(
    set: &Set<'_>,
    signatures: &[&[u8]],
    zone: Name<'_>,
    keys: &[&[u8]],
    now: u32,
    budget: &mut Budget,
) -> Result<(), VerifyError> {
    let mut verdict = VerifyError::NoKey;
    for signature in signatures {
        let Ok(RData::Rrsig(rrsig)) = RData::parse(RecordType::RRSIG, signature, 0) else {
            return Err(VerifyError::Malformed);
        };
        if rrsig.type_covered != set.rtype || rrsig.signer != zone {
            continue;
        }
        // RFC 4034 §3.1.5: serial number arithmetic.
        let holds =
            now.wrapping_sub(rrsig.inception) as i32 >= 0 && rrsig.expiration.wrapping_sub(now) as i32 >= 0;
        if !holds {
            verdict = worse(verdict, VerifyError::Time);
            continue;
        }
        let candidates = keys.iter().filter(|key| names(&rrsig, key));
        if candidates.clone().count() > usize::from(COLLISIONS_MAX) {
            return Err(VerifyError::Collisions);
        }
        let octets = signed_octets(set, &rrsig).map_err(|_| VerifyError::Malformed)?;
        let Some(octets) = octets else { continue };
        for key in candidates {
            budget.checks = budget.checks.checked_sub(1).ok_or(VerifyError::Budget)?;
            if check(rrsig.algorithm, &key[4..], &octets, rrsig.signature) {
                return Ok(());
            }
            verdict = worse(verdict, VerifyError::Bogus);
        }
    }
    Err(verdict)
}

fn worse(one: VerifyError, two: VerifyError) -> VerifyError {
    let rank = |error| match error {
        VerifyError::NoKey => 0,
        VerifyError::Time => 1,
        _ => 2,
    };
    if rank(two) > rank(one) { two } else { one }
}

/// Whether a signature names a key: a zone key (RFC 4034 §2.1.1) of its algorithm and tag.
fn names(rrsig: &Rrsig<'_>, key: &[u8]) -> bool {
    matches!(key, [flags, _, 3, algorithm, ..] if flags & 1 != 0 && *algorithm == rrsig.algorithm)
        && key_tag(key) == rrsig.key_tag
}

fn check(algorithm: u8, key: &[u8], octets: &[u8], signature: &[u8]) -> bool {
    match algorithm {
        8 | 10 => {
            let Some((exponent, modulus)) = rsa(key) else { return false };
            let parameters =
                if algorithm == 8 { &RSA_PKCS1_2048_8192_SHA256 } else { &RSA_PKCS1_2048_8192_SHA512 };
            RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, octets, signature).is_ok()
        }
        13 | 14 => {
            let parameters: &'static dyn ring::signature::VerificationAlgorithm =
                if algorithm == 13 { &ECDSA_P256_SHA256_FIXED } else { &ECDSA_P384_SHA384_FIXED };
            // RFC 6605 §4 leaves out the 4 that SEC 1 puts before the two coordinates.
            let mut point = vec![4];
            point.extend_from_slice(key);
            UnparsedPublicKey::new(parameters, &point).verify(octets, signature).is_ok()
        }
        15 => UnparsedPublicKey::new(&ED25519, key).verify(octets, signature).is_ok(),
        _ => false,
    }
}

/// Exponent and modulus (RFC 3110 §2), without leading zeros.
fn rsa(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (octets, rest) = match key {
        [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [octets, rest @ ..] => (usize::from(*octets), rest),
        [] => return None,
    };
    let (exponent, modulus) = rest.split_at_checked(octets)?;
    let trim = |octets: &mut &[u8]| {
        while let [0, rest @ ..] = octets {
            *octets = rest;
        }
    };
    let (mut exponent, mut modulus) = (exponent, modulus);
    trim(&mut exponent);
    trim(&mut modulus);
    Some((exponent, modulus))
}
