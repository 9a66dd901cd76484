//! The cache of small plain pairs: keys and values lie in the table itself.

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use ahash::RandomState;

use crate::inline_bits::{Inline, low};
use crate::inline_duel::Duel;
use crate::inline_set::{Layout, Locked, Pair, Set, Sets};

/// A cache of small plain pairs, stored in the table itself: no allocation, no pointer, no reference count.
///
/// For what fits a few words: an address and its PoP, an id and a counter. It costs less than 4 bytes beyond key and
/// value (pairs of up to 24 bytes, rounded up to words of 8). What it gives up for that:
///
/// - It is not lock-free. A set of seven pairs has a version that its writers lock for a few dozen instructions. A
///   reader writes nothing but two heat bits of a pair's first hits, and reads again if a writer was in the set.
/// - A pair competes for room within its set only, and keys do not spread evenly over sets: while one set evicts, another
///   may have colder pairs or room to spare. So the hit ratio is below that of [`Cache`](crate::Cache), on average by
///   about three points, and a working set that just fits does not quite fit (`docs/eviction.md`).
/// - No weights, lifetimes, tags, listeners or statistics.
///
/// It never holds more pairs than its capacity. Hashing is keyed per instance; keys are stored and compared.
///
/// ```
/// use std::net::Ipv4Addr;
/// use pop_cache::InlineCache;
///
/// let nearest: InlineCache<Ipv4Addr, u16> = InlineCache::new(100_000);
/// nearest.insert(Ipv4Addr::LOCALHOST, 7);
/// assert_eq!(nearest.get(&Ipv4Addr::LOCALHOST), Some(7));
/// assert_eq!(nearest.get_or_insert_with(Ipv4Addr::BROADCAST, |_| 9), 9);
/// assert_eq!(nearest.remove(&Ipv4Addr::LOCALHOST), Some(7));
/// assert_eq!(nearest.len(), 1);
/// ```
pub struct InlineCache<K, V> {
    sets: Sets,
    count: usize,
    capacity: usize,
    /// Sets share the capacity: each has so many ways, and the first ones one more if it does not come out even.
    ways: usize,
    larger: usize,
    hasher: RandomState,
    duel: Duel,
    pairs: PhantomData<(K, V)>,
}

impl<K, V> fmt::Debug for InlineCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineCache").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// Where a key belongs.
struct Home<'a> {
    set: Set<'a>,
    /// Which of the sets it is.
    index: usize,
    tag: u8,
    /// The words of the key.
    key: Pair,
}

impl<K: Inline + Hash + Eq, V: Inline> InlineCache<K, V> {
    const LAYOUT: Layout = {
        assert!(K::BITS <= 128 && V::BITS <= 128, "a key or value has at most 128 bits");
        Layout::of(Self::VALUE_AT + V::BITS)
    };
    /// The value begins right after a key when both fit one word, else at a word of its own.
    const VALUE_AT: u32 = if K::BITS + V::BITS <= 64 { K::BITS } else { K::BITS.next_multiple_of(64) };

