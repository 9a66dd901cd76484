//! A fetch: asks the origin for a client, or for many, stores what it brings, and outlives the client that began it.

use core::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request, response};
use http_body::Body;
use tokio::sync::oneshot;
use tower_service::Service;

use super::body::BoxError;
use super::cache::Shared;
use super::directive::RequestDirectives;
use super::fields;
use super::flight::{Flight, LiveHead, Published};
use super::handle::count;
use super::key::CacheKey;
use super::live::{Live, Reader};
use super::policy::{Exchange, Refusal};
use super::range::{ByteRange, ContentRange};
use super::reuse::{OriginFailure, Reuse};
use super::stored::Stored;
use super::storing::{
    Admission, Storing, content_length, freshened, refusal_is_lasting, stream, stream_slices,
};
use super::validation;

/// Why there is no answer, or no rest of one. Cheap to clone: it reaches everyone who waited.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// The inner service, or its body, failed; the source says how.
    Origin(Arc<dyn std::error::Error + Send + Sync>),
    /// 304 to a request without conditions.
    UnexpectedNotModified,
    /// The body ended after `received` of `announced` bytes.
    Truncated {
        /// `Content-Length`.
        announced: u64,
        /// What came.
        received: u64,
    },
    /// The representation changed while its parts were being fetched.
    Changed,
    /// The origin refused a part of a representation with this status.
    Refused(StatusCode),
    /// The client read so slowly that others who shared its fetch would have had to wait.
    TooSlow,
    /// The fetch was given up: the inner service panicked, or the runtime shuts down.
    Abandoned,
}

impl fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(_) => formatter.write_str("the origin failed"),
            Self::UnexpectedNotModified => {
                formatter.write_str("the origin answered 304 to a request without conditions")
            }
            Self::Truncated { announced, received } => {
                write!(formatter, "the body ended after {received} of {announced} bytes")
            }
            Self::Changed => formatter.write_str("the representation changed while it was fetched in parts"),
            Self::Refused(status) => write!(formatter, "the origin refused a part with {}", status.as_u16()),
            Self::TooSlow => formatter.write_str("the client fell too far behind others who share its fetch"),
            Self::Abandoned => formatter.write_str("the fetch was given up"),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Origin(source) => Some(&**source),
            _ => None,
        }
    }
}

impl FetchError {
    pub(crate) fn origin(error: impl Into<BoxError>) -> Self {
        Self::Origin(Arc::from(error.into()))
    }
}

/// What the client that began a fetch gets.
#[derive(Debug)]
pub(crate) enum Outcome<B> {
    /// Something shared; the reader keeps a body from being given up before the client has its own.
    Shared(Published, Option<Reader>),
    /// Not storable: straight from the origin.
    Direct(Box<Response<B>>, Refusal),
}

/// Everything a fetch needs; it runs as a task of its own.
#[derive(Debug)]
pub(crate) struct Fetch<S, B> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) service: S,
    pub(crate) parts: request::Parts,
    pub(crate) body: B,
    pub(crate) key: CacheKey,
    /// The stored response that the request selects, if there is one.
    pub(crate) candidate: Option<Arc<Stored>>,
    pub(crate) flight: Option<Flight>,
}

/// How the stored response is used in asking the origin.
enum Plan {
    /// Not at all: the client's request goes out.
    Forward,
    /// Is it still good?
    Validate(Arc<Stored>),
    /// Give us the part that is missing.
    Complete(Arc<Stored>, ByteRange),
}

/// When a request was sent and its answer's head had arrived.
type Times = (SystemTime, SystemTime);

