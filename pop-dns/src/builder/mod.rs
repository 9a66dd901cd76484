//! Writing messages, with name compression and a size limit.

mod buffer;
mod compress;
mod edns;
mod error;
mod names;
mod spelled;

pub use buffer::{Buffer, SliceBuffer};
pub use edns::EdnsParts;
pub use error::BuildError;

use self::compress::Compressor;
use self::names::LastName;
#[cfg(feature = "alloc")]
use crate::NameBuf;
use crate::header::HEADER_OCTETS;
use crate::message::MESSAGE_OCTETS_MAX;
use crate::{Class, Flags, Header, Name, ParseError, RawRData, Rcode, RecordType, Section};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// The buffer of a builder that names none.
#[cfg(feature = "alloc")]
type DefaultBuffer = Vec<u8>;
#[cfg(not(feature = "alloc"))]
type DefaultBuffer = SliceBuffer<'static>;

/// A message being written, section after section.
///
/// Each call writes all it was asked to or nothing, so a message that is full is still whole: the caller leaves out
/// what is optional, or sets TC ([`set_truncated`](Self::set_truncated)) where it was required (RFC 2181 §9). Names are
/// compressed against everything written before, in RDATA only for the types of RFC 1035 (RFC 3597 §4). Reading names
/// is linear, so is writing them. Nothing is allocated but the buffer, and beyond 32 distinct suffixes a table.
///
/// ```
/// use pop_dns::{Class, Message, MessageBuilder, RawRData, RecordType, Section, SliceBuffer};
///
/// let mut octets = [0; 512];
/// let mut builder = MessageBuilder::over(SliceBuffer::new(&mut octets), 512);
/// builder.question(b"\x03www\x07example\x00", RecordType::A, Class::IN)?;
/// builder.rrset(Section::Answer, b"\x03www\x07example\x00", RecordType::A, 300, [&[192, 0, 2, 1][..]])?;
/// let wire = builder.into_buffer().into_written();
/// assert_eq!(wire.len(), 12 + 17 + 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MessageBuilder<B = DefaultBuffer> {
    buffer: B,
    limit: usize,
    header: Header,
    section: Section,
    compressor: Compressor,
    /// The first name is not among the compressor's yet: most answers repeat it as a whole or not at all.
    first_name_waits: bool,
    last_name: LastName,
    /// Octets kept for EDNS.
    reserved: usize,
}

#[cfg(feature = "alloc")]
impl MessageBuilder<Vec<u8>> {
    /// An empty message of at most `limit` octets; 512 at least and 65,535 at most.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self::with_buffer(Vec::with_capacity(512), limit)
    }

    /// The same over a buffer that is reused; its contents go.
    #[must_use]
    pub fn with_buffer(octets: Vec<u8>, limit: usize) -> Self {
        Self::over(octets, limit.max(512))
    }

    /// A query with one question in class IN, recursion desired.
    #[must_use]
    pub fn query(id: u16, name: &NameBuf, qtype: RecordType) -> Self {
        let mut builder = Self::new(512);
        builder.set_header(id, Flags(Flags::RD));
        // A name of at most 255 octets and four more always fit into 512.
        let _ = builder.question(name.as_wire(), qtype, Class::IN);
        builder
    }

    /// The message, header included; the builder is empty after that and must not be used.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        self.write_header();
        core::mem::take(&mut self.buffer)
    }
}

impl<B: Buffer> MessageBuilder<B> {
    /// An empty message over any buffer, of at most `limit` octets, or fewer if the buffer has no more.
    ///
    /// # Panics
    /// If the buffer has no room for a header of twelve octets.
    #[must_use]
    pub fn over(mut buffer: B, limit: usize) -> Self {
        buffer.truncate(0);
        let limit = limit.min(buffer.capacity()).min(MESSAGE_OCTETS_MAX);
        assert!(limit >= HEADER_OCTETS, "a message of {limit} octets has no room for its header");
        buffer.append(&[0; HEADER_OCTETS]);
        Self {
            buffer,
            limit,
            header: Header::default(),
            section: Section::Answer,
            compressor: Compressor::new(),
            first_name_waits: false,
            last_name: LastName::NONE,
            reserved: 0,
        }
    }

    /// Sets identifier and flags.
    pub fn set_header(&mut self, id: u16, flags: Flags) {
        (self.header.id, self.header.flags) = (id, flags);
    }

    /// Sets the flags.
    pub fn set_flags(&mut self, flags: Flags) {
        self.header.flags = flags;
    }

