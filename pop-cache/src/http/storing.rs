//! From the origin into the store: what is admitted, and how a body gets there while others read it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;

use super::body::BoxError;
use super::cache::Shared;
use super::contents::{Slices, StoredBody};
use super::fetch::FetchError;
use super::fields;
use super::handle::count;
use super::key::CacheKey;
use super::live::Live;
use super::policy::{Exchange, Policy, Refusal, Storability};
use super::range::{ByteRange, ContentRange};
use super::slices::Cutter;
use super::stored::Stored;
use super::validation;
use super::vary::Selection;

/// What admits a response: its policy, its tags, its place in the whole if it is a part, its slices if it is large.
pub(crate) struct Admission {
    pub(crate) policy: Policy,
    pub(crate) tags: Arc<[Box<str>]>,
    pub(crate) part: Option<ContentRange>,
    pub(crate) slices: Option<(Slices, u64)>,
}

impl Admission {
    pub(crate) fn of(shared: &Shared, key: &CacheKey, exchange: &Exchange<'_>) -> Result<Self, Refusal> {
        let policy = admit(shared, key, exchange)?;
        let length = content_length(exchange.response);
        let part = if exchange.status == StatusCode::PARTIAL_CONTENT {
            let part = ContentRange::parse(exchange.response).ok_or(Refusal::PartialWithoutPosition)?;
            Some(honest(part, length))
        } else {
            None
        };
        let whole = part.map_or(length, |part| part.complete);
        let most = shared.object_bytes_max;
        let slices =
            if whole.is_some_and(|whole| whole > most) { sliceable(shared, exchange, whole) } else { None };
        let here = part.map_or(length, |part| Some(part.range.length()));
        if slices.is_none() && here.is_some_and(|here| here > most) {
            return Err(Refusal::Body);
        }
        Ok(Self { policy, tags: shared.tags_of(key, exchange), part, slices })
    }
}

/// The policy of a response that may be stored, by the RFC and by the operator.
pub(crate) fn admit(shared: &Shared, key: &CacheKey, exchange: &Exchange<'_>) -> Result<Policy, Refusal> {
    let rules = shared.rules();
    let mut policy = Policy::new(rules, exchange);
    if let Some(lifetime) = shared.lifetime(key, exchange) {
        policy.override_lifetime(lifetime);
    }
    match policy.storability(rules, exchange) {
        Storability::Refused(refusal) => Err(refusal),
        Storability::Allowed if !shared.permits_storing(key, exchange) => Err(Refusal::Policy),
        Storability::Allowed => Ok(policy),
    }
}

