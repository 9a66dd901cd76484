//! A message as a view: the header is read at once, everything else when asked for.

use core::fmt;

use crate::header::HEADER_OCTETS;
use crate::name::skip;
use crate::{Class, Edns, Header, Name, ParseError, RData, RawRData, RecordType};

/// Octets of a message: what the length before it says over TCP (RFC 1035 §4.2.2).
pub const MESSAGE_OCTETS_MAX: usize = 65_535;
/// Octets of a question behind its name: type and class.
const QUESTION_FIXED_OCTETS: usize = 4;
/// Octets of a record between its owner and its RDATA: type, class, TTL and length.
const RECORD_FIXED_OCTETS: usize = 10;

/// A message that is borrowed, not copied. Reading allocates nothing; the work is linear in its octets.
///
/// ```
/// use pop_dns::{MessageBuilder, Message, RData, RecordType};
///
/// let mut builder = MessageBuilder::query(7, &"example.org".parse()?, RecordType::A);
/// let wire = builder.finish();
/// let message = Message::parse(&wire)?;
/// let question = message.questions().next().expect("one question")?;
/// assert_eq!(question.name.to_string(), "example.org.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Message<'m> {
    octets: &'m [u8],
    header: Header,
}

impl<'m> Message<'m> {
    /// A view of these octets.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below the twelve octets of a header, [`ParseError::TooLong`] above 65,535; everything else is reported by the iterators.
    pub fn parse(octets: &'m [u8]) -> Result<Self, ParseError> {
        if octets.len() > MESSAGE_OCTETS_MAX {
            return Err(ParseError::TooLong { octets: octets.len() });
        }
        Ok(Self { octets, header: Header::parse(octets)? })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The octets themselves.
    #[must_use]
    pub const fn as_wire(&self) -> &'m [u8] {
        self.octets
    }

    /// The questions. Ends after the first error.
    #[must_use]
    pub const fn questions(&self) -> Questions<'m> {
        Questions { octets: self.octets, position: HEADER_OCTETS, left: self.header.counts[0] }
    }

    /// The records of a section. Skips what stands before it, so the cost is that of the message up to there.
    ///
    /// # Errors
    /// [`ParseError`] where what stands before cannot be walked.
    pub fn section(&self, section: Section) -> Result<Records<'m>, ParseError> {
        let mut position = HEADER_OCTETS;
        for _ in 0..self.header.counts[0] {
            position = skip(self.octets, position)?;
            chunk::<QUESTION_FIXED_OCTETS>(self.octets, position)?;
            position += QUESTION_FIXED_OCTETS;
        }
        let mut records = Records { octets: self.octets, position, left: 0 };
        for skipped in 1..=section as usize {
            records.left = self.header.counts[skipped].into();
            if skipped < section as usize {
                records.by_ref().try_for_each(|record| record.map(drop))?;
            }
        }
        Ok(records)
    }

    /// The records of all sections in order.
    ///
    /// # Errors
    /// [`ParseError`] where a question is broken.
    #[inline]
    pub fn records(&self) -> Result<Records<'m>, ParseError> {
        let mut records = self.section(Section::Answer)?;
        records.left = self.header.counts[1..].iter().map(|&count| u32::from(count)).sum();
        Ok(records)
    }

    /// Walks every entry, every name and all RDATA to their ends.
    ///
    /// # Errors
    /// [`ParseError`] for the first that is broken; [`ParseError::Trailing`] where octets follow the last entry.
    pub fn check(&self) -> Result<(), ParseError> {
        for question in self.questions() {
            question?.name.wire_octets()?;
        }
        let mut records = self.records()?;
        for record in records.by_ref() {
            let record = record?;
            record.name.wire_octets()?;
            record.rdata()?;
            for name in record.raw_rdata().names() {
                name?.wire_octets()?;
            }
        }
        match records.position {
            offset if offset < self.octets.len() => Err(ParseError::Trailing { offset }),
            _ => Ok(()),
        }
    }

    /// The records of the answer section.
    ///
    /// # Errors
    /// As [`section`](Self::section).
    pub fn answers(&self) -> Result<Records<'m>, ParseError> {
        self.section(Section::Answer)
    }

    /// The EDNS part of the message, if there is one.
    ///
    /// # Errors
    /// [`ParseError`] where the message cannot be walked, where there are two, or where its options are malformed.
    pub fn edns(&self) -> Result<Option<Edns<'m>>, ParseError> {
        let mut found = None;
        let mut records = self.section(Section::Additional)?;
        loop {
            let offset = records.position;
            let Some(record) = records.next() else { return Ok(found) };
            let record = record?;
            if record.rtype == RecordType::OPT {
                if found.is_some() || record.name.labels().next().is_some() {
                    return Err(ParseError::Opt { offset });
                }
                found = Some(Edns::from_record(&record)?);
            }
        }
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("header", &self.header).field("octets", &self.octets.len()).finish()
    }
}

