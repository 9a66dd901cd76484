//! Who sends the most: the top keys of a stream in fixed memory.
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams",
//! ICDT 2005): `k` counters; a key without one takes over the smallest and inherits its count as a possible error.
//! The counters stand in a binary heap with the smallest on top, so a weight of any size costs `O(log k)`.

use core::hash::Hash;
use core::net::IpAddr;
use std::boxed::Box;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use ahash::RandomState;

use crate::tiers::prefix_of;

/// A key with its estimated weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hitter<K> {
    /// The key.
    pub key: K,
    /// At least the weight that the key has sent.
    pub count: u64,
    /// `count - error` is at most the weight that the key has sent.
    pub error: u64,
}

impl<K> Hitter<K> {
    /// What the key has sent for certain.
    #[must_use]
    pub const fn certain(&self) -> u64 {
        self.count - self.error
    }
}

/// The Space-Saving summary itself, for a single owner.
///
/// After a total weight of `n` over `k` counters: every key heavier than `n / k` has a counter, and no count is above
/// the truth by more than `n / k`.
#[derive(Clone, Debug)]
pub struct SpaceSaving<K> {
    counters: Vec<Counter<K>>,
    /// Indices of `counters`, the smallest count first.
    heap: Vec<u32>,
    places: HashMap<K, u32, RandomState>,
    capacity: usize,
    total: u64,
}

#[derive(Clone, Debug)]
struct Counter<K> {
    hitter: Hitter<K>,
    /// Where it stands in the heap.
    position: u32,
}

impl<K: Hash + Eq + Clone> SpaceSaving<K> {
    /// A summary of `counters` counters, at least one.
    #[must_use]
    pub fn new(counters: usize) -> Self {
        let capacity = counters.clamp(1, u32::MAX as usize);
        Self {
            counters: Vec::with_capacity(capacity),
            heap: Vec::with_capacity(capacity),
            places: HashMap::with_capacity_and_hasher(capacity, RandomState::new()),
            capacity,
            total: 0,
        }
    }

    /// Adds `weight` to `key`. No allocation once all counters are taken, but for cloning the key.
    pub fn record(&mut self, key: &K, weight: u64) {
        self.total = self.total.saturating_add(weight);
        if let Some(&index) = self.places.get(key) {
            let counter = &mut self.counters[index as usize];
            counter.hitter.count = counter.hitter.count.saturating_add(weight);
            self.sink(counter_position(&self.counters, index));
        } else if self.counters.len() < self.capacity {
            let index = self.counters.len() as u32;
            let hitter = Hitter { key: key.clone(), count: weight, error: 0 };
            self.counters.push(Counter { hitter, position: index });
            self.heap.push(index);
            self.places.insert(key.clone(), index);
            self.rise(index as usize);
        } else {
            let index = self.heap[0];
            let hitter = &mut self.counters[index as usize].hitter;
            let forgotten = core::mem::replace(&mut hitter.key, key.clone());
            hitter.error = hitter.count;
            hitter.count = hitter.count.saturating_add(weight);
            self.places.remove(&forgotten);
            self.places.insert(key.clone(), index);
            self.sink(0);
        }
    }

