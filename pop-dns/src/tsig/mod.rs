//! Transaction signatures (RFC 8945): messages between two that share a secret.
//!
//! Pure: octets and seconds since 1970 in, octets and verdicts out. A [`Transaction`] signs one side's messages and
//! checks the other's, also where an answer has many of them and not each is signed, as transfers do (§5.3.1).

mod key;
mod record;

use std::fmt;

use ring::hmac;

pub use key::{Algorithm, Key, Keyring};

use self::record::{Signature, split};
use crate::{Header, Message, ParseError, Rcode, RecordType};

/// Seconds that clocks may differ (RFC 8945 §10).
pub const FUDGE_SECONDS: u16 = 300;
/// Messages of one answer that may come unsigned between two that are signed (RFC 8945 §5.3.1).
pub const UNSIGNED_MAX: u32 = 99;

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TsigError {
    /// The message, or its TSIG record, is broken.
    Malformed(ParseError),
    /// It has no signature where one has to be.
    Unsigned,
    /// BADKEY: the key, or its algorithm, is not known here.
    UnknownKey,
    /// BADSIG: the signature does not fit.
    Signature,
    /// BADTIME: it was made too long ago, or too far ahead.
    Time {
        /// When it was made, in seconds since 1970.
        signed: u64,
        /// When it was checked.
        now: u64,
    },
    /// BADTRUNC: the signature is shorter than we take.
    Truncated {
        /// Its octets.
        octets: usize,
    },
    /// The other side says that it did not believe us.
    Refused(Rcode),
}

impl fmt::Display for TsigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(_) => f.write_str("the signed message is malformed"),
            Self::Unsigned => f.write_str("the message is not signed"),
            Self::UnknownKey => f.write_str("the message is signed with an unknown key"),
            Self::Signature => f.write_str("the signature does not fit the message"),
            Self::Time { signed, now } => write!(f, "the message was signed at {signed}, and it is {now}"),
            Self::Truncated { octets } => write!(f, "a signature of {octets} octets is too short"),
            Self::Refused(rcode) => write!(f, "the other side answered {rcode} to our signature"),
        }
    }
}

impl std::error::Error for TsigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ParseError> for TsigError {
    fn from(error: ParseError) -> Self {
        Self::Malformed(error)
    }
}

/// A query that is not believed, and how to say so.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Why.
    pub error: TsigError,
    signature: Option<Signature>,
    /// For BADTIME, whose answer is signed.
    transaction: Option<Transaction>,
}

impl Rejection {
    /// The response code that the answer carries: FORMERR, or NOTAUTH (RFC 8945 §5.2).
    #[must_use]
    pub const fn rcode(&self) -> Rcode {
        if let TsigError::Malformed(_) = self.error { Rcode::FORMERR } else { Rcode::NOTAUTH }
    }

    /// Appends the TSIG record that an error answer carries (RFC 8945 §5.3.2): with the error, and signed only if the
    /// trouble was the time.
    pub fn sign(self, answer: &mut Vec<u8>, now: u64) {
        let Some(signature) = self.signature else { return };
        let code = match self.error {
            TsigError::Time { .. } => Rcode::BADTIME,
            TsigError::Truncated { .. } => Rcode::BADTRUNC,
            TsigError::UnknownKey => Rcode::BADKEY,
            _ => Rcode::BADSIG,
        };
        match self.transaction {
            Some(mut transaction) => {
                let other = now.to_be_bytes();
                transaction.append(answer, signature.time, code, &other[2..]);
            }
            None => signature.refuse(answer, code),
        }
    }
}

/// Whether a message has a TSIG record, well-formed and in its place or not.
pub(crate) fn is_signed(message: &[u8]) -> bool {
    let Ok(records) = Message::parse(message).and_then(|message| message.records()) else { return false };
    records.map_while(Result::ok).any(|record| record.rtype == RecordType::TSIG)
}

/// A message without its signature; `None` if it has none. The identifier stays, which is what the answer goes by.
pub(crate) fn strip(message: &[u8]) -> Option<Vec<u8>> {
    let (end, _) = split(message).ok()??;
    let mut header = Header::parse(message).ok()?;
    header.counts[3] = header.counts[3].saturating_sub(1);
    Some([&header.to_wire(), &message[crate::HEADER_OCTETS..end]].concat())
}

/// What was made of a message of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Checked {
    /// It is signed, and the signature fits it and all unsigned ones before it.
    Signed,
    /// It is not signed. The next that is will vouch for it.
    Unsigned,
}

