//! What the HTTP programs share: an origin that answers with a page, and a plain map to compare with.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::{AGE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

/// The fields of an ordinary static page, eleven of them.
pub fn page(bytes: usize) -> Response<Full<Bytes>> {
    Response::builder()
        .header("content-type", "text/html; charset=utf-8")
        .header("cache-control", "public, max-age=86400")
        .header("etag", "\"5f2c-61c0e9f4a7b40\"")
        .header("last-modified", "Sat, 01 Jun 2024 10:00:00 GMT")
        .header("date", "Sat, 01 Jun 2030 10:00:00 GMT")
        .header("vary", "accept-encoding")
        .header("content-length", bytes)
        .header("accept-ranges", "bytes")
        .header("server", "origin")
        .header("x-content-type-options", "nosniff")
        .header("strict-transport-security", "max-age=63072000")
        .body(Full::new(Bytes::from(vec![b'x'; bytes])))
        .expect("a response")
}

/// An origin that answers everything with a page.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The length of its page.
    pub bytes: usize,
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(page(self.bytes)))
    }
}

/// The least that a cache can do: look the target up, copy the stored fields, say how old they are.
#[derive(Clone, Debug)]
pub struct LookUp {
    stored: Arc<HashMap<String, (HeaderMap, Bytes, Instant)>>,
}

impl LookUp {
    pub fn new(target: &str, bytes: usize) -> Self {
        let (head, _) = page(bytes).into_parts();
        let mut headers = head.headers;
        headers.insert(AGE, HeaderValue::from_static("0"));
        let body = Bytes::from(vec![b'x'; bytes]);
        Self { stored: Arc::new(HashMap::from([(target.to_owned(), (headers, body, Instant::now()))])) }
    }

    pub fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let Some((headers, body, stored)) = self.stored.get(request.uri().path()) else {
            // An empty page would be a fast one, and its figure that of another load.
            let mut missing = Response::new(Full::default());
            *missing.status_mut() = StatusCode::NOT_FOUND;
            return missing;
        };
        let mut response = Response::new(Full::new(body.clone()));
        *response.headers_mut() = headers.clone();
        if let Some(age) = response.headers_mut().get_mut(AGE) {
            *age = HeaderValue::from(stored.elapsed().as_secs());
        }
        response
    }
}

/// A request as a browser sends it.
pub fn request<B>(body: B) -> Request<B> {
    Request::builder()
        .uri("/index.html")
        .header("host", "www.example.org")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "en-US,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("connection", "keep-alive")
        .body(body)
        .expect("a request")
}
