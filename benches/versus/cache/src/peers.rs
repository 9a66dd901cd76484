//! The peers, each behind the one question a simulator asks: was this request a hit? A miss is read through.

use foyer_memory as foyer;

/// A cache under simulation.
pub trait Simulated {
    /// Asks for a key, and takes it in if it is absent. True if it was a hit.
    fn request(&mut self, key: u32) -> bool;
}

/// The peers by name.
pub const PEERS: [&str; 9] =
    ["moka", "quick_cache", "tinyufo", "foyer-s3fifo", "foyer-lru", "foyer-lfu", "foyer-sieve", "scc", "lru"];

/// A peer that may hold this many entries.
///
/// # Panics
/// On a name that is not one of [`PEERS`].
#[must_use]
pub fn peer(name: &str, capacity: usize) -> Box<dyn Simulated> {
    match name {
        "moka" => Box::new(Moka {
            cache: moka::sync::Cache::new(capacity as u64),
            slack: capacity / 100,
            inserts: 0,
        }),
        "quick_cache" => Box::new(Quick(quick_cache::sync::Cache::new(capacity))),
        "tinyufo" => Box::new(Ufo(tinyufo::TinyUfo::new(capacity, capacity))),
        "foyer-s3fifo" => foyer(capacity, foyer::S3FifoConfig::default()),
        "foyer-lru" => foyer(capacity, foyer::LruConfig::default()),
        "foyer-lfu" => foyer(capacity, foyer::LfuConfig::default()),
        "foyer-sieve" => foyer(capacity, foyer::SieveConfig),
        // It rounds its capacity up to a power of two, at least 64: give it the one below.
        "scc" if capacity < 64 => Box::new(Nothing),
        "scc" => {
            let capacity = 1 << capacity.ilog2();
            Box::new(Scc(scc::HashCache::with_capacity(capacity, capacity)))
        }
        "lru" => Box::new(Lru(lru::LruCache::new(capacity.max(1).try_into().expect("at least one")))),
        _ => panic!("no such peer: {name}"),
    }
}

/// Its bound holds only after its housekeeping, which it does every few hundred inserts. Here it is made to do it
/// often enough to stay within 1 % of the bound.
struct Moka {
    cache: moka::sync::Cache<u32, ()>,
    slack: usize,
    inserts: usize,
}

impl Simulated for Moka {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.cache.get(&key).is_some();
        if !hit {
            self.cache.insert(key, ());
            self.inserts += 1;
            if self.inserts > self.slack {
                self.inserts = 0;
                self.cache.run_pending_tasks();
            }
        }
        hit
    }
}

struct Quick(quick_cache::sync::Cache<u32, ()>);

impl Simulated for Quick {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get(&key).is_some();
        if !hit {
            self.0.insert(key, ());
        }
        hit
    }
}

struct Ufo(tinyufo::TinyUfo<u32, ()>);

impl Simulated for Ufo {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get(&key).is_some();
        if !hit {
            self.0.put(key, (), 1);
        }
        hit
    }
}

/// One shard: its best hit ratio.
fn foyer(capacity: usize, eviction: impl Into<foyer::EvictionConfig>) -> Box<dyn Simulated> {
    let cache = foyer::CacheBuilder::new(capacity).with_shards(1).with_eviction_config(eviction).build();
    Box::new(Foyer(cache))
}

struct Foyer(foyer::Cache<u32, ()>);

impl Simulated for Foyer {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get(&key).is_some();
        if !hit {
            self.0.insert(key, ());
        }
        hit
    }
}

/// A peer that cannot be this small.
struct Nothing;

impl Simulated for Nothing {
    fn request(&mut self, _: u32) -> bool {
        false
    }
}

struct Scc(scc::HashCache<u32, ()>);

impl Simulated for Scc {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get_sync(&key).is_some();
        if !hit {
            let _ = self.0.put_sync(key, ());
        }
        hit
    }
}

struct Lru(lru::LruCache<u32, ()>);

impl Simulated for Lru {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get(&key).is_some();
        if !hit {
            self.0.put(key, ());
        }
        hit
    }
}
