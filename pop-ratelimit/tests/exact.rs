//! The promises on trial: oracles in exact arithmetic, and the bound over every interval.
#![cfg(not(loom))]

use std::collections::HashMap;
use std::time::Duration;

use pop_ratelimit::{
    Decision, Hierarchy, KeyedLimiter, LeasedBucket, Level, ManualClock, PrefixTiers, Quota, Reservation,
    Timestamp, TokenBucket, Verdict, now,
};
use proptest::prelude::*;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// The largest excess over `rate × t` of any run of 1 ms bins, in tokens: what a burst must cover.
fn largest_excess(bins: &[u64], per_millisecond: f64) -> f64 {
    let (mut here, mut largest) = (0.0_f64, 0.0_f64);
    for &count in bins {
        here = (here + count as f64 - per_millisecond).max(0.0);
        largest = largest.max(here);
    }
    // A run of n bins is a time of n milliseconds at most, and each step above takes one away.
    largest
}

/// Four threads, the process clock, one hundred milliseconds: every interval on a grid of a millisecond.
fn check_grid(quota: Quota, check: impl Fn(Timestamp) -> bool + Sync) {
    const BINS: usize = 100;
    let start = now();
    let bins = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut bins = vec![0_u64; BINS];
                    loop {
                        let stamp = now();
                        let bin = stamp.saturating_since(start).as_millis() as usize;
                        if bin >= BINS {
                            return bins;
                        }
                        bins[bin] += u64::from(check(stamp));
                    }
                })
            })
            .collect();
        let bins = workers.into_iter().map(|worker| worker.join().unwrap());
        bins.reduce(|sum, bins| sum.iter().zip(bins).map(|(a, b)| a + b).collect()).unwrap()
    });
    let per_millisecond = quota.tokens() as f64 / quota.period().as_secs_f64() / 1000.0;
    let excess = largest_excess(&bins, per_millisecond);
    assert!(excess <= quota.burst_size() as f64, "{excess} above the rate, burst {}", quota.burst_size());
    assert!(bins.iter().sum::<u64>() > 0);
}

#[test]
fn four_threads_stay_within_burst_and_rate_over_every_interval() {
    let quota = Quota::per_second(100_000).burst(500);
    let bucket = TokenBucket::new(quota);
    check_grid(quota, |stamp| bucket.check_at(stamp, 1).is_allowed());
    let leased = LeasedBucket::new(quota, 4);
    check_grid(quota, |stamp| leased.check_at(stamp, 1).is_allowed());
    let keyed = KeyedLimiter::<str>::new(quota, 4096);
    check_grid(quota, |stamp| keyed.check_at("key", stamp, 1).is_allowed());
}

/// One token bucket in exact arithmetic: nanoseconds times tokens.
#[derive(Clone, Copy, Default)]
struct Exact {
    full_at: u128,
}

impl Exact {
    /// Whether `cost` conforms at `now` to within `tick` nanoseconds, and charges it if so.
    fn check(&mut self, quota: Quota, now: u64, cost: u64, tick: u64) -> bool {
        let virtual_now = u128::from(now) * u128::from(quota.tokens());
        let period = quota.period().as_nanos();
        let after = self.full_at.max(virtual_now) + u128::from(cost) * period;
        let slack = u128::from(tick) * u128::from(quota.tokens());
        let conforms = after <= virtual_now + u128::from(quota.burst_size()) * period + slack;
        if conforms {
            self.full_at = after;
        }
        conforms
    }
}

