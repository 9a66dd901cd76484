//! No check allocates: an allocator that counts, and every kind of limiter.
#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use pop_ratelimit::{
    AccessList, AdaptiveLimit, Concurrency, HeavyHitters, HeavyPrefixes, Hierarchy, KeyedClasses,
    KeyedConcurrency, KeyedLimiter, KeyedWindows, LeasedBucket, LimitPolicy, Outcome, PenaltyBox,
    PenaltyTerms, PrefixTiers, Quota, Ramp, RampedBucket, ResponseClass, ResponseRateLimiter, Timestamp,
    TokenBucket,
};

struct Counting;

thread_local! {
    // Of this thread alone: the test harness allocates as it likes.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is the system's; only a counter is added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `check` a thousand times, the stamps a millisecond apart, and wants no allocation.
fn no_allocation<R>(name: &str, mut check: impl FnMut(u64, Timestamp) -> R) {
    // The first of all may set up what belongs to the thread or the process.
    let _ = black_box(check(0, Timestamp::ZERO));
    let before = ALLOCATIONS.get();
    for number in 1..1000 {
        let _ = black_box(check(number, Timestamp::from_nanos(number * 1_000_000)));
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "{name}");
}

const QUOTA: Quota = Quota::per_second(100).burst(20);

fn address(number: u64) -> IpAddr {
    match number % 2 {
        0 => IpAddr::from((number as u32).to_be_bytes()),
        _ => IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(number)).to_be_bytes()),
    }
}

