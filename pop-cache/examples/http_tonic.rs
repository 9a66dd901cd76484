//! The cache as a layer of a tonic server: gRPC, which is POST, goes through it untouched, trailers and all, and what is
//! asked for by GET beside it is cached.
//!
//! Runs a server on a free port of the loopback, asks it over HTTP/2, and ends.
//!
//! `cargo run -p pop-cache --features tower --example http_tonic`

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use pop_cache::http::HttpCache;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower_service::Service;

/// A message of gRPC: not compressed, its length, itself.
fn message(content: &[u8]) -> Bytes {
    let length = u32::try_from(content.len()).expect("a small message");
    [&[0], &length.to_be_bytes()[..], content].concat().into()
}

/// An answer of gRPC: a message, then its status as a trailer.
struct Answer(Option<Bytes>, Option<HeaderMap>);

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.0.take().map(Frame::data).or_else(|| self.1.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }
}

/// What tonic's generator makes of a service with one call, written out: says hello, whatever it is told.
#[derive(Clone, Default)]
struct Hello {
    calls: Arc<AtomicUsize>,
}

impl NamedService for Hello {
    const NAME: &'static str = "example.Hello";
}

impl Service<Request<Body>> for Hello {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let status = HeaderValue::from_static("0");
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), status)]);
        let answer = Answer(Some(message(format!("hello {call}").as_bytes())), Some(trailers));
        let response = Response::builder().header("content-type", "application/grpc");
        ready(Ok(response.body(Body::new(answer)).expect("fields that are fields")))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = HttpCache::builder(64 << 20).name("tonic").build()?;
    let rendered = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&rendered);
    let page = move || {
        count.fetch_add(1, Ordering::Relaxed);
        ready(([("cache-control", "max-age=60")], "a page\n"))
    };
    let router =
        Routes::new(Hello::default()).prepare().into_axum_router().route("/page", axum::routing::get(page));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder().layer(cache.layer()).add_routes(Routes::from(router));
    let server = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    for number in 1..=2 {
        let call = Request::post(format!("http://{address}/example.Hello/Say"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let answer = client.request(call.body(Full::new(message(b"hi")))?).await?;
        println!("gRPC: {}", answer.headers()["cache-status"].to_str()?);
        let answer = answer.into_body().collect().await?;
        assert_eq!(
            answer.trailers().and_then(|trailers| trailers.get("grpc-status")).expect("a status"),
            "0"
        );
        assert_eq!(answer.to_bytes(), message(format!("hello {number}").as_bytes()), "each call is a call");
    }
    for _ in 0..2 {
        let ask = Request::get(format!("http://{address}/page")).body(Full::default())?;
        let answer = client.request(ask).await?;
        println!("page: {}", answer.headers()["cache-status"].to_str()?);
        assert_eq!(answer.into_body().collect().await?.to_bytes(), "a page\n");
    }
    assert_eq!(rendered.load(Ordering::Relaxed), 1);
    server.abort();
    Ok(())
}
