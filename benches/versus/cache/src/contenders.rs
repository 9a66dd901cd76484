//! Every peer behind one face, so that a program measures them with the same loop.
//!
//! Where a peer's hash is a parameter it is ahash, as in this project's cache; `quick_cache` brings its own fast one.

use std::hint::black_box;

use ahash::RandomState;

/// A cache from `u64` to `u64`, as its users would set it up: the crate's defaults, sized for the workload.
pub trait Peer: Sync + Sized {
    /// How the tables call it.
    const NAME: &'static str;

    /// Room for `capacity` entries.
    fn new(capacity: usize) -> Self;

    /// A copy of the value.
    fn get(&self, key: u64) -> Option<u64>;

    /// Takes an entry in.
    fn insert(&self, key: u64, value: u64);

    /// How many entries there are, after whatever housekeeping the peer does of its own accord.
    fn len(&self) -> usize;
}

/// This project's cache.
pub struct Pop(pop_cache::Cache<u64, u64>);

impl Peer for Pop {
    const NAME: &'static str = "pop-cache";

    fn new(capacity: usize) -> Self {
        Self(pop_cache::Cache::builder(capacity as u64).entries(capacity).build())
    }

    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        let _refused = black_box(self.0.insert(key, value));
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// This project's cache of small plain pairs.
pub struct PopInline(pop_cache::InlineCache<u64, u64>);

impl Peer for PopInline {
    const NAME: &'static str = "pop-inline";

    fn new(capacity: usize) -> Self {
        Self(pop_cache::InlineCache::new(capacity))
    }

    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        black_box(self.0.insert(key, value));
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// `quick_cache`: the reference of every ratio.
pub struct Quick(quick_cache::sync::Cache<u64, u64>);

impl Peer for Quick {
    const NAME: &'static str = "quick_cache";

    fn new(capacity: usize) -> Self {
        Self(quick_cache::sync::Cache::new(capacity))
    }

    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// `moka`.
pub struct Moka(moka::sync::Cache<u64, u64, RandomState>);

impl Peer for Moka {
    const NAME: &'static str = "moka";

    fn new(capacity: usize) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(capacity as u64);
        Self(builder.build_with_hasher(RandomState::new()))
    }

    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }

    fn len(&self) -> usize {
        self.0.run_pending_tasks();
        self.0.entry_count() as usize
    }
}

/// `TinyUFO`, whose keys are hashes only.
pub struct TinyUfo(tinyufo::TinyUfo<u64, u64>, usize);

impl Peer for TinyUfo {
    const NAME: &'static str = "TinyUFO";

    fn new(capacity: usize) -> Self {
        Self(tinyufo::TinyUfo::new(capacity, capacity), capacity)
    }

    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        black_box(self.0.put(key, value, 1));
    }

    /// It does not count them: as many as its capacity, once it has been filled.
    fn len(&self) -> usize {
        self.1
    }
}

/// `scc::HashCache`, whose capacity is rounded up to a power of two.
pub struct Scc(scc::HashCache<u64, u64, RandomState>);

impl Peer for Scc {
    const NAME: &'static str = "scc";

    fn new(capacity: usize) -> Self {
        Self(scc::HashCache::with_capacity_and_hasher(capacity, capacity, RandomState::new()))
    }

    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.read_sync(&key, |_, value| *value)
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        // `put_sync` refuses a key that is there; what replaces is the entry.
        self.0.entry_sync(key).put_entry(value);
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// `papaya`: a lock-free map that evicts nothing, so only where everything fits.
pub struct Papaya(papaya::HashMap<u64, u64, RandomState>);

impl Peer for Papaya {
    const NAME: &'static str = "papaya";

    fn new(capacity: usize) -> Self {
        Self(papaya::HashMap::with_capacity_and_hasher(capacity, RandomState::new()))
    }

    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.pin().get(&key).copied()
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        self.0.pin().insert(key, value);
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// `foyer-memory` with its S3-FIFO.
pub struct Foyer(foyer_memory::Cache<u64, u64, RandomState>);

impl Peer for Foyer {
    const NAME: &'static str = "foyer";

    fn new(capacity: usize) -> Self {
        let eviction = foyer_memory::S3FifoConfig::default();
        Self(
            foyer_memory::CacheBuilder::new(capacity)
                .with_eviction_config(eviction)
                .with_hash_builder(RandomState::new())
                .build::<foyer_memory::CacheProperties>(),
        )
    }

    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key).map(|entry| *entry.value())
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }

    fn len(&self) -> usize {
        self.0.usage()
    }
}
