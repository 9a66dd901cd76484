use super::*;
use core::time::Duration;
use std::collections::HashMap;

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO.saturating_add(Duration::from_millis(millis))
}

#[test]
fn a_full_bucket_is_a_free_slot() {
    let limiter = KeyedLimiter::<u64>::new(Quota::per_second(1000).burst(10), 64);
    for round in 0..1000 {
        // Nine keys in one line of eight, each quiet long enough to be full again.
        let key = round % 9;
        assert_eq!(limiter.check_at(&key, at(round * 100), 10), Decision::Allowed { remaining: 0 });
    }
    assert_eq!(limiter.pressure(), 0);
}

#[test]
fn a_key_that_was_quiet_for_any_time_has_a_full_bucket() {
    let limiter = KeyedLimiter::<u64>::new(Quota::per_second(1000).burst(10), 64);
    for hours in [1, 36, 40, 71, 80, 100, 1000, 10_000] {
        let now = at(hours * 3_600_000);
        assert_eq!(limiter.check_at(&1, now, 10), Decision::Allowed { remaining: 0 }, "{hours} h");
    }
}

/// A million keys chosen to meet in one line of one limiter are spread over the lines of any other.
#[test]
fn chosen_keys_do_not_meet_again() {
    let line_of = |limiter: &KeyedLimiter<u64>, key| {
        let line: *const Line = limiter.place(limiter.hash(&key)).line;
        line as usize
    };
    let [mine, theirs] = [(); 2].map(|()| KeyedLimiter::<u64>::new(Quota::per_second(1), 64 << 10));
    let target = line_of(&mine, 0);
    let chosen: Vec<u64> = (0..1_000_000).filter(|&key| line_of(&mine, key) == target).collect();
    assert!(chosen.len() > 500, "{} of a million over 1024 lines", chosen.len());
    let lines: std::collections::HashSet<usize> = chosen.iter().map(|&key| line_of(&theirs, key)).collect();
    assert!(lines.len() > chosen.len() / 3, "{} keys in {} lines", chosen.len(), lines.len());
}

#[test]
fn newcomers_to_a_full_line_inherit_and_are_counted() {
    let limiter = KeyedLimiter::<u64>::new(Quota::per_second(1).burst(10), 64);
    for key in 0..100 {
        let _ = limiter.check_at(&key, at(0), 4);
    }
    assert!(limiter.pressure() > 0);
    // Every slot owes at least eight of ten by now, so nobody new gets four.
    assert!(!limiter.check_at(&1000, at(0), 4).is_allowed());
}

/// The oracle: per key, exact arithmetic, all keys remembered for ever. Whatever passes here passes there.
#[test]
fn no_key_is_over_admitted_in_one_line_by_any_order_of_keys() {
    let quota = Quota::per_second(100).burst(5);
    let limiter = KeyedLimiter::<u64>::new(quota, 64);
    let mut oracle: HashMap<u64, u128> = HashMap::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut nanos = 0_u64;
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..200_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = (random >> 33) % 40;
        nanos += (random >> 50) * 100;
        if !limiter.check_at(&key, Timestamp::from_nanos(nanos), 1).is_allowed() {
            refused += 1;
            continue;
        }
        passed += 1;
        // One token is ten milliseconds, one tick at this rate 5 µs.
        let tat = oracle.entry(key).or_insert(0);
        let start = u128::from(nanos).max(*tat);
        *tat = start + 10_000_000;
        assert!(*tat - u128::from(nanos) <= 50_000_000 + 5_000, "key {key} over-admitted");
    }
    assert!(passed > 1000 && refused > 1000, "{passed} passed, {refused} refused");
}
