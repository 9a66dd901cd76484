//! Character strings in a row.

/// Character strings one after the other, each of up to 255 octets (RFC 1035 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strings<'m>(&'m [u8]);

impl<'m> Strings<'m> {
    #[inline]
    pub(super) fn parse(octets: &'m [u8]) -> Option<Self> {
        let mut rest = octets;
        while let [length, tail @ ..] = rest {
            rest = tail.get(usize::from(*length)..)?;
        }
        Some(Self(octets))
    }

    /// Strings that the caller has checked.
    pub(crate) const fn checked(octets: &'m [u8]) -> Self {
        Self(octets)
    }

    /// The strings, each behind its length, that are still to come.
    #[must_use]
    pub const fn as_wire(&self) -> &'m [u8] {
        self.0
    }
}

impl<'m> Iterator for Strings<'m> {
    type Item = &'m [u8];

    #[inline]
    fn next(&mut self) -> Option<&'m [u8]> {
        let (&length, rest) = self.0.split_first()?;
        let (string, rest) = rest.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(string)
    }
}
