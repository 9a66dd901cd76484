//! The response body of the layer.

use core::fmt;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::contents::{Slices, StoredBody};
use super::fetch::{BoxFuture, FetchError};
use super::key::CacheKey;
use super::live::Reader;
use super::range::ByteRange;
use super::status::CacheStatus;

/// The error of a body that could not be read to its end.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// The response body of the layer: from the cache, from a fetch in progress, or the origin's own.
    #[derive(Debug)]
    pub struct CacheBody<B> {
        #[pin]
        kind: Kind<B>,
        handled: Handled,
    }
}

/// How the request was handled, in little room: a body is moved several times before it is read.
#[derive(Debug)]
enum Handled {
    /// A hit without more to say of it.
    Hit { ttl: Option<i64> },
    /// Everything else.
    Otherwise(Box<CacheStatus>),
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<B> {
        Empty,
        Block { data: Bytes },
        Stored { body: Arc<StoredBody>, position: u64, end: u64 },
        Chunks { chunks: Box<VecDeque<Bytes>> },
        Sliced { reader: Box<SliceReader> },
        Live { live: Box<LiveBody> },
        Origin { #[pin] body: B },
    }
}

impl<B> CacheBody<B> {
    /// How the cache handled the request: what `Cache-Status` says, for logs and metrics.
    #[must_use]
    pub fn cache_status(&self) -> CacheStatus {
        match &self.handled {
            Handled::Hit { ttl } => CacheStatus { ttl: *ttl, ..CacheStatus::default() },
            Handled::Otherwise(status) => CacheStatus::clone(status),
        }
    }

    pub(crate) fn with_status(mut self, status: CacheStatus) -> Self {
        let ttl = status.ttl;
        self.handled = if status == (CacheStatus { ttl, ..CacheStatus::default() }) {
            Handled::Hit { ttl }
        } else {
            Handled::Otherwise(Box::new(status))
        };
        self
    }

    /// As after [`with_status`](Self::with_status) of a hit.
    pub(crate) fn with_hit(mut self, ttl: i64) -> Self {
        self.handled = Handled::Hit { ttl: Some(ttl) };
        self
    }

    fn new(kind: Kind<B>) -> Self {
        Self { kind, handled: Handled::Hit { ttl: None } }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Kind::Empty)
    }

    /// A range that is stored.
    pub(crate) fn stored(body: &Arc<StoredBody>, range: ByteRange) -> Self {
        let end = range.last + 1;
        match body.read(range.first, end) {
            // What lies in one block, as every small body does, needs nothing but that.
            Some(data) if data.len() as u64 == range.length() => Self::new(Kind::Block { data }),
            _ => Self::new(Kind::Stored { body: Arc::clone(body), position: range.first, end }),
        }
    }

    pub(crate) fn chunks(chunks: VecDeque<Bytes>) -> Self {
        Self::new(Kind::Chunks { chunks: Box::new(chunks) })
    }

    /// A range of a sliced representation; it reads nothing before [`attach`](Self::attach) says where from.
    pub(crate) fn sliced(body: &StoredBody, slices: Slices, range: ByteRange) -> Self {
        let reader = Box::new(SliceReader {
            slices,
            complete: body.complete().unwrap_or(0),
            position: range.first,
            end: range.last + 1,
            source: None,
            pending: None,
        });
        Self::new(Kind::Sliced { reader })
    }

    pub(crate) fn live(reader: Reader, length: Option<u64>) -> Self {
        Self::new(Kind::Live { live: Box::new(LiveBody { reader, length }) })
    }

    pub(crate) fn origin(body: B) -> Self {
        Self::new(Kind::Origin { body })
    }

    /// The first slice that the body reads, if it reads slices.
    pub(crate) fn first_slice(&self) -> Option<u64> {
        match &self.kind {
            Kind::Sliced { reader } => Some(reader.slices.index(reader.position)),
            _ => None,
        }
    }

    /// The keys of the slices that the body reads, if it reads slices.
    pub(crate) fn slice_keys(&self) -> impl Iterator<Item = CacheKey> {
        let range = match &self.kind {
            Kind::Sliced { reader } if reader.position < reader.end => {
                let slices = reader.slices;
                Some((slices, slices.index(reader.position), slices.index(reader.end - 1)))
            }
            _ => None,
        };
        range.into_iter().flat_map(|(slices, first, last)| (first..=last).map(move |index| slices.key(index)))
    }

