//! A shared cache in front of a service, without sockets: what each request does, as `Cache-Status` tells it.
//!
//! `cargo run -p pop-cache --features tower --example http_cache`

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response};
use pop_cache::http::{HttpCache, Purge, PurgeMode};
use tower_layer::Layer;
use tower_service::Service;

/// Any tower service of HTTP requests can stand here: a hyper client, an axum router.
#[derive(Clone)]
struct Origin;

impl Service<Request<String>> for Origin {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let tag = "\"v1\"";
        let is_held = request.headers().get("if-none-match").is_some_and(|own| own == tag);
        let response = Response::builder()
            .status(if is_held { 304 } else { 200 })
            .header("cache-control", "max-age=60, stale-while-revalidate=30")
            .header("surrogate-key", "pages")
            .header("etag", tag);
        let body = if is_held { String::new() } else { format!("the page at {}", request.uri().path()) };
        ready(Ok(response.body(body).expect("a response")))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = HttpCache::builder(64 << 20).name("example").build()?;
    let mut service = cache.layer().layer(Origin);
    let fresh = [("cache-control", "no-cache")];
    let part = [("range", "bytes=4-7")];
    let steps: [(&str, &[(&str, &str)]); 5] = [
        ("first", &[]),
        ("again", &[]),
        ("a part of it", &part),
        ("checked", &fresh),
        ("held", &[("if-none-match", "\"v1\"")]),
    ];
    for (what, fields) in steps {
        let mut request = Request::builder().uri("http://www.example.org/page");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        show(what, service.call(request.body(String::new())?).await?);
        // A fetch stores what it brings in a task of its own.
        tokio::task::yield_now().await;
    }
    let gone = cache.handle().purge(&Purge::Tag("pages".into()), PurgeMode::Remove);
    println!("purged {gone} by tag");
    show(
        "after that",
        service.call(Request::builder().uri("http://www.example.org/page").body(String::new())?).await?,
    );
    let stats = cache.handle().stats();
    println!("{} hits, {} misses, {} revalidated", stats.hits, stats.misses, stats.revalidated);
    assert_eq!((stats.hits, stats.misses, stats.revalidated), (3, 3, 1));
    Ok(())
}

fn show<B>(what: &str, response: Response<B>) {
    let status = response.headers().get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or("-");
    println!("{what:>12}: {} {status}", response.status().as_u16());
}
