//! Serving over UDP and TCP.
//!
//! What is answered is not decided here: a [`Respond`] takes octets and returns octets. What is *not* answered is:
//! packets from port 0 or 53, which would bounce between two servers for ever.

mod batch;
mod counters;
mod handler;
#[cfg(target_os = "linux")]
mod mmsg;
#[cfg(not(target_os = "linux"))]
mod single;
mod stream;
mod tcp;
mod udp;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::tcp::Layer;
use self::udp::Workers;
use crate::authority::{Asker, Located};
use crate::{Authority, Outcome, Timestamp, Transport};

pub use batch::Batch;
pub use counters::{COUNTED_TYPES, Counters, Counts};
pub use handler::{Handled, Handler, Later, Many};
pub use stream::{IDLE, PIPELINED_MAX};
pub use tcp::{CONNECTIONS_MAX, CONNECTIONS_PER_PREFIX_MAX};
pub use udp::LATER_MAX;

/// Queries whose memory accesses overlap: as many as the processor's miss buffers, roughly.
const GROUP: usize = 16;
/// Queries that are no group.
const FEW: usize = 4;

/// Answers queries at once: octets in, octets out. Called on the serving threads, so it must not wait for anything; what
/// has to is a [`Handler`]. `now` counts from 1970.
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

    /// The messages that answer a query which came over a stream, if one does not do.
    fn respond_many(&self, query: &[u8], client: IpAddr, now: Timestamp) -> Option<Many> {
        let _ = (query, client, now);
        None
    }

    /// Answers datagrams that came together, one after the other unless the responder knows better.
    fn respond_batch(&self, now: Timestamp, batch: &mut Batch<'_>) {
        for index in 0..batch.len() {
            if batch.is_answerable(index) {
                let (query, client, answer) = batch.get(index);
                let outcome = self.respond(query, client, now, Transport::Udp, answer);
                batch.settle(index, Handled::Done(outcome));
            }
        }
    }
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

    fn respond_many(&self, query: &[u8], client: IpAddr, now: Timestamp) -> Option<Many> {
        self.transfer(query, client, now).map(|transfer| Box::new(transfer) as Many)
    }

    fn respond_batch(&self, now: Timestamp, batch: &mut Batch<'_>) {
        // Room for a group is room for as many names, which has to be cleared: not for the sake of a few queries.
        if batch.len() <= FEW {
            respond_in_groups::<FEW>(self, now, batch);
        } else {
            respond_in_groups::<GROUP>(self, now, batch);
        }
    }
}

