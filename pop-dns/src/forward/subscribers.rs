//! Who may ask, and how much of our patience one network may use.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ahash::RandomState;

/// The blocks whose clients are served, as ranges that neither touch nor overlap. A look costs one binary search.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscribers {
    /// First and last address, in order; IPv4 in its place among IPv6 (RFC 4291 §2.5.5.2).
    ranges: Vec<(u128, u128)>,
}

impl Subscribers {
    pub(crate) fn new(blocks: &[(IpAddr, u8)]) -> Self {
        let mut sorted: Vec<_> = blocks.iter().map(|&block| range(block)).collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match ranges.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }

    pub(crate) fn contains(&self, client: IpAddr) -> bool {
        let address = bits(client);
        let behind = self.ranges.partition_point(|&(first, _)| first <= address);
        behind > 0 && address <= self.ranges[behind - 1].1
    }
}

/// An address as a number; an IPv4 address and the IPv6 address that maps it are the same client.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn range((address, length): (IpAddr, u8)) -> (u128, u128) {
    let length = if address.is_ipv4() { 96 + length.min(32) } else { length.min(128) };
    let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
    (bits(address) & !host, bits(address) | host)
}

/// Prefix lengths of what counts as one client network.
const NETWORK: (u8, u8) = (24, 56);

/// How many answers each network waits for. A network that piles up queries, to let their answers fall on somebody
/// all at once (DNSBomb, 2024), finds no more room for them.
#[derive(Debug)]
pub(super) struct Pending {
    max: u32,
    networks: Mutex<HashMap<u128, u32, RandomState>>,
}

/// A place among those who wait, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    pending: Arc<Pending>,
    network: u128,
}

impl Pending {
    pub(super) fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { max, networks: Mutex::default() })
    }

    /// A place for a query of `client`; `None` if its network has all it may have.
    pub(super) fn place(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = client.to_canonical();
        let (network, _) = range((client, if client.is_ipv4() { NETWORK.0 } else { NETWORK.1 }));
        let mut networks = self.networks.lock().expect("no holder of this lock panics");
        let waiting = networks.entry(network).or_default();
        if *waiting >= self.max {
            return None;
        }
        *waiting += 1;
        Some(Place { pending: Arc::clone(self), network })
    }

    #[cfg(test)]
    fn networks(&self) -> usize {
        self.networks.lock().unwrap().len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut networks = self.pending.networks.lock().expect("no holder of this lock panics");
        if let Some(waiting) = networks.get_mut(&self.network) {
            *waiting -= 1;
            if *waiting == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn blocks_end_where_they_end() {
        let subscribers = Subscribers::new(&[
            (address("192.0.2.77"), 24),
            (address("192.0.3.0"), 24),
            (address("2001:db8::"), 32),
        ]);
        assert_eq!(subscribers.ranges.len(), 2, "neighbours are one range");
        for (client, inside) in [
            ("192.0.2.0", true),
            ("192.0.3.255", true),
            ("192.0.1.255", false),
            ("192.0.4.0", false),
            ("::ffff:192.0.2.9", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::192.0.2.9", false),
        ] {
            assert_eq!(subscribers.contains(address(client)), inside, "{client}");
        }
        assert!(!Subscribers::new(&[]).contains(address("127.0.0.1")));
        assert!(Subscribers::new(&[(address("0.0.0.0"), 0)]).contains(address("203.0.113.9")));
        assert!(!Subscribers::new(&[(address("0.0.0.0"), 0)]).contains(address("2001:db8::1")));
    }

    proptest! {
        /// The slow twin: every block is looked at.
        #[test]
        fn as_a_walk_over_all_blocks(
            blocks in proptest::collection::vec((any::<[u8; 2]>(), 0_u8..=32), 0..8),
            client in any::<[u8; 2]>(),
        ) {
            let blocks: Vec<(IpAddr, u8)> =
                blocks.into_iter().map(|([a, b], length)| (IpAddr::from([10, 0, a & 3, b]), length)).collect();
            let client = IpAddr::from([10, 0, client[0] & 3, client[1]]);
            let slow = blocks.iter().any(|&block| (range(block).0..=range(block).1).contains(&bits(client)));
            prop_assert_eq!(Subscribers::new(&blocks).contains(client), slow);
        }
    }

    #[test]
    fn a_network_has_so_many_places_and_gives_them_back() {
        let pending = Pending::new(2);
        let one = pending.place(address("192.0.2.1")).unwrap();
        let _two = pending.place(address("192.0.2.2")).unwrap();
        assert!(pending.place(address("192.0.2.3")).is_none());
        assert!(pending.place(address("192.0.3.3")).is_some());
        drop(one);
        assert_eq!(pending.networks(), 1);
        assert!(pending.place(address("::ffff:192.0.2.3")).is_some());
    }
}