/// A large response can be had in slices if it can be told by a strong validator, and its origin serves ranges.
fn sliceable(shared: &Shared, exchange: &Exchange<'_>, whole: Option<u64>) -> Option<(Slices, u64)> {
    let serves_ranges = match exchange.status {
        StatusCode::PARTIAL_CONTENT => true,
        StatusCode::OK => exchange
            .response
            .get(ACCEPT_RANGES)
            .is_some_and(|units| units.as_bytes().trim_ascii().eq_ignore_ascii_case(b"bytes")),
        _ => false,
    };
    validation::strong_tag(exchange.response).filter(|_| serves_ranges)?;
    Some((shared.new_slices()?, whole?))
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
pub(crate) fn refusal_is_lasting(refusal: Refusal) -> bool {
    !matches!(
        refusal,
        Refusal::Method
            | Refusal::NotFinal
            | Refusal::AboutTheRequest
            | Refusal::PartialWithoutPosition
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
        shared: &Arc<Shared>,
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
        let end = pump(body, live, announced, |_| ()).await;
        if end.is_ok() {
            for chunk in after {
                live.push(chunk).await;
            }
        }
        if end.is_ok()
            && let Some(blocks) = live.all()
        {
            self.store(shared, blocks);
        }
        live.finish(end);
    }

    /// Stores the fields of a large response at once, for others to take slices of it. Its own bytes are the work of
    /// [`stream_slices`].
    pub(crate) fn store_sliced(
        mut self,
        shared: &Arc<Shared>,
        slices: Slices,
        whole: u64,
    ) -> Option<Arc<Stored>> {
        self.status = StatusCode::OK;
        if self.part.is_some() {
            self.headers.remove(CONTENT_RANGE);
        }
        let body = StoredBody::sliced(slices, whole);
        let (stored, is_stored) = self.put(shared, body);
        is_stored.then_some(stored)
    }

    fn store(mut self, shared: &Arc<Shared>, blocks: Vec<Bytes>) {
        let body = match self.part {
            None => StoredBody::whole(blocks),
            Some(part) => {
                let received: u64 = blocks.iter().map(|block| block.len() as u64).sum();
                if received != part.range.length() {
                    return;
                }
                self.status = StatusCode::OK;
                self.headers.remove(CONTENT_RANGE);
                let own = StoredBody::part(part.range.first, blocks, part.complete);
                match self.kin(shared) {
                    Some(kin) => own.union(&kin.body),
                    None => own,
                }
            }
        };
        self.put(shared, body);
    }

    fn put(mut self, shared: &Arc<Shared>, body: StoredBody) -> (Arc<Stored>, bool) {
        fields::remove_unstorable(&mut self.headers, &self.policy.directives);
        let stored =
            shared.stored(self.status, self.headers, self.policy, self.selection, Arc::new(body), self.tags);
        let stored = Arc::new(stored);
        let is_stored = shared.store(&self.key, Arc::clone(&stored), self.epoch, shared.now());
        if is_stored {
            count(&shared.counters.stored);
            shared.keep_below(&self.key, self.epoch);
        }
        (stored, is_stored)
    }

    /// Another part of the same representation: the same strong validator, the same length (RFC 9111 §3.4).
    fn kin(&self, shared: &Shared) -> Option<Arc<Stored>> {
        let resource = shared.find(self.key.as_str())?;
        let other = resource.select(&self.request)?;
        let tag = validation::strong_tag(&self.headers)?;
        let is_kin = validation::strong_tag(&other.headers) == Some(tag)
            && !other.is_whole
            && other.body.slices().is_none()
            && other.body.complete() == self.part.and_then(|part| part.complete);
        is_kin.then(|| Arc::clone(other))
    }
}

/// Moves a body that is not stored to its readers.
pub(crate) async fn stream<B2>(body: B2, live: &Live, announced: Option<u64>)
where
    B2: Body<Data = Bytes>,
    B2::Error: Into<BoxError> + Send,
{
    let end = pump(body, live, announced, |_| ()).await;
    live.finish(end);
}

/// Moves a large body to its readers, and its whole slices into the store on the way.
pub(crate) async fn stream_slices<B2>(
    shared: &Shared,
    body: B2,
    live: &Live,
    announced: Option<u64>,
    stored: &Stored,
    first: u64,
) where
    B2: Body<Data = Bytes>,
    B2::Error: Into<BoxError> + Send,
{
    let (Some(slices), Some(whole)) = (stored.body.slices(), stored.body.complete()) else { return };
    let mut cutter = Cutter::new(slices, whole, first);
    let end = pump(body, live, announced, |data| {
        cutter.push(data, |index, slice| shared.store_slice(slices.key(index), slice, stored));
    });
    let end = end.await;
    live.finish(end);
}

/// Moves a body to its readers; an error, or an end before the announced one, is their end too.
async fn pump<B2>(
    body: B2,
    live: &Live,
    announced: Option<u64>,
    mut taste: impl FnMut(Bytes),
) -> Result<Option<HeaderMap>, FetchError>
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
                taste(data.clone());
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

/// `Content-Length`, if it is one number.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A stored response with other fields, as a 304 or a 200 to HEAD gives them; and why it may not be stored, if it may
/// not: an update can forbid what the response permitted.
pub(crate) fn freshened(
    shared: &Shared,
    key: &CacheKey,
    stored: &Stored,
    mut headers: HeaderMap,
    request: &HeaderMap,
    (request_time, response_time): (std::time::SystemTime, std::time::SystemTime),
) -> (Stored, Option<Refusal>) {
    let exchange = Exchange {
        method: &Method::GET,
        request,
        status: stored.status,
        response: &headers,
        request_time,
        response_time,
    };
    let refusal = admit(shared, key, &exchange).err();
    let mut policy = Policy::new(shared.rules(), &exchange);
    if let Some(lifetime) = shared.lifetime(key, &exchange) {
        policy.override_lifetime(lifetime);
    }
    let tags = shared.tags_of(key, &exchange);
    fields::remove_unstorable(&mut headers, &policy.directives);
    let selection = if policy.vary == stored.policy.vary {
        stored.selection.clone()
    } else {
        policy.vary.selection(request, &headers)
    };
    (shared.stored(stored.status, headers, policy, selection, Arc::clone(&stored.body), tags), refusal)
}
