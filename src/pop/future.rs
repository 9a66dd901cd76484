//! Answers: the cache's, the origin's, or our own.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use tower_service::Service;

#[cfg(feature = "cache")]
use pop_cache::http::{CacheBody, CacheFuture, CacheStatus, FetchError, LookUp};

use super::plane::SiteService;
#[cfg(feature = "cache")]
use crate::body::TooSlow;
use crate::body::{Body, OriginBody, RequestBody};
use crate::config::Settings;
use crate::exchange::{Denial, Source, Tail, Trail, chain};
use crate::interim::Place;
use crate::origin::{Failure, OriginError};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// An answer that is at hand, or on its way.
pub struct Answering {
    state: State,
}

enum State {
    Ready(Option<Response<Body>>),
    #[cfg(feature = "cache")]
    Cached(CacheFuture<OriginBody>, Option<Pending>),
    Origin(OriginFuture, Option<Pending>),
}

type OriginFuture = Pin<Box<dyn Future<Output = Result<Response<OriginBody>, OriginError>> + Send>>;

/// What is needed when the answer is there.
struct Pending {
    tail: Tail,
    trail: Trail,
    shows_timing: bool,
    /// Where interim responses go until the answer is there.
    place: Option<Place>,
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_ready = matches!(self.state, State::Ready(_));
        formatter.debug_struct("Answering").field("is_ready", &is_ready).finish()
    }
}

impl Answering {
    pub(super) fn ready(response: Response<Body>) -> Self {
        Self { state: State::Ready(Some(response)) }
    }
}

// The futures inside are boxed, or have nothing that is pinned in place.
impl Unpin for Answering {}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match &mut self.state {
            State::Ready(response) => response.take().expect("a future is not polled after it is ready"),
            #[cfg(feature = "cache")]
            State::Cached(future, pending) => {
                let Poll::Ready(answer) = Pin::new(future).poll(context) else {
                    return wait(pending.as_ref(), context);
                };
                let pending = pending.take().expect("a future is not polled after it is ready");
                match answer {
                    Ok(response) => pending.cached(response),
                    Err(error) => pending.cache_failed(&error),
                }
            }
            State::Origin(future, pending) => {
                let Poll::Ready(answer) = future.as_mut().poll(context) else {
                    return wait(pending.as_ref(), context);
                };
                let pending = pending.take().expect("a future is not polled after it is ready");
                match answer {
                    Ok(response) => {
                        let (head, body) = response.into_parts();
                        pending.finish(Source::Pass, Response::from_parts(head, Body::origin(body)))
                    }
                    Err(error) => pending.failed(&error, Some(error.failure)),
                }
            }
        };
        Poll::Ready(Ok(response))
    }
}

/// Not yet: meanwhile the task of the connection wakes for interim responses.
#[cold]
fn wait<T>(pending: Option<&Pending>, context: &Context<'_>) -> Poll<T> {
    if let Some(place) = pending.and_then(|pending| pending.place.as_ref()) {
        place.notify(context.waker());
    }
    Poll::Pending
}

/// Hands a request to its site. What is at hand in the cache is answered without the request being moved; a trail is
/// laid only where it goes further.
pub(super) fn answer<B>(
    service: &SiteService,
    request: Request<B>,
    wrap: impl FnOnce(B) -> RequestBody,
    tail: Tail,
    client: IpAddr,
    settings: &Settings,
) -> Answering
where
    B: http_body::Body,
{
    let shows_timing = settings.server_timing;
    match service {
        #[cfg(feature = "cache")]
        SiteService::Cached(site) if site.caches_queries && request.method().as_str() == "QUERY" => {
            let (request, pending) = send_on(request.map(wrap), tail, client, shows_timing);
            Answering { state: State::Cached(site.service.clone().call(request), Some(pending)) }
        }
        #[cfg(feature = "cache")]
        SiteService::Cached(site) => match site.service.cache().look_up(&request) {
            LookUp::Hit(response) => Answering::ready(hit(response, tail)),
            LookUp::Miss(miss) => {
                let (request, pending) = send_on(request.map(wrap), tail, client, shows_timing);
                let answer = site.service.cache().proceed(request, miss);
                Answering { state: State::Cached(answer, Some(pending)) }
            }
        },
        SiteService::Plain(service) => {
            let (request, pending) = send_on(request.map(wrap), tail, client, shows_timing);
            Answering { state: State::Origin(service.clone().call(request), Some(pending)) }
        }
    }
}