    /// Says where slices come from, and what the first one is.
    pub(crate) fn attach(&mut self, source: Arc<dyn SliceSource>, first: Bytes) {
        if let Kind::Sliced { reader } = &mut self.kind {
            reader.source = Some(source);
            reader.pending = Some(Box::pin(std::future::ready(Ok(first))));
        }
    }
}

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
        Poll::Ready(match self.project().kind.project() {
            KindProjection::Empty => None,
            KindProjection::Block { data } => {
                let data = core::mem::take(data);
                (!data.is_empty()).then(|| Ok(Frame::data(data)))
            }
            KindProjection::Stored { body, position, end } => match body.read(*position, *end) {
                Some(chunk) if *position < *end => {
                    *position += chunk.len() as u64;
                    Some(Ok(Frame::data(chunk)))
                }
                _ => None,
            },
            KindProjection::Chunks { chunks } => chunks.pop_front().map(|chunk| Ok(Frame::data(chunk))),
            KindProjection::Sliced { reader } => {
                ready!(reader.poll(context)).map(|data| data.map(Frame::data).map_err(Into::into))
            }
            KindProjection::Live { live } => {
                ready!(live.poll(context)).map(|frame| frame.map_err(Into::into))
            }
            KindProjection::Origin { body } => {
                return body.poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(Into::into)));
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Block { data } => data.is_empty(),
            Kind::Stored { position, end, .. } => position >= end,
            Kind::Chunks { chunks } => chunks.is_empty(),
            Kind::Sliced { reader } => reader.position >= reader.end,
            Kind::Live { .. } => false,
            Kind::Origin { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Block { data } => SizeHint::with_exact(data.len() as u64),
            Kind::Stored { position, end, .. } => SizeHint::with_exact(end - position),
            Kind::Chunks { chunks } => {
                SizeHint::with_exact(chunks.iter().map(|chunk| chunk.len() as u64).sum())
            }
            Kind::Sliced { reader } => SizeHint::with_exact(reader.end.saturating_sub(reader.position)),
            Kind::Live { live } => live.length.map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Origin { body } => body.size_hint(),
        }
    }
}

/// A reader of a body under way.
#[derive(Debug)]
struct LiveBody {
    reader: Reader,
    /// What is still to come, where it was announced.
    length: Option<u64>,
}

impl LiveBody {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        let frame = ready!(self.reader.poll(context));
        if let (Some(Ok(frame)), Some(length)) = (&frame, self.length.as_mut()) {
            *length -= frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }
}

/// Where slices come from: the store, or the origin.
pub(crate) trait SliceSource: Send + Sync {
    /// One slice, complete.
    fn slice(&self, index: u64) -> BoxFuture<Result<Bytes, FetchError>>;
}

/// Reads a range slice by slice: every reader at its own pace, holding one slice at a time.
pub(crate) struct SliceReader {
    slices: Slices,
    complete: u64,
    position: u64,
    end: u64,
    source: Option<Arc<dyn SliceSource>>,
    pending: Option<BoxFuture<Result<Bytes, FetchError>>>,
}

impl fmt::Debug for SliceReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SliceReader")
            .field("position", &self.position)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl SliceReader {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, FetchError>>> {
        if self.position >= self.end {
            return Poll::Ready(None);
        }
        let index = self.slices.index(self.position);
        let Some(source) = &self.source else { return Poll::Ready(Some(Err(FetchError::Abandoned))) };
        let pending = self.pending.get_or_insert_with(|| source.slice(index));
        let slice = ready!(pending.as_mut().poll(context));
        self.pending = None;
        let range = self.slices.range(index, self.complete);
        match slice {
            Ok(slice) if slice.len() as u64 == range.length() => {
                let from = usize::try_from(self.position - range.first).expect("an offset within a slice");
                let to = usize::try_from(self.end - range.first).unwrap_or(usize::MAX).min(slice.len());
                self.position = range.first + to as u64;
                Poll::Ready(Some(Ok(slice.slice(from..to))))
            }
            Ok(_) => {
                self.end = 0;
                Poll::Ready(Some(Err(FetchError::Changed)))
            }
            Err(error) => {
                self.end = 0;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}
