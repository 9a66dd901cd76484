//! The walk over the labels of a name, pointers followed on the way.

use super::{LABEL_OCTETS_MAX, NAME_OCTETS_MAX, POINTERS_MAX, pointer_target};
use crate::ParseError;
use crate::header::HEADER_OCTETS;

/// Pointers that count as followed once the walk is over: more than any name has.
const OVER: u8 = u8::MAX;

/// The labels of a [`Name`](crate::Name), each 1 to 63 octets; ends after an error.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'m> {
    message: &'m [u8],
    /// The message from the next length octet on: taking a label off its front is one check of bounds.
    rest: &'m [u8],
    /// Where the run of labels at hand began: a pointer at its end leads before it.
    run: usize,
    /// Octets that the labels to come may have, lengths included.
    left: usize,
    /// Pointers followed, or [`OVER`].
    pointers: u8,
}

impl<'m> Labels<'m> {
    #[inline]
    pub(super) fn new(message: &'m [u8], at: usize) -> Self {
        let rest = message.get(at..).unwrap_or_default();
        // The root's octet is taken off from the start.
        Self { message, rest, run: at, left: NAME_OCTETS_MAX - 1, pointers: 0 }
    }

    /// Where the next length octet stands.
    #[inline]
    const fn offset(&self) -> usize {
        self.message.len() - self.rest.len()
    }

    #[inline]
    const fn end(&mut self) {
        (self.rest, self.pointers) = (&[], OVER);
    }

    #[cold]
    fn fail(&mut self, error: ParseError) -> Option<Result<&'m [u8], ParseError>> {
        self.end();
        Some(Err(error))
    }

    /// The octets ended where a label should begin, unless the walk was over before.
    #[cold]
    fn ended(&mut self) -> Option<Result<&'m [u8], ParseError>> {
        if self.pointers == OVER { None } else { self.fail(ParseError::Truncated { offset: self.offset() }) }
    }

    /// The far side of the pointer at hand.
    #[inline]
    fn follow(&mut self, high: u8) -> Result<(), ParseError> {
        let Some(&low) = self.rest.get(1) else {
            return Err(ParseError::Truncated { offset: self.offset() + 1 });
        };
        let target = pointer_target(high, low);
        if target >= self.run || target < HEADER_OCTETS {
            return Err(ParseError::Pointer { offset: self.offset(), target });
        }
        if self.pointers == POINTERS_MAX {
            return Err(ParseError::TooManyPointers { offset: self.offset() });
        }
        self.pointers += 1;
        // The target lies before the pointer, so within the message.
        (self.rest, self.run) = (self.message.get(target..).unwrap_or_default(), target);
        Ok(())
    }
}

impl<'m> Iterator for Labels<'m> {
    type Item = Result<&'m [u8], ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((&length, rest)) = self.rest.split_first() else { return self.ended() };
            let octets = usize::from(length);
            if (1..=LABEL_OCTETS_MAX).contains(&octets) {
                let Some((label, rest)) = rest.split_at_checked(octets) else {
                    return self.fail(ParseError::Truncated { offset: self.message.len() });
                };
                let Some(left) = self.left.checked_sub(1 + octets) else {
                    return self.fail(ParseError::NameTooLong { offset: self.offset() });
                };
                (self.rest, self.left) = (rest, left);
                return Some(Ok(label));
            }
            if length == 0 {
                self.end();
                return None;
            }
            if length < 0xC0 {
                return self.fail(ParseError::LabelType { offset: self.offset() });
            }
            if let Err(error) = self.follow(length) {
                return self.fail(error);
            }
        }
    }
}

impl core::iter::FusedIterator for Labels<'_> {}
