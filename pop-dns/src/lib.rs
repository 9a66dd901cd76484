#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(not(feature = "tokio"), forbid(unsafe_code))]
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "std")]
mod authority;
#[cfg(feature = "alloc")]
mod builder;
mod edns;
mod error;
mod header;
mod message;
mod name;
#[cfg(feature = "alloc")]
mod name_buf;
mod query;
#[cfg(feature = "alloc")]
mod rdata_text;
#[cfg(feature = "tokio")]
pub mod server;
mod time;
#[cfg(feature = "std")]
pub mod zone;

#[cfg(feature = "std")]
pub use authority::{Authority, ClientBlock, DynamicAnswer, DynamicQuery, LearnedFrom, Outcome, Transport};
#[cfg(feature = "alloc")]
pub use builder::{EdnsParts, Full, MessageBuilder};
pub use edns::{ClientSubnet, Edns, UDP_PAYLOAD_OCTETS, option};
pub use error::ParseError;
pub use header::{Class, Flags, HEADER_OCTETS, Header, Opcode, Rcode, RecordType};
pub use message::{Message, Question, Questions, RData, Record, Records, Section, Soa, Strings};
pub use name::{LABEL_OCTETS_MAX, Labels, NAME_OCTETS_MAX, Name};
#[cfg(feature = "alloc")]
pub use name_buf::{NameBuf, NameError};
pub use query::{Query, QueryError};
#[cfg(feature = "alloc")]
pub use rdata_text::{RDataTextError, Token, parse_rdata};
pub use time::Timestamp;
