//! The tower layer: a request comes in, an answer goes out, from the store or from the inner service.

use core::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, request};
use http_body::Body;
use tokio::sync::oneshot;
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{self, Asked};
use super::body::{BoxError, CacheBody, SliceSource};
use super::cache::{RequestHead, Shared};
use super::decide::{Decision, Task, decide, look_up, seconds};
use super::directive::RequestDirectives;
use super::facts::Facts;
use super::fetch::{BoxFuture, Fetch, FetchError, Outcome, call};
use super::flight::{Flight, Flights, LiveHead, Published, Role, Target, outcome};
use super::handle::count;
use super::pass::{forbidden, pass, purge};
use super::policy::Policy;
use super::reuse::{OriginFailure, Reuse};
use super::slices::Slicing;
use super::status::CacheStatus;
use super::stored::Stored;
use super::{fields, storing, validation};

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

/// The request as it goes out: the normalised target, no fields of this hop.
pub(crate) fn normalised<B>(shared: &Shared, mut request: Request<B>) -> Request<B> {
    if let Some(target) = shared.normalised_target(&RequestHead::of(&request)) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    fields::remove_hop_by_hop_of_request(request.headers_mut());
    request
}

/// A request whose answer may be stored: besides, without what the origin could read but no key covers.
fn prepared<B>(shared: &Shared, request: Request<B>) -> Request<B> {
    let mut request = normalised(shared, request);
    for name in shared.unkeyed_fields() {
        request.headers_mut().remove(name);
    }
    request
}

/// Revalidates in the background, unless somebody does already.
fn revalidate<S, B, B2>(shared: Arc<Shared>, service: S, request: Request<B>, task: Task)
where
    S: Service<Request<B>, Response = Response<B2>> + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Default + Send + 'static,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    let Task { key, candidate, variant, .. } = task;
    let Role::Leader(flight) = Flights::join(&shared, Target::whole(key.clone(), variant), || false) else {
        return;
    };
    let (mut parts, _) = prepared(&shared, request).into_parts();
    validation::make_unconditional(&mut parts.headers);
    let fetch = Fetch { shared, service, parts, body: B::default(), key, candidate, flight: Some(flight) };
    let (leader, _nobody) = oneshot::channel();
    tokio::spawn(fetch.run(leader));
}

/// A request joins at most this many fetches before it asks for itself: the first, one of its own variant, and one
/// more should the origin change its mind about what selects.
const JOINS_MAX: usize = 3;

/// GET without a usable answer in the store.
async fn fetch<S, B, B2>(shared: Arc<Shared>, service: S, request: Request<B>, task: Task) -> Answer<B2>
where
    S: Service<Request<B>, Response = Response<B2>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Default + Send + 'static,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    let Task { key, candidate, forward, mut variant } = task;
    let (parts, body) = prepared(&shared, request).into_parts();
    let mut status =
        CacheStatus { forward: Some(forward), key: shared.shown_key(key.as_str()), ..CacheStatus::default() };
    let mut flight = None;
    if !shared.is_remembered_uncacheable(&key) {
        for _ in 0..JOINS_MAX {
            let target = Target::of(&key, &parts.headers, variant);
            let role = Flights::join(&shared, target, || is_there(&shared, &key, &parts.headers));
            let waited = match role {
                Role::Leader(own) => {
                    flight = Some(own);
                    break;
                }
                Role::Latecomer => match look_up(
                    &shared,
                    key.as_str(),
                    &Method::GET,
                    &parts.headers,
                    &Facts::of(&parts.headers),
                ) {
                    Decision::Answer(response) => return Ok(response),
                    _ => break,
                },
                Role::Waiter(receiver) => patiently(&shared, receiver).await,
            };
            status.collapsed = Some(true);
            let next = waited.vary().map_or(variant, |vary| shared.variant(vary, &parts.headers));
            match shared_answer(&shared, &parts.headers, waited, None, status.clone(), Share::Waiter) {
                Some(Made::Answer(answer)) => {
                    count(&shared.counters.collapsed);
                    return answer;
                }
                Some(Made::Slices(response, stored)) => {
                    count(&shared.counters.collapsed);
                    return with_slices(&shared, service, parts, response, stored).await;
                }
                None => {}
            }
            status.collapsed = Some(false);
            if next == variant {
                break;
            }
            variant = next;
        }
    }
    count(&shared.counters.misses);
    lead(shared, service, parts, body, key, candidate, flight, status).await
}

