//! Datagrams one by one, where the system has no calls for batches.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::Later;
use super::batch::{Batch, QUERY_OCTETS_MAX, Slot};
use crate::Outcome;

/// A socket and the memory for one datagram. A socket bound to the wildcard answers from the address that the system
/// chooses.
pub(super) struct BatchSocket {
    socket: UdpSocket,
    query: [[u8; QUERY_OCTETS_MAX]; 1],
    slot: [Slot; 1],
    answer: [Vec<u8>; 1],
    peer: Option<SocketAddr>,
}

impl BatchSocket {
    pub(super) fn new(socket: UdpSocket) -> Self {
        let answer = [Vec::with_capacity(QUERY_OCTETS_MAX)];
        Self { socket, query: [[0; QUERY_OCTETS_MAX]], slot: [Slot::UNUSED], answer, peer: None }
    }

    /// Waits for a datagram.
    pub(super) fn receive<'b>(&'b mut self, later: &'b mut Vec<(usize, Later)>) -> io::Result<Batch<'b>> {
        self.peer = None;
        let (octets, peer) = self.socket.recv_from(&mut self.query[0])?;
        self.peer = Some(peer);
        self.slot = [Slot::new(Some(peer), octets)];
        Ok(Batch { queries: &self.query, slots: &mut self.slot, answers: &mut self.answer, later })
    }

    /// What became of the query received last, and it itself.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (Outcome, &[u8])> {
        let query = &self.query[0][..usize::from(self.slot[0].octets)];
        self.peer.map(|_| (self.slot[0].outcome, query)).into_iter()
    }

    /// How to answer the query received last, once the answer is there.
    pub(super) fn way_back(&mut self, _: usize) -> WayBack {
        WayBack(self.peer)
    }

    /// Sends the answer to where the query came from. What the system does not take is lost, as the network might
    /// lose it.
    pub(super) fn send(&mut self) {
        if let (Some(peer), Outcome::Answered(_)) = (self.peer, self.slot[0].outcome) {
            let _ = self.socket.send_to(&self.answer[0], peer);
        }
    }
}

/// Where a query came from.
pub(super) struct WayBack(Option<SocketAddr>);

impl WayBack {
    /// Sends an answer there from the socket that received the query. What the system does not take is lost.
    pub(super) fn send(self, socket: &UdpSocket, answer: &mut [u8]) {
        let _ = self.0.map(|peer| socket.send_to(answer, peer));
    }
}

/// There is no way to ask.
pub(super) fn ask_for_destination<S>(_: &S, _: SocketAddr) -> io::Result<()> {
    Ok(())
}
