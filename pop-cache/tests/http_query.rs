//! QUERY: cached by URI and content, replayed whenever the origin is asked, passed on where it is too long.

#![cfg(feature = "tower")]

mod http_support;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_support::{OriginBody, cache_status, chunks, read};
use pop_cache::http::{
    BoxError, CacheBody, Handle, HttpCache, MAX_QUERY_BYTES, Purge, PurgeMode, QueryService,
};
use tower_layer::Layer;
use tower_service::Service;

/// Content that says its length, or does not.
#[derive(Default)]
struct Content {
    bytes: Option<Bytes>,
    is_of_unknown_length: bool,
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes), is_of_unknown_length: false }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_of_unknown_length {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// Answers with what it was asked, and notes it.
#[derive(Clone)]
struct Echo {
    asked: Asked,
    directives: &'static str,
}

impl Service<Request<Content>> for Echo {
    type Response = Response<OriginBody>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<OriginBody>, BoxError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Content>) -> Self::Future {
        let content = request.body().bytes.clone().unwrap_or_default();
        let content = String::from_utf8_lossy(&content).into_owned();
        let is_same = request.headers().get("if-none-match").is_some_and(|tag| tag == "\"1\"");
        self.asked.lock().expect("no panic").push((request.method().to_string(), content.clone()));
        let response = Response::builder().header("cache-control", self.directives).header("etag", "\"1\"");
        let answer = format!("<{}>", &content[..content.len().min(20)]);
        std::future::ready(Ok(if is_same {
            response.status(304).body(chunks(&[])).expect("a response")
        } else {
            response.body(chunks(&[&answer])).expect("a response")
        }))
    }
}

struct Edge {
    service: QueryService<Echo>,
    handle: Handle,
    asked: Asked,
    clock: Arc<Mutex<SystemTime>>,
}

impl Edge {
    fn new(directives: &'static str) -> Self {
        let clock = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
        let hand = Arc::clone(&clock);
        let cache = HttpCache::builder(1 << 20)
            .clock(move || *hand.lock().expect("no panic"))
            .build()
            .expect("a cache");
        let asked = Asked::default();
        let service = cache.query_layer().layer(Echo { asked: Arc::clone(&asked), directives });
        Self { service, handle: cache.handle(), asked, clock }
    }

    async fn send(&self, method: &str, content: Content, kind: &str) -> Response<CacheBody<OriginBody>> {
        let request =
            Request::builder().method(method).uri("http://test.example/search").header("content-type", kind);
        self.service.clone().call(request.body(content).expect("a request")).await.expect("an answer")
    }

    /// The answer to a QUERY and what `Cache-Status` says of it.
    async fn query(&self, content: &str) -> (String, String) {
        let content = Bytes::copy_from_slice(content.as_bytes());
        let answer = self.send("QUERY", content.into(), "text/plain").await;
        let status = cache_status(&answer);
        (String::from_utf8(read(answer).await.expect("whole")).expect("text"), status)
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("no panic").len()
    }
}

#[tokio::test]
async fn the_content_is_part_of_the_key_and_reaches_the_origin() {
    let edge = Edge::new("max-age=60");
    for content in ["one", "two", ""] {
        let (text, status) = edge.query(content).await;
        assert_eq!(text, format!("<{content}>"));
        assert!(status.contains("fwd=uri-miss") && status.ends_with("; stored"), "{status}");
        assert_eq!(edge.query(content).await, (format!("<{content}>"), "pop; hit; ttl=60".to_owned()));
    }
    let seen = edge.asked.lock().expect("no panic").clone();
    assert_eq!(seen, ["one", "two", ""].map(|content| ("QUERY".to_owned(), content.to_owned())));
    let other = edge.send("QUERY", Bytes::from_static(b"one").into(), "application/json").await;
    assert!(
        cache_status(&other).contains("fwd=uri-miss"),
        "the same bytes of another kind are another question"
    );
}

#[tokio::test]
async fn what_answers_a_query_answers_no_get() {
    let edge = Edge::new("max-age=60");
    edge.query("").await;
    let get = edge.send("GET", Content::default(), "text/plain").await;
    assert!(cache_status(&get).contains("fwd=uri-miss"));
    read(get).await.expect("whole");
    let get = edge.send("GET", Content::default(), "text/plain").await;
    assert_eq!(cache_status(&get), "pop; hit; ttl=60");
}

#[tokio::test]
async fn a_revalidation_has_the_content_again() {
    let edge = Edge::new("max-age=60");
    edge.query("question").await;
    *edge.clock.lock().expect("no panic") += Duration::from_secs(61);
    let (text, status) = edge.query("question").await;
    assert_eq!(text, "<question>");
    assert_eq!(status, "pop; fwd=stale; fwd-status=304; ttl=60; stored");
    assert!(edge.asked.lock().expect("no panic").iter().all(|(_, content)| content == "question"));
}

#[tokio::test]
async fn content_that_is_long_or_of_unknown_length_is_passed_on() {
    let edge = Edge::new("max-age=60");
    let long = || Content::from(Bytes::from(vec![b'x'; MAX_QUERY_BYTES as usize + 1]));
    let unknown = || Content { is_of_unknown_length: true, ..Bytes::from_static(b"short").into() };
    // Within the bound, but not as a key.
    let binary = || Content::from(Bytes::from(vec![0_u8; MAX_QUERY_BYTES as usize]));
    for content in [&long as &dyn Fn() -> Content, &unknown, &binary] {
        let before = edge.asked();
        for _ in 0..2 {
            let answer = edge.send("QUERY", content(), "text/plain").await;
            assert!(!cache_status(&answer).contains("hit"));
            assert!(read(answer).await.expect("whole").len() > 2, "the origin saw the content");
        }
        assert_eq!(edge.asked(), before + 2);
    }
    let longest = || Content::from(Bytes::from(vec![b'x'; MAX_QUERY_BYTES as usize]));
    read(edge.send("QUERY", longest(), "text/plain").await).await.expect("whole");
    assert_eq!(cache_status(&edge.send("QUERY", longest(), "text/plain").await), "pop; hit; ttl=60");
}

#[tokio::test]
async fn writes_and_purges_of_the_uri_reach_the_answers_to_its_queries() {
    let edge = Edge::new("max-age=60");
    let key = edge
        .handle
        .explain(
            &http::Method::GET,
            &"http://test.example/search".parse().expect("a URI"),
            &http::HeaderMap::new(),
        )
        .expect("a key")
        .key;
    for round in 0..3 {
        edge.query("one").await;
        assert_eq!(edge.query("one").await.1, "pop; hit; ttl=60");
        match round {
            0 => drop(edge.send("POST", Content::default(), "text/plain").await),
            1 => drop(edge.handle.purge(&Purge::Key(key.clone()), PurgeMode::Remove)),
            _ => drop(edge.handle.purge(&Purge::Prefix("http://test.example/s".into()), PurgeMode::Remove)),
        }
        assert!(edge.query("one").await.1.contains("fwd=uri-miss"), "round {round}");
    }
}

#[tokio::test]
async fn what_says_no_store_is_not_stored() {
    let edge = Edge::new("no-store");
    edge.query("one").await;
    assert!(edge.query("one").await.1.contains("detail=no-store"));
    assert_eq!(edge.asked(), 2);
}
