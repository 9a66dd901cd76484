//! One query on its way and what may answer it. No socket and no clock.
//!
//! An answer is taken only if an attacker who does not see the query could not have made it but by luck: the
//! identifier (16 bits), the question octet for octet with the spelling we chose at random (0x20, about one bit a
//! letter), our cookie if there is one (64 bits), the client subnet that we sent; the port is the socket's affair.
//! Whatever else comes, malformed answers above all, is ignored while the real one is awaited: an off-path
//! attacker who could end the wait with a broken packet would win the race against the server (TuDoor, 2024).

use super::Request;
use crate::header::HEADER_OCTETS;
use crate::random::Random;
use crate::{
    BuildError, ClientSubnet, Cookie, EdnsParts, Flags, Header, Message, MessageBuilder, Rcode, option,
};

/// Octets that a query inside TLS is padded to a multiple of (RFC 8467 §4.1).
const PADDING_BLOCK_OCTETS: usize = 128;
/// Octets of an option before its contents.
const OPTION_HEAD_OCTETS: usize = 4;

/// How an answer comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// Anybody may send us packets: everything is compared.
    Datagram,
    /// A stream to the server: identifier and question are enough.
    Stream,
    /// The same, and nobody may learn lengths.
    Tls,
}

/// What our cookies with a server are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cookies {
    /// Ours.
    pub(super) client: [u8; 8],
    /// The server's, if we have one: octets and how many count.
    pub(super) server: Option<([u8; 32], u8)>,
}

/// What was made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This is the answer.
    Answer,
    /// This is the answer, and it did not fit: ask by TCP.
    Truncated,
    /// The server wants its own cookie back, which the packet holds.
    BadCookie,
    /// A code without a question, as servers send that do not know EDNS. It proves nothing, so it counts only if
    /// nothing better comes.
    Bare(Rcode),
    /// Not ours.
    Ignored,
}

/// A query that was sent.
#[derive(Debug)]
pub(super) struct Exchange {
    wire: Vec<u8>,
    /// Where the question ends.
    question_end: usize,
    subnet: Option<ClientSubnet>,
    cookies: Option<Cookies>,
    path: Path,
}

impl Exchange {
    /// Writes `request` with an identifier and a spelling drawn from `random`.
    pub(super) fn new(
        request: &Request,
        cookies: Option<Cookies>,
        path: Path,
        random: &Random,
    ) -> Result<Self, BuildError> {
        let mut name = request.name.as_wire().to_vec();
        if path == Path::Datagram {
            spell(&mut name, random);
        }
        let cookies = cookies.filter(|_| request.edns.is_some() && request.cookies);
        let mut builder = MessageBuilder::new(usize::from(u16::MAX));
        builder.set_header(random.next() as u16, request.flags);
        builder.question(&name, request.qtype, request.qclass)?;
        let question_end = builder.len();
        let subnet = request.client_subnet.filter(|_| request.edns.is_some());
        if let Some(udp_payload) = request.edns {
            let mut cookie = [0; 40];
            let mut options: Vec<(u16, &[u8])> = Vec::with_capacity(3);
            if let Some(cookies) = &cookies {
                cookie[..8].copy_from_slice(&cookies.client);
                let (server, octets) = cookies.server.unwrap_or_default();
                let end = 8 + usize::from(octets);
                cookie[8..end].copy_from_slice(&server[..usize::from(octets)]);
                options.push((option::COOKIE, &cookie[..end]));
            }
            if request.nsid {
                options.push((option::NSID, &[]));
            }
            let mut edns = EdnsParts {
                udp_payload,
                dnssec_ok: request.dnssec_ok,
                compact_ok: false,
                client_subnet: subnet,
                options: &options,
            };
            let padding = [0; PADDING_BLOCK_OCTETS];
            let padded: Vec<_>;
            if path == Path::Tls {
                let octets = question_end + edns.octets() + OPTION_HEAD_OCTETS;
                let missing = octets.next_multiple_of(PADDING_BLOCK_OCTETS) - octets;
                padded = options.iter().copied().chain([(option::PADDING, &padding[..missing])]).collect();
                edns.options = &padded;
            }
            builder.edns(&edns, Rcode::NOERROR)?;
        }
        Ok(Self { wire: builder.finish(), question_end, subnet, cookies, path })
    }

    /// The message to send.
    pub(super) fn wire(&self) -> &[u8] {
        &self.wire
    }

    pub(super) fn id(&self) -> u16 {
        u16::from_be_bytes([self.wire[0], self.wire[1]])
    }

