//! The cache as a layer of an axum router: handlers say how long their pages are fresh, and are called that seldom.
//!
//! Runs a server on a free port of the loopback, asks it, and ends.
//!
//! `cargo run -p pop-cache --features tower --example http_axum`

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use pop_cache::http::{FetchError, HttpCache, Purge, PurgeMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;

type Rendered = Arc<AtomicUsize>;

async fn page(State(rendered): State<Rendered>, Path(name): Path<String>) -> impl IntoResponse {
    rendered.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let fields = [
        (header::CACHE_CONTROL, "s-maxage=60, stale-while-revalidate=30"),
        (header::HeaderName::from_static("surrogate-key"), "pages"),
    ];
    (fields, format!("<h1>{name}</h1>\n"))
}

/// A handler does not fail; a fetch whose handler panicked does.
async fn failed(error: FetchError) -> (StatusCode, String) {
    (StatusCode::BAD_GATEWAY, format!("{error}\n"))
}

async fn ask(address: SocketAddr, path: &'static str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn status(answer: &str) -> &str {
    answer.lines().find_map(|line| line.strip_prefix("cache-status: ")).unwrap_or("-")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = HttpCache::builder(64 << 20).name("axum").build()?;
    let rendered = Rendered::default();
    let layers = ServiceBuilder::new().layer(HandleErrorLayer::new(failed)).layer(cache.layer());
    let routes = Router::new().route("/{name}", get(page)).with_state(Arc::clone(&rendered)).layer(layers);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(axum::serve(listener, routes).into_future());

    let herd: Vec<_> = (0..50).map(|_| tokio::spawn(ask(address, "/welcome"))).collect();
    for answer in herd {
        assert!(answer.await??.contains("<h1>welcome</h1>\n"));
    }
    println!("50 asked, {} rendered", rendered.load(Ordering::Relaxed));
    assert_eq!(rendered.load(Ordering::Relaxed), 1);
    let hit = ask(address, "/welcome").await?;
    println!("again:       {}", status(&hit));
    assert!(status(&hit).starts_with("axum; hit"), "{hit}");
    println!("purged {} by tag", cache.handle().purge(&Purge::Tag("pages".into()), PurgeMode::Remove));
    let miss = ask(address, "/welcome").await?;
    println!("after that:  {}", status(&miss));
    assert!(status(&miss).starts_with("axum; fwd=uri-miss"), "{miss}");
    assert_eq!(rendered.load(Ordering::Relaxed), 2);
    server.abort();
    Ok(())
}
