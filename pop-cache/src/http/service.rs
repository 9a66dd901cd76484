//! The tower layer: a request comes in, an answer goes out, from the store or from the inner service.

use core::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{BoxError, CacheBody};
use super::cache::Shared;
use super::decide::{Decision, decide};
use super::fetch::{BoxFuture, FetchError};
use super::handle::count;
use super::miss::{fetch, head, prepared, revalidate, with_slices};
use super::pass::{forbidden, pass, purge};

/// Puts an [`HttpCache`](super::HttpCache) in front of a service.
#[derive(Clone, Debug)]
pub struct CacheLayer {
    shared: Arc<Shared>,
}

impl CacheLayer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> CacheService<S> {
        CacheService { shared: Arc::clone(&self.shared), inner }
    }
}

/// A service behind a shared cache.
///
/// The inner service must be `Clone`, since a fetch is a task of its own that outlives the client who began it, and
/// its request body `Default`, since a request that the cache makes itself (a revalidation) has none. Must be
/// called within a tokio runtime. A hit calls neither the inner service nor the runtime.
///
/// A GET or HEAD with content is passed on and its answer not stored: no key covers content. Interim (1xx) responses
/// are the inner service's: the extensions of the client's request go along with it, and with them whatever the server
/// put there to hear of early hints.
#[derive(Clone, Debug)]
pub struct CacheService<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S, B, B2> Service<Request<B>> for CacheService<S>
where
    S: Service<Request<B>, Response = Response<B2>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Body + Default + Send + 'static,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    type Response = Response<CacheBody<B2>>;
    type Error = FetchError;
    type Future = CacheFuture<B2>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), FetchError>> {
        // A hit needs no inner service; a miss waits for it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> CacheFuture<B2> {
        match self.look_up(&request) {
            LookUp::Hit(response) => CacheFuture::ready(response),
            LookUp::Miss(miss) => self.proceed(request, miss),
        }
    }
}

/// What a [`CacheService`] has for a request.
#[derive(Debug)]
pub enum LookUp<B> {
    /// The answer.
    Hit(Response<CacheBody<B>>),
    /// None that is at hand: give this to [`CacheService::proceed`].
    Miss(Miss<B>),
}

/// What a [`CacheService`] has found out about a request that it cannot answer at once.
#[derive(Debug)]
pub struct Miss<B>(Decision<B>);

impl<S> CacheService<S> {
    /// Looks for the answer to a request without taking it. With [`proceed`](Self::proceed) this is what
    /// [`call`](Service::call) does, in two steps: what only the inner service needs (who asked, say) is attached between
    /// them, and costs a hit nothing.
    #[inline]
    pub fn look_up<B: Body, B2>(&self, request: &Request<B>) -> LookUp<B2> {
        match decide(&self.shared, request) {
            Decision::Answer(response) => LookUp::Hit(response),
            other => LookUp::Miss(Miss(other)),
        }
    }

    /// Answers a request after [`look_up`](Self::look_up), which must have seen the same method, target and fields.
    #[cold]
    pub fn proceed<B, B2>(&self, request: Request<B>, miss: Miss<B2>) -> CacheFuture<B2>
    where
        S: Service<Request<B>, Response = Response<B2>> + Clone + Send + 'static,
        S::Error: Into<BoxError> + Send,
        S::Future: Send,
        B: Body + Default + Send + 'static,
        B2: Body<Data = Bytes> + Send + 'static,
        B2::Error: Into<BoxError> + Send,
    {
        let shared = Arc::clone(&self.shared);
        let service = self.inner.clone();
        match miss.0 {
            Decision::Answer(response) => CacheFuture::ready(response),
            Decision::AnswerAndRevalidate(response, task) => {
                revalidate(shared, service, request, task);
                CacheFuture::ready(response)
            }
            Decision::Slices(response, stored) => {
                let (parts, _) = prepared(&shared, request).into_parts();
                CacheFuture::later(async move {
                    let answer = with_slices(&shared, service, parts, response, stored).await;
                    count(&shared.counters.hits);
                    answer
                })
            }
            Decision::Fetch(task) => CacheFuture::later(fetch(shared, service, request, task)),
            Decision::Head(task) => CacheFuture::later(head(shared, service, request, task)),
            Decision::Pass(key, why) => CacheFuture::later(pass(shared, service, request, key, why)),
            Decision::Purge(key) => CacheFuture::ready(purge(&shared, &key, request.headers())),
            Decision::Forbidden => CacheFuture::ready(forbidden()),
        }
    }
}

/// The answer of a [`CacheService`]: at hand for a hit, otherwise a fetch.
pub struct CacheFuture<B> {
    state: State<B>,
}

pub(crate) type Answer<B> = Result<Response<CacheBody<B>>, FetchError>;

enum State<B> {
    Ready(Option<Response<CacheBody<B>>>),
    Later(BoxFuture<Answer<B>>),
}

impl<B> CacheFuture<B> {
    fn ready(response: Response<CacheBody<B>>) -> Self {
        Self { state: State::Ready(Some(response)) }
    }

    pub(crate) fn later(future: impl Future<Output = Answer<B>> + Send + 'static) -> Self {
        Self { state: State::Later(Box::pin(future)) }
    }
}

impl<B> fmt::Debug for CacheFuture<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_hit = matches!(self.state, State::Ready(_));
        formatter.debug_struct("CacheFuture").field("is_hit", &is_hit).finish_non_exhaustive()
    }
}

// Nothing inside is pinned in place: the response is moved out whole, the fetch is boxed.
impl<B> Unpin for CacheFuture<B> {}

impl<B> Future for CacheFuture<B> {
    type Output = Answer<B>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Ready(response) => {
                Poll::Ready(Ok(response.take().expect("a future is not polled after it is ready")))
            }
            State::Later(future) => future.as_mut().poll(context),
        }
    }
}
