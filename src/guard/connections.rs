//! How many connections there may be, in all and from one network.
//!
//! ```text
//! admit(client):
//!   network below its bound and all below theirs → in
//!   network at its bound  → the newest idle connection of that network makes room, else refused
//!   all at their bound    → the newest idle connection of the network with the most makes room, if that network has
//!                           more than the newcomer's, else refused
//! ```
//!
//! So whoever opens ten thousand idle connections from one network keeps its bound and loses those to whoever comes
//! with something to say; a good client from another network always finds room while the crowd idles. A network is
//! a /24 of IPv4 or a /48 of IPv6. Memory is bounded by the bounds. Accepting is not the hit path: one short lock.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

/// Connections in all, by default.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections from one network, by default.
pub const CONNECTIONS_PER_NETWORK_MAX: usize = 512;

/// Bounds on connections. A clone is another handle on the same bounds.
///
/// ```
/// use pop_edge::guard::ConnectionBounds;
///
/// let bounds = ConnectionBounds::new(100, 2);
/// let client = "192.0.2.1".parse()?;
/// let (first, second) = (bounds.admit(client).expect("room"), bounds.admit(client).expect("room"));
/// first.busy();
/// second.busy();
/// assert!(bounds.admit(client).is_none());
/// second.idle();
/// assert!(bounds.admit(client).is_some()); // and `second` is asked to close
/// assert!(second.is_evicted());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionBounds {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    all_max: usize,
    network_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    networks: HashMap<Network, Vec<Arc<Slot>>, ahash::RandomState>,
    /// The networks by how many connections they have, so that the largest is found at once.
    by_size: BTreeSet<(usize, Network)>,
    all: usize,
}

/// The bits of a network, and whether it is IPv4.
type Network = (bool, u64);

#[derive(Debug, Default)]
struct Slot {
    /// Between two requests, or before the first.
    idle: AtomicBool,
    evicted: AtomicBool,
    leave: Notify,
}

/// A connection that was let in; it counts until this is dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts no connection"]
pub struct ConnectionPermit {
    shared: Arc<Shared>,
    network: Network,
    slot: Arc<Slot>,
}

impl Default for ConnectionBounds {
    fn default() -> Self {
        Self::new(CONNECTIONS_MAX, CONNECTIONS_PER_NETWORK_MAX)
    }
}

impl ConnectionBounds {
    /// At most `all` connections, and `network` from a /24 or a /48.
    #[must_use]
    pub fn new(all: usize, network: usize) -> Self {
        let table = Mutex::default();
        Self { shared: Arc::new(Shared { all_max: all, network_max: network, table }) }
    }

    /// Lets a connection in, or says that there is no room. A new connection is idle.
    pub fn admit(&self, client: IpAddr) -> Option<ConnectionPermit> {
        let network = network_of(client);
        let slot = Arc::new(Slot { idle: AtomicBool::new(true), ..Slot::default() });
        let mut table = self.shared.table();
        let own = table.networks.get(&network).map_or(0, Vec::len);
        if own >= self.shared.network_max {
            table.evict_newest_idle(network)?;
        } else if table.all >= self.shared.all_max {
            let (most, largest) = table.by_size.last().copied()?;
            if most <= own {
                return None;
            }
            table.evict_newest_idle(largest)?;
        }
        table.add(network, Arc::clone(&slot));
        debug_assert!(table.all <= self.shared.all_max);
        Some(ConnectionPermit { shared: Arc::clone(&self.shared), network, slot })
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.table().all
    }
}

impl ConnectionPermit {
    /// A request has begun: the connection is not taken away any more.
    pub fn busy(&self) {
        // Relaxed: a hint to `evict_newest_idle`; a connection that becomes busy meanwhile finishes its request and
        // closes then.
        self.slot.idle.store(false, Ordering::Relaxed);
    }

    /// The request has ended.
    pub fn idle(&self) {
        self.slot.idle.store(true, Ordering::Relaxed);
    }

