//! The cache in front of a hyper client: what one program asks of others is fetched once, revalidated, and stands in
//! when they fail.
//!
//! Runs an origin on a free port of the loopback, asks it through the cache, takes it away, and ends.
//!
//! `cargo run -p pop-cache --features tower --example http_hyper`

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pop_cache::http::{HttpCache, Purge, PurgeMode, Rules};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_layer::Layer;
use tower_service::Service;

/// Answers with a tag, and with 304 to whoever has it.
fn origin(request: &Request<Incoming>, asked: &AtomicUsize) -> Response<Full<Bytes>> {
    asked.fetch_add(1, Ordering::Relaxed);
    let is_held = request.headers().get("if-none-match").is_some_and(|own| own == "\"v1\"");
    let status = if is_held { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let body = if is_held { Full::default() } else { Full::from("what was asked for") };
    let response =
        Response::builder().status(status).header("cache-control", "max-age=60").header("etag", "\"v1\"");
    response.body(body).expect("fields that are fields")
}

async fn serve(listener: TcpListener, asked: Arc<AtomicUsize>) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let asked = Arc::clone(&asked);
        connections.spawn(async move {
            let answer = |request| {
                let response = origin(&request, &asked);
                async move { Ok::<_, Infallible>(response) }
            };
            let _closed =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let asked = Arc::<AtomicUsize>::default();
    let server = tokio::spawn(serve(listener, Arc::clone(&asked)));

    // Stale answers are served for ten minutes while nobody answers, which a cache may (RFC 9111 §4.2.4).
    let rules = Rules { stale_if_disconnected: Duration::from_secs(600), ..Rules::default() };
    let cache = HttpCache::builder(64 << 20).name("hyper").rules(rules).build()?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut service = cache.layer().layer(client);
    let mut get = async |what: &str, path: &str| -> Result<String, Box<dyn std::error::Error>> {
        let request = Request::builder().uri(format!("http://{address}{path}")).body(Full::default())?;
        let response = service.call(request).await?;
        let status = response.headers()["cache-status"].to_str()?.to_owned();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        assert_eq!(body, "what was asked for");
        println!("{what:>12}: {status}");
        Ok(status)
    };

    assert!(get("first", "/").await?.contains("stored"));
    assert!(get("again", "/").await?.starts_with("hyper; hit"));
    cache.handle().purge(&Purge::All, PurgeMode::MarkStale);
    assert!(get("marked stale", "/").await?.contains("fwd-status=304"));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    cache.handle().purge(&Purge::All, PurgeMode::MarkStale);
    server.abort();
    let _aborted = server.await;
    assert!(get("origin gone", "/").await?.contains("detail=stale-if-error"));
    Ok(())
}
