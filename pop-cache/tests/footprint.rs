//! The memory formulas of the README, and the capacity that counts the cache's own bytes, by what the allocator says.

use std::sync::Mutex;
use std::time::Duration;

use pop_cache::{Cache, EntryOptions, Inline, InlineCache};

mod counting;

use counting::{in_use, peak};

/// One test at a time: the counts are the process's.
static TURN: Mutex<()> = Mutex::new(());

/// Bytes of what does not grow with the entries: stripes, tags, flights.
const FIXED: f64 = 80_000.0;

/// Fills a cache of so many entries, and compares an entry's bytes with the formula.
fn check<V: Clone + Send + Sync + 'static>(entries: u64, value: V, options: &EntryOptions, extra: f64) {
    let before = in_use();
    let cache: Cache<u64, V> =
        Cache::builder(entries * options.weight.unwrap_or(1)).entries(entries as usize).build();
    for key in 0..2 * entries {
        cache.insert_entry(key, value.clone(), options.clone()).expect("it fits");
    }
    let bytes = (in_use() - before) as f64;
    let pair = size_of::<(u64, V)>() as f64;
    // Four bytes for each place of the window's ring: a power of two, from three quarters of the entries on.
    let ring = 4.0 * (entries * 3 / 4).next_power_of_two() as f64 / entries as f64;
    assert!((3.0..=6.0).contains(&ring), "the README says so");
    let formula = entries as f64 * (pair + 8.0 + 64.0 / 3.0 + ring + extra);
    let (low, high) = (0.98 * formula, 1.02 * formula + FIXED);
    assert!((low..high).contains(&bytes), "{bytes} bytes for {entries} entries, {formula} by the formula");
}

#[test]
fn an_entry_takes_what_the_formula_says() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let plain = EntryOptions::new();
    for entries in [50_000, 87_000] {
        check(entries, (), &plain, 0.0);
        check(entries, 7_u64, &plain, 0.0);
    }
    check(50_000, [0_u64; 12], &plain, 0.0);
    check(50_000, 7_u64, &EntryOptions::new().weight(2), 8.0);
    let hour = Duration::from_secs(3600);
    // The tree of deadlines has a word for 64 slots, and little above.
    check(50_000, 7_u64, &EntryOptions::new().time_to_live(hour), 8.0 + 0.2);
    check(50_000, 7_u64, &EntryOptions::new().weight(2).time_to_live(hour), 16.0 + 0.2);
}

/// An index that has doubled again and again is as large as one laid out at once: the old ones are gone. Slots come in
/// chunks of up to a fifth of what is there.
#[test]
fn what_has_grown_takes_no_more_than_what_was_laid_out() {
    const ENTRIES: u64 = 96_000;
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let fill = |laid_out: u64| {
        let before = in_use();
        let cache: Cache<u64, u64> = Cache::builder(ENTRIES).entries(laid_out as usize).build();
        for key in 0..2 * ENTRIES {
            cache.insert(key, key).expect("it fits");
            assert_eq!(cache.get(&key), Some(key));
        }
        in_use() - before
    };
    let (at_once, grown) = (fill(ENTRIES), fill(ENTRIES / 32));
    let chunk = ENTRIES as usize * 24 / 5;
    assert!(grown < at_once + chunk + FIXED as usize, "{grown} bytes instead of {at_once}");
}

/// A box of about a hundred bytes, a word for its address, and a word for each tag.
#[test]
fn tags_take_a_box() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (few, many) = (EntryOptions::new().tag(1), EntryOptions::new().tag(1).tag(2).tag(3).tag(4));
    check(50_000, 7_u64, &few, 8.0 + 88.0 + 8.0);
    check(50_000, 7_u64, &many, 8.0 + 88.0 + 32.0);
}

fn check_inline<K: Inline + std::hash::Hash + Eq, V: Inline>(capacity: usize) {
    let before = in_use();
    let cache: InlineCache<K, V> = InlineCache::new(capacity);
    // The harness counts as well.
    assert!(cache.memory().abs_diff(in_use() - before) < 8192, "of {capacity}");
    assert_eq!(cache.capacity(), capacity);
}

