//! A client in a city: asks DNS with its subnet, connects from an address of its own, and feels the distance.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// No single step of the demo takes longer; one that does has failed.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// One fetch, as the client saw it.
#[derive(Debug)]
pub struct Fetched {
    pub status: StatusCode,
    pub cache_status: String,
    pub size_bytes: usize,
    pub body: String,
    /// From the first packet to the last byte, the simulated WAN included.
    pub elapsed: Duration,
}

impl Fetched {
    pub fn is_hit(&self) -> bool {
        self.cache_status.split(';').any(|parameter| parameter.trim() == "hit")
    }

    pub fn millis(&self) -> u128 {
        self.elapsed.as_millis()
    }
}

/// The source address of a client of city `city`: all of 127/8 is this machine, so every client can have its own.
pub fn source(city: usize) -> IpAddr {
    let third = u8::try_from(city).expect("fewer cities than a third octet holds");
    IpAddr::V4(Ipv4Addr::new(127, 18, third, 1))
}

/// The source address of one of a crowd of clients in a city.
pub fn member(city: usize, member: usize) -> IpAddr {
    let octet = |number: usize| u8::try_from(number).expect("crowds are small");
    IpAddr::V4(Ipv4Addr::new(127, 19, octet(city), octet(member + 1)))
}

/// Fetches `http://host/path` from `server`, which is `rtt` away: one round trip to connect, one to ask.
///
/// # Errors
/// Whatever the connection met; a step that takes over five seconds is `TimedOut`.
pub async fn get(
    source: Option<IpAddr>,
    server: SocketAddr,
    host: &str,
    path: &str,
    rtt: Duration,
) -> io::Result<Fetched> {
    timeout(PATIENCE, fetch(source, server, host, path, rtt))
        .await
        .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

async fn fetch(
    source: Option<IpAddr>,
    server: SocketAddr,
    host: &str,
    path: &str,
    rtt: Duration,
) -> io::Result<Fetched> {
    let started = Instant::now();
    tokio::time::sleep(rtt).await;
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, host)
        .body(Empty::<bytes::Bytes>::new())
        .map_err(io::Error::other)?;
    tokio::time::sleep(rtt).await;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let elapsed = started.elapsed();
    driver.abort();
    let cache_status =
        head.headers.get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(Fetched {
        status: head.status,
        cache_status: cache_status.to_owned(),
        size_bytes: body.len(),
        body: String::from_utf8_lossy(&body).lines().next().unwrap_or_default().to_owned(),
        elapsed,
    })
}
