//! Writing messages, with name compression (RFC 1035 §4.1.4) and a size limit.

use alloc::vec::Vec;

use crate::header::HEADER_OCTETS;
use crate::{Class, ClientSubnet, Flags, Header, NameBuf, Rcode, RecordType, Section, UDP_PAYLOAD_OCTETS};

/// Suffixes that are remembered as targets of compression pointers. More names than this in one message are
/// written out, so that building stays linear whatever the names are.
const TARGETS_MAX: usize = 128;
/// A pointer has fourteen bits.
const POINTER_MAX: usize = 0x3fff;

/// The message has no room for what was to be added; nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The limit in octets.
    pub limit: usize,
}

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "no room left in a message of {} octets", self.limit)
    }
}

impl core::error::Error for Full {}

/// The EDNS part of a message that is being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdnsParts<'a> {
    /// The UDP payload that we take, in octets.
    pub udp_payload: u16,
    /// DNSSEC records are wanted, or were.
    pub dnssec_ok: bool,
    /// The subnet of the client, in answers with its scope.
    pub client_subnet: Option<ClientSubnet>,
    /// Further options, code and contents.
    pub options: &'a [(u16, &'a [u8])],
}

/// Builds a message in a buffer that grows up to a limit.
///
/// Sections are written in their order: questions, answers, authority, additional. What does not fit is refused
/// whole and the buffer left as it was, so a caller can set TC, or leave out what is optional.
#[derive(Debug)]
pub struct MessageBuilder {
    octets: Vec<u8>,
    limit: usize,
    header: Header,
    /// Where suffixes begin that a pointer may name, with a hash to tell most of them apart.
    targets: Vec<(u16, u16)>,
    /// Octets held back for the OPT record.
    reserved: usize,
}

