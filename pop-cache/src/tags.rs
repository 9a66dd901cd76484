//! Invalidation by tag without a look at the entries.
//!
//! Time is counted in invalidations: each begins a new *epoch*. An entry with tags remembers the epoch it was born in, and a
//! tag the one before which its entries are void. A hit compares the entry's word with the present epoch, one load of
//! a line that changes only when something is invalidated; only the first hit after that looks the tags up.
//!
//! ```text
//! invalidate: note for the tag the epoch after this one; then begin it
//! hit       : was it looked at in this epoch? else is any of its tags void since a later epoch than its birth?
//! ```
//!
//! The note is there before the epoch begins: whoever looked at an entry in the epoch that is present when an
//! invalidation has returned has seen its note. An insert that began after that was born no earlier than the noted
//! epoch, and stays.
//!
//! What is void takes memory until it is met: by a hit, by the hand that makes room, or by [`Sweep`], in which each insert
//! looks at a few more buckets. Notes are kept for [`NOTES_MAX`] tags; then one invalidation in so many looks at all
//! entries itself and forgets the notes that are done with.

use crate::entry::Extra;
use crate::memory::Once;
use crate::store::{Put, RemovalCause, Settings, Store, Terms};
use crate::sync::{AtomicU64, Ordering};

/// Tags that are noted at the same time.
const NOTES_MAX: usize = 1024;

/// That the entries with a tag are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Those born before this epoch.
    since: u64,
    /// Of no other note.
    number: u64,
}

pub(crate) struct Tags {
    epoch: AtomicU64,
    /// For each tag. Laid out at the first invalidation.
    notes: Once<Store<u64, Note>>,
    /// Of the latest note.
    number: AtomicU64,
    pub(crate) sweep: Sweep,
}

impl Tags {
    pub(crate) fn new() -> Self {
        Self { epoch: AtomicU64::new(1), notes: Once::new(), number: AtomicU64::new(0), sweep: Sweep::new() }
    }

    /// The present epoch.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        // Acquire pairs with the release in `invalidate`: its note is seen.
        self.epoch.load(Ordering::Acquire)
    }

    /// Voids the entries with this tag.
    pub(crate) fn invalidate(&self, tag: u64) {
        let notes = self.notes.get_or_set(|| Box::new(Store::new(Settings::unbounded())));
        let since = self.epoch.load(Ordering::SeqCst) + 1;
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        put(notes, tag, Note { since, number });
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether an entry is void.
    #[inline]
    pub(crate) fn is_void(&self, extra: &Extra) -> bool {
        let epoch = self.epoch();
        if extra.looked_at.load(Ordering::Relaxed) == epoch {
            return false;
        }
        let Some(notes) = self.notes.get() else { return false };
        let is_void =
            extra.tags.iter().any(|tag| look(notes, *tag).is_some_and(|note| note.since > extra.born));
        if !is_void {
            // Any thread's look is as good: the word only says that there is no need for another.
            extra.looked_at.store(epoch, Ordering::Relaxed);
        }
        is_void
    }

    /// Whether there are so many notes that it is time to look at all entries, and to forget them.
    pub(crate) fn is_full(&self) -> bool {
        self.notes.get().is_some_and(|notes| notes.entries() >= NOTES_MAX as u64)
    }

    /// The notes that [`forget`](Self::forget) may be told of when all entries have been looked at: an entry that
    /// comes into the index from now on was born too late for them.
    pub(crate) fn done_after_a_look(&self) -> Vec<(u64, Note)> {
        let Some(notes) = self.notes.get() else { return Vec::new() };
        let epoch = self.epoch();
        let all = notes.index.walk().map(|found| (*found.key(), *found.value()));
        all.filter(|(_, note)| note.since <= epoch).collect()
    }

    /// Forgets these notes, but if their tag was noted again.
    pub(crate) fn forget(&self, done: &[(u64, Note)]) {
        let Some(notes) = self.notes.get() else { return };
        let own = notes.stripes.own();
        for (tag, note) in done {
            if let Some(found) = notes.index.find(notes.hash(tag), tag)
                && *found.value() == *note
            {
                // If it fails another thread forgot it, or the tag was noted again.
                notes.remove_found(own, &found, RemovalCause::Explicit);
                notes.settle_removal(own);
            }
        }
    }
}

fn look(notes: &Store<u64, Note>, tag: u64) -> Option<Note> {
    notes.index.find(notes.hash(&tag), &tag).map(|found| *found.value())
}

/// Puts a note in, unless there is a later one.
fn put(notes: &Store<u64, Note>, tag: u64, note: Note) {
    let (own, hash) = (notes.stripes.own(), notes.hash(&tag));
    loop {
        let found = notes.index.find(hash, &tag);
        if found.as_ref().is_some_and(|found| found.value().since >= note.since) {
            return;
        }
        let has_room = notes.reserve(own, 1, None);
        debug_assert!(has_room, "notes are few and their room is not bounded");
        // Another note of the same tag took effect if this fails.
        if let Put::Done = notes.put(own, hash, (tag, note), Terms::plain(1), found.as_ref()) {
            drop(found);
            notes.settle_removal(own);
            return;
        }
    }
}

/// Goes round the index after an invalidation, a few buckets with each insert.
pub(crate) struct Sweep {
    /// The next bucket.
    place: AtomicU64,
    /// Buckets to look at.
    left: AtomicU64,
}

impl Sweep {
    fn new() -> Self {
        Self { place: AtomicU64::new(0), left: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn is_under_way(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Goes round once more from here.
    pub(crate) fn begin(&self, buckets: usize) {
        self.left.fetch_max(buckets as u64, Ordering::Relaxed);
    }

    /// The next bucket to look at. None if nothing is left.
    pub(crate) fn next(&self, buckets: usize) -> Option<usize> {
        let less = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some((self.place.fetch_add(1, Ordering::Relaxed) % buckets as u64) as usize)
    }
}
