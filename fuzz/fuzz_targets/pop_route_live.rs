//! Any sequence of changes and publishings of a live table: what readers see is what looking at every prefix finds.
#![no_main]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use pop_route::{LiveTable, Prefix, PrefixTable};

const STEPS_MAX: usize = 200;

fn prefix(bits: u32, length: u8, v4: bool) -> Prefix {
    let (address, max): (IpAddr, u8) = if v4 {
        (Ipv4Addr::from_bits(bits).into(), 32)
    } else {
        (Ipv6Addr::from_bits(u128::from(bits) << 64).into(), 128)
    };
    Prefix::new(address, length % (max + 1)).expect("within the family")
}

fuzz_target!(|steps: Vec<(u32, u8, u8, bool)>| {
    let live = LiveTable::new(PrefixTable::new());
    let mut rows = BTreeMap::new();
    for &(bits, length, what, v4) in steps.iter().take(STEPS_MAX) {
        let changed = prefix(bits, length, v4);
        match what % 8 {
            0 => live.publish(),
            1 | 2 => {
                let before = live.update(|table| table.remove(changed).copied());
                assert_eq!(before, rows.remove(&changed));
            }
            value => {
                let before = live.update(|table| table.insert(changed, value).copied());
                assert_eq!(before, rows.insert(changed, value));
            }
        }
    }
    live.publish();
    let snapshot = live.load();
    for &(bits, length, _, v4) in steps.iter().take(STEPS_MAX) {
        for address in [prefix(bits, 255, v4).address(), prefix(bits, length, v4).address()] {
            let around = rows.iter().filter(|(prefix, _)| prefix.contains(address));
            let naive =
                around.max_by_key(|(prefix, _)| prefix.length()).map(|(&prefix, value)| (prefix, value));
            assert_eq!(snapshot.longest(address), naive);
        }
    }
    assert_eq!(snapshot.len(), rows.len());
});
