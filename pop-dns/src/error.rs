//! What can be wrong with a message.

use core::fmt;

/// Why octets are not a message: what, and at which offset. Small and `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The message ends where something was still to come.
    Truncated {
        /// Where it ends.
        offset: usize,
    },
    /// A label that is neither a length nor a pointer (RFC 6891 §5 retired the others).
    LabelType {
        /// Where.
        offset: usize,
    },
    /// A compression pointer that does not point strictly back, or into the header.
    Pointer {
        /// Where it stands.
        offset: usize,
        /// Where it points.
        target: usize,
    },
    /// A name of more than 255 octets.
    NameTooLong {
        /// Where it begins.
        offset: usize,
    },
    /// A compressed name where none may stand.
    Compressed {
        /// Where its pointer stands.
        offset: usize,
    },
    /// A name that follows more than [`POINTERS_MAX`](crate::POINTERS_MAX) pointers.
    TooManyPointers {
        /// Where the first beyond them stands.
        offset: usize,
    },
    /// More octets than the 65,535 of a message.
    TooLong {
        /// How many there are.
        octets: usize,
    },
    /// Octets after the last entry that the header counts.
    Trailing {
        /// Where they begin.
        offset: usize,
    },
    /// A TSIG record that is not the last of its message (RFC 8945 §5.1).
    Tsig {
        /// Where it begins.
        offset: usize,
    },
    /// A response where a query was expected.
    Response,
    /// A kind of query that is not implemented.
    Opcode(u8),
    /// An EDNS version above 0.
    Version(u8),
    /// RDATA that does not hold what its type says.
    RData {
        /// Where it begins.
        offset: usize,
    },
    /// More or fewer questions than a query may have (RFC 9619).
    QuestionCount {
        /// How many it claims.
        count: u16,
    },
    /// A second OPT record, or one whose owner is not the root (RFC 6891 §6.1.1).
    Opt {
        /// Where it begins.
        offset: usize,
    },
    /// An EDNS option whose contents break its own rules.
    Option {
        /// Its code.
        code: u16,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { offset } => write!(f, "message ends at offset {offset}"),
            Self::LabelType { offset } => write!(f, "unknown label type at offset {offset}"),
            Self::Pointer { offset, target } => {
                write!(f, "pointer at offset {offset} to {target} does not point back")
            }
            Self::NameTooLong { offset } => write!(f, "name at offset {offset} is longer than 255 octets"),
            Self::Compressed { offset } => {
                write!(f, "compressed name at offset {offset} where none may stand")
            }
            Self::TooManyPointers { offset } => write!(f, "too many pointers in one name at offset {offset}"),
            Self::TooLong { octets } => write!(f, "{octets} octets, a message has at most 65535"),
            Self::Trailing { offset } => write!(f, "octets after the last entry at offset {offset}"),
            Self::Tsig { offset } => write!(f, "TSIG at offset {offset} is not the last record"),
            Self::Response => f.write_str("a response, expected a query"),
            Self::Opcode(opcode) => write!(f, "opcode {opcode} is not implemented"),
            Self::Version(version) => write!(f, "EDNS version {version}, at most 0"),
            Self::RData { offset } => write!(f, "RDATA at offset {offset} does not fit its type"),
            Self::QuestionCount { count } => write!(f, "{count} questions, expected one"),
            Self::Opt { offset } => {
                write!(f, "OPT at offset {offset} is not the only one, or not at the root")
            }
            Self::Option { code } => write!(f, "EDNS option {code} is malformed"),
        }
    }
}

impl core::error::Error for ParseError {}