#[derive(Clone, Debug)]
enum Step {
    Check {
        key: u64,
        elapsed: u64,
        cost: u64,
    },
    /// Gives back part of an earlier grant: which of them, and how much of it.
    Refund {
        which: usize,
        part: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let check = (0_u64..24, 0_u64..60_000_000, 1_u64..6);
    let check = check.prop_map(|(key, elapsed, cost)| Step::Check { key, elapsed, cost });
    let refund = (0_usize..40, 1_u64..6).prop_map(|(which, part)| Step::Refund { which, part });
    prop::collection::vec(prop_oneof![4 => check, 1 => refund], 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// One line of eight slots and three times as many keys, refunds in between. For each key the grants that were
    /// not refunded, replayed at their own times into an exact bucket of its own, all conform: nobody ever got more,
    /// whatever was evicted and came back.
    #[test]
    fn no_key_is_over_admitted_by_any_order_of_keys_and_refunds(steps in steps()) {
        let quota = Quota::per_second(100).burst(5);
        let limiter = KeyedLimiter::<u64>::new(quota, 64);
        // key, stamp, cost less what was refunded
        let mut grants: Vec<(u64, u64, u64)> = Vec::new();
        let mut now = 1_000;
        for step in steps {
            match step {
                Step::Check { key, elapsed, cost } => {
                    now += elapsed;
                    if limiter.check_at(&key, at(now), cost).is_allowed() {
                        grants.push((key, now, cost));
                    }
                }
                Step::Refund { which, part } => {
                    let Some(index) = grants.len().checked_sub(which + 1) else { continue };
                    let (key, stamp, left) = &mut grants[index];
                    let part = part.min(*left);
                    limiter.refund_at(key, at(now), at(*stamp), part);
                    *left -= part;
                }
            }
            let mut exact = HashMap::<u64, Exact>::new();
            for &(key, stamp, cost) in &grants {
                let conforms = exact.entry(key).or_default().check(quota, stamp, cost, 8_000);
                prop_assert!(conforms, "key {key} over-admitted at {stamp}");
            }
        }
    }

    /// The same for one bucket, where reservations and refunds meet and the clock steps back.
    #[test]
    fn a_bucket_with_refunds_and_reservations_conforms(
        steps in prop::collection::vec((0_u8..4, 0_u64..400_000_000, 1_u64..8, 0_usize..6), 1..200),
        burst in 3_u64..12,
    ) {
        let quota = Quota::per_second(10).burst(burst);
        let bucket = TokenBucket::new(quota);
        // (when used, charged when, cost)
        let mut used: Vec<(u64, u64, u64)> = Vec::new();
        let mut waiting = Vec::new();
        let mut now = 0_u64;
        for (what, elapsed, cost, which) in steps {
            now += elapsed;
            match what {
                0 => if bucket.check_at(at(now), cost).is_allowed() {
                    used.push((now, now, cost));
                },
                1 => if let Some(reservation) = bucket.reserve_at(at(now), cost, Duration::from_secs(5)).reserved() {
                    waiting.push((now, reservation));
                },
                // Only what is not used yet may be given back whole; used grants are refunded from their stamp.
                2 => if which < waiting.len() {
                    let (charged, reservation) = waiting.swap_remove(which);
                    if reservation.ready_at() > at(now) {
                        reservation.cancel_at(at(now));
                    } else {
                        // Used when it was ready; the real cost is known only now.
                        let actual = cost.min(reservation.cost());
                        used.push((reservation.ready_at().as_nanos(), charged, actual));
                        reservation.commit_at(at(now), actual);
                    }
                },
                _ => if let Some(index) = used.len().checked_sub(which + 1) {
                    let (stamp, charged, left) = &mut used[index];
                    let part = cost.min(*left);
                    if *stamp == *charged {
                        bucket.refund_at(at(now), at(*charged), part);
                        *left -= part;
                    }
                },
            }
        }
        for (charged, reservation) in waiting {
            used.push((reservation.ready_at().as_nanos(), charged, reservation.cost()));
            reservation.commit();
        }
        used.sort_unstable();
        let mut exact = Exact::default();
        for &(stamp, _, cost) in &used {
            prop_assert!(exact.check(quota, stamp, cost, 8), "over-admitted at {stamp}: {used:?}");
        }
    }

    /// Live changes never give a fresh burst: between two changes the bound of the quota in force holds, with what
    /// was owed before.
    #[test]
    fn live_changes_fill_nothing(rates in prop::collection::vec((1_u64..1000, 1_u64..50), 1..40)) {
        let bucket = TokenBucket::new(Quota::per_second(1000).burst(50));
        prop_assert!(bucket.check_at(at(0), 50).is_allowed());
        for (rate, burst) in rates {
            bucket.set_quota_at(Quota::per_second(rate).burst(burst), at(0)).unwrap();
            prop_assert!(!bucket.check_at(at(0), 1).is_allowed());
            prop_assert_eq!(bucket.owed_at(at(0)), 50);
        }
    }

    /// Any stamps whatever, the end of time included: no panic, and never more than the bound over the span.
    #[test]
    fn a_poisoned_clock_never_over_admits(stamps in prop::collection::vec(prop_oneof![
        Just(0), Just(u64::MAX), Just(u64::MAX / 2), 0_u64..10_000_000_000, any::<u64>(),
    ], 1..60)) {
        let quota = Quota::per_hour(1).burst(4);
        let bucket = TokenBucket::new(quota);
        let mut admitted: Vec<u64> =
            stamps.into_iter().filter(|&stamp| bucket.check_at(at(stamp), 1).is_allowed()).collect();
        admitted.sort_unstable();
        let mut exact = Exact::default();
        for stamp in admitted {
            // Stamps beyond 146 years count as that moment; a tick of one token an hour is 0.2 ms.
            prop_assert!(exact.check(quota, stamp.min(1 << 62), 1, 300_000), "at {stamp}");
        }
    }

    #[test]
    fn keyed_stamps_may_be_anything(stamps in prop::collection::vec(any::<u64>(), 1..60)) {
        let limiter = KeyedLimiter::<u8>::new(Quota::per_second(1 << 34).burst(1 << 40), 64);
        for stamp in stamps {
            let _ = limiter.check_at(&1, at(stamp), 1 << 30);
            limiter.refund_at(&1, at(stamp), at(!stamp), u64::MAX);
        }
    }
}

#[test]
fn a_late_refund_must_not_let_a_third_pass() {
    let second = 1_000_000_000;
    let bucket = TokenBucket::new(Quota::per_second(1).burst(1));
    assert!(bucket.check_at(at(0), 1).is_allowed());
    assert!(bucket.check_at(at(second), 1).is_allowed());
    bucket.refund_at(at(second), at(0), 1);
    assert!(!bucket.check_at(at(second), 1).is_allowed());
    let keyed = KeyedLimiter::<u8>::new(Quota::per_second(1).burst(1), 64);
    assert!(keyed.check_at(&1, at(0), 1).is_allowed());
    assert!(keyed.check_at(&1, at(second), 1).is_allowed());
    keyed.refund_at(&1, at(second), at(0), 1);
    assert!(!keyed.check_at(&1, at(second), 1).is_allowed());
}

/// A level that loses the race: it says yes when asked and no when charged, and time passes between the two.
struct Loser<'a> {
    charged: &'a dyn Fn(),
}

impl Level for Loser<'_> {
    fn peek_at(&self, _: Timestamp, _: u64) -> Decision {
        Decision::Allowed { remaining: 1 }
    }

