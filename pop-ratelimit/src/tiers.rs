//! Limits by address prefix: one client, its network, its provider's block.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use crate::hierarchy::LEVELS_MAX;
use crate::{KeyedLimiter, Quota, Timestamp, Verdict};

/// A prefix length of a family and how many times the single address's quota it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(deny_unknown_fields))]
pub struct Tier {
    /// The prefix length, at most 32 for IPv4 and 128 for IPv6.
    pub length: u8,
    /// Times the base quota.
    pub multiplier: u32,
}

/// The tiers of IPv4 by default: address, /24, /20, /18.
pub const IPV4_TIERS: [Tier; 4] = [
    Tier { length: 32, multiplier: 1 },
    Tier { length: 24, multiplier: 32 },
    Tier { length: 20, multiplier: 256 },
    Tier { length: 18, multiplier: 768 },
];
/// The tiers of IPv6 by default: address, /64 (a subscriber's network), /56, /48, /32.
pub const IPV6_TIERS: [Tier; 5] = [
    Tier { length: 128, multiplier: 1 },
    Tier { length: 64, multiplier: 2 },
    Tier { length: 56, multiplier: 4 },
    Tier { length: 48, multiplier: 64 },
    Tier { length: 32, multiplier: 512 },
];

/// Keyed limits for an address and the prefixes around it, checked together, all or nothing.
///
/// Whoever rotates through a /64 is caught by the /64's limit, whoever owns a whole block by the block's. An
/// IPv4-mapped IPv6 address counts as IPv4. Memory is fixed.
///
/// ```
/// use pop_ratelimit::{PrefixTiers, Quota, Timestamp, Verdict};
///
/// let tiers = PrefixTiers::new(Quota::per_second(10).burst(20), 1 << 20);
/// let passed = (0..1000u16)
///     .filter(|host| {
///         let rotating = format!("2001:db8::{host:x}").parse().expect("an address");
///         tiers.check_at(rotating, Timestamp::ZERO, 1).is_allowed()
///     })
///     .count();
/// assert_eq!(passed, 40); // the /64 may use twice the quota of one address
/// ```
#[derive(Debug)]
pub struct PrefixTiers {
    ipv4: Vec<(Tier, KeyedLimiter<u32>)>,
    ipv6: Vec<(Tier, KeyedLimiter<u128>)>,
}

impl PrefixTiers {
    /// The default tiers around `base`, in at most `memory_bytes` bytes (at least one line a tier).
    #[must_use]
    pub fn new(base: Quota, memory_bytes: usize) -> Self {
        Self::with_tiers(base, memory_bytes, &IPV4_TIERS, &IPV6_TIERS)
    }

    /// Chosen tiers around `base`; lengths are cut to the family's. Memory is shared evenly.
    ///
    /// # Panics
    /// With more than [`LEVELS_MAX`] tiers in a family.
    #[must_use]
    pub fn with_tiers(base: Quota, memory_bytes: usize, ipv4: &[Tier], ipv6: &[Tier]) -> Self {
        assert!(ipv4.len().max(ipv6.len()) <= LEVELS_MAX, "at most {LEVELS_MAX} tiers a family");
        let each = memory_bytes / (ipv4.len() + ipv6.len()).max(1);
        let cut = |tier: Tier, bits: u8| Tier { length: tier.length.min(bits), ..tier };
        Self {
            ipv4: ipv4
                .iter()
                .map(|&tier| (cut(tier, 32), KeyedLimiter::new(base.times(tier.multiplier), each)))
                .collect(),
            ipv6: ipv6
                .iter()
                .map(|&tier| (cut(tier, 128), KeyedLimiter::new(base.times(tier.multiplier), each)))
                .collect(),
        }
    }

    /// Takes `cost` from the buckets of every tier around `client`, or from none. The level of a denial is the
    /// index of its tier.
    pub fn check_at(&self, client: IpAddr, now: Timestamp, cost: u64) -> Verdict {
        self.check_by(client, || now, cost)
    }

    /// [`check_at`](Self::check_at) by the process clock, which is read again where a lost race is undone.
    pub fn check(&self, client: IpAddr, cost: u64) -> Verdict {
        self.check_by(client, crate::now, cost)
    }

    fn check_by(&self, client: IpAddr, clock: impl Fn() -> Timestamp, cost: u64) -> Verdict {
        match client.to_canonical() {
            IpAddr::V4(address) => check(&self.ipv4, |length| mask_ipv4(address, length), clock, cost),
            IpAddr::V6(address) => check(&self.ipv6, |length| mask_ipv6(address, length), clock, cost),
        }
    }

    /// Newcomers that inherited a debt, over all tiers; see [`KeyedLimiter::pressure`].
    #[must_use]
    pub fn pressure(&self) -> u64 {
        let ipv4: u64 = self.ipv4.iter().map(|(_, limiter)| limiter.pressure()).sum();
        let ipv6: u64 = self.ipv6.iter().map(|(_, limiter)| limiter.pressure()).sum();
        ipv4 + ipv6
    }

    /// Bytes of all tables.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let ipv4: usize = self.ipv4.iter().map(|(_, limiter)| limiter.memory_bytes()).sum();
        let ipv6: usize = self.ipv6.iter().map(|(_, limiter)| limiter.memory_bytes()).sum();
        ipv4 + ipv6
    }
}

fn check<K: core::hash::Hash>(
    tiers: &[(Tier, KeyedLimiter<K>)],
    mask: impl Fn(u8) -> K,
    clock: impl Fn() -> Timestamp,
    cost: u64,
) -> Verdict {
    crate::hierarchy::check_keyed(
        tiers.len(),
        |level| {
            let (tier, limiter) = &tiers[level];
            (limiter, mask(tier.length))
        },
        clock,
        cost,
    )
}

/// The network of `length` bits around an address, and that length; IPv4-mapped addresses are IPv4.
pub(crate) fn prefix_of(client: IpAddr, ipv4: u8, ipv6: u8) -> (IpAddr, u8) {
    match client.to_canonical() {
        IpAddr::V4(address) => (IpAddr::V4(Ipv4Addr::from_bits(mask_ipv4(address, ipv4))), ipv4),
        IpAddr::V6(address) => (IpAddr::V6(Ipv6Addr::from_bits(mask_ipv6(address, ipv6))), ipv6),
    }
}

fn mask_ipv4(address: Ipv4Addr, length: u8) -> u32 {
    address.to_bits() & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask_ipv6(address: Ipv6Addr, length: u8) -> u128 {
    address.to_bits() & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4() {
        let tiers = PrefixTiers::new(Quota::per_second(1).burst(1), 1 << 16);
        assert!(tiers.check_at("192.0.2.1".parse().unwrap(), Timestamp::ZERO, 1).is_allowed());
        assert!(!tiers.check_at("::ffff:192.0.2.1".parse().unwrap(), Timestamp::ZERO, 1).is_allowed());
    }

    #[test]
    fn masks_of_every_length_are_sound() {
        assert_eq!(mask_ipv4(Ipv4Addr::BROADCAST, 0), 0);
        assert_eq!(mask_ipv4(Ipv4Addr::BROADCAST, 24), 0xffff_ff00);
        assert_eq!(mask_ipv6(Ipv6Addr::from_bits(u128::MAX), 0), 0);
        assert_eq!(mask_ipv6(Ipv6Addr::from_bits(u128::MAX), 128), u128::MAX);
    }
}
