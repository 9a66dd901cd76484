//! The cache through its public face.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use pop_cache::{Cache, EntryOptions, Timestamp};

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO.saturating_add(Duration::from_secs(seconds))
}

#[test]
fn capacities_of_every_size_work() {
    for capacity in [0_u64, 1, 2, 10, 1000] {
        let cache = Cache::builder(capacity).build();
        for key in 0..3000_u64 {
            assert_eq!(cache.insert(key, key).is_ok(), capacity > 0);
            assert!(cache.weight() <= capacity);
            assert_eq!(cache.get(&key), (capacity > 0).then_some(key));
        }
        assert!(cache.len() as u64 <= capacity);
    }
}

#[test]
fn one_entry_may_take_the_whole_capacity_and_a_heavier_one_comes_back() {
    let cache = Cache::builder(100).weigher(|_: &u32, value: &Vec<u8>| value.len() as u64).build();
    (0..10).for_each(|key| cache.insert(key, vec![0; 10]).unwrap());
    cache.insert(99, vec![0; 100]).unwrap();
    assert_eq!((cache.len(), cache.weight()), (1, 100));
    let refused = cache.insert(100, vec![0; 101]).unwrap_err();
    assert_eq!((refused.key, refused.value.len(), refused.weight, refused.capacity), (100, 101, 101, 100));
    assert!(cache.contains_key(&99));
}

#[test]
fn an_entry_as_large_as_the_capacity_stays_until_another_comes() {
    let cache = Cache::builder(1 << 20).weigher(|_: &u32, value: &u64| *value).build();
    (0..100).for_each(|key| cache.insert(key, 1000).unwrap());
    for key in 100..110 {
        cache.insert(key, 1 << 20).unwrap();
        assert_eq!((cache.len(), cache.weight(), cache.get(&key)), (1, 1 << 20, Some(1 << 20)));
    }
}

#[test]
fn expired_entries_are_never_returned_and_go_first() {
    let cache = Cache::builder(2).build();
    let short = EntryOptions::new().time_to_live(Duration::from_secs(5));
    cache.insert_entry_at("short", 1, short, at(0)).unwrap();
    cache.insert_entry_at("long", 2, EntryOptions::new(), at(0)).unwrap();
    assert_eq!(cache.get_at("short", at(4)), Some(1));
    assert_eq!(cache.get_at("short", at(5)), None);
    assert_eq!(cache.get_at("long", at(1 << 30)), Some(2));
}

#[test]
fn invalidation_takes_what_was_asked_and_nothing_else() {
    let cache = Cache::builder(1000).build();
    for key in 0..100_u64 {
        let options = EntryOptions::new().tag(key % 3).tag(1000 + key % 5);
        cache.insert_entry(key, key, options).unwrap();
    }
    assert_eq!(cache.remove_tag(1), 33);
    assert_eq!(cache.remove_tag(1), 0);
    assert_eq!(cache.invalidate_if(|key, _| key % 2 == 0), 34);
    assert_eq!(cache.remove(&3), Some(3));
    assert_eq!(cache.remove(&3), None);
    assert_eq!(cache.invalidate_all(), 32);
    assert_eq!((cache.len(), cache.weight()), (0, 0));
}

#[test]
fn a_shrunk_cache_fits_at_once() {
    let cache = Cache::builder(1000).build();
    (0..1000_u64).for_each(|key| cache.insert(key, ()).unwrap());
    cache.resize(10);
    assert!(cache.weight() <= 10 && cache.len() <= 10);
    cache.resize(2000);
    (0..100_u64).for_each(|key| cache.insert(key, ()).unwrap());
    assert!(cache.len() >= 100);
}

