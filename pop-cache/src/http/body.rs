//! Bodies: stored ones, ones that arrive while they are read, and the response body type of the layer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::fetch::FetchError;
use super::range::ByteRange;

/// Stored bodies are kept in blocks of at most this many bytes, copied out of the network buffers they came in, so
/// that a small body does not hold a large buffer.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// A body too large to be stored is passed on with at most this many bytes between the fastest reader and the slowest.
pub const WINDOW_BYTES: u64 = 1024 * 1024;

/// The bytes of a representation that a cache holds: all, or some ranges of them.
#[derive(Debug, Default)]
pub(crate) struct StoredBody {
    /// Blocks by offset, sorted, not overlapping.
    blocks: Vec<(u64, Bytes)>,
    /// The length of the whole, where it is known.
    complete: Option<u64>,
}

impl StoredBody {
    /// The whole representation.
    pub(crate) fn whole(chunks: &[Bytes]) -> Self {
        let mut body = Self::default();
        let length = body.append(0, chunks);
        body.complete = Some(length);
        body
    }

    /// A part that starts at `first`.
    pub(crate) fn part(first: u64, chunks: &[Bytes], complete: Option<u64>) -> Self {
        let mut body = Self { blocks: Vec::new(), complete };
        body.append(first, chunks);
        body
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
        Self { blocks, complete: self.complete.or(other.complete) }
    }

    fn append(&mut self, first: u64, chunks: &[Bytes]) -> u64 {
        let total: usize = chunks.iter().map(Bytes::len).sum();
        let (mut at, mut left) = (first, total);
        let mut block = BytesMut::with_capacity(left.min(BLOCK_BYTES));
        for chunk in chunks {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - block.len()));
                block.extend_from_slice(now);
                left -= now.len();
                rest = later;
                if block.len() == BLOCK_BYTES {
                    let full = std::mem::replace(&mut block, BytesMut::with_capacity(left.min(BLOCK_BYTES)))
                        .freeze();
                    self.blocks.push((at, full.clone()));
                    at += full.len() as u64;
                }
            }
        }
        if !block.is_empty() {
            self.blocks.push((at, block.freeze()));
        }
        total as u64
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

/// A body while it is fetched: the fetch appends, any number of readers follow at their own pace.
#[derive(Debug)]
pub(crate) struct Live {
    state: Mutex<LiveState>,
}

