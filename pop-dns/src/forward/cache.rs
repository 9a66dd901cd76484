//! The cache: bounded in octets, and out of reach for a flood.
//!
//! Each shard keeps newcomers apart from what was asked for again. So names that are asked for once, however many a flood
//! invents (CacheFlush), push each other out and nothing else; and one answer may take a hundredth of all octets at most.

use std::sync::{Arc, Mutex, MutexGuard};

use ahash::RandomState;

use super::entry::Entry;
use super::key::Key;
use super::shard::{Asked, Shard};

/// One answer may take this share of all octets: one in so many.
pub(super) const ANSWER_SHARE: usize = 100;
/// Shards of a large cache.
const SHARDS: usize = 16;
/// A shard has at least so many octets, so that a small cache has fewer shards.
const SHARD_OCTETS_MIN: usize = 1 << 20;
/// Octets an entry costs beside its message and key: its slot, the pointers to it, its part of the table and queue, and
/// what the allocator adds. Rounded up.
const OVERHEAD_OCTETS: usize = 192;

/// Answers by key.
#[derive(Debug)]
pub(super) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    answer_octets_max: usize,
}

/// What a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) entries: usize,
    pub(super) octets: usize,
    pub(super) evictions: u64,
}

impl Cache {
    /// A cache of at most `octets`; 0 keeps nothing.
    pub(super) fn new(octets: usize) -> Self {
        let shards = (octets / SHARD_OCTETS_MIN).clamp(1, SHARDS);
        let shard = || Mutex::new(Shard::new(octets / shards));
        Self {
            shards: std::iter::repeat_with(shard).take(shards).collect(),
            hasher: RandomState::new(),
            answer_octets_max: octets / ANSWER_SHARE,
        }
    }

    /// The entry of `key`, and whether it was asked for before.
    pub(super) fn get(&self, key: &Key) -> Option<(Arc<Entry>, Asked)> {
        self.shard(key.octets()).get(key.octets())
    }

    /// Keeps `entry`, if it is not too large; says whether it is kept.
    pub(super) fn insert(&self, key: &Key, entry: Arc<Entry>) -> bool {
        let octets = weight(key.octets(), &entry);
        octets <= self.answer_octets_max && self.shard(key.octets()).insert(key.octets(), entry, octets)
    }

    /// Forgets every entry for which `forget` says so, by its question in wire format; returns how many.
    pub(super) fn forget(&self, mut forget: impl FnMut(&[u8]) -> bool) -> usize {
        let lock = |shard: &Mutex<Shard>| {
            let mut shard = shard.lock().expect("no holder of this lock panics");
            let slots: Vec<u32> =
                shard.map.iter().filter(|(key, _)| forget(key)).map(|(_, &slot)| slot).collect();
            slots.iter().for_each(|&slot| shard.vacate(slot));
            slots.len()
        };
        self.shards.iter().map(lock).sum()
    }

    pub(super) fn holding(&self) -> Holding {
        self.shards.iter().fold(Holding::default(), |sum, shard| {
            let shard = shard.lock().expect("no holder of this lock panics");
            Holding {
                entries: sum.entries + shard.map.len(),
                octets: sum.octets + shard.octets,
                evictions: sum.evictions + shard.evictions,
            }
        })
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) as usize % self.shards.len();
        self.shards[index].lock().expect("no holder of this lock panics")
    }
}

/// Octets that an entry counts for.
fn weight(key: &[u8], entry: &Entry) -> usize {
    2 * key.len() + entry.octets() + OVERHEAD_OCTETS
}

#[cfg(test)]
mod tests {
    use super::super::shard::Queue;
    use super::*;
    use crate::{MessageBuilder, Query, RecordType, Timestamp};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn key(name: &str) -> Key {
        let query = MessageBuilder::query(0, &name.parse().unwrap(), RecordType::A).finish();
        Key::new(&Query::parse(&query).unwrap())
    }

    /// An answer whose lifetime tells it apart, with a TXT record of so many octets.
    fn entry(mark: u32, octets: usize) -> Arc<Entry> {
        let mut builder = MessageBuilder::new(65_535);
        builder.question(b"\x01x\x00", RecordType::TXT, crate::Class::IN).unwrap();
        let texts: Vec<u8> =
            (0..octets.div_ceil(201)).flat_map(|_| [[200].as_slice(), &[0; 200]].concat()).collect();
        builder.rrset(crate::Section::Answer, b"\x01x\x00", RecordType::TXT, 1, [&texts[..]]).unwrap();
        Arc::new(Entry::new(builder.finish(), mark, 0, Timestamp::ZERO).unwrap())
    }

    /// The share of `hot` names that are there when asked for, each asked for once.
    fn hit_ratio(cache: &Cache, hot: &[Key]) -> f64 {
        let hits = hot.iter().filter(|key| cache.get(key).is_some()).count();
        hits as f64 / hot.len() as f64
    }

