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
use std::sync::{Arc, Mutex, MutexGuard};

use crate::Seat;

/// Connections in all, by default.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections from one network, by default.
pub const CONNECTIONS_PER_NETWORK_MAX: usize = 512;

/// Bounds on connections. A clone is another handle on the same bounds.
///
/// ```
/// use std::sync::Arc;
/// use pop_edge::Seat;
/// use pop_edge::guard::ConnectionBounds;
///
/// let bounds = ConnectionBounds::new(100, 2);
/// let client = "192.0.2.1".parse()?;
/// let seats: [Arc<Seat>; 3] = Default::default();
/// let first = bounds.admit(client, &seats[0]).expect("room");
/// let second = bounds.admit(client, &seats[1]).expect("room");
/// let third = bounds.admit(client, &seats[2]).expect("the newest that idles makes room");
/// assert!(!seats[0].is_evicted() && seats[1].is_evicted());
/// assert_eq!(bounds.connections(), 2);
/// # drop((first, second, third));
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
    networks: HashMap<Network, Vec<Arc<Seat>>, ahash::RandomState>,
    /// The networks by how many connections they have, so that the largest is found at once.
    by_size: BTreeSet<(usize, Network)>,
    all: usize,
}

/// The bits of a network, and whether it is IPv4.
type Network = (bool, u64);

/// A connection that was let in; it counts until this is dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts no connection"]
pub struct ConnectionPermit {
    shared: Arc<Shared>,
    network: Network,
    seat: Arc<Seat>,
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

    /// Lets a connection in, or says that there is no room.
    pub fn admit(&self, client: IpAddr, seat: &Arc<Seat>) -> Option<ConnectionPermit> {
        let network = network_of(client);
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
        table.add(network, Arc::clone(seat));
        debug_assert!(table.all <= self.shared.all_max);
        Some(ConnectionPermit { shared: Arc::clone(&self.shared), network, seat: Arc::clone(seat) })
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.table().all
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.shared.table().remove(self.network, &self.seat);
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under this lock; were it so, the counts are whole at every instant.
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, network: Network, seat: Arc<Seat>) {
        let seats = self.networks.entry(network).or_default();
        self.by_size.remove(&(seats.len(), network));
        seats.push(seat);
        self.by_size.insert((seats.len(), network));
        self.all += 1;
    }

    /// Takes a connection out of the count; one that was evicted is out already.
    fn remove(&mut self, network: Network, seat: &Arc<Seat>) {
        let Some(seats) = self.networks.get(&network) else { return };
        if let Some(position) = seats.iter().position(|other| Arc::ptr_eq(other, seat)) {
            self.take(network, position);
        }
    }

    fn take(&mut self, network: Network, position: usize) -> Option<Arc<Seat>> {
        let seats = self.networks.get_mut(&network)?;
        self.by_size.remove(&(seats.len(), network));
        let seat = seats.remove(position);
        self.all -= 1;
        if seats.is_empty() {
            self.networks.remove(&network);
        } else {
            self.by_size.insert((seats.len(), network));
        }
        Some(seat)
    }

    fn evict_newest_idle(&mut self, network: Network) -> Option<()> {
        let seats = self.networks.get(&network)?;
        let position = seats.iter().rposition(|seat| seat.is_idle())?;
        self.take(network, position)?.evict();
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
        let enter = |third: u8, hosts: std::ops::Range<u8>| -> Vec<(Arc<Seat>, ConnectionPermit)> {
            let seats = hosts.map(|host| (address(third, host), Arc::<Seat>::default()));
            seats
                .map(|(client, seat)| (Arc::clone(&seat), bounds.admit(client, &seat).expect("room")))
                .collect()
        };
        let evicted =
            |all: &[(Arc<Seat>, ConnectionPermit)]| all.iter().filter(|(seat, _)| seat.is_evicted()).count();
        let crowd = enter(0, 0..200);
        assert_eq!((bounds.connections(), evicted(&crowd)), (80, 120));
        let good = enter(1, 0..40);
        assert_eq!((bounds.connections(), evicted(&good), evicted(&crowd)), (100, 0, 140));
    }

    #[test]
    fn nothing_is_kept_of_who_left() {
        let bounds = ConnectionBounds::new(10, 10);
        for host in 0..=255 {
            drop(bounds.admit(address(host, host), &Arc::default()));
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
}