impl<S, B, B2> Fetch<S, B>
where
    S: Service<Request<B>, Response = Response<B2>>,
    S::Error: Into<BoxError> + Send,
    B: Default,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    /// Asks the origin, publishes what comes, stores it where it may be stored. Returns when the body has ended.
    pub(crate) async fn run(mut self, leader: oneshot::Sender<Outcome<B2>>) {
        let epoch = self.shared.epochs.now();
        if let Some(stored) = self.look_below(epoch).await {
            return self.publish(Published::Kept(stored), leader);
        }
        let mut plan = self.plan();
        let body = std::mem::take(&mut self.body);
        let mut request = Request::from_parts(self.parts.clone(), body);
        loop {
            plan.shape(request.headers_mut());
            let request_time = self.shared.now();
            let answer = call(&mut self.service, request).await.map_err(FetchError::origin);
            let response_time = self.shared.now();
            let (mut head, body) = match answer {
                Ok(response) => response.into_parts(),
                Err(error) => return self.fail(error, None, leader),
            };
            fields::receive(&mut head.headers, response_time);
            let times = (request_time, response_time);
            if is_failure(head.status) && self.stands_in(OriginFailure::Answered).is_some() {
                return self.fail(FetchError::Refused(head.status), Some(head.status), leader);
            }
            match (&plan, head.status) {
                (Plan::Validate(stored), StatusCode::NOT_MODIFIED)
                    if validation::is_same(&stored.headers, &head.headers) =>
                {
                    let stored = self.freshen(stored, &head.headers, times, epoch);
                    return self.publish(Published::Validated(stored), leader);
                }
                (Plan::Complete(stored, gap), StatusCode::PARTIAL_CONTENT)
                    if combines(stored, *gap, &head.headers) =>
                {
                    let (stored, gap) = (Arc::clone(stored), *gap);
                    return self.complete(stored, gap, head, body, times, epoch, leader).await;
                }
                // The origin speaks of something else than what is stored: ask for the whole.
                (Plan::Validate(_), StatusCode::NOT_MODIFIED)
                | (Plan::Complete(..), StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE) => {}
                (Plan::Forward, StatusCode::NOT_MODIFIED) if !self.is_conditional() => {
                    return self.fail(FetchError::UnexpectedNotModified, None, leader);
                }
                _ => return self.receive(head, body, times, epoch, leader).await,
            }
            plan = Plan::Forward;
            let mut parts = self.parts.clone();
            validation::make_unconditional(&mut parts.headers);
            // What was forwarded is what a second 304 is judged by.
            self.parts.headers.clone_from(&parts.headers);
            request = Request::from_parts(parts, B::default());
        }
    }

    /// A usable answer from the tier below; one that needs validation becomes the candidate.
    async fn look_below(&mut self, epoch: u64) -> Option<Arc<Stored>> {
        if self.candidate.is_some() {
            return None;
        }
        let found = self.shared.fetch_below(&self.key, epoch).await;
        let stored = found.into_iter().find(|stored| stored.selection.matches(&self.parts.headers))?;
        let request = RequestDirectives::parse(&self.parts.headers);
        let reuse = stored.policy.reuse(self.shared.rules(), &request, self.shared.now(), None);
        if matches!(reuse, Reuse::Fresh { .. }) {
            return Some(stored);
        }
        self.candidate = Some(stored);
        None
    }

    fn plan(&self) -> Plan {
        let Some(stored) = &self.candidate else { return Plan::Forward };
        let is_here = stored.is_whole || stored.body.slices().is_some();
        if !is_here {
            let asks_for_all = !self.parts.headers.contains_key(RANGE);
            return match stored.body.sole_gap() {
                Some(gap) if asks_for_all => Plan::Complete(Arc::clone(stored), gap),
                _ => Plan::Forward,
            };
        }
        if stored.policy.has_validator { Plan::Validate(Arc::clone(stored)) } else { Plan::Forward }
    }

    fn is_conditional(&self) -> bool {
        [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| self.parts.headers.contains_key(name))
    }

    /// The stored response that may be served because the origin failed.
    fn stands_in(&self, failure: OriginFailure) -> Option<&Arc<Stored>> {
        let stored = self.candidate.as_ref().filter(|stored| stored.is_whole)?;
        let request = RequestDirectives::parse(&self.parts.headers);
        let now = self.shared.now();
        let reuse =
            stored.policy.reuse_on_error(failure, self.shared.rules(), &request, now, stored.purged_at());
        reuse.map(|_| stored)
    }

    fn fail(self, error: FetchError, status: Option<StatusCode>, leader: oneshot::Sender<Outcome<B2>>) {
        let failure = match error {
            FetchError::Origin(_) => OriginFailure::Disconnected,
            _ => OriginFailure::Answered,
        };
        let published = match self.stands_in(failure) {
            Some(stored) => Published::StaleOnError(Arc::clone(stored), status),
            None => {
                count(&self.shared.counters.errors);
                Published::Failed(error)
            }
        };
        self.publish(published, leader);
    }

    fn publish(self, published: Published, leader: oneshot::Sender<Outcome<B2>>) {
        let _flight = self.begin(published.clone(), published, None, leader);
    }

    /// Tells everybody; the flight that is handed back stays registered until it is dropped.
    fn begin(
        self,
        to_waiters: Published,
        to_leader: Published,
        holder: Option<Reader>,
        leader: oneshot::Sender<Outcome<B2>>,
    ) -> Option<Flight> {
        if let Some(flight) = &self.flight {
            flight.publish(to_waiters);
        }
        // A leader that left misses nothing.
        let _gone = leader.send(Outcome::Shared(to_leader, holder));
        self.flight
    }

    /// The stored response with the fields of a 304 (RFC 9111 §3.2, §4.3.4), stored anew.
    fn freshen(&self, stored: &Arc<Stored>, update: &HeaderMap, times: Times, epoch: u64) -> Arc<Stored> {
        let mut headers = stored.original_headers();
        fields::update_stored(&mut headers, update);
        let (fresh, refusal) =
            freshened(&self.shared, &self.key, stored, headers, &self.parts.headers, times);
        let fresh = Arc::new(fresh);
        if refusal.is_none() && self.shared.store(&self.key, Arc::clone(&fresh), epoch, times.1) {
            self.shared.keep_below(&self.key, epoch);
        }
        fresh
    }

    /// A new response: stored while it streams, or handed to the leader alone.
    async fn receive(
        self,
        head: response::Parts,
        body: B2,
        (request_time, response_time): Times,
        epoch: u64,
        leader: oneshot::Sender<Outcome<B2>>,
    ) {
        let exchange = Exchange {
            method: &Method::GET,
            request: &self.parts.headers,
            status: head.status,
            response: &head.headers,
            request_time,
            response_time,
        };
        let admission = match Admission::of(&self.shared, &self.key, &exchange) {
            Ok(admission) => admission,
            Err(refusal) => {
                if refusal_is_lasting(refusal) {
                    self.shared.remember_uncacheable(&self.key);
                }
                if let Some(flight) = &self.flight {
                    flight.publish(Published::Released);
                }
                let direct = Response::from_parts(head, body);
                let _gone = leader.send(Outcome::Direct(Box::new(direct), refusal));
                return;
            }
        };
        let selection = admission.policy.vary.selection(&self.parts.headers, &head.headers);
        let storing = Storing {
            key: self.key.clone(),
            status: head.status,
            headers: head.headers.clone(),
            policy: admission.policy.clone(),
            selection: selection.clone(),
            tags: admission.tags,
            part: admission.part,
            request: self.parts.headers.clone(),
            epoch,
        };
        let length = content_length(&head.headers);
        let limit = if admission.slices.is_some() { 0 } else { self.shared.object_bytes_max };
        let live = Live::new(limit, &self.shared.budget);
        let holder = live.reader(None);
        let published = LiveHead {
            status: head.status,
            headers: head.headers,
            policy: admission.policy,
            selection,
            body: Arc::clone(&live),
            length,
        };
        let published = Published::Live(Arc::new(published));
        let shared = Arc::clone(&self.shared);
        match admission.slices {
            Some((slices, whole)) => {
                let first = storing.part.map_or(0, |part| part.range.first);
                let stored = storing.store_sliced(&shared, slices, whole);
                let to_waiters = stored
                    .as_ref()
                    .map_or(Published::Released, |stored| Published::Sliced(Arc::clone(stored)));
                drop(self.begin(to_waiters, published, holder, leader));
                match stored {
                    Some(stored) => stream_slices(&shared, body, &live, length, &stored, first).await,
                    None => stream(body, &live, length).await,
                }
            }
            None => {
                let flight = self.begin(published.clone(), published, holder, leader);
                storing.run(&shared, body, &live, length, Vec::new(), Vec::new()).await;
                drop(flight);
            }
        }
    }

    /// The missing part of a stored representation: the whole goes to the client and to the store (RFC 9111 §3.4).
    #[expect(clippy::too_many_arguments, reason = "one call, from the one place that has all of them")]
    async fn complete(
        self,
        stored: Arc<Stored>,
        gap: ByteRange,
        head: response::Parts,
        body: B2,
        times: Times,
        epoch: u64,
        leader: oneshot::Sender<Outcome<B2>>,
    ) {
        let mut headers = stored.original_headers();
        fields::update_stored(&mut headers, &head.headers);
        let request = self.parts.headers.clone();
        let (fresh, refusal) = freshened(&self.shared, &self.key, &stored, headers.clone(), &request, times);
        let end = stored.body.complete().map_or(0, |length| length.saturating_sub(1));
        let held = |first: u64, last: u64| {
            if first > last { Vec::new() } else { stored.body.chunks(ByteRange { first, last }) }
        };
        let before = if gap.first == 0 { Vec::new() } else { held(0, gap.first - 1) };
        let after = held(gap.last + 1, end);
        let limit = if refusal.is_some() { 0 } else { self.shared.object_bytes_max };
        let live = Live::new(limit, &self.shared.budget);
        let holder = live.reader(None);
        let shared = Arc::clone(&self.shared);
        let storing = Storing {
            key: self.key.clone(),
            status: StatusCode::OK,
            headers,
            policy: fresh.policy.clone(),
            selection: fresh.selection.clone(),
            tags: Arc::clone(&fresh.tags),
            part: None,
            request,
            epoch,
        };
        let published = LiveHead {
            status: StatusCode::OK,
            headers: fresh.original_headers(),
            policy: fresh.policy,
            selection: fresh.selection,
            body: Arc::clone(&live),
            length: stored.body.complete(),
        };
        let published = Published::Live(Arc::new(published));
        let to_waiters = if refusal.is_some() { Published::Released } else { published.clone() };
        let flight = self.begin(to_waiters, published, holder, leader);
        storing.run(&shared, body, &live, Some(gap.length()), before, after).await;
        drop(flight);
    }
}

