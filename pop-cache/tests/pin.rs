//! Pinned entries: they stay through any pressure, and take their room from the rest.

use std::sync::atomic::{AtomicBool, Ordering};

use pop_cache::{Cache, EntryOptions};

#[test]
fn what_is_pinned_survives_every_pressure() {
    for capacity in [8_u64, 100, 3000] {
        let cache: Cache<u64, u64> = Cache::builder(capacity).build();
        let pinned = capacity / 4;
        for key in 0..pinned {
            cache.insert(key, !key).unwrap();
            assert!(cache.pin(&key));
        }
        for key in 1000..1000 + 20 * capacity {
            cache.insert(key, key).unwrap();
            assert!(cache.weight() <= capacity);
        }
        assert!((0..pinned).all(|key| cache.get(&key) == Some(!key)), "of {capacity}");
        // Were all unpinned, nothing would have to stay.
        (1..pinned).for_each(|key| assert!(cache.unpin(&key)));
        cache.resize(1);
        assert_eq!((cache.len(), cache.get(&0)), (1, Some(!0)), "of {capacity}");
    }
}

#[test]
fn where_all_is_pinned_an_insert_is_handed_back_with_the_reason() {
    let cache: Cache<u64, String> = Cache::builder(10).build();
    for key in 0..10 {
        cache.insert(key, key.to_string()).unwrap();
        assert!(cache.pin(&key));
    }
    for key in 100..200 {
        let refused = cache.insert(key, "new".to_owned()).unwrap_err();
        assert!(!refused.is_too_heavy());
        assert!(refused.to_string().starts_with("no room"), "{refused}");
        assert_eq!((refused.key, refused.value, refused.weight), (key, "new".to_owned(), 1));
    }
    assert_eq!((cache.len(), cache.stats().evicted, cache.stats().refused), (10, 0, 100));
    assert!(cache.unpin(&3));
    cache.insert(100, "new".to_owned()).unwrap();
    assert_eq!((cache.get(&3), cache.get(&100)), (None, Some("new".to_owned())));
    assert!((0..10).filter(|key| *key != 3).all(|key| cache.contains_key(&key)));
}

#[test]
fn a_pin_is_the_entrys_not_the_keys() {
    let cache: Cache<u64, u64> = Cache::builder(4).build();
    assert!(!cache.pin(&1) && !cache.unpin(&1));
    cache.insert(1, 1).unwrap();
    assert!(cache.pin(&1));
    // Replaced, removed, invalidated as ever.
    cache.insert(1, 2).unwrap();
    assert_eq!(cache.get(&1), Some(2));
    cache.resize(0);
    assert_eq!(cache.get(&1), None, "its successor is not pinned");
    cache.resize(4);
    cache.insert(1, 3).unwrap();
    assert!(cache.pin(&1));
    assert_eq!(cache.remove(&1), Some(3));
    cache.insert(1, 4).unwrap();
    assert!(cache.pin(&1));
    assert_eq!((cache.invalidate_all(), cache.len()), (1, 0));
}

#[test]
fn heavy_pins_leave_the_rest_to_others() {
    let cache: Cache<u64, ()> = Cache::builder(1000).build();
    let heavy = EntryOptions::new().weight(900);
    cache.insert_entry(1, (), heavy.clone()).unwrap();
    assert!(cache.pin(&1));
    (10..500).for_each(|key| cache.insert(key, ()).unwrap());
    assert!(cache.insert_entry(2, (), heavy.clone()).is_err());
    assert!(cache.contains_key(&1) && cache.weight() <= 1000);
    cache.unpin(&1);
    cache.insert_entry(2, (), heavy).unwrap();
    assert!(cache.contains_key(&2) && !cache.contains_key(&1));
}

#[test]
fn pins_hold_while_writers_hammer() {
    const CAPACITY: u64 = 500;
    let cache: Cache<u64, u64> = Cache::builder(CAPACITY).build();
    for key in 0..CAPACITY / 2 {
        cache.insert(key, key).unwrap();
        assert!(cache.pin(&key));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..4_u64)
            .map(|thread| {
                let cache = &cache;
                scope.spawn(move || {
                    for step in 0..20_000 {
                        let _refused_at_times = cache.insert(thread << 32 | step, 0);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!((0..CAPACITY / 2).all(|key| cache.peek(&key) == Some(key)));
                assert!(cache.weight() <= CAPACITY);
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    assert!(cache.len() as u64 > CAPACITY / 2, "others had room too");
}
