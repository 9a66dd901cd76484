//! The TSIG record: found at the end of a message, and written there.

use ring::hmac;

use super::TsigError;
use crate::header::HEADER_OCTETS;
use crate::{Class, Header, Message, NameBuf, ParseError, RData, Rcode, RecordType};

/// What a TSIG record says (RFC 8945 §4.2).
#[derive(Clone, Debug)]
pub(super) struct Signature {
    /// The name of the key, in lower case.
    pub(super) key: NameBuf,
    /// In lower case.
    pub(super) algorithm: NameBuf,
    /// Seconds since 1970; 48 bits.
    pub(super) time: u64,
    pub(super) fudge: u16,
    pub(super) mac: Box<[u8]>,
    /// The identifier that the message had when it was signed.
    pub(super) id: u16,
    pub(super) error: Rcode,
    pub(super) other: Box<[u8]>,
}

/// Finds the TSIG record of a message and where it begins; `None` if there is none.
pub(super) fn split(octets: &[u8]) -> Result<Option<(usize, Signature)>, ParseError> {
    let message = Message::parse(octets)?;
    let additional = message.header().counts[3];
    let mut records = message.records()?;
    let mut found = None;
    loop {
        let offset = records.position();
        let Some(record) = records.next() else { break };
        let record = record?;
        if found.is_some() {
            // §5.1: it is the last record, and there is one.
            return Err(ParseError::Tsig { offset });
        }
        if record.rtype == RecordType::TSIG {
            let RData::Tsig(tsig) = record.rdata()? else { return Err(ParseError::RData { offset }) };
            if record.class != Class::ANY || record.ttl != 0 || additional == 0 {
                return Err(ParseError::Tsig { offset });
            }
            let signature = Signature {
                key: record.name.to_name_buf()?.to_lower(),
                algorithm: tsig.algorithm.to_name_buf()?.to_lower(),
                time: tsig.time_signed,
                fudge: tsig.fudge,
                mac: tsig.mac.into(),
                id: tsig.original_id,
                error: Rcode(tsig.error),
                other: tsig.other.into(),
            };
            found = Some((offset, signature));
        }
    }
    match records.position() {
        offset if offset < octets.len() => Err(ParseError::Trailing { offset }),
        _ => Ok(found),
    }
}

impl Signature {
    /// Digests the message as it was before it was signed: without this record, and with its first identifier.
    pub(super) fn digest_message(&self, octets: &[u8], end: usize, digest: &mut hmac::Context) {
        let mut header = Header::parse(octets).unwrap_or_default();
        header.id = self.id;
        header.counts[3] = header.counts[3].saturating_sub(1);
        digest.update(&header.to_wire());
        digest.update(&octets[HEADER_OCTETS..end]);
    }

    /// §4.3.3.
    pub(super) fn digest_variables(&self, digest: &mut hmac::Context) {
        digest.update(self.key.as_wire());
        digest.update(&Class::ANY.0.to_be_bytes());
        digest.update(&[0; 4]);
        digest.update(self.algorithm.as_wire());
        self.digest_times(digest);
        digest.update(&self.error.0.to_be_bytes());
        digest.update(&(self.other.len() as u16).to_be_bytes());
        digest.update(&self.other);
    }

    /// §5.3.1.
    pub(super) fn digest_times(&self, digest: &mut hmac::Context) {
        digest.update(&self.time.to_be_bytes()[2..]);
        digest.update(&self.fudge.to_be_bytes());
    }

    pub(super) fn check_time(&self, now: u64) -> Result<(), TsigError> {
        if self.time.abs_diff(now) <= self.fudge.into() {
            return Ok(());
        }
        Err(TsigError::Time { signed: self.time, now })
    }

    /// Appends the record to a message.
    pub(super) fn append(&self, message: &mut Vec<u8>) {
        let Ok(mut header) = Header::parse(message) else { return };
        header.counts[3] = header.counts[3].saturating_add(1);
        message[..HEADER_OCTETS].copy_from_slice(&header.to_wire());
        let rdata = self.algorithm.as_wire().len() + 10 + self.mac.len() + 6 + self.other.len();
        message.extend_from_slice(self.key.as_wire());
        message.extend_from_slice(&RecordType::TSIG.0.to_be_bytes());
        message.extend_from_slice(&Class::ANY.0.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&(rdata as u16).to_be_bytes());
        message.extend_from_slice(self.algorithm.as_wire());
        message.extend_from_slice(&self.time.to_be_bytes()[2..]);
        message.extend_from_slice(&self.fudge.to_be_bytes());
        message.extend_from_slice(&(self.mac.len() as u16).to_be_bytes());
        message.extend_from_slice(&self.mac);
        message.extend_from_slice(&self.id.to_be_bytes());
        message.extend_from_slice(&self.error.0.to_be_bytes());
        message.extend_from_slice(&(self.other.len() as u16).to_be_bytes());
        message.extend_from_slice(&self.other);
    }

    /// Appends the record of an answer to a message that was not believed: no signature, and the reason.
    pub(super) fn refuse(mut self, message: &mut Vec<u8>, error: Rcode) {
        (self.mac, self.other, self.error) = (Box::default(), Box::default(), error);
        self.append(message);
    }
}
