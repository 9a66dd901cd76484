//! One bucket that every thread uses: allowed and denied, with a clock of the limiter's own and with one reading a
//! batch.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{FakeRelativeClock, QuantaClock};
use governor::middleware::NoOpMiddleware;
use governor::{Quota as GovernorQuota, RateLimiter};
use pop_ratelimit::{LeasedBucket, Quota, Timestamp, TokenBucket, now};
use versus_ratelimit::{Contestant, compare, repeat};

const COUNT: usize = 2_000_000;

fn main() {
    let high = NonZeroU32::new(1_000_000_000).expect("not zero");
    let generous = GovernorQuota::per_second(high).allow_burst(high);
    let scanty = GovernorQuota::with_period(Duration::from_secs(86_400)).expect("a period");
    let ours_generous = Quota::per_second(1_000_000_000);
    let ours_scanty = Quota::new(1, Duration::from_secs(86_400)).expect("a quota");

    for threads in [1, 2] {
        for (title, theirs, ours) in
            [("shared, allowed", generous, ours_generous), ("shared, denied", scanty, ours_scanty)]
        {
            let governor = RateLimiter::direct_with_clock(theirs, QuantaClock::default());
            let fake = FakeRelativeClock::default();
            let mocked = RateLimiter::<_, _, _, NoOpMiddleware<_>>::direct_with_clock(theirs, fake.clone());
            let bucket = TokenBucket::new(ours);
            let leased = LeasedBucket::new(ours, 16);
            let leaky = leaky_bucket::RateLimiter::builder()
                .max(theirs.burst_size().get() as usize)
                .initial(if title.ends_with("denied") { 0 } else { theirs.burst_size().get() as usize })
                .interval(Duration::from_secs(1))
                .build();
            let contestants = [
                Contestant::new("governor, quanta", |_, count| repeat(count, |_| governor.check().is_ok())),
                Contestant::new("governor, mock clock", |_, count| repeat(count, |_| mocked.check().is_ok())),
                Contestant::new("leaky-bucket try_acquire", |_, count| {
                    repeat(count, |_| leaky.try_acquire(1));
                }),
                Contestant::new("TokenBucket", |_, count| repeat(count, |_| bucket.check(1).is_allowed())),
                Contestant::new("TokenBucket, a stamp each 64", |_, count| {
                    for _ in 0..count / 64 {
                        let batch = bucket.at(now());
                        repeat(64, |_| batch.check(1).is_allowed());
                    }
                }),
                Contestant::new("LeasedBucket", |_, count| repeat(count, |_| leased.check(1).is_allowed())),
                Contestant::new("LeasedBucket, a stamp each 64", |_, count| {
                    for _ in 0..count / 64 {
                        let stamp = now();
                        repeat(64, |_| leased.check_at(stamp, 1).is_allowed());
                    }
                }),
            ];
            compare(title, threads, COUNT, &contestants);
        }
    }
    let bucket = TokenBucket::new(Quota::BLOCKED);
    compare(
        "floor",
        1,
        COUNT,
        &[
            Contestant::new("reading the process clock", |_, count| {
                repeat(count, |_| now() > Timestamp::ZERO)
            }),
            Contestant::new("a blocked quota", |_, count| {
                repeat(count, |_| bucket.check_at(Timestamp::ZERO, 1).is_allowed())
            }),
        ],
    );
}