#[expect(clippy::too_many_arguments, reason = "the second half of one function")]
async fn lead<S, B, B2>(
    shared: Arc<Shared>,
    service: S,
    parts: request::Parts,
    body: B,
    key: super::key::CacheKey,
    candidate: Option<Arc<Stored>>,
    flight: Option<Flight>,
    status: CacheStatus,
) -> Answer<B2>
where
    S: Service<Request<B>, Response = Response<B2>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Default + Send + 'static,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    let (leader, mine) = oneshot::channel();
    let own = parts.clone();
    let fetch =
        Fetch { shared: Arc::clone(&shared), service: service.clone(), parts, body, key, candidate, flight };
    tokio::spawn(fetch.run(leader));
    match mine.await {
        Ok(Outcome::Direct(response, refusal)) => {
            let detail = Some(refusal.as_str());
            Ok(answer::from_origin(*response, &shared.name, CacheStatus { detail, ..status }))
        }
        Ok(Outcome::Shared(published, holder)) => {
            match shared_answer(&shared, &own.headers, published, holder, status, Share::Leader) {
                Some(Made::Answer(answer)) => answer,
                Some(Made::Slices(response, stored)) => {
                    with_slices(&shared, service, own, response, stored).await
                }
                None => Err(FetchError::Abandoned),
            }
        }
        Err(_) => Err(FetchError::Abandoned),
    }
}

/// Waits for another's fetch, as long as the operator lets it.
async fn patiently(shared: &Shared, receiver: tokio::sync::watch::Receiver<Published>) -> Published {
    match shared.collapse_wait() {
        None => outcome(receiver).await,
        Some(wait) => tokio::time::timeout(wait, outcome(receiver)).await.unwrap_or(Published::Released),
    }
}

/// Whether the store has a fresh answer by now.
fn is_there(shared: &Shared, key: &super::key::CacheKey, headers: &HeaderMap) -> bool {
    let Some(resource) = shared.find(key.as_str()) else { return false };
    let Some(stored) = resource.select(headers) else { return false };
    let directives = RequestDirectives::parse(headers);
    let reuse = stored.policy.reuse(shared.rules(), &directives, shared.now(), stored.purged_at());
    matches!(reuse, Reuse::Fresh { .. })
        && answer::suffices(stored, headers)
        && stored.body.slices().is_none()
}

/// Attaches what a sliced answer reads from, with the first slice at hand: a representation that has changed is found
/// before the answer begins.
async fn with_slices<S, B, B2>(
    shared: &Arc<Shared>,
    service: S,
    parts: request::Parts,
    mut response: Response<CacheBody<B2>>,
    stored: Arc<Stored>,
) -> Answer<B2>
where
    S: Service<Request<B>, Response = Response<B2>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Default + Send + 'static,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    let Some(index) = response.body().first_slice() else { return Ok(response) };
    let own = parts.clone();
    let source = Slicing::<S, B>::new(Arc::clone(shared), service.clone(), parts, Arc::clone(&stored))
        .ok_or(FetchError::Abandoned)?;
    match source.slice(index).await {
        Ok(first) => {
            response.body_mut().attach(source, first);
            Ok(response)
        }
        Err(FetchError::Changed) if own.method == Method::GET => {
            // Start over with what is there now.
            let status = CacheStatus {
                forward: Some(super::status::Forward::Stale),
                detail: Some("changed"),
                ..CacheStatus::default()
            };
            let (leader, mine) = oneshot::channel();
            let headers = own.headers.clone();
            let key = shared.key(&RequestHead {
                method: &own.method,
                uri: &own.uri,
                headers: &own.headers,
                extensions: &own.extensions,
            });
            let Ok(key) = key else { return Err(FetchError::Changed) };
            let fetch = Fetch {
                shared: Arc::clone(shared),
                service,
                parts: own,
                body: B::default(),
                key,
                candidate: None,
                flight: None,
            };
            tokio::spawn(fetch.run(leader));
            match mine.await {
                Ok(Outcome::Direct(response, _)) => Ok(answer::from_origin(*response, &shared.name, status)),
                Ok(Outcome::Shared(published, holder)) => {
                    match shared_answer(shared, &headers, published, holder, status, Share::Leader) {
                        Some(Made::Answer(answer)) => answer,
                        _ => Err(FetchError::Changed),
                    }
                }
                Err(_) => Err(FetchError::Abandoned),
            }
        }
        Err(error) => Err(error),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// The fetch was made for this request.
    Leader,
    /// It was made for another, so it must be reusable (RFC 9111 §4).
    Waiter,
}

/// An answer, or one that lacks its slices yet.
enum Made<B> {
    Answer(Answer<B>),
    Slices(Response<CacheBody<B>>, Arc<Stored>),
}

