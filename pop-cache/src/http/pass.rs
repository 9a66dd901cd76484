//! Requests that are passed on: what they invalidate, what they purge, and the POST whose answer a GET may reuse.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::CONTENT_LOCATION;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, response};
use http_body::Body;
use tower_service::Service;

use super::answer::{self, Asked};
use super::body::{BoxError, CacheBody};
use super::cache::{RequestHead, Shared};
use super::decide::Pass;
use super::fetch::{FetchError, call};
use super::flight::LiveHead;
use super::handle::{Purge, PurgeMode, count};
use super::key::CacheKey;
use super::live::Live;
use super::miss::{normalised, origin_error};
use super::policy::Exchange;
use super::service::Answer;
use super::sharing::live_status;
use super::storing::{Admission, Storing, content_length};
use super::{fields, groups, invalidation};

/// Passes a request on, and invalidates what its answer says is no longer so (RFC 9111 §4.4).
pub(crate) async fn pass<S, B, B2>(
    shared: Arc<Shared>,
    mut service: S,
    request: Request<B>,
    key: Option<CacheKey>,
    pass: Pass,
) -> Answer<B2>
where
    S: Service<Request<B>, Response = Response<B2>>,
    S::Error: Into<BoxError> + Send,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    count(&shared.counters.bypassed);
    let request = if pass == Pass::Untouched { request } else { normalised(&shared, request) };
    let method = request.method().clone();
    let headers = request.headers().clone();
    let request_time = shared.now();
    let response = call(&mut service, request).await.map_err(|error| origin_error(&shared, error))?;
    let response_time = shared.now();
    let (mut head, body) = response.into_parts();
    if let Some(key) = &key
        && invalidation::invalidates(&method, head.status)
    {
        invalidate(&shared, key, &head.headers);
    }
    if pass == Pass::Untouched {
        return Ok(answer::from_origin(Response::from_parts(head, body), &shared.name, pass.status()));
    }
    fields::receive(&mut head.headers, response_time);
    let is_reusable = pass == Pass::Method
        && method == Method::POST
        && key.as_ref().is_some_and(|key| describes_target(&shared, key, &head.headers));
    let (Some(key), true) = (key, is_reusable) else {
        return Ok(answer::from_origin(Response::from_parts(head, body), &shared.name, pass.status()));
    };
    let exchange = Exchange {
        method: &method,
        request: &headers,
        status: head.status,
        response: &head.headers,
        request_time,
        response_time,
    };
    match Admission::of(&shared, &key, &exchange) {
        Ok(admission) if admission.slices.is_none() => {
            keep_answer_to_post(&shared, key, headers, head, body, admission)
        }
        _ => Ok(answer::from_origin(Response::from_parts(head, body), &shared.name, pass.status())),
    }
}

/// An answer to POST that says that it is what a GET would get (RFC 9110 §9.3.3): stored while it streams.
fn keep_answer_to_post<B2>(
    shared: &Arc<Shared>,
    key: CacheKey,
    request: HeaderMap,
    head: response::Parts,
    body: B2,
    admission: Admission,
) -> Answer<B2>
where
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    let epoch = shared.epochs.now();
    let live = Live::new(shared.object_bytes_max, &shared.budget);
    let length = content_length(&head.headers);
    let selection = admission.policy.vary.selection(&request, &head.headers);
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
        request,
        epoch,
    };
    let now = shared.now();
    let mut status = Pass::Method.status();
    live_status(&published, &mut status, now);
    // The client's own conditions were the origin's to judge.
    let asked = Asked { method: &Method::POST, headers: &HeaderMap::new(), name: &shared.name };
    let answer = answer::from_live(&published, asked, now, status).ok_or(FetchError::Abandoned);
    let shared = Arc::clone(shared);
    tokio::spawn(async move { storing.run(&shared, body, &live, length, Vec::new(), Vec::new()).await });
    answer
}

/// The target itself, what `Location` and `Content-Location` name, and the groups that the answer says (RFC 9875 §3).
fn invalidate(shared: &Arc<Shared>, key: &CacheKey, response: &HeaderMap) {
    let mut gone = invalidate_key(shared, key);
    let target = key.as_str().parse::<Uri>();
    for uri in target.iter().flat_map(|target| invalidation::related_uris(target, response)) {
        gone += related_key(shared, &uri).map_or(0, |key| invalidate_key(shared, &key));
    }
    for group in groups::invalidated(response) {
        gone += shared.purge_tag(&groups::tag(key, &group), PurgeMode::Remove);
        shared.purge_below(Purge::Group(key.clone(), group));
    }
    shared.counters.purged.fetch_add(gone as u64, Ordering::Relaxed);
}

fn invalidate_key(shared: &Arc<Shared>, key: &CacheKey) -> usize {
    let _hold = shared.hold_below();
    let gone = shared.invalidate(key);
    shared.purge_below(Purge::Key(key.clone()));
    gone
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

/// The answer to PURGE: how many responses went, as a line of text. `Soft-Purge: 1` marks them stale instead, and the
/// tag fields of the request name tags to purge instead of the target.
pub(crate) fn purge<B>(shared: &Arc<Shared>, key: &CacheKey, request: &HeaderMap) -> Response<CacheBody<B>> {
    let is_soft = request.get("soft-purge").is_some_and(|value| value.as_bytes() == b"1");
    let mode = if is_soft { PurgeMode::MarkStale } else { PurgeMode::Remove };
    let tags = shared.words_of_tag_fields(request);
    let _hold = shared.hold_below();
    let purged: usize = if tags.is_empty() {
        let purged = shared.purge_key(key, mode);
        shared.purge_below(Purge::Key(key.clone()));
        purged
    } else {
        let purged = tags.iter().map(|tag| shared.purge_tag(tag, mode)).sum();
        tags.iter().for_each(|tag| shared.purge_below(Purge::Tag(tag.to_string())));
        purged
    };
    shared.counters.purged.fetch_add(purged as u64, Ordering::Relaxed);
    text(StatusCode::OK, format!("purged {purged}\n"))
}

/// The answer to PURGE from somebody who may not.
pub(crate) fn forbidden<B>() -> Response<CacheBody<B>> {
    text(StatusCode::FORBIDDEN, "PURGE is not allowed from here\n".to_owned())
}

fn text<B>(status: StatusCode, text: String) -> Response<CacheBody<B>> {
    let mut response = Response::new(CacheBody::chunks(VecDeque::from([Bytes::from(text)])));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
