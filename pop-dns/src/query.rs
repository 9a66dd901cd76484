//! A query as a server needs it, in one pass.

use core::fmt;

use crate::name::NAME_OCTETS_MAX;
use crate::{Class, ClientSubnet, Edns, Flags, Header, Message, Name, Opcode, ParseError, Rcode, RecordType};

/// A query that was checked: one question, at most one OPT. On the stack; nothing is allocated.
#[derive(Clone, Copy, Debug)]
pub struct Query<'m> {
    /// The header.
    pub header: Header,
    /// The name asked for, as it was spelled.
    pub name: Name<'m>,
    /// The type asked for.
    pub qtype: RecordType,
    /// The class asked for.
    pub qclass: Class,
    /// The EDNS part.
    pub edns: Option<Edns<'m>>,
    /// The client's block, where a resolver told it.
    pub client_subnet: Option<ClientSubnet>,
    lower: [u8; NAME_OCTETS_MAX],
    lower_octets: u8,
    question_end: usize,
}

impl<'m> Query<'m> {
    /// Reads a query.
    ///
    /// # Errors
    /// [`QueryError`] with what an answer needs: silence for what is no query at all, else a header to echo and
    /// the response code that the RFC asks for.
    pub fn parse(octets: &'m [u8]) -> Result<Self, QueryError> {
        let silence = |error| QueryError { header: None, rcode: Rcode::FORMERR, error };
        let message = Message::parse(octets).map_err(silence)?;
        let header = message.header();
        if header.flags.has(Flags::QR) {
            // Answering an answer would start a loop.
            return Err(silence(ParseError::Truncated { offset: 0 }));
        }
        let fail = |rcode| move |error| QueryError { header: Some(header), rcode, error };
        let malformed = fail(Rcode::FORMERR);
        if header.flags.opcode() != Opcode::QUERY {
            return Err(fail(Rcode::NOTIMP)(ParseError::QuestionCount { count: header.counts[0] }));
        }
        if header.counts[0] != 1 {
            return Err(malformed(ParseError::QuestionCount { count: header.counts[0] }));
        }
        let mut questions = message.questions();
        let Some(question) = questions.next() else {
            return Err(malformed(ParseError::QuestionCount { count: 0 }));
        };
        let question = question.map_err(malformed)?;
        let edns = message.edns().map_err(malformed)?;
        let client_subnet = edns.map_or(Ok(None), |edns| edns.client_subnet()).map_err(malformed)?;
        if edns.is_some_and(|edns| edns.version > 0) {
            return Err(fail(Rcode::BADVERS)(ParseError::Option { code: 0 }));
        }
        let mut lower = [0; NAME_OCTETS_MAX];
        let lower_octets = question.name.write_lower(&mut lower) as u8;
        Ok(Self {
            header,
            name: question.name,
            qtype: question.qtype,
            qclass: question.qclass,
            edns,
            client_subnet,
            lower,
            lower_octets,
            question_end: questions.position(),
        })
    }

    /// The name in lower case, uncompressed wire format.
    #[must_use]
    pub fn lower_wire(&self) -> &[u8] {
        &self.lower[..usize::from(self.lower_octets)]
    }

    /// Where the question ends in the message.
    #[must_use]
    pub const fn question_end(&self) -> usize {
        self.question_end
    }
}

/// Why octets are no query, and what is owed for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// The header to echo; `None` means silence.
    pub header: Option<Header>,
    /// The response code.
    pub rcode: Rcode,
    /// What is wrong.
    pub error: ParseError,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a query, owed {}",
            if self.header.is_some() { self.rcode.mnemonic().unwrap_or("an error") } else { "silence" }
        )
    }
}

impl core::error::Error for QueryError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}
