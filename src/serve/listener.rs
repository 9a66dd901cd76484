//! Listeners: bound with the address in the error, accepted from within bounds, drained in order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::task::JoinSet;

use super::connection::{self, Handler, Shared};
use crate::exchange::{Permit, Seat};

/// Connections that the kernel may hold for us.
const BACKLOG: i32 = 4096;
/// After a failed accept (out of descriptors, say) we wait before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener and how it is spoken to.
pub(crate) struct Bound {
    pub(crate) listener: std::net::TcpListener,
    pub(crate) address: SocketAddr,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

/// Binds `address`. With `shares_port` several sockets may be bound to it, between which the kernel spreads clients.
pub(crate) fn bind(
    address: SocketAddr,
    shares_port: bool,
) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if shares_port {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(unix))]
    let _ = shares_port;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = std::net::TcpListener::from(socket);
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// The end of serving: told once, seen by every connection.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    has_begun: AtomicBool,
    notify: Arc<Notify>,
}

impl Drain {
    /// Begins it. Connections end with the exchange under way; nothing is accepted any more.
    pub(crate) fn begin(&self) {
        // Pairs with the load in `has_begun`: who registered for the notice before is woken, who registers later
        // sees the flag.
        self.has_begun.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst)
    }

    pub(super) fn notice(&self) -> OwnedNotified {
        Arc::clone(&self.notify).notified_owned()
    }

    /// Waits until it has begun.
    pub(crate) async fn begun(&self) {
        let mut notice = std::pin::pin!(self.notice());
        notice.as_mut().enable();
        if !self.has_begun() {
            notice.await;
        }
    }
}

/// Accepts until the drain begins, then gives connections until `grace` has passed. Dropped, it drops them all.
pub(crate) async fn serve<H: Handler>(bound: Bound, shared: Arc<Shared<H>>) -> io::Result<()> {
    let listener = TcpListener::from_std(bound.listener)?;
    #[cfg(feature = "tls")]
    let tls = bound.tls.map(tokio_rustls::TlsAcceptor::from);
    let mut connections = JoinSet::new();
    let mut begun = std::pin::pin!(shared.drain.begun());
    loop {
        let accepted = tokio::select! {
            biased;
            () = begun.as_mut() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, address = %bound.address, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let seat = Arc::new(Seat::default());
        if let Some(place) = admit(&shared, peer, &seat) {
            let shared = Arc::clone(&shared);
            #[cfg(feature = "tls")]
            let tls = tls.clone();
            connections.spawn(guarded(place, Arc::clone(&seat), async move {
                #[cfg(feature = "tls")]
                if let Some(tls) = tls {
                    return connection::secure(stream, peer, seat, &tls, &shared).await;
                }
                connection::plain(stream, peer, seat, &shared).await;
            }));
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(shared.settings.grace, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    connections.shutdown().await;
    Ok(())
}

/// Runs a connection until it ends or has to leave, and gives its places back, however it ends.
async fn guarded(place: Place, seat: Arc<Seat>, connection: impl Future<Output = ()>) {
    let mut left = std::pin::pin!(seat.left());
    let mut connection = std::pin::pin!(connection);
    // Our waker lies with the notice from the first poll on: it is the same for the whole life of a task.
    let mut is_listening = false;
    std::future::poll_fn(|context| {
        if (!is_listening || seat.is_evicted()) && left.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        is_listening = true;
        connection.as_mut().poll(context)
    })
    .await;
    drop(place);
}

/// A connection's place among all, and those its gates gave it.
struct Place {
    count: Arc<AtomicUsize>,
    _permits: Vec<Permit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

fn admit<H: Handler>(shared: &Shared<H>, peer: SocketAddr, seat: &Arc<Seat>) -> Option<Place> {
    let before = shared.connections.fetch_add(1, Ordering::Relaxed);
    let mut place = Place { count: Arc::clone(&shared.connections), _permits: Vec::new() };
    if before >= shared.settings.connections_max {
        shared.refused.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    match shared.handler.admit(peer, seat) {
        Some(permits) => place._permits = permits,
        None => {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
    }
    Some(place)
}

/// The stream of a connection, ready for small writes.
pub(super) fn prepare(stream: &TcpStream) {
    // A connection that is gone already says so at the first read.
    let _ = stream.set_nodelay(true);
}
