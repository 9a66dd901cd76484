//! Any sequence of insertions and removals: the snapshot finds what looking at every prefix finds.
#![no_main]

use std::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;
use pop_route::{Prefix, PrefixTable};

fuzz_target!(|rows: Vec<(u128, u8, u8)>| {
    let mut table = PrefixTable::new();
    let prefix = |bits, length: u8| Prefix::new(Ipv6Addr::from_bits(bits).into(), length % 129).expect("within the family");
    for &(bits, length, value) in rows.iter().take(64) {
        if value == 0 { table.remove(prefix(bits, length)) } else { table.insert(prefix(bits, length), value) };
    }
    let snapshot = table.snapshot();
    for &(bits, _, _) in rows.iter().take(64) {
        let address = Prefix::host(Ipv6Addr::from_bits(bits).into()).address();
        let naive = table.iter().filter(|(prefix, _)| prefix.contains(address)).max_by_key(|(prefix, _)| prefix.length());
        assert_eq!(snapshot.longest(address), naive);
        assert_eq!(table.longest(address), naive);
    }
});
