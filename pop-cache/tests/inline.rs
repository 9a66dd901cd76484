//! The cache of inline pairs, through its public face.
#![cfg(not(loom))]

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use pop_cache::{Inline, InlineCache};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Action {
    Get(u8),
    Insert(u8, u32),
    Make(u8, u32),
    Add(u8),
    Remove(u8),
    Retain(u8),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => any::<u8>().prop_map(Action::Get),
        4 => (any::<u8>(), any::<u32>()).prop_map(|(key, value)| Action::Insert(key, value)),
        2 => (any::<u8>(), any::<u32>()).prop_map(|(key, value)| Action::Make(key, value)),
        1 => any::<u8>().prop_map(Action::Add),
        1 => any::<u8>().prop_map(Action::Remove),
        1 => (2..6_u8).prop_map(Action::Retain),
    ]
}

/// The twin: a map of what was put last. The cache may have lost any of it, but shows nothing else.
fn agree<K, V>(capacity: usize, actions: Vec<Action>, key: fn(u8) -> K, value: fn(u32) -> V)
where
    K: Inline + Eq + std::hash::Hash + std::fmt::Debug,
    V: Inline + PartialEq + std::fmt::Debug,
{
    let cache = InlineCache::new(capacity);
    let mut twin: HashMap<K, V> = HashMap::new();
    for action in actions {
        match action {
            Action::Get(k) => {
                let found = cache.get(&key(k));
                assert!(found.is_none() || found == twin.get(&key(k)).copied());
                assert_eq!(cache.contains_key(&key(k)), found.is_some());
            }
            Action::Insert(k, v) => {
                let before = cache.peek(&key(k));
                assert_eq!(cache.insert(key(k), value(v)), before);
                twin.insert(key(k), value(v));
                assert_eq!(cache.peek(&key(k)), (capacity > 0).then(|| value(v)), "just put");
            }
            Action::Make(k, v) => {
                let before = cache.peek(&key(k));
                let made = cache.get_or_insert_with(key(k), |_| value(v));
                assert_eq!(made, before.unwrap_or(value(v)));
                twin.insert(key(k), made);
            }
            Action::Add(k) => {
                let before = cache.peek(&key(k));
                let after = cache.update(key(k), |found| {
                    assert_eq!(found, before);
                    found.map(|_| value(77))
                });
                assert_eq!(after, before.map(|_| value(77)));
                if let Some(after) = after {
                    twin.insert(key(k), after);
                }
            }
            Action::Remove(k) => {
                let before = cache.peek(&key(k));
                assert_eq!(cache.remove(&key(k)), before);
                assert_eq!(cache.peek(&key(k)), None);
                twin.remove(&key(k));
            }
            Action::Retain(part) => {
                let goes: Vec<K> = (0..=255).filter(|k| k % part == 0).map(key).collect();
                cache.retain(|key, found| {
                    assert_eq!(twin.get(&key), Some(&found));
                    !goes.contains(&key)
                });
                for key in &goes {
                    twin.remove(key);
                }
            }
        }
        let mut seen = 0;
        cache.for_each(|key, found| {
            assert_eq!(twin.get(&key), Some(&found));
            seen += 1;
        });
        assert_eq!(cache.len(), seen);
        assert!(seen <= capacity);
    }
    cache.clear();
    assert!(cache.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_shows_what_was_put_last_or_nothing(capacity in 0..40_usize, actions in prop::collection::vec(action(), 1..200)) {
        agree(capacity, actions.clone(), u64::from, u64::from);
        agree(capacity, actions.clone(), u16::from, |v| v);
        agree(capacity, actions.clone(), |k| Ipv6Addr::from(u128::from(k) << 90), |v| (v, -1_i64));
        agree(capacity, actions.clone(), |k| Ipv4Addr::from(u32::from(k)), u128::from);
        agree(capacity, actions.clone(), |k| [k; 16], |v| [v as u8; 13]);
        agree(capacity, actions.clone(), |k| (k, true), |v| v as u8);
        agree(capacity, actions, |k| k, |_| ());
    }
}

#[test]
fn it_fills_to_its_capacity_and_not_beyond() {
    for capacity in [0, 1, 2, 6, 7, 8, 10, 100, 1000, 10_007] {
        let cache = InlineCache::new(capacity);
        for key in 0..50 * capacity as u64 + 10 {
            cache.insert(key, key);
        }
        assert_eq!(cache.len(), capacity);
        assert_eq!(cache.capacity(), capacity);
    }
}

#[test]
fn a_pair_costs_less_than_four_bytes_beyond_itself() {
    let pairs = 100_000;
    let beyond = |memory: usize, pair: usize| memory as f64 / pairs as f64 - pair as f64;
    assert!(beyond(InlineCache::<u64, u64>::new(pairs).memory(), 16) < 2.3);
    assert!(beyond(InlineCache::<u32, u32>::new(pairs).memory(), 8) < 2.7);
    assert!(beyond(InlineCache::<Ipv6Addr, u64>::new(pairs).memory(), 24) < 3.5);
}

#[test]
fn what_is_hot_stays_through_a_scan() {
    let cache = InlineCache::new(7_000);
    for _ in 0..3 {
        for key in 0..1_000_u64 {
            cache.get_or_insert_with(key, |&key| key);
        }
    }
    for key in 10_000..20_000 {
        cache.insert(key, key);
    }
    let stayed = (0..1_000).filter(|key| cache.contains_key(key)).count();
    assert!(stayed > 900, "{stayed} of 1000");
}

#[test]
fn a_panicking_change_leaves_everything_as_it_was() {
    let cache = InlineCache::new(10);
    cache.insert(1_u32, 2_u32);
    let change = std::panic::AssertUnwindSafe(|| cache.update(1, |_| panic!("on purpose")));
    assert!(std::panic::catch_unwind(change).is_err());
    assert_eq!(cache.get(&1), Some(2));
    assert_eq!(cache.insert(1, 3), Some(2), "its set is not locked");
}

/// Values are two words that belong together: no reader ever sees halves of two.
#[test]
fn readers_never_see_a_torn_pair() {
    let cache: InlineCache<u64, (u64, u64)> = InlineCache::new(14);
    let stop = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    if let Some((key, check)) = cache.get(&(turn % 20)) {
                        assert_eq!((key % 20, check), (turn % 20, !key));
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                    if turn % 64 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        for round in 0..100_000_u64 {
            cache.insert(round % 20, (round, !round));
            if round % 7 == 0 {
                cache.remove(&(round % 13));
            }
            if round % 256 == 0 {
                thread::yield_now();
            }
        }
        // On one core the readers may not have run yet.
        while seen.load(Ordering::Relaxed) == 0 {
            cache.insert(0, (0, !0));
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Each key's counter is changed in place by all threads, in a cache with room for all: no change is lost.
#[test]
fn changes_in_place_are_not_lost() {
    let cache: InlineCache<u8, u64> = InlineCache::new(1000);
    for key in 0..4_u8 {
        cache.insert(key, 0);
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for turn in 0..20_000_u32 {
                    cache.update((turn % 4) as u8, |count| count.map(|count| count + 1));
                }
            });
        }
    });
    (0..4).for_each(|key| assert_eq!(cache.get(&key), Some(20_000)));
}

/// Histories of one key are linearizable: writers put numbers that only grow (under a ticket taken inside `update`),
/// so the values that any one reader sees, and those it sees after a write returned, never go back.
#[test]
fn a_key_never_goes_back_in_time() {
    let cache: InlineCache<u64, u64> = InlineCache::new(7);
    cache.insert(1, 0);
    let written = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50_000 {
                    let new = cache.update(1, |old| old.map(|old| old + 1)).expect("nothing pushes it out");
                    written.fetch_max(new, Ordering::SeqCst);
                }
            });
            scope.spawn(|| {
                let mut last = 0;
                while last < 100_000 {
                    let at_least = written.load(Ordering::SeqCst).max(last);
                    let value = cache.get(&1).expect("nothing pushes it out");
                    assert!(value >= at_least, "{value} after {at_least}");
                    last = value;
                    thread::yield_now();
                }
            });
        }
    });
    assert_eq!(cache.get(&1), Some(100_000));
}

#[test]
fn it_is_shared_between_threads() {
    fn check<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    check(&InlineCache::<u32, f64>::new(3));
}
