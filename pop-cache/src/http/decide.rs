//! What becomes of a request: the whole cost of a hit is here.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response};
use http_body::Body;

use super::answer::{self, Asked};
use super::body::CacheBody;
use super::cache::{Held, RequestHead, Shared};
#[cfg(feature = "compression")]
use super::compression;
use super::directive::RequestDirectives;
use super::facts::Facts;
use super::handle::count;
use super::key::{CacheKey, KeyBuffer};
use super::query;
use super::reuse::{Cause, Reuse, StaleAllowance};
use super::status::{CacheStatus, Forward};
use super::stored::Stored;

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Decision<B> {
    /// It is answered.
    Answer(Response<CacheBody<B>>),
    /// It is answered, and what is stored is revalidated meanwhile.
    AnswerAndRevalidate(Response<CacheBody<B>>, Task),
    /// It is answered from slices, of which the first is not here.
    Slices(Response<CacheBody<B>>, Arc<Stored>),
    /// The origin is asked, for this client and all who join.
    Fetch(Task),
    /// HEAD goes to the origin.
    Head(Task),
    /// It is passed on; the cache has no part in it but invalidation.
    Pass(Option<CacheKey>, Pass),
    /// PURGE from somebody who may.
    Purge(CacheKey),
    /// PURGE from somebody who may not.
    Forbidden,
}

/// Why a request is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The operator says so, or it asks for another protocol: not a byte of it is touched.
    Untouched,
    /// It has no key.
    NoKey,
    /// It is neither GET nor HEAD.
    Method,
    /// It has conditions for the origin alone.
    Conditions,
    /// It has content, which no key covers: its answer is for nobody else.
    Content,
}

impl Pass {
    /// What `Cache-Status` says about it.
    pub(crate) fn status(self) -> CacheStatus {
        let (forward, detail) = match self {
            Self::Untouched => (Forward::Bypass, None),
            Self::NoKey => (Forward::Bypass, Some("no-key")),
            Self::Method => (Forward::Method, None),
            Self::Conditions => (Forward::Request, None),
            Self::Content => (Forward::Bypass, Some("request-content")),
        };
        CacheStatus { forward: Some(forward), detail, ..CacheStatus::default() }
    }
}

/// A request that must go to the origin, and why.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) key: CacheKey,
    pub(crate) candidate: Option<Arc<Stored>>,
    pub(crate) forward: Forward,
    /// Which of the variants that the resource is known to have.
    pub(crate) variant: u64,
}

/// Decides. A hit allocates for its answer and nothing else.
#[inline]
pub(crate) fn decide<B: Body, B2>(shared: &Arc<Shared>, request: &Request<B>) -> Decision<B2> {
    let head = RequestHead::of(request);
    let (method, headers) = (request.method(), request.headers());
    let facts = Facts::of(headers);
    if shared.bypasses(&head) || facts.upgrades {
        return Decision::Pass(shared.key(&head).ok(), Pass::Untouched);
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return decide_other(shared, &head, &facts, is_empty(request.body()));
    }
    let mut key = KeyBuffer::of_thread();
    if shared.write_key(&mut key, &head, facts.host).is_err() {
        return Decision::Pass(None, Pass::NoKey);
    }
    if facts.is_for_origin {
        return Decision::Pass(Some(CacheKey::from_raw(key.as_str())), Pass::Conditions);
    }
    if !is_empty(request.body()) {
        return Decision::Pass(Some(CacheKey::from_raw(key.as_str())), Pass::Content);
    }
    look_up(shared, key.as_str(), method, headers, &facts)
}

/// Decides about a request that is neither GET nor HEAD.
#[cold]
fn decide_other<B2>(
    shared: &Arc<Shared>,
    head: &RequestHead<'_>,
    facts: &Facts<'_>,
    is_empty: bool,
) -> Decision<B2> {
    let Ok(key) = shared.key(head) else { return Decision::Pass(None, Pass::NoKey) };
    match shared.purge_permission(head) {
        Some(true) => return Decision::Purge(key),
        Some(false) => return Decision::Forbidden,
        None => {}
    }
    if !query::is_query(head) || facts.is_for_origin || !is_empty {
        return Decision::Pass(Some(key), Pass::Method);
    }
    let Some(key) = shared.query_key(&key, head) else { return Decision::Pass(Some(key), Pass::Content) };
    // Of an answer to QUERY whatever holds of one to GET holds too (RFC 10008 §2.7).
    look_up(shared, key.as_str(), &Method::GET, head.headers, facts)
}

/// Whether a request has no content, as far as can be told without reading it.
fn is_empty<B: Body>(body: &B) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

