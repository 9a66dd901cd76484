//! What a check costs, without peers: `cargo bench -p pop-ratelimit`. Beside its peers: `benches/versus/ratelimit`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pop_ratelimit::{Hierarchy, KeyedLimiter, LeasedBucket, PrefixTiers, Quota, TokenBucket, now};

const HIGH: Quota = Quota::per_second(1_000_000_000);

fn shared(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shared");
    let bucket = TokenBucket::new(HIGH);
    group.bench_function("check", |bencher| bencher.iter(|| bucket.check(1).is_allowed()));
    group.bench_function("check, one stamp", |bencher| {
        let at = bucket.at(now());
        bencher.iter(|| at.check(black_box(0)).is_allowed());
    });
    let blocked = TokenBucket::new(Quota::new(1, Duration::from_secs(86_400)).expect("a quota"));
    let _ = blocked.check(1);
    group.bench_function("denied", |bencher| bencher.iter(|| blocked.check(1).is_allowed()));
    let leased = LeasedBucket::new(HIGH, 4);
    group.bench_function("leased", |bencher| bencher.iter(|| leased.check(1).is_allowed()));
    group.finish();
}

fn keyed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keyed");
    for keys in [1_000_u64, 100_000, 1_000_000] {
        let limiter = KeyedLimiter::<u64>::new(Quota::per_second(1_000_000), keys as usize * 16);
        // A full cycle without a pattern: the multiplier is odd.
        let drawn: Vec<u64> =
            (0..1_u64 << 16).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys).collect();
        let mut next = drawn.iter().cycle();
        group.bench_function(format!("check, {keys} keys"), |bencher| {
            bencher.iter(|| next.next().map(|key| limiter.check(key, 1).is_allowed()));
        });
        let mut batches = drawn.chunks_exact(64).cycle();
        group.throughput(Throughput::Elements(64));
        group.bench_function(format!("batch of 64, {keys} keys"), |bencher| {
            bencher.iter(|| {
                let batch = batches.next().unwrap_or_default();
                limiter.check_batch_at(batch, now(), 1, |_, decision| {
                    let _ = black_box(decision);
                });
            });
        });
        group.throughput(Throughput::Elements(1));
    }
    group.finish();
}

fn several(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("several");
    let tiers = PrefixTiers::new(Quota::per_second(1_000_000), 1 << 20);
    group.bench_function("prefix tiers, IPv4", |bencher| {
        bencher.iter(|| tiers.check([192, 0, 2, 1].into(), 1).is_allowed());
    });
    let global = TokenBucket::new(HIGH);
    let clients = KeyedLimiter::<str>::new(Quota::per_second(1_000_000), 1 << 16);
    group.bench_function("hierarchy of two", |bencher| {
        bencher.iter(|| Hierarchy::new(&[&global, &(&clients, "alice")]).check_at(now(), 1).is_allowed());
    });
    group.finish();
}

criterion_group!(benches, shared, keyed, several);
criterion_main!(benches);
