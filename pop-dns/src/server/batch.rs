//! Datagrams that came together, and what becomes of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Handled, Later};
use crate::{Outcome, UDP_PAYLOAD_OCTETS};

/// Datagrams taken from a socket at once. Larger batches gain nothing measurable and lengthen the wait of the first.
pub(super) const BATCH: usize = 64;

/// Octets of a datagram that are read: what we tell clients to send at most. The rest of a longer one is lost, and the
/// message reads as malformed.
pub(super) const QUERY_OCTETS_MAX: usize = UDP_PAYLOAD_OCTETS as usize;

/// Queries received together. One at a time is taken with [`get`](Batch::get) and settled with
/// [`settle`](Batch::settle); whoever looks at all of them first can overlap their memory accesses.
pub struct Batch<'b> {
    pub(super) queries: &'b [[u8; QUERY_OCTETS_MAX]],
    pub(super) slots: &'b mut [Slot],
    pub(super) answers: &'b mut [Vec<u8>],
    pub(super) later: &'b mut Vec<(usize, Later)>,
}

/// What is known of one datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) client: IpAddr,
    pub(super) octets: u16,
    /// Whether anything may go back there at all.
    pub(super) answerable: bool,
    pub(super) outcome: Outcome,
}

impl Slot {
    pub(super) const UNUSED: Self = Self {
        client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        octets: 0,
        answerable: false,
        outcome: Outcome::Silent,
    };

    /// A datagram of `octets` from `peer`; of a family that is none of ours if there is no peer.
    #[inline]
    pub(super) fn new(peer: Option<SocketAddr>, octets: usize) -> Self {
        Self {
            client: peer.map_or(Self::UNUSED.client, |peer| peer.ip()),
            octets: octets.min(QUERY_OCTETS_MAX) as u16,
            answerable: peer.is_some_and(super::answerable),
            outcome: Outcome::Silent,
        }
    }
}

impl<'b> Batch<'b> {
    /// How many datagrams there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether the datagram at `index` may be answered: not when it came from port 0 or 53, which would bounce between
    /// two servers for ever.
    #[inline]
    #[must_use]
    pub fn is_answerable(&self, index: usize) -> bool {
        self.slots[index].answerable
    }

    /// The octets of the query at `index`.
    ///
    /// # Panics
    /// At or beyond [`len`](Self::len).
    #[inline]
    #[must_use]
    pub fn query(&self, index: usize) -> &'b [u8] {
        &self.queries[index][..usize::from(self.slots[index].octets)]
    }

    /// The query at `index`, who sent it, and where its answer goes.
    ///
    /// # Panics
    /// At or beyond [`len`](Self::len).
    #[inline]
    #[must_use]
    pub fn get(&mut self, index: usize) -> (&[u8], IpAddr, &mut Vec<u8>) {
        let slot = self.slots[index];
        (&self.queries[index][..usize::from(slot.octets)], slot.client, &mut self.answers[index])
    }

    /// Says what became of the query at `index`. Without a word it stays unanswered.
    ///
    /// # Panics
    /// At or beyond [`len`](Self::len).
    #[inline]
    pub fn settle(&mut self, index: usize, handled: Handled) {
        match handled {
            Handled::Done(outcome) => self.slots[index].outcome = outcome,
            Handled::Later(later) => self.later.push((index, later)),
            Handled::Many(_) => self.slots[index].outcome = Outcome::Silent,
        }
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("slots", &self.slots).field("later", &self.later.len()).finish()
    }
}
