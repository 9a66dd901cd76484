//! A table under change, with readers that never wait.

mod edit;
mod writer;

use core::hash::Hash;
use std::sync::PoisonError;

pub use edit::TableEdit;
use writer::Writer;

use super::{PrefixSnapshot, PrefixTable};
use crate::sync::{Mutex, Published};

/// A table that writers change, and the [`PrefixSnapshot`] of it that readers see, together.
///
/// Readers take what was published last, without a lock; a reader that holds an older snapshot keeps it as long as it
/// likes. Each change is worked into the trie of IPv4 at once, for less than a microsecond if it is a single network;
/// [`publish`](Self::publish) then copies that trie, which takes a millisecond or two for a full table, so changes can be seen a
/// few milliseconds after they are made. Changes to IPv6 make the next publishing lay its trie out anew, some ten
/// milliseconds for a full table.
///
/// Memory: the writer's map and trie, and a copy of the trie for each snapshot that is in use, and for two more to copy
/// into.
///
/// ```
/// use pop_route::{LiveTable, PrefixTable};
///
/// let live = LiveTable::new(PrefixTable::new());
/// let here = "192.0.2.0/24".parse()?;
/// live.update(|table| table.insert(here, "here").is_none());
/// assert!(live.load().is_empty(), "not seen until published");
/// live.publish();
/// assert_eq!(live.read(|snapshot| snapshot.get(here.address()).copied()), Some("here"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LiveTable<V> {
    writer: Mutex<Writer<V>>,
    published: Published<PrefixSnapshot<V>>,
}

impl<V: Clone + Eq + Hash> LiveTable<V> {
    /// Publishes `table` and goes on from there. O(n).
    ///
    /// # Panics
    /// With more than [`VALUES_MAX`](crate::VALUES_MAX) distinct values; so does an edit that would exceed them.
    #[must_use]
    pub fn new(table: PrefixTable<V>) -> Self {
        let mut writer = Writer::new(table);
        let published = Published::new(writer.snapshot());
        Self { writer: Mutex::new(writer), published }
    }

    /// Looks at what was published last. No lock, and nothing is written that another reader looks at; meant for a
    /// few look-ups at a time. Whoever keeps a snapshot for longer takes it by [`load`](Self::load).
    pub fn read<R>(&self, look: impl FnOnce(&PrefixSnapshot<V>) -> R) -> R {
        self.published.read(look)
    }

    /// What was published last. No lock; the clone is one reference count.
    #[must_use]
    pub fn load(&self) -> PrefixSnapshot<V> {
        self.read(PrefixSnapshot::clone)
    }

    /// Changes the table. Writers wait for each other, readers for nobody; they see nothing of it yet.
    pub fn update<R>(&self, change: impl FnOnce(&mut TableEdit<'_, V>) -> R) -> R {
        change(&mut TableEdit::new(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Shows all changes until now to readers: whole, never half of an [`update`](Self::update).
    pub fn publish(&self) {
        // Under the lock, so that no older snapshot can replace a newer one. A change that panicked left a whole table
        // behind: each of its steps is complete.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.published.store(writer.snapshot());
    }

    /// Bytes on the heap for the writer's side and for the snapshots it keeps to copy into, without what the values
    /// themselves own. What readers see comes on top: [`PrefixSnapshot::memory_bytes`].
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).memory_bytes()
    }
}