#[test]
fn the_weight_never_passes_the_capacity_while_writers_hammer() {
    const CAPACITY: u64 = 5000;
    let cache = Cache::builder(CAPACITY).weigher(|key: &u64, _| 1 + key % 97).build();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u64)
            .map(|thread| {
                let cache = &cache;
                scope.spawn(move || {
                    let mut random = thread + 1;
                    for _ in 0..60_000 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let key = (random >> 40) % 2000;
                        match random >> 61 {
                            0 => drop(cache.remove(&key)),
                            1 => drop(cache.get(&key)),
                            _ => drop(cache.insert(key, key)),
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(cache.weight() <= CAPACITY);
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let mut weight = 0;
    cache.for_each(|key, value| {
        assert_eq!(key, value);
        weight += 1 + key % 97;
    });
    assert_eq!(weight, cache.weight());
}

/// Every value that goes in is dropped once, whatever way it went.
#[test]
fn nothing_leaks_and_nothing_is_dropped_twice() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let inserted = AtomicUsize::new(0);
    {
        let cache = Cache::builder(50).build();
        std::thread::scope(|scope| {
            for thread in 0..3_u64 {
                let (cache, dropped, inserted) = (&cache, &dropped, &inserted);
                scope.spawn(move || {
                    for step in 0..20_000_u64 {
                        inserted.fetch_add(1, Ordering::Relaxed);
                        let _ =
                            cache.insert((step * 7 + thread) % 200, Arc::new(Counted(Arc::clone(dropped))));
                        if step % 5 == 0 {
                            let _ = cache.remove(&(step % 200));
                        }
                    }
                });
            }
        });
    }
    assert_eq!(dropped.load(Ordering::Relaxed), inserted.load(Ordering::Relaxed));
}

#[test]
fn one_loader_a_key_and_errors_reach_everyone() {
    let cache: Cache<u32, u32> = Cache::builder(10).build();
    let loads = AtomicUsize::new(0);
    let all = |load: fn(&AtomicUsize) -> Result<u32, String>| -> Vec<Result<u32, String>> {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| cache.get_or_insert_with(1, |_| load(&loads)))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    };
    let failed = all(|loads| {
        loads.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(50));
        Err("origin away".to_owned())
    });
    assert!(failed.iter().all(|result| *result == Err("origin away".to_owned())));
    loads.store(0, Ordering::Relaxed);
    let loaded = all(|loads| {
        loads.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(50));
        Ok(7)
    });
    assert!(loaded.iter().all(|result| *result == Ok(7)));
    assert_eq!(loads.load(Ordering::Relaxed), 1);
}

#[test]
fn a_loader_that_panics_leaves_nobody_stuck() {
    let cache: Cache<u32, u32> = Cache::builder(10).build();
    let loading = Barrier::new(2);
    std::thread::scope(|scope| {
        let (cache, loading) = (&cache, &loading);
        let leader = scope.spawn(move || {
            cache.get_or_insert_with(1, |_| -> Result<u32, ()> {
                loading.wait();
                std::thread::sleep(Duration::from_millis(20));
                panic!("the loader fails");
            })
        });
        let waiter = scope.spawn(move || {
            loading.wait();
            cache.get_or_insert_with(1, |_| Ok::<_, ()>(5))
        });
        assert!(leader.join().is_err());
        assert_eq!(waiter.join().unwrap(), Ok(5));
    });
}

#[tokio::test]
async fn a_cancelled_fetch_hands_over() {
    let cache: Cache<u32, u32> = Cache::builder(10).build();
    let leader = tokio::spawn({
        let cache = cache.clone();
        async move {
            let forever = |_: &u32| async {
                std::future::pending::<()>().await;
                Ok::<u32, ()>(0)
            };
            cache.get_or_fetch(1, forever).await
        }
    });
    tokio::task::yield_now().await;
    let waiter = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_fetch(1, |_| async { Ok::<_, ()>(5) }).await }
    });
    tokio::task::yield_now().await;
    leader.abort();
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), waiter).await.unwrap().unwrap(), Ok(5));
    assert_eq!(cache.get(&1), Some(5));
}

#[test]
fn public_types_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Cache<String, Vec<u8>>>();
    check::<pop_cache::Stats>();
}

#[test]
fn weights_of_every_size_are_bounded() {
    let cache = Cache::builder(u64::MAX).weigher(|_: &u32, value: &u64| *value).build();
    // Nothing weighs nothing.
    cache.insert(1, 0).unwrap();
    assert_eq!((cache.weight(), cache.get(&1)), (1, Some(0)));
    let refused = cache.insert(2, u64::MAX).unwrap_err();
    assert_eq!((refused.weight, refused.value), (u64::MAX, u64::MAX));
    assert!(refused.capacity < u64::MAX, "{refused}");
    cache.insert(3, cache.capacity()).unwrap();
    assert_eq!((cache.len(), cache.weight()), (1, cache.capacity()));
    cache.resize(5);
    assert_eq!((cache.len(), cache.weight()), (0, 0));
    cache.resize(0);
    assert_eq!(cache.insert(4, 1).unwrap_err().capacity, 0);
}

