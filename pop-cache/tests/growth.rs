//! Many threads at once, in an index that grows under them.

use pop_cache::Cache;

#[test]
fn a_tiny_index_grows_and_loses_nothing() {
    let cache: Cache<u64, u64> = Cache::builder(1 << 40).entries(1).build();
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let cache = &cache;
            scope.spawn(move || {
                for step in 0..20_000 {
                    let key = step * 3 + thread;
                    cache.insert(key, !key).unwrap();
                    let earlier = (step / 2) * 3 + thread;
                    assert_eq!(cache.get(&earlier), Some(!earlier), "of {key}");
                }
            });
        }
    });
    assert_eq!(cache.len(), 60_000);
    assert!((0..60_000).all(|key| cache.get(&key) == Some(!key)));
    assert_eq!(cache.iter().count(), 60_000);
}

/// Small tables, where the choices of a key often coincide: every key is there right after its insert, and an index
/// that is full all the time is crowded.
#[test]
fn a_small_cache_has_what_was_just_put_in() {
    for capacity in [12_u64, 40, 150, 700] {
        let cache = Cache::builder(capacity).build();
        for key in 0..30_000_u64 {
            cache.insert(key, key).unwrap();
            assert_eq!(cache.get(&key), Some(key), "capacity {capacity}");
        }
        assert_eq!(cache.stats().replaced, 0);
    }
}
