//! Where a zone file is wrong, and how.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::{NameBuf, NameError, ParseError, RDataTextError, RecordType};

/// A zone that cannot be loaded: file, line, column, and what was expected. The running zone stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError {
    /// The file, if it came from one.
    pub file: Option<PathBuf>,
    /// The line, from 1; 0 where the zone as a whole is meant.
    pub line: usize,
    /// The column in octets, from 1; 0 where the line as a whole is meant.
    pub column: usize,
    /// What is wrong.
    pub problem: ZoneProblem,
}

/// What is wrong with a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZoneProblem {
    /// The file cannot be read.
    Unreadable(std::io::ErrorKind),
    /// An end of file inside quotes or parentheses.
    Unclosed(&'static str),
    /// Something stands there that is not what was expected.
    Expected(&'static str),
    /// A name that cannot be.
    Name(NameError),
    /// RDATA that cannot be.
    RData(RDataTextError),
    /// The record lies outside the zone.
    OutOfZone {
        /// Its owner.
        owner: NameBuf,
        /// The zone.
        origin: NameBuf,
    },
    /// A CNAME beside other data (RFC 1034 §3.6.2).
    CnameAndOther {
        /// The name.
        owner: NameBuf,
    },
    /// More than one of a record of which there is one.
    Several {
        /// The name.
        owner: NameBuf,
        /// The type.
        rtype: RecordType,
    },
    /// The zone has no SOA.
    NoSoa {
        /// The zone.
        origin: NameBuf,
    },
    /// The zone has no name server.
    NoNs {
        /// The zone.
        origin: NameBuf,
    },
    /// `$INCLUDE` deeper than the limit, or outside the folder.
    Include(&'static str),
    /// RDATA, or a name, that does not hold what its type says.
    Malformed(ParseError),
    /// A set that no message has room for.
    TooLarge {
        /// The name.
        owner: NameBuf,
        /// The type.
        rtype: RecordType,
    },
    /// More records than [`ZONE_RECORDS_MAX`](super::ZONE_RECORDS_MAX).
    TooMany,
}

impl ZoneError {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let problem = ZoneProblem::Unreadable(error.kind());
        Self { file: Some(path.to_owned()), line: 0, column: 0, problem }
    }
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        if self.line > 0 {
            write!(f, "line {}, ", self.line)?;
        }
        if self.column > 0 {
            write!(f, "column {}: ", self.column)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for ZoneError {}

impl std::error::Error for ZoneProblem {}

impl fmt::Display for ZoneProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(kind) => write!(f, "cannot be read: {kind}"),
            Self::Unclosed(what) => write!(f, "expected {what} before the end of the file"),
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::Name(error) => error.fmt(f),
            Self::RData(error) => error.fmt(f),
            Self::OutOfZone { owner, origin } => write!(f, "expected a name within {origin}, found {owner}"),
            Self::CnameAndOther { owner } => write!(f, "expected nothing beside the CNAME of {owner}"),
            Self::Several { owner, rtype } => {
                write!(f, "expected one {rtype} record at {owner}, found several")
            }
            Self::NoSoa { origin } => write!(f, "expected a SOA record at {origin}, found none"),
            Self::NoNs { origin } => write!(f, "expected an NS record at {origin}, found none"),
            Self::Include(what) => write!(f, "$INCLUDE: expected {what}"),
            Self::Malformed(error) => error.fmt(f),
            Self::TooLarge { owner, rtype } => {
                write!(f, "expected {rtype} records at {owner} that fit into a message")
            }
            Self::TooMany => write!(f, "expected at most {} records", super::ZONE_RECORDS_MAX),
        }
    }
}
