//! The origin: one small site, far away from most users, that counts what it is asked and can be switched off.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::geography::{ORIGIN_ADDRESS, POPS};

/// How long the page that everybody wants at once takes to make.
const LAUNCH_RENDER: Duration = Duration::from_millis(150);

/// An origin with one port a PoP, so that each request travels as far as its PoP is away, and one more port at no
/// distance for clients that come directly (they bring their own distance).
#[derive(Debug)]
pub struct Origin {
    addresses: Vec<SocketAddr>,
    fetches: Arc<Mutex<HashMap<String, u64>>>,
    servers: JoinSet<()>,
}

impl Origin {
    /// Binds one free port a PoP, and the direct one.
    ///
    /// # Errors
    /// When an address cannot be bound; the error names it.
    pub async fn start(address: IpAddr) -> io::Result<Self> {
        let mut origin = Self { addresses: Vec::new(), fetches: Arc::default(), servers: JoinSet::new() };
        for index in 0..=POPS.len() {
            let listener = bind(SocketAddr::new(address, 0)).await?;
            origin.addresses.push(listener.local_addr()?);
            let distance = POPS.get(index).map_or(0, |pop| pop.origin_rtt_millis);
            origin.serve(listener, Duration::from_millis(distance));
        }
        Ok(origin)
    }

    /// Where PoP `index` finds the origin.
    pub fn for_pop(&self, index: usize) -> SocketAddr {
        self.addresses[index]
    }

    /// Where a client without a PoP finds it.
    pub fn direct(&self) -> SocketAddr {
        self.addresses[POPS.len()]
    }

    /// How often `path` was fetched from all PoPs together.
    pub fn fetches(&self, path: &str) -> u64 {
        self.fetches.lock().expect("no holder of this lock panics").get(path).copied().unwrap_or(0)
    }

    /// Pulls the plug: every listener and every connection is gone, connects are refused.
    pub async fn stop(&mut self) {
        self.servers.shutdown().await;
    }

    /// Back on the same ports.
    ///
    /// # Errors
    /// When somebody else took a port meanwhile.
    pub async fn restart(&mut self) -> io::Result<()> {
        for (index, &address) in self.addresses.clone().iter().enumerate() {
            let distance = POPS.get(index).map_or(0, |pop| pop.origin_rtt_millis);
            self.serve(bind(address).await?, Duration::from_millis(distance));
        }
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener, distance: Duration) {
        let fetches = Arc::clone(&self.fetches);
        self.servers.spawn(async move {
            // Dropped with this task, and with it every connection it accepted.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let fetches = Arc::clone(&fetches);
                connections.spawn(async move {
                    let service = service_fn(|request| answer(request, distance, &fetches));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
    }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot bind {address}: {error}"));
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).map_err(named)?;
    socket.listen(1024).map_err(named)
}

/// The origin's own address, or the one that loopback has.
pub fn address(own_addresses: bool) -> IpAddr {
    if own_addresses { ORIGIN_ADDRESS } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

async fn answer(
    request: Request<Incoming>,
    distance: Duration,
    fetches: &Mutex<HashMap<String, u64>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    tokio::time::sleep(distance).await;
    let page = PAGES.iter().find(|page| page.path == path);
    if page.is_some_and(|page| page.slow) {
        tokio::time::sleep(LAUNCH_RENDER).await;
    }
    let version = {
        let mut fetches = fetches.lock().expect("no holder of this lock panics");
        let count = fetches.entry(path.clone()).or_insert(0);
        *count += 1;
        *count
    };
    let Some(page) = page else {
        return Ok(Response::builder().status(404).body(Full::default()).expect("a constant head is valid"));
    };
    let body = format!("{path}, rendered {version} times so far\n{}", "x".repeat(page.size_bytes));
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CACHE_CONTROL, page.cache_control)
        .header("surrogate-key", page.tags)
        .header(header::ETAG, format!("\"{version}\""))
        .body(Full::from(body))
        .expect("a constant head is valid"))
}

struct Page {
    path: &'static str,
    cache_control: &'static str,
    tags: &'static str,
    size_bytes: usize,
    slow: bool,
}

/// The whole site.
const PAGES: [Page; 4] = [
    Page {
        path: "/",
        cache_control: "public, max-age=300",
        tags: "pages home",
        size_bytes: 8 << 10,
        slow: false,
    },
    Page {
        path: "/news",
        cache_control: "public, max-age=300",
        tags: "pages news",
        size_bytes: 4 << 10,
        slow: false,
    },
    Page {
        path: "/launch",
        cache_control: "public, max-age=300",
        tags: "pages launch",
        size_bytes: 32 << 10,
        slow: true,
    },
    Page {
        path: "/prices",
        cache_control: "public, max-age=1, stale-if-error=600",
        tags: "prices",
        size_bytes: 1 << 10,
        slow: false,
    },
];
