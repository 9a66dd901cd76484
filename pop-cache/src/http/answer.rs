//! Making answers out of what is stored or under way (RFC 9111 §4, RFC 9110 §13, §14, §15.3.7, §15.4.5).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue,
};
use http::{HeaderMap, Method, Response, StatusCode};

use super::body::CacheBody;
use super::flight::LiveHead;
use super::range::{ByteRange, ContentRange, Ranges, Resolved};
use super::status::CacheStatus;
use super::stored::Stored;
use super::validation::{self, Precondition};

/// What an answer is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// The cache's name in `Cache-Status`.
    pub(crate) name: &'a str,
}

/// The answer to a GET without conditions and ranges from a whole, fresh response.
pub(crate) fn plain<B>(stored: &Arc<Stored>, age: u64, ttl: u64, name: &str) -> Response<CacheBody<B>> {
    let body = match stored.body.complete() {
        Some(length) if length > 0 => {
            CacheBody::stored(&stored.body, ByteRange { first: 0, last: length - 1 })
        }
        _ => CacheBody::empty(),
    };
    let mut response = Response::new(body.with_hit(i64::try_from(ttl).unwrap_or(i64::MAX)));
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.hit_headers(age, ttl, name);
    response
}

/// The answer from a stored response: the client's conditions first, then its range.
pub(crate) fn from_stored<B>(
    stored: &Arc<Stored>,
    asked: Asked<'_>,
    age: Duration,
    status: CacheStatus,
) -> Response<CacheBody<B>> {
    let mut headers = stored.answer_headers(age, status.to_value(asked.name));
    let condition =
        validation::precondition(asked.headers, stored.status, &stored.headers, stored.policy.response_time);
    if condition == Precondition::NotModified {
        return not_modified(headers, status);
    }
    if asked.method == Method::HEAD {
        return response(stored.status, headers, CacheBody::empty(), status);
    }
    if stored.status == StatusCode::OK
        && let Some(ranges) = Ranges::parse(asked.headers)
        && validation::if_range_holds(asked.headers, &stored.headers)
    {
        let complete = stored.body.complete();
        match ranges.resolve(complete.unwrap_or(u64::MAX)) {
            // Several parts of a sliced representation would have to be gathered first: it is sent as a whole.
            Resolved::Parts(parts) if parts.len() > 1 && stored.body.slices().is_some() => {}
            Resolved::Parts(parts) => return partial(stored, &parts, headers, status),
            Resolved::Unsatisfiable if stored.is_whole || stored.body.slices().is_some() => {
                let value = format!("bytes */{}", complete.unwrap_or(0));
                headers.insert(CONTENT_RANGE, HeaderValue::try_from(value).expect("visible ASCII"));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
                return response(StatusCode::RANGE_NOT_SATISFIABLE, headers, CacheBody::empty(), status);
            }
            Resolved::Unsatisfiable | Resolved::Whole => {}
        }
    }
    let body = match stored.body.complete() {
        Some(length) if length > 0 => body_of(stored, ByteRange { first: 0, last: length - 1 }),
        _ => CacheBody::empty(),
    };
    response(stored.status, headers, body, status)
}

fn body_of<B>(stored: &Stored, range: ByteRange) -> CacheBody<B> {
    match stored.body.slices() {
        None => CacheBody::stored(&stored.body, range),
        Some(slices) => CacheBody::sliced(&stored.body, slices, range),
    }
}

/// Whether a stored response has all the bytes that a request asks for.
pub(crate) fn suffices(stored: &Stored, headers: &HeaderMap) -> bool {
    if stored.is_whole || stored.body.slices().is_some() {
        return true;
    }
    // Without a strong validator nobody could tell which representation the part is of, but `Range` alone asks for
    // no more than the response that is stored for the URI.
    let range =
        Ranges::parse(headers).and_then(|ranges| ranges.sole(stored.body.complete().unwrap_or(u64::MAX)));
    range.is_some_and(|range| stored.body.covers(range))
        && validation::if_range_holds(headers, &stored.headers)
}