#[derive(Debug)]
struct LiveState {
    chunks: VecDeque<Bytes>,
    /// The number of chunks dropped from the front: zero as long as the body may be stored.
    dropped: usize,
    retained: u64,
    total: u64,
    /// Larger bodies are not kept.
    limit: u64,
    end: Option<Result<Option<HeaderMap>, FetchError>>,
    readers: Vec<Option<Position>>,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct Position {
    next: usize,
    waker: Option<Waker>,
}

impl Live {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(LiveState {
                chunks: VecDeque::new(),
                dropped: 0,
                retained: 0,
                total: 0,
                limit,
                end: None,
                readers: Vec::new(),
                writer: None,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, LiveState> {
        // A panic while the lock is held can only come from an allocation that failed; the state stays consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new reader from the first byte; `None` once the beginning is gone.
    pub(crate) fn reader(self: &Arc<Self>, range: Option<ByteRange>) -> Option<Reader> {
        let mut state = self.lock();
        if state.dropped > 0 {
            return None;
        }
        let slot = state.readers.iter().position(Option::is_none).unwrap_or_else(|| {
            state.readers.push(None);
            state.readers.len() - 1
        });
        state.readers[slot] = Some(Position { next: 0, waker: None });
        let (skip, left) = range.map_or((0, u64::MAX), |range| (range.first, range.length()));
        Some(Reader { live: Arc::clone(self), slot, skip, left })
    }

    /// Appends a chunk and wakes the readers. Resolves to whether anybody still wants the rest; for a body over the
    /// limit only after the slowest reader is within [`WINDOW_BYTES`].
    pub(crate) async fn push(&self, chunk: Bytes) -> bool {
        {
            let mut state = self.lock();
            state.total += chunk.len() as u64;
            state.retained += chunk.len() as u64;
            state.chunks.push_back(chunk);
            state.wake_readers();
        }
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            if state.total <= state.limit {
                return Poll::Ready(true);
            }
            state.drop_read();
            if state.readers.iter().all(Option::is_none) {
                return Poll::Ready(false);
            }
            if state.retained <= WINDOW_BYTES {
                return Poll::Ready(true);
            }
            state.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// All chunks, if they are all still here and may be stored.
    pub(crate) fn all(&self) -> Option<Vec<Bytes>> {
        let state = self.lock();
        (state.dropped == 0 && state.total <= state.limit).then(|| state.chunks.iter().cloned().collect())
    }

    /// Ends the body.
    pub(crate) fn finish(&self, end: Result<Option<HeaderMap>, FetchError>) {
        let mut state = self.lock();
        state.end = Some(end);
        state.wake_readers();
    }
}

impl LiveState {
    fn wake_readers(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    /// Drops what every reader has read; only called once the body is too large to be stored.
    fn drop_read(&mut self) {
        let slowest = self.readers.iter().flatten().map(|reader| reader.next).min().unwrap_or(usize::MAX);
        while self.dropped < slowest {
            let Some(chunk) = self.chunks.pop_front() else { break };
            self.retained -= chunk.len() as u64;
            self.dropped += 1;
        }
    }
}

/// One reader of a [`Live`] body.
#[derive(Debug)]
pub(crate) struct Reader {
    live: Arc<Live>,
    slot: usize,
    skip: u64,
    left: u64,
}

impl Reader {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut guard = self.live.lock();
        let state = &mut *guard;
        let is_over = state.total > state.limit;
        loop {
            let reader =
                state.readers[self.slot].as_mut().expect("a reader keeps its slot until it is dropped");
            let index = reader.next - state.dropped;
            if let Some(chunk) = state.chunks.get(index) {
                reader.next += 1;
                if is_over && let Some(writer) = state.writer.take() {
                    writer.wake();
                }
                let skipped = self.skip.min(chunk.len() as u64);
                self.skip -= skipped;
                let rest = chunk.slice(skipped as usize..);
                let taken = self.left.min(rest.len() as u64);
                if taken == 0 {
                    continue;
                }
                self.left -= taken;
                return Poll::Ready(Some(Ok(Frame::data(rest.slice(..taken as usize)))));
            }
            return match &state.end {
                None => {
                    reader.waker = Some(context.waker().clone());
                    Poll::Pending
                }
                Some(Ok(Some(trailers))) => {
                    self.left = 0;
                    Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))))
                }
                Some(Ok(None)) => Poll::Ready(None),
                Some(Err(error)) => {
                    self.left = 0;
                    Poll::Ready(Some(Err(error.clone())))
                }
            };
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.live.lock();
        state.readers[self.slot] = None;
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }
}

pin_project! {
    /// The response body of the layer: from the cache, from a fetch in progress, or the origin's own.
    #[derive(Debug)]
    pub struct CacheBody<B> {
        #[pin]
        kind: Kind<B>,
        length: Option<u64>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<B> {
        Empty,
        Stored { body: Arc<StoredBody>, position: u64, end: u64 },
        Chunks { chunks: VecDeque<Bytes> },
        Live { reader: Reader },
        Origin { #[pin] body: B },
    }
}

impl<B> CacheBody<B> {
    pub(crate) fn empty() -> Self {
        Self { kind: Kind::Empty, length: Some(0) }
    }

    pub(crate) fn stored(body: Arc<StoredBody>, range: ByteRange) -> Self {
        let kind = Kind::Stored { body, position: range.first, end: range.last + 1 };
        Self { kind, length: Some(range.length()) }
    }

    pub(crate) fn chunks(chunks: VecDeque<Bytes>) -> Self {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { kind: Kind::Chunks { chunks }, length: Some(length) }
    }

    pub(crate) fn live(reader: Reader, length: Option<u64>) -> Self {
        Self { kind: Kind::Live { reader }, length }
    }

    pub(crate) fn origin(body: B) -> Self {
        Self { kind: Kind::Origin { body }, length: None }
    }
}

/// The error of a body that could not be read to its end.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<B> Body for CacheBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let frame = match this.kind.project() {
            KindProjection::Empty => None,
            KindProjection::Chunks { chunks } => chunks.pop_front().map(|chunk| Ok(Frame::data(chunk))),
            KindProjection::Stored { body, position, end } => match body.read(*position, *end) {
                Some(chunk) if *position < *end => {
                    *position += chunk.len() as u64;
                    Some(Ok(Frame::data(chunk)))
                }
                _ => None,
            },
            KindProjection::Live { reader } => {
                return reader.poll(context).map(|frame| frame.map(|frame| frame.map_err(Into::into)));
            }
            KindProjection::Origin { body } => {
                return body.poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(Into::into)));
            }
        };
        if let (Some(Ok(frame)), Some(length)) = (&frame, this.length.as_mut()) {
            *length -= frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Stored { position, end, .. } => position >= end,
            Kind::Chunks { chunks } => chunks.is_empty(),
            Kind::Live { .. } => false,
            Kind::Origin { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.kind, self.length) {
            (Kind::Origin { body }, _) => body.size_hint(),
            // What a fetch still owes is not counted down: the announced length holds for an unread body only.
            (Kind::Live { .. }, None) => SizeHint::default(),
            (_, Some(length)) => SizeHint::with_exact(length),
            (_, None) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: u64, text: &'static str) -> StoredBody {
        StoredBody::part(first, &[Bytes::from_static(text.as_bytes())], Some(10))
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
    fn large_bodies_are_cut_into_blocks() {
        let body = StoredBody::whole(&[Bytes::from(vec![7; BLOCK_BYTES * 2 + 5])]);
        assert_eq!(body.blocks.len(), 3);
        assert!(body.is_whole());
        assert!(body.weight() >= (BLOCK_BYTES * 2 + 5) as u64);
        assert!(StoredBody::whole(&[]).is_whole());
    }

    #[tokio::test]
    async fn a_body_over_the_limit_waits_for_its_slowest_reader_and_ends_with_the_last() {
        let live = Live::new(10);
        let reader = live.reader(None).expect("the beginning is there");
        let chunk = Bytes::from(vec![0; usize::try_from(WINDOW_BYTES).expect("fits") + 1]);
        let (writer, ()) = tokio::join!(live.push(chunk), async {
            tokio::task::yield_now().await;
            drop(reader);
        });
        assert!(!writer, "nobody is left to read");
        assert!(live.reader(None).is_none(), "the beginning is gone");
        assert!(live.all().is_none(), "nothing to store");
    }
}
