//! What the lock-free words promise, in every interleaving. Run as ARCHITECTURE tells:
//! `RUSTFLAGS="--cfg loom --cfg crossbeam_loom" CARGO_TARGET_DIR=target/loom cargo test -p pop-ratelimit
//! --no-default-features --features std --test loom --release`
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use pop_ratelimit::{Decision, Hierarchy, Quota, Timestamp, TokenBucket, Verdict};
#[cfg(feature = "std")]
use pop_ratelimit::{KeyedLimiter, KeyedWindows, LeasedBucket};

const NOW: Timestamp = Timestamp::ZERO;

fn once(burst: u64) -> Quota {
    // Nothing comes back while the model runs.
    Quota::per_hour(1).burst(burst)
}

#[test]
fn two_checks_on_one_word_share_one_token() {
    loom::model(|| {
        let bucket = Arc::new(TokenBucket::new(once(1)));
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || other.check_at(NOW, 1).is_allowed());
        let here = bucket.check_at(NOW, 1).is_allowed();
        assert!(here ^ thread.join().unwrap(), "exactly one");
    });
}

#[test]
fn a_check_against_a_refund_neither_loses_nor_gains() {
    loom::model(|| {
        let bucket = Arc::new(TokenBucket::new(once(2)));
        assert!(bucket.check_at(NOW, 2).is_allowed());
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || other.refund_at(NOW, NOW, 1));
        let early = bucket.check_at(NOW, 1).is_allowed();
        thread.join().unwrap();
        let late = bucket.check_at(NOW, 1).is_allowed();
        assert!(early ^ late, "the one token passes once");
    });
}

/// A refund whose clock is read after the word was seen gives back nothing that has come already, though another thread
/// is charged at a later stamp meanwhile. The clock is a word that others move on; reading it by an addition of zero
/// always finds the latest, as a counter does.
fn refund_by_a_clock<L: Send + Sync + 'static>(
    make: impl Fn() -> L + Send + Sync + 'static,
    check: fn(&L, Timestamp) -> bool,
    refund: fn(&L, &dyn Fn() -> Timestamp),
) {
    const SECOND: u64 = 1_000_000_000;
    bounded(3, move || {
        let shared = Arc::new((make(), loom::sync::atomic::AtomicU64::new(0)));
        assert!(check(&shared.0, NOW));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let before = other.1.fetch_add(SECOND, loom::sync::atomic::Ordering::AcqRel);
            check(&other.0, Timestamp::from_nanos(before + SECOND))
        });
        refund(&shared.0, &|| {
            Timestamp::from_nanos(shared.1.fetch_add(0, loom::sync::atomic::Ordering::AcqRel))
        });
        assert!(thread.join().unwrap(), "a second has brought one");
        assert!(!check(&shared.0, Timestamp::from_nanos(SECOND)), "and not two");
    });
}

#[test]
fn a_refund_by_a_clock_against_a_later_check() {
    let one_a_second = Quota::per_second(1).burst(1);
    refund_by_a_clock(
        move || TokenBucket::new(one_a_second),
        |bucket, now| bucket.check_at(now, 1).is_allowed(),
        |bucket, clock| bucket.refund_by(clock, NOW, 1),
    );
    #[cfg(feature = "std")]
    refund_by_a_clock(
        move || KeyedLimiter::<u64>::new(one_a_second, 64),
        |limiter, now| limiter.check_at(&7, now, 1).is_allowed(),
        |limiter, clock| limiter.refund_by(&7, clock, NOW, 1),
    );
}

#[test]
fn a_check_against_a_new_quota_sees_one_or_the_other() {
    loom::model(|| {
        let bucket = Arc::new(TokenBucket::new(once(2)));
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || other.set_quota_at(once(1), NOW).unwrap());
        let decision = bucket.check_at(NOW, 1);
        assert!(matches!(decision, Decision::Allowed { remaining: 0 | 1 }));
        thread.join().unwrap();
        assert!(!bucket.check_at(NOW, 1).is_allowed(), "no fresh burst");
    });
}

#[test]
fn two_new_quotas_leave_a_whole_one() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let bucket = Arc::new(TokenBucket::new(once(9)));
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || other.set_quota_at(once(2), NOW).unwrap());
        bucket.set_quota_at(Quota::per_minute(1).burst(3), NOW).unwrap();
        let quota = bucket.quota();
        assert!(quota == once(2) || quota == Quota::per_minute(1).burst(3));
        thread.join().unwrap();
        let quota = bucket.quota();
        assert!(quota == once(2) || quota == Quota::per_minute(1).burst(3));
    });
}