    #[test]
    fn a_flood_of_new_names_leaves_the_hot_ones_where_they_are() {
        let cache = Cache::new(1 << 20);
        let hot: Vec<Key> = (0..1000).map(|name| key(&format!("{name}.hot.example"))).collect();
        // Users come back to their names, and what they do not find is fetched.
        let ask = |rounds: usize| {
            let mut hits = 0;
            for index in 0..rounds {
                let key = &hot[index * 7919 % hot.len()];
                match cache.get(key) {
                    Some(_) => hits += 1,
                    None => drop(cache.insert(key, entry(60, 100))),
                }
            }
            hits as f64 / rounds as f64
        };
        ask(5000);
        let before = ask(5000);
        assert!(before > 0.99, "{before}: they all fit");
        // For each of their queries ten names that nobody ever asks for again, with answers ten times as large.
        let mut hits = 0;
        for index in 0..5000_usize {
            let key_hot = &hot[index * 7919 % hot.len()];
            match cache.get(key_hot) {
                Some(_) => hits += 1,
                None => drop(cache.insert(key_hot, entry(60, 100))),
            }
            for flood in 0..10 {
                cache.insert(&key(&format!("{index}-{flood}.flood.example")), entry(60, 1000));
            }
        }
        let during = f64::from(hits) / 5000.0;
        assert!(during >= 0.9 * before, "{during} of the hot queries hit under the flood, {before} before");
        assert!(hit_ratio(&cache, &hot) >= 0.9 * before);
        let holding = cache.holding();
        assert!(holding.octets <= 1 << 20 && holding.evictions > 45_000, "{holding:?}");
    }

    /// The same flood empties a plain LRU: the test above can fail.
    #[test]
    fn a_plain_lru_would_be_flushed() {
        let mut lru = lru::LruCache::<String, ()>::new(std::num::NonZeroUsize::new(5000).unwrap());
        let (mut hits, hot) = (0, 4000);
        for index in 0..40_000_usize {
            let name = format!("{}.hot.example", index * 7919 % hot);
            if index >= 20_000 {
                hits += usize::from(lru.get(&name).is_some());
                (0..10).for_each(|flood| _ = lru.put(format!("{index}-{flood}.flood"), ()));
            }
            lru.put(name, ());
        }
        assert!(hits < 5000, "{hits} of 20000");
    }

    #[test]
    fn one_answer_takes_a_hundredth_at_most() {
        let cache = Cache::new(1 << 20);
        assert!(cache.insert(&key("small.example"), entry(1, 9_000)));
        assert!(!cache.insert(&key("large.example"), entry(1, 11_000)));
        assert!(cache.get(&key("large.example")).is_none());
        assert!(!Cache::new(0).insert(&key("small.example"), entry(1, 10)));
    }

    #[test]
    fn replacing_one_answer_for_ever_takes_no_room() {
        let cache = Cache::new(1 << 20);
        for mark in 0..100_000 {
            cache.insert(&key("a.example"), entry(mark, 100));
        }
        let shard = cache.shards[0].lock().unwrap();
        assert!(shard.slots.len() < 200 && shard.small.len() + shard.main.len() < 200);
        assert_eq!(shard.map.len(), 1);
    }

    proptest! {
        /// The slow twin is a map of what was inserted last: whatever is found is that, bounds hold, and what the
        /// cache says it holds is what it holds.
        #[test]
        fn what_is_found_is_what_was_put_there_last(
            steps in proptest::collection::vec((0_u8..4, 0_u8..60, 0_usize..3000), 1..600),
        ) {
            let cache = Cache::new(300_000);
            let mut twin: HashMap<u8, u32> = HashMap::default();
            for (mark, (what, name, octets)) in (0_u32..).zip(steps) {
                let key = key(&format!("{name}.example"));
                match what {
                    0 => {
                        if let Some((found, _)) = cache.get(&key) {
                            prop_assert_eq!(Some(&found.lifetime), twin.get(&name));
                        }
                    }
                    3 => {
                        cache.forget(|octets| octets == key.octets());
                        twin.remove(&name);
                        prop_assert!(cache.get(&key).is_none());
                    }
                    _ => {
                        let kept = cache.insert(&key, entry(mark, octets));
                        if kept {
                            twin.insert(name, mark);
                            prop_assert_eq!(cache.get(&key).map(|(entry, _)| entry.lifetime), Some(mark));
                        }
                    }
                }
                let shard = cache.shards[0].lock().unwrap();
                let octets: usize = shard.map.values().map(|&slot| shard.slots[slot as usize].octets).sum();
                prop_assert!(shard.octets == octets && octets <= 300_000);
                let small = shard.map.values().map(|&slot| &shard.slots[slot as usize]);
                let small: usize = small.filter(|slot| slot.queue == Queue::Small).map(|slot| slot.octets).sum();
                prop_assert_eq!(shard.small_octets, small);
            }
        }
    }
}
