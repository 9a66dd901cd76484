//! Values of every kind, and capacities at the large end.
#![cfg(not(loom))]

use std::sync::Arc;

use pop_cache::{Cache, InlineCache};

/// Put, evicted, replaced, borrowed and taken out, a few times over.
fn check<V: Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static>(value: impl Fn(u32) -> V) {
    let cache: Cache<u32, V> = Cache::builder(50).build();
    for key in 0..500 {
        cache.insert(key, value(key)).expect("it fits");
        assert_eq!(cache.get(&key), Some(value(key)));
        cache.insert(key, value(key + 1)).expect("it fits");
        assert_eq!(cache.get_ref(&key).as_deref(), Some(&value(key + 1)));
        if key % 3 == 0 {
            assert_eq!(cache.remove(&key), Some(value(key + 1)));
            assert_eq!(cache.get(&key), None);
        }
        assert!(cache.len() <= 50);
    }
    for entry in cache.iter() {
        assert_eq!(*entry, value(entry.key() + 1));
    }
    let there = cache.len();
    assert_eq!(cache.invalidate_all(), there);
    assert!(cache.is_empty());
}

#[test]
fn values_of_every_kind_work() {
    check(|_| ());
    check(|number| number.to_string());
    check(|number| Arc::<str>::from(number.to_string()));
    check(|number| vec![number; 3]);
    check(|number| [u64::from(number); 100]);
    check(|number| Some(Box::new(number)));
}

#[cfg(feature = "tower")]
#[test]
fn bytes_work() {
    check(|number| bytes::Bytes::from(number.to_string()));
}

/// Ten million are room, not memory: the index grows with what is there, and the inline table is as large as it says.
#[test]
fn ten_million_fit() {
    const CAPACITY: u64 = 10_000_000;
    let cache = Cache::builder(CAPACITY).build();
    (0..100_000_u64).for_each(|key| cache.insert(key, key).expect("it fits"));
    assert!((0..100_000).all(|key| cache.get(&key) == Some(key)));
    assert_eq!((cache.len(), cache.weight(), cache.capacity()), (100_000, 100_000, CAPACITY));

    let cache: InlineCache<u32, u32> = InlineCache::new(CAPACITY as usize);
    for key in 0..10_000 {
        cache.insert(key, !key);
    }
    assert!((0..10_000).all(|key| cache.get(&key) == Some(!key)));
    assert!(cache.memory() < CAPACITY as usize * 12);
}