    /// Takes another identifier, where this one is in use on the same stream.
    pub(super) fn set_id(&mut self, id: u16) {
        self.wire[..2].copy_from_slice(&id.to_be_bytes());
    }

    /// Whether `packet` is the answer.
    pub(super) fn judge(&self, packet: &[u8]) -> Verdict {
        let Ok(message) = Message::parse(packet) else { return Verdict::Ignored };
        let Header { id, flags, counts } = message.header();
        if id != self.id() || !flags.has(Flags::QR) || flags.opcode() != self.opcode() {
            return Verdict::Ignored;
        }
        if counts == [0; 4] && flags.rcode() != Rcode::NOERROR && packet.len() == HEADER_OCTETS {
            return Verdict::Bare(flags.rcode());
        }
        if counts[0] != 1 || !self.same_question(packet) {
            return Verdict::Ignored;
        }
        if flags.has(Flags::TC) && self.path == Path::Datagram {
            // What is left of it is not read, so it need not be whole.
            return Verdict::Truncated;
        }
        if message.check().is_err() { Verdict::Ignored } else { self.judge_edns(&message) }
    }

    fn opcode(&self) -> crate::Opcode {
        Flags(u16::from_be_bytes([self.wire[2], self.wire[3]])).opcode()
    }

    fn same_question(&self, packet: &[u8]) -> bool {
        let ours = &self.wire[HEADER_OCTETS..self.question_end];
        let Some(theirs) = packet.get(HEADER_OCTETS..self.question_end) else { return false };
        // Type and class are never letters of different case by accident: the last four octets are compared exactly.
        let (name, rest) = ours.split_at(ours.len() - 4);
        match self.path {
            Path::Datagram => ours == theirs,
            _ => name.eq_ignore_ascii_case(&theirs[..name.len()]) && rest == &theirs[name.len()..],
        }
    }

    fn judge_edns(&self, message: &Message<'_>) -> Verdict {
        let Ok(edns) = message.edns() else { return Verdict::Ignored };
        let Some(edns) = edns else {
            return if self.expects_cookie() { Verdict::Ignored } else { Verdict::Answer };
        };
        let Ok(cookie) = edns.cookie() else { return Verdict::Ignored };
        match (cookie, self.cookies) {
            // RFC 7873 §5.3: not our cookie, or none although the server gave us one before.
            (Some(theirs), Some(ours)) if theirs.client != ours.client => return Verdict::Ignored,
            (None, Some(_)) if self.expects_cookie() => return Verdict::Ignored,
            _ => {}
        }
        if let Some(ours) = self.subnet {
            match edns.client_subnet() {
                // RFC 7871 §7.3: an answer for another block than was asked for.
                Ok(Some(theirs)) if theirs.block() != ours.block() => return Verdict::Ignored,
                Err(_) => return Verdict::Ignored,
                Ok(_) => {}
            }
        }
        match edns.rcode(message.header().flags.rcode()) {
            Rcode::BADCOOKIE if self.cookies.is_some() => Verdict::BadCookie,
            _ => Verdict::Answer,
        }
    }

    fn expects_cookie(&self) -> bool {
        self.path == Path::Datagram && self.cookies.is_some_and(|cookies| cookies.server.is_some())
    }

    /// The server's cookie in an answer that was judged ours.
    pub(super) fn server_cookie(&self, packet: &[u8]) -> Option<([u8; 32], u8)> {
        self.cookies?;
        let edns = Message::parse(packet).ok()?.edns().ok()??;
        let Cookie { server, .. } = edns.cookie().ok()??;
        let mut octets = [0; 32];
        octets.get_mut(..server.len())?.copy_from_slice(server);
        (!server.is_empty()).then_some((octets, server.len() as u8))
    }

    /// Puts the spelling that was asked for back into an answer that was judged ours.
    pub(super) fn restore(&self, request: &Request, packet: &mut [u8]) {
        let name = request.name.as_wire();
        packet[HEADER_OCTETS..HEADER_OCTETS + name.len()].copy_from_slice(name);
    }
}

/// Gives each letter a case by lot (draft-vixie-dnsext-dns0x20).
fn spell(name: &mut [u8], random: &Random) {
    for chunk in name.chunks_mut(64) {
        let mut bits = random.next();
        for octet in chunk {
            // Lengths are below 64, hence never letters.
            if octet.is_ascii_alphabetic() {
                *octet ^= (bits as u8 & 1) << 5;
            }
            bits >>= 1;
        }
    }
}
