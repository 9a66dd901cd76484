//! The bucket against exact arithmetic, and against the bound that it promises for every interval.

use std::time::Duration;

use pop_ratelimit::{
    Decision, Hierarchy, KeyedLimiter, KeyedWindows, Level, PrefixTiers, Quota, Timestamp, TokenBucket,
};
use proptest::prelude::*;

/// Nothing is rounded: time is counted in nanoseconds times tokens.
struct Exact {
    quota: Quota,
    full_at: u128,
}

impl Exact {
    fn check(&mut self, now: u64, cost: u64) -> bool {
        let virtual_now = u128::from(now) * u128::from(self.quota.tokens());
        let period = self.quota.period().as_nanos();
        let after = self.full_at.max(virtual_now) + u128::from(cost) * period;
        let passes = after - virtual_now <= u128::from(self.quota.burst_size()) * period;
        if passes {
            self.full_at = after;
        }
        passes
    }
}

fn quotas() -> impl Strategy<Value = Quota> {
    (1_u64..100_000, 1_u64..10_000_000_000, 1_u64..1000).prop_filter_map(
        "rate in bounds",
        |(tokens, nanos, burst)| {
            Quota::new(tokens, Duration::from_nanos(nanos)).ok().map(|quota| quota.burst(burst))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is refused would be refused by the exact bucket a few nanoseconds earlier, and what passes there at
    /// every step passes in total: both sides see the same requests, so their sums stay within one rounding.
    #[test]
    fn agrees_with_exact_arithmetic(
        quota in quotas(),
        steps in prop::collection::vec((0_u64..1_000_000_000, 0_u64..20), 1..200),
    ) {
        let bucket = TokenBucket::new(quota);
        let mut exact = Exact { quota, full_at: 0 };
        let mut now = 0;
        for (elapsed, cost) in steps {
            now += elapsed;
            if bucket.check_at(Timestamp::from_nanos(now), cost).is_allowed() {
                // One nanosecond of rounding is granted to ours, never a token.
                prop_assert!(exact.check(now + 1, cost), "over-admitted {cost} at {now}");
            } else if cost <= quota.burst_size() {
                let mut probe = Exact { quota, full_at: exact.full_at };
                let earlier = now.saturating_sub(2 + now / (1 << 30));
                prop_assert!(!probe.check(earlier, cost), "refused {cost} at {now}");
            }
        }
    }

    /// Windows, which charge by what they saw when they asked, say what levels say that are looked up again.
    #[test]
    fn windows_agree_with_a_hierarchy(
        quotas in prop::collection::vec(quotas(), 1..4),
        steps in prop::collection::vec((0_u64..200_000_000, 0_u64..20), 1..200),
    ) {
        let windows = KeyedWindows::<str>::new(&quotas, 1 << 14);
        let limiters: Vec<_> =
            quotas.iter().map(|&quota| KeyedLimiter::<str>::new(quota, 1 << 12)).collect();
        let levels: Vec<_> = limiters.iter().map(|limiter| (limiter, "alice")).collect();
        let levels: Vec<&dyn Level> = levels.iter().map(|level| level as &dyn Level).collect();
        let mut now = Timestamp::ZERO;
        for (elapsed, cost) in steps {
            now = now.saturating_add(Duration::from_nanos(elapsed));
            prop_assert_eq!(windows.check_at("alice", now, cost), Hierarchy::new(&levels).check_at(now, cost));
        }
    }

    #[test]
    fn retry_after_is_the_truth(quota in quotas(), spend in 1_u64..1000, start in 0_u64..1_000_000) {
        let bucket = TokenBucket::new(quota);
        let start = Timestamp::from_nanos(start);
        let spend = spend.min(quota.burst_size());
        prop_assert!(bucket.check_at(start, quota.burst_size()).is_allowed());
        let Decision::Limited { retry_after } = bucket.peek_at(start, spend) else {
            return Err(TestCaseError::fail("an empty bucket passes nothing"));
        };
        prop_assert!(bucket.peek_at(start.saturating_add(retry_after), spend).is_allowed());
        let slack = Duration::from_nanos(4) + retry_after / 1_000_000;
        let early = retry_after.saturating_sub(slack);
        if early > Duration::ZERO {
            prop_assert!(!bucket.peek_at(start.saturating_add(early), spend).is_allowed());
        }
    }

    /// A clock that runs wild never yields more than the burst and the rate over the span it visited.
    #[test]
    fn steps_of_the_clock_never_over_admit(times in prop::collection::vec(0_u64..20_000_000_000, 1..300)) {
        let bucket = TokenBucket::new(Quota::per_second(10).burst(5));
        let passed = times.iter().filter(|&&now| bucket.check_at(Timestamp::from_nanos(now), 1).is_allowed()).count();
        let latest = times.iter().max().copied().unwrap_or(0);
        prop_assert!(passed as u64 <= 5 + 10 * latest / 1_000_000_000 + 1);
    }
}

#[test]
fn refunds_give_back_no_more_than_was_taken() {
    let bucket = TokenBucket::new(Quota::per_second(1).burst(4));
    let now = Timestamp::ZERO;
    assert!(bucket.check_at(now, 3).is_allowed());
    bucket.refund_at(now, now, 2);
    assert_eq!(bucket.peek_at(now, 0), Decision::Allowed { remaining: 3 });
    bucket.refund_at(now, now, 4);
    assert_eq!(bucket.check_at(now, 4), Decision::Allowed { remaining: 0 });
}

#[test]
fn a_cost_above_the_burst_is_never() {
    let bucket = TokenBucket::new(Quota::per_second(100).burst(10));
    assert_eq!(bucket.check_at(Timestamp::ZERO, 11), Decision::Never { burst: 10 });
    assert_eq!(TokenBucket::new(Quota::BLOCKED).check_at(Timestamp::ZERO, 1), Decision::Never { burst: 0 });
}

#[test]
fn threads_together_get_the_burst_and_not_one_more() {
    let bucket = TokenBucket::new(Quota::new(0, Duration::from_secs(1)).unwrap().burst(100_000));
    let keyed = KeyedLimiter::<str>::new(bucket.quota(), 4096);
    let worker = || {
        let one = (0..50_000).filter(|_| bucket.check_at(Timestamp::ZERO, 1).is_allowed()).count();
        let other = (0..50_000).filter(|_| keyed.check_at("key", Timestamp::ZERO, 1).is_allowed()).count();
        (one, other)
    };
    let (one, other) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    assert_eq!((one, other), (100_000, 100_000));
}

/// Many threads insert the same new keys into one crowded line: no key gets more than its burst.
#[test]
fn racing_inserts_never_over_admit() {
    for round in 0..200_u64 {
        let limiter = KeyedLimiter::<u64>::new(Quota::per_second(1).burst(3), 64);
        let now = Timestamp::from_nanos(round * 1_000);
        let counts: Vec<Vec<usize>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        (0..6_u64)
                            .map(|key| (0..4).filter(|_| limiter.check_at(&key, now, 1).is_allowed()).count())
                            .collect()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        for key in 0..6 {
            let passed: usize = counts.iter().map(|count| count[key]).sum();
            assert!(passed <= 3, "key {key} passed {passed} times in round {round}");
        }
    }
}

#[test]
fn public_types_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<TokenBucket>();
    check::<KeyedLimiter<str>>();
    check::<PrefixTiers>();
}