    fn charge_at(&self, _: Timestamp, _: u64) -> Decision {
        (self.charged)();
        Decision::Limited { retry_after: Duration::from_secs(1) }
    }

    fn refund_by(&self, _: &dyn Fn() -> Timestamp, _: Timestamp, _: u64) {}
}

/// While a lost race waits to be undone, others are charged at later stamps: what comes back is what is still owed.
#[test]
fn an_undone_charge_gives_back_what_is_still_owed_by_then() {
    for (held_up_millis, back) in [(0, true), (999, true), (1000, false), (5000, false)] {
        let clock = ManualClock::default();
        let bucket = TokenBucket::new(Quota::per_second(1).burst(1));
        let keyed = KeyedLimiter::<u8>::new(Quota::per_second(1).burst(1), 64);
        let loser = Loser { charged: &|| clock.advance(Duration::from_millis(held_up_millis)) };
        let verdict = Hierarchy::new(&[&bucket, &(&keyed, &7), &loser]).check_by(|| clock.now(), 1);
        assert!(matches!(verdict, Verdict::Denied { level: 2, .. }));
        // Never both: what was given back, and what has come meanwhile.
        let spend = |check: &dyn Fn() -> bool| (0..3).filter(|_| check()).count();
        assert_eq!(spend(&|| bucket.check_at(clock.now(), 1).is_allowed()), 1, "{held_up_millis} ms");
        assert_eq!(
            spend(&|| keyed.check_at(&7, clock.now(), 1).is_allowed()),
            // Credits of a table are whole tokens, rounded down.
            usize::from(held_up_millis == 0 || !back),
            "{held_up_millis} ms"
        );
    }
}

