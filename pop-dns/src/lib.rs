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
mod builder;
#[cfg(feature = "tokio")]
pub mod client;
#[cfg(feature = "dnssec")]
pub mod dnssec;
#[cfg(feature = "doh")]
pub mod doh;
mod edns;
mod error;
#[cfg(feature = "tokio")]
pub mod forward;
mod frame;
mod header;
mod message;
mod name;
mod query;
#[cfg(feature = "tokio")]
mod random;
pub mod rdata;
mod registry;
#[cfg(feature = "tokio")]
pub mod server;
mod time;
#[cfg(all(feature = "tokio", feature = "dnssec"))]
pub mod transfer;
#[cfg(feature = "dnssec")]
pub mod tsig;
#[cfg(feature = "std")]
pub mod zone;

#[cfg(feature = "std")]
pub use authority::{
    Authority, ClientBlock, CookiePolicy, DynamicAnswer, DynamicQuery, LearnedFrom, Limit, LimitQuery,
    Notification, Outcome, ResponseRateLimit, Transfer, TransferQuery, Transport, UPDATE_RECORDS_MAX, Update,
    ZONE_CHANGES_MAX,
};
pub use builder::{Buffer, BuildError, EdnsParts, MessageBuilder, SliceBuffer};
pub use edns::{
    ClientSubnet, Cookie, CookieSecret, CookieVerdict, Edns, EdnsOption, ExtendedError, UDP_PAYLOAD_OCTETS,
    option,
};
pub use error::ParseError;
pub use frame::{Frame, first_frame, frame_length};
pub use header::{Flags, HEADER_OCTETS, Header};
pub use message::{MESSAGE_OCTETS_MAX, Message, Question, Questions, Record, Records, Section};
pub use name::{HashKey, LABEL_OCTETS_MAX, LABELS_MAX, Labels, NAME_OCTETS_MAX, Name, POINTERS_MAX};
#[cfg(feature = "alloc")]
pub use name::{NameBuf, NameError};
pub use query::{Query, QueryError};
pub use rdata::{RData, RawRData};
#[cfg(feature = "alloc")]
pub use rdata::{RDataTextError, Token, parse_rdata};
pub use registry::{Class, Opcode, Rcode, RecordType};
pub use time::Timestamp;
