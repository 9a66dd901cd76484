//! The cache beside an obvious twin: a map that takes in what the cache takes in and loses what the listener tells of.
//! Whatever the policy does, every answer must then be the twin's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pop_cache::{Cache, Change, EntryOptions, RemovalCause, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    GetRef(u8),
    Peek(u8),
    Insert(u8, u64),
    InsertFor(u8, u64, u64),
    InsertIdle(u8, u64, u64),
    InsertTagged(u8, u64, u64),
    Remove(u8),
    Compute(u8),
    Pin(u8),
    Unpin(u8),
    InvalidateTag(u64),
    RemoveTag(u64),
    InvalidateIf(u8),
    Pass(u64),
    Resize(u64),
    Reclaim,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..24_u8;
    let weight = || prop_oneof![4 => 1..8_u64, 1 => 0..40_u64];
    vec(
        prop_oneof![
            6 => key().prop_map(Step::Get),
            1 => key().prop_map(Step::GetRef),
            1 => key().prop_map(Step::Peek),
            6 => (key(), weight()).prop_map(|(key, weight)| Step::Insert(key, weight)),
            3 => (key(), weight(), 1..50_u64).prop_map(|(key, weight, life)| Step::InsertFor(key, weight, life)),
            1 => (key(), weight(), 1..50_u64).prop_map(|(key, weight, idle)| Step::InsertIdle(key, weight, idle)),
            2 => (key(), weight(), 0..4_u64).prop_map(|(key, weight, tag)| Step::InsertTagged(key, weight, tag)),
            2 => key().prop_map(Step::Remove),
            2 => key().prop_map(Step::Compute),
            1 => key().prop_map(Step::Pin),
            1 => key().prop_map(Step::Unpin),
            1 => (0..4_u64).prop_map(Step::InvalidateTag),
            1 => (0..4_u64).prop_map(Step::RemoveTag),
            1 => (1..9_u8).prop_map(Step::InvalidateIf),
            2 => (1..20_u64).prop_map(Step::Pass),
            1 => (0..60_u64).prop_map(Step::Resize),
            1 => Just(Step::Reclaim),
            1 => Just(Step::Clear),
        ],
        1..200,
    )
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    value: u64,
    weight: u64,
    deadline: Option<u64>,
    idle: Option<u64>,
    tag: Option<u64>,
    is_pinned: bool,
}

impl Entry {
    fn is_live(&self, now: u64) -> bool {
        self.deadline.is_none_or(|deadline| deadline > now)
    }
}

type Gone = Vec<(u8, u64, RemovalCause)>;

struct Pair {
    cache: Cache<u8, u64>,
    twin: HashMap<u8, Entry>,
    gone: Arc<Mutex<Gone>>,
    clock: Arc<AtomicU64>,
    next: u64,
}

