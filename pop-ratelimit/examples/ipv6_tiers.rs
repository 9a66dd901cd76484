//! Why IPv6 needs tiers: one subscriber has 2⁶⁴ addresses, one provider has 2³² subscribers.
//! `cargo run -p pop-ratelimit --example ipv6_tiers`

use std::net::{IpAddr, Ipv6Addr};

use pop_ratelimit::{IPV6_TIERS, KeyedLimiter, PrefixTiers, Quota, Timestamp, Verdict};

fn main() {
    let quota = Quota::per_second(10).burst(20);
    let network = u128::from_be_bytes("2001:db8::".parse::<Ipv6Addr>().expect("an address").octets());
    let address = |bits: u128| IpAddr::V6(Ipv6Addr::from_bits(network | bits));

    let by_address = KeyedLimiter::<IpAddr>::new(quota, 1 << 20);
    let passed =
        (0..10_000).filter(|&n| by_address.check_at(&address(n), Timestamp::ZERO, 1).is_allowed()).count();
    println!("by address alone, one subscriber gets {passed} of 10000 through");

    for (who, shift) in [("a host that rotates in its /64", 0), ("a customer that rotates in its /48", 64)] {
        let tiers = PrefixTiers::new(quota, 8 << 20);
        let mut stopped_by = [0; IPV6_TIERS.len()];
        let passed = (0..10_000)
            .filter(|&n| match tiers.check_at(address(n << shift), Timestamp::ZERO, 1) {
                Verdict::Allowed { .. } => true,
                Verdict::Denied { level, .. } => {
                    stopped_by[level] += 1;
                    false
                }
            })
            .count();
        println!("with tiers, {who} gets {passed} through; stopped by:");
        for (tier, stopped) in IPV6_TIERS.iter().zip(stopped_by).filter(|(_, stopped)| *stopped > 0) {
            println!("  /{}: {stopped}", tier.length);
        }
    }
}
