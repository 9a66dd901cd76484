//! Signatures over answers that a hook makes, at the moment they are asked for.
//!
//! What a hook chose is signed as any set is. What it did not choose is denied by a record made for the question: an NSEC
//! whose next name is the very next one (RFC 4470), listing the types that are there.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;

use super::reply::Reply;
use crate::dnssec::{Set, Signed, SigningKey, sign_set};
use crate::rdata::write_types;
use crate::{Name, NameBuf, RecordType, Section, Timestamp};

/// Signatures kept; when there are more, all are forgotten.
const KEPT_MAX: usize = 4096;
/// How long a signature holds, seconds.
const VALID: u32 = 3 * 86_400;
/// It is made anew when it holds for less than this, seconds.
const RENEWED: u32 = 2 * 86_400;
/// Clocks of validators may be behind ours, seconds.
const SKEW: u32 = 3600;

/// Owner, type, TTL and RDATA to the signature and its end.
type Made = HashMap<Vec<u8>, (u32, Arc<[u8]>), RandomState>;

/// A key that signs for a zone, and what it signed.
#[derive(Clone)]
pub(super) struct OnlineSigner {
    origin: NameBuf,
    key: Arc<SigningKey>,
    made: Arc<Mutex<Made>>,
}

impl OnlineSigner {
    pub(super) fn new(origin: NameBuf, key: Arc<SigningKey>) -> Self {
        Self { origin, key, made: Arc::default() }
    }

    /// The RDATA of the signature over a set; `None` where the key cannot sign.
    fn signature(
        &self,
        owner: &[u8],
        rtype: RecordType,
        ttl: u32,
        rdata: &[&[u8]],
        now: u32,
    ) -> Option<Arc<[u8]>> {
        let mut name = owner.to_vec();
        name.extend_from_slice(&rtype.0.to_be_bytes());
        name.extend_from_slice(&ttl.to_be_bytes());
        rdata.iter().for_each(|rdata| name.extend_from_slice(rdata));
        let held =
            |made: &(u32, Arc<[u8]>)| (made.0.wrapping_sub(now) > RENEWED).then(|| Arc::clone(&made.1));
        if let Some(made) = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(&name).and_then(held)
        {
            return Some(made);
        }
        // Signing takes long; nobody waits for it but who asked.
        let times = Signed {
            original_ttl: ttl,
            inception: now.wrapping_sub(SKEW),
            expiration: now.wrapping_add(VALID),
        };
        let set = Set { owner: Name::from_wire(owner).ok()?, rtype, rdata };
        let signature: Arc<[u8]> = sign_set(&self.key, self.origin.as_name(), &set, times).ok()?.into();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= KEPT_MAX {
            made.clear();
        }
        made.insert(name, (times.expiration, Arc::clone(&signature)));
        Some(signature)
    }

    /// Writes a set and the signature over it.
    pub(super) fn set(
        &self,
        section: Section,
        owner: &[u8],
        (rtype, ttl): (RecordType, u32),
        rdata: &[&[u8]],
        now: Timestamp,
        reply: &mut Reply<'_, '_>,
    ) {
        reply.required(section, owner, rtype, ttl, rdata.iter().copied());
        let seconds = (now.as_nanos() / 1_000_000_000) as u32;
        if let Some(signature) = self.signature(owner, rtype, ttl, rdata, seconds) {
            reply.required(section, owner, RecordType::RRSIG, ttl, [&signature[..]]);
        }
    }

    /// Writes the proof that a name has these types and no other.
    pub(super) fn only_types(
        &self,
        owner: &[u8],
        ttl: u32,
        mut types: Vec<RecordType>,
        now: Timestamp,
        reply: &mut Reply<'_, '_>,
    ) {
        types.extend([RecordType::RRSIG, RecordType::NSEC]);
        // The next name is the owner with a label of one zero octet before it (RFC 4471 §3.1.1).
        let mut rdata = vec![1, 0];
        rdata.extend_from_slice(owner);
        if rdata.len() > crate::NAME_OCTETS_MAX {
            // There is no room for a label; the name itself is next to nothing else that can be named below it.
            rdata = self.origin.as_wire().to_vec();
        }
        write_types(&mut types, &mut rdata);
        self.set(Section::Authority, owner, (RecordType::NSEC, ttl), &[&rdata], now, reply);
    }
}

impl fmt::Debug for OnlineSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnlineSigner")
            .field("origin", &self.origin)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
