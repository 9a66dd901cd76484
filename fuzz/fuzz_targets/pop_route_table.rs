//! Any sequence of insertions and removals, in both families: the snapshots find what looking at every prefix finds.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use pop_route::{Prefix, PrefixTable};

const ROWS_MAX: usize = 64;

fn address(bits: u128, v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::from_bits((bits >> 96) as u32).into() } else { Ipv6Addr::from_bits(bits).into() }
}

fuzz_target!(|rows: Vec<(u128, u8, u8, bool)>| {
    let mut table = PrefixTable::new();
    for &(bits, length, value, v4) in rows.iter().take(ROWS_MAX) {
        let length = length % if v4 { 33 } else { 129 };
        let prefix = Prefix::new(address(bits, v4), length).expect("within the family");
        if value == 0 {
            table.remove(prefix)
        } else {
            table.insert(prefix, value)
        };
    }
    let (snapshot, scoped) = (table.snapshot(), table.scoped_snapshot());
    for &(bits, _, _, v4) in rows.iter().take(ROWS_MAX) {
        let address = Prefix::host(address(bits, v4)).address();
        let covering = table.iter().filter(|(prefix, _)| prefix.contains(address));
        let naive = covering.max_by_key(|(prefix, _)| prefix.length());
        assert_eq!(snapshot.longest(address), naive);
        assert_eq!(table.longest(address), naive);
        let (value, scope) = scoped.get(address);
        assert_eq!(value, naive.map(|(_, value)| value));
        let block = Prefix::new(address, scope).expect("within the family");
        assert!(table.covered(block).all(|(inside, _)| scoped.get(inside.address()).0 == value));
    }
});
