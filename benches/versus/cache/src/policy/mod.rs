//! Eviction policies under simulation. A hit may only set bits of the entry; all else happens on misses.

use crate::peers::Simulated;

/// The policies by name.
pub const POLICIES: [&str; 0] = [];

/// A policy for this many entries, over keys below `unique`.
#[must_use]
pub fn policy(name: &str, _capacity: usize, _unique: u32) -> Option<Box<dyn Simulated>> {
    let _ = name;
    None
}