#[test]
fn a_reservation_against_a_refund_is_never_undercut() {
    loom::model(|| {
        let bucket = Arc::new(TokenBucket::new(Quota::per_second(1).burst(1)));
        assert!(bucket.check_at(NOW, 1).is_allowed());
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || other.refund_at(NOW, NOW, 1));
        let wait = core::time::Duration::from_secs(9);
        let reservation = bucket.reserve_at(NOW, 1, wait).reserved().unwrap();
        thread.join().unwrap();
        // Whoever comes next must not be ready together with the one before, whose moment is fixed.
        let next = bucket.reserve_at(NOW, 1, wait).reserved().unwrap();
        let gap = next.ready_at().saturating_since(reservation.ready_at());
        assert!(gap.as_millis() >= 999, "{gap:?}");
        reservation.commit();
        next.commit();
    });
}

/// Dropped without a clock, a reservation goes back whole or, if somebody came in between, not at all.
#[test]
fn a_dropped_reservation_against_a_check() {
    loom::model(|| {
        let bucket = Arc::new(TokenBucket::new(once(2)));
        let other = Arc::clone(&bucket);
        let thread =
            thread::spawn(move || drop(other.reserve_at(NOW, 1, core::time::Duration::ZERO).reserved()));
        let here = u64::from(bucket.check_at(NOW, 1).is_allowed());
        thread.join().unwrap();
        let owed = bucket.owed_at(NOW);
        assert!(here == 1 && (1..=2).contains(&owed), "what was used is owed: {owed}");
    });
}

/// Two give back at once while a third waits: together no more than the slack, in whatever order.
#[test]
fn two_refunds_against_a_promise() {
    bounded(3, || {
        let bucket = Arc::new(TokenBucket::new(once(4)));
        let wait = core::time::Duration::from_secs(9 * 3600);
        assert!(bucket.check_at(NOW, 4).is_allowed());
        let waiting = bucket.reserve_at(NOW, 3, wait).reserved().unwrap();
        let threads = [(); 2].map(|()| {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.refund_at(NOW, NOW, 2))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        // Three are promised for three hours from now: of the other four no more than one may be given back.
        assert_eq!(bucket.owed_at(NOW), 6);
        waiting.commit();
    });
}

#[cfg(feature = "std")]
fn one_line(burst: u64) -> KeyedLimiter<u64> {
    KeyedLimiter::new(once(burst), 64)
}

/// Eight slots make long models; few preemptions find what there is to find.
fn bounded(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[cfg(feature = "std")]
#[test]
fn the_same_key_inserted_twice_is_one_bucket() {
    bounded(3, || {
        let limiter = Arc::new(one_line(1));
        let threads = [(); 2].map(|()| {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || limiter.check_at(&7, NOW, 1).is_allowed())
        });
        let [one, other] = threads.map(|thread| thread.join().unwrap());
        assert!(one ^ other, "exactly one");
    });
}

/// A full line: a newcomer evicts the smallest while that key is being charged. Whoever loses, no key gets more.
#[cfg(feature = "std")]
#[test]
fn an_insertion_against_a_charge_of_the_victim() {
    bounded(2, || {
        let limiter = Arc::new(one_line(2));
        for key in 0..8 {
            assert!(limiter.check_at(&key, NOW, 1).is_allowed());
        }
        let threads = [100, 0].map(|key| {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || limiter.check_at(&key, NOW, 1).is_allowed())
        });
        let [_, victim] = threads.map(|thread| u64::from(thread.join().unwrap()));
        let again = u64::from(limiter.check_at(&0, NOW, 1).is_allowed());
        assert!(1 + victim + again <= 2, "key 0 has a burst of two");
    });
}

#[cfg(feature = "std")]
#[test]
fn a_refund_against_an_insertion_favours_nobody_else() {
    bounded(2, || {
        let limiter = Arc::new(one_line(2));
        for key in 0..8 {
            assert!(limiter.check_at(&key, NOW, 1).is_allowed());
        }
        let other = Arc::clone(&limiter);
        let thread = thread::spawn(move || other.refund_at(&0, NOW, NOW, 1));
        let newcomer = u64::from(limiter.check_at(&100, NOW, 1).is_allowed());
        thread.join().unwrap();
        let again = (0..2).filter(|_| limiter.check_at(&100, NOW, 1).is_allowed()).count() as u64;
        assert!(newcomer + again <= 2, "a newcomer has a burst of two at most");
    });
}

