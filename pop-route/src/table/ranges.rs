//! Between nested prefixes and flat ranges, both ways.
//!
//! Flattening cuts the address space where the longest match changes. Going back, a range of addresses is covered by
//! the fewest aligned blocks: the largest block that starts at the first address and does not pass the last, and so
//! on.

use core::fmt;
use core::net::IpAddr;

use super::word::{Word, prefix};
use crate::{Family, Prefix};

/// The address space in order: where each range begins, and what holds from there until the next one begins.
/// The first begins at zero; neighbours differ.
#[derive(Clone, Debug)]
pub(crate) struct Cuts<W> {
    pub(crate) starts: Vec<W>,
    pub(crate) marks: Vec<u32>,
}

impl<W: Word> Cuts<W> {
    /// The whole space with one mark.
    pub(crate) fn whole(mark: u32) -> Self {
        Self { starts: vec![W::MIN], marks: vec![mark] }
    }

    /// Flattens prefixes, which come in order (first address, then length, no two alike). `outside` is the mark where
    /// no prefix matches.
    pub(crate) fn flatten(prefixes: impl Iterator<Item = (W, u8, u32)>, outside: u32) -> Self {
        let mut cuts = Self::whole(outside);
        // The last addresses and marks of the blocks around the point reached, outermost first. Nesting bounds it.
        let mut open: Vec<(W, u32)> = Vec::with_capacity(usize::from(W::BITS) + 1);
        for (first, length, mark) in prefixes {
            cuts.close_before(&mut open, Some(first), outside);
            cuts.push(first, mark);
            open.push((first.last_of(length), mark));
        }
        cuts.close_before(&mut open, None, outside);
        cuts
    }

    /// Pops the open blocks that end before `next`, and continues with the block around each.
    fn close_before(&mut self, open: &mut Vec<(W, u32)>, next: Option<W>, outside: u32) {
        while let Some(&(last, _)) = open.last() {
            if next.is_some_and(|next| last >= next) {
                return;
            }
            open.pop();
            // Nothing lies behind the very last address.
            if let Some(behind) = last.checked_add_one() {
                self.push(behind, open.last().map_or(outside, |&(_, mark)| mark));
            }
        }
    }

    /// From `start` on, `mark` holds. Starts never step back; one at the same place overrides.
    pub(crate) fn push(&mut self, start: W, mark: u32) {
        debug_assert!(self.starts.last().is_none_or(|&last| last <= start));
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.marks.pop();
        }
        if self.marks.last() != Some(&mark) {
            self.starts.push(start);
            self.marks.push(mark);
        }
    }

    /// Every range: first address, last address, mark.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (W, W, u32)> {
        let ends = self.starts[1..].iter().map(|&next| before(next)).chain([W::MIN.last_of(0)]);
        self.starts.iter().zip(ends).zip(&self.marks).map(|((&first, last), &mark)| (first, last, mark))
    }
}

/// The address before one that is not the first.
fn before<W: Word>(address: W) -> W {
    let unit = 1_u128 << (128 - u32::from(W::BITS));
    W::from_aligned(address.to_aligned() - unit)
}

/// The fewest aligned blocks that cover a range, in order: first address and length.
pub(crate) fn blocks_of<W: Word>(first: W, last: W) -> impl Iterator<Item = (W, u8)> {
    let mut next = (first <= last).then_some(first);
    core::iter::from_fn(move || {
        let start = next?;
        // The shortest length at which the start is aligned, made longer until the block does not pass the last.
        let aligned = start.to_aligned().trailing_zeros().min(128) as u8;
        let mut length = 128_u8.saturating_sub(aligned).min(W::BITS);
        let differing =
            (start.to_aligned() ^ last.to_aligned()).leading_zeros().min(u32::from(W::BITS)) as u8;
        length = length.max(differing);
        if start.last_of(length) > last {
            length += 1;
        }
        debug_assert!(start.last_of(length) <= last);
        let end = start.last_of(length);
        next = (end < last).then(|| end.checked_add_one()).flatten();
        Some((start, length))
    })
}

/// The fewest prefixes that cover the addresses from `first` to `last`, in order. IPv4-mapped addresses are IPv4.
///
/// ```
/// let prefixes = pop_route::prefixes_of_range("192.0.2.1".parse()?, "192.0.2.4".parse()?)?;
/// let text: Vec<String> = prefixes.map(|prefix| prefix.to_string()).collect();
/// assert_eq!(text, ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/32"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RangeError`] where the two are of different families, or the last comes before the first.
pub fn prefixes_of_range(first: IpAddr, last: IpAddr) -> Result<impl Iterator<Item = Prefix>, RangeError> {
    let (first, last) = (Prefix::host(first), Prefix::host(last));
    if first.family() != last.family() {
        return Err(RangeError::Families);
    }
    if first.first() > last.first() {
        return Err(RangeError::Backwards);
    }
    fn within<W: Word>(first: Prefix, last: Prefix) -> impl Iterator<Item = Prefix> {
        let (from, to) = (W::from_aligned(first.first()), W::from_aligned(last.first()));
        let blocks = (first.family() == W::FAMILY).then(|| blocks_of(from, to));
        blocks.into_iter().flatten().map(|(address, length)| prefix(address, length))
    }
    debug_assert!(matches!(first.family(), Family::V4 | Family::V6));
    Ok(within::<u32>(first, last).chain(within::<u128>(first, last)))
}

/// A range of addresses that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RangeError {
    /// One end is IPv4, the other IPv6.
    Families,
    /// The last address comes before the first.
    Backwards,
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Families => "the ends of the range are of different address families",
            Self::Backwards => "the range ends before it begins",
        })
    }
}

impl core::error::Error for RangeError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_whole_space_is_one_block() {
        assert_eq!(blocks_of(0_u32, u32::MAX).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(blocks_of(0_u128, u128::MAX).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(blocks_of(u128::MAX, u128::MAX).collect::<Vec<_>>(), [(u128::MAX, 128)]);
        assert_eq!(blocks_of(1_u32, u32::MAX - 1).count(), 62, "the worst case of IPv4");
        assert_eq!(blocks_of(1_u128, u128::MAX - 1).count(), 254, "the worst case of IPv6");
    }

    proptest! {
        #[test]
        fn blocks_are_exactly_the_range_and_maximal(one in any::<u32>(), other in any::<u32>()) {
            let (first, last) = (one.min(other), one.max(other));
            let blocks: Vec<_> = blocks_of(first, last).collect();
            let mut expected = Some(first);
            for &(start, length) in &blocks {
                prop_assert_eq!(expected, Some(start));
                expected = start.last_of(length).checked_add(1);
                // The block twice as large leaves the range.
                let parent = if length == 0 { continue } else { length - 1 };
                let around = start & !(u32::MAX.checked_shr(parent.into()).unwrap_or(0));
                prop_assert!(around < first || start.last_of(parent) > last);
            }
            prop_assert_eq!(expected, last.checked_add(1));
        }
    }
}
