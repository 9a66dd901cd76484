//! A table under change, with readers that never wait.

use core::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::{PrefixSnapshot, PrefixTable};

/// A writer's [`PrefixTable`] and the [`PrefixSnapshot`] that readers see, together.
///
/// Readers take what was published last, without a lock; a reader that holds an older snapshot keeps it as long as it
/// likes. Writers change the table as fast as an ordered map goes (a million updates a second and more) and publish
/// when they want the changes seen: that costs O(n), some 40 ms for a full IPv4 table, so it pays to publish once for
/// many changes, every 100 ms for instance.
///
/// ```
/// use pop_route::{LiveTable, PrefixTable};
///
/// let live = LiveTable::new(PrefixTable::new());
/// live.update(|table| table.insert("192.0.2.0/24".parse().expect("a prefix"), "here"));
/// assert!(live.load().is_empty(), "not seen until published");
/// live.publish();
/// assert_eq!(live.load().get("192.0.2.1".parse()?), Some(&"here"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LiveTable<V> {
    table: Mutex<PrefixTable<V>>,
    published: ArcSwap<PrefixSnapshot<V>>,
}

impl<V: Clone + Eq + Hash> LiveTable<V> {
    /// Publishes `table` and goes on from there.
    #[must_use]
    pub fn new(table: PrefixTable<V>) -> Self {
        let published = ArcSwap::from_pointee(table.snapshot());
        Self { table: Mutex::new(table), published }
    }

    /// What was published last. No lock; the clone is one reference count.
    #[must_use]
    pub fn load(&self) -> PrefixSnapshot<V> {
        PrefixSnapshot::clone(&self.published.load())
    }

    /// Changes the table. Writers wait for each other, readers for nobody; they see nothing of it yet.
    pub fn update<R>(&self, change: impl FnOnce(&mut PrefixTable<V>) -> R) -> R {
        change(&mut self.table())
    }

    /// Shows all changes until now to readers: whole, never half of an [`update`](Self::update).
    pub fn publish(&self) {
        // Under the lock, so that no older snapshot can replace a newer one.
        let table = self.table();
        self.published.store(table.snapshot().into());
    }

    fn table(&self) -> MutexGuard<'_, PrefixTable<V>> {
        // A change that panicked left a whole map behind: each of its steps is complete.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