/// Whoever settles late after another's refund, or after a promise to a third, gets no more back than is safe.
#[test]
fn refunds_add_up_to_no_more_than_is_safe() {
    let second = |seconds: u64| at(seconds * 1_000_000_000);
    fn reserve(bucket: &TokenBucket, cost: u64) -> Reservation<'_> {
        bucket.reserve_at(at(0), cost, Duration::from_secs(60)).reserved().unwrap()
    }
    // Two of five are taken at once and given back one by one; seven are used in between.
    let bucket = TokenBucket::new(Quota::per_second(1).burst(10));
    let (one, other) = (reserve(&bucket, 5), reserve(&bucket, 5));
    one.cancel_at(at(0));
    assert!(bucket.check_at(second(2), 7).is_allowed());
    other.commit_at(second(2), 0);
    assert_eq!(bucket.owed_at(second(2)), 7, "what is used is owed");

    // The same word as before is not the same state.
    let bucket = TokenBucket::new(Quota::per_second(1).burst(10));
    let (one, other) = (reserve(&bucket, 5), reserve(&bucket, 5));
    one.cancel_at(at(0));
    assert!(bucket.check_at(second(2), 5).is_allowed());
    drop(other);
    assert!(bucket.owed_at(second(2)) >= 5, "what is used is owed");

    // A reservation waits for eight; afterwards three more are used.
    let bucket = TokenBucket::new(Quota::per_second(1).burst(10));
    let (one, other) = (reserve(&bucket, 5), reserve(&bucket, 5));
    let waiting = reserve(&bucket, 8);
    assert_eq!(waiting.ready_at(), second(8));
    waiting.commit();
    one.cancel_at(at(0));
    assert_eq!(bucket.owed_at(at(0)), 16);
    assert!(bucket.check_at(second(9), 3).is_allowed());
    other.commit_at(second(9), 0);
    // Eight at 8 s and three at 9 s: at 10 s one more may be used, not two.
    assert!(!bucket.check_at(second(10), 2).is_allowed());
    assert!(bucket.check_at(second(10), 1).is_allowed());
}

#[test]
fn whoever_gives_up_in_the_middle_gives_back_what_fits() {
    let bucket = TokenBucket::new(Quota::per_second(1).burst(10));
    let mut queue: Vec<_> =
        (0..20).map(|_| bucket.reserve_at(at(0), 1, Duration::from_secs(60)).reserved().unwrap()).collect();
    assert_eq!(queue[19].ready_at(), at(10_000_000_000));
    // Nine of ten behind a burst of ten: the one who waits longest keeps its moment, the others' tokens are free.
    for given_up in queue.drain(10..19) {
        given_up.cancel_at(at(0));
    }
    assert_eq!(bucket.owed_at(at(0)), 11);
    drop(queue.pop());
    assert_eq!(bucket.owed_at(at(0)), 11, "not the last for sure, and without a clock: nothing is risked");
}

#[test]
fn a_prompt_refund_is_whole() {
    let keyed = KeyedLimiter::<u8>::new(Quota::per_second(1).burst(60), 64);
    assert!(keyed.check_at(&1, at(0), 60).is_allowed());
    keyed.refund_at(&1, at(0), at(0), 17);
    assert_eq!(keyed.check_at(&1, at(0), 16), Decision::Allowed { remaining: 1 });
    assert_eq!(keyed.check_at(&1, at(0), 1), Decision::Allowed { remaining: 0 });
    // The credit is the key's alone: whoever takes its slot starts from the high mark.
    let crowded = KeyedLimiter::<u64>::new(Quota::per_hour(1).burst(60), 64);
    for key in 0..8 {
        assert!(crowded.check_at(&key, at(0), 60).is_allowed());
    }
    crowded.refund_at(&0, at(0), at(0), 60);
    assert!(!crowded.check_at(&100, at(0), 1).is_allowed(), "nobody inherits a refund");
    assert_eq!(crowded.peek_at(&0, at(0), 0), Decision::Allowed { remaining: 60 });
}

