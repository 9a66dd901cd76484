//! RDATA as octets of a known type: copied, decompressed, put into canonical form without being understood.

use core::fmt;

use super::RData;
use super::names::{Layout, layout};
#[cfg(feature = "alloc")]
use crate::name::skip;
use crate::{Name, ParseError, RecordType};

/// RDATA where they stand, with their type. Making one checks nothing.
#[derive(Clone, Copy)]
pub struct RawRData<'m> {
    rtype: RecordType,
    /// The message up to the end of the RDATA.
    message: &'m [u8],
    start: usize,
}

impl<'m> RawRData<'m> {
    /// RDATA of their own, names uncompressed.
    #[must_use]
    pub const fn new(rtype: RecordType, rdata: &'m [u8]) -> Self {
        Self { rtype, message: rdata, start: 0 }
    }

    #[inline]
    pub(crate) const fn in_message(rtype: RecordType, message: &'m [u8], start: usize) -> Self {
        Self { rtype, message, start }
    }

    /// The type.
    #[must_use]
    pub const fn rtype(&self) -> RecordType {
        self.rtype
    }

    /// The message up to the end of the RDATA, and where they begin.
    #[inline]
    pub(crate) const fn place(&self) -> (&'m [u8], usize) {
        (self.message, self.start)
    }

    /// Where names stand that are not plain octets.
    #[inline]
    pub(crate) fn layout(&self) -> Option<Layout> {
        layout(self.rtype).filter(|_| self.start < self.message.len())
    }

    /// The octets as they stand; names among them may be compressed.
    #[inline]
    #[must_use]
    pub fn octets(&self) -> &'m [u8] {
        &self.message[self.start..]
    }

    /// The RDATA by type.
    ///
    /// # Errors
    /// [`ParseError`] where they do not hold what the type says.
    #[inline]
    pub fn typed(&self) -> Result<RData<'m>, ParseError> {
        RData::parse(self.rtype, self.message, self.start)
    }

    /// The names that may be compressed, or that the canonical form lower-cases; other names are plain octets here.
    /// Ends after an error.
    pub fn names(&self) -> impl Iterator<Item = Result<Name<'m>, ParseError>> + use<'m> {
        let (message, rdata) = (self.message, self.octets());
        let layout = layout(self.rtype).filter(|_| !rdata.is_empty());
        let mut left = layout.map_or(0, |layout| layout.names);
        let mut at = layout.and_then(|layout| layout.prefix(rdata)).map(|prefix| self.start + prefix);
        let start = self.start;
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let parsed =
                at.ok_or(ParseError::RData { offset: start }).and_then(|at| Name::parse(message, at));
            Some(match parsed {
                Ok((name, end)) => {
                    at = Some(end);
                    Ok(name)
                }
                Err(error) => {
                    left = 0;
                    Err(error)
                }
            })
        })
    }

    /// Cuts the RDATA into what stands before the names, the names, and what stands behind them.
    #[cfg(feature = "alloc")]
    pub(crate) fn parts(&self) -> Result<Parts<'m>, ParseError> {
        let rdata = self.octets();
        let Some(layout) = layout(self.rtype).filter(|_| !rdata.is_empty()) else {
            return Ok(Parts { before: rdata, names: [None; 2], after: &[] });
        };
        let prefix = layout.prefix(rdata).ok_or(ParseError::RData { offset: self.start })?;
        let mut parts = Parts { before: &rdata[..prefix], names: [None; 2], after: &[] };
        let mut at = self.start + prefix;
        for name in parts.names.iter_mut().take(layout.names.into()) {
            let end = skip(self.message, at)?;
            *name = Some(Name::checked(self.message, at));
            at = end;
        }
        parts.after = &self.message[at..];
        Ok(parts)
    }

    /// Appends the canonical form: names uncompressed, and in lower case for the types of RFC 4034 §6.2 (as RFC 6840
    /// §5.1 corrects it).
    ///
    /// # Errors
    /// [`ParseError`] where a name is broken; `wire` then holds an unfinished part.
    #[cfg(feature = "alloc")]
    pub fn write_canonical(&self, wire: &mut alloc::vec::Vec<u8>) -> Result<(), ParseError> {
        let parts = self.parts()?;
        wire.extend_from_slice(parts.before);
        let mut buffer = [0; crate::NAME_OCTETS_MAX];
        for name in parts.names.iter().flatten() {
            let octets = name.write_lower(&mut buffer)?;
            wire.extend_from_slice(&buffer[..octets]);
        }
        wire.extend_from_slice(parts.after);
        Ok(())
    }

    /// Appends the RDATA with their names uncompressed and the case kept.
    ///
    /// # Errors
    /// [`ParseError`] where a name is broken; `wire` then holds an unfinished part.
    #[cfg(feature = "alloc")]
    pub fn write_uncompressed(&self, wire: &mut alloc::vec::Vec<u8>) -> Result<(), ParseError> {
        let parts = self.parts()?;
        wire.extend_from_slice(parts.before);
        let mut buffer = [0; crate::NAME_OCTETS_MAX];
        for name in parts.names.iter().flatten() {
            let octets = name.write_wire(&mut buffer)?;
            wire.extend_from_slice(&buffer[..octets]);
        }
        wire.extend_from_slice(parts.after);
        Ok(())
    }
}

/// RDATA cut where their names stand.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub(crate) struct Parts<'m> {
    pub(crate) before: &'m [u8],
    pub(crate) names: [Option<Name<'m>>; 2],
    pub(crate) after: &'m [u8],
}

/// Presentation format of the type; what does not hold what the type says is shown as RFC 3597 §5 has it.
impl fmt::Display for RawRData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.typed().unwrap_or(RData::Unknown(self.rtype, self.octets())).fmt(f)
    }
}

impl fmt::Debug for RawRData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.rtype)
    }
}
