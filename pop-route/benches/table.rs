//! The longest-prefix match on a table of its own making: shaped like a full IPv4 table, a tenth of its size.
//!
//! `cargo bench -p pop-route --bench table`. Beside the peers, on the real table: `benches/versus/route`, `lpm`.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pop_route::{Prefix, PrefixTable};

const PREFIXES: u32 = 90_000;

/// The same numbers each time (splitmix64).
fn number(seed: u64) -> u64 {
    let bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Half of them /24s, the others shorter, crowded into a few thousand /16s.
fn table() -> Vec<(Prefix, u32)> {
    (0..PREFIXES)
        .map(|index| {
            let bits = number(index.into());
            let length = if bits & 1 == 0 { 24 } else { 16 + (bits >> 8) as u8 % 8 };
            let address =
                Ipv4Addr::from_bits((bits >> 40) as u32 % 0x0e00_0000 + 0x0100_0000 + (index << 12));
            (Prefix::new(address.into(), length).expect("within the family"), (bits >> 16) as u32 % 7_000)
        })
        .collect()
}

fn tables(criterion: &mut Criterion) {
    let rows = table();
    let table: PrefixTable<u32> = rows.iter().copied().collect();
    let snapshot = table.snapshot();
    let asked: Vec<Ipv4Addr> = (0..4096)
        .map(|index| match rows[number(index) as usize % rows.len()].0.address() {
            std::net::IpAddr::V4(address) => address,
            std::net::IpAddr::V6(_) => unreachable!("the table is IPv4"),
        })
        .collect();
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(asked.len() as u64));
    group.bench_function("longest", |bencher| {
        bencher.iter(|| asked.iter().filter_map(|&address| snapshot.longest_v4(black_box(address))).count());
    });
    let mut found = vec![None; asked.len()];
    group.bench_function("batch", |bencher| {
        bencher.iter(|| snapshot.get_batch_v4(black_box(&asked), &mut found));
    });
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("snapshot", |bencher| bencher.iter(|| table.snapshot()));
    group.bench_function("collect", |bencher| {
        bencher.iter(|| rows.iter().copied().collect::<PrefixTable<u32>>());
    });
    group.finish();
}

criterion_group!(benches, tables);
criterion_main!(benches);