    /// The estimate for `key`, if it has a counter.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&Hitter<K>> {
        self.places.get(key).map(|&index| &self.counters[index as usize].hitter)
    }

    /// The `n` heaviest keys, the heaviest first.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<Hitter<K>> {
        let mut hitters: Vec<_> = self.counters.iter().map(|counter| counter.hitter.clone()).collect();
        hitters.sort_by_key(|hitter| core::cmp::Reverse(hitter.count));
        hitters.truncate(n);
        hitters
    }

    /// All the weight recorded, as it has aged.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Halves every count, so that the past fades. The bounds hold for the faded weights.
    pub fn age(&mut self) {
        self.total = self.total.div_ceil(2);
        for Counter { hitter, .. } in &mut self.counters {
            let certain = hitter.certain() / 2;
            hitter.count = hitter.count.div_ceil(2);
            hitter.error = hitter.count - certain;
        }
        // Halving keeps the order, so the heap stands.
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counters.clear();
        self.heap.clear();
        self.places.clear();
        self.total = 0;
    }

    fn count_at(&self, position: usize) -> u64 {
        self.counters[self.heap[position] as usize].hitter.count
    }

    fn exchange(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.counters[self.heap[one] as usize].position = one as u32;
        self.counters[self.heap[other] as usize].position = other as u32;
    }

    fn rise(&mut self, mut position: usize) {
        while position > 0 && self.count_at(position) < self.count_at((position - 1) / 2) {
            self.exchange(position, (position - 1) / 2);
            position = (position - 1) / 2;
        }
    }

    fn sink(&mut self, mut position: usize) {
        loop {
            let children = [2 * position + 1, 2 * position + 2];
            let Some(least) = children
                .into_iter()
                .filter(|&child| child < self.heap.len())
                .min_by_key(|&child| self.count_at(child))
            else {
                return;
            };
            if self.count_at(position) <= self.count_at(least) {
                return;
            }
            self.exchange(position, least);
            position = least;
        }
    }
}

fn counter_position<K>(counters: &[Counter<K>], index: u32) -> usize {
    counters[index as usize].position as usize
}

/// The top keys of a stream that many threads record.
///
/// Keys are spread over shards by a secret hash; each shard is a [`SpaceSaving`] summary behind a lock of its own, held
/// for one update. The bounds of the summary hold within each shard.
///
/// ```
/// use pop_ratelimit::HeavyHitters;
///
/// let hitters = HeavyHitters::new(64);
/// for packet in 0..10_000_u32 {
///     hitters.record(&(packet % 1000 + 1000), 1);
///     hitters.record(&7, 1);
/// }
/// let top = hitters.top(1);
/// assert_eq!(top[0].key, 7);
/// assert!(top[0].count >= 10_000 && top[0].certain() <= 10_000);
/// ```
#[derive(Debug)]
pub struct HeavyHitters<K> {
    shards: Box<[Mutex<SpaceSaving<K>>]>,
    hasher: RandomState,
}

/// Locks of a [`HeavyHitters`] at most; fewer if there are fewer than 64 counters for each.
const SHARDS_MAX: usize = 16;

impl<K: Hash + Eq + Clone> HeavyHitters<K> {
    /// About `counters` counters (at least one), all allocated now.
    #[must_use]
    pub fn new(counters: usize) -> Self {
        let shards = (counters / 64).clamp(1, SHARDS_MAX);
        Self {
            shards: (0..shards).map(|_| Mutex::new(SpaceSaving::new(counters.div_ceil(shards)))).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Adds `weight` (packets, bytes, denials) to `key`.
    pub fn record(&self, key: &K, weight: u64) {
        self.shard(key).record(key, weight);
    }

    /// The estimate for `key`, if it has a counter.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<Hitter<K>> {
        self.shard(key).get(key).cloned()
    }

    /// The `n` heaviest keys, the heaviest first.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<Hitter<K>> {
        let mut hitters: Vec<_> = self.shards.iter().flat_map(|shard| lock(shard).top(n)).collect();
        hitters.sort_by_key(|hitter| core::cmp::Reverse(hitter.count));
        hitters.truncate(n);
        hitters
    }

    /// All the weight recorded, as it has aged.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).total()).fold(0, u64::saturating_add)
    }

    /// Halves every count; called once a minute, say, the past fades with a half-life of a minute.
    pub fn age(&self) {
        self.shards.iter().for_each(|shard| lock(shard).age());
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.shards.iter().for_each(|shard| lock(shard).clear());
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, SpaceSaving<K>> {
        let hash = self.hasher.hash_one(key);
        lock(&self.shards[((u128::from(hash) * self.shards.len() as u128) >> 64) as usize])
    }
}

