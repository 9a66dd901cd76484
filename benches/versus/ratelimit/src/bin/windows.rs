//! limitador, which counts in fixed windows: what a check costs beside ours, and what passes in the worst second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use limitador::RateLimiter;
use limitador::limit::{Context, Limit, Namespace};
use pop_ratelimit::{KeyedLimiter, Quota};
use versus_ratelimit::{Contestant, Random, compare, repeat};

const KEYS: u64 = 1000;
const COUNT: usize = 50_000;

fn context(key: u64) -> Context<'static> {
    HashMap::from([("user".to_owned(), key.to_string())]).into()
}

fn limited(max: u64, seconds: u64) -> RateLimiter {
    let limiter = RateLimiter::new(2 * KEYS);
    let user = "user".try_into().expect("a variable");
    limiter.add_limit(Limit::new("edge", max, seconds, vec![], vec![user]));
    limiter
}

fn main() {
    let namespace: Namespace = "edge".into();
    let passes = |limiter: &RateLimiter, context: &Context<'_>| {
        !limiter.check_rate_limited_and_update(&namespace, context, 1).expect("no storage fails").limited
    };
    let theirs = limited(1_000_000, 1);
    let ours = KeyedLimiter::<u64>::new(Quota::per_second(1_000_000), 64 << 10);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let drawn: Vec<u64> = (0..COUNT).map(|_| random.next() % KEYS).collect();
    let contestants = [
        Contestant::new("limitador, in memory", |_, count| {
            let contexts: Vec<_> = (0..KEYS).map(context).collect();
            repeat(count, |step| passes(&theirs, &contexts[drawn[step] as usize]));
        }),
        Contestant::new("KeyedLimiter", |_, count| {
            repeat(count, |step| ours.check(&drawn[step], 1).is_allowed());
        }),
    ];
    for threads in [1, 2] {
        compare("1000 keys", threads, COUNT, &contestants);
    }

    // A hundred a second, asked for without a pause for two and a half seconds: the most that passed in any second.
    let (window, bucket) =
        (limited(100, 1), KeyedLimiter::<u64>::new(Quota::per_second(100).burst(10), 4096));
    let key = context(7);
    worst_second("limitador", || passes(&window, &key));
    worst_second("KeyedLimiter, burst 10", || bucket.check(&7, 1).is_allowed());
}

/// Waits out most of a window first, as an attacker would.
fn worst_second(name: &str, check: impl Fn() -> bool) {
    check();
    std::thread::sleep(Duration::from_millis(900));
    let start = Instant::now();
    let mut passed = Vec::new();
    while start.elapsed() < Duration::from_millis(2500) {
        if check() {
            passed.push(start.elapsed());
        }
    }
    let within = |from: &Duration| {
        passed.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(at)).count()
    };
    let worst = passed.iter().map(within).max().unwrap_or(0);
    println!("{name:26} {worst} in the worst second, of a hundred a second");
}
