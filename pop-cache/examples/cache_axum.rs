//! In an axum handler: pages are rendered once, however many ask at the same time, and purged by tag.
//!
//! Runs a server on a free port of the loopback, asks it, and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use pop_cache::Cache;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
struct Site {
    /// A clone of a cache is a handle on the same one.
    pages: Cache<String, Arc<str>>,
    rendered: Arc<AtomicUsize>,
}

/// A page from the cache, or rendered by the first who asks. A page that does not exist is remembered for a while too.
async fn page(
    State(site): State<Site>,
    Path(name): Path<String>,
) -> Result<String, (StatusCode, &'static str)> {
    let render = |name: &String| {
        let (name, rendered) = (name.clone(), site.rendered.clone());
        async move {
            rendered.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            if name.starts_with('_') {
                return Err((StatusCode::NOT_FOUND, "no such page\n"));
            }
            Ok(Arc::from(format!("<h1>{name}</h1>\n")))
        }
    };
    site.pages.get_or_fetch(name, render).await.map(|page| page.to_string())
}

async fn purge(State(site): State<Site>, Path(name): Path<String>) -> StatusCode {
    if site.pages.remove(&name).is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn ask(request: &'static str, address: std::net::SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let head = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pages = Cache::builder(10 << 20)
        .weigher(|name: &String, page: &Arc<str>| (name.len() + page.len()) as u64)
        .time_to_live(Duration::from_secs(300))
        .error_time_to_live(Duration::from_secs(5))
        .build();
    let site = Site { pages, rendered: Arc::default() };
    let routes = Router::new().route("/{name}", get(page)).route("/{name}", delete(purge));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(axum::serve(listener, routes.with_state(site.clone())).into_future());

    let herd: Vec<_> = (0..50).map(|_| tokio::spawn(ask("GET /welcome", address))).collect();
    for answer in herd {
        assert!(answer.await??.ends_with("<h1>welcome</h1>\n"));
    }
    println!("50 asked, {} rendered", site.rendered.load(Ordering::Relaxed));
    assert_eq!(site.rendered.load(Ordering::Relaxed), 1);
    for _ in 0..3 {
        assert!(ask("GET /_secret", address).await?.starts_with("HTTP/1.1 404"));
    }
    assert_eq!(site.rendered.load(Ordering::Relaxed), 2);
    assert!(ask("DELETE /welcome", address).await?.starts_with("HTTP/1.1 204"));
    assert!(ask("GET /welcome", address).await?.contains("200 OK"));
    println!("{:?}", site.pages.stats());
    server.abort();
    Ok(())
}
