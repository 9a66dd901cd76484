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
    /// These gates, and one that bounds connections where none of them does. Those that `previous` has, made from the
    /// same, are its own.
    pub(super) fn new(
        gates: &[MadeGate],
        identify: Option<&Identify>,
        connections_max: usize,
        previous: Option<&Self>,
    ) -> Self {
        let kept = |made: &MadeGate| {
            let known = previous.into_iter().flat_map(|previous| &previous.gates);
            known.filter(|known| known.from.is_some()).find(|known| known.from == made.from).cloned()
        };
        let made = gates.iter();
        #[cfg(feature = "ratelimit")]
        let crowd =
            (!gates.iter().any(|made| made.gate.bounds_connections())).then(|| Crowd::gate(connections_max));
        #[cfg(feature = "ratelimit")]
        let made = made.chain(&crowd);
        #[cfg(not(feature = "ratelimit"))]
        let _ = connections_max;
        let gates = made.map(|made| kept(made).unwrap_or_else(|| made.clone())).collect();
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

    /// What the gates have counted, by name; two that call something the same are added up.
    #[cfg(feature = "metrics")]
    pub(super) fn counts(&self) -> Vec<(String, u64)> {
        let mut all = std::collections::BTreeMap::new();
        let mut tell = |name: &str, count: u64| *all.entry(name.to_owned()).or_default() += count;
        self.gates().for_each(|gate| gate.counts(&mut tell));
        all.into_iter().collect()
    }

    /// Tells the gates how a request was answered.
    pub(super) fn answered(&self, client: IpAddr, status: StatusCode) {
        self.gates().for_each(|gate| gate.answered(client, status));
    }
}

/// What bounds connections where no gate does. Networks are not told apart but to find the largest: behind a balancer
/// all clients come from one.
#[cfg(feature = "ratelimit")]
struct Crowd(crate::guard::ConnectionBounds);

#[cfg(feature = "ratelimit")]
impl Crowd {
    /// An eighth below the bound at which nobody gets in any more: who has to leave does so in its own time, and needs
    /// its place until then.
    fn gate(connections_max: usize) -> MadeGate {
        let max = (connections_max - connections_max / 8).max(1);
        let gate = Arc::new(Self(crate::guard::ConnectionBounds::new(max, max)));
        MadeGate { from: Some(format!("connections {max}")), gate }
    }
}

#[cfg(feature = "ratelimit")]
impl Gate for Crowd {
    fn connection(&self, peer: SocketAddr, seat: &Arc<Seat>) -> Option<Permit> {
        self.0.admit(peer.ip().to_canonical(), seat).map(Permit::holding)
    }
}