/// In groups, step by step: first all queries are read, then the tables looked into, then the nodes, then the answers
/// made. Each step's memory accesses do not depend on each other, so the processor overlaps their misses.
fn respond_in_groups<const N: usize>(authority: &Authority, now: Timestamp, batch: &mut Batch<'_>) {
    let mut located = [const { Located::BLANK }; N];
    for first in (0..batch.len()).step_by(N) {
        let group = first..batch.len().min(first + N);
        for index in group.clone().filter(|&index| batch.is_answerable(index)) {
            authority.locate(batch.query(index), &mut located[index - first]);
        }
        for index in group.clone().filter(|&index| batch.is_answerable(index)) {
            located[index - first].glance();
        }
        let touched = group.clone().filter(|&index| batch.is_answerable(index));
        std::hint::black_box(touched.fold(0, |all, index| all ^ located[index - first].touch()));
        for index in group {
            if !batch.is_answerable(index) {
                continue;
            }
            let (query, client, answer) = batch.get(index);
            let asker = Asker::new(client, now, Transport::Udp);
            let outcome = authority.respond_located(query, &located[index - first], &asker, answer);
            batch.settle(index, Handled::Done(outcome));
        }
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

    /// The one that answers now.
    #[must_use]
    pub fn load(&self) -> Arc<Authority> {
        self.0.load_full()
    }

    /// Replaces it for every query from now on.
    pub fn store(&self, authority: Authority) {
        self.0.store(Arc::new(authority));
    }

    /// Changes a copy of it, which takes its place: zones and hooks are shared, so a copy is cheap. Of two changes at once
    /// none is lost; the later is made again on what the earlier left.
    pub fn change(&self, mut change: impl FnMut(&mut Authority)) {
        self.0.rcu(|current| {
            let mut authority = Authority::clone(current);
            change(&mut authority);
            authority
        });
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

    fn respond_many(&self, query: &[u8], client: IpAddr, now: Timestamp) -> Option<Many> {
        self.0.load().respond_many(query, client, now)
    }

    fn respond_batch(&self, now: Timestamp, batch: &mut Batch<'_>) {
        // One look at what is current serves the whole batch.
        self.0.load().respond_batch(now, batch);
    }
}

/// A server bound to an address, UDP and TCP on the same port.
#[derive(Debug)]
pub struct Server {
    /// One for each worker.
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
    address: SocketAddr,
    #[cfg(feature = "tls")]
    tls: Vec<(TcpListener, Arc<rustls::ServerConfig>)>,
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
    /// Binds UDP and TCP. With port 0 both get the same free one. Datagrams are served by one thread; for more there is
    /// [`workers`](Self::workers).
    ///
    /// # Errors
    /// [`BindError`] names the address.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let mut last = None;
        // A free UDP port may be taken for TCP: then try another. Sixteen times unlucky is no luck problem.
        for _ in 0..16 {
            let udp = udp::bind(address).map_err(failed)?;
            let bound = udp.local_addr().map_err(failed)?;
            match TcpListener::bind(bound).await {
                Ok(tcp) => {
                    return Ok(Self {
                        udp: vec![udp],
                        tcp,
                        address: bound,
                        #[cfg(feature = "tls")]
                        tls: Vec::new(),
                    });
                }
                Err(error) if address.port() != 0 => return Err(failed(error)),
                Err(error) => last = Some(error),
            }
        }
        Err(failed(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into())))
    }

    /// Serves datagrams on so many threads, each with a socket of its own (SO_REUSEPORT).
    ///
    /// # Errors
    /// [`BindError`] where the system does not give another socket for the same address.
    pub fn workers(mut self, workers: NonZeroUsize) -> Result<Self, BindError> {
        let address = self.address;
        self.udp.truncate(workers.get());
        while self.udp.len() < workers.get() {
            self.udp.push(udp::bind(address).map_err(|source| BindError { address, source })?);
        }
        Ok(self)
    }

    /// The address that is really bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves DNS over TLS too (RFC 7858), on an address of its own; port 853 is the usual one. The configuration
    /// should offer the protocol `dot`.
    ///
    /// # Errors
    /// [`BindError`] names the address.
    #[cfg(feature = "tls")]
    pub async fn tls(
        mut self,
        address: SocketAddr,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await.map_err(|source| BindError { address, source })?;
        self.tls.push((listener, config));
        Ok(self)
    }

    /// The addresses that are bound for TLS.
    #[cfg(feature = "tls")]
    pub fn tls_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.tls.iter().filter_map(|(listener, _)| listener.local_addr().ok())
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
        let started = Clock::start();
        let workers = Workers::start(self.udp, &handler, &counters, started);
        if let Err(error) = &workers {
            tracing::error!(address = %self.address, %error, "no thread for UDP");
        }
        let mut streams = JoinSet::new();
        #[cfg(feature = "tls")]
        for (listener, config) in self.tls {
            let layer = Layer::Tls(config.into());
            let (handler, counters) = (Arc::clone(&handler), Arc::clone(&counters));
            streams.spawn(tcp::serve(listener, layer, handler, counters, started, stopped.clone()));
        }
        streams.spawn(tcp::serve(self.tcp, Layer::Plain, handler, counters, started, stopped));
        shutdown.await;
        drop(stop);
        if let Ok(workers) = workers {
            workers.stop().await;
        }
        while streams.join_next().await.is_some() {}
    }
}

/// Nanoseconds since 1970, from a clock that never steps back: the wall clock is read once.
#[derive(Clone, Copy, Debug)]
struct Clock {
    offset: Timestamp,
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { offset: Timestamp::ZERO.saturating_add(since_1970), start: Instant::now() }
    }

    fn now(self) -> Timestamp {
        self.offset.saturating_add(self.start.elapsed())
    }
}

fn since(started: Clock) -> Timestamp {
    started.now()
}

/// Whether a packet from there may be answered at all.
fn answerable(peer: SocketAddr) -> bool {
    !matches!(peer.port(), 0 | 53)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two servers that answer each other would never stop: ports that no client has are not answered, and messages
    /// that are answers themselves never are, wherever they come from, ourselves included.
    #[test]
    fn reflection_ends_here() {
        for (port, expected) in [(0, false), (53, false), (54, true), (5353, true), (65_535, true)] {
            for address in ["192.0.2.1", "2001:db8::1"] {
                let peer = SocketAddr::new(address.parse().unwrap(), port);
                assert_eq!(answerable(peer), expected, "{peer}");
            }
        }
        let query = crate::MessageBuilder::query(1, &crate::NameBuf::root(), crate::RecordType::NS).finish();
        let (authority, mut answer) = (Authority::default(), Vec::new());
        let us = [127, 0, 0, 1].into();
        let outcome = authority.respond(&query, us, Timestamp::ZERO, Transport::Udp, &mut answer);
        assert!(matches!(outcome, Outcome::Answered(_)));
        let answered = answer.clone();
        let outcome = authority.respond(&answered, us, Timestamp::ZERO, Transport::Udp, &mut answer);
        assert_eq!(outcome, Outcome::Silent);
    }
}