/// Lays the trail of a request that goes further than the cache.
#[cold]
fn send_on(
    mut request: Request<RequestBody>,
    mut tail: Tail,
    client: IpAddr,
    shows_timing: bool,
) -> (Request<RequestBody>, Pending) {
    let trail = Trail::new(client, tail.connection.is_tls, tail.started);
    if let Some(line) = &mut tail.line {
        line.trail = Some(trail.clone());
    }
    request.extensions_mut().insert(trail.clone());
    let place = Place::take(&tail.connection, request.version());
    if let Some(place) = &place {
        request.extensions_mut().insert(place.sender());
    }
    (request, Pending { tail, trail, shows_timing, place })
}

/// An answer that was at hand.
#[cfg(feature = "cache")]
#[inline]
fn hit(mut response: Response<CacheBody<OriginBody>>, mut tail: Tail) -> Response<Body> {
    tail.source = source(&response.body().cache_status());
    tail.status = response.status();
    close_if_ambiguous(&tail, &mut response);
    response.map(|body| Body::cached(body).with_tail(tail))
}

/// Where an answer of a cache came from.
#[cfg(feature = "cache")]
fn source(status: &CacheStatus) -> Source {
    if status.is_hit() {
        if status.ttl.is_some_and(|ttl| ttl < 0) { Source::Stale } else { Source::Hit }
    } else if status.detail == Some("stale-if-error") {
        Source::Stale
    } else if is_passed(status) {
        Source::Pass
    } else {
        Source::Miss
    }
}

impl Pending {
    #[cfg(feature = "cache")]
    fn cached(self, response: Response<CacheBody<OriginBody>>) -> Response<Body> {
        let source = source(&response.body().cache_status());
        self.finish(source, response.map(Body::cached))
    }

    fn finish(mut self, source: Source, mut response: Response<Body>) -> Response<Body> {
        self.tail.source = source;
        self.tail.status = response.status();
        if self.shows_timing
            && let Some(value) = self.timing()
        {
            response.headers_mut().append(SERVER_TIMING, value);
        }
        close_if_ambiguous(&self.tail, &mut response);
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.with_tail(self.tail))
    }

    /// `Server-Timing`: how long the origin took, where it was asked.
    fn timing(&self) -> Option<HeaderValue> {
        let origin = self.trail.origin_first_byte()?;
        HeaderValue::try_from(format!("origin;dur={:.1}", origin.as_secs_f64() * 1e3)).ok()
    }

    #[cfg(feature = "cache")]
    fn cache_failed(self, error: &FetchError) -> Response<Body> {
        let failure = match error {
            // The content of a QUERY is read before anybody is asked.
            FetchError::Origin(source) if source.is::<TooSlow>() => Some(Failure::SlowClient),
            FetchError::Origin(source) => source.downcast_ref::<OriginError>().map(|error| error.failure),
            _ => None,
        };
        self.failed(error, failure)
    }

    fn failed(
        mut self,
        error: &(dyn std::error::Error + 'static),
        failure: Option<Failure>,
    ) -> Response<Body> {
        let status = failure.map_or(StatusCode::BAD_GATEWAY, Failure::status);
        let detail = failure.map_or("origin-failed", Failure::as_str);
        tracing::warn!(reason = detail, error = chain(error), "no answer from the origin");
        self.tail.connection.observer.origin_failed(detail);
        self.tail.status = status;
        if let Some(line) = &mut self.tail.line {
            line.reason = Some(detail);
        }
        let mut response = own(status, detail);
        let mut value = String::with_capacity(64);
        // A String takes everything.
        let _ = write!(value, "{}; fwd=miss; detail={detail}", self.tail.connection.pop);
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert("cache-status", value);
        }
        if failure == Some(Failure::SlowClient) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        close_if_ambiguous(&self.tail, &mut response);
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.with_tail(self.tail))
    }
}

#[cfg(feature = "cache")]
fn is_passed(status: &CacheStatus) -> bool {
    use pop_cache::http::Forward;
    matches!(status.forward, Some(Forward::Bypass | Forward::Method))
}

/// RFC 9112 §6.1: a connection on which two readers may see different messages ends with this answer.
fn close_if_ambiguous<B>(tail: &Tail, response: &mut Response<B>) {
    if tail.connection.ambiguous.load(Ordering::Relaxed) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// A refusal as an answer.
pub(super) fn refuse(denial: Denial, mut tail: Tail) -> Response<Body> {
    tail.status = denial.status;
    let mut response = own(denial.status, denial.reason);
    if let Some(wait) = denial.retry_after {
        // Rounded up: who comes back then is not told to wait again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if denial.close {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    close_if_ambiguous(&tail, &mut response);
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.with_tail(tail))
}

/// An answer of our own: status and reason as text.
fn own(status: StatusCode, reason: &'static str) -> Response<Body> {
    let text = format!("{} {}: {reason}\n", status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    let mut response = Response::new(Body::text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
