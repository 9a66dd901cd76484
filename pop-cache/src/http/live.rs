//! A body while it is fetched: the fetch appends, any number of readers follow at their own pace.
//!
//! As long as the body may still be stored everything is kept, so readers hold back nobody and a late one starts from
//! the first byte. A body that turns out too large for the store, or that finds the [`Budget`] of all fetches used up,
//! is passed on through a window: the fetch waits for its readers, and a reader that falls a whole window behind
//! others who are waiting is let go with an error, so that it holds back nobody either.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

use super::fetch::FetchError;
use super::range::ByteRange;

/// Stored bodies are kept in blocks of at most this many bytes, copied out of the network buffers they came in, so
/// that a small body does not hold a large buffer.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// A body that is not stored is passed on with at most this many bytes between its origin and its slowest reader.
pub const WINDOW_BYTES: u64 = 1024 * 1024;

/// The bytes that all fetches under way may hold together on their way into the store.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU64,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes) })
    }

    /// Takes `bytes`, or nothing if there are not so many left. Relaxed: only a counter.
    fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The body of one fetch.
#[derive(Debug)]
pub(crate) struct Live {
    state: Mutex<State>,
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct State {
    /// What is retained, by offset, without holes.
    chunks: VecDeque<(u64, Bytes)>,
    /// How many chunks from the front are full blocks already.
    blocks: usize,
    /// The offset of the first byte retained.
    start: u64,
    /// The bytes that have arrived.
    total: u64,
    /// More bytes are not kept.
    limit: u64,
    /// Whether everything is kept, from the first byte, to be stored.
    keeps: bool,
    /// What was taken from the budget.
    taken: u64,
    end: Option<Result<Option<HeaderMap>, FetchError>>,
    readers: Vec<Option<Place>>,
    writer: Option<Waker>,
}

/// Where a reader stands.
#[derive(Debug)]
struct Place {
    position: u64,
    is_cut: bool,
    waker: Option<Waker>,
}

impl Drop for Live {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budget.give(state.taken);
    }
}

