//! What the allocator says.

use std::sync::Mutex;
use std::time::Duration;

use pop_cache::{Cache, EntryOptions};

mod counting;

use counting::in_use;

/// One test at a time: the count is the process's.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn an_entry_costs_what_the_readme_says() {
    let _turn = TURN.lock().unwrap();
    const ENTRIES: u64 = 1 << 20;
    let before = in_use();
    let cache: Cache<u64, u64> = Cache::builder(ENTRIES).build();
    (0..ENTRIES).for_each(|key| cache.insert(key, key).unwrap());
    let beyond = (in_use() - before) as f64 / ENTRIES as f64 - 16.0;
    // 8 of header, 64 / 3 of index and ghosts, 4 of the window's ring, and little of what does not grow.
    assert!((30.0..36.4).contains(&beyond), "{beyond} bytes an entry");
    drop(cache);
    assert!(in_use() < before + 64 * 1024, "not given back");
}

/// Writers that reuse keys, replace, expire, tag and invalidate: what is in use does not grow.
#[test]
fn memory_is_flat_under_write_pressure() {
    let _turn = TURN.lock().unwrap();
    let cache: Cache<u64, Vec<u8>> =
        Cache::builder(1 << 20).weigher(|_, value: &Vec<u8>| value.len() as u64).build();
    let round = |round: u64| {
        std::thread::scope(|scope| {
            for thread in 0..2_u64 {
                let cache = &cache;
                scope.spawn(move || {
                    let mut random = round * 2 + thread + 1;
                    for _ in 0..10_000 {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let (key, bits) = ((random >> 40) % 5000, random >> 20);
                        let value = vec![0; 100 + (bits % 400) as usize];
                        let options = match bits % 7 {
                            0 => EntryOptions::new().time_to_live(Duration::from_micros(bits % 5000)),
                            1 => EntryOptions::new().tag(bits % 3000),
                            2 => EntryOptions::new().time_to_idle(Duration::from_secs(60)),
                            _ => EntryOptions::new(),
                        };
                        match bits % 50 {
                            0 => cache.invalidate_tag(bits % 3000),
                            1..5 => drop(cache.remove(&key)),
                            _ => drop(cache.insert_entry(key, value, options)),
                        }
                    }
                });
            }
        });
        in_use()
    };
    let settled = (0..3).map(round).max().unwrap();
    let later = (3..12).map(round).max().unwrap();
    assert!(later < settled + settled / 4, "{settled} bytes, later {later}");
    // The bound is on what the entries weigh; what is around them is a few hundred bytes each at most.
    assert!(later < 3 << 20, "{later} bytes for a mebibyte of values");
}