#[test]
fn the_inline_cache_takes_what_it_says() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for capacity in [12_345, 100_000] {
        check_inline::<u64, u64>(capacity);
        check_inline::<u32, u32>(capacity);
        check_inline::<u128, u64>(capacity);
        check_inline::<[u8; 16], [u8; 16]>(capacity);
    }
}

/// Writers with values of all sizes, some with a life or tags: what the cache has in use never passes the capacity by more
/// than what its writers hold in their hands and what does not grow.
fn check_bound(capacity: u64, sizes: u64, laid_out: u64, slack: usize) {
    let built = in_use();
    let cache: Cache<u64, Vec<u8>> = Cache::builder(capacity)
        .weigher(|_, value: &Vec<u8>| value.capacity() as u64)
        .count_overhead()
        .entries(laid_out as usize)
        .build();
    peak();
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let cache = &cache;
            scope.spawn(move || {
                let mut random = thread + 1;
                for _ in 0..15_000 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let (key, bits) = ((random >> 33) % 50_000, random >> 20);
                    let options = match bits % 5 {
                        0 => EntryOptions::new().time_to_live(Duration::from_micros(bits % 5000)),
                        1 => EntryOptions::new().tag(bits % 100).tag(bits % 7),
                        _ => EntryOptions::new(),
                    };
                    let value = vec![0; ((random >> 50) % sizes) as usize];
                    match bits % 40 {
                        0 => cache.invalidate_tag(bits % 100),
                        1..4 => drop(cache.remove(&key)),
                        _ => drop(cache.insert_entry(key, value, options)),
                    }
                    assert!(cache.weight() <= capacity);
                }
            });
        }
    });
    let most = peak() - built;
    let slack = 3 * sizes as usize + slack;
    assert!(most <= capacity as usize + slack, "{most} bytes at most, in a cache of {capacity}");
    assert!(cache.weight() > capacity / 2, "{} of {capacity} used", cache.weight());
}

#[test]
fn a_capacity_that_counts_the_overhead_bounds_all_memory() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Beyond what counts there are threads, notes of tags, and what the smallest cache has; where the index grows, also what
    // two writers lay out that lose to a third.
    let smallest = 24 + 8 + 90;
    check_bound(2 << 20, 64, (2 << 20) / smallest, 200_000);
    check_bound(4 << 20, 3000, 1, 600_000);
    check_bound(4 << 20, 100_000, 1, 600_000);
}

#[test]
fn the_overhead_of_each_kind_of_entry_counts() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let cache: Cache<u64, u64> = Cache::builder(1 << 20).count_overhead().build();
    let weight = |options: EntryOptions| {
        let before = cache.weight();
        cache.insert_entry(before, 1, options).expect("it fits");
        cache.weight() - before
    };
    // Key, value, 8 of the place, 90 beside it; a weight of its own comes on top.
    assert_eq!(weight(EntryOptions::new()), 16 + 8 + 90);
    assert_eq!(weight(EntryOptions::new().weight(1000)), 16 + 8 + 90 + 1000);
    assert_eq!(weight(EntryOptions::new().time_to_live(Duration::from_secs(9))), 16 + 8 + 90 + 8);
    let (one, two) = (weight(EntryOptions::new().tag(1)), weight(EntryOptions::new().tag(1).tag(2)));
    assert!((200..260).contains(&one) && two == one + 8, "{one}, {two}");
    let refused = cache.insert_entry(9, 9, EntryOptions::new().weight(1 << 20)).expect_err("too heavy");
    assert!(refused.is_too_heavy() && refused.weight > 1 << 20);
    let refused = cache.insert_entry(9, 9, EntryOptions::new().weight(u64::MAX)).expect_err("too heavy");
    assert_eq!(refused.weight, u64::MAX);
}
