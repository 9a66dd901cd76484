//! The digest over a whole zone (RFC 8976).

use std::fmt;

use ring::digest::{Algorithm, Context, SHA384, SHA512};

use crate::rdata::RData;
use crate::zone::{Zone, ZoneRecord};
use crate::{RawRData, RecordType};

/// Why a zone is not proved complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZonemdError {
    /// The zone has no ZONEMD record.
    None,
    /// None of its ZONEMD records has the serial of the SOA, the scheme SIMPLE, and SHA-384 or SHA-512.
    Unsupported,
    /// The digest is another one.
    Mismatch,
}

impl fmt::Display for ZonemdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no ZONEMD record",
            Self::Unsupported => "no ZONEMD record of this serial with scheme 1 and hash 1 or 2",
            Self::Mismatch => "the digest of the zone is another one",
        })
    }
}

impl std::error::Error for ZonemdError {}

/// Checks the digest that a zone carries over itself (RFC 8976 §4). Whether the ZONEMD record is signed is another
/// question. Costs a sort of the names and a hash over all records.
///
/// # Errors
/// [`ZonemdError`].
pub fn verify_zone(zone: &Zone) -> Result<(), ZonemdError> {
    let Some(set) = zone.apex().rrset(RecordType::ZONEMD) else { return Err(ZonemdError::None) };
    let mut verdict = ZonemdError::Unsupported;
    for rdata in set.rdata() {
        let Ok(RData::Zonemd(zonemd)) = RData::parse(RecordType::ZONEMD, rdata, 0) else { continue };
        let algorithm = match zonemd.algorithm {
            1 => &SHA384,
            2 => &SHA512,
            _ => continue,
        };
        if zonemd.serial != zone.serial() || zonemd.scheme != 1 {
            continue;
        }
        if digest(zone, algorithm) == zonemd.digest {
            return Ok(());
        }
        verdict = ZonemdError::Mismatch;
    }
    Err(verdict)
}

/// The digest of scheme SIMPLE (§3.3.1): all records in canonical order, less the ZONEMD set and the signatures over it.
fn digest(zone: &Zone, algorithm: &'static Algorithm) -> Vec<u8> {
    let mut context = Context::new(algorithm);
    let mut octets = Vec::new();
    for node in zone.canonical() {
        let mut records: Vec<(RecordType, Vec<u8>, ZoneRecord<'_>)> = Vec::new();
        for record in node.records() {
            let covers_digest = record.rtype == RecordType::RRSIG
                && record.rdata.starts_with(&RecordType::ZONEMD.0.to_be_bytes());
            if node.name() == zone.origin().as_wire() && (record.rtype == RecordType::ZONEMD || covers_digest)
            {
                continue;
            }
            let mut rdata = Vec::with_capacity(record.rdata.len());
            // RDATA of a zone are well-formed.
            let _ = RawRData::new(record.rtype, record.rdata).write_canonical(&mut rdata);
            records.push((record.rtype, rdata, record));
        }
        records.sort_by(|one, two| (one.0, &one.1).cmp(&(two.0, &two.1)));
        for (rtype, rdata, record) in records {
            octets.clear();
            octets.extend_from_slice(node.name());
            octets.extend_from_slice(&rtype.0.to_be_bytes());
            octets.extend_from_slice(&[0, 1]);
            octets.extend_from_slice(&record.ttl.to_be_bytes());
            octets.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            octets.extend_from_slice(&rdata);
            context.update(&octets);
        }
    }
    context.finish().as_ref().to_vec()
}
