//! Eviction policies under simulation. A hit may only set bits of the entry; all else happens on misses.

pub mod contest;
mod history;

use crate::peers::Simulated;

/// The policies by name.
pub const POLICIES: [&str; 1] = ["contest"];

/// A policy for this many entries.
#[must_use]
pub fn policy(name: &str, capacity: usize) -> Option<Box<dyn Simulated>> {
    match name {
        "contest" => Some(Box::new(contest::Contest::new(capacity as u64, capacity as u64))),
        _ => None,
    }
}
