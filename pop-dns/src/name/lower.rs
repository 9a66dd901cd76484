//! A name ready to be looked up: lower case, no compression, and where its labels begin.

use super::{LABELS_MAX, NAME_OCTETS_MAX, lower_word};
use crate::ParseError;

/// Octets behind the longest name, so that any label can be read in words of eight octets.
const SLACK_OCTETS: usize = 9;

/// A name in lower-case wire format on the stack.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "std"), allow(dead_code, reason = "labels are looked up in zones"))]
pub(crate) struct LowerName {
    wire: [u8; NAME_OCTETS_MAX + SLACK_OCTETS],
    octets: u8,
    labels: u8,
    starts: [u8; LABELS_MAX + 1],
}

#[cfg_attr(not(feature = "std"), allow(dead_code, reason = "labels are looked up in zones"))]
impl LowerName {
    /// The root.
    pub(crate) const ROOT: Self =
        Self { wire: [0; NAME_OCTETS_MAX + SLACK_OCTETS], octets: 1, labels: 0, starts: [0; LABELS_MAX + 1] };

    /// The name that stands without compression at `start` of `message`, and the offset behind it.
    ///
    /// # Errors
    /// [`ParseError`] as [`Name::from_wire`](crate::Name::from_wire).
    #[inline]
    pub(crate) fn parse(message: &[u8], start: usize) -> Result<(Self, usize), ParseError> {
        let mut name = Self::ROOT;
        let end = name.read(message, start)?;
        Ok((name, end))
    }

    /// The same in place of what was here before: the whole is four hundred octets, most of which a name does not fill, so
    /// whoever reads many names does not move them about. After an error nothing sensible is left.
    #[inline]
    pub(crate) fn read(&mut self, message: &[u8], start: usize) -> Result<usize, ParseError> {
        let mut at = start;
        let mut labels = 0;
        loop {
            let Some(&length) = message.get(at) else { return Err(ParseError::Truncated { offset: at }) };
            self.starts[labels] = (at - start) as u8;
            match length {
                0 => break,
                1..=63 => at += 1 + usize::from(length),
                0xC0.. => return Err(ParseError::Compressed { offset: at }),
                _ => return Err(ParseError::LabelType { offset: at }),
            }
            if at - start >= NAME_OCTETS_MAX {
                return Err(ParseError::NameTooLong { offset: start });
            }
            labels += 1;
        }
        let end = at + 1;
        let octets = end - start;
        // In words, the last of which may take in what follows the name: nobody looks there.
        for (to, from) in
            self.wire.as_chunks_mut::<8>().0[..octets.div_ceil(8)].iter_mut().zip((start..).step_by(8))
        {
            let word = match message.get(from..).and_then(|rest| rest.first_chunk()) {
                Some(word) => *word,
                None => last_word(&message[from..]),
            };
            *to = lower_word(u64::from_le_bytes(word)).to_le_bytes();
        }
        (self.octets, self.labels) = (octets as u8, labels as u8);
        Ok(end)
    }

    /// The whole name.
    #[inline]
    pub(crate) fn as_wire(&self) -> &[u8] {
        &self.wire[..usize::from(self.octets)]
    }

    /// How many labels there are, the root left out.
    #[inline]
    pub(crate) const fn labels(&self) -> usize {
        self.labels as usize
    }

    /// Where the label `index`, counted from the left, begins; the root's is the last.
    #[inline]
    pub(crate) fn start(&self, index: usize) -> usize {
        self.starts[index].into()
    }

    /// The last `labels` labels and the root.
    #[inline]
    pub(crate) fn suffix(&self, labels: usize) -> &[u8] {
        &self.wire[self.start(self.labels() - labels)..usize::from(self.octets)]
    }

    /// Eight octets of the name at `offset`; behind its end they mean nothing.
    #[inline]
    pub(crate) fn word(&self, offset: usize) -> u64 {
        self.wire[offset..].first_chunk().map_or(0, |octets| u64::from_le_bytes(*octets))
    }
}

/// Fewer than eight octets, zeros behind them.
fn last_word(octets: &[u8]) -> [u8; 8] {
    let mut word = [0; 8];
    word[..octets.len()].copy_from_slice(octets);
    word
}

impl core::fmt::Debug for LowerName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&super::Name::checked(self.as_wire(), 0), f)
    }
}
