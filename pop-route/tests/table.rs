//! The tables against the naive look-up: nested blocks, both families, removals, the ends of the space.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pop_route::{Prefix, PrefixTable, RangeError, prefixes_of_range};
use proptest::prelude::*;

/// Few distinct bits, so that blocks nest and touch.
fn addresses() -> impl Strategy<Value = IpAddr> {
    let edges = prop_oneof![Just(0_u32), Just(u32::MAX), Just(0x0a00_0000), Just(0x0aff_ffff), any::<u32>()];
    (edges, 0_u32..8, 0_u32..4, any::<bool>()).prop_map(|(base, offset, spread, v6)| {
        let bits = base.wrapping_add(offset << 14);
        if v6 {
            let middle = u128::from(offset) << (30 * spread);
            IpAddr::V6(Ipv6Addr::from_bits((u128::from(bits) << 96) | middle))
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

/// The longest match by looking at every prefix.
fn naive<V>(table: &PrefixTable<V>, address: IpAddr) -> Option<(Prefix, &V)> {
    table.iter().filter(|(prefix, _)| prefix.contains(address)).max_by_key(|(prefix, _)| prefix.length())
}

fn is_v6_of_v4(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn snapshots_agree_with_naive(
        inserted in prop::collection::vec(prefixes(), 0..60),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        values in 1_usize..60,
        asked in prop::collection::vec(addresses(), 1..40),
    ) {
        let mut table = PrefixTable::new();
        for (index, &prefix) in inserted.iter().enumerate() {
            table.insert(prefix, index % values);
        }
        for index in removed.iter().filter(|_| !inserted.is_empty()) {
            table.remove(*index.get(&inserted));
        }
        let (snapshot, scoped) = (table.snapshot(), table.scoped_snapshot());
        let edges: Vec<IpAddr> = table.iter().map(|(prefix, _)| prefix.address()).collect();
        let all: Vec<IpAddr> = asked.into_iter().chain(edges).collect();
        for &address in &all {
            let naive = naive(&table, address);
            prop_assert_eq!(snapshot.longest(address), naive, "{}", address);
            prop_assert_eq!(table.longest(address), naive);
            prop_assert_eq!(scoped.get(address).0, naive.map(|(_, value)| value));
        }
        let v4: Vec<Ipv4Addr> = all.iter().filter_map(|address| match address { IpAddr::V4(v4) => Some(*v4), IpAddr::V6(_) => None }).collect();
        let mut found = vec![None; v4.len()];
        snapshot.get_batch_v4(&v4, &mut found);
        for (&address, found) in v4.iter().zip(found) {
            prop_assert_eq!(found, snapshot.longest_v4(address));
        }
        let v6: Vec<Ipv6Addr> = all.iter().filter(|address| !is_v6_of_v4(**address)).filter_map(|address| match address { IpAddr::V6(v6) => Some(*v6), IpAddr::V4(_) => None }).collect();
        let mut found = vec![None; v6.len()];
        snapshot.get_batch_v6(&v6, &mut found);
        for (&address, found) in v6.iter().zip(found) {
            prop_assert_eq!(found, snapshot.longest_v6(address));
        }
    }

    /// Many networks below one /16 make wide nodes and deep lists.
    #[test]
    fn a_crowd_in_one_block_agrees_with_naive(
        crowd in prop::collection::vec((any::<u16>(), any::<u32>(), 17_u8..=128), 300..500),
        asked in prop::collection::vec((any::<prop::sample::Index>(), any::<u128>(), 16_u32..=128), 50),
    ) {
        let address = |(middle, low, _): (u16, u32, u8)| {
            (0x2a00_u128 << 112) | (u128::from(middle & 0x3ff) << 96) | (u128::from(low) << 60)
        };
        let table: PrefixTable<usize> = crowd
            .iter()
            .enumerate()
            .map(|(value, &row)| (Prefix::new(Ipv6Addr::from_bits(address(row)).into(), row.2).unwrap(), value))
            .collect();
        let snapshot = table.snapshot();
        for (index, noise, from) in asked {
            let noise = noise.checked_shr(from).unwrap_or(0);
            let asked = IpAddr::V6(Ipv6Addr::from_bits(address(*index.get(&crowd)) ^ noise));
            prop_assert_eq!(snapshot.longest(asked), naive(&table, asked));
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

    /// Every address inside the scope has the same value, and one bit less would be wrong. Exhaustive over a /20.
    #[test]
    fn scopes_are_exact(
        prefixes in prop::collection::vec((0_u32..4096, 20_u8..=32), 0..12),
        values in 1_usize..4,
        asked in 0_u32..4096,
    ) {
        let address = |offset: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + offset));
        let table: PrefixTable<usize> = prefixes
            .iter()
            .enumerate()
            .map(|(index, &(offset, length))| (Prefix::new(address(offset), length).unwrap(), index % values))
            .collect();
        let snapshot = table.scoped_snapshot();
        let (found, scope) = snapshot.get(address(asked));
        let uniform = |length: u8| {
            let block = Prefix::new(address(asked), length).unwrap();
            (0..4096).map(address).filter(|&other| block.contains(other)).all(|other| snapshot.get(other).0 == found)
        };
        prop_assert!(scope < 20 || uniform(scope));
        prop_assert!(scope <= 20 || !uniform(scope - 1), "/{} holds as well", scope - 1);
    }
}

#[test]
fn ranges_that_cannot_be_say_why() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let check = |first, last, error| {
        assert_eq!(prefixes_of_range(address(first), address(last)).err(), Some(error));
        assert_eq!(PrefixTable::new().insert_range(address(first), address(last), ()), Err(error));
    };
    check("10.0.0.1", "10.0.0.0", RangeError::Backwards);
    check("10.0.0.1", "2001:db8::", RangeError::Families);
    let whole = prefixes_of_range(address("::"), address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")).unwrap();
    assert_eq!(whole.collect::<Vec<_>>(), ["::/0".parse().unwrap()]);
}
