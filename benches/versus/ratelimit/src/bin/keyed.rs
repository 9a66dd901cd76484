//! A bucket for each key, keys drawn uniformly: 1 thousand, 100 thousand, 1 million.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::QuantaClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota as GovernorQuota, RateLimiter};
use pingora_limits::rate::Rate;
use pop_ratelimit::{KeyedLimiter, Quota, now};
use versus_ratelimit::{Contestant, Random, compare, repeat};

fn main() {
    let high = NonZeroU32::new(1_000_000).expect("not zero");
    for (keys, count) in [(1_000_u64, 2_000_000), (100_000, 2_000_000), (1_000_000, 1_500_000)] {
        let quota = GovernorQuota::per_second(high).allow_burst(high);
        let store: DashMapStateStore<u64, ahash::RandomState> =
            dashmap::DashMap::with_hasher(ahash::RandomState::new());
        let governor = RateLimiter::<_, _, _, NoOpMiddleware<governor::clock::QuantaInstant>>::new(
            quota,
            store,
            QuantaClock::default(),
        );
        let pingora = Rate::new(Duration::from_secs(1));
        // Sixteen bytes a key and at least a page, then a power of two: the law of the README.
        let ours = KeyedLimiter::<u64>::new(
            Quota::per_second(1_000_000).burst(1_000_000),
            (keys as usize * 16).next_power_of_two(),
        );
        let roomy = KeyedLimiter::<u64>::new(Quota::per_second(1_000_000).burst(1_000_000), 64 << 20);
        // Drawn beforehand, so that drawing costs nothing: more than any cache of the processor's guesses holds.
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let drawn: Vec<u64> = (0..1 << 20).map(|_| random.next() % keys).collect();
        let key = |thread: usize, step: usize| &drawn[(step + thread * 77_777) & ((1 << 20) - 1)];
        let contestants = [
            Contestant::new("governor + ahash", |thread, count| {
                repeat(count, |step| governor.check_key(key(thread, step)).is_ok());
            }),
            Contestant::new("pingora-limits (observe)", |thread, count| {
                repeat(count, |step| pingora.observe(key(thread, step), 1) < 1_000_000);
            }),
            Contestant::new("KeyedLimiter", |thread, count| {
                repeat(count, |step| ours.check(key(thread, step), 1).is_allowed());
            }),
            Contestant::new("KeyedLimiter, 64 MiB", |thread, count| {
                repeat(count, |step| roomy.check(key(thread, step), 1).is_allowed());
            }),
            Contestant::new("KeyedLimiter, a stamp each 64", |thread, count| {
                for batch in 0..count / 64 {
                    let stamp = now();
                    repeat(64, |step| ours.check_at(key(thread, batch * 64 + step), stamp, 1).is_allowed());
                }
            }),
            Contestant::new("KeyedLimiter, batches of 64", |thread, count| {
                for batch in 0..count / 64 {
                    let from = (batch * 64 + thread * 77_777) & ((1 << 20) - 64);
                    let mut passed = 0_u64;
                    ours.check_batch_at(&drawn[from..from + 64], now(), 1, |_, decision| {
                        passed += u64::from(decision.is_allowed());
                    });
                    std::hint::black_box(passed);
                }
            }),
        ];
        for threads in [1, 2] {
            compare(&format!("{keys} keys"), threads, count, &contestants);
        }
        println!("  table {} KiB, pressure {}", ours.memory_bytes() >> 10, ours.pressure());
    }
}
