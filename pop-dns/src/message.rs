//! A message as a view: the header is read at once, everything else when asked for.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::header::HEADER_OCTETS;
use crate::{Class, Edns, Header, Name, ParseError, RecordType};

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
    /// [`ParseError::Truncated`] below the twelve octets of a header; everything else is reported by the iterators.
    pub fn parse(octets: &'m [u8]) -> Result<Self, ParseError> {
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
        let mut questions = self.questions();
        questions.by_ref().try_for_each(|question| question.map(drop))?;
        let mut records = Records { octets: self.octets, position: questions.position, left: 0 };
        for skipped in 1..=section as usize {
            records.left = self.header.counts[skipped];
            if skipped < section as usize {
                records.by_ref().try_for_each(|record| record.map(drop))?;
            }
        }
        Ok(records)
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let question = Name::parse(self.octets, self.position).and_then(|(name, end)| {
            let [a, b, c, d] = *chunk(self.octets, end)?;
            self.position = end + 4;
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

/// A resource record: its fixed part, and where its RDATA lies.
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
    octets: &'m [u8],
    rdata: (usize, usize),
}

impl<'m> Record<'m> {
    /// The RDATA as it stands in the message; names in it may be compressed.
    #[must_use]
    pub fn rdata_octets(&self) -> &'m [u8] {
        &self.octets[self.rdata.0..self.rdata.1]
    }

    /// The RDATA by its type.
    ///
    /// # Errors
    /// [`ParseError`] where it does not hold what the type says. Empty RDATA (RFC 2136) is [`RData::Unknown`].
    pub fn rdata(&self) -> Result<RData<'m>, ParseError> {
        RData::parse(self.rtype, self.octets, self.rdata.0, self.rdata.1)
    }
}

/// The records of one section.
#[derive(Clone, Debug)]
pub struct Records<'m> {
    octets: &'m [u8],
    position: usize,
    left: u16,
}

impl<'m> Iterator for Records<'m> {
    type Item = Result<Record<'m>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = read_record(self.octets, self.position);
        match &record {
            Ok(record) => self.position = record.rdata.1,
            Err(_) => self.left = 0,
        }
        Some(record)
    }
}

fn read_record(octets: &[u8], position: usize) -> Result<Record<'_>, ParseError> {
    let (name, fixed) = Name::parse(octets, position)?;
    let [t0, t1, c0, c1, l0, l1, l2, l3, r0, r1] = *chunk(octets, fixed)?;
    let start = fixed + 10;
    let end = start + usize::from(u16::from_be_bytes([r0, r1]));
    if end > octets.len() {
        return Err(ParseError::Truncated { offset: octets.len() });
    }
    let ttl = u32::from_be_bytes([l0, l1, l2, l3]);
    Ok(Record {
        name,
        rtype: RecordType(u16::from_be_bytes([t0, t1])),
        class: Class(u16::from_be_bytes([c0, c1])),
        ttl,
        octets,
        rdata: (start, end),
    })
}

fn chunk<const N: usize>(octets: &[u8], offset: usize) -> Result<&[u8; N], ParseError> {
    octets
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(ParseError::Truncated { offset: octets.len() })
}

/// RDATA by type, borrowed from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RData<'m> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name server.
    Ns(Name<'m>),
    /// The canonical name.
    Cname(Name<'m>),
    /// The name pointed to.
    Ptr(Name<'m>),
    /// The name that replaces the owner in everything below it.
    Dname(Name<'m>),
    /// A mail exchange.
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The host.
        exchange: Name<'m>,
    },
    /// A service.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equal priorities.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: Name<'m>,
    },
    /// The start of authority.
    Soa(Soa<'m>),
    /// Text strings, each with its length before it; [`Strings`] walks them.
    Txt(Strings<'m>),
    /// Any other type, and empty RDATA.
    Unknown(&'m [u8]),
}

/// The fields of a SOA record. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa<'m> {
    /// The primary server.
    pub mname: Name<'m>,
    /// The mailbox of the one responsible.
    pub rname: Name<'m>,
    /// The version of the zone.
    pub serial: u32,
    /// How often a secondary looks.
    pub refresh: u32,
    /// How soon it tries again.
    pub retry: u32,
    /// When it gives up.
    pub expire: u32,
    /// How long a negative answer may be kept (RFC 2308).
    pub minimum: u32,
}

impl<'m> RData<'m> {
    fn parse(rtype: RecordType, octets: &'m [u8], start: usize, end: usize) -> Result<Self, ParseError> {
        let bad = ParseError::RData { offset: start };
        let rdata = &octets[start..end];
        if rdata.is_empty() {
            return Ok(Self::Unknown(rdata));
        }
        // A name may point anywhere back in the message, but has to end where the RDATA ends.
        let within = &octets[..end];
        let last_name = |offset| match Name::parse(within, offset)? {
            (name, stop) if stop == end => Ok(name),
            _ => Err(bad),
        };
        let word = |index: usize| u16::from_be_bytes([rdata[index], rdata[index + 1]]);
        Ok(match rtype {
            RecordType::A => Self::A(Ipv4Addr::from(<[u8; 4]>::try_from(rdata).map_err(|_| bad)?)),
            RecordType::AAAA => Self::Aaaa(Ipv6Addr::from(<[u8; 16]>::try_from(rdata).map_err(|_| bad)?)),
            RecordType::NS => Self::Ns(last_name(start)?),
            RecordType::CNAME => Self::Cname(last_name(start)?),
            RecordType::PTR => Self::Ptr(last_name(start)?),
            RecordType::DNAME => Self::Dname(last_name(start)?),
            RecordType::MX if rdata.len() > 2 => {
                Self::Mx { preference: word(0), exchange: last_name(start + 2)? }
            }
            RecordType::SRV if rdata.len() > 6 => {
                Self::Srv { priority: word(0), weight: word(2), port: word(4), target: last_name(start + 6)? }
            }
            RecordType::SOA => {
                let (mname, next) = Name::parse(within, start)?;
                let (rname, next) = Name::parse(within, next)?;
                let numbers: &[u8; 20] =
                    within.get(next..).and_then(|rest| rest.try_into().ok()).ok_or(bad)?;
                let number = |index: usize| {
                    let [a, b, c, d] =
                        [numbers[index], numbers[index + 1], numbers[index + 2], numbers[index + 3]];
                    u32::from_be_bytes([a, b, c, d])
                };
                Self::Soa(Soa {
                    mname,
                    rname,
                    serial: number(0),
                    refresh: number(4),
                    retry: number(8),
                    expire: number(12),
                    minimum: number(16),
                })
            }
            RecordType::TXT => Self::Txt(Strings::parse(rdata).ok_or(bad)?),
            RecordType::MX | RecordType::SRV => return Err(bad),
            _ => Self::Unknown(rdata),
        })
    }
}

/// Character strings one after the other, each of up to 255 octets (RFC 1035 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strings<'m>(&'m [u8]);

impl<'m> Strings<'m> {
    fn parse(octets: &'m [u8]) -> Option<Self> {
        let mut rest = octets;
        while let [length, tail @ ..] = rest {
            rest = tail.get(usize::from(*length)..)?;
        }
        Some(Self(octets))
    }
}

impl<'m> Iterator for Strings<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        let (&length, rest) = self.0.split_first()?;
        let (string, rest) = rest.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(string)
    }
}