/// One exchange under a key: a query and the messages of its answer.
#[derive(Clone)]
pub struct Transaction {
    key: Key,
    /// What the next signature covers besides its own record: the last signature, and unsigned messages since.
    digest: hmac::Context,
    /// Whether a message of the answer was signed before, so that the next signature covers times alone.
    continued: bool,
    unsigned: u32,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Transaction {
    /// Signs a query: appends its TSIG record. `now` is in seconds since 1970.
    pub fn sign_query(key: &Key, query: &mut Vec<u8>, now: u64) -> Self {
        let digest = hmac::Context::with_key(key.hmac());
        let mut transaction = Self { key: key.clone(), digest, continued: false, unsigned: 0 };
        transaction.append(query, now, Rcode::NOERROR, &[]);
        transaction.continued = false;
        transaction
    }

    /// Checks a query against the keys that are known. `None` if it is not signed at all.
    ///
    /// # Errors
    /// [`Rejection`], which can write the answer's record.
    pub fn check_query(keys: &Keyring, query: &[u8], now: u64) -> Result<Option<Self>, Box<Rejection>> {
        let reject = |error, signature| Box::new(Rejection { error, signature, transaction: None });
        let found = split(query).map_err(|error| reject(error.into(), None))?;
        let Some((unsigned, signature)) = found else { return Ok(None) };
        let Some(key) = keys.get(&signature.key, &signature.algorithm) else {
            return Err(reject(TsigError::UnknownKey, Some(signature)));
        };
        let mut digest = hmac::Context::with_key(key.hmac());
        signature.digest_message(query, unsigned, &mut digest);
        signature.digest_variables(&mut digest);
        if let Err(error) = key.compare(&signature.mac, &digest.sign()) {
            return Err(reject(error, Some(signature)));
        }
        let mut transaction = Self::after(key, &signature.mac);
        transaction.continued = false;
        if let Err(error) = signature.check_time(now) {
            let (signature, transaction) = (Some(signature), Some(transaction));
            return Err(Box::new(Rejection { error, signature, transaction }));
        }
        Ok(Some(transaction))
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Signs a message of the answer: appends its TSIG record.
    pub fn sign(&mut self, answer: &mut Vec<u8>, now: u64) {
        self.append(answer, now, Rcode::NOERROR, &[]);
    }

    /// Checks a message of the answer.
    ///
    /// # Errors
    /// [`TsigError`]; the exchange is to be given up then.
    pub fn check(&mut self, answer: &[u8], now: u64) -> Result<Checked, TsigError> {
        let Some((unsigned, signature)) = split(answer)? else {
            // RFC 8945 §5.3.1: the first is signed, and every hundredth at least.
            if !self.continued || self.unsigned >= UNSIGNED_MAX {
                return Err(TsigError::Unsigned);
            }
            self.unsigned += 1;
            self.digest.update(answer);
            return Ok(Checked::Unsigned);
        };
        if signature.mac.is_empty() && signature.error != Rcode::NOERROR {
            return Err(TsigError::Refused(signature.error));
        }
        if !self.key.is(&signature.key, &signature.algorithm) {
            return Err(TsigError::UnknownKey);
        }
        let mut digest = self.digest.clone();
        signature.digest_message(answer, unsigned, &mut digest);
        if self.continued {
            signature.digest_times(&mut digest);
        } else {
            signature.digest_variables(&mut digest);
        }
        self.key.compare(&signature.mac, &digest.sign())?;
        if signature.error != Rcode::NOERROR {
            return Err(TsigError::Refused(signature.error));
        }
        signature.check_time(now)?;
        *self = Self::after(&self.key, &signature.mac);
        Ok(Checked::Signed)
    }

    /// Whether the last message was signed, as it has to be at the end of an answer.
    ///
    /// # Errors
    /// [`TsigError::Unsigned`] if it was not.
    pub const fn finish(&self) -> Result<(), TsigError> {
        if self.continued && self.unsigned == 0 { Ok(()) } else { Err(TsigError::Unsigned) }
    }

    /// The state after a signature, which the next one covers.
    fn after(key: &Key, mac: &[u8]) -> Self {
        let mut digest = hmac::Context::with_key(key.hmac());
        // A signature is at most 64 octets.
        digest.update(&(mac.len() as u16).to_be_bytes());
        digest.update(mac);
        Self { key: key.clone(), digest, continued: true, unsigned: 0 }
    }

    fn append(&mut self, message: &mut Vec<u8>, time: u64, error: Rcode, other: &[u8]) {
        let id = Header::parse(message).map_or(0, |header| header.id);
        let mut signature = self.key.signature(id, time, error, other);
        let mut digest = self.digest.clone();
        digest.update(message);
        if self.continued {
            signature.digest_times(&mut digest);
        } else {
            signature.digest_variables(&mut digest);
        }
        signature.mac = self.key.cut(&digest.sign()).into();
        signature.append(message);
        *self = Self::after(&self.key, &signature.mac);
    }
}

#[cfg(test)]
mod tests;
