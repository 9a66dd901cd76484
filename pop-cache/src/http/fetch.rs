//! Fetches: one for all who ask at the same time, stored while it streams, outliving the client that began it.

use core::fmt;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ahash::RandomState;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request, response};
use http_body::Body;
use tokio::sync::{oneshot, watch};
use tower_service::Service;

use super::body::{BoxError, Live, StoredBody};
use super::cache::Shared;
use super::directive::RequestDirectives;
use super::fields;
use super::handle::count;
use super::key::CacheKey;
use super::policy::{Exchange, Policy, Refusal, Storability};
use super::range::{ByteRange, ContentRange};
use super::stored::Stored;
use super::validation;
use super::vary::Selection;

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
    fn origin(error: impl Into<BoxError>) -> Self {
        Self::Origin(Arc::from(error.into()))
    }
}

/// What a fetch has come to, for everyone who waits.
#[derive(Clone, Debug)]
pub(crate) enum Published {
    /// Nothing yet.
    Pending,
    /// A response that is being stored; its body is under way.
    Live(Arc<LiveHead>),
    /// The origin confirmed what is stored; here it is, freshened.
    Validated(Arc<Stored>),
    /// The origin failed (with this status, if it answered) and this may stand in.
    StaleOnError(Arc<Stored>, Option<StatusCode>),
    /// The answer is for one client alone: everybody else asks for himself.
    Released,
    /// There is none.
    Failed(FetchError),
}

/// The head of a response whose body is under way.
#[derive(Debug)]
pub(crate) struct LiveHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) policy: Policy,
    pub(crate) selection: Selection,
    pub(crate) body: Arc<Live>,
    pub(crate) length: Option<u64>,
}

/// What the client that began a fetch gets.
#[derive(Debug)]
pub(crate) enum Outcome<B> {
    Shared(Published),
    /// Not storable: straight from the origin.
    Direct(Box<Response<B>>, Refusal),
}

/// The fetches under way, by key and range.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    map: Mutex<HashMap<FlightKey, watch::Receiver<Published>, RandomState>>,
}

type FlightKey = (CacheKey, Option<HeaderValue>);

impl Flights {
    /// Joins the fetch for this key, or begins one.
    pub(crate) fn join(
        shared: &Arc<Shared>,
        key: &CacheKey,
        request: &HeaderMap,
    ) -> Result<watch::Receiver<Published>, Flight> {
        let key = (key.clone(), request.get(RANGE).cloned());
        let mut map = shared.flights.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = map.get(&key) {
            return Ok(receiver.clone());
        }
        let (sender, receiver) = watch::channel(Published::Pending);
        map.insert(key.clone(), receiver);
        Err(Flight { shared: Arc::clone(shared), key, sender })
    }
}

