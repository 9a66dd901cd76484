//! Bodies: what clients send, what origins send, what goes back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::exchange::Tail;

/// An error of any kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Boxed = Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>;

/// The body of a request on its way to an origin.
#[derive(Default)]
pub(crate) struct RequestBody {
    source: Source,
    pace: Option<Box<Pace>>,
    /// Octets that were taken, for whoever waits on the other side.
    progress: Option<Arc<AtomicU64>>,
}

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Wire(Incoming),
    Any(Boxed),
    #[cfg(feature = "cache")]
    Whole(Bytes),
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RequestBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

impl RequestBody {
    /// A body from a connection of ours, which must keep up a minimum rate.
    pub(crate) fn wire(body: Incoming, rate: IngressRate) -> Self {
        if body.is_end_stream() {
            return Self::default();
        }
        Self { source: Source::Wire(body), pace: Some(Box::new(Pace::new(rate))), progress: None }
    }

    /// A body of somebody else's server.
    pub(crate) fn any<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::default();
        }
        Self { source: Source::Any(Box::pin(Mapped { body: Box::pin(body) })), pace: None, progress: None }
    }

    /// Counts from now on the octets that are taken.
    pub(crate) fn watch(&mut self) -> Arc<AtomicU64> {
        Arc::clone(self.progress.get_or_insert_default())
    }

    /// Whether there is nothing to send, so that the request can be sent again.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.source, Source::Empty)
    }
}

/// Content that was read before it is sent.
#[cfg(feature = "cache")]
impl From<Bytes> for RequestBody {
    fn from(content: Bytes) -> Self {
        if content.is_empty() {
            return Self::default();
        }
        Self { source: Source::Whole(content), pace: None, progress: None }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = match &mut this.source {
            Source::Empty => return Poll::Ready(None),
            Source::Wire(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Source::Any(body) => body.as_mut().poll_frame(context),
            #[cfg(feature = "cache")]
            Source::Whole(content) => {
                let content = std::mem::take(content);
                Poll::Ready((!content.is_empty()).then(|| Ok(Frame::data(content))))
            }
        };
        if let (Some(progress), Poll::Ready(Some(Ok(frame)))) = (&this.progress, &polled) {
            let octets = frame.data_ref().map_or(0, Bytes::len);
            progress.fetch_add(octets as u64, Ordering::Relaxed);
        }
        let Some(pace) = &mut this.pace else { return polled };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => pace.received(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(_) => {}
            Poll::Pending => {
                if pace.poll_too_slow(context).is_ready() {
                    return Poll::Ready(Some(Err(TooSlow.into())));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Wire(body) => body.is_end_stream(),
            Source::Any(body) => body.is_end_stream(),
            #[cfg(feature = "cache")]
            Source::Whole(content) => content.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Wire(body) => body.size_hint(),
            Source::Any(body) => body.size_hint(),
            #[cfg(feature = "cache")]
            Source::Whole(content) => SizeHint::with_exact(content.len() as u64),
        }
    }
}

/// A body with its error boxed.
struct Mapped<B> {
    body: Pin<Box<B>>,
}

impl<B> HttpBody for Mapped<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.body.as_mut().poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How slowly a request's body may come in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IngressRate {
    /// The span over which the rate is taken.
    pub(crate) window: Duration,
    /// Bytes that must come within a window of waiting.
    pub(crate) bytes: u64,
}

/// Counts what comes in a window of waiting. Time in which nobody asks for the body, because the origin is slow, does
/// not count against the client.
struct Pace {
    rate: IngressRate,
    received: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Pace {
    fn new(rate: IngressRate) -> Self {
        let alarm = Box::pin(tokio::time::sleep(rate.window));
        Self { rate, received: 0, waited: Duration::ZERO, waiting_since: None, alarm }
    }

    fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        if self.received >= self.rate.bytes {
            (self.received, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Ready when a whole window was waited for less than the bytes it asks for.
    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        let waited = self.waited + now.saturating_duration_since(since);
        if waited >= self.rate.window {
            return Poll::Ready(());
        }
        self.alarm.as_mut().reset((now + (self.rate.window - waited)).into());
        self.alarm.as_mut().poll(context)
    }
}

/// The client sends its body more slowly than [`Settings::body_rate`](crate::Settings::body_rate) asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

impl std::fmt::Display for TooSlow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the request's body comes too slowly")
    }
}

impl std::error::Error for TooSlow {}

/// The body of an origin's response, which must not pause for too long. In a box: what is answered from the cache is
/// not to be moved about with the room for it.
#[derive(Debug)]
pub(crate) struct OriginBody(Box<Arriving>);

#[derive(Debug)]
struct Arriving {
    body: Incoming,
    pause: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl OriginBody {
    pub(crate) fn new(body: Incoming, pause: Duration) -> Self {
        Self(Box::new(Arriving { body, pause, alarm: None }))
    }
}

impl HttpBody for OriginBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self.0;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.alarm = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let pause = this.pause;
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        alarm.as_mut().poll(context).map(|()| Some(Err(Stalled(pause).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.size_hint()
    }
}

/// The origin stopped in the middle of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stalled(pub(crate) Duration);

impl std::fmt::Display for Stalled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the origin paused for more than {:?} in a body", self.0)
    }
}

impl std::error::Error for Stalled {}

/// The body of a response of a [`Pop`](crate::Pop).
#[derive(Debug)]
pub struct Body {
    content: Content,
    /// Told what was sent, and dropped when the exchange is over.
    tail: Option<Tail>,
}

#[derive(Debug)]
enum Content {
    Text(Bytes),
    #[cfg(feature = "cache")]
    Cached(pop_cache::http::CacheBody<OriginBody>),
    #[cfg_attr(feature = "cache", allow(dead_code, reason = "a host without a cache passes bodies on"))]
    Origin(OriginBody),
}

impl Body {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self { content: Content::Text(text.into()), tail: None }
    }

    #[cfg(feature = "cache")]
    pub(crate) fn cached(body: pop_cache::http::CacheBody<OriginBody>) -> Self {
        Self { content: Content::Cached(body), tail: None }
    }

    pub(crate) fn origin(body: OriginBody) -> Self {
        Self { content: Content::Origin(body), tail: None }
    }

    pub(crate) fn with_tail(mut self, tail: Tail) -> Self {
        self.tail = Some(tail);
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = match &mut this.content {
            Content::Text(text) => {
                let text = std::mem::take(text);
                Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))))
            }
            #[cfg(feature = "cache")]
            Content::Cached(body) => Pin::new(body).poll_frame(context),
            Content::Origin(body) => Pin::new(body).poll_frame(context),
        };
        if let Some(tail) = &mut this.tail {
            match &frame {
                Poll::Ready(Some(Ok(frame))) => tail.sent(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(Some(Err(error))) => tail.failed(&**error),
                Poll::Ready(None) => tail.ended(),
                Poll::Pending => {}
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Text(text) => text.is_empty(),
            #[cfg(feature = "cache")]
            Content::Cached(body) => body.is_end_stream(),
            Content::Origin(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.len() as u64),
            #[cfg(feature = "cache")]
            Content::Cached(body) => body.size_hint(),
            Content::Origin(body) => body.size_hint(),
        }
    }
}
