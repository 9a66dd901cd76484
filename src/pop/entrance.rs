//! Who is let in, and who somebody is: the part of a plane that is asked before a host is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::builder::Identify;
use crate::exchange::{Gate, Permit, Seat};

/// A gate, and from what it was made: one that is made from the same again keeps what it knows.
#[derive(Clone)]
pub(super) struct MadeGate {
    pub(super) from: Option<String>,
    pub(super) gate: Arc<dyn Gate>,
}

/// Gates, in order, and the function that says who asks.
#[derive(Clone, Default)]
pub(super) struct Entrance {
    gates: Vec<MadeGate>,
    identify: Option<Identify>,
}

impl fmt::Debug for Entrance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Entrance").field("gates", &self.gates.len()).finish_non_exhaustive()
    }
}

impl Entrance {
    /// These gates; those that `previous` has, made from the same, are its own.
    pub(super) fn new(gates: &[MadeGate], identify: Option<&Identify>, previous: Option<&Self>) -> Self {
        let kept = |made: &MadeGate| {
            let known = previous.into_iter().flat_map(|previous| &previous.gates);
            known.filter(|known| known.from.is_some()).find(|known| known.from == made.from).cloned()
        };
        let gates = gates.iter().map(|made| kept(made).unwrap_or_else(|| made.clone())).collect();
        Self { gates, identify: identify.cloned() }
    }

    /// The gates, in order.
    pub(super) fn gates(&self) -> impl Iterator<Item = &dyn Gate> {
        self.gates.iter().map(|made| &*made.gate)
    }

    /// Who asks.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        match &self.identify {
            Some(identify) => identify(peer, headers),
            None => peer.to_canonical(),
        }
    }

    /// Whether a connection is served, and the places that it takes.
    pub(super) fn connection(&self, peer: SocketAddr, seat: &Arc<Seat>) -> Option<Vec<Permit>> {
        self.gates().map(|gate| gate.connection(peer, seat)).collect()
    }

    /// Tells the gates how a request was answered.
    pub(super) fn answered(&self, client: IpAddr, status: StatusCode) {
        self.gates().for_each(|gate| gate.answered(client, status));
    }
}
