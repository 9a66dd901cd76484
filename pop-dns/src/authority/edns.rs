//! The OPT record of an answer: what is echoed, what was asked for, what went wrong.

use super::respond::Asker;
use crate::{Query, Rcode, RecordType, Transport, UDP_PAYLOAD_OCTETS, option};

/// Octets of an OPT record without options.
const OPT_OCTETS: usize = 11;
/// Answers inside TLS fill blocks of so many octets (RFC 8467 §4.1).
const PADDING_BLOCK: usize = 468;
/// How long an idle stream is kept, in units of 100 ms (RFC 7828 §3.1): what [`crate::server`] does.
pub(super) const KEEPALIVE: u16 = 100;

/// What goes wrong beside the response code (RFC 8914).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExtendedError(pub(super) u16);

impl ExtendedError {
    /// The server is not authoritative for the name.
    pub(super) const NOT_AUTHORITATIVE: Self = Self(20);
    /// The client may not ask that.
    pub(super) const PROHIBITED: Self = Self(18);
}

/// What an OPT record is made of, beside the query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opt<'a> {
    /// The name of the server, if it was asked for.
    pub(super) nsid: Option<&'a [u8]>,
    /// Client and server cookie.
    pub(super) cookie: Option<[u8; 24]>,
    pub(super) scope: u8,
    pub(super) error: Option<ExtendedError>,
    /// What a signature behind the record will take.
    pub(super) signature_octets: usize,
    /// The query has options that are answered only over streams.
    keepalive: bool,
    padding: bool,
}

impl<'a> Opt<'a> {
    #[inline]
    pub(super) fn new(query: &Query<'_>, asker: &Asker<'_>, server_id: Option<&'a [u8]>) -> Self {
        let (transport, signature_octets) = (asker.transport, asker.signature_octets);
        let mut opt = Self {
            nsid: None,
            cookie: None,
            scope: 0,
            error: None,
            signature_octets,
            keepalive: false,
            padding: false,
        };
        if let Some(edns) = query.edns.filter(|edns| edns.has_options()) {
            for (code, _) in edns.options() {
                match code {
                    option::NSID => opt.nsid = server_id,
                    // RFC 7828 §3.2.1: never over UDP; HTTP has its own.
                    option::TCP_KEEPALIVE => {
                        opt.keepalive = matches!(transport, Transport::Tcp | Transport::Tls);
                    }
                    // RFC 7830 §4: only if the query was padded; in the clear it would hide nothing.
                    option::PADDING => opt.padding = matches!(transport, Transport::Tls | Transport::Https),
                    _ => {}
                }
            }
        }
        opt
    }

    /// Octets of the record, padding left out, and of a signature behind it.
    #[inline]
    pub(super) fn octets(&self, query: &Query<'_>) -> usize {
        if query.edns.is_none() {
            return self.signature_octets;
        }
        let subnet = query.client_subnet.map_or(0, |subnet| 8 + usize::from(subnet.block().1.div_ceil(8)));
        let cookie = if self.cookie.is_some() { 4 + 24 } else { 0 };
        let nsid = self.nsid.map_or(0, |nsid| 4 + nsid.len());
        let error = if self.error.is_some() { 4 + 2 } else { 0 };
        let keepalive = if self.keepalive { 6 } else { 0 };
        OPT_OCTETS + subnet + cookie + nsid + error + keepalive + self.signature_octets
    }

    /// Appends the record, if the query had one, and writes the response code into it and into the header.
    #[inline]
    pub(super) fn finish(&self, query: &Query<'_>, rcode: Rcode, limit: usize, message: &mut Vec<u8>) {
        message[3] = message[3] & 0xF0 | (rcode.0 & 0x0F) as u8;
        let Some(edns) = query.edns else { return };
        let [p0, p1] = UDP_PAYLOAD_OCTETS.to_be_bytes();
        let start = message.len();
        let dnssec_ok = u8::from(edns.dnssec_ok) << 7;
        message.extend_from_slice(&[
            0,
            0,
            RecordType::OPT.0 as u8,
            p0,
            p1,
            (rcode.0 >> 4) as u8,
            0,
            dnssec_ok,
            0,
            0,
            0,
        ]);
        let count = u16::from_be_bytes([message[10], message[11]]) + 1;
        message[10..12].copy_from_slice(&count.to_be_bytes());
        if !edns.has_options() && self.error.is_none() {
            return;
        }
        self.options(query, limit, message);
        let octets = (message.len() - start - OPT_OCTETS) as u16;
        message[start + 9..start + OPT_OCTETS].copy_from_slice(&octets.to_be_bytes());
    }

    fn options(&self, query: &Query<'_>, limit: usize, message: &mut Vec<u8>) {
        if let Some(subnet) = query.client_subnet {
            let mut contents = [0; 20];
            // RFC 7871 §7.2.1: echoed with the scope of the answer; §7.1.2: a source of 0 keeps scope 0.
            let scope = if subnet.block().1 == 0 { 0 } else { self.scope };
            let octets = subnet.with_scope(scope).write(&mut contents);
            push(message, option::CLIENT_SUBNET, &contents[..octets]);
        }
        if let Some(cookie) = &self.cookie {
            push(message, option::COOKIE, cookie);
        }
        if let Some(nsid) = self.nsid {
            push(message, option::NSID, nsid);
        }
        if let Some(ExtendedError(code)) = self.error {
            push(message, option::EXTENDED_ERROR, &code.to_be_bytes());
        }
        if self.keepalive {
            push(message, option::TCP_KEEPALIVE, &KEEPALIVE.to_be_bytes());
        }
        let padded = (message.len() + 4).next_multiple_of(PADDING_BLOCK);
        if self.padding && padded + self.signature_octets <= limit {
            let octets = padded - message.len() - 4;
            push(message, option::PADDING, &[0; PADDING_BLOCK][..octets]);
        }
    }
}

fn push(message: &mut Vec<u8>, code: u16, contents: &[u8]) {
    message.extend_from_slice(&code.to_be_bytes());
    message.extend_from_slice(&(contents.len() as u16).to_be_bytes());
    message.extend_from_slice(contents);
}