#[test]
fn the_allocator_counts() {
    let before = ALLOCATIONS.get();
    drop(black_box(Box::new(7)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn buckets() {
    let bucket = TokenBucket::new(QUOTA);
    no_allocation("check_at", |_, now| bucket.check_at(now, 1));
    no_allocation("check", |_, _| bucket.check(1));
    no_allocation("peek_at", |_, now| bucket.peek_at(now, 1));
    no_allocation("reserve, commit, refund", |number, now| {
        if let Some(reservation) = bucket.reserve_at(now, 2, Duration::from_secs(1)).reserved() {
            if number % 2 == 0 { reservation.commit_at(now, 1) } else { reservation.cancel_at(now) }
        }
        bucket.refund_at(now, now, 1);
    });
    no_allocation("set_quota_at", |number, now| {
        bucket.set_quota_at(Quota::per_second(number + 1), now).unwrap();
    });
    let leased = LeasedBucket::new(QUOTA.burst(2000), 4);
    no_allocation("LeasedBucket", |_, now| leased.check_at(now, 7));
    let ramped = RampedBucket::new(Ramp::new(QUOTA, 10, Duration::from_secs(1)), Timestamp::ZERO);
    no_allocation("RampedBucket", |_, now| ramped.check_at(now, 1));
}

#[test]
fn keyed_limits() {
    let limiter = KeyedLimiter::<u64>::new(QUOTA, 1 << 12);
    no_allocation("KeyedLimiter", |key, now| {
        let _ = black_box(limiter.check_at(&key, now, 1));
        limiter.refund_at(&key, now, now, 1);
    });
    no_allocation("a batch", |key, now| {
        limiter.check_batch_at(&[key, key + 1, 7], now, 1, |_, decision| {
            let _ = black_box(decision);
        });
    });
    let names = KeyedLimiter::<str>::new(QUOTA, 1 << 12);
    no_allocation("by name", |_, now| names.check_at("alice", now, 1));
    let classes = KeyedClasses::<u64>::new(&[QUOTA, QUOTA.times(4)], 1 << 12);
    no_allocation("KeyedClasses", |key, now| classes.check_at(key as usize % 3, &key, now, 1));
    let windows = KeyedWindows::<u64>::new(&[QUOTA, Quota::per_hour(200)], 1 << 12);
    no_allocation("KeyedWindows", |key, now| windows.check_at(&(key % 3), now, 1));
    let tiers = PrefixTiers::new(QUOTA, 1 << 14);
    no_allocation("PrefixTiers", |number, now| tiers.check_at(address(number), now, 1));
    let global = TokenBucket::new(QUOTA);
    no_allocation("Hierarchy", |key, now| {
        let _ = black_box(Hierarchy::new(&[&global, &(&limiter, &key)]).check_at(now, 1));
    });
    let responses = ResponseRateLimiter::new(QUOTA, 1 << 12);
    no_allocation("ResponseRateLimiter", |number, now| {
        let class = ResponseClass::Answer { question: number % 5 };
        let _ = black_box(responses.check_at(address(number), class, now));
    });
}

#[test]
fn offenders_and_what_is_under_way() {
    let penalties = PenaltyBox::<IpAddr>::new(PenaltyTerms::new(Duration::from_secs(1)), 1 << 12);
    no_allocation("PenaltyBox", |number, now| {
        let _ = penalties.punish_at(&address(number), now);
        let _ = black_box(penalties.is_blocked_at(&address(number / 2), now));
    });
    let rules = [((address(2), 32), pop_ratelimit::Access::Deny)];
    let list = AccessList::new(rules).unwrap();
    no_allocation("AccessList", |number, _| list.of(address(number)));
    let policy = LimitPolicy::Gradient { low: 1, high: 9 };
    let concurrency = Concurrency::new(policy);
    no_allocation("Concurrency", |_, _| {
        if let Some(permit) = concurrency.admit() {
            permit.done(Outcome::Answered(Duration::from_millis(1)));
        }
    });
    let mut adaptive = AdaptiveLimit::new(policy);
    no_allocation("AdaptiveLimit", |_, _| adaptive.observe(1, Outcome::Overloaded));
    let keyed = KeyedConcurrency::<u64>::new(2, 1 << 12);
    no_allocation("KeyedConcurrency", |key, _| keyed.admit(&key));
    // Heavy hitters allocate nothing once their counters are taken; keys that are copied.
    let hitters = HeavyHitters::new(64);
    (0..10_000_u64).for_each(|key| hitters.record(&key, 1));
    no_allocation("HeavyHitters", |key, _| hitters.record(&(key + 20_000), 1));
    let prefixes = HeavyPrefixes::new(64, &[(32, 64), (24, 48)]);
    (0..60_000).for_each(|number| prefixes.record(address(number * 512), 1));
    no_allocation("HeavyPrefixes", |number, _| prefixes.record(address(number * 77_777), 1));
}

/// Who a request comes from, and what it may: the part of the layer that a flood pays for.
#[cfg(feature = "tower")]
#[test]
fn the_key_of_a_request() {
    use http::{Extensions, HeaderMap, Method, Uri};
    use pop_ratelimit::http::{ForwardingField, TrustedProxies};
    use pop_ratelimit::tower::{Peer, RequestHead, client_key};

    let own = [("10.0.0.0".parse().unwrap(), 8)];
    let mut extensions = Extensions::new();
    extensions.insert(Peer("10.0.0.1".parse().unwrap()));
    let (method, uri) = (Method::GET, Uri::from_static("/"));
    let limiter = KeyedLimiter::<IpAddr>::new(QUOTA, 1 << 12);
    let forged = "6.6.6.6, ".repeat(100) + "192.0.2.1, 10.2.2.2";
    for (field, name, value) in [
        (ForwardingField::XForwardedFor, "x-forwarded-for", "192.0.2.1"),
        (ForwardingField::XForwardedFor, "x-forwarded-for", &*forged),
        (ForwardingField::XForwardedFor, "x-forwarded-for", "10.1.1.1, 192.0.2.1\""),
        (ForwardingField::Forwarded, "forwarded", "for=6.6.6.6, for=\"[2001:db8::1]:80\";by=x;for=1.1.1.1"),
        (ForwardingField::Forwarded, "forwarded", "proto=https;for=\"[2001:db8::1]:80\", for=10.2.2.2"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        let key = client_key(TrustedProxies::new(field, own).unwrap());
        let head = RequestHead { method: &method, uri: &uri, headers: &headers, extensions: &extensions };
        no_allocation(value, |_, now| limiter.check_at(&key(&head).unwrap(), now, 1));
    }
}
