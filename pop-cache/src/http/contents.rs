//! The bytes of a stored response: all, some ranges of them, or slices that are stored each for itself.

use bytes::Bytes;

use super::key::CacheKey;
use super::range::ByteRange;

/// The bytes of a representation that a cache holds: all, or some ranges of them.
#[derive(Debug, Default)]
pub(crate) struct StoredBody {
    /// Blocks by offset, sorted, not overlapping.
    blocks: Vec<(u64, Bytes)>,
    /// The length of the whole, where it is known.
    complete: Option<u64>,
    slices: Option<Slices>,
    /// Its compressed forms.
    #[cfg(feature = "compression")]
    pub(crate) encodings: super::compression::Encodings,
}

/// The name under which the slices of one representation are stored, and their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slices {
    pub(crate) id: u64,
    pub(crate) bytes: u64,
}

impl Slices {
    /// The number of the slice that has the byte at `position`.
    pub(crate) fn index(self, position: u64) -> u64 {
        position / self.bytes
    }

    /// The bytes of a slice of a representation of `complete` bytes.
    pub(crate) fn range(self, index: u64, complete: u64) -> ByteRange {
        let first = index.saturating_mul(self.bytes);
        ByteRange { first, last: first.saturating_add(self.bytes).min(complete) - 1 }
    }

    /// The key of a slice in the store. The NUL keeps it apart from every URI.
    pub(crate) fn key(self, index: u64) -> CacheKey {
        CacheKey::from_raw(format!("\0{:x}/{index:x}", self.id))
    }
}

impl StoredBody {
    /// The whole representation.
    pub(crate) fn whole(blocks: Vec<Bytes>) -> Self {
        let mut body = Self::part(0, blocks, None);
        body.complete = Some(body.blocks.last().map_or(0, |(start, block)| start + block.len() as u64));
        body
    }

    /// A part that starts at `first`.
    pub(crate) fn part(first: u64, blocks: Vec<Bytes>, complete: Option<u64>) -> Self {
        let place = |at: &mut u64, block: Bytes| {
            let start = *at;
            *at += block.len() as u64;
            Some((start, block))
        };
        let blocks = blocks.into_iter().filter(|block| !block.is_empty()).scan(first, place).collect();
        Self { blocks, complete, ..Self::default() }
    }

    /// A representation whose bytes lie in slices of their own, as many of them as there are (RFC 9111 §3.4).
    pub(crate) fn sliced(slices: Slices, complete: u64) -> Self {
        Self { complete: Some(complete), slices: Some(slices), ..Self::default() }
    }

    /// Where the slices are, if the bytes lie there.
    pub(crate) fn slices(&self) -> Option<Slices> {
        self.slices
    }

