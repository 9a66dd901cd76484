//! What the cache's operations cost, without peers: `cargo bench -p pop-cache`. Beside its peers: `benches/versus/cache`.
#![allow(missing_docs, reason = "criterion's macros make the functions")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use pop_cache::{Cache, EntryOptions, InlineCache};

const KEYS: u64 = 100_000;

/// Keys of which few are asked for often: the square of a uniform number, skewed enough to hit a tenth half of the time.
struct Skewed(u64);

impl Skewed {
    fn next(&mut self, keys: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = (self.0 >> 40) as f64 / (1_u64 << 24) as f64;
        (unit * unit * unit * keys as f64) as u64
    }
}

fn filled(keys: u64) -> Cache<u64, u64> {
    let cache = Cache::builder(2 * keys).entries(keys as usize).build();
    (0..keys).for_each(|key| cache.insert(key, key).expect("it fits"));
    cache
}

fn hits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hit");
    let mut keys = Skewed(1);
    let cache = filled(KEYS);
    group.bench_function("get", |bencher| bencher.iter(|| cache.get(&keys.next(KEYS))));
    group.bench_function("get_ref", |bencher| {
        bencher.iter(|| cache.get_ref(&keys.next(KEYS)).map(|value| *value));
    });
    let inline = InlineCache::new(2 * KEYS as usize);
    for key in 0..KEYS {
        inline.insert(key, key);
    }
    group.bench_function("inline", |bencher| bencher.iter(|| inline.get(&keys.next(KEYS))));
    group.finish();
}

/// A tenth fits: a miss is read through, and evicts.
fn read_through(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read-through");
    let mut keys = Skewed(2);
    let cache: Cache<u64, u64> = Cache::builder(KEYS / 10).entries(KEYS as usize / 10).build();
    let mut request = || {
        let key = keys.next(KEYS);
        cache.get(&key).is_some() || cache.insert(key, key).is_ok()
    };
    (0..KEYS).for_each(|_| assert!(request()));
    group.bench_function("cache", |bencher| bencher.iter(&mut request));
    let inline = InlineCache::new(KEYS as usize / 10);
    let mut request = || inline.get_or_insert_with(keys.next(KEYS), |key| *key);
    for _ in 0..KEYS {
        black_box(request());
    }
    group.bench_function("inline", |bencher| bencher.iter(&mut request));
    group.finish();
}

/// Nineteen gets, then an insert.
fn mixed(criterion: &mut Criterion) {
    let mut keys = Skewed(3);
    let cache: Cache<u64, u64> = Cache::builder(KEYS / 10).entries(KEYS as usize / 10).build();
    let mut turn = 0_u64;
    criterion.bench_function("mixed, 95 % gets", |bencher| {
        bencher.iter(|| {
            let key = keys.next(KEYS);
            turn += 1;
            if turn.is_multiple_of(20) { cache.insert(key, key).is_ok() } else { cache.get(&key).is_some() }
        });
    });
}

/// What a lifetime adds to a hit and to an insert, and what it takes to get rid of what is over.
fn expiry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("expiry");
    let mut keys = Skewed(4);
    let hour = EntryOptions::new().time_to_live(Duration::from_secs(3600));
    let cache: Cache<u64, u64> = Cache::builder(2 * KEYS).entries(KEYS as usize).build();
    (0..KEYS).for_each(|key| cache.insert_entry(key, key, hour.clone()).expect("it fits"));
    group.bench_function("get, with a deadline", |bencher| bencher.iter(|| cache.get(&keys.next(KEYS))));
    group.bench_function("insert, with a deadline", |bencher| {
        bencher.iter(|| cache.insert_entry(keys.next(KEYS), 1, hour.clone()).is_ok());
    });
    let moment = EntryOptions::new().time_to_live(Duration::from_nanos(1));
    group.bench_function("insert, of what is over at once", |bencher| {
        bencher.iter(|| cache.insert_entry(keys.next(KEYS), 1, moment.clone()).is_ok());
    });
    group.finish();
}

/// A purge costs the same whatever has the tag; the hits that follow find out one by one.
fn tags(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tags");
    let mut keys = Skewed(5);
    let cache: Cache<u64, u64> = Cache::builder(2 * KEYS).entries(KEYS as usize).build();
    let tagged = |key: u64| EntryOptions::new().tag(key % 1000).tag(1000 + key % 7);
    (0..KEYS).for_each(|key| cache.insert_entry(key, key, tagged(key)).expect("it fits"));
    group.bench_function("get, with two tags", |bencher| bencher.iter(|| cache.get(&keys.next(KEYS))));
    group.bench_function("insert, with two tags", |bencher| {
        bencher.iter(|| {
            let key = keys.next(KEYS);
            cache.insert_entry(key, key, tagged(key)).is_ok()
        });
    });
    group.bench_function("invalidate_tag", |bencher| {
        bencher.iter_batched(|| keys.next(1000), |tag| cache.invalidate_tag(tag), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, hits, read_through, mixed, expiry, tags);
criterion_main!(benches);