/// A part of a message that holds records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The answer.
    Answer = 1,
    /// Who is responsible for it.
    Authority = 2,
    /// What may help.
    Additional = 3,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question<'m> {
    /// The name.
    pub name: Name<'m>,
    /// The type.
    pub qtype: RecordType,
    /// The class.
    pub qclass: Class,
}

/// The questions of a message.
#[derive(Clone, Debug)]
pub struct Questions<'m> {
    octets: &'m [u8],
    position: usize,
    left: u16,
}

impl Questions<'_> {
    /// Where the next question begins, or what follows the last.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }
}

impl<'m> Iterator for Questions<'m> {
    type Item = Result<Question<'m>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let question = Name::parse(self.octets, self.position).and_then(|(name, end)| {
            let [a, b, c, d] = *chunk::<QUESTION_FIXED_OCTETS>(self.octets, end)?;
            self.position = end + QUESTION_FIXED_OCTETS;
            Ok(Question {
                name,
                qtype: RecordType(u16::from_be_bytes([a, b])),
                qclass: Class(u16::from_be_bytes([c, d])),
            })
        });
        if question.is_err() {
            self.left = 0;
        }
        Some(question)
    }
}

/// A resource record: its fixed part, and where its RDATA lie.
#[derive(Clone, Copy, Debug)]
pub struct Record<'m> {
    /// The owner.
    pub name: Name<'m>,
    /// The type.
    pub rtype: RecordType,
    /// The class.
    pub class: Class,
    /// Seconds for which it may be kept; a value with the top bit set counts as zero (RFC 2181 §8).
    pub ttl: u32,
    /// The message up to the end of the RDATA.
    octets: &'m [u8],
    rdata: u16,
}

impl<'m> Record<'m> {
    /// The record at `position`, and the offset behind it. A message is at most 65,535 octets, so offsets fit.
    #[inline]
    pub(crate) fn parse(octets: &'m [u8], position: usize) -> Result<(Self, usize), ParseError> {
        let fixed = skip(octets, position)?;
        let [t0, t1, c0, c1, l0, l1, l2, l3, r0, r1] = *chunk::<RECORD_FIXED_OCTETS>(octets, fixed)?;
        let rdata = fixed + RECORD_FIXED_OCTETS;
        let end = rdata + usize::from(u16::from_be_bytes([r0, r1]));
        let within = octets.get(..end).ok_or(ParseError::Truncated { offset: octets.len() })?;
        let record = Self {
            name: Name::checked(octets, position),
            rtype: RecordType(u16::from_be_bytes([t0, t1])),
            class: Class(u16::from_be_bytes([c0, c1])),
            ttl: u32::from_be_bytes([l0, l1, l2, l3]),
            octets: within,
            rdata: rdata as u16,
        };
        Ok((record, end))
    }

    /// The RDATA as they stand in the message; names in them may be compressed.
    #[inline]
    #[must_use]
    pub fn rdata_octets(&self) -> &'m [u8] {
        &self.octets[usize::from(self.rdata)..]
    }

    /// The RDATA with their type, not understood.
    #[inline]
    #[must_use]
    pub const fn raw_rdata(&self) -> RawRData<'m> {
        RawRData::in_message(self.rtype, self.octets, self.rdata as usize)
    }

    /// The RDATA by their type.
    ///
    /// # Errors
    /// [`ParseError`] where they do not hold what the type says. Empty RDATA (RFC 2136) are [`RData::Unknown`], and so are
    /// addresses of the Chaosnet, which are none of the Internet (RFC 1035 §3.4).
    #[inline]
    pub fn rdata(&self) -> Result<RData<'m>, ParseError> {
        if self.class == Class::CH && self.rtype == RecordType::A {
            return Ok(RData::Unknown(self.rtype, self.rdata_octets()));
        }
        RData::parse(self.rtype, self.octets, usize::from(self.rdata))
    }
}

/// The records of one section, or of all ([`Message::records`]). Ends after an error.
#[derive(Clone, Debug)]
pub struct Records<'m> {
    octets: &'m [u8],
    position: usize,
    left: u32,
}

impl Records<'_> {
    /// Where the next record begins, or what follows the last.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }
}

impl<'m> Iterator for Records<'m> {
    type Item = Result<Record<'m>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        match Record::parse(self.octets, self.position) {
            Ok((record, end)) => {
                self.position = end;
                Some(Ok(record))
            }
            Err(error) => {
                self.left = 0;
                Some(Err(error))
            }
        }
    }
}

impl core::iter::FusedIterator for Records<'_> {}

#[inline]
pub(crate) fn chunk<const N: usize>(octets: &[u8], offset: usize) -> Result<&[u8; N], ParseError> {
    octets
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(ParseError::Truncated { offset: octets.len() })
}
