//! Large representations in slices that are fetched and stored each for itself (RFC 9111 §3.3, §3.4).
//!
//! A response that is larger than one entry may be, and that has a strong validator, is stored as its fields alone; its
//! bytes lie in slices of a fixed size under keys of their own. A reader takes slice after slice, from the store or by
//! a range request with `If-Range`, so one byte of a large file costs one slice, and eviction takes slices nobody reads.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::header::{IF_RANGE, RANGE};
use http::{HeaderValue, Request, StatusCode, request};
use http_body::Body;
use tower_service::Service;

use super::body::{BoxError, SliceSource};
use super::cache::Shared;
use super::contents::Slices;
use super::fetch::{BoxFuture, FetchError, call};
use super::flight::{Flight, Flights, Published, Role, Target, outcome};
use super::range::{ByteRange, ContentRange};
use super::stored::Stored;
use super::validation;

/// Default size of a slice.
pub const SLICE_BYTES: u64 = 1024 * 1024;

/// The slices of one stored response, from the store or from the origin.
pub(crate) struct Slicing<S, B> {
    shared: Arc<Shared>,
    /// A service need not be `Sync`; it is only cloned under the lock.
    service: Mutex<S>,
    request: request::Parts,
    stored: Arc<Stored>,
    slices: Slices,
    body: std::marker::PhantomData<fn() -> B>,
}

impl<S, B> Slicing<S, B> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        service: S,
        request: request::Parts,
        stored: Arc<Stored>,
    ) -> Option<Arc<Self>> {
        let slices = stored.body.slices()?;
        let service = Mutex::new(service);
        Some(Arc::new(Self { shared, service, request, stored, slices, body: std::marker::PhantomData }))
    }
}

impl<S, B, B2> SliceSource for Slicing<S, B>
where
    S: Service<Request<B>, Response = http::Response<B2>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Default + Send + 'static,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    fn slice(&self, index: u64) -> BoxFuture<Result<Bytes, FetchError>> {
        let key = self.slices.key(index);
        if let Some(slice) = self.shared.slice(&key) {
            return Box::pin(std::future::ready(Ok(slice)));
        }
        let receiver = match Flights::join(&self.shared, Target::whole(key, 0), || false) {
            Role::Waiter(receiver) => receiver,
            Role::Latecomer => return Box::pin(std::future::ready(Err(FetchError::Abandoned))),
            Role::Leader(flight) => {
                let receiver = flight.follow();
                let service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let fetch = SliceFetch {
                    shared: Arc::clone(&self.shared),
                    service,
                    stored: Arc::clone(&self.stored),
                    index,
                    slices: self.slices,
                    flight,
                };
                // A task of its own: others may wait for the slice when this reader is gone.
                tokio::spawn(fetch.run::<B, B2>(self.request.clone()));
                receiver
            }
        };
        Box::pin(async move {
            match outcome(receiver).await {
                Published::Slice(slice) => Ok(slice),
                Published::Failed(error) => Err(error),
                _ => Err(FetchError::Abandoned),
            }
        })
    }
}

struct SliceFetch<S> {
    shared: Arc<Shared>,
    service: S,
    stored: Arc<Stored>,
    index: u64,
    slices: Slices,
    flight: Flight,
}

impl<S> SliceFetch<S> {
    async fn run<B, B2>(mut self, request: request::Parts)
    where
        S: Service<Request<B>, Response = http::Response<B2>>,
        S::Error: Into<BoxError> + Send,
        B: Default,
        B2: Body<Data = Bytes>,
        B2::Error: Into<BoxError> + Send,
    {
        let published = match self.fetch(request).await {
            Ok(slice) => {
                self.shared.store_slice(self.slices.key(self.index), slice.clone(), &self.stored);
                Published::Slice(slice)
            }
            Err(error) => {
                if matches!(error, FetchError::Changed) {
                    // What is stored describes a representation that is no more.
                    self.stored.purge_softly(self.shared.now());
                }
                Published::Failed(error)
            }
        };
        self.flight.publish(published);
    }

