//! Accepting streams (RFC 7766), so many and no more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
#[cfg(feature = "tls")]
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Clock, Counters, Handler, answerable, stream};
use crate::Transport;

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 1024;
/// Connections at once from one IPv4 /24 or IPv6 /56.
pub const CONNECTIONS_PER_PREFIX_MAX: usize = 64;
/// How long a connection may live.
const LIFETIME: Duration = Duration::from_secs(300);
/// After a failed accept (out of descriptors, say) we wait before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a TLS handshake may take.
#[cfg(feature = "tls")]
const HANDSHAKE: Duration = Duration::from_secs(5);

type PerPrefix = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// What stands between a connection and its messages.
#[derive(Clone)]
pub(super) enum Layer {
    /// Nothing.
    Plain,
    /// TLS (RFC 7858).
    #[cfg(feature = "tls")]
    Tls(tokio_rustls::TlsAcceptor),
}

pub(super) async fn serve<H: Handler>(
    listener: TcpListener,
    layer: Layer,
    handler: Arc<H>,
    counters: Arc<Counters>,
    started: Clock,
    mut stopped: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    let per_prefix = PerPrefix::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            _ = stopped.changed() => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let place = Place::take(&per_prefix, peer.ip()).filter(|_| connections.len() < CONNECTIONS_MAX);
        let Some(place) = place.filter(|_| answerable(peer)) else {
            counters.refused_connections.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (handler, counters, stopped) = (Arc::clone(&handler), Arc::clone(&counters), stopped.clone());
        let _ = stream.set_nodelay(true);
        // Two tasks of two kinds, so that a plain connection does not pay for the state of TLS.
        match &layer {
            Layer::Plain => {
                let who = (peer.ip(), Transport::Tcp);
                connections.spawn(stream::serve_for(
                    (place, LIFETIME),
                    stream,
                    handler,
                    counters,
                    started,
                    who,
                    stopped,
                ));
            }
            #[cfg(feature = "tls")]
            Layer::Tls(acceptor) => {
                let acceptor = acceptor.clone();
                let who = (peer.ip(), Transport::Tls);
                connections
                    .spawn(inside_tls(place, stream, who, acceptor, handler, counters, started, stopped));
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Serves one connection inside TLS for its lifetime.
#[cfg(feature = "tls")]
#[expect(clippy::too_many_arguments, reason = "all of them go on to the stream")]
async fn inside_tls<H: Handler>(
    place: Place,
    stream: TcpStream,
    who: (IpAddr, Transport),
    acceptor: tokio_rustls::TlsAcceptor,
    handler: Arc<H>,
    counters: Arc<Counters>,
    started: Clock,
    stopped: watch::Receiver<()>,
) {
    let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else { return };
    stream::serve_for((place, LIFETIME), stream, handler, counters, started, who, stopped).await;
}

/// A place among the connections of a prefix, given back when dropped.
struct Place {
    per_prefix: PerPrefix,
    prefix: IpAddr,
}

impl Place {
    fn take(per_prefix: &PerPrefix, client: IpAddr) -> Option<Self> {
        let prefix = prefix(client);
        let mut counts = per_prefix.lock().expect("no holder of this lock panics");
        let count = counts.entry(prefix).or_default();
        if *count >= CONNECTIONS_PER_PREFIX_MAX {
            return None;
        }
        *count += 1;
        Some(Self { per_prefix: Arc::clone(per_prefix), prefix })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.per_prefix.lock().expect("no holder of this lock panics");
        if let Some(count) = counts.get_mut(&self.prefix) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.prefix);
            }
        }
    }
}

fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() & !0xff).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !((1 << 72) - 1)).into()),
    }
}
