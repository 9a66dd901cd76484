//! A decision among 104 sites, its explanation, and what a change costs.
//!
//! `cargo bench -p pop-route --bench selector`. On the real table: `benches/versus/route`, `decision`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use pop_route::{ClientFacts, Location, Selector, Site, SiteMap, Timestamp};

const SITES: u32 = 104;
const CLIENTS: u32 = 10_000;

/// Spread evenly over the globe: a spiral that turns by the golden angle.
fn spiral(index: u32, count: u32) -> Location {
    let height = (f64::from(index) + 0.5) / f64::from(count) * 2.0 - 1.0;
    let turn = f64::from(index) * 137.507_764 % 360.0 - 180.0;
    Location::new(height.asin().to_degrees(), turn).expect("on the globe")
}

fn client(index: u32) -> (IpAddr, u8) {
    (Ipv4Addr::from_bits(0x0a00_0000 + (index << 8)).into(), 24)
}

fn selections(criterion: &mut Criterion) {
    let sites = (0..SITES).map(|index| Site::new(format!("S{index}"), spiral(index, SITES)));
    let mut builder = Selector::builder(SiteMap::new(sites).expect("a map"));
    for index in 0..CLIENTS {
        let facts = ClientFacts::at(spiral(index % 2_000, 2_000));
        builder = builder.client(client(index), facts).expect("a block");
    }
    let selector = builder.build();
    let site = selector.sites().find("S7").expect("there");
    let mut group = criterion.benchmark_group("selector");
    let mut next = (0..CLIENTS).map(client).cycle();
    group.bench_function("select", |bencher| {
        bencher.iter(|| selector.select(black_box(next.next().expect("it cycles"))));
    });
    group.bench_function("explain", |bencher| {
        bencher.iter(|| selector.explain(black_box(next.next().expect("it cycles"))));
    });
    let mut drained = false;
    group.bench_function("drain", |bencher| {
        bencher.iter(|| {
            drained = !drained;
            selector.drain(site, drained, Timestamp::ZERO);
        });
    });
    group.finish();
}

criterion_group!(benches, selections);
criterion_main!(benches);