/// A registered fetch; unregistered, and failed if it has not come to anything, when it is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    shared: Arc<Shared>,
    key: FlightKey,
    sender: watch::Sender<Published>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.flights.map.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.sender.send_if_modified(|published| {
            let is_pending = matches!(published, Published::Pending);
            if is_pending {
                *published = Published::Failed(FetchError::Abandoned);
            }
            is_pending
        });
    }
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
        let epoch = self.shared.epoch();
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
            if is_failure(head.status) && self.stands_in().is_some() {
                return self.fail(FetchError::Abandoned, Some(head.status), leader);
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
                | (Plan::Complete(..), StatusCode::PARTIAL_CONTENT) => {}
                (Plan::Complete(..), StatusCode::RANGE_NOT_SATISFIABLE) => {}
                (Plan::Forward, StatusCode::NOT_MODIFIED) if !self.is_conditional() => {
                    return self.fail(FetchError::UnexpectedNotModified, None, leader);
                }
                _ => return self.receive(head, body, times, epoch, leader).await,
            }
            plan = Plan::Forward;
            let mut parts = self.parts.clone();
            validation::make_unconditional(&mut parts.headers);
            request = Request::from_parts(parts, B::default());
        }
    }

    fn plan(&self) -> Plan {
        let Some(stored) = &self.candidate else { return Plan::Forward };
        if !stored.is_whole {
            let is_fresh_enough = !self.parts.headers.contains_key(RANGE);
            return match stored.body.sole_gap() {
                Some(gap) if is_fresh_enough => Plan::Complete(Arc::clone(stored), gap),
                _ => Plan::Forward,
            };
        }
        if stored.policy.has_validator { Plan::Validate(Arc::clone(stored)) } else { Plan::Forward }
    }

    fn is_conditional(&self) -> bool {
        [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| self.parts.headers.contains_key(name))
    }

    /// The stored response that may be served because the origin failed.
    fn stands_in(&self) -> Option<&Arc<Stored>> {
        let stored = self.candidate.as_ref().filter(|stored| stored.is_whole)?;
        let request = RequestDirectives::parse(&self.parts.headers);
        let now = self.shared.now();
        stored.policy.reuse_on_error(self.shared.rules(), &request, now, stored.purged_at()).map(|_| stored)
    }

    fn fail(self, error: FetchError, status: Option<StatusCode>, leader: oneshot::Sender<Outcome<B2>>) {
        let published = match self.stands_in() {
            Some(stored) => Published::StaleOnError(Arc::clone(stored), status),
            None => {
                count(&self.shared.counters.errors);
                Published::Failed(error)
            }
        };
        self.publish(published, leader);
    }

    fn publish(self, published: Published, leader: oneshot::Sender<Outcome<B2>>) {
        if let Some(flight) = &self.flight {
            flight.sender.send_replace(published.clone());
        }
        // A leader that left misses nothing.
        let _gone = leader.send(Outcome::Shared(published));
    }

    /// The stored response with the fields of a 304 (RFC 9111 §3.2, §4.3.4), stored anew.
    fn freshen(
        &self,
        stored: &Arc<Stored>,
        update: &HeaderMap,
        (request_time, response_time): (SystemTime, SystemTime),
        epoch: u64,
    ) -> Arc<Stored> {
        let mut headers = stored.original_headers();
        fields::update_stored(&mut headers, update);
        let fresh = freshened(
            &self.shared,
            &self.key,
            stored,
            headers,
            &self.parts.headers,
            request_time,
            response_time,
        );
        let fresh = Arc::new(fresh);
        self.shared.store(&self.key, Arc::clone(&fresh), epoch, response_time);
        fresh
    }

    /// A new response: stored while it streams, or handed to the leader alone.
    async fn receive(
        self,
        mut head: response::Parts,
        body: B2,
        (request_time, response_time): (SystemTime, SystemTime),
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
        let admission = Admission::of(&self.shared, &self.key, &exchange);
        let (policy, tags, part) = match admission {
            Ok(admission) => (admission.policy, admission.tags, admission.part),
            Err(refusal) => {
                if refusal_is_lasting(refusal) {
                    self.shared.remember_uncacheable(&self.key);
                }
                if let Some(flight) = &self.flight {
                    flight.sender.send_replace(Published::Released);
                }
                let direct = Response::from_parts(head, body);
                let _gone = leader.send(Outcome::Direct(Box::new(direct), refusal));
                return;
            }
        };
        let selection = policy.vary.selection(&self.parts.headers, &head.headers);
        let length = content_length(&head.headers);
        let live = Live::new(self.shared.object_bytes_max);
        let shared = Arc::clone(&self.shared);
        let storing = Storing {
            key: self.key.clone(),
            status: head.status,
            headers: head.headers.clone(),
            policy: policy.clone(),
            selection: selection.clone(),
            tags,
            part,
            request: self.parts.headers.clone(),
            epoch,
        };
        let reader = live.reader(None);
        let published = LiveHead {
            status: head.status,
            headers: std::mem::take(&mut head.headers),
            policy,
            selection,
            body: Arc::clone(&live),
            length,
        };
        let flight = self.begin(Published::Live(Arc::new(published)), leader);
        drop(reader);
        storing.run(&shared, body, &live, length, Vec::new(), Vec::new()).await;
        drop(flight);
    }

    fn begin(self, published: Published, leader: oneshot::Sender<Outcome<B2>>) -> Option<Flight> {
        if let Some(flight) = &self.flight {
            flight.sender.send_replace(published.clone());
        }
        let _gone = leader.send(Outcome::Shared(published));
        self.flight
    }

    /// The missing part of a stored representation: the whole goes to the client and to the store (RFC 9111 §3.4).
    #[expect(clippy::too_many_arguments, reason = "one call, from the one place that has all of them")]
    async fn complete(
        self,
        stored: Arc<Stored>,
        gap: ByteRange,
        head: response::Parts,
        body: B2,
        (request_time, response_time): (SystemTime, SystemTime),
        epoch: u64,
        leader: oneshot::Sender<Outcome<B2>>,
    ) {
        let mut headers = stored.original_headers();
        fields::update_stored(&mut headers, &head.headers);
        let request = self.parts.headers.clone();
        let fresh = freshened(
            &self.shared,
            &self.key,
            &stored,
            headers.clone(),
            &request,
            request_time,
            response_time,
        );
        let end = stored.body.complete().map_or(0, |length| length.saturating_sub(1));
        let before = if gap.first == 0 {
            Vec::new()
        } else {
            stored.body.chunks(ByteRange { first: 0, last: gap.first - 1 })
        };
        let after = if gap.last >= end {
            Vec::new()
        } else {
            stored.body.chunks(ByteRange { first: gap.last + 1, last: end })
        };
        let live = Live::new(self.shared.object_bytes_max);
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
        let flight = self.begin(Published::Live(Arc::new(published)), leader);
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

/// What admits a response: its policy, its tags, and its place in the whole if it is a part.
pub(crate) struct Admission {
    pub(crate) policy: Policy,
    pub(crate) tags: Arc<[Box<str>]>,
    pub(crate) part: Option<ContentRange>,
}

impl Admission {
    pub(crate) fn of(shared: &Shared, key: &CacheKey, exchange: &Exchange<'_>) -> Result<Self, Refusal> {
        let rules = shared.rules();
        let mut policy = Policy::new(rules, exchange);
        if let Some(lifetime) = shared.lifetime(key, exchange) {
            policy.override_lifetime(lifetime);
        }
        if let Storability::Refused(refusal) = policy.storability(rules, exchange) {
            return Err(refusal);
        }
        if !shared.permits_storing(key, exchange) {
            return Err(Refusal::Policy);
        }
        let length = content_length(exchange.response);
        if length.is_some_and(|length| length > shared.object_bytes_max) {
            return Err(Refusal::Body);
        }
        let part = if exchange.status == StatusCode::PARTIAL_CONTENT {
            let part = ContentRange::parse(exchange.response).ok_or(Refusal::PartialWithoutPosition)?;
            Some(honest(part, length))
        } else {
            None
        };
        Ok(Self { policy, tags: shared.tags_of(key, exchange), part })
    }
}

/// A part whose `Content-Length` is shorter than its `Content-Range` and which reaches the end of the whole: the
/// framing says what really comes, so the whole ends where the content does.
fn honest(part: ContentRange, length: Option<u64>) -> ContentRange {
    let ByteRange { first, last } = part.range;
    match length {
        Some(length) if length > 0 && length < part.range.length() && part.complete == Some(last + 1) => {
            let range = ByteRange { first, last: first + length - 1 };
            ContentRange { range, complete: Some(first + length) }
        }
        _ => part,
    }
}

/// Whether another request for the key would be refused as well.
fn refusal_is_lasting(refusal: Refusal) -> bool {
    !matches!(
        refusal,
        Refusal::Method
            | Refusal::NotFinal
            | Refusal::AboutTheRequest
            | Refusal::RequestNoStore
            | Refusal::Authorization
    )
}

/// A response on its way into the store.
pub(crate) struct Storing {
    pub(crate) key: CacheKey,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) policy: Policy,
    pub(crate) selection: Selection,
    pub(crate) tags: Arc<[Box<str>]>,
    pub(crate) part: Option<ContentRange>,
    pub(crate) request: HeaderMap,
    pub(crate) epoch: u64,
}

