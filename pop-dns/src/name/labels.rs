//! The walk over the labels of a name, pointers followed on the way.

use super::{LABEL_OCTETS_MAX, NAME_OCTETS_MAX, POINTERS_MAX, pointer_target};
use crate::ParseError;
use crate::header::HEADER_OCTETS;

/// Where `at` stands once the walk is over.
const OVER: usize = usize::MAX;

/// The labels of a [`Name`](crate::Name), each 1 to 63 octets; ends after an error.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'m> {
    message: &'m [u8],
    /// The next length octet, or [`OVER`].
    at: usize,
    /// Where the run of labels at hand began: a pointer at its end leads before it.
    run: usize,
    /// Octets of the name so far; the root's is counted from the start.
    octets: usize,
    pointers: u8,
}

impl<'m> Labels<'m> {
    #[inline]
    pub(super) fn new(message: &'m [u8], at: usize) -> Self {
        Self { message, at, run: at, octets: 1, pointers: 0 }
    }

    #[cold]
    fn fail(&mut self, error: ParseError) -> Option<Result<&'m [u8], ParseError>> {
        self.at = OVER;
        Some(Err(error))
    }

    /// The far side of the pointer at hand.
    #[inline]
    fn follow(&mut self, high: u8) -> Result<(), ParseError> {
        let offset = self.at;
        let Some(&low) = self.message.get(offset + 1) else {
            return Err(ParseError::Truncated { offset: offset + 1 });
        };
        let target = pointer_target(high, low);
        if target >= self.run || target < HEADER_OCTETS {
            return Err(ParseError::Pointer { offset, target });
        }
        if self.pointers == POINTERS_MAX {
            return Err(ParseError::TooManyPointers { offset });
        }
        self.pointers += 1;
        (self.at, self.run) = (target, target);
        Ok(())
    }
}

impl<'m> Iterator for Labels<'m> {
    type Item = Result<&'m [u8], ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let offset = self.at;
            let Some(&length) = self.message.get(offset) else {
                return if offset == OVER { None } else { self.fail(ParseError::Truncated { offset }) };
            };
            let octets = usize::from(length);
            if length == 0 {
                self.at = OVER;
                return None;
            }
            if octets <= LABEL_OCTETS_MAX {
                let Some(label) = self.message.get(offset + 1..offset + 1 + octets) else {
                    return self.fail(ParseError::Truncated { offset: self.message.len() });
                };
                self.octets += 1 + octets;
                if self.octets > NAME_OCTETS_MAX {
                    return self.fail(ParseError::NameTooLong { offset });
                }
                self.at = offset + 1 + octets;
                return Some(Ok(label));
            }
            if length < 0xC0 {
                return self.fail(ParseError::LabelType { offset });
            }
            if let Err(error) = self.follow(length) {
                return self.fail(error);
            }
        }
    }
}

impl core::iter::FusedIterator for Labels<'_> {}
