//! A limiter in front of an axum application: `cargo run -p pop-ratelimit --example limit_axum --all-features`.
//!
//! It starts a server on loopback, asks it a few times, and prints what a client sees. `--hold` keeps it up for curl.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use pop_ratelimit::Quota;
use pop_ratelimit::http::{ForwardingField, TrustedProxies};
use pop_ratelimit::tower::RateLimitLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Our own proxies would be listed here; from anybody else, X-Forwarded-For means nothing.
    let proxies = TrustedProxies::new(ForwardingField::XForwardedFor, [("10.0.0.0".parse()?, 8)])?;
    let client = move |head: &pop_ratelimit::tower::RequestHead<'_>| {
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(proxies.client(peer.0.ip(), head.headers))
    };
    let layer = RateLimitLayer::new(client, 1 << 20)
        .quota("default", Quota::per_second(5).burst(10))?
        .route("/search", "search", Quota::per_minute(2))?;
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/search", get(|| async { "found\n" }))
        .layer(layer);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>());
    if std::env::args().any(|argument| argument == "--hold") {
        println!("curl -i http://{address}/search");
        return Ok(server.await?);
    }
    let server = tokio::spawn(server.into_future());
    for _ in 0..3 {
        let answer = ask(address, "/search").await?;
        println!("{answer}\n");
    }
    server.abort();
    Ok(())
}

async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
