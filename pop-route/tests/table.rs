//! The snapshot against the naive look-up: nested blocks, both families, removals, the ends of the space.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pop_route::{Prefix, PrefixTable};
use proptest::prelude::*;

/// Few distinct bits, so that blocks nest and touch.
fn addresses() -> impl Strategy<Value = IpAddr> {
    let edges = prop_oneof![Just(0_u32), Just(u32::MAX), Just(0x0a00_0000), Just(0x0aff_ffff), any::<u32>()];
    (edges, 0_u32..8, any::<bool>()).prop_map(|(base, offset, v6)| {
        let bits = base.wrapping_add(offset << 14);
        if v6 {
            IpAddr::V6(Ipv6Addr::from_bits((u128::from(bits) << 96) | u128::from(offset)))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
    })
}

fn prefixes() -> impl Strategy<Value = Prefix> {
    (addresses(), 0_u8..=128).prop_map(|(address, length)| {
        let max = if address.is_ipv4() { 32 } else { 128 };
        Prefix::new(address, length % (max + 1)).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn snapshot_agrees_with_naive(
        inserted in prop::collection::vec(prefixes(), 0..60),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        asked in prop::collection::vec(addresses(), 1..40),
    ) {
        let mut table = PrefixTable::new();
        for (value, &prefix) in inserted.iter().enumerate() {
            table.insert(prefix, value);
        }
        for index in removed.iter().filter(|_| !inserted.is_empty()) {
            table.remove(*index.get(&inserted));
        }
        let snapshot = table.snapshot();
        let edges = table.iter().map(|(prefix, _)| prefix.address()).collect::<Vec<_>>();
        for address in asked.into_iter().chain(edges) {
            let naive = table.iter().filter(|(prefix, _)| prefix.contains(address)).max_by_key(|(prefix, _)| prefix.length());
            prop_assert_eq!(snapshot.longest(address), naive, "{}", address);
            prop_assert_eq!(table.longest(address), naive);
        }
    }

    #[test]
    fn covering_and_covered_agree_with_naive(
        inserted in prop::collection::vec(prefixes(), 0..60),
        asked in prefixes(),
    ) {
        let table: PrefixTable<()> = inserted.into_iter().map(|prefix| (prefix, ())).collect();
        let mut covering: Vec<_> = table.iter().map(|(prefix, ())| prefix).filter(|prefix| prefix.covers(asked)).collect();
        covering.sort_by_key(|prefix| core::cmp::Reverse(prefix.length()));
        prop_assert_eq!(table.covering(asked).map(|(prefix, ())| prefix).collect::<Vec<_>>(), covering);
        let covered: Vec<_> = table.iter().map(|(prefix, ())| prefix).filter(|prefix| asked.covers(*prefix)).collect();
        prop_assert_eq!(table.covered(asked).map(|(prefix, ())| prefix).collect::<Vec<_>>(), covered);
    }
}