    /// The union of two parts of one representation; where both have a byte, the first one's is kept.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut blocks = self.blocks.clone();
        for (offset, block) in &other.blocks {
            let (mut at, end) = (*offset, offset + block.len() as u64);
            while at < end {
                let covered =
                    self.blocks.iter().find(|(start, held)| *start <= at && at < start + held.len() as u64);
                if let Some((start, held)) = covered {
                    at = start + held.len() as u64;
                    continue;
                }
                let next = self.blocks.iter().map(|(start, _)| *start).filter(|start| *start > at).min();
                let stop = next.unwrap_or(end).min(end);
                blocks.push((at, block.slice((at - offset) as usize..(stop - offset) as usize)));
                at = stop;
            }
        }
        blocks.sort_unstable_by_key(|(start, _)| *start);
        Self { blocks, complete: self.complete.or(other.complete), ..Self::default() }
    }

    /// The length of the whole representation, if known.
    pub(crate) fn complete(&self) -> Option<u64> {
        self.complete
    }

    /// Whether every byte is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.complete
            .is_some_and(|length| length == 0 || self.covers(ByteRange { first: 0, last: length - 1 }))
    }

    /// Whether every byte of `range` is there.
    pub(crate) fn covers(&self, range: ByteRange) -> bool {
        let mut at = range.first;
        for (start, block) in &self.blocks {
            let end = start + block.len() as u64;
            if *start <= at && at < end {
                at = end;
            }
        }
        at > range.last
    }

    /// The one range that is missing, if exactly one is and the length is known.
    pub(crate) fn sole_gap(&self) -> Option<ByteRange> {
        let complete = self.complete?;
        let mut gap = None;
        let mut at = 0;
        let ends = std::iter::once((complete, 0));
        for (start, length) in
            self.blocks.iter().map(|(start, block)| (*start, block.len() as u64)).chain(ends)
        {
            if start > at {
                if gap.is_some() {
                    return None;
                }
                gap = Some(ByteRange { first: at, last: start - 1 });
            }
            at = start + length;
        }
        gap
    }

    /// The block that has the byte at `position`, from there on, at most up to `end`.
    pub(crate) fn read(&self, position: u64, end: u64) -> Option<Bytes> {
        let index = self.blocks.partition_point(|(start, _)| *start <= position).checked_sub(1)?;
        let (start, block) = &self.blocks[index];
        let from = usize::try_from(position - start).ok().filter(|from| *from < block.len())?;
        let to = usize::try_from(end - start).unwrap_or(usize::MAX).min(block.len());
        Some(if from == 0 && to == block.len() { block.clone() } else { block.slice(from..to) })
    }

    /// All blocks within `range`, in order.
    pub(crate) fn chunks(&self, range: ByteRange) -> Vec<Bytes> {
        let mut chunks = Vec::new();
        let mut at = range.first;
        while let Some(chunk) = self.read(at, range.last + 1).filter(|_| at <= range.last) {
            at += chunk.len() as u64;
            chunks.push(chunk);
        }
        chunks
    }

    /// The bytes in memory: contents and the list of blocks.
    pub(crate) fn weight(&self) -> u64 {
        let contents: usize = self.blocks.iter().map(|(_, block)| block.len()).sum();
        (contents + self.blocks.len() * (size_of::<(u64, Bytes)>() + BLOCK_OVERHEAD)) as u64
    }
}

/// The heap header of a shared `Bytes`: pointer, capacity, count, and the allocator's own word.
const BLOCK_OVERHEAD: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: u64, text: &'static str) -> StoredBody {
        StoredBody::part(first, vec![Bytes::from_static(text.as_bytes())], Some(10))
    }

    fn read(body: &StoredBody, first: u64, last: u64) -> Vec<u8> {
        body.chunks(ByteRange { first, last }).concat()
    }

    #[test]
    fn parts_combine_into_the_whole() {
        let tail = part(6, "6789");
        assert_eq!(tail.sole_gap(), Some(ByteRange { first: 0, last: 5 }));
        let both = tail.union(&part(0, "012"));
        assert_eq!(both.sole_gap(), Some(ByteRange { first: 3, last: 5 }));
        assert!(!both.is_whole());
        let whole = both.union(&part(2, "23456"));
        assert!(whole.is_whole());
        assert_eq!(whole.sole_gap(), None);
        assert_eq!(read(&whole, 0, 9), b"0123456789");
        assert_eq!(read(&whole, 3, 4), b"34");
    }

    #[test]
    fn two_gaps_are_not_one() {
        let middle = part(4, "4");
        assert_eq!(middle.sole_gap(), None);
        assert!(middle.covers(ByteRange { first: 4, last: 4 }));
        assert!(!middle.covers(ByteRange { first: 4, last: 5 }));
    }

    #[test]
    fn an_empty_body_is_whole() {
        assert!(StoredBody::whole(Vec::new()).is_whole());
        assert!(StoredBody::whole(vec![Bytes::new()]).is_whole());
        assert_eq!(
            StoredBody::whole(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")]).complete(),
            Some(3)
        );
    }

    #[test]
    fn slices_cover_a_representation_without_overlap() {
        let slices = Slices { id: 1, bytes: 4 };
        assert_eq!(slices.range(0, 10), ByteRange { first: 0, last: 3 });
        assert_eq!(slices.range(2, 10), ByteRange { first: 8, last: 9 });
        assert_eq!(slices.index(9), 2);
        assert_ne!(slices.key(1), slices.key(2));
    }
}
