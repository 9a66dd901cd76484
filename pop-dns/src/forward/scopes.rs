//! Parts of a client's address: which are told, and for which answers were given.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest prefix of a client that is told or kept, by family, so that a word has a bit for each length.
pub(super) const SUBNET_MAX: (u8, u8) = (32, 63);

/// The prefix lengths for which answers were ever given, a bit each, so that only those are probed.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    v4: AtomicU64,
    v6: AtomicU64,
}

impl Scopes {
    fn of(&self, address: IpAddr) -> &AtomicU64 {
        if address.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    pub(super) fn seen(&self, (address, length): (IpAddr, u8)) {
        let lengths = self.of(address);
        // Relaxed: whoever misses the bit asks an upstream once more, and that is all. Read first, so that the word is
        // written but a few times ever.
        if lengths.load(Ordering::Relaxed) & (1 << length) == 0 {
            lengths.fetch_or(1 << length, Ordering::Relaxed);
        }
    }

    /// The lengths seen, from that of `block` down to 1.
    pub(super) fn longest_first(&self, block: (IpAddr, u8)) -> impl Iterator<Item = u8> + use<> {
        let lengths = self.of(block.0).load(Ordering::Relaxed);
        (1..=block.1.min(63)).rev().filter(move |length| lengths & (1 << length) != 0)
    }
}

/// Whether an address says anything about where its client is (RFC 7871 §11.1).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let shared = address.octets()[0] == 100 && address.octets()[1] & 0xC0 == 64;
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || shared)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified())
        }
    }
}
