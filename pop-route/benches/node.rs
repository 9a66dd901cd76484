//! Picking a node for a key: Maglev, rendezvous, bounded loads, two choices.
//!
//! `cargo bench -p pop-route --bench node`.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pop_route::{BoundedLoads, Maglev, PeakEwma, Rendezvous, Timestamp};

fn picks(criterion: &mut Criterion) {
    let names: Vec<String> = (0..100).map(|index| format!("node-{index}")).collect();
    let nodes: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut group = criterion.benchmark_group("node");
    let mut key = 0_u64;
    let mut next = || {
        key = key.wrapping_add(1);
        key
    };
    let maglev = Maglev::new(&nodes).expect("nodes");
    group.bench_function("maglev", |bencher| bencher.iter(|| maglev.pick(next())));
    let rendezvous = Rendezvous::new(&nodes).expect("nodes");
    group.bench_function("rendezvous", |bencher| bencher.iter(|| rendezvous.pick(next())));
    let mut bounded = BoundedLoads::new(&nodes, 1.25).expect("nodes");
    group.bench_function("bounded", |bencher| {
        bencher.iter(|| {
            let node = bounded.start(next());
            bounded.finish(node);
            node
        });
    });
    let mut origins = PeakEwma::new(100, Duration::from_secs(10));
    group.bench_function("two choices", |bencher| {
        bencher.iter(|| {
            let now = Timestamp::from_nanos(next() * 1_000);
            let node = origins.pick(next(), now).expect("a node");
            origins.start(node);
            origins.finish(node, Duration::from_millis(5), now);
            node
        });
    });
    group.bench_function("maglev table", |bencher| bencher.iter(|| Maglev::new(&nodes)));
    group.finish();
}

criterion_group!(benches, picks);
criterion_main!(benches);
