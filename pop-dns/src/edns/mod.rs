//! EDNS (RFC 6891): the OPT pseudo-record and the options that a server of a PoP uses.

mod contents;
mod cookie;
mod errors;
mod subnet;

pub use contents::EdnsOption;
#[cfg(feature = "tokio")]
pub(crate) use cookie::siphash;
pub use cookie::{Cookie, CookieSecret, CookieVerdict};
pub use errors::ExtendedError;
pub use subnet::ClientSubnet;

use crate::{ParseError, Rcode, Record};

/// The UDP payload size that crosses practically every path unfragmented: 1232 octets, the minimum IPv6 MTU of 1280
/// less headers (DNS Flag Day 2020). RFC 9715 §3.1 asks for at most 1400.
pub const UDP_PAYLOAD_OCTETS: u16 = 1232;

/// Option codes (IANA registry).
pub mod option {
    /// DNSSEC algorithms understood (RFC 6975).
    pub const DAU: u16 = 5;
    /// DS hashes understood (RFC 6975).
    pub const DHU: u16 = 6;
    /// NSEC3 hashes understood (RFC 6975).
    pub const N3U: u16 = 7;
    /// When a zone expires (RFC 7314).
    pub const EXPIRE: u16 = 9;
    /// How long an idle TCP connection is kept (RFC 7828).
    pub const TCP_KEEPALIVE: u16 = 11;
    /// Octets that hide the length (RFC 7830).
    pub const PADDING: u16 = 12;
    /// The chain of trust from a name (RFC 7901).
    pub const CHAIN: u16 = 13;
    /// Trust anchors in use (RFC 8145).
    pub const KEY_TAG: u16 = 14;
    /// Where errors are reported (RFC 9567).
    pub const REPORT_CHANNEL: u16 = 18;
    /// The version of the zone (RFC 9660).
    pub const ZONE_VERSION: u16 = 19;
    /// The name of the server (RFC 5001).
    pub const NSID: u16 = 3;
    /// The client's subnet (RFC 7871).
    pub const CLIENT_SUBNET: u16 = 8;
    /// Cookies (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// What went wrong, in more detail (RFC 8914).
    pub const EXTENDED_ERROR: u16 = 15;
}

/// What an OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'m> {
    /// The largest UDP response that the sender takes, in octets; below 512 counts as 512.
    pub udp_payload: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// The version; only 0 exists.
    pub version: u8,
    /// DNSSEC records are wanted (RFC 3225).
    pub dnssec_ok: bool,
    /// Compact answers are understood: the CO bit (RFC 9824 §5).
    pub compact_ok: bool,
    options: &'m [u8],
}

impl<'m> Edns<'m> {
    pub(crate) fn from_record(record: &Record<'m>) -> Result<Self, ParseError> {
        let [extended_rcode, version, flags, _] = record.ttl.to_be_bytes();
        let edns = Self {
            udp_payload: record.class.0.max(512),
            extended_rcode,
            version,
            dnssec_ok: flags & 0x80 != 0,
            compact_ok: flags & 0x40 != 0,
            options: record.rdata_octets(),
        };
        let mut rest = edns.options;
        while !rest.is_empty() {
            (_, rest) = split_option(rest).ok_or(ParseError::Option { code: 0 })?;
        }
        Ok(edns)
    }

    /// The options, code and contents, in their order.
    pub fn options(&self) -> impl Iterator<Item = (u16, &'m [u8])> {
        let mut rest = self.options;
        core::iter::from_fn(move || {
            let (option, tail) = split_option(rest)?;
            rest = tail;
            Some(option)
        })
    }

    /// Whether there is any option.
    #[inline]
    #[must_use]
    pub const fn has_options(&self) -> bool {
        !self.options.is_empty()
    }

    /// The options by their codes.
    pub fn typed_options(&self) -> impl Iterator<Item = Result<EdnsOption<'m>, ParseError>> {
        self.options().map(|(code, contents)| EdnsOption::parse(code, contents))
    }

    /// The cookies of client and server, if there are any.
    ///
    /// # Errors
    /// [`ParseError::Option`] if they have lengths that RFC 7873 §5.2.2 answers with FORMERR.
    pub fn cookie(&self) -> Result<Option<Cookie<'m>>, ParseError> {
        self.option(option::COOKIE).map(Cookie::parse).transpose()
    }

    /// The contents of the first option with this code.
    #[must_use]
    pub fn option(&self, code: u16) -> Option<&'m [u8]> {
        self.options().find(|(found, _)| *found == code).map(|(_, contents)| contents)
    }

    /// The client subnet, if there is one.
    ///
    /// # Errors
    /// [`ParseError::Option`] if it breaks RFC 7871 §6: such a query is answered FORMERR.
    pub fn client_subnet(&self) -> Result<Option<ClientSubnet>, ParseError> {
        self.option(option::CLIENT_SUBNET).map(ClientSubnet::parse).transpose()
    }

    /// The whole response code, with the four bits of the header.
    #[must_use]
    pub const fn rcode(&self, header: Rcode) -> Rcode {
        Rcode((self.extended_rcode as u16) << 4 | header.0)
    }
}

/// Code and contents of the first option, and what follows it.
type SplitOption<'m> = ((u16, &'m [u8]), &'m [u8]);

fn split_option(octets: &[u8]) -> Option<SplitOption<'_>> {
    let (&[c0, c1, l0, l1], rest) = octets.split_first_chunk()?;
    let (contents, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
    Some(((u16::from_be_bytes([c0, c1]), contents), rest))
}
