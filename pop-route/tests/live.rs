//! The live table against the naive look-up, with publishing in between, and many readers beside a writer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use pop_route::{LiveTable, Prefix, PrefixSnapshot, PrefixTable};
use proptest::prelude::*;

/// A change, or the wish to see what there is.
#[derive(Clone, Debug)]
enum Step {
    Insert(Prefix, u16),
    Remove(Prefix),
    Publish,
}

/// Blocks of a few /16s, so that they nest and touch; the ends of the space; whole-space and host blocks.
fn prefixes() -> impl Strategy<Value = Prefix> {
    let v4 = (
        prop_oneof![Just(0_u32), Just(0x0a00_0000), Just(0x0a01_0000), Just(0xffff_0000)],
        prop_oneof![0_u32..=0xffff, (0_u32..16).prop_map(|high| high << 12), Just(0xffff)],
        prop_oneof![8_u8..=32, 16_u8..=24, 0_u8..=32],
    );
    let v4 = v4.prop_map(|(base, low, length)| Prefix::new(Ipv4Addr::from_bits(base | low).into(), length));
    let v6 = (0_u128..8, 0_u32..6, 0_u8..=128).prop_map(|(low, place, length)| {
        Prefix::new(Ipv6Addr::from_bits(0x2a00 << 112 | low << (place * 20)).into(), length)
    });
    prop_oneof![4 => v4, 1 => v6].prop_map(|prefix| prefix.unwrap())
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prefixes(), 0_u16..5).prop_map(|(prefix, value)| Step::Insert(prefix, value)),
        3 => prefixes().prop_map(Step::Remove),
        1 => Just(Step::Publish),
    ]
}

fn naive(rows: &BTreeMap<Prefix, u16>, address: IpAddr) -> Option<(Prefix, &u16)> {
    let around = rows.iter().filter(|(prefix, _)| prefix.contains(address));
    around.max_by_key(|(prefix, _)| prefix.length()).map(|(&prefix, value)| (prefix, value))
}

/// At the ends of every block there ever was, and one beyond them, alone and in a batch.
fn check(snapshot: &PrefixSnapshot<u16>, rows: &BTreeMap<Prefix, u16>, ever: &[Prefix]) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for prefix in ever {
        match prefix.address() {
            IpAddr::V4(first) => {
                let first = first.to_bits();
                let last = first | u32::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
                v4.extend(
                    [first.wrapping_sub(1), first, last, last.wrapping_add(1)].map(Ipv4Addr::from_bits),
                );
            }
            IpAddr::V6(first) => {
                let first = first.to_bits();
                let last = first | u128::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
                v6.extend(
                    [first.wrapping_sub(1), first, last, last.wrapping_add(1)].map(Ipv6Addr::from_bits),
                );
            }
        }
    }
    v6.retain(|address| address.to_ipv4_mapped().is_none());
    for address in v4.iter().copied().map(IpAddr::V4).chain(v6.iter().copied().map(IpAddr::V6)) {
        assert_eq!(snapshot.longest(address), naive(rows, address), "{address}");
    }
    let mut found = vec![None; v4.len()];
    snapshot.get_batch_v4(&v4, &mut found);
    for (&address, found) in v4.iter().zip(found) {
        let expected = naive(rows, address.into()).map(|(prefix, value)| (prefix.length(), value));
        assert_eq!(found, expected, "{address} in a batch");
    }
    assert_eq!(snapshot.len(), rows.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn what_is_published_agrees_with_naive(
        given in prop::collection::vec((prefixes(), 0_u16..5), 0..20),
        steps in prop::collection::vec(steps(), 1..80),
    ) {
        let mut rows: BTreeMap<Prefix, u16> = given.into_iter().collect();
        let mut ever: Vec<Prefix> = rows.keys().copied().collect();
        let live = LiveTable::new(rows.iter().map(|(&prefix, &value)| (prefix, value)).collect());
        check(&live.load(), &rows, &ever);
        let (mut shown, mut kept) = (rows.clone(), Vec::new());
        for step in steps {
            match step {
                Step::Insert(prefix, value) => {
                    ever.push(prefix);
                    let before = live.update(|table| table.insert(prefix, value).copied());
                    prop_assert_eq!(before, rows.insert(prefix, value));
                }
                Step::Remove(prefix) => {
                    let before = live.update(|table| table.remove(prefix).copied());
                    prop_assert_eq!(before, rows.remove(&prefix));
                }
                Step::Publish => {
                    // What somebody kept stays as it was, whatever is published after it.
                    kept.push((live.load(), shown));
                    live.publish();
                    shown = rows.clone();
                    check(&live.load(), &rows, &ever);
                }
            }
        }
        kept.iter().for_each(|(snapshot, rows)| check(snapshot, rows, &ever));
        check(&live.load(), &shown, &ever);
        live.publish();
        check(&live.load(), &rows, &ever);
        live.update(|table| {
            let whole = table.to_table();
            assert_eq!(whole.iter().map(|(prefix, &value)| (prefix, value)).collect::<BTreeMap<_, _>>(), rows);
            for &prefix in &ever {
                assert_eq!(table.exact(prefix), rows.get(&prefix));
                assert_eq!(table.longest(prefix.address()), naive(&rows, prefix.address()));
            }
        });
    }
}

