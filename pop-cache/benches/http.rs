//! What the HTTP cache adds to a request that it answers: the engine's decision alone, and whole hits of the layer.
//!
//! ```sh
//! cargo bench -p pop-cache --features tower --bench http
//! ```
//!
//! That a hit allocates its copy of the stored fields and nothing else is a test (`tests/http_allocations.rs`). Peers
//! stand beside us in `benches/versus/edge`.
#![allow(missing_docs, reason = "criterion's macros make the functions")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use pop_cache::http::{CacheService, Exchange, HttpCache, Policy, RequestDirectives, Rules};
use tower_layer::Layer;
use tower_service::Service;

/// A body of at most one chunk.
#[derive(Debug, Default)]
struct Content(Option<Bytes>);

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

#[derive(Clone)]
struct Origin;

impl Service<Request<Content>> for Origin {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Content>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Content>) -> Self::Future {
        let mut response = Response::builder()
            .header("cache-control", "max-age=86400, stale-while-revalidate=60")
            .header("content-type", "text/html; charset=utf-8")
            .header("etag", "\"33a64df5\"")
            .header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")
            .header("server", "origin");
        if request.uri().path() == "/vary" {
            response = response.header("vary", "accept-encoding, accept-language");
        }
        ready(Ok(response.body(Content(Some(Bytes::from_static(&[b'x'; 1024])))).expect("valid")))
    }
}

/// Fields of a request.
type Fields = &'static [(&'static str, &'static str)];

/// A request as a browser sends it.
fn request(path: &str, own: Fields) -> Request<Content> {
    let mut request = Request::builder()
        .uri(path)
        .header("host", "www.example.org")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "en-US,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd");
    for (name, value) in own {
        request = request.header(*name, *value);
    }
    request.body(Content::default()).expect("valid")
}

/// The engine alone: a stored response's policy, and what it says to a request.
fn engine(criterion: &mut Criterion) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let mut response = HeaderMap::new();
    response.insert("cache-control", HeaderValue::from_static("max-age=60, stale-while-revalidate=10"));
    response.insert("vary", HeaderValue::from_static("accept-encoding"));
    let asked = request("/", &[("cache-control", "max-age=100")]);
    let exchange = Exchange {
        method: &Method::GET,
        request: asked.headers(),
        status: StatusCode::OK,
        response: &response,
        request_time: now,
        response_time: now,
    };
    let rules = Rules::default();
    let policy = Policy::new(&rules, &exchange);
    let selection = policy.vary().selection(asked.headers(), &response);
    let later = now + Duration::from_secs(5);
    let mut group = criterion.benchmark_group("engine");
    group.bench_function("policy of a response", |bencher| {
        bencher.iter(|| Policy::new(&rules, black_box(&exchange)));
    });
    group.bench_function("reuse", |bencher| {
        let directives = RequestDirectives::default();
        bencher.iter(|| black_box(&policy).reuse(&rules, black_box(&directives), later, None));
    });
    group.bench_function("selection, directives and reuse", |bencher| {
        bencher.iter(|| {
            let headers = black_box(asked.headers());
            let directives = RequestDirectives::parse(headers);
            selection.matches(headers).then(|| policy.reuse(&rules, &directives, later, None))
        });
    });
    group.finish();
}

/// Whole hits: the request is made outside, the answer is dropped outside.
fn layer(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let cache = HttpCache::builder(64 << 20).build().expect("a cache");
    let service = cache.layer().layer(Origin);
    let mut group = criterion.benchmark_group("layer");
    let cases: [(&str, &str, Fields); 5] = [
        ("hit", "/page", &[]),
        ("hit of a variant", "/vary", &[]),
        ("hit with directives", "/page", &[("cache-control", "max-age=600")]),
        ("not modified", "/page", &[("if-none-match", "\"33a64df5\"")]),
        ("range", "/page", &[("range", "bytes=0-99")]),
    ];
    for (name, path, fields) in cases {
        runtime.block_on(warm(&service, path));
        group.bench_function(name, |bencher| {
            let mut service = service.clone();
            bencher.iter_batched(
                || request(path, fields),
                |request| service.call(request),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    assert_eq!(cache.handle().stats().misses, 2, "everything else was a hit");
}

async fn warm(service: &CacheService<Origin>, path: &str) {
    let answer = service.clone().call(request(path, &[])).await.expect("an answer");
    let mut body = std::pin::pin!(answer.into_body());
    while std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await.is_some() {}
    tokio::task::yield_now().await;
}

criterion_group!(benches, engine, layer);
criterion_main!(benches);
