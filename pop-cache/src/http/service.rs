//! The tower layer: a request comes in, an answer goes out, from the store or from the inner service.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LOCATION;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use tokio::sync::oneshot;
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{self, Asked};
use super::body::{BoxError, CacheBody, Live};
use super::cache::{RequestHead, Shared};
use super::directive::RequestDirectives;
use super::fetch::{
    Admission, BoxFuture, Fetch, FetchError, Flights, LiveHead, Outcome, Published, Storing, call, freshened,
};
use super::handle::count;
use super::invalidation;
use super::key::CacheKey;
use super::policy::Exchange;
use super::reuse::{Cause, Reuse, StaleAllowance};
use super::status::{CacheStatus, Forward};
use super::stored::Stored;
use super::{fields, validation};

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
    B: Default + Send + 'static,
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
        let shared = &self.shared;
        match decide(shared, &request) {
            Decision::Answer(response) => CacheFuture::ready(*response),
            Decision::AnswerAndRevalidate(response, key, stored) => {
                if let Err(flight) = Flights::join(shared, &key, &HeaderMap::new()) {
                    let (parts, _) = normalised(shared, request).into_parts();
                    let mut parts = parts;
                    validation::make_unconditional(&mut parts.headers);
                    let fetch = Fetch {
                        shared: Arc::clone(shared),
                        service: self.inner.clone(),
                        parts,
                        body: B::default(),
                        key,
                        candidate: Some(stored),
                        flight: Some(flight),
                    };
                    let (leader, _nobody) = oneshot::channel();
                    tokio::spawn(fetch.run(leader));
                }
                CacheFuture::ready(*response)
            }
            Decision::Fetch(task) => {
                CacheFuture::later(fetch(Arc::clone(shared), self.inner.clone(), request, task))
            }
            Decision::Head(task) => {
                CacheFuture::later(head(Arc::clone(shared), self.inner.clone(), request, task))
            }
            Decision::Forward(key, forward) => {
                CacheFuture::later(pass(Arc::clone(shared), self.inner.clone(), request, key, forward))
            }
        }
    }
}

/// The answer of a [`CacheService`]: at hand for a hit, otherwise a fetch.
pub struct CacheFuture<B> {
    state: State<B>,
}

type Answer<B> = Result<Response<CacheBody<B>>, FetchError>;

enum State<B> {
    Ready(Option<Response<CacheBody<B>>>),
    Later(BoxFuture<Answer<B>>),
}

impl<B> CacheFuture<B> {
    fn ready(response: Response<CacheBody<B>>) -> Self {
        Self { state: State::Ready(Some(response)) }
    }

    fn later(future: impl Future<Output = Answer<B>> + Send + 'static) -> Self {
        Self { state: State::Later(Box::pin(future)) }
    }
}

impl<B> core::fmt::Debug for CacheFuture<B> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
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

enum Decision<B> {
    Answer(Box<Response<CacheBody<B>>>),
    AnswerAndRevalidate(Box<Response<CacheBody<B>>>, CacheKey, Arc<Stored>),
    Fetch(Task),
    Head(Task),
    /// The cache has no part in it but invalidation.
    Forward(Option<CacheKey>, Forward),
}

/// A request that must go to the origin, and why.
struct Task {
    key: CacheKey,
    candidate: Option<Arc<Stored>>,
    forward: Forward,
}

