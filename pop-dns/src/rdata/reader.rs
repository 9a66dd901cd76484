//! Reading RDATA in order, with every bound checked.

use crate::ParseError;
use crate::name::{Name, skip_plain};

/// A position in RDATA. Names may point back into the whole message; nothing is read past the end of the RDATA.
#[derive(Debug)]
pub(crate) struct Reader<'m> {
    /// The message up to the end of the RDATA.
    message: &'m [u8],
    start: usize,
    at: usize,
}

impl<'m> Reader<'m> {
    #[inline]
    pub(crate) const fn new(message: &'m [u8], start: usize) -> Self {
        Self { message, start, at: start }
    }

    /// The error for RDATA that do not hold what their type says.
    #[cold]
    pub(crate) const fn bad(&self) -> ParseError {
        ParseError::RData { offset: self.start }
    }

    /// All there is must have been read.
    #[inline]
    pub(crate) fn finish(&self) -> Result<(), ParseError> {
        if self.at == self.message.len() { Ok(()) } else { Err(self.bad()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.message.len()
    }

    #[inline]
    pub(crate) fn take(&mut self, octets: usize) -> Result<&'m [u8], ParseError> {
        let end = self.at + octets;
        let taken = self.message.get(self.at..end).ok_or_else(|| self.bad())?;
        self.at = end;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let taken = self.message.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let taken = *taken.ok_or_else(|| self.bad())?;
        self.at += N;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn rest(&mut self) -> &'m [u8] {
        let rest = self.message.get(self.at..).unwrap_or_default();
        self.at = self.message.len();
        rest
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, ParseError> {
        self.array::<1>().map(|[octet]| octet)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A length octet and as many octets.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'m [u8], ParseError> {
        let octets = usize::from(self.u8()?);
        self.take(octets)
    }

    /// A name that may be compressed.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<Name<'m>, ParseError> {
        let (name, end) = Name::parse(self.message, self.at)?;
        self.at = end;
        Ok(name)
    }

    /// A name that may not be compressed.
    pub(crate) fn plain_name(&mut self) -> Result<Name<'m>, ParseError> {
        let end = skip_plain(self.message, self.at)?;
        let name = Name::checked(self.message, self.at);
        self.at = end;
        Ok(name)
    }
}