impl Plan {
    fn shape(&self, headers: &mut HeaderMap) {
        match self {
            Self::Forward => {}
            Self::Validate(stored) => validation::make_conditional(headers, &stored.headers),
            Self::Complete(stored, gap) => {
                validation::make_unconditional(headers);
                let complete = stored.body.complete().unwrap_or(0);
                let range = if gap.last + 1 == complete {
                    format!("bytes={}-", gap.first)
                } else {
                    format!("bytes={}-{}", gap.first, gap.last)
                };
                headers.insert(RANGE, HeaderValue::try_from(range).expect("digits are visible ASCII"));
                if let Some(tag) = validation::strong_tag(&stored.headers) {
                    headers.insert(IF_RANGE, tag.clone());
                }
            }
        }
    }
}

/// Whether a 206 is the missing part of what is stored.
fn combines(stored: &Stored, gap: ByteRange, headers: &HeaderMap) -> bool {
    let same_tag = validation::strong_tag(&stored.headers)
        .is_some_and(|tag| validation::strong_tag(headers) == Some(tag));
    let part = ContentRange::parse(headers);
    same_tag && part.is_some_and(|part| part.range == gap && part.complete == stored.body.complete())
}

/// What RFC 5861 §4 counts as an error.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Calls a service when it is ready.
pub(crate) async fn call<S, B>(service: &mut S, request: Request<B>) -> Result<S::Response, S::Error>
where
    S: Service<Request<B>>,
{
    std::future::poll_fn(|context| service.poll_ready(context)).await?;
    service.call(request).await
}

/// A boxed future that may cross threads.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
