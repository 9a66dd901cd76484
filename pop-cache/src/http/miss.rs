//! What a request does that the store cannot answer: it shares a fetch or begins one, validates, asks for slices.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, request};
use http_body::Body;
use tokio::sync::oneshot;
use tower_service::Service;

use super::answer;
use super::body::{BoxError, CacheBody, SliceSource};
use super::cache::{RequestHead, Shared};
use super::decide::{Decision, Task, look_up};
use super::directive::RequestDirectives;
use super::facts::Facts;
use super::fetch::{Fetch, FetchError, Outcome, call};
use super::flight::{Flight, Flights, Published, Role, Target, outcome};
use super::handle::count;
use super::reuse::Reuse;
use super::service::Answer;
use super::sharing::{Made, Share, shared_answer};
use super::slices::Slicing;
use super::status::CacheStatus;
use super::stored::Stored;
use super::{fields, storing, validation};

/// The inner service of a cache, as a fetch needs it: a task of its own calls it.
pub(super) trait Origin<B, B2>:
    Service<Request<B>, Response = Response<B2>, Error: Into<BoxError> + Send, Future: Send> + Send + 'static
{
}

impl<S, B, B2> Origin<B, B2> for S where
    S: Service<Request<B>, Response = Response<B2>, Error: Into<BoxError> + Send, Future: Send>
        + Send
        + 'static
{
}

/// The body of an inner service's answer.
pub(super) trait Content: Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static {}

impl<B> Content for B where B: Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static {}

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
pub(super) fn prepared<B>(shared: &Shared, request: Request<B>) -> Request<B> {
    let mut request = normalised(shared, request);
    for name in shared.unkeyed_fields() {
        request.headers_mut().remove(name);
    }
    request
}

/// Revalidates in the background, unless somebody does already.
pub(super) fn revalidate<S, B, B2>(shared: Arc<Shared>, service: S, request: Request<B>, task: Task)
where
    S: Origin<B, B2>,
    B: Default + Send + 'static,
    B2: Content,
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
pub(super) async fn fetch<S, B, B2>(
    shared: Arc<Shared>,
    service: S,
    request: Request<B>,
    task: Task,
) -> Answer<B2>
where
    S: Origin<B, B2> + Clone,
    B: Default + Send + 'static,
    B2: Content,
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
    S: Origin<B, B2> + Clone,
    B: Default + Send + 'static,
    B2: Content,
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
pub(super) async fn with_slices<S, B, B2>(
    shared: &Arc<Shared>,
    service: S,
    parts: request::Parts,
    mut response: Response<CacheBody<B2>>,
    stored: Arc<Stored>,
) -> Answer<B2>
where
    S: Origin<B, B2> + Clone,
    B: Default + Send + 'static,
    B2: Content,
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

/// HEAD without a usable answer in the store: goes out as HEAD, and freshens what it agrees with (RFC 9111 §4.3.5).
pub(super) async fn head<S, B, B2>(
    shared: Arc<Shared>,
    mut service: S,
    request: Request<B>,
    task: Task,
) -> Answer<B2>
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