    /// Whether the connection was asked to close.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.slot.evicted.load(Ordering::Relaxed)
    }

    /// Resolves when the connection should close after its current request.
    pub async fn evicted(&self) {
        while !self.is_evicted() {
            self.slot.leave.notified().await;
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.shared.table().remove(self.network, &self.slot);
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under this lock; were it so, the counts are whole at every instant.
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, network: Network, slot: Arc<Slot>) {
        let slots = self.networks.entry(network).or_default();
        self.by_size.remove(&(slots.len(), network));
        slots.push(slot);
        self.by_size.insert((slots.len(), network));
        self.all += 1;
    }

    /// Takes a connection out of the count; one that was evicted is out already.
    fn remove(&mut self, network: Network, slot: &Arc<Slot>) {
        let Some(slots) = self.networks.get(&network) else { return };
        if let Some(position) = slots.iter().position(|other| Arc::ptr_eq(other, slot)) {
            self.take(network, position);
        }
    }

    fn take(&mut self, network: Network, position: usize) -> Option<Arc<Slot>> {
        let slots = self.networks.get_mut(&network)?;
        self.by_size.remove(&(slots.len(), network));
        let slot = slots.remove(position);
        self.all -= 1;
        if slots.is_empty() {
            self.networks.remove(&network);
        } else {
            self.by_size.insert((slots.len(), network));
        }
        Some(slot)
    }

    fn evict_newest_idle(&mut self, network: Network) -> Option<()> {
        let slots = self.networks.get(&network)?;
        let position = slots.iter().rposition(|slot| slot.idle.load(Ordering::Relaxed))?;
        let slot = self.take(network, position)?;
        slot.evicted.store(true, Ordering::Relaxed);
        slot.leave.notify_one();
        Some(())
    }
}

fn network_of(client: IpAddr) -> Network {
    match client.to_canonical() {
        IpAddr::V4(address) => (true, u64::from(address.to_bits() >> 8)),
        IpAddr::V6(address) => (false, (address.to_bits() >> 80) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(third: u8, host: u8) -> IpAddr {
        IpAddr::from([198, 18, third, host])
    }

    #[test]
    fn a_crowd_of_idle_connections_makes_room_for_others() {
        let bounds = ConnectionBounds::new(100, 80);
        let crowd: Vec<_> = (0..200).filter_map(|host| bounds.admit(address(0, host))).collect();
        assert_eq!(bounds.connections(), 80);
        let good: Vec<_> = (0..40).map(|host| bounds.admit(address(1, host)).expect("room")).collect();
        assert_eq!(bounds.connections(), 100);
        assert_eq!(good.iter().filter(|permit| permit.is_evicted()).count(), 0);
        assert_eq!(crowd.iter().filter(|permit| permit.is_evicted()).count(), 200 - 60);
    }

    #[test]
    fn whoever_is_being_served_is_not_thrown_out() {
        let bounds = ConnectionBounds::new(10, 10);
        let busy: Vec<_> = (0..10).map(|host| bounds.admit(address(0, host)).expect("room")).collect();
        busy.iter().for_each(ConnectionPermit::busy);
        assert!(bounds.admit(address(1, 0)).is_none());
        busy[3].idle();
        assert!(bounds.admit(address(1, 0)).is_some());
        assert!(busy[3].is_evicted());
        assert_eq!(bounds.connections(), 9);
    }

    #[test]
    fn nothing_is_kept_of_who_left() {
        let bounds = ConnectionBounds::new(10, 10);
        for host in 0..=255 {
            drop(bounds.admit(address(host, host)));
        }
        let table = bounds.shared.table();
        assert_eq!((table.all, table.networks.len(), table.by_size.len()), (0, 0, 0));
    }

    #[test]
    fn networks_are_told_apart_by_family() {
        assert_eq!(network_of("::ffff:192.0.2.1".parse().unwrap()), network_of("192.0.2.9".parse().unwrap()));
        assert_ne!(
            network_of("2001:db8:1::1".parse().unwrap()),
            network_of("2001:db8:2::1".parse().unwrap())
        );
        assert_eq!(
            network_of("2001:db8:1:2::1".parse().unwrap()),
            network_of("2001:db8:1:3::1".parse().unwrap())
        );
    }

    #[tokio::test]
    async fn the_one_who_must_go_is_told() {
        let bounds = ConnectionBounds::new(1, 1);
        let first = bounds.admit(address(0, 1)).expect("room");
        let _second = bounds.admit(address(0, 2)).expect("the first idles");
        first.evicted().await;
    }
}