impl Storing {
    /// Moves the body into `live`, between what is already there before and after it, and stores the whole at its
    /// end. Readers see the end only after it is stored, so whoever asks next finds it.
    pub(crate) async fn run<B2>(
        self,
        shared: &Shared,
        body: B2,
        live: &Live,
        announced: Option<u64>,
        before: Vec<Bytes>,
        after: Vec<Bytes>,
    ) where
        B2: Body<Data = Bytes>,
        B2::Error: Into<BoxError> + Send,
    {
        for chunk in before {
            live.push(chunk).await;
        }
        let end = pump(body, live, announced).await;
        if end.is_ok() {
            for chunk in after {
                live.push(chunk).await;
            }
        }
        if end.is_ok()
            && let Some(chunks) = live.all()
        {
            self.store(shared, &chunks);
        }
        live.finish(end);
    }

    fn store(mut self, shared: &Shared, chunks: &[Bytes]) {
        let body = match self.part {
            None => StoredBody::whole(chunks),
            Some(part) => {
                let received: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
                if received != part.range.length() {
                    return;
                }
                self.status = StatusCode::OK;
                let own = StoredBody::part(part.range.first, chunks, part.complete);
                match self.kin(shared) {
                    Some(kin) => own.union(&kin.body),
                    None => own,
                }
            }
        };
        fields::remove_unstorable(&mut self.headers, &self.policy.directives);
        let stored =
            Stored::new(self.status, self.headers, self.policy, self.selection, Arc::new(body), self.tags);
        if shared.store(&self.key, Arc::new(stored), self.epoch, shared.now()) {
            count(&shared.counters.stored);
        }
    }

