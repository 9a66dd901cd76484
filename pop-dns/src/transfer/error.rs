//! Why a transfer failed.

use std::fmt;
use std::io;

use crate::tsig::TsigError;
use crate::zone::ZoneProblem;
use crate::{ParseError, Rcode};

/// Why a transfer failed. The zone that is in use stays in use.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransferError {
    /// The connection failed.
    Network(io::Error),
    /// A message cannot be read, or is not of this transfer.
    Malformed(ParseError),
    /// The server refused.
    Code(Rcode),
    /// The messages do not make a transfer: what was expected.
    Expected(&'static str),
    /// The zone that came is not one.
    Zone(ZoneProblem),
    /// The changes delete what is not there, or begin at another serial than ours.
    Mismatch,
    /// More changes than [`CHANGES_MAX`](super::CHANGES_MAX).
    TooManyChanges,
    /// A signature.
    Tsig(TsigError),
    /// The zone that came is no newer than the one we have.
    Older {
        /// Ours.
        ours: u32,
        /// Theirs.
        theirs: u32,
    },
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(_) => f.write_str("the connection failed"),
            Self::Malformed(_) => f.write_str("a message of the transfer is malformed"),
            Self::Code(rcode) => write!(f, "the server answered {rcode}"),
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::Zone(_) => f.write_str("what came is no zone"),
            Self::Mismatch => f.write_str("the changes do not fit the zone that we have"),
            Self::TooManyChanges => f.write_str("more changes than are taken one by one"),
            Self::Tsig(_) => f.write_str("the transfer is not signed as it has to be"),
            Self::Older { ours, theirs } => write!(f, "serial {theirs} is not newer than ours, {ours}"),
        }
    }
}

impl std::error::Error for TransferError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Network(error) => Some(error),
            Self::Malformed(error) => Some(error),
            Self::Zone(problem) => Some(problem),
            Self::Tsig(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ParseError> for TransferError {
    fn from(error: ParseError) -> Self {
        Self::Malformed(error)
    }
}

impl From<ZoneProblem> for TransferError {
    fn from(problem: ZoneProblem) -> Self {
        Self::Zone(problem)
    }
}

impl From<TsigError> for TransferError {
    fn from(error: TsigError) -> Self {
        Self::Tsig(error)
    }
}

impl From<io::Error> for TransferError {
    fn from(error: io::Error) -> Self {
        Self::Network(error)
    }
}
