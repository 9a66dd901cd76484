//! DNS over HTTPS (RFC 8484): hyper in front of [`Doh`], HTTP/2 only.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pop_dns::doh::{Body, ClientAddress, Doh};
use pop_dns::server::{Counters, Swap};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Connections at once.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection may live, its handshake included.
const LIFETIME: Duration = Duration::from_secs(120);
/// Streams of one connection.
const STREAMS_MAX: u32 = 100;
/// How long the last answers may take once the server stops.
const DRAIN: Duration = Duration::from_secs(10);

pub(crate) struct Https {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    doh: Doh<Swap>,
}

impl Https {
    pub(crate) async fn bind(
        address: SocketAddr,
        config: Arc<rustls::ServerConfig>,
        swap: Swap,
        counters: Arc<Counters>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, acceptor: config.into(), doh: Doh::new(swap, counters) })
    }

    /// The address that is really bound.
    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stopped`. What was asked by then is still answered; clients are told to ask no more (GOAWAY).
    pub(crate) async fn run(self, stopped: impl Future<Output = ()>) {
        let mut stopped = pin!(stopped);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = tokio::task::JoinSet::new();
        let (serving, stopping) = watch::channel(());
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = &mut stopped => break,
            };
            let (Ok((stream, peer)), Ok(place)) = (accepted, Arc::clone(&places).try_acquire_owned()) else {
                continue;
            };
            let (acceptor, doh, stopping) = (self.acceptor.clone(), self.doh.clone(), stopping.clone());
            connections.spawn(async move {
                // However it ends, it ends for this client alone.
                let _ =
                    tokio::time::timeout(LIFETIME, connection(acceptor, stream, peer, doh, stopping)).await;
                drop(place);
            });
        }
        drop((self.listener, serving));
        let _ = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    }
}

async fn connection(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    doh: Doh<Swap>,
    mut stopping: watch::Receiver<()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = acceptor.accept(stream).await?;
    let answer = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        let doh = doh.clone();
        async move {
            if request.uri().path() != "/dns-query" {
                let mut missing = http::Response::new(Body::default());
                *missing.status_mut() = http::StatusCode::NOT_FOUND;
                return Ok::<_, Infallible>(missing);
            }
            request.extensions_mut().insert(ClientAddress(peer.ip()));
            Ok(doh.respond(request).await)
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        ended = &mut served => return Ok(ended?),
        // That nobody serves any more is told by an error.
        _ = stopping.changed() => served.as_mut().graceful_shutdown(),
    }
    Ok(served.await?)
}
