//! Any sequence of operations: the cache answers as a map that loses what the listener tells of.
#![no_main]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pop_cache::{Cache, Change, EntryOptions, Timestamp};

/// Value, end, and tag.
type Entry = (u64, u64, u8);

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

fuzz_target!(|input: (u8, Vec<(u8, u8, u8)>)| {
    let (capacity, steps) = input;
    NOW.set(0);
    let gone = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&gone);
    let cache: Cache<u8, u64> = Cache::builder(u64::from(capacity))
        .weigher(|_, value: &u64| value >> 56)
        .clock(|| Timestamp::from_nanos(NOW.get()))
        .on_removal(move |key: &u8, value: &u64, _| told.lock().expect("no panic").push((*key, *value)))
        .build();
    let mut model: HashMap<u8, Entry> = HashMap::new();
    let settle = |model: &mut HashMap<u8, Entry>| {
        for (key, value) in gone.lock().expect("no panic").drain(..) {
            if model.get(&key).is_some_and(|entry| entry.0 == value) {
                model.remove(&key);
            }
        }
    };
    for (number, (what, key, argument)) in (1_u64..).zip(steps) {
        let now = NOW.get();
        let live = |model: &HashMap<u8, Entry>| model.get(&key).filter(|entry| entry.1 > now).map(|entry| entry.0);
        let value = u64::from(argument) << 56 | number;
        match what % 10 {
            0 | 1 => assert_eq!(cache.get(&key), live(&model)),
            2 => {
                let expected = live(&model);
                assert_eq!(cache.remove(&key), expected);
                model.remove(&key);
            }
            3 => {
                NOW.set(now + u64::from(argument));
            }
            4 => {
                cache.invalidate_tag(u64::from(argument % 4));
                model.retain(|_, entry| entry.2 != argument % 4);
            }
            5 => cache.resize(u64::from(argument) * 4),
            6 => {
                let expected = live(&model);
                let decide = |seen: Option<&u64>| {
                    assert_eq!(seen.copied(), expected);
                    if seen.is_some() { Change::Remove } else { Change::Keep }
                };
                assert_eq!(cache.compute(key, decide).expect("nothing is put in"), expected.is_some());
                model.remove(&key);
            }
            kind => {
                let (life, tag) = (u64::from(key) + 1, argument % 4);
                let options = EntryOptions::new();
                let (options, entry) = match kind {
                    7 => (options.time_to_live(Duration::from_nanos(life)), (value, now + life, u8::MAX)),
                    8 => (options.tag(u64::from(tag)), (value, u64::MAX, tag)),
                    _ => (options, (value, u64::MAX, u8::MAX)),
                };
                match cache.insert_entry(key, value, options) {
                    Ok(()) => _ = model.insert(key, entry),
                    Err(back) => assert!(back.value == value && back.weight > back.capacity),
                }
            }
        }
        settle(&mut model);
        assert!(cache.weight() <= cache.capacity());
        let seen = cache.iter().count();
        assert_eq!(seen, model.values().filter(|entry| entry.1 > NOW.get()).count());
    }
});
