//! One connection from its first octet: TLS or not, HTTP/1 or HTTP/2, then hyper.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use super::driver::{Driver, Graceful, Watch};
use super::frames::FrameScanner;
use super::head::HeadScanner;
use super::io::{Scanner, Vitals, Watched};
use super::listener::{Drain, prepare};
use crate::body::Body;
use crate::config::Settings;
use crate::exchange::{Connection, Observer, Permit, Seat};
use crate::interim::Outbox;

/// What an HTTP/2 client without TLS begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Who answers requests.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    /// The answer, which never fails: a failure is an answer too.
    type Future: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static;

    /// What it remembers of a connection from one request to the next.
    type Visit: Default + Send + 'static;

    /// Whether to serve a connection, asked before a byte of it is read: the places that it takes.
    fn admit(&self, peer: SocketAddr, seat: &Arc<Seat>) -> Option<Vec<Permit>> {
        let _ = (peer, seat);
        Some(Vec::new())
    }

    /// Answers a request that came on `connection`.
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        visit: &mut Self::Visit,
    ) -> Self::Future;
}

/// What all connections share.
pub(crate) struct Shared<H> {
    pub(crate) pop: Arc<str>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) handler: H,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) drain: Arc<Drain>,
    /// Connections open now. The owner may let several share one count.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Connections refused so far.
    pub(crate) refused: Arc<AtomicU64>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

/// Octets of a stream's window, and of a connection's.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Octets of an answer kept ready for a stream.
const SEND_BUFFER: usize = 256 * 1024;

impl<H: Handler> Shared<H> {
    pub(crate) fn new(
        pop: &Arc<str>,
        settings: Arc<Settings>,
        handler: H,
        observer: Arc<dyn Observer>,
        drain: Arc<Drain>,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        // The driver has the deadlines. hyper wants room for more than a head, or it cannot read one.
        http1.header_read_timeout(None).max_buf_size(settings.head_bytes.max(8192));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.streams_max)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER);
        Self {
            pop: Arc::clone(pop),
            settings,
            handler,
            observer,
            drain,
            connections: Arc::default(),
            refused: Arc::default(),
            http1,
            http2,
        }
    }
}

/// Serves a connection in clear: HTTP/1, or HTTP/2 with prior knowledge.
pub(super) async fn plain<H: Handler>(
    mut stream: TcpStream,
    peer: SocketAddr,
    seat: Arc<Seat>,
    shared: &Shared<H>,
) {
    prepare(&stream);
    let connection = connection(peer, None, false, seat, shared);
    let Some((prefix, is_http2)) = sniff(&mut stream, &shared.settings).await else { return };
    serve(stream, prefix, is_http2, connection, shared).await;
}

/// Reads until it is clear which protocol it is; `None` if that takes too long, or nothing comes.
async fn sniff(stream: &mut TcpStream, settings: &Settings) -> Option<(Bytes, bool)> {
    let mut read = BytesMut::with_capacity(4096);
    let mut deadline = settings.first_byte;
    loop {
        match tokio::time::timeout(deadline, stream.read_buf(&mut read)).await {
            Ok(Ok(octets)) if octets > 0 => {}
            _ => return None,
        }
        let known = read.len().min(PREFACE.len());
        if read[..known] != PREFACE[..known] {
            return Some((read.freeze(), false));
        }
        if known == PREFACE.len() {
            return Some((read.freeze(), true));
        }
        // At most 23 more reads, each with a part of the time a head may take.
        deadline = settings.head / 8;
    }
}

/// Serves a connection over TLS.
#[cfg(feature = "tls")]
pub(super) async fn secure<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    seat: Arc<Seat>,
    acceptor: &tokio_rustls::TlsAcceptor,
    shared: &Shared<H>,
) {
    prepare(&stream);
    let stream = match tokio::time::timeout(shared.settings.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake took too long");
            return;
        }
    };
    let session = stream.get_ref().1;
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let name = session.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
    let connection = connection(peer, name, true, seat, shared);
    serve(stream, Bytes::new(), is_http2, connection, shared).await;
}

fn connection<H>(
    peer: SocketAddr,
    server_name: Option<Box<str>>,
    is_tls: bool,
    seat: Arc<Seat>,
    shared: &Shared<H>,
) -> Arc<Connection> {
    Arc::new(Connection {
        pop: Arc::clone(&shared.pop),
        peer,
        is_tls,
        is_ours: true,
        server_name,
        observer: Arc::clone(&shared.observer),
        seat,
        stamp: AtomicU64::new(0),
        ambiguous: AtomicBool::new(false),
        interim: Some(Outbox::default()),
    })
}

async fn serve<H: Handler, S>(
    stream: S,
    prefix: Bytes,
    is_http2: bool,
    connection: Arc<Connection>,
    shared: &Shared<H>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let vitals = Arc::new(Vitals::default());
    let watch = Watch::new(Arc::clone(&shared.settings), Arc::clone(&vitals), Arc::clone(&connection));
    let drain = Arc::clone(&shared.drain);
    let (handler, visit) = (shared.handler.clone(), RefCell::default());
    let service = Adapter { handler, visit, connection: Arc::clone(&connection) };
    if is_http2 {
        let scanner = Scanner::Frames(FrameScanner::after_preface(shared.settings.control_frames));
        let io = TokioIo::new(Watched::new(stream, prefix, scanner, vitals, connection));
        Driver::new(shared.http2.serve_connection(io, service), watch, drain).await;
    } else {
        let scanner = Scanner::Heads(HeadScanner::new());
        let io = TokioIo::new(Watched::new(stream, prefix, scanner, vitals, connection));
        Driver::new(shared.http1.serve_connection(io, service), watch, drain).await;
    }
}

/// A handler, bound to a connection.
struct Adapter<H: Handler> {
    handler: H,
    /// Requests of a connection are handed over one after the other, by the task that drives it.
    visit: RefCell<H::Visit>,
    connection: Arc<Connection>,
}

impl<H: Handler> Service<Request<Incoming>> for Adapter<H> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = H::Future;

    fn call(&self, request: Request<Incoming>) -> H::Future {
        self.handler.handle(request, &self.connection, &mut self.visit.borrow_mut())
    }
}

type Io<S> = TokioIo<Watched<S>>;

impl<H: Handler, S> Graceful for http1::Connection<Io<S>, Adapter<H>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<H: Handler, S> Graceful for http2::Connection<Io<S>, Adapter<H>, TokioExecutor>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
