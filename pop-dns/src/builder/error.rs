//! What cannot be written.

use core::fmt;

use crate::{ParseError, Section};

/// What cannot be written. The message is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// No room is left below the limit, what is reserved for EDNS subtracted.
    Full {
        /// The limit in octets.
        limit: usize,
    },
    /// A name, of the owner or in RDATA, is broken.
    Name(ParseError),
    /// A section that comes before the one that was written last.
    Order(Section),
    /// A section holds at most 65,535 entries.
    Count(Section),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "no room left in a message of {limit} octets"),
            Self::Name(_) => f.write_str("a broken name cannot be written"),
            Self::Order(section) => write!(f, "the section {section:?} was finished before"),
            Self::Count(section) => write!(f, "the section {section:?} holds 65535 records already"),
        }
    }
}

impl core::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ParseError> for BuildError {
    fn from(error: ParseError) -> Self {
        Self::Name(error)
    }
}
