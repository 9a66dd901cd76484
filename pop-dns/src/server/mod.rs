//! Serving over UDP and TCP.
//!
//! What is answered is not decided here: a [`Respond`] takes octets and returns octets. What is *not* answered is:
//! packets from port 0 or 53, which would bounce between two servers for ever.

mod handler;
mod stream;
mod tcp;
mod udp;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{Authority, Outcome, Rcode, Timestamp, Transport};

pub use handler::{Handled, Handler, Later};
pub use stream::{IDLE, PIPELINED_MAX};
pub use tcp::{CONNECTIONS_MAX, CONNECTIONS_PER_PREFIX_MAX};
pub use udp::LATER_MAX;

/// Answers queries at once: octets in, octets out. Called on the serving tasks, so it must not wait for anything; what
/// has to is a [`Handler`].
pub trait Respond: Send + Sync + 'static {
    /// Answers `query` from `client` into `answer`, which is emptied first.
    fn respond(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Outcome;
}

impl Respond for Authority {
    fn respond(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        Self::respond(self, query, client, now, transport, answer)
    }
}

/// An authority that can be replaced while it serves: a query sees the old one or the new one, never a mixture.
#[derive(Clone, Debug)]
pub struct Swap(Arc<ArcSwap<Authority>>);

impl Swap {
    /// Starts with `authority`.
    #[must_use]
    pub fn new(authority: Authority) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(authority)))
    }

    /// Replaces it for every query from now on.
    pub fn store(&self, authority: Authority) {
        self.0.store(Arc::new(authority));
    }
}

impl Respond for Swap {
    fn respond(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        self.0.load().respond(query, client, now, transport, answer)
    }
}

/// A server bound to an address, UDP and TCP on the same port.
#[derive(Debug)]
pub struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

/// An address that cannot be bound.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot bind {} for DNS", self.address)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Server {
    /// Binds UDP and TCP. With port 0 both get the same free one.
    ///
    /// # Errors
    /// [`BindError`] names the address.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let mut last = None;
        // A free UDP port may be taken for TCP: then try another. Sixteen times unlucky is no luck problem.
        for _ in 0..16 {
            let udp = UdpSocket::bind(address).await.map_err(failed)?;
            let bound = udp.local_addr().map_err(failed)?;
            match TcpListener::bind(bound).await {
                Ok(tcp) => return Ok(Self { udp, tcp, address: bound }),
                Err(error) if address.port() != 0 => return Err(failed(error)),
                Err(error) => last = Some(error),
            }
        }
        Err(failed(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into())))
    }

    /// The address that is really bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready; answers that are under way are still sent.
    pub async fn run(
        self,
        handler: impl Handler,
        counters: Arc<Counters>,
        shutdown: impl Future<Output = ()>,
    ) {
        let (stop, stopped) = watch::channel(());
        let handler = Arc::new(handler);
        let started = tokio::time::Instant::now();
        let mut tasks = JoinSet::new();
        tasks.spawn(udp::serve(
            self.udp,
            Arc::clone(&handler),
            Arc::clone(&counters),
            started,
            stopped.clone(),
        ));
        tasks.spawn(tcp::serve(self.tcp, handler, counters, started, stopped));
        shutdown.await;
        drop(stop);
        while tasks.join_next().await.is_some() {}
    }
}

fn since(started: tokio::time::Instant) -> Timestamp {
    Timestamp::ZERO.saturating_add(started.elapsed())
}

/// Whether a packet from there may be answered at all.
fn answerable(peer: SocketAddr) -> bool {
    !matches!(peer.port(), 0 | 53)
}

/// What a server has done so far. Counters and nothing else: relaxed, and read one by one.
#[derive(Debug, Default)]
pub struct Counters {
    udp: AtomicU64,
    tcp: AtomicU64,
    silent: AtomicU64,
    refused_connections: AtomicU64,
    /// By response code: NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, others.
    rcodes: [AtomicU64; 7],
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queries by UDP.
    pub udp: u64,
    /// Queries by TCP.
    pub tcp: u64,
    /// What was no query, or came from where nothing may be sent.
    pub silent: u64,
    /// Connections closed because there were too many.
    pub refused_connections: u64,
    /// Answers with NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, and all others.
    pub rcodes: [u64; 7],
}

impl Counters {
    /// All of them now.
    #[must_use]
    pub fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            udp: read(&self.udp),
            tcp: read(&self.tcp),
            silent: read(&self.silent),
            refused_connections: read(&self.refused_connections),
            rcodes: std::array::from_fn(|index| read(&self.rcodes[index])),
        }
    }

    fn count(&self, transport: Transport, outcome: Outcome) {
        let by_transport = if transport == Transport::Udp { &self.udp } else { &self.tcp };
        by_transport.fetch_add(1, Ordering::Relaxed);
        self.count_outcome(outcome);
    }

    fn count_outcome(&self, outcome: Outcome) {
        match outcome {
            Outcome::Silent => self.silent.fetch_add(1, Ordering::Relaxed),
            Outcome::Answered(Rcode(code)) => {
                self.rcodes[usize::from(code.min(6))].fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}