/// Looks for a usable answer to a GET or HEAD, and makes it.
#[inline]
pub(crate) fn look_up<B>(
    shared: &Arc<Shared>,
    key: &str,
    method: &Method,
    headers: &HeaderMap,
    facts: &Facts<'_>,
) -> Decision<B> {
    // By reference, so that nobody counts who reads.
    let held = shared.store.get_ref(key);
    let equivalent;
    let resource = match held.as_deref() {
        Some(Held::Resource(resource)) => Some(&**resource),
        Some(Held::Slice(_)) | None => {
            equivalent = shared.find_equivalent(key);
            equivalent.as_deref()
        }
    };
    let candidate = resource.and_then(|resource| resource.select(headers));
    if let Some(stored) = candidate
        && let Some(response) = plain_hit(shared, stored, method, facts)
    {
        return Decision::Answer(response);
    }
    let directives =
        if facts.has_directives { RequestDirectives::parse(headers) } else { RequestDirectives::default() };
    let forward = match (candidate, resource) {
        (None, None) => Forward::UriMiss,
        (None, Some(_)) => Forward::VaryMiss,
        (Some(stored), _) => {
            let now = shared.now();
            let reuse = stored.policy.reuse(shared.rules(), &directives, now, stored.purged_at());
            let asked = Asked { method, headers, name: &shared.name };
            let status =
                |ttl| CacheStatus { ttl: Some(ttl), key: shared.shown_key(key), ..CacheStatus::default() };
            #[cfg(feature = "compression")]
            if stored.is_codable
                && let Reuse::Fresh { age, ttl } = reuse
                && let Some(encoded) = compression::find(shared, stored, headers)
            {
                let answer = compression::answer(stored, asked, age, status(seconds(ttl)), encoded);
                return hit(shared, stored, answer);
            }
            match reuse {
                _ if !answer::suffices(stored, headers) => Forward::Partial,
                Reuse::Fresh { age, ttl } => {
                    let response = answer::from_stored(stored, asked, age, status(seconds(ttl)));
                    if response.body().first_slice().is_none() || has_slices(shared, &response) {
                        return hit(shared, stored, response);
                    }
                    let forward = Some(Forward::Partial);
                    let status = CacheStatus { forward, ..status(seconds(ttl)) };
                    return hit(shared, stored, answer::from_stored(stored, asked, age, status));
                }
                Reuse::Stale { age, staleness, allowed_by } => {
                    count(&shared.counters.stale_hits);
                    let response = answer::from_stored(stored, asked, age, status(-seconds(staleness)));
                    if allowed_by != StaleAllowance::WhileRevalidate
                        || response.body().first_slice().is_some()
                    {
                        return hit(shared, stored, response);
                    }
                    count(&shared.counters.hits);
                    let variant = shared.variant(&stored.policy.vary, headers);
                    let (key, candidate) = (CacheKey::from_raw(key), Some(Arc::clone(stored)));
                    let task = Task { key, candidate, forward: Forward::Stale, variant };
                    return Decision::AnswerAndRevalidate(response, task);
                }
                Reuse::Validate(Cause::Stale(_) | Cause::NoCache) => Forward::Stale,
                Reuse::Validate(_) => Forward::Request,
            }
        }
    };
    let status = CacheStatus { forward: Some(forward), key: shared.shown_key(key), ..CacheStatus::default() };
    if directives.only_if_cached {
        let status = CacheStatus { detail: Some("only-if-cached"), ..status };
        return Decision::Answer(answer::gateway_timeout(&shared.name, status));
    }
    let newest = candidate.or_else(|| resource.and_then(|resource| resource.variants.first()));
    let variant = newest.map_or(0, |stored| shared.variant(&stored.policy.vary, headers));
    let task = Task { key: CacheKey::from_raw(key), candidate: candidate.cloned(), forward, variant };
    if *method == Method::HEAD { Decision::Head(task) } else { Decision::Fetch(task) }
}

/// The answer to a plain request from a fresh response, if they are: what nearly every hit is.
#[inline]
fn plain_hit<B>(
    shared: &Shared,
    stored: &Arc<Stored>,
    method: &Method,
    facts: &Facts<'_>,
) -> Option<Response<CacheBody<B>>> {
    if facts.has_directives
        || facts.is_special
        || !stored.is_whole
        || *method != Method::GET
        || shared.shows_key()
    {
        return None;
    }
    #[cfg(feature = "compression")]
    if stored.is_codable {
        return None;
    }
    let (now, purged_at) = (shared.now(), stored.purged_at());
    let (age, ttl) = stored.policy.fresh(now, purged_at)?;
    debug_assert_eq!(
        stored.policy.reuse(shared.rules(), &RequestDirectives::default(), now, purged_at),
        Reuse::Fresh { age, ttl }
    );
    count(&shared.counters.hits);
    Some(answer::plain(stored, age.as_secs(), ttl.as_secs(), &shared.name))
}

/// Whether the slices of an answer are here: the first of them for a long one, since some may come and go while it is
/// read.
fn has_slices<B>(shared: &Shared, response: &Response<CacheBody<B>>) -> bool {
    const LOOKED_AT: usize = 64;
    response.body().slice_keys().take(LOOKED_AT).all(|key| shared.slice(&key).is_some())
}

/// An answer from the store; one whose slices are not here has still to get them.
fn hit<B>(shared: &Shared, stored: &Arc<Stored>, response: Response<CacheBody<B>>) -> Decision<B> {
    if response.body().first_slice().is_some() {
        return Decision::Slices(response, Arc::clone(stored));
    }
    count(&shared.counters.hits);
    Decision::Answer(response)
}

pub(crate) fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