impl Live {
    /// A body of which at most `limit` bytes are kept for the store.
    pub(crate) fn new(limit: u64, budget: &Arc<Budget>) -> Arc<Self> {
        let state = State {
            chunks: VecDeque::new(),
            blocks: 0,
            start: 0,
            total: 0,
            limit,
            keeps: limit > 0,
            taken: 0,
            end: None,
            readers: Vec::new(),
            writer: None,
        };
        Arc::new(Self { state: Mutex::new(state), budget: Arc::clone(budget) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held can only come from an allocation that failed; the state stays consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new reader of all, or of a range; `None` once its beginning is gone.
    pub(crate) fn reader(self: &Arc<Self>, range: Option<ByteRange>) -> Option<Reader> {
        let mut state = self.lock();
        let (position, end) = range.map_or((0, u64::MAX), |range| (range.first, range.last + 1));
        if position < state.start {
            return None;
        }
        let slot = state.readers.iter().position(Option::is_none).unwrap_or_else(|| {
            state.readers.push(None);
            state.readers.len() - 1
        });
        state.readers[slot] = Some(Place { position, is_cut: false, waker: None });
        Some(Reader { live: Arc::clone(self), slot, end })
    }

    /// Appends a chunk and wakes the readers. Resolves to whether anybody still wants the rest; for a body that is not
    /// kept only when its readers have caught up to within [`WINDOW_BYTES`].
    pub(crate) async fn push(&self, chunk: Bytes) -> bool {
        {
            let mut state = self.lock();
            let length = chunk.len() as u64;
            if state.keeps && (state.total + length > state.limit || !self.budget.take(length)) {
                state.keeps = false;
                self.budget.give(std::mem::take(&mut state.taken));
            } else if state.keeps {
                state.taken += length;
            }
            let offset = state.total;
            state.chunks.push_back((offset, chunk));
            state.total += length;
            if state.keeps {
                state.compact(BLOCK_BYTES as u64);
            }
            state.wake_readers();
        }
        std::future::poll_fn(|context| self.poll_room(context)).await
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if state.keeps {
            return Poll::Ready(true);
        }
        loop {
            let Some(slowest) = state.drop_read() else { return Poll::Ready(false) };
            if state.total.saturating_sub(slowest) <= WINDOW_BYTES {
                return Poll::Ready(true);
            }
            if !state.cut_slowest() {
                state.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
    }

    /// The whole body in blocks, if all of it is here and may be stored.
    pub(crate) fn all(&self) -> Option<Vec<Bytes>> {
        let mut state = self.lock();
        if !state.keeps {
            return None;
        }
        state.compact(1);
        Some(state.chunks.iter().map(|(_, block)| block.clone()).collect())
    }

    /// Ends the body.
    pub(crate) fn finish(&self, end: Result<Option<HeaderMap>, FetchError>) {
        let mut state = self.lock();
        state.end = Some(end);
        state.wake_readers();
    }
}

impl State {
    fn wake_readers(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    /// Copies what follows the last full block into blocks, once there are at least `enough` bytes of it.
    fn compact(&mut self, enough: u64) {
        let from = self.chunks.get(self.blocks).map_or(self.total, |(offset, _)| *offset);
        if self.total - from < enough {
            return;
        }
        let mut offset = from;
        let mut left = usize::try_from(self.total - from).expect("what is in memory fits into memory");
        let mut block = BytesMut::with_capacity(left.min(BLOCK_BYTES));
        for (_, chunk) in self.chunks.split_off(self.blocks) {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - block.len()));
                block.extend_from_slice(now);
                left -= now.len();
                rest = later;
                if block.len() == BLOCK_BYTES || left == 0 {
                    let next = BytesMut::with_capacity(left.min(BLOCK_BYTES));
                    let full = std::mem::replace(&mut block, next).freeze();
                    self.blocks += usize::from(full.len() == BLOCK_BYTES);
                    let length = full.len() as u64;
                    self.chunks.push_back((offset, full));
                    offset += length;
                }
            }
        }
        debug_assert_eq!(offset, self.total, "every byte has moved");
    }

    /// Drops what every reader has read; says where the slowest stands, if there is any.
    fn drop_read(&mut self) -> Option<u64> {
        let readers = self.readers.iter().flatten().filter(|reader| !reader.is_cut);
        let found = readers.map(|reader| reader.position).min();
        let slowest = found.unwrap_or(u64::MAX);
        while let Some((offset, chunk)) = self.chunks.front() {
            let end = offset + chunk.len() as u64;
            if end > slowest {
                break;
            }
            self.start = end;
            self.chunks.pop_front();
        }
        found
    }

    /// Lets go of the readers at the back if one at the front is waiting for more. Says whether that helped.
    fn cut_slowest(&mut self) -> bool {
        let is_starved = |reader: &Place| reader.waker.is_some() && reader.position >= self.total;
        if !self.readers.iter().flatten().any(is_starved) {
            return false;
        }
        let behind = self.total.saturating_sub(WINDOW_BYTES);
        let mut helped = false;
        for reader in self.readers.iter_mut().flatten() {
            if !reader.is_cut && reader.position < behind {
                reader.is_cut = true;
                helped = true;
                if let Some(waker) = reader.waker.take() {
                    waker.wake();
                }
            }
        }
        helped
    }
}

/// One reader of a [`Live`] body.
#[derive(Debug)]
pub(crate) struct Reader {
    live: Arc<Live>,
    slot: usize,
    end: u64,
}

impl Reader {
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        let mut guard = self.live.lock();
        let state = &mut *guard;
        let place = state.readers[self.slot].as_mut().expect("a reader keeps its slot until it is dropped");
        if place.position >= self.end {
            return Poll::Ready(None);
        }
        if place.is_cut {
            self.end = 0;
            return Poll::Ready(Some(Err(FetchError::TooSlow)));
        }
        if place.position < state.total {
            let index = state.chunks.partition_point(|(offset, _)| *offset <= place.position) - 1;
            let (offset, chunk) = &state.chunks[index];
            let from = usize::try_from(place.position - offset).expect("an offset within a chunk");
            let to = usize::try_from(self.end - offset).unwrap_or(usize::MAX).min(chunk.len());
            let data = chunk.slice(from..to);
            place.position += data.len() as u64;
            if let Some(writer) = state.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(end) = &state.end else {
            place.waker = Some(context.waker().clone());
            // The writer may be waiting for slower readers: now somebody waits for it.
            if let Some(writer) = state.writer.take() {
                writer.wake();
            }
            return Poll::Pending;
        };
        self.end = 0;
        match end {
            Ok(None) => Poll::Ready(None),
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers.clone())))),
            Err(error) => Poll::Ready(Some(Err(error.clone()))),
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

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = WINDOW_BYTES as usize;

    async fn next(reader: &mut Reader) -> Option<Result<usize, FetchError>> {
        let frame = std::future::poll_fn(|context| reader.poll(context)).await?;
        Some(frame.map(|frame| frame.into_data().map_or(0, |data| data.len())))
    }

    #[tokio::test]
    async fn a_body_over_the_limit_waits_for_its_slowest_reader_and_ends_with_the_last() {
        let live = Live::new(10, &Budget::new(100));
        let reader = live.reader(None).expect("the beginning is there");
        let (writer, ()) = tokio::join!(live.push(Bytes::from(vec![0; WINDOW + 1])), async {
            tokio::task::yield_now().await;
            drop(reader);
        });
        assert!(!writer, "nobody is left to read");
        assert!(live.reader(None).is_none(), "the beginning is gone");
        assert!(live.all().is_none(), "nothing to store");
    }

    #[tokio::test]
    async fn a_slow_reader_does_not_hold_back_one_that_waits() {
        let live = Live::new(0, &Budget::new(0));
        let mut fast = live.reader(None).expect("the beginning is there");
        let mut slow = live.reader(None).expect("the beginning is there");
        let writer = async {
            for _ in 0..4 {
                assert!(live.push(Bytes::from(vec![0; WINDOW])).await);
            }
            live.finish(Ok(None));
        };
        let reader = async {
            let mut read = 0;
            while let Some(data) = next(&mut fast).await {
                read += data.expect("data");
            }
            read
        };
        let ((), read) = tokio::join!(writer, reader);
        assert_eq!(read, 4 * WINDOW);
        assert!(matches!(next(&mut slow).await, Some(Err(FetchError::TooSlow))));
        assert!(next(&mut slow).await.is_none());
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_by_the_budget_of_all() {
        let budget = Budget::new(15);
        let (one, two) = (Live::new(100, &budget), Live::new(100, &budget));
        let (_first, _second) = (one.reader(None), two.reader(None));
        assert!(one.push(Bytes::from(vec![1; 10])).await);
        assert!(two.push(Bytes::from(vec![2; 10])).await);
        assert!(one.all().is_some());
        assert!(two.all().is_none(), "10 of 15 were taken");
        drop((one, _first));
        let three = Live::new(100, &budget);
        assert!(three.push(Bytes::from(vec![3; 15])).await);
        assert!(three.all().is_some(), "a fetch that ends gives back");
    }

    #[tokio::test]
    async fn chunks_become_blocks_under_readers() {
        let live = Live::new(u64::MAX, &Budget::new(u64::MAX));
        let mut reader =
            live.reader(Some(ByteRange { first: 5, last: 3 * BLOCK_BYTES as u64 })).expect("a reader");
        let mut expected = Vec::new();
        let mut read = Vec::new();
        for round in 0..120_usize {
            let chunk = vec![round as u8; 8000 + round];
            expected.extend_from_slice(&chunk);
            live.push(Bytes::from(chunk)).await;
            if let Some(Ok(frame)) = std::future::poll_fn(|context| reader.poll(context)).await {
                read.extend_from_slice(&frame.into_data().expect("data"));
            }
        }
        live.finish(Ok(None));
        while let Some(Ok(frame)) = std::future::poll_fn(|context| reader.poll(context)).await {
            read.extend_from_slice(&frame.into_data().expect("data"));
        }
        assert!(read == expected[5..=3 * BLOCK_BYTES], "the range, in order");
        let blocks = live.all().expect("all of it");
        assert_eq!(blocks.len(), expected.len().div_ceil(BLOCK_BYTES));
        assert!(blocks.concat() == expected);
    }
}