fn partial<B>(
    stored: &Arc<Stored>,
    parts: &[ByteRange],
    mut headers: HeaderMap,
    status: CacheStatus,
) -> Response<CacheBody<B>> {
    let complete = stored.body.complete();
    let body = match parts {
        [range] => {
            headers.insert(CONTENT_RANGE, ContentRange { range: *range, complete }.to_value());
            headers.insert(CONTENT_LENGTH, HeaderValue::from(range.length()));
            body_of(stored, *range)
        }
        parts => {
            let (boundary, chunks) = multipart(stored, parts, headers.get(CONTENT_TYPE));
            let length: usize = chunks.iter().map(Bytes::len).sum();
            let kind = format!("multipart/byteranges; boundary={boundary}");
            headers.insert(CONTENT_TYPE, HeaderValue::try_from(kind).expect("visible ASCII"));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            CacheBody::chunks(chunks)
        }
    };
    response(StatusCode::PARTIAL_CONTENT, headers, body, status)
}

/// The parts of a `multipart/byteranges` body (RFC 9110 §14.6). The boundary is random, so that no content holds it.
fn multipart(stored: &Stored, parts: &[ByteRange], kind: Option<&HeaderValue>) -> (String, VecDeque<Bytes>) {
    let boundary = format!("{:032x}", u128::from(random()) << 64 | u128::from(random()));
    let mut chunks = VecDeque::new();
    for range in parts {
        let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
        if let Some(kind) = kind {
            head.extend_from_slice(b"Content-Type: ");
            head.extend_from_slice(kind.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        let place = ContentRange { range: *range, complete: stored.body.complete() }.to_value();
        head.extend_from_slice(b"Content-Range: ");
        head.extend_from_slice(place.as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        chunks.push_back(Bytes::from(head));
        chunks.extend(stored.body.chunks(*range));
    }
    chunks.push_back(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    (boundary, chunks)
}

fn random() -> u64 {
    // Each state is seeded anew from the system.
    ahash::RandomState::new().hash_one(0_u8)
}

pub(crate) fn not_modified<B>(mut headers: HeaderMap, status: CacheStatus) -> Response<CacheBody<B>> {
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE] {
        headers.remove(name);
    }
    response(StatusCode::NOT_MODIFIED, headers, CacheBody::empty(), status)
}

/// The answer from a response whose body is under way; `None` if its beginning is gone.
pub(crate) fn from_live<B>(
    head: &LiveHead,
    asked: Asked<'_>,
    now: SystemTime,
    status: CacheStatus,
) -> Option<Response<CacheBody<B>>> {
    let mut headers = head.headers.clone();
    let age = head.policy.age(now);
    if age >= Duration::from_secs(1) || headers.contains_key(AGE) {
        headers.insert(AGE, HeaderValue::from(age.as_secs()));
    }
    status.append_to(&mut headers, asked.name);
    let condition =
        validation::precondition(asked.headers, head.status, &head.headers, head.policy.response_time);
    if condition == Precondition::NotModified {
        return Some(not_modified(headers, status));
    }
    if head.status == StatusCode::OK
        && let Some(length) = head.length
        && validation::if_range_holds(asked.headers, &head.headers)
        && let Some(range) = Ranges::parse(asked.headers).and_then(|ranges| ranges.sole(length))
    {
        headers.insert(CONTENT_RANGE, ContentRange { range, complete: head.length }.to_value());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(range.length()));
        let body = CacheBody::live(head.body.reader(Some(range))?, Some(range.length()));
        return Some(response(StatusCode::PARTIAL_CONTENT, headers, body, status));
    }
    let body = CacheBody::live(head.body.reader(None)?, head.length);
    Some(response(head.status, headers, body, status))
}

/// The origin's own response, passed on.
pub(crate) fn from_origin<B>(
    origin: Response<B>,
    name: &str,
    mut status: CacheStatus,
) -> Response<CacheBody<B>> {
    let (mut head, body) = origin.into_parts();
    status.forward_status = Some(head.status);
    status.append_to(&mut head.headers, name);
    Response::from_parts(head, CacheBody::origin(body).with_status(status))
}

/// 504: `only-if-cached`, and nothing stored that may be used (RFC 9111 §5.2.1.7).
pub(crate) fn gateway_timeout<B>(name: &str, status: CacheStatus) -> Response<CacheBody<B>> {
    let mut headers = HeaderMap::new();
    status.append_to(&mut headers, name);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    response(StatusCode::GATEWAY_TIMEOUT, headers, CacheBody::empty(), status)
}

pub(crate) fn response<B>(
    status: StatusCode,
    headers: HeaderMap,
    body: CacheBody<B>,
    cache: CacheStatus,
) -> Response<CacheBody<B>> {
    let mut response = Response::new(body.with_status(cache));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