/// Values come and go by the hundred thousand; what is in use is a handful.
#[test]
fn values_that_nobody_has_are_forgotten() {
    let live = LiveTable::new(PrefixTable::new());
    let prefix = |index: u32| Prefix::new(Ipv4Addr::from_bits(index << 12).into(), 20).unwrap();
    for value in 0..100_000_u32 {
        live.update(|table| table.insert(prefix(value % 50), value).is_some());
    }
    live.publish();
    let snapshot = live.load();
    for index in 0..50 {
        assert_eq!(snapshot.get(prefix(index).address()), Some(&(99_950 + index)));
    }
    assert!(snapshot.memory_bytes() < 400_000, "{snapshot:?}");
    assert!(live.memory_bytes() < 2_000_000, "{}", live.memory_bytes());
}

/// Rooms that nodes leave are used again: however long networks come and go, the trie stays near what it need be.
#[test]
fn churn_does_not_grow_the_trie() {
    let live = LiveTable::new(PrefixTable::new());
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    for _ in 0..20 {
        live.update(|table| {
            for _ in 0..10_000 {
                let prefix = Prefix::new(Ipv4Addr::from_bits(next() >> 6).into(), 14 + (next() % 16) as u8);
                match next() % 2 {
                    0 => _ = table.insert(prefix.unwrap(), next() % 8),
                    _ => _ = table.remove(prefix.unwrap()),
                }
            }
        });
        live.publish();
    }
    let rows = live.update(|table| table.to_table());
    let (live_bytes, bytes) = (live.load().memory_bytes(), LiveTable::new(rows).load().memory_bytes());
    assert!(live_bytes < bytes * 3 / 2 + (1 << 19), "{live_bytes} against {bytes}");
    live.update(|table| {
        let all = table.to_table();
        assert!(all.iter().all(|(prefix, _)| table.remove(prefix).is_some()));
    });
    live.publish();
    assert!(live.load().is_empty() && live.load().longest("10.0.0.1".parse().unwrap()).is_none());
}

/// All prefixes change value together; a reader never sees two values in one snapshot, and never an older one.
#[test]
fn readers_see_whole_snapshots_while_a_writer_goes_on() {
    let prefixes: Vec<Prefix> =
        (0..256).map(|index| Prefix::new(Ipv4Addr::new(10, index as u8, 0, 0).into(), 16).unwrap()).collect();
    let live = LiveTable::new(prefixes.iter().map(|&prefix| (prefix, 0_u32)).collect());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut newest = 0;
                    while !done.load(Ordering::Relaxed) {
                        let snapshot = live.load();
                        let first = *snapshot.get(prefixes[0].address()).unwrap();
                        assert!(first >= newest, "{first} after {newest}");
                        newest = first;
                        for prefix in &prefixes {
                            assert_eq!(snapshot.get(prefix.address()), Some(&first));
                        }
                    }
                    newest
                })
            })
            .collect();
        for round in 1..=200 {
            live.update(|table| table.extend(prefixes.iter().map(|&prefix| (prefix, round))));
            live.publish();
        }
        done.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() <= 200));
    });
    assert_eq!(live.load().get(prefixes[7].address()), Some(&200));
}