/// The answer for one of those who share a fetch; `None` where it is no answer for this one.
fn shared_answer<B>(
    shared: &Shared,
    headers: &HeaderMap,
    published: Published,
    holder: Option<super::live::Reader>,
    mut status: CacheStatus,
    share: Share,
) -> Option<Made<B>> {
    let asked = Asked { method: &Method::GET, headers, name: &shared.name };
    let now = shared.now();
    let directives = RequestDirectives::parse(headers);
    let is_waiter = share == Share::Waiter;
    let is_reusable = |policy: &Policy| {
        !is_waiter || matches!(policy.reuse(shared.rules(), &directives, now, None), Reuse::Fresh { .. })
    };
    match published {
        Published::Pending | Published::Released | Published::Slice(_) => None,
        Published::Failed(error) => Some(Made::Answer(Err(error))),
        Published::Live(head) => {
            if !is_reusable(&head.policy) || (is_waiter && !head.selection.matches(headers)) {
                return None;
            }
            live_status(&head, &mut status, now);
            let mut answer = answer::from_live(&head, asked, now, status)?;
            drop(holder);
            if is_waiter {
                fields::remove_unstorable(answer.headers_mut(), &head.policy.directives);
            }
            Some(Made::Answer(Ok(answer)))
        }
        Published::Kept(stored) => {
            if !is_reusable(&stored.policy) || (is_waiter && !stored.selection.matches(headers)) {
                return None;
            }
            count(&shared.counters.tier_hits);
            let status = CacheStatus {
                ttl: Some(ttl(&stored.policy, now)),
                detail: Some("tier"),
                key: status.key,
                ..CacheStatus::default()
            };
            let response = answer::from_stored(&stored, asked, stored.policy.age(now), status);
            Some(Made::Answer(Ok(response)))
        }
        Published::Validated(stored) | Published::Sliced(stored) => {
            if !is_reusable(&stored.policy) || (is_waiter && !stored.selection.matches(headers)) {
                return None;
            }
            if status.collapsed.is_none() {
                count(&shared.counters.revalidated);
                status.forward_status = Some(StatusCode::NOT_MODIFIED);
            }
            status.ttl = Some(ttl(&stored.policy, now));
            status.stored = true;
            let response = answer::from_stored(&stored, asked, stored.policy.age(now), status);
            Some(if response.body().first_slice().is_some() {
                Made::Slices(response, stored)
            } else {
                Made::Answer(Ok(response))
            })
        }
        Published::StaleOnError(stored, failure) => {
            let kind = match failure {
                Some(_) => OriginFailure::Answered,
                None => OriginFailure::Disconnected,
            };
            let purged_at = stored.purged_at();
            let own = stored.policy.reuse_on_error(kind, shared.rules(), &directives, now, purged_at);
            if is_waiter && (!stored.selection.matches(headers) || own.is_none()) {
                return None;
            }
            count(&shared.counters.stale_hits);
            status.forward_status = failure;
            status.ttl = Some(ttl(&stored.policy, now));
            status.detail = Some("stale-if-error");
            let response = answer::from_stored(&stored, asked, stored.policy.age(now), status);
            Some(Made::Answer(Ok(response)))
        }
    }
}

pub(crate) fn live_status(head: &LiveHead, status: &mut CacheStatus, now: SystemTime) {
    status.ttl = Some(ttl(&head.policy, now));
    status.forward_status = Some(head.status);
    status.stored = true;
}

fn ttl(policy: &Policy, now: SystemTime) -> i64 {
    seconds(policy.freshness().lifetime).saturating_sub(seconds(policy.age(now)))
}

/// HEAD without a usable answer in the store: goes out as HEAD, and freshens what it agrees with (RFC 9111 §4.3.5).
async fn head<S, B, B2>(shared: Arc<Shared>, mut service: S, request: Request<B>, task: Task) -> Answer<B2>
where
    S: Service<Request<B>, Response = Response<B2>>,
    S::Error: Into<BoxError> + Send,
    B2: Body<Data = Bytes>,
    B2::Error: Into<BoxError> + Send,
{
    let Task { key, candidate, forward, .. } = task;
    let request = prepared(&shared, request);
    let headers = request.headers().clone();
    count(&shared.counters.misses);
    let (epoch, request_time) = (shared.epochs.now(), shared.now());
    let mut response = call(&mut service, request).await.map_err(|error| origin_error(&shared, error))?;
    let now = shared.now();
    fields::receive(response.headers_mut(), now);
    let mut status =
        CacheStatus { forward: Some(forward), key: shared.shown_key(key.as_str()), ..CacheStatus::default() };
    if let Some(stored) = candidate.filter(|_| response.status() == StatusCode::OK) {
        if stored.status == StatusCode::OK
            && validation::head_agrees(&stored.headers, response.headers(), stored.body.complete())
        {
            let mut updated = stored.original_headers();
            fields::update_stored(&mut updated, response.headers());
            let (fresh, refusal) =
                storing::freshened(&shared, &key, &stored, updated, &headers, (request_time, now));
            status.stored = refusal.is_none() && shared.store(&key, Arc::new(fresh), epoch, now);
            if status.stored {
                shared.keep_below(&key, epoch);
            }
        } else {
            // The representation has changed; what is stored may not be used without validation any more.
            stored.purge_softly(now);
        }
    }
    Ok(answer::from_origin(response, &shared.name, status))
}

pub(crate) fn origin_error(shared: &Shared, error: impl Into<BoxError>) -> FetchError {
    count(&shared.counters.errors);
    FetchError::origin(error)
}
