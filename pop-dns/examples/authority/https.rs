//! DNS over HTTPS (RFC 8484): hyper in front of [`Doh`], HTTP/2 only.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pop_dns::doh::{Body, ClientAddress, Doh};
use pop_dns::server::{Counters, Swap};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Connections at once.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection may live, its handshake included.
const LIFETIME: Duration = Duration::from_secs(120);
/// Streams of one connection.
const STREAMS_MAX: u32 = 100;

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

    /// Serves until `stopped`; connections that are open then are cut.
    pub(crate) async fn run(self, stopped: impl Future<Output = ()>) {
        let mut stopped = std::pin::pin!(stopped);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = &mut stopped => return,
            };
            let (Ok((stream, peer)), Ok(place)) = (accepted, Arc::clone(&places).try_acquire_owned()) else {
                continue;
            };
            let (acceptor, doh) = (self.acceptor.clone(), self.doh.clone());
            connections.spawn(async move {
                // However it ends, it ends for this client alone.
                let _ = tokio::time::timeout(LIFETIME, connection(acceptor, stream, peer, doh)).await;
                drop(place);
            });
        }
    }
}

async fn connection(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    doh: Doh<Swap>,
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
    builder.serve_connection(TokioIo::new(stream), answer).await?;
    Ok(())
}