impl Pair {
    fn new(capacity: u64) -> Self {
        let (gone, clock) = (Arc::new(Mutex::new(Gone::new())), Arc::new(AtomicU64::new(0)));
        let (listener, time) = (Arc::clone(&gone), Arc::clone(&clock));
        let cache = Cache::builder(capacity)
            .weigher(|_, value: &u64| value >> 32)
            .clock(move || Timestamp::from_nanos(time.load(Ordering::Relaxed)))
            .on_removal(move |key: &u8, value: &u64, cause| {
                listener.lock().unwrap().push((*key, *value, cause));
            })
            .build();
        Self { cache, twin: HashMap::new(), gone, clock, next: 1 }
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Takes out of the twin what the listener was told of, and checks that each cause is true.
    fn settle(&mut self, explicit: impl Fn(u8, &Entry) -> bool) {
        let told = std::mem::take(&mut *self.gone.lock().unwrap());
        self.lose(told, None, explicit);
    }

    fn lose(&mut self, told: Gone, replaced: Option<u8>, explicit: impl Fn(u8, &Entry) -> bool) {
        let now = self.now();
        for (key, value, cause) in told {
            let entry = self.twin.remove(&key).expect("told of an entry that was not there");
            assert_eq!(entry.value, value, "told of another value");
            match cause {
                RemovalCause::Replaced => assert_eq!(replaced, Some(key)),
                RemovalCause::Expired => assert!(!entry.is_live(now), "it was live"),
                RemovalCause::Size => {
                    assert!(entry.is_live(now) && !entry.is_pinned, "{entry:?} evicted at {now}");
                }
                _ => assert!(explicit(key, &entry), "nobody asked for {key}"),
            }
        }
    }

    fn insert(&mut self, key: u8, weight: u64, options: EntryOptions, entry: impl FnOnce(Entry) -> Entry) {
        let weight_counted = weight.max(1);
        let value = weight << 32 | self.next;
        self.next += 1;
        let plain =
            Entry { value, weight: weight_counted, deadline: None, idle: None, tag: None, is_pinned: false };
        let inserted = self.cache.insert_entry(key, value, options);
        let told = std::mem::take(&mut *self.gone.lock().unwrap());
        let (of_it, of_others) = told.into_iter().partition(|gone| gone.1 == value);
        self.lose(of_others, Some(key), |_, _| false);
        match inserted {
            Ok(()) => {
                assert!(!self.twin.contains_key(&key), "its predecessor is still there");
                self.twin.insert(key, entry(plain));
                self.lose(of_it, None, |_, _| false);
            }
            Err(back) => {
                assert_eq!((back.key, back.value, back.weight), (key, value, weight_counted));
                let pinned = self.twin.values().filter(|entry| entry.is_pinned).map(|entry| entry.weight);
                assert!(
                    weight_counted + pinned.sum::<u64>() > self.cache.capacity(),
                    "refused though it fits"
                );
            }
        }
    }

    fn look(&mut self, key: u8, got: Option<u64>) {
        let now = self.now();
        let expected = self.twin.get(&key).filter(|entry| entry.is_live(now)).map(|entry| entry.value);
        assert_eq!(got, expected, "of {key} at {now}");
    }

    fn hit(&mut self, key: u8) {
        let now = self.now();
        if let Some(entry) = self.twin.get_mut(&key)
            && entry.is_live(now)
            && let Some(idle) = entry.idle
        {
            entry.deadline = Some(now + idle);
        }
    }

    fn step(&mut self, step: &Step) {
        let now = self.now();
        let nobody = |_: u8, _: &Entry| false;
        match *step {
            Step::Get(key) => {
                let got = self.cache.get(&key);
                self.look(key, got);
                self.hit(key);
            }
            Step::GetRef(key) => {
                let got = self.cache.get_ref(&key).map(|value| *value);
                self.look(key, got);
                self.hit(key);
            }
            Step::Peek(key) => {
                let got = self.cache.peek(&key);
                self.look(key, got);
                let there = self.cache.contains_key(&key);
                assert_eq!(there, got.is_some());
            }
            Step::Insert(key, weight) => self.insert(key, weight, EntryOptions::new(), |entry| entry),
            Step::InsertFor(key, weight, life) => {
                let options = EntryOptions::new().time_to_live(Duration::from_nanos(life));
                self.insert(key, weight, options, |entry| Entry { deadline: Some(now + life), ..entry });
            }
            Step::InsertIdle(key, weight, idle) => {
                let options = EntryOptions::new().time_to_idle(Duration::from_nanos(idle));
                let deadline = Some(now + idle);
                self.insert(key, weight, options, |entry| Entry { deadline, idle: Some(idle), ..entry });
            }
            Step::InsertTagged(key, weight, tag) => {
                let options = EntryOptions::new().tag(tag).tag(100);
                self.insert(key, weight, options, |entry| Entry { tag: Some(tag), ..entry });
            }
            Step::Remove(key) => {
                let got = self.cache.remove(&key);
                self.look(key, got);
                self.settle(|gone, _| gone == key);
            }
            Step::Compute(key) => {
                let live = self.twin.get(&key).filter(|entry| entry.is_live(now)).map(|entry| entry.value);
                let mut seen = None;
                let changed = self.cache.compute(key, |value| {
                    seen = value.copied();
                    if value.is_some() { Change::Remove } else { Change::Keep }
                });
                assert_eq!(seen, live);
                assert_eq!(changed.unwrap(), live.is_some());
                self.settle(|gone, _| gone == key);
            }
            Step::Pin(key) => {
                let pinned = self.cache.pin(&key);
                if let Some(entry) = self.twin.get_mut(&key).filter(|entry| entry.is_live(now)) {
                    assert!(pinned);
                    entry.is_pinned = true;
                }
            }
            Step::Unpin(key) => {
                let there = self.cache.unpin(&key);
                if let Some(entry) = self.twin.get_mut(&key).filter(|entry| entry.is_live(now)) {
                    assert!(there);
                    entry.is_pinned = false;
                }
            }
            Step::InvalidateTag(tag) => {
                self.cache.invalidate_tag(tag);
                // All of them are void, whether the cache has met them or not.
                let void: Vec<u8> = self
                    .twin
                    .iter()
                    .filter(|(_, entry)| entry.tag == Some(tag))
                    .map(|(key, _)| *key)
                    .collect();
                for key in void {
                    assert_eq!(self.cache.get(&key), None);
                }
                self.settle(|_, entry| entry.tag == Some(tag));
                assert!(self.twin.values().all(|entry| entry.tag != Some(tag)), "void and never told of");
            }
            Step::RemoveTag(tag) => {
                let expected = self.twin.values().filter(|entry| entry.tag == Some(tag)).count();
                assert_eq!(self.cache.remove_tag(tag), expected);
                self.settle(|_, entry| entry.tag == Some(tag));
            }
            Step::InvalidateIf(part) => {
                let expected = self.twin.keys().filter(|key| **key % part == 0).count();
                assert_eq!(self.cache.invalidate_if(|key, _| key % part == 0), expected);
                self.settle(|key, _| key % part == 0);
            }
            Step::Pass(nanos) => {
                self.clock.fetch_add(nanos, Ordering::Relaxed);
            }
            Step::Resize(capacity) => self.cache.resize(capacity),
            Step::Reclaim => {
                self.cache.reclaim();
                self.settle(nobody);
                assert!(self.twin.values().all(|entry| entry.is_live(now)), "expired and still there");
                assert_eq!(self.cache.retired_weight(), 0);
            }
            Step::Clear => {
                assert_eq!(self.cache.invalidate_all(), self.twin.len());
                self.settle(|_, _| true);
                assert!(self.twin.is_empty());
            }
        }
        self.settle(nobody);
        self.check();
    }

    fn check(&self) {
        let now = self.now();
        assert_eq!(self.cache.len(), self.twin.len());
        let weight: u64 = self.twin.values().map(|entry| entry.weight).sum();
        assert_eq!(self.cache.weight(), weight);
        let pinned: u64 = self.twin.values().filter(|entry| entry.is_pinned).map(|entry| entry.weight).sum();
        assert!(weight <= self.cache.capacity().max(pinned), "{weight} of {}", self.cache.capacity());
        let mut there: Vec<(u8, u64)> = self.cache.iter().map(|entry| (*entry.key(), *entry)).collect();
        let live = self.twin.iter().filter(|(_, entry)| entry.is_live(now));
        let mut expected: Vec<(u8, u64)> = live.map(|(key, entry)| (*key, entry.value)).collect();
        there.sort_unstable();
        expected.sort_unstable();
        assert_eq!(there, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_is_its_twin(capacity in 0..60_u64, steps in steps()) {
        let mut pair = Pair::new(capacity);
        for step in &steps {
            pair.step(step);
        }
    }
}
