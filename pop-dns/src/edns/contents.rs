//! What the options of EDNS say, by their codes.

use super::{ClientSubnet, Cookie, option};
use crate::{Name, ParseError};

/// An option by its code, borrowed from the message.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EdnsOption<'m> {
    /// The name of the server; empty in a query (RFC 5001).
    Nsid(&'m [u8]),
    /// DNSSEC algorithms understood, one octet each (RFC 6975).
    Dau(&'m [u8]),
    /// DS hashes understood, one octet each (RFC 6975).
    Dhu(&'m [u8]),
    /// NSEC3 hashes understood, one octet each (RFC 6975).
    N3u(&'m [u8]),
    /// The client's subnet (RFC 7871).
    ClientSubnet(ClientSubnet),
    /// Seconds until the zone expires; nothing in a query (RFC 7314).
    Expire(Option<u32>),
    /// Cookies (RFC 7873).
    Cookie(Cookie<'m>),
    /// How long an idle TCP connection is kept, in units of 100 ms; nothing in a query (RFC 7828).
    TcpKeepalive(Option<u16>),
    /// Octets that hide the length (RFC 7830), how many.
    Padding(usize),
    /// The closest name whose trust the client has (RFC 7901).
    Chain(Name<'m>),
    /// Key tags of trust anchors, two octets each (RFC 8145).
    KeyTag(&'m [[u8; 2]]),
    /// What went wrong (RFC 8914).
    ExtendedError {
        /// The code: see [`ExtendedError`](crate::ExtendedError).
        code: u16,
        /// Text for people, perhaps empty.
        text: &'m str,
    },
    /// The agent errors are reported to (RFC 9567).
    ReportChannel(Name<'m>),
    /// The version of the zone: labels of its name, type of version and version; nothing in a query (RFC 9660).
    ZoneVersion(Option<(u8, u8, &'m [u8])>),
    /// Any other option.
    Unknown(u16, &'m [u8]),
}

impl<'m> EdnsOption<'m> {
    /// Reads the contents of an option by its code.
    ///
    /// # Errors
    /// [`ParseError::Option`] where they do not have the form that the option's RFC gives.
    pub fn parse(code: u16, contents: &'m [u8]) -> Result<Self, ParseError> {
        let bad = ParseError::Option { code };
        let name = || Name::from_wire(contents).map_err(|_| bad);
        Ok(match code {
            option::NSID => Self::Nsid(contents),
            option::DAU => Self::Dau(contents),
            option::DHU => Self::Dhu(contents),
            option::N3U => Self::N3u(contents),
            option::CLIENT_SUBNET => Self::ClientSubnet(ClientSubnet::parse(contents)?),
            option::EXPIRE if contents.is_empty() => Self::Expire(None),
            option::EXPIRE => Self::Expire(Some(u32::from_be_bytes(contents.try_into().map_err(|_| bad)?))),
            option::COOKIE => Self::Cookie(Cookie::parse(contents)?),
            option::TCP_KEEPALIVE if contents.is_empty() => Self::TcpKeepalive(None),
            option::TCP_KEEPALIVE => {
                Self::TcpKeepalive(Some(u16::from_be_bytes(contents.try_into().map_err(|_| bad)?)))
            }
            option::PADDING => Self::Padding(contents.len()),
            option::CHAIN => Self::Chain(name()?),
            option::KEY_TAG => match contents.as_chunks() {
                (tags, []) if !tags.is_empty() => Self::KeyTag(tags),
                _ => return Err(bad),
            },
            option::EXTENDED_ERROR => {
                let (code, text) = contents.split_first_chunk().ok_or(bad)?;
                // RFC 8914 §2: the text may or may not end in a zero octet.
                let text = text.strip_suffix(&[0]).unwrap_or(text);
                let text = core::str::from_utf8(text).map_err(|_| bad)?;
                Self::ExtendedError { code: u16::from_be_bytes(*code), text }
            }
            option::REPORT_CHANNEL => Self::ReportChannel(name()?),
            option::ZONE_VERSION => match contents {
                [] => Self::ZoneVersion(None),
                [labels, kind, version @ ..] => Self::ZoneVersion(Some((*labels, *kind, version))),
                _ => return Err(bad),
            },
            _ => Self::Unknown(code, contents),
        })
    }
}
