//! Eviction policies under simulation. A hit may only set bits of the entry; all else happens on misses.

pub mod contest;
mod history;

use pop_cache::{Cache, InlineCache};

use crate::peers::Simulated;

/// The policies by name: the reference of the cache's policy, the cache itself, and the cache of inline pairs.
pub const POLICIES: [&str; 3] = ["contest", "pop-cache", "pop-inline"];

/// A policy for this many entries.
#[must_use]
pub fn policy(name: &str, capacity: usize) -> Option<Box<dyn Simulated>> {
    match name {
        "contest" => Some(Box::new(contest::Contest::new(capacity as u64, capacity as u64))),
        "pop-cache" => Some(Box::new(Pop(Cache::builder(capacity as u64).entries(capacity).build()))),
        "pop-inline" => Some(Box::new(Inline(InlineCache::new(capacity)))),
        _ => None,
    }
}

struct Pop(Cache<u32, ()>);

impl Simulated for Pop {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get(&key).is_some();
        if !hit {
            let _refused = self.0.insert(key, ());
        }
        hit
    }
}

/// With a value that fills the word: sets as wide as for eight bytes each.
struct Inline(InlineCache<u64, u64>);

impl Simulated for Inline {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get(&u64::from(key)).is_some();
        if !hit {
            self.0.insert(u64::from(key), 0);
        }
        hit
    }
}