#[test]
fn a_hierarchy_that_loses_a_race_gives_back() {
    bounded(3, || {
        let levels = Arc::new((TokenBucket::new(once(2)), TokenBucket::new(once(1))));
        let check = |levels: &(TokenBucket, TokenBucket)| -> Verdict {
            Hierarchy::new(&[&levels.0, &levels.1]).check_at(NOW, 1)
        };
        let other = Arc::clone(&levels);
        let thread = thread::spawn(move || check(&other).is_allowed());
        let here = check(&levels).is_allowed();
        let there = thread.join().unwrap();
        assert!(here ^ there, "the inner level has one");
        assert_eq!(levels.0.owed_at(NOW), 1, "the outer level is charged once");
    });
}

/// Two cells hold a token each, and the shared bucket is out: whether one takes its own while another gathers both,
/// they share two tokens, and what a loser had in its hands comes back.
#[cfg(feature = "std")]
#[test]
fn leases_are_spent_once_and_come_back_whole() {
    bounded(3, || {
        let nothing_comes = Quota::new(0, core::time::Duration::from_secs(1)).unwrap().burst(32);
        let bucket = Arc::new(LeasedBucket::new(nothing_comes, 2));
        assert!(bucket.check_at(NOW, 30).is_allowed());
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || other.check_at(NOW, 2).is_allowed());
        let here = bucket.check_at(NOW, 1).is_allowed();
        let there = thread.join().unwrap();
        assert!(!(here && there), "two tokens are not three");
        let spent = u64::from(here) + 2 * u64::from(there);
        let rest = (0..3).filter(|_| bucket.check_at(NOW, 1).is_allowed()).count() as u64;
        assert_eq!(spent + rest, 2);
    });
}

/// A lease is taken from the shared bucket while another thread gathers.
#[cfg(feature = "std")]
#[test]
fn a_lease_against_a_gathering() {
    bounded(3, || {
        let nothing_comes = Quota::new(0, core::time::Duration::from_secs(1)).unwrap().burst(32);
        let bucket = Arc::new(LeasedBucket::new(nothing_comes, 2));
        // One is left in the shared bucket, and one in the cell of another thread.
        assert!(bucket.check_at(NOW, 29).is_allowed());
        assert!(bucket.check_at(NOW, 1).is_allowed());
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || u64::from(other.check_at(NOW, 1).is_allowed()));
        let here = 2 * u64::from(bucket.check_at(NOW, 2).is_allowed());
        let spent = here + thread.join().unwrap();
        let rest = (0..3).filter(|_| bucket.check_at(NOW, 1).is_allowed()).count() as u64;
        assert_eq!(spent + rest, 2);
    });
}

#[cfg(feature = "std")]
#[test]
fn a_keyed_check_against_a_new_quota_gives_no_fresh_burst() {
    bounded(2, || {
        let limiter = Arc::new(one_line(2));
        let other = Arc::clone(&limiter);
        let thread = thread::spawn(move || other.set_quota_at(once(1), NOW).unwrap());
        assert!(limiter.check_at(&7, NOW, 1).is_allowed());
        thread.join().unwrap();
        assert!(!limiter.check_at(&7, NOW, 1).is_allowed(), "no fresh burst");
    });
}

/// Keyed levels are charged by the swaps that the asking found; whoever loses gives back what the wider one took.
#[cfg(feature = "std")]
#[test]
fn windows_that_lose_a_race_give_back() {
    bounded(2, || {
        let windows = Arc::new(KeyedWindows::<u64>::new(&[once(2), once(1)], 128));
        let other = Arc::clone(&windows);
        let thread = thread::spawn(move || other.check_at(&7, NOW, 1).is_allowed());
        let here = windows.check_at(&7, NOW, 1).is_allowed();
        assert!(here ^ thread.join().unwrap(), "the narrow window has one");
        let wide = &windows.windows()[0];
        assert_eq!(wide.peek_at(&7, NOW, 1), Decision::Allowed { remaining: 0 }, "charged once");
    });
}