    async fn fetch<B, B2>(&mut self, mut request: request::Parts) -> Result<Bytes, FetchError>
    where
        S: Service<Request<B>, Response = http::Response<B2>>,
        S::Error: Into<BoxError> + Send,
        B: Default,
        B2: Body<Data = Bytes>,
        B2::Error: Into<BoxError> + Send,
    {
        let complete = self.stored.body.complete().unwrap_or(0);
        let range = self.slices.range(self.index, complete);
        let tag = validation::strong_tag(&self.stored.headers).ok_or(FetchError::Changed)?;
        validation::make_unconditional(&mut request.headers);
        request.headers.insert(RANGE, range_field(range));
        request.headers.insert(IF_RANGE, tag.clone());
        let answer = call(&mut self.service, Request::from_parts(request, B::default())).await;
        let (head, body) = answer.map_err(FetchError::origin)?.into_parts();
        if head.status.is_server_error() {
            return Err(FetchError::Refused(head.status));
        }
        let is_ours = head.status == StatusCode::PARTIAL_CONTENT
            && validation::strong_tag(&head.headers) == Some(tag)
            && ContentRange::parse(&head.headers) == Some(ContentRange { range, complete: Some(complete) });
        if is_ours { collect(body, range.length()).await } else { Err(FetchError::Changed) }
    }
}

/// A `Range` field for one range.
pub(crate) fn range_field(range: ByteRange) -> HeaderValue {
    HeaderValue::try_from(format!("bytes={}-{}", range.first, range.last)).expect("digits are visible ASCII")
}

/// A body of exactly `length` bytes.
async fn collect<B>(body: B, length: u64) -> Result<Bytes, FetchError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError> + Send,
{
    let mut body = std::pin::pin!(body);
    let mut slice = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(data) = frame.map_err(FetchError::origin)?.into_data() else { continue };
        if (slice.len() + data.len()) as u64 > length {
            return Err(FetchError::Changed);
        }
        slice.extend_from_slice(&data);
    }
    let received = slice.len() as u64;
    if received == length {
        Ok(slice.freeze())
    } else {
        Err(FetchError::Truncated { announced: length, received })
    }
}

/// Cuts a body that streams by into slices, and stores those that are whole.
#[derive(Debug)]
pub(crate) struct Cutter {
    slices: Slices,
    complete: u64,
    /// The offset of the next byte to come.
    position: u64,
    slice: BytesMut,
}

impl Cutter {
    pub(crate) fn new(slices: Slices, complete: u64, first: u64) -> Self {
        Self { slices, complete, position: first, slice: BytesMut::new() }
    }

    /// Takes the next bytes, and hands out every slice that they complete.
    pub(crate) fn push(&mut self, mut data: Bytes, mut store: impl FnMut(u64, Bytes)) {
        while !data.is_empty() && self.position < self.complete {
            let index = self.slices.index(self.position);
            let range = self.slices.range(index, self.complete);
            let left = usize::try_from(range.last + 1 - self.position).unwrap_or(usize::MAX);
            let now = data.split_to(left.min(data.len()));
            // A slice counts only from its first byte.
            if self.position == range.first || !self.slice.is_empty() {
                self.slice.extend_from_slice(&now);
            }
            self.position += now.len() as u64;
            if self.position == range.last + 1 {
                let slice = std::mem::take(&mut self.slice).freeze();
                if slice.len() as u64 == range.length() {
                    store(index, slice);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(first: u64, chunks: &[&'static str]) -> Vec<(u64, Bytes)> {
        let mut cutter = Cutter::new(Slices { id: 1, bytes: 4 }, 10, first);
        let mut cut = Vec::new();
        for chunk in chunks {
            cutter.push(Bytes::from_static(chunk.as_bytes()), |index, slice| cut.push((index, slice)));
        }
        cut
    }

    #[test]
    fn only_whole_slices_are_kept() {
        let shown = |cut: Vec<(u64, Bytes)>| {
            cut.into_iter()
                .map(|(index, slice)| (index, String::from_utf8_lossy(&slice).into_owned()))
                .collect::<Vec<_>>()
        };
        let all = [(0, "0123".to_owned()), (1, "4567".to_owned()), (2, "89".to_owned())];
        assert_eq!(shown(cut(0, &["0123456789"])), all);
        assert_eq!(shown(cut(0, &["0", "1234", "5678", "9"])), all);
        assert_eq!(shown(cut(2, &["23", "4567", "89"])), all[1..]);
        assert_eq!(shown(cut(5, &["56789"])), all[2..]);
        assert_eq!(shown(cut(0, &["012"])), []);
        assert_eq!(shown(cut(8, &["89abc"])), all[2..], "nothing lies beyond the end");
    }
}