/// The whole decision for a request; everything a hit costs.
fn decide<B, B2>(shared: &Shared, request: &Request<B>) -> Decision<B2> {
    let head = RequestHead::of(request);
    let (method, headers) = (request.method(), request.headers());
    if shared.bypasses(&head) {
        return Decision::Forward(shared.key(&head).ok(), Forward::Bypass);
    }
    let Ok(key) = shared.key(&head) else { return Decision::Forward(None, Forward::Bypass) };
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Decision::Forward(Some(key), Forward::Method);
    }
    if validation::is_for_origin(headers) {
        return Decision::Forward(Some(key), Forward::Request);
    }
    let directives = RequestDirectives::parse(headers);
    let resource = shared.resource(&key);
    let candidate = resource.as_deref().and_then(|resource| resource.select(headers));
    let forward = match (candidate, &resource) {
        (None, None) => Forward::UriMiss,
        (None, Some(_)) => Forward::VaryMiss,
        (Some(stored), _) => {
            let now = shared.now();
            let reuse = stored.policy.reuse(shared.rules(), &directives, now, stored.purged_at());
            let asked = Asked { method, headers, name: &shared.name };
            match reuse {
                _ if !answer::suffices(stored, headers) => Forward::Partial,
                Reuse::Fresh { age, ttl } => {
                    let status = CacheStatus { ttl: Some(seconds(ttl)), ..hit(shared, &key) };
                    count(&shared.counters.hits);
                    return Decision::Answer(Box::new(answer::from_stored(stored, asked, age, status)));
                }
                Reuse::Stale { age, staleness, allowed_by } => {
                    let status = CacheStatus { ttl: Some(-seconds(staleness)), ..hit(shared, &key) };
                    count(&shared.counters.hits);
                    count(&shared.counters.stale_hits);
                    let response = Box::new(answer::from_stored(stored, asked, age, status));
                    return match allowed_by {
                        StaleAllowance::WhileRevalidate => {
                            Decision::AnswerAndRevalidate(response, key, Arc::clone(stored))
                        }
                        StaleAllowance::MaxStale | StaleAllowance::IfError => Decision::Answer(response),
                    };
                }
                Reuse::Validate(Cause::Stale(_) | Cause::NoCache) => Forward::Stale,
                Reuse::Validate(_) => Forward::Request,
            }
        }
    };
    if directives.only_if_cached {
        let detail = Some("only-if-cached");
        let status = CacheStatus { forward: Some(forward), detail, ..CacheStatus::default() };
        return Decision::Answer(Box::new(answer::gateway_timeout(&shared.name, status)));
    }
    let task = Task { candidate: candidate.cloned(), key, forward };
    if method == Method::HEAD { Decision::Head(task) } else { Decision::Fetch(task) }
}

