//! Key tags, and digests of keys.

use ring::digest::{Algorithm, Context, SHA256, SHA384};

use crate::rdata::Ds;
use crate::{NAME_OCTETS_MAX, Name, ParseError};

/// The digests of a DS record that are made and checked: SHA-1 is no longer (RFC 8624 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DsDigest {
    /// Digest type 2 (RFC 4509).
    Sha256,
    /// Digest type 4 (RFC 6605).
    Sha384,
}

impl DsDigest {
    /// The digest of this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::Sha256),
            4 => Some(Self::Sha384),
            _ => None,
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
        }
    }

    /// The digest of the key of `owner` whose RDATA are these (RFC 4034 §5.1.4).
    ///
    /// # Errors
    /// [`ParseError`] where the owner is broken.
    pub fn of(self, owner: Name<'_>, dnskey: &[u8]) -> Result<Vec<u8>, ParseError> {
        let mut lower = [0; NAME_OCTETS_MAX];
        let octets = owner.write_lower(&mut lower)?;
        let mut context = Context::new(self.algorithm());
        context.update(&lower[..octets]);
        context.update(dnskey);
        Ok(context.finish().as_ref().to_vec())
    }
}

/// Whether a DS record speaks of the key of `owner` whose RDATA are these. False for digests that are not supported.
#[must_use]
pub fn ds_matches(ds: &Ds<'_>, owner: Name<'_>, dnskey: &[u8]) -> bool {
    let same_key = ds.key_tag == key_tag(dnskey) && dnskey.get(3) == Some(&ds.algorithm);
    let digest = DsDigest::from_number(ds.digest_type).filter(|_| same_key);
    digest.is_some_and(|digest| digest.of(owner, dnskey).is_ok_and(|made| made == ds.digest))
}

/// The tag of a key by its RDATA (RFC 4034 appendix B). No identity: several keys may share one.
#[must_use]
pub fn key_tag(dnskey: &[u8]) -> u16 {
    // RSA/MD5 had a rule of its own (appendix B.1); it is gone.
    let mut sum = 0_u32;
    for (index, &octet) in dnskey.iter().enumerate() {
        sum += if index % 2 == 0 { u32::from(octet) << 8 } else { octet.into() };
    }
    ((sum + (sum >> 16)) & 0xFFFF) as u16
}
