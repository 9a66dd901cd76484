//! Secrets, their names, and how they are used.

use std::fmt;
use std::sync::Arc;

use ring::hmac;

use super::TsigError;
use super::record::Signature;
use crate::{NameBuf, Rcode};

/// How a signature is made (RFC 8945 §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-1: only where the other side knows nothing better.
    HmacSha1,
    /// HMAC with SHA-256.
    #[default]
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::HmacSha1, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// Its name as text: `hmac-sha256`.
    #[must_use]
    pub const fn mnemonic(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    /// The algorithm of this name, in any case.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.mnemonic().eq_ignore_ascii_case(text))
    }

    /// Its name in wire format.
    pub(super) const fn wire(self) -> &'static [u8] {
        match self {
            Self::HmacSha1 => b"\x09hmac-sha1\x00",
            Self::HmacSha256 => b"\x0bhmac-sha256\x00",
            Self::HmacSha384 => b"\x0bhmac-sha384\x00",
            Self::HmacSha512 => b"\x0bhmac-sha512\x00",
        }
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A secret shared with somebody, under a name. Cheap to clone.
#[derive(Clone)]
pub struct Key(Arc<Inner>);

struct Inner {
    /// In lower case.
    name: NameBuf,
    algorithm: Algorithm,
    hmac: hmac::Key,
    /// Octets of the signatures that we make.
    octets: usize,
}

impl Key {
    /// A key. RFC 8945 §8 asks for a secret as long as the algorithm's hash.
    #[must_use]
    pub fn new(name: &NameBuf, algorithm: Algorithm, secret: &[u8]) -> Self {
        let hmac = hmac::Key::new(algorithm.hmac(), secret);
        let octets = algorithm.hmac().digest_algorithm().output_len();
        Self(Arc::new(Inner { name: name.to_lower(), algorithm, hmac, octets }))
    }

    /// The same key, whose signatures are cut to so many octets; at least half the hash and ten (RFC 8945 §5.2.2.1).
    /// Signatures of the other side may then be cut as much.
    #[must_use]
    pub fn truncated(&self, octets: usize) -> Self {
        let Inner { name, algorithm, hmac, .. } = &*self.0;
        let full = hmac.algorithm().digest_algorithm().output_len();
        let octets = octets.clamp(full.div_ceil(2).max(10), full);
        Self(Arc::new(Inner { name: name.clone(), algorithm: *algorithm, hmac: hmac.clone(), octets }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &NameBuf {
        &self.0.name
    }

    /// Octets that a TSIG record under this key takes at the end of a message.
    #[must_use]
    pub fn record_octets(&self) -> usize {
        // Owner, type to length, algorithm, time to fudge with the MAC's length, MAC, identifier, error, length, time.
        self.0.name.as_wire().len() + 10 + self.0.algorithm.wire().len() + 10 + self.0.octets + 6 + 6
    }

    pub(super) fn hmac(&self) -> &hmac::Key {
        &self.0.hmac
    }

    /// Whether these are its name and its algorithm, both in lower case.
    pub(super) fn is(&self, name: &NameBuf, algorithm: &NameBuf) -> bool {
        self.0.name == *name && self.0.algorithm.wire() == algorithm.as_wire()
    }

    /// What we send of a signature.
    pub(super) fn cut<'t>(&self, tag: &'t hmac::Tag) -> &'t [u8] {
        &tag.as_ref()[..self.0.octets]
    }

    /// Whether `mac` is `tag`, or a beginning of it that is long enough. Every octet is compared, whatever the first
    /// difference.
    pub(super) fn compare(&self, mac: &[u8], tag: &hmac::Tag) -> Result<(), TsigError> {
        let tag = tag.as_ref();
        // RFC 8945 §5.2.2.1: shorter than ten octets or half the hash, or longer than the hash, is malformed.
        if mac.len() > tag.len() || mac.len() < tag.len().div_ceil(2).max(10) {
            return Err(TsigError::Signature);
        }
        let difference = mac.iter().zip(tag).fold(0, |all, (one, two)| all | (one ^ two));
        match difference {
            0 if mac.len() < self.0.octets => Err(TsigError::Truncated { octets: mac.len() }),
            0 => Ok(()),
            _ => Err(TsigError::Signature),
        }
    }

    /// A signature to be.
    pub(super) fn signature(&self, id: u16, time: u64, error: Rcode, other: &[u8]) -> Signature {
        Signature {
            key: self.0.name.clone(),
            algorithm: NameBuf::from_checked(self.0.algorithm.wire().into()),
            time,
            fudge: super::FUDGE_SECONDS,
            mac: Box::default(),
            id,
            error,
            other: other.into(),
        }
    }
}

/// The secret stays one.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.0.name, self.0.algorithm.mnemonic())
    }
}

/// The keys that are known here.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Vec<Key>);

impl Keyring {
    /// Adds a key; of two with one name the later counts.
    pub fn insert(&mut self, key: Key) {
        self.0.retain(|known| known.name() != key.name());
        self.0.push(key);
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, name: &NameBuf, algorithm: &NameBuf) -> Option<&Key> {
        self.0.iter().find(|key| key.is(name, algorithm))
    }
}

impl FromIterator<Key> for Keyring {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut ring = Self::default();
        keys.into_iter().for_each(|key| ring.insert(key));
        ring
    }
}
