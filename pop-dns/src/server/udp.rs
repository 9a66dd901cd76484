//! The datagram loop.

use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Counters, Respond, answerable, since};
use crate::{Outcome, Transport};

/// Octets of a query that are read; a longer one is no query that anybody sends, and reads as malformed.
const QUERY_OCTETS_MAX: usize = 4096;

pub(super) async fn serve<R: Respond>(
    socket: UdpSocket,
    respond: Arc<R>,
    counters: Arc<Counters>,
    started: Instant,
    mut stopped: watch::Receiver<()>,
) {
    let mut query = [0; QUERY_OCTETS_MAX];
    let mut answer = Vec::with_capacity(1500);
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut query) => received,
            _ = stopped.changed() => return,
        };
        // An error here is an ICMP message about an earlier answer; the socket is fine.
        let Ok((octets, peer)) = received else { continue };
        let outcome = if answerable(peer) {
            respond.respond(&query[..octets], peer.ip(), since(started), Transport::Udp, &mut answer)
        } else {
            Outcome::Silent
        };
        counters.count(Transport::Udp, outcome);
        if let Outcome::Answered(_) = outcome {
            // A full socket buffer loses the answer as the network might; the client asks again.
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}
