//! A query as a server needs it, in one pass on the stack.

use core::fmt;

use crate::header::HEADER_OCTETS;
use crate::message::{MESSAGE_OCTETS_MAX, Record, chunk};
use crate::name::LowerName;
use crate::{
    Class, ClientSubnet, Cookie, Edns, Flags, HashKey, Header, Name, Opcode, ParseError, Rcode, RecordType,
};

/// A query that was checked whole: one question, at most one OPT, TSIG last if at all, and nothing behind. It lives
/// on the stack; nothing is allocated.
#[derive(Clone, Copy, Debug)]
pub struct Query<'m> {
    /// The header.
    pub header: Header,
    /// The name asked for, as it was spelled. It is the first of its message, so never compressed.
    pub name: Name<'m>,
    /// The type asked for.
    pub qtype: RecordType,
    /// The class asked for.
    pub qclass: Class,
    /// The EDNS part.
    pub edns: Option<Edns<'m>>,
    /// The client's block, where a resolver told it.
    pub client_subnet: Option<ClientSubnet>,
    /// The cookies, where the client sent any.
    pub cookie: Option<Cookie<'m>>,
    /// Where the TSIG record begins, if there is one (RFC 8945).
    pub tsig: Option<u16>,
    lower: LowerName,
    question_end: u16,
}

impl<'m> Query<'m> {
    /// Reads a query.
    ///
    /// # Errors
    /// [`QueryError`] with what an answer needs: silence for what is no query at all, else a header to echo and
    /// the response code that the RFC asks for.
    pub fn parse(octets: &'m [u8]) -> Result<Self, QueryError> {
        Self::parse_as(octets, Opcode::QUERY)
    }

    /// Reads a message of another kind that is built like a query: a notification, say (RFC 1996).
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_as(octets: &'m [u8], expected: Opcode) -> Result<Self, QueryError> {
        let mut query = Self::BLANK;
        query.read(octets, expected)?;
        Ok(query)
    }

    /// Room for a query.
    pub(crate) const BLANK: Self = Self {
        header: Header { id: 0, flags: Flags(0), counts: [0; 4] },
        name: Name::ROOT,
        qtype: RecordType(0),
        qclass: Class(0),
        edns: None,
        client_subnet: None,
        cookie: None,
        tsig: None,
        lower: LowerName::ROOT,
        question_end: 0,
    };

    /// Reads a query in place of what was here before. After an error nothing sensible is left.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    #[inline]
    pub(crate) fn read(&mut self, octets: &'m [u8], expected: Opcode) -> Result<(), QueryError> {
        if octets.len() > MESSAGE_OCTETS_MAX {
            return Err(QueryError::silence(ParseError::TooLong { octets: octets.len() }));
        }
        let header = Header::parse(octets).map_err(QueryError::silence)?;
        if header.flags.has(Flags::QR) {
            // Answering an answer would start a loop.
            return Err(QueryError::silence(ParseError::Response));
        }
        let opcode = header.flags.opcode();
        if opcode != expected {
            return Err(QueryError::owed(header, Rcode::NOTIMP, ParseError::Opcode(opcode.0)));
        }
        let malformed = |error| QueryError::owed(header, Rcode::FORMERR, error);
        if header.counts[0] != 1 {
            // RFC 9619.
            return Err(malformed(ParseError::QuestionCount { count: header.counts[0] }));
        }
        let name_end = self.lower.read(octets, HEADER_OCTETS).map_err(malformed)?;
        let [t0, t1, c0, c1] = *chunk(octets, name_end).map_err(malformed)?;
        self.header = header;
        self.name = Name::checked(octets, HEADER_OCTETS);
        self.qtype = RecordType(u16::from_be_bytes([t0, t1]));
        self.qclass = Class(u16::from_be_bytes([c0, c1]));
        (self.edns, self.client_subnet, self.cookie, self.tsig) = (None, None, None, None);
        self.question_end = (name_end + 4) as u16;
        // From here on the question is known, so that an error can echo it.
        self.records(octets).map_err(|error| QueryError {
            rcode: if matches!(error, ParseError::Version(_)) { Rcode::BADVERS } else { Rcode::FORMERR },
            question_end: self.question_end,
            ..malformed(error)
        })
    }

    /// Walks the records behind the question and keeps what matters of them.
    fn records(&mut self, octets: &'m [u8]) -> Result<(), ParseError> {
        let mut position = usize::from(self.question_end);
        let [_, answers, authorities, additionals] = self.header.counts;
        for _ in 0..u32::from(answers) + u32::from(authorities) {
            (_, position) = Record::parse(octets, position)?;
        }
        for left in (0..additionals).rev() {
            let offset = position;
            let (record, end) = Record::parse(octets, offset)?;
            match record.rtype {
                RecordType::OPT if self.edns.is_some() || octets[offset] != 0 => {
                    return Err(ParseError::Opt { offset });
                }
                RecordType::OPT => self.edns = Some(Edns::from_record(&record)?),
                RecordType::TSIG if left > 0 => return Err(ParseError::Tsig { offset }),
                RecordType::TSIG => self.tsig = Some(offset as u16),
                _ => {}
            }
            position = end;
        }
        if position < octets.len() {
            return Err(ParseError::Trailing { offset: position });
        }
        let Some(edns) = self.edns else { return Ok(()) };
        // RFC 6891 §6.1.3: of another version nothing more can be known.
        if edns.version > 0 {
            return Err(ParseError::Version(edns.version));
        }
        if edns.has_options() {
            self.client_subnet = edns.client_subnet()?;
            self.cookie = edns.cookie()?;
        }
        Ok(())
    }

    /// The name in lower case, uncompressed wire format.
    #[inline]
    #[must_use]
    pub fn lower_wire(&self) -> &[u8] {
        self.lower.as_wire()
    }

    /// The name in lower case with its labels.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) const fn lower(&self) -> &LowerName {
        &self.lower
    }

    /// Header and question as they came.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn head(&self) -> &'m [u8] {
        &self.name.place().0[..self.question_end()]
    }

    /// The keyed hash of [`lower_wire`](Self::lower_wire).
    #[inline]
    #[must_use]
    pub fn name_hash(&self, key: &HashKey) -> u64 {
        key.hash_wire(self.lower_wire())
    }

    /// The whole message.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) const fn whole(&self) -> &'m [u8] {
        self.name.place().0
    }

    /// Octets of the whole message.
    #[must_use]
    pub const fn octets(&self) -> usize {
        self.name.place().0.len()
    }

    /// Where the question ends in the message.
    #[must_use]
    pub const fn question_end(&self) -> usize {
        self.question_end as usize
    }
}

/// Why octets are no query, and what is owed for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// The header to echo; `None` means silence.
    pub header: Option<Header>,
    /// The response code.
    pub rcode: Rcode,
    /// Where the question ends in the message, so that it can be echoed; 0 where no question could be read.
    pub question_end: u16,
    /// What is wrong.
    pub error: ParseError,
}

impl QueryError {
    #[cold]
    const fn silence(error: ParseError) -> Self {
        Self { header: None, rcode: Rcode::FORMERR, question_end: 0, error }
    }

    #[cold]
    const fn owed(header: Header, rcode: Rcode, error: ParseError) -> Self {
        Self { header: Some(header), rcode, question_end: 0, error }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owed =
            if self.header.is_some() { self.rcode.mnemonic().unwrap_or("an error") } else { "silence" };
        write!(f, "not a query, owed {owed}")
    }
}

impl core::error::Error for QueryError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}