    /// The flags as they are so far.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        self.header.flags
    }

    /// Marks the message as truncated.
    pub fn set_truncated(&mut self) {
        self.header.flags = self.header.flags.with(Flags::TC);
    }

    /// Keeps room for an OPT record that [`edns`](Self::edns) writes in the end.
    pub fn reserve_edns(&mut self, edns: &EdnsParts<'_>) {
        self.reserve(edns.octets());
    }

    /// Keeps `octets` of room, instead of what was kept before: for OPT, for TSIG, for both.
    pub fn reserve(&mut self, octets: usize) {
        self.reserved = octets;
    }

    /// Writes a question. `name` is in wire format without compression.
    ///
    /// # Errors
    /// [`BuildError`]; nothing is written then.
    pub fn question(&mut self, name: &[u8], qtype: RecordType, qclass: Class) -> Result<(), BuildError> {
        self.all_or_nothing(|builder| {
            builder.write_question_name(name)?;
            let [t0, t1] = qtype.0.to_be_bytes();
            let [c0, c1] = qclass.0.to_be_bytes();
            builder.append(&[t0, t1, c0, c1])
        })?;
        self.header.counts[0] = self.header.counts[0].saturating_add(1);
        Ok(())
    }

    /// Writes a whole RRset of class IN, or nothing. `owner`, and the names in `rdata`, are in wire format without
    /// compression.
    ///
    /// # Errors
    /// [`BuildError`]; nothing is written then.
    pub fn rrset<'a>(
        &mut self,
        section: Section,
        owner: &[u8],
        rtype: RecordType,
        ttl: u32,
        rdata: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), BuildError> {
        let rdata = rdata.into_iter().map(|rdata| RawRData::new(rtype, rdata));
        self.set(section, (owner, 0), Some(owner.len()), Class::IN, ttl, rdata)
    }

    /// Writes records of one owner, or none of them. Owner and RDATA may stand in another message.
    ///
    /// # Errors
    /// [`BuildError`]; nothing is written then.
    pub fn records<'a>(
        &mut self,
        section: Section,
        owner: Name<'_>,
        class: Class,
        ttl: u32,
        rdata: impl IntoIterator<Item = RawRData<'a>>,
    ) -> Result<(), BuildError> {
        self.set(section, owner.place(), None, class, ttl, rdata)
    }

    /// Records whose owner begins at an offset of a message, and ends at `owner_end` if that is given.
    #[inline]
    fn set<'a>(
        &mut self,
        section: Section,
        owner: (&[u8], usize),
        owner_end: Option<usize>,
        class: Class,
        ttl: u32,
        rdata: impl IntoIterator<Item = RawRData<'a>>,
    ) -> Result<(), BuildError> {
        if section < self.section {
            return Err(BuildError::Order(section));
        }
        let mut count = self.header.counts[section as usize];
        self.all_or_nothing(|builder| {
            for rdata in rdata {
                let end = builder.write_record(owner, class, ttl, rdata)?;
                if owner_end.is_some_and(|expected| expected != end) {
                    return Err(ParseError::NameTooLong { offset: end }.into());
                }
                count = count.checked_add(1).ok_or(BuildError::Count(section))?;
            }
            Ok(())
        })?;
        self.header.counts[section as usize] = count;
        self.section = section;
        Ok(())
    }

    /// Writes the OPT record, in the room that was reserved for it, and the response code with it.
    ///
    /// # Errors
    /// [`BuildError::Full`] where nothing was reserved and nothing is left.
    pub fn edns(&mut self, edns: &EdnsParts<'_>, rcode: Rcode) -> Result<(), BuildError> {
        self.reserved = 0;
        self.all_or_nothing(|builder| edns.write(rcode, |octets| builder.append(octets)))?;
        self.header.flags = self.header.flags.with_rcode(rcode);
        self.header.counts[3] = self.header.counts[3].saturating_add(1);
        Ok(())
    }

    /// Forgets all records; `question_octets` is where the records began.
    pub fn clear_records(&mut self, question_octets: usize) {
        self.buffer.truncate(question_octets.max(HEADER_OCTETS));
        self.header.counts = [self.header.counts[0], 0, 0, 0];
        self.section = Section::Answer;
        self.last_name.octets = 0;
        self.compressor.forget_from(self.buffer.octets().len());
    }

    /// Octets so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.octets().len()
    }

    /// Whether nothing but a header is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == HEADER_OCTETS
    }

    /// Writes the header as it is now and returns the buffer with the message.
    #[must_use]
    pub fn into_buffer(mut self) -> B {
        self.write_header();
        self.buffer
    }

    fn write_header(&mut self) {
        if let Some(octets) = self.buffer.octets_mut().first_chunk_mut() {
            *octets = self.header.to_wire();
        }
    }

    /// Runs `write` and takes back what it wrote if it fails.
    #[inline]
    fn all_or_nothing(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let (octets, nodes, waits) = (self.len(), self.compressor.mark(), self.first_name_waits);
        let written = write(self);
        if written.is_err() {
            self.buffer.truncate(octets);
            self.compressor.forget(nodes);
            self.first_name_waits = waits;
            self.last_name.octets = 0;
        }
        written
    }

    /// Says whether so many octets more fit.
    #[inline]
    fn room(&self, octets: usize) -> Result<(), BuildError> {
        if self.len() + octets + self.reserved > self.limit {
            return Err(BuildError::Full { limit: self.limit });
        }
        Ok(())
    }

    #[inline]
    fn append(&mut self, octets: &[u8]) -> Result<(), BuildError> {
        self.room(octets.len())?;
        self.buffer.append(octets);
        Ok(())
    }

    /// Writes a record, and returns the offset behind its owner where that was read.
    #[inline]
    fn write_record(
        &mut self,
        (message, offset): (&[u8], usize),
        class: Class,
        ttl: u32,
        rdata: RawRData<'_>,
    ) -> Result<usize, BuildError> {
        let [t0, t1] = rdata.rtype().0.to_be_bytes();
        let [c0, c1] = class.0.to_be_bytes();
        let [l0, l1, l2, l3] = ttl.to_be_bytes();
        let owner_end = self.write_owner(message, offset)?;
        let octets = rdata.octets();
        let layout = rdata.layout();
        // What it takes if no name is compressed; else it is written once more below.
        let [r0, r1] = (octets.len() as u16).to_be_bytes();
        self.append(&[t0, t1, c0, c1, l0, l1, l2, l3, r0, r1])?;
        let Some(layout) = layout else {
            self.append(octets)?;
            return Ok(owner_end);
        };
        let start = self.len();
        self.write_names(rdata, &layout)?;
        let length = ((self.len() - start) as u16).to_be_bytes();
        self.buffer.octets_mut()[start - 2..start].copy_from_slice(&length);
        Ok(owner_end)
    }
}