impl MessageBuilder {
    /// An empty message of at most `limit` octets (never below 512).
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self::with_buffer(Vec::with_capacity(512), limit)
    }

    /// The same in a buffer that is emptied and used again.
    #[must_use]
    pub fn with_buffer(mut octets: Vec<u8>, limit: usize) -> Self {
        octets.clear();
        octets.resize(HEADER_OCTETS, 0);
        let limit = limit.clamp(512, usize::from(u16::MAX));
        Self { octets, limit, header: Header::default(), targets: Vec::new(), reserved: 0 }
    }

    /// A query for `name` with recursion desired.
    #[must_use]
    pub fn query(id: u16, name: &NameBuf, qtype: RecordType) -> Self {
        let mut builder = Self::new(512);
        builder.set_header(id, Flags(Flags::RD));
        // A name of at most 255 octets and four more always fit into 512.
        let _ = builder.question(name.as_wire(), qtype, Class::IN);
        builder
    }

    /// Sets id and flags.
    pub fn set_header(&mut self, id: u16, flags: Flags) {
        (self.header.id, self.header.flags) = (id, flags);
    }

    /// Sets the flags alone.
    pub fn set_flags(&mut self, flags: Flags) {
        self.header.flags = flags;
    }

    /// The flags as they are now.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        self.header.flags
    }

    /// Marks the message as truncated.
    pub fn set_truncated(&mut self) {
        self.header.flags = self.header.flags.with(Flags::TC);
    }

    /// Holds back room for the EDNS part, so that records cannot crowd it out.
    pub fn reserve_edns(&mut self, edns: &EdnsParts<'_>) {
        self.reserved = edns_octets(edns);
    }

    /// Adds a question; `name` is uncompressed wire format.
    ///
    /// # Errors
    /// [`Full`].
    pub fn question(&mut self, name: &[u8], qtype: RecordType, qclass: Class) -> Result<(), Full> {
        self.all_or_nothing(|builder| {
            builder.write_name(name, true);
            builder.octets.extend_from_slice(&qtype.0.to_be_bytes());
            builder.octets.extend_from_slice(&qclass.0.to_be_bytes());
        })?;
        self.header.counts[0] += 1;
        Ok(())
    }

    /// Adds the records of a set, all of them or none. `owner` and names in `rdata` are uncompressed wire format;
    /// names are compressed where RFC 3597 §4 allows it.
    ///
    /// # Errors
    /// [`Full`].
    pub fn rrset<'a>(
        &mut self,
        section: Section,
        owner: &[u8],
        rtype: RecordType,
        ttl: u32,
        rdata: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Full> {
        let mut count = 0;
        self.all_or_nothing(|builder| {
            for rdata in rdata {
                builder.write_record(owner, rtype, ttl, rdata);
                count += 1;
                if builder.octets.len() > builder.limit {
                    return; // Refused below; no need to write the rest.
                }
            }
        })?;
        self.header.counts[section as usize] += count;
        Ok(())
    }

    /// Adds the OPT record; call it last.
    ///
    /// # Errors
    /// [`Full`], but not if the room was [reserved](Self::reserve_edns).
    pub fn edns(&mut self, edns: &EdnsParts<'_>, rcode: Rcode) -> Result<(), Full> {
        self.reserved = 0;
        self.all_or_nothing(|builder| {
            let out = &mut builder.octets;
            out.push(0);
            out.extend_from_slice(&RecordType::OPT.0.to_be_bytes());
            out.extend_from_slice(&edns.udp_payload.to_be_bytes());
            out.extend_from_slice(&[(rcode.0 >> 4) as u8, 0, u8::from(edns.dnssec_ok) << 7, 0]);
            let length = edns_octets(edns) - 11;
            out.extend_from_slice(&(length as u16).to_be_bytes());
            let mut option = |code: u16, contents: &[u8]| {
                out.extend_from_slice(&code.to_be_bytes());
                out.extend_from_slice(&(contents.len() as u16).to_be_bytes());
                out.extend_from_slice(contents);
            };
            if let Some(subnet) = edns.client_subnet {
                let mut contents = [0; 20];
                let length = subnet.write(&mut contents);
                option(crate::edns::option::CLIENT_SUBNET, &contents[..length]);
            }
            edns.options.iter().for_each(|(code, contents)| option(*code, contents));
        })?;
        self.header.flags = self.header.flags.with_rcode(rcode);
        self.header.counts[3] += 1;
        Ok(())
    }

    /// Forgets every record, keeps the questions.
    pub fn clear_records(&mut self, question_octets: usize) {
        self.octets.truncate(question_octets);
        self.header.counts = [self.header.counts[0], 0, 0, 0];
        self.targets.retain(|&(offset, _)| usize::from(offset) < question_octets);
    }

    /// Octets so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing but the header is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.len() == HEADER_OCTETS
    }

    /// The finished message.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        self.octets[..HEADER_OCTETS].copy_from_slice(&self.header.to_wire());
        core::mem::take(&mut self.octets)
    }

    fn all_or_nothing(&mut self, write: impl FnOnce(&mut Self)) -> Result<(), Full> {
        let (octets, targets) = (self.octets.len(), self.targets.len());
        write(self);
        if self.octets.len() + self.reserved > self.limit {
            self.octets.truncate(octets);
            self.targets.truncate(targets);
            return Err(Full { limit: self.limit });
        }
        Ok(())
    }

    fn write_record(&mut self, owner: &[u8], rtype: RecordType, ttl: u32, rdata: &[u8]) {
        self.write_name(owner, true);
        self.octets.extend_from_slice(&rtype.0.to_be_bytes());
        self.octets.extend_from_slice(&Class::IN.0.to_be_bytes());
        self.octets.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.octets.len();
        self.octets.extend_from_slice(&[0, 0]);
        self.write_rdata(rtype, rdata);
        let length = (self.octets.len() - length_at - 2) as u16;
        self.octets[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// Only the types of RFC 1035 may be compressed (RFC 3597 §4).
    fn write_rdata(&mut self, rtype: RecordType, rdata: &[u8]) {
        let fixed = match rtype {
            RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::SOA => 0,
            RecordType::MX => 2,
            _ => return self.octets.extend_from_slice(rdata),
        };
        let names = if rtype == RecordType::SOA { 2 } else { 1 };
        let Some((head, mut rest)) = rdata.split_at_checked(fixed) else {
            return self.octets.extend_from_slice(rdata);
        };
        self.octets.extend_from_slice(head);
        for _ in 0..names {
            let (name, tail) = rest.split_at(wire_name_octets(rest));
            self.write_name(name, true);
            rest = tail;
        }
        self.octets.extend_from_slice(rest);
    }

    /// Writes a name, from the first suffix that stands already as a pointer.
    fn write_name(&mut self, wire: &[u8], compress: bool) {
        let mut position = 0;
        while position < wire.len() && wire[position] != 0 {
            let suffix = &wire[position..];
            let hash = suffix_hash(suffix);
            if let Some(target) = self.find_target(suffix, hash).filter(|_| compress) {
                return self.octets.extend_from_slice(&(0xc000 | target).to_be_bytes());
            }
            let here = self.octets.len();
            if here <= POINTER_MAX && self.targets.len() < TARGETS_MAX {
                self.targets.push((here as u16, hash));
            }
            let label = usize::from(wire[position]) + 1;
            self.octets.extend_from_slice(&wire[position..position + label]);
            position += label;
        }
        self.octets.push(0);
    }

    fn find_target(&self, suffix: &[u8], hash: u16) -> Option<u16> {
        let known = self.targets.iter().filter(|&&(_, other)| other == hash);
        known.map(|&(offset, _)| offset).find(|&offset| self.stands_at(usize::from(offset), suffix))
    }

    /// Whether the name that begins at `offset` is `suffix`, to the letter: the case of an answer is the zone's.
    fn stands_at(&self, mut offset: usize, suffix: &[u8]) -> bool {
        let mut position = 0;
        loop {
            let length = self.octets[offset];
            if length >= 192 {
                offset = usize::from(length & 63) << 8 | usize::from(self.octets[offset + 1]);
                continue;
            }
            let label = usize::from(length) + 1;
            let (Some(ours), Some(theirs)) =
                (suffix.get(position..position + label), self.octets.get(offset..offset + label))
            else {
                return false;
            };
            if !ours.eq_ignore_ascii_case(theirs) {
                return false;
            }
            if length == 0 {
                return true;
            }
            (position, offset) = (position + label, offset + label);
        }
    }
}

fn edns_octets(edns: &EdnsParts<'_>) -> usize {
    let subnet = edns.client_subnet.map_or(0, |subnet| 4 + subnet.write(&mut [0; 20]));
    11 + subnet + edns.options.iter().map(|(_, contents)| 4 + contents.len()).sum::<usize>()
}

/// Octets of the uncompressed name at the front, the whole of it if it does not end.
fn wire_name_octets(wire: &[u8]) -> usize {
    let mut position = 0;
    while let Some(&length) = wire.get(position) {
        position += usize::from(length) + 1;
        if length == 0 {
            return position.min(wire.len());
        }
    }
    wire.len()
}

fn suffix_hash(suffix: &[u8]) -> u16 {
    let fold =
        |hash: u32, octet: &u8| (hash ^ u32::from(octet.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
    let hash = suffix.iter().fold(0x811c_9dc5, fold);
    (hash >> 16) as u16 ^ hash as u16
}

impl Default for MessageBuilder {
    /// A message for UDP without fragments.
    fn default() -> Self {
        Self::new(usize::from(UDP_PAYLOAD_OCTETS))
    }
}