/// A panic elsewhere leaves a summary that is at worst imprecise.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The heaviest networks, at several prefix lengths at once.
///
/// A flood from a thousand addresses of one /24 has no heavy address, but a heavy /24.
///
/// ```
/// use pop_ratelimit::HeavyPrefixes;
///
/// let heavy = HeavyPrefixes::new(256, &[(32, 64), (24, 48)]);
/// for host in 0..=255 {
///     heavy.record([198, 51, 100, host].into(), 10);
/// }
/// heavy.record([192, 0, 2, 1].into(), 100);
/// assert_eq!(heavy.top(0, 1)[0].key, ([192, 0, 2, 1].into(), 32));
/// assert_eq!(heavy.top(1, 1)[0].key, ([198, 51, 100, 0].into(), 24));
/// ```
#[derive(Debug)]
pub struct HeavyPrefixes {
    tiers: Box<[(u8, u8, HeavyHitters<IpAddr>)]>,
}

impl HeavyPrefixes {
    /// `counters` counters for each tier, a tier being a prefix length for IPv4 and one for IPv6 (cut to 32 and 128).
    #[must_use]
    pub fn new(counters: usize, tiers: &[(u8, u8)]) -> Self {
        let tiers =
            tiers.iter().map(|&(ipv4, ipv6)| (ipv4.min(32), ipv6.min(128), HeavyHitters::new(counters)));
        Self { tiers: tiers.collect() }
    }

    /// Adds `weight` to the prefixes around `client`. An IPv4-mapped address counts as IPv4.
    pub fn record(&self, client: IpAddr, weight: u64) {
        for (ipv4, ipv6, hitters) in &self.tiers {
            let (prefix, _) = prefix_of(client, *ipv4, *ipv6);
            hitters.record(&prefix, weight);
        }
    }

    /// The `n` heaviest prefixes of a tier, `(network, length)`; none for a tier that does not exist.
    #[must_use]
    pub fn top(&self, tier: usize, n: usize) -> Vec<Hitter<(IpAddr, u8)>> {
        let Some((ipv4, ipv6, hitters)) = self.tiers.get(tier) else { return Vec::new() };
        let top = hitters.top(n).into_iter().map(|hitter| {
            let length = if hitter.key.is_ipv4() { *ipv4 } else { *ipv6 };
            Hitter { key: (hitter.key, length), count: hitter.count, error: hitter.error }
        });
        top.collect()
    }

    /// Halves every count.
    pub fn age(&self) {
        self.tiers.iter().for_each(|(_, _, hitters)| hitters.age());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The twin counts everything. Every bound of the paper holds at the end, with and without ageing.
        #[test]
        fn the_bounds_hold(
            stream in prop::collection::vec((0_u8..40, 1_u64..50), 1..500),
            counters in 1_usize..20,
            age in prop::option::of(0_usize..500),
        ) {
            let mut summary = SpaceSaving::new(counters);
            let mut exact = HashMap::<u8, f64>::new();
            for (step, (key, weight)) in stream.into_iter().enumerate() {
                if Some(step) == age {
                    summary.age();
                    exact.values_mut().for_each(|count| *count /= 2.0);
                }
                summary.record(&key, weight);
                *exact.entry(key).or_default() += weight as f64;
            }
            let total: f64 = exact.values().sum();
            // Ageing rounds a count up by less than one.
            let error_max = total / counters as f64 + 1.0;
            for (key, truth) in &exact {
                match summary.get(key) {
                    Some(hitter) => {
                        prop_assert!(hitter.count as f64 >= *truth && hitter.certain() as f64 <= *truth);
                        prop_assert!(hitter.count as f64 - truth <= error_max);
                    }
                    None => prop_assert!(*truth <= error_max, "{key} of weight {truth} is missing"),
                }
            }
            let top = summary.top(counters);
            prop_assert!(top.len() <= counters && top.is_sorted_by(|a, b| a.count >= b.count));
        }
    }

    #[test]
    fn memory_is_bounded_under_any_number_of_keys() {
        let hitters = HeavyHitters::new(100);
        for key in 0..100_000_u32 {
            hitters.record(&key, 1);
        }
        assert!(hitters.top(usize::MAX).len() <= 100 + SHARDS_MAX);
        assert_eq!(hitters.total(), 100_000);
        hitters.clear();
        assert!(hitters.top(1).is_empty());
    }
}