#[test]
fn two_bounds_hold_together() {
    let cache = Cache::builder(100).entries_max(5).weigher(|_: &u32, value: &u64| *value).build();
    for key in 0..1000 {
        cache.insert(key, u64::from(key % 40)).unwrap();
        assert!(cache.len() <= 5 && cache.weight() <= 100);
        assert!(cache.contains_key(&key));
    }
}

/// A user's hash that tells no keys apart: few fit, and none is mistaken for another.
#[test]
fn keys_with_one_hash_are_told_apart() {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Same(u32);
    impl std::hash::Hash for Same {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }
    let cache = Cache::builder(1000).build();
    for key in 0..2000 {
        cache.insert(Same(key), key).unwrap();
        assert_eq!(cache.get(&Same(key)), Some(key));
        assert!(cache.iter().all(|entry| entry.key().0 == *entry));
    }
    assert!(cache.len() > 50);
    assert_eq!(cache.get_or_insert_with(Same(9999), |_| Ok::<_, ()>(1)), Ok(1));
}

#[test]
fn errors_are_remembered_for_as_long_as_asked() {
    let time = Arc::new(AtomicUsize::new(0));
    let clock = Arc::clone(&time);
    let cache: Cache<u32, u32> = Cache::builder(10)
        .clock(move || at(clock.load(Ordering::Relaxed) as u64))
        .error_time_to_live(Duration::from_secs(5))
        .build();
    let loads = AtomicUsize::new(0);
    let load = |key| {
        cache.get_or_insert_with(key, |_| {
            loads.fetch_add(1, Ordering::Relaxed);
            Err::<u32, &str>("away")
        })
    };
    assert_eq!((load(1), load(1), loads.load(Ordering::Relaxed)), (Err("away"), Err("away"), 1));
    // Whose errors are of another type loads for itself; a value is a value.
    assert_eq!(cache.get_or_insert_with(1, |_| Err::<u32, u8>(3)), Err(3));
    time.store(5, Ordering::Relaxed);
    assert_eq!((load(1), loads.load(Ordering::Relaxed)), (Err("away"), 2));
    assert!(cache.forget_error(&1) && !cache.forget_error(&1));
    assert_eq!((load(1), loads.load(Ordering::Relaxed)), (Err("away"), 3));
    cache.insert(1, 7).unwrap();
    assert_eq!((load(1), loads.load(Ordering::Relaxed)), (Ok(7), 3));
    // More errors than are remembered: the first ones are, and all are reported.
    assert!((100..5000).all(|key| load(key) == Err("away")));
    let before = loads.load(Ordering::Relaxed);
    assert!((100..5000).all(|key| load(key) == Err("away")));
    let again = loads.load(Ordering::Relaxed) - before;
    assert!((4900 - 1024..4900).contains(&again), "{again}");
    time.store(10, Ordering::Relaxed);
    assert_eq!(cache.get_or_insert_with(100, |_| Ok::<_, &str>(4)), Ok(4));
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.loads_failed as usize), (1, loads.load(Ordering::Relaxed) + 1));
}

/// Whoever comes after a load finds its value, so that one load is all there ever is.
#[test]
fn a_herd_over_many_keys_loads_each_once() {
    let cache: Cache<u64, u64> = Cache::builder(10_000).build();
    let loads = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for key in 0..5000 {
                    let load = |key: &u64| {
                        loads.fetch_add(1, Ordering::Relaxed);
                        Ok::<_, ()>(key * 2)
                    };
                    assert_eq!(cache.get_or_insert_with(key, load), Ok(key * 2));
                }
            });
        }
    });
    assert_eq!(loads.load(Ordering::Relaxed), 5000);
    assert_eq!(cache.stats().inserts, 5000);
}

#[test]
fn what_was_pinned_through_a_resize_goes_when_it_is_unpinned() {
    let cache: Cache<u8, u8> = Cache::builder(10).build();
    cache.insert(1, 1).unwrap();
    assert!(cache.pin(&1));
    cache.resize(0);
    assert_eq!(cache.get(&1), Some(1));
    assert!(cache.unpin(&1));
    assert_eq!((cache.get(&1), cache.weight()), (None, 0));
}