fn hit(shared: &Shared, key: &CacheKey) -> CacheStatus {
    CacheStatus { key: shared.shown_key(key), ..CacheStatus::default() }
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The request as it goes out: the normalised target, no fields of this hop.
fn normalised<B>(shared: &Shared, mut request: Request<B>) -> Request<B> {
    if let Some(target) = shared.normalised_target(&RequestHead::of(&request)) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    fields::remove_hop_by_hop(request.headers_mut());
    request
}

/// GET without a usable answer in the store.
async fn fetch<S, B, B2>(shared: Arc<Shared>, service: S, request: Request<B>, task: Task) -> Answer<B2>
where
    S: Service<Request<B>, Response = Response<B2>> + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Default + Send + 'static,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    let Task { key, candidate, forward } = task;
    let (parts, body) = normalised(&shared, request).into_parts();
    let status =
        CacheStatus { forward: Some(forward), key: shared.shown_key(&key), ..CacheStatus::default() };
    let mut flight = None;
    if !shared.is_remembered_uncacheable(&key) {
        match Flights::join(&shared, &key, &parts.headers) {
            Err(own) => flight = Some(own),
            Ok(mut others) => {
                let published =
                    match others.wait_for(|published| !matches!(published, Published::Pending)).await {
                        Ok(published) => published.clone(),
                        Err(_) => Published::Released,
                    };
                let status = CacheStatus { collapsed: true, ..status.clone() };
                if let Some(answer) = shared_answer(&shared, &parts.headers, published, status, Share::Waiter)
                {
                    count(&shared.counters.collapsed);
                    return answer;
                }
            }
        }
    }
    count(&shared.counters.misses);
    let (leader, mine) = oneshot::channel();
    let headers = parts.headers.clone();
    let fetch = Fetch { shared: Arc::clone(&shared), service, parts, body, key, candidate, flight };
    tokio::spawn(fetch.run(leader));
    match mine.await {
        Ok(Outcome::Direct(response, refusal)) => {
            let detail = Some(refusal.as_str());
            Ok(answer::from_origin(*response, &shared.name, CacheStatus { detail, ..status }))
        }
        Ok(Outcome::Shared(published)) => shared_answer(&shared, &headers, published, status, Share::Leader)
            .unwrap_or(Err(FetchError::Abandoned)),
        Err(_) => Err(FetchError::Abandoned),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// The fetch was made for this request.
    Leader,
    /// It was made for another, so it must be reusable (RFC 9111 §4).
    Waiter,
}

/// The answer for one of those who share a fetch; `None` where it is no answer for this one.
fn shared_answer<B>(
    shared: &Shared,
    headers: &HeaderMap,
    published: Published,
    mut status: CacheStatus,
    share: Share,
) -> Option<Answer<B>> {
    let asked = Asked { method: &Method::GET, headers, name: &shared.name };
    let now = shared.now();
    let directives = RequestDirectives::parse(headers);
    let is_reusable = |policy: &super::policy::Policy| {
        let reuse = policy.reuse(shared.rules(), &directives, now, None);
        share == Share::Leader || matches!(reuse, Reuse::Fresh { .. })
    };
    match published {
        Published::Pending | Published::Released => None,
        Published::Failed(error) => Some(Err(error)),
        Published::Live(head) => {
            if !is_reusable(&head.policy) || (share == Share::Waiter && !head.selection.matches(headers)) {
                return None;
            }
            live_status(&head, &mut status, now);
            answer::from_live(&head, asked, now, status).map(Ok)
        }
        Published::Validated(stored) => {
            if !is_reusable(&stored.policy) || (share == Share::Waiter && !stored.selection.matches(headers))
            {
                return None;
            }
            count(&shared.counters.revalidated);
            let age = stored.policy.age(now);
            status.forward_status = Some(StatusCode::NOT_MODIFIED);
            status.ttl = Some(ttl(&stored.policy, now));
            status.stored = true;
            Some(Ok(answer::from_stored(&stored, asked, age, status)))
        }
        Published::StaleOnError(stored, failure) => {
            if share == Share::Waiter && !stored.selection.matches(headers) {
                return None;
            }
            count(&shared.counters.stale_hits);
            let age = stored.policy.age(now);
            status.forward_status = failure;
            status.ttl = Some(ttl(&stored.policy, now));
            status.detail = Some("stale-if-error");
            Some(Ok(answer::from_stored(&stored, asked, age, status)))
        }
    }
}

fn live_status(head: &LiveHead, status: &mut CacheStatus, now: std::time::SystemTime) {
    status.ttl = Some(ttl(&head.policy, now));
    status.forward_status = Some(head.status);
    status.stored = true;
}

fn ttl(policy: &super::policy::Policy, now: std::time::SystemTime) -> i64 {
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
    let Task { key, candidate, forward } = task;
    let request = normalised(&shared, request);
    let headers = request.headers().clone();
    count(&shared.counters.misses);
    let (epoch, request_time) = (shared.epoch(), shared.now());
    let response = call(&mut service, request).await.map_err(|error| origin_error(&shared, error))?;
    let mut status =
        CacheStatus { forward: Some(forward), key: shared.shown_key(&key), ..CacheStatus::default() };
    if let Some(stored) = candidate.filter(|_| response.status() == StatusCode::OK) {
        let now = shared.now();
        if stored.status == StatusCode::OK
            && validation::head_agrees(&stored.headers, response.headers(), stored.body.complete())
        {
            let mut updated = stored.original_headers();
            fields::update_stored(&mut updated, response.headers());
            let fresh = freshened(&shared, &key, &stored, updated, &headers, request_time, now);
            status.stored = shared.store(&key, Arc::new(fresh), epoch, now);
        } else {
            // The representation has changed; what is stored may not be used without validation any more.
            stored.purge_softly(now);
        }
    }
    Ok(answer::from_origin(response, &shared.name, status))
}

/// Everything else: passed on, and what it invalidates is invalidated.
async fn pass<S, B, B2>(
    shared: Arc<Shared>,
    mut service: S,
    request: Request<B>,
    key: Option<CacheKey>,
    forward: Forward,
) -> Answer<B2>
where
    S: Service<Request<B>, Response = Response<B2>>,
    S::Error: Into<BoxError> + Send,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    count(&shared.counters.bypassed);
    let request = if forward == Forward::Bypass { request } else { normalised(&shared, request) };
    let method = request.method().clone();
    let headers = request.headers().clone();
    let request_time = shared.now();
    let mut response = call(&mut service, request).await.map_err(|error| origin_error(&shared, error))?;
    let response_time = shared.now();
    fields::receive(response.headers_mut(), response_time);
    let mut status = CacheStatus { forward: Some(forward), ..CacheStatus::default() };
    let Some(key) = key else { return Ok(answer::from_origin(response, &shared.name, status)) };
    if invalidation::invalidates(&method, response.status()) {
        let mut gone = shared.invalidate(&key);
        for uri in key
            .as_str()
            .parse::<Uri>()
            .iter()
            .flat_map(|target| invalidation::related_uris(target, response.headers()))
        {
            gone += related_key(&shared, &uri).map_or(0, |key| shared.invalidate(&key));
        }
        shared.counters.purged.fetch_add(gone as u64, Ordering::Relaxed);
    }
    let is_own = forward == Forward::Method
        && method == Method::POST
        && describes_target(&shared, &key, response.headers());
    if !is_own {
        return Ok(answer::from_origin(response, &shared.name, status));
    }
    // The answer says that it is what a GET would get (RFC 9110 §9.3.3).
    let epoch = shared.epoch();
    let (head, body) = response.into_parts();
    let exchange = Exchange {
        method: &method,
        request: &headers,
        status: head.status,
        response: &head.headers,
        request_time,
        response_time,
    };
    let Ok(admission) = Admission::of(&shared, &key, &exchange) else {
        return Ok(answer::from_origin(Response::from_parts(head, body), &shared.name, status));
    };
    let live = Live::new(shared.object_bytes_max);
    let length =
        head.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let selection = admission.policy.vary.selection(&headers, &head.headers);
    let published = LiveHead {
        status: head.status,
        headers: head.headers.clone(),
        policy: admission.policy.clone(),
        selection: selection.clone(),
        body: Arc::clone(&live),
        length,
    };
    let storing = Storing {
        key,
        status: head.status,
        headers: head.headers,
        policy: admission.policy,
        selection,
        tags: admission.tags,
        part: admission.part,
        request: headers,
        epoch,
    };
    let now = shared.now();
    live_status(&published, &mut status, now);
    // The client's own conditions were the origin's to judge.
    let asked = Asked { method: &Method::POST, headers: &HeaderMap::new(), name: &shared.name };
    let answer = answer::from_live(&published, asked, now, status).ok_or(FetchError::Abandoned);
    tokio::spawn(async move { storing.run(&shared, body, &live, length, Vec::new(), Vec::new()).await });
    answer
}

fn origin_error(shared: &Shared, error: impl Into<BoxError>) -> FetchError {
    count(&shared.counters.errors);
    FetchError::Origin(Arc::from(error.into()))
}

fn related_key(shared: &Shared, uri: &Uri) -> Option<CacheKey> {
    let (headers, extensions) = (HeaderMap::new(), http::Extensions::new());
    shared.key(&RequestHead { method: &Method::GET, uri, headers: &headers, extensions: &extensions }).ok()
}

/// Whether `Content-Location` names the target itself.
fn describes_target(shared: &Shared, key: &CacheKey, response: &HeaderMap) -> bool {
    let Some(location) = response.get(CONTENT_LOCATION) else { return false };
    let Ok(target) = key.as_str().parse::<Uri>() else { return false };
    let mut only = HeaderMap::new();
    only.insert(CONTENT_LOCATION, location.clone());
    invalidation::related_uris(&target, &only).any(|uri| related_key(shared, &uri).as_ref() == Some(key))
}
