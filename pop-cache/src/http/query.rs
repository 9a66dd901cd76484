//! QUERY (RFC 10008): a safe request whose content is part of the key.
//!
//! The content must be known before the store can be asked, and must be there again for every request that the cache
//! makes for the client. So it is read first, within a bound, and travels beside the request as an extension; what
//! reaches the origin has it as its body again. A QUERY with more content than that, or of unknown length, is passed on.
//!
//! Answers to QUERY lie in memory under keys of their own: the URI, a random name, and the content with the fields that
//! say how to read it. Invalidating the URI forgets the name, and with it all of them at once.

use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::BoxError;
use super::cache::{RequestHead, Shared};
use super::fetch::FetchError;
use super::key::{CacheKey, MAX_KEY_BYTES};
use super::service::{CacheFuture, CacheLayer, CacheService};
use crate::Cache;

/// The content of a QUERY is read up to this many bytes; one with more is passed on. Escapes included it must fit into a
/// key.
pub const MAX_QUERY_BYTES: u64 = 8 * 1024;

/// At most this many URIs are remembered to have answers to QUERY stored.
pub const MAX_QUERIED_URIS: u64 = 16_384;

/// The content of a QUERY, as an extension of its request.
#[derive(Clone, Debug)]
pub(crate) struct QueryContent(Bytes);

/// The names of the URIs that have answers to QUERY.
pub(crate) type Queried = Cache<CacheKey, u64>;

pub(crate) fn queried() -> Queried {
    Cache::builder(MAX_QUERIED_URIS).build()
}

/// Whether this is a QUERY whose content has been read.
pub(crate) fn is_query(head: &RequestHead<'_>) -> bool {
    head.method.as_str() == "QUERY" && head.extensions.get::<QueryContent>().is_some()
}

impl Shared {
    /// The key of a QUERY to the URI of `key`; `None` if it would be too long.
    pub(crate) fn query_key(&self, key: &CacheKey, head: &RequestHead<'_>) -> Option<CacheKey> {
        let QueryContent(content) = head.extensions.get()?;
        let name = self.queried.get(key.as_str()).unwrap_or_else(|| {
            let name = self.new_name();
            // Of two that come at once one may be lost: what is stored under its name is not found.
            let _refused = self.queried.insert(key.clone(), name);
            name
        });
        let mut text = format!("{}#{name:x}", key.as_str());
        for field in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
            text.push('\n');
            push_lines(&mut text, head.headers, &field);
        }
        text.push('\n');
        push_escaped(&mut text, content);
        (text.len() <= MAX_KEY_BYTES).then(|| CacheKey::from_raw(text))
    }
}

fn push_lines(text: &mut String, headers: &HeaderMap, field: &HeaderName) {
    for (at, line) in headers.get_all(field).iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        push_escaped(text, line.as_bytes());
    }
}

/// Visible ASCII and spaces as they are, everything else as escapes: nothing that is read differently looks the same.
fn push_escaped(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            text.push(byte as char);
        } else {
            let digit = |value: u8| DIGITS[usize::from(value)] as char;
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// As [`CacheLayer`], and QUERY is cached too. Made by [`HttpCache::query_layer`](super::HttpCache::query_layer).
#[derive(Clone, Debug)]
pub struct QueryLayer {
    layer: CacheLayer,
}

impl QueryLayer {
    pub(crate) fn new(layer: CacheLayer) -> Self {
        Self { layer }
    }
}

impl<S> Layer<S> for QueryLayer {
    type Service = QueryService<S>;

    fn layer(&self, inner: S) -> QueryService<S> {
        QueryService { cache: self.layer.layer(Replay { inner }) }
    }
}

/// A service behind a shared cache that caches QUERY too. What holds for [`CacheService`] holds for it; besides, its
/// request body must be made of bytes.
#[derive(Clone, Debug)]
pub struct QueryService<S> {
    cache: CacheService<Replay<S>>,
}

impl<S> QueryService<S> {
    /// The same cache before the same service for requests that are no QUERY: those need no body to be read, and can be
    /// looked up without being taken.
    #[must_use]
    pub fn cache(&self) -> &CacheService<Replay<S>> {
        &self.cache
    }
}

impl<S, B, B2> Service<Request<B>> for QueryService<S>
where
    S: Service<Request<B>, Response = Response<B2>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Body + Default + From<Bytes> + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError> + Send,
    B2: Body<Data = Bytes> + Send + 'static,
    B2::Error: Into<BoxError> + Send,
{
    type Response = Response<super::body::CacheBody<B2>>;
    type Error = FetchError;
    type Future = CacheFuture<B2>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), FetchError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> CacheFuture<B2> {
        let is_short = request.body().size_hint().upper().is_some_and(|bytes| bytes <= MAX_QUERY_BYTES);
        if request.method().as_str() != "QUERY" || !is_short {
            return self.cache.call(request);
        }
        let mut cache = self.cache.clone();
        CacheFuture::later(async move {
            let (mut parts, body) = request.into_parts();
            let content = read(body).await.map_err(FetchError::origin)?;
            parts.extensions.insert(QueryContent(content));
            cache.call(Request::from_parts(parts, B::default())).await
        })
    }
}

/// Reads a body whose length is known to be within the bound.
async fn read<B>(body: B) -> Result<Bytes, BoxError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(body);
    let mut content = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else { continue };
        if (content.len() + data.remaining()) as u64 > MAX_QUERY_BYTES {
            return Err("the content is longer than it was said to be".into());
        }
        let mut data = data;
        while data.has_remaining() {
            let chunk = data.chunk();
            content.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Ok(content.freeze())
}

/// Gives a QUERY its content back before it goes to the origin.
#[derive(Clone, Debug)]
pub struct Replay<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Replay<S>
where
    S: Service<Request<B>>,
    B: From<Bytes>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if *request.method() != Method::GET
            && let Some(QueryContent(content)) = request.extensions_mut().remove()
        {
            *request.body_mut() = B::from(content);
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_looks_different() {
        let escaped = |bytes: &[u8]| {
            let mut text = String::new();
            push_escaped(&mut text, bytes);
            text
        };
        assert_eq!(escaped(b"{\"a\": 1}"), "{\"a\": 1}");
        assert_eq!(escaped(b"a%0A\n\xff\0"), "a%250A%0A%FF%00");
        let all: std::collections::HashSet<_> = (0..=255_u8).map(|byte| escaped(&[byte])).collect();
        assert_eq!(all.len(), 256);
    }
}
