//! Streams: a length of two octets before each message (RFC 1035 §4.2.2, RFC 7766).

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Counters, Respond, answerable, since};
use crate::{Outcome, Transport};

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 1024;
/// Connections at once from one IPv4 /24 or IPv6 /56.
pub const CONNECTIONS_PER_PREFIX_MAX: usize = 64;
/// How long a connection may take for its next whole query, and for taking our answer.
pub const IDLE: Duration = Duration::from_secs(10);
/// How long a connection may live.
const LIFETIME: Duration = Duration::from_secs(300);
/// After a failed accept (out of descriptors, say) we wait before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type PerPrefix = Arc<Mutex<HashMap<IpAddr, usize>>>;

pub(super) async fn serve<R: Respond>(
    listener: TcpListener,
    respond: Arc<R>,
    counters: Arc<Counters>,
    started: Instant,
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
        let (respond, counters, stopped) = (Arc::clone(&respond), Arc::clone(&counters), stopped.clone());
        connections.spawn(async move {
            let _place = place;
            // However it ends (reset, deadline, garbage), the connection is closed and nobody else notices.
            let _ = timeout(LIFETIME, connection(stream, peer.ip(), &*respond, &counters, started, stopped))
                .await;
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn connection<R: Respond>(
    mut stream: TcpStream,
    client: IpAddr,
    respond: &R,
    counters: &Counters,
    started: Instant,
    mut stopped: watch::Receiver<()>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut query, mut answer, mut framed) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        tokio::select! {
            read = timeout(IDLE, read_message(&mut stream, &mut query)) => read??,
            _ = stopped.changed() => return Ok(()),
        }
        let outcome = respond.respond(&query, client, since(started), Transport::Tcp, &mut answer);
        counters.count(Transport::Tcp, outcome);
        let Outcome::Answered(_) = outcome else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        framed.clear();
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&answer);
        // Length and message in one write (RFC 7766 §8).
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}

async fn read_message(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    message.clear();
    message.resize(length, 0);
    stream.read_exact(message).await.map(drop)
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
