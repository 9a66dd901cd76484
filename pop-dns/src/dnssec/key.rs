//! Keys that sign.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use super::key_tag;

/// Flags of a key that signs a zone (RFC 4034 §2.1.1).
const ZONE_KEY: u16 = 256;
/// A secure entry point (RFC 3757).
const ENTRY_POINT: u16 = 257;
/// The protocol field, which has one value.
const PROTOCOL: u8 = 3;

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Not PKCS #8 with a P-256 or Ed25519 key.
    Pkcs8,
    /// The system gives no randomness, or the signature could not be made.
    Sign,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pkcs8 => "expected PKCS #8 with a P-256 or an Ed25519 key",
            Self::Sign => "cannot sign",
        })
    }
}

impl std::error::Error for KeyError {}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A private key of a zone: ECDSA P-256 with SHA-256 (algorithm 13) or Ed25519 (15), the two that RFC 8624 §3.1 recommends.
pub struct SigningKey {
    pair: Pair,
    dnskey: Vec<u8>,
    random: SystemRandom,
}

impl SigningKey {
    /// From PKCS #8, DER. `entry_point` says whether the DNSKEY record carries the flag of a key-signing key.
    ///
    /// # Errors
    /// [`KeyError::Pkcs8`] for anything but a P-256 or an Ed25519 key.
    pub fn from_pkcs8(der: &[u8], entry_point: EntryPoint) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let pair = match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random) {
            Ok(pair) => Pair::Ecdsa(pair),
            Err(_) => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
                Pair::Ed25519(pair.map_err(|_| KeyError::Pkcs8)?)
            }
        };
        let (algorithm, public) = match &pair {
            // SEC 1 puts a 4 before the two coordinates; DNSSEC does not (RFC 6605 §4).
            Pair::Ecdsa(pair) => (13, pair.public_key().as_ref().get(1..).unwrap_or_default()),
            Pair::Ed25519(pair) => (15, pair.public_key().as_ref()),
        };
        let flags = if entry_point == EntryPoint::Yes { ENTRY_POINT } else { ZONE_KEY };
        let [f0, f1] = flags.to_be_bytes();
        let dnskey = [&[f0, f1, PROTOCOL, algorithm][..], public].concat();
        Ok(Self { pair, dnskey, random })
    }

    /// The RDATA of its DNSKEY record.
    #[must_use]
    pub fn dnskey(&self) -> &[u8] {
        &self.dnskey
    }

    /// Its tag.
    #[must_use]
    pub fn tag(&self) -> u16 {
        key_tag(&self.dnskey)
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> u8 {
        self.dnskey[3]
    }

    /// A signature over octets.
    ///
    /// # Errors
    /// [`KeyError::Sign`].
    pub(super) fn sign(&self, octets: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&self.random, octets);
                signature.map(|made| made.as_ref().to_vec()).map_err(|_| KeyError::Sign)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(octets).as_ref().to_vec()),
        }
    }
}

/// Whether a key is a secure entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPoint {
    /// A key-signing key.
    Yes,
    /// A zone-signing key.
    No,
}

/// The private part stays so.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("tag", &self.tag()).field("algorithm", &self.algorithm()).finish()
    }
}
