//! The datagram loop.

use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Counters, Handled, Handler, answerable, since};
use crate::{Header, Outcome, Transport};

/// Octets of a query that are read; a longer one is no query that anybody sends, and reads as malformed.
const QUERY_OCTETS_MAX: usize = 4096;
/// Answers that a socket waits for at once; a query that would make one more is dropped, as the network might.
pub const LATER_MAX: usize = 32_768;

pub(super) async fn serve<H: Handler>(
    socket: UdpSocket,
    handler: Arc<H>,
    counters: Arc<Counters>,
    started: Instant,
    mut stopped: watch::Receiver<()>,
) {
    let socket = Arc::new(socket);
    let mut later = JoinSet::new();
    let mut query = [0; QUERY_OCTETS_MAX];
    let mut answer = Vec::with_capacity(1500);
    loop {
        let received = tokio::select! {
            biased;
            _ = stopped.changed() => break,
            Some(_) = later.join_next(), if !later.is_empty() => continue,
            received = socket.recv_from(&mut query) => received,
        };
        // An error here is an ICMP message about an earlier answer; the socket is fine.
        let Ok((octets, peer)) = received else { continue };
        let handled = if answerable(peer) {
            handler.handle(&query[..octets], peer.ip(), since(started), Transport::Udp, &mut answer)
        } else {
            Handled::Done(Outcome::Silent)
        };
        match handled {
            Handled::Done(outcome) => {
                counters.count(Transport::Udp, outcome);
                if let Outcome::Answered(_) = outcome {
                    // A full socket buffer loses the answer as the network might; the client asks again.
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
            Handled::Later(_) if later.len() >= LATER_MAX => counters.count(Transport::Udp, Outcome::Silent),
            Handled::Later(waiting) => {
                let (socket, counters) = (Arc::clone(&socket), Arc::clone(&counters));
                later.spawn(async move {
                    let answer = waiting.await;
                    counters.count(Transport::Udp, outcome_of(answer.as_deref()));
                    if let Some(answer) = answer {
                        let _ = socket.send_to(&answer, peer).await;
                    }
                });
            }
        }
    }
    while later.join_next().await.is_some() {}
}

/// What became of a query whose answer was waited for.
pub(super) fn outcome_of(answer: Option<&[u8]>) -> Outcome {
    match answer.map(Header::parse) {
        Some(Ok(header)) => Outcome::Answered(header.flags.rcode()),
        _ => Outcome::Silent,
    }
}
