//! Numbers that nobody outside can guess: SipHash-2-4, a pseudo-random function, over a counter.
//!
//! Identifiers, spellings and cookies need many of them, each unpredictable from all others; that is what a
//! pseudo-random function under a secret key promises. The key comes from the operating system.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::edns::siphash;

/// A source of unguessable numbers.
pub(crate) struct Random {
    key: [u64; 2],
    counter: AtomicU64,
}

impl Random {
    /// A source with a key of its own.
    pub(crate) fn new() -> Self {
        // The standard library seeds this state from the operating system.
        let state = RandomState::new();
        Self { key: [state.hash_one(0_u8), state.hash_one(1_u8)], counter: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> u64 {
        // Relaxed: every number of the counter is handed out once, in whatever order.
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        siphash(self.key, &count.to_le_bytes())
    }

    /// The number that belongs to `octets`: the same each time.
    pub(crate) fn of(&self, octets: &[u8]) -> u64 {
        // Counters are eight octets, so no number of `next` is one of these.
        debug_assert_ne!(octets.len(), 8);
        siphash(self.key, octets)
    }
}

/// The key stays secret in logs.
impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random(..)")
    }
}