#[test]
fn a_denial_names_the_level_and_the_wait_that_passes_all() {
    let global = TokenBucket::new(Quota::per_second(1).burst(2));
    let tenants = KeyedLimiter::<str>::new(Quota::per_minute(6).burst(2), 4096);
    let check = |now, cost| Hierarchy::new(&[&global, &(&tenants, "acme")]).check_at(at(now), cost);
    assert!(check(0, 2).is_allowed());
    let Verdict::Denied { level: 1, decision: Decision::Limited { retry_after } } = check(0, 1) else {
        panic!("the tenant waits longest")
    };
    assert_eq!(retry_after, Duration::from_secs(10));
    // Nothing was charged by the denial: after the wait it passes.
    assert!(check(retry_after.as_nanos() as u64, 1).is_allowed());
    assert!(matches!(check(0, 3), Verdict::Denied { decision: Decision::Never { .. }, .. }));
}

/// Memory is bounded and pressure is seen: the law of the documentation, checked.
#[test]
fn the_sizing_law_holds() {
    // p × cost / rate: 100,000 fresh keys a second that owe 100 ms each keep 10,000 slots busy.
    let limiter = KeyedLimiter::<u64>::new(Quota::per_second(10).burst(20), 1 << 20);
    for key in 0..300_000_u64 {
        assert!(limiter.check_at(&key, at(key * 10_000), 1).is_allowed());
    }
    let (busy, slots) = limiter.occupancy_at(at(300_000 * 10_000));
    assert!((9_900..=10_100).contains(&busy), "{busy} of {slots}");
    // A line of eight slots overflows now and then by the luck of the hash: about once in a hundred runs of this flood,
    // and never (one in 10⁹) four times in one.
    assert!(limiter.pressure() <= 3, "{}", limiter.pressure());
    assert_eq!((limiter.memory_bytes(), slots), (1 << 20, 1 << 17));
}

/// A flood of a million distinct keys through a table a hundredth of its size: offenders get no more than their
/// allowance, the memory is what it was.
#[test]
fn a_flood_never_launders_an_offender() {
    let quota = Quota::per_second(10).burst(5);
    let limiter = KeyedLimiter::<u64>::new(quota, 80_000);
    let mut passed = [0_u64; 4];
    for step in 0..1_000_000_u64 {
        let stamp = at(step * 1000);
        let _ = limiter.check_at(&(step + 1000), stamp, 1);
        let offender = step as usize % 4;
        passed[offender] += u64::from(limiter.check_at(&(offender as u64), stamp, 1).is_allowed());
    }
    assert!(passed.iter().all(|&passed| passed <= 5 + 10), "{passed:?} in one second");
    assert!(limiter.pressure() > 0 && limiter.memory_bytes() <= 80_000);
}

#[test]
fn whoever_rotates_through_a_network_is_caught_by_its_tier() {
    let tiers = PrefixTiers::new(Quota::per_second(10).burst(10), 1 << 22);
    let network = 0x2001_0db8_u128 << 96;
    // `network` plus a counter from bit `shift` on.
    let passed = |network: u128, shift: u32| {
        let addresses = (0..5000_u128).map(|count| std::net::Ipv6Addr::from_bits(network | count << shift));
        addresses.filter(|&address| tiers.check_at(address.into(), at(0), 1).is_allowed()).count()
    };
    assert_eq!(passed(network, 0), 20, "hosts of one /64");
    assert_eq!(passed(network | 1 << 80, 64), 640, "networks of one /48");
}

#[test]
fn unlimited_and_blocked_are_what_they_say() {
    let unlimited = KeyedLimiter::<u8>::new(Quota::UNLIMITED, 64);
    assert!((0..1000).all(|_| unlimited.check_at(&1, at(0), u64::MAX).is_allowed()));
    assert!(TokenBucket::new(Quota::UNLIMITED).check_at(at(0), u64::MAX).is_allowed());
    assert!(LeasedBucket::new(Quota::UNLIMITED, 4).check_at(at(0), 1 << 50).is_allowed());
    let blocked = KeyedLimiter::<u8>::new(Quota::BLOCKED, 64);
    assert_eq!(blocked.check_at(&1, at(0), 1), Decision::Never { burst: 0 });
}