    /// A cache of this many pairs. Its memory is taken at once; see [`memory`](Self::memory).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let count = capacity.div_ceil(Self::LAYOUT.ways);
        #[cfg(not(loom))]
        let hasher = RandomState::new();
        // A model must take the same course every time.
        #[cfg(loom)]
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        Self {
            sets: Sets::new(count, Self::LAYOUT),
            count,
            capacity,
            ways: capacity / count.max(1),
            larger: capacity % count.max(1),
            hasher,
            duel: Duel::new(),
            pairs: PhantomData,
        }
    }

    /// How many pairs it holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What the table takes, in bytes: `64 × lines × ⌈capacity / ways⌉`, where a set of seven ways has as many lines
    /// of 64 bytes as the pairs have words of 8, rounded up; pairs of up to 8 bytes lie in sets of six ways, one
    /// line each.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.sets.bytes()
    }

    /// How many pairs it holds. Looks at every set; exact when nobody writes.
    #[must_use]
    pub fn len(&self) -> usize {
        (0..self.count).map(|index| self.set(index).read(Set::len)).sum()
    }

    /// Whether it holds none. Looks at every set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of the value.
    #[inline]
    pub fn get(&self, key: &K) -> Option<V> {
        let home = self.home(key)?;
        home.set.prefetch();
        let (way, pair) = home.set.read(|set| Self::find(&home, set))?;
        home.set.warm(way);
        Some(Self::value(pair))
    }

    /// A copy of the value, without warming the pair.
    pub fn peek(&self, key: &K) -> Option<V> {
        let home = self.home(key)?;
        home.set.read(|set| Self::find(&home, set)).map(|(_, pair)| Self::value(pair))
    }

    /// Whether there is a value, without warming the pair.
    pub fn contains_key(&self, key: &K) -> bool {
        self.peek(key).is_some()
    }

    /// Puts a value, and returns the one that the key had. If its set is full the coldest pair there goes. A cache
    /// of capacity 0 takes nothing in.
    #[inline]
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        let home = self.home(&key)?;
        self.put(&home, &mut home.set.lock(), value)
    }

    /// The value; if there is none, what `make` makes, which is put in unless another thread was first. Several
    /// threads may make a value at a time: nobody waits for another's `make`.
    #[inline]
    pub fn get_or_insert_with(&self, key: K, make: impl FnOnce(&K) -> V) -> V {
        if let Some(value) = self.get(&key) {
            return value;
        }
        let value = make(&key);
        let Some(home) = self.home(&key) else { return value };
        let mut locked = home.set.lock();
        if let Some((_, pair)) = Self::find(&home, locked.set()) {
            return Self::value(pair);
        }
        self.push(&home, &mut locked, value);
        value
    }

    /// Changes a value in place, whole: `change` sees what there is and what it returns is put, or taken out if that
    /// is `None`. Returns what is there afterwards. Other writers of the set wait meanwhile, so `change` should be
    /// short, and must not use this cache; if it panics, nothing is changed.
    pub fn update(&self, key: K, change: impl FnOnce(Option<V>) -> Option<V>) -> Option<V> {
        let home = self.home(&key)?;
        let mut locked = home.set.lock();
        let found = Self::find(&home, locked.set());
        let changed = change(found.map(|(_, pair)| Self::value(pair)));
        match (found, changed) {
            (Some((way, _)), None) => locked.clear(way),
            (_, Some(value)) => {
                self.put(&home, &mut locked, value);
            }
            (None, None) => {}
        }
        changed
    }

    /// Takes a pair out, and returns its value.
    pub fn remove(&self, key: &K) -> Option<V> {
        let home = self.home(key)?;
        let mut locked = home.set.lock();
        let (way, pair) = Self::find(&home, locked.set())?;
        locked.clear(way);
        Some(Self::value(pair))
    }

    /// Keeps the pairs for which `stays` holds. Set by set, so pairs that come meanwhile may be missed. `stays` must
    /// not use this cache.
    pub fn retain(&self, mut stays: impl FnMut(K, V) -> bool) {
        for index in 0..self.count {
            let mut locked = self.set(index).lock();
            for way in 0..Self::LAYOUT.ways {
                let pair = locked.set().pair(way);
                if locked.set().holds(way) && !stays(Self::key(pair), Self::value(pair)) {
                    locked.clear(way);
                }
            }
        }
    }

    /// Takes every pair out.
    pub fn clear(&self) {
        self.retain(|_, _| false);
    }

    /// Calls `visit` with every pair, in no order. Pairs that come meanwhile may be missed.
    pub fn for_each(&self, mut visit: impl FnMut(K, V)) {
        for index in 0..self.count {
            let pairs = self.set(index).read(|set| {
                let way = |way| (way < Self::LAYOUT.ways && set.holds(way)).then(|| set.pair(way));
                std::array::from_fn::<_, { crate::inline_set::WAYS_MAX }, _>(way)
            });
            pairs.into_iter().flatten().for_each(|pair| visit(Self::key(pair), Self::value(pair)));
        }
    }

    #[inline(always)]
    fn set(&self, index: usize) -> Set<'_> {
        self.sets.set(index, Self::LAYOUT)
    }

    /// None if the capacity is 0.
    #[inline(always)]
    fn home(&self, key: &K) -> Option<Home<'_>> {
        if self.count == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        // The high bits choose the set, the low ones the tag.
        let index = ((u128::from(hash) * self.count as u128) >> 64) as usize;
        let tag = (hash as u8 & 0x7F).max(1);
        Some(Home { set: self.set(index), index, tag, key: Self::pair_of_key(*key) })
    }

    #[inline(always)]
    fn find(home: &Home<'_>, set: Set<'_>) -> Option<(usize, Pair)> {
        let (low, high) = (low(K::BITS) as u64, (low(K::BITS) >> 64) as u64);
        let is_it = |pair: Pair| (pair[0] ^ home.key[0]) & low == 0 && (pair[1] ^ home.key[1]) & high == 0;
        set.find(home.tag, is_it)
    }

    /// Puts a value into the locked set, and returns what the key had.
    #[inline]
    fn put(&self, home: &Home<'_>, locked: &mut Locked<'_>, value: V) -> Option<V> {
        if let Some((way, old)) = Self::find(home, locked.set()) {
            locked.overwrite(way, Self::pair(home.key, value));
            return Some(Self::value(old));
        }
        self.push(home, locked, value);
        None
    }

    /// The same if the key is not there.
    #[inline]
    fn push(&self, home: &Home<'_>, locked: &mut Locked<'_>, value: V) {
        let ways = self.ways + usize::from(home.index < self.larger);
        locked.push(ways, self.duel.hand(home.index), home.tag, Self::pair(home.key, value));
    }

    #[inline]
    fn pair_of_key(key: K) -> Pair {
        let bits = key.to_bits();
        [bits as u64, (bits >> 64) as u64, 0, 0]
    }

    #[inline]
    fn pair(mut pair: Pair, value: V) -> Pair {
        let bits = value.to_bits();
        let at = (Self::VALUE_AT / 64) as usize;
        // The shift is not 0 only if all fits one word. A value at the fourth word has one word.
        pair[at] |= (bits as u64) << (Self::VALUE_AT % 64);
        if V::BITS > 64 {
            pair[at + 1] = (bits >> 64) as u64;
        }
        pair
    }

    #[inline]
    fn value(pair: Pair) -> V {
        if V::BITS == 0 {
            return V::from_bits(0);
        }
        let at = (Self::VALUE_AT / 64) as usize;
        let mut bits = u128::from(pair[at] >> (Self::VALUE_AT % 64));
        if V::BITS > 64 {
            bits |= u128::from(pair[at + 1]) << 64;
        }
        V::from_bits(bits & low(V::BITS))
    }

    fn key(pair: Pair) -> K {
        K::from_bits((u128::from(pair[0]) | u128::from(pair[1]) << 64) & low(K::BITS))
    }
}