    /// Another part of the same representation: the same strong validator, the same length (RFC 9111 §3.4).
    fn kin(&self, shared: &Shared) -> Option<Arc<Stored>> {
        let resource = shared.resource(&self.key)?;
        let other = resource.select(&self.request)?;
        let tag = validation::strong_tag(&self.headers)?;
        let is_kin = validation::strong_tag(&other.headers) == Some(tag)
            && !other.is_whole
            && other.body.complete() == self.part.and_then(|part| part.complete);
        is_kin.then(|| Arc::clone(other))
    }
}

/// Moves a body to its readers; an error, or an end before the announced one, is their end too.
async fn pump<B2>(body: B2, live: &Live, announced: Option<u64>) -> Result<Option<HeaderMap>, FetchError>
where
    B2: Body<Data = Bytes>,
    B2::Error: Into<BoxError> + Send,
{
    let mut body = std::pin::pin!(body);
    let (mut received, mut trailers) = (0_u64, None);
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        match frame.map_err(FetchError::origin)?.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                received += data.len() as u64;
                if announced.is_some_and(|announced| received > announced) {
                    break;
                }
                if !live.push(data).await {
                    return Err(FetchError::Abandoned);
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    match announced {
        Some(announced) if announced != received => Err(FetchError::Truncated { announced, received }),
        _ => Ok(trailers),
    }
}

/// A stored response with other fields, as a 304 or a 200 to HEAD gives them.
pub(crate) fn freshened(
    shared: &Shared,
    key: &CacheKey,
    stored: &Stored,
    mut headers: HeaderMap,
    request: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Stored {
    let exchange = Exchange {
        method: &Method::GET,
        request,
        status: stored.status,
        response: &headers,
        request_time,
        response_time,
    };
    let mut policy = Policy::new(shared.rules(), &exchange);
    if let Some(lifetime) = shared.lifetime(key, &exchange) {
        policy.override_lifetime(lifetime);
    }
    let tags = shared.tags_of(key, &exchange);
    fields::remove_unstorable(&mut headers, &policy.directives);
    let selection = stored.selection.clone();
    Stored::new(stored.status, headers, policy, selection, Arc::clone(&stored.body), tags)
}

/// Whether a 206 is the missing part of what is stored.
fn combines(stored: &Stored, gap: ByteRange, headers: &HeaderMap) -> bool {
    let same_tag = validation::strong_tag(&stored.headers)
        .is_some_and(|tag| validation::strong_tag(headers) == Some(tag));
    let part = ContentRange::parse(headers);
    same_tag && part.is_some_and(|part| part.range == gap && part.complete == stored.body.complete())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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
