//! What the handles of a cache share: the index, the bound, and how room is made.
//!
//! Weight travels in a circle. An insert takes it from its stripe's credit, the entry carries it, an eviction puts the
//! entry into its stripe's limbo; when nobody reads it any more it is ripe; dropping it gives the credit back. Only
//! when a stripe runs dry does it turn to the common room, to other stripes, or to evicting for itself. Each insert
//! of a full cache evicts about one entry *ahead* of the need, so that a whole batch leaves limbo by one dear barrier
//! ([`barrier`](crate::barrier)), and no insert does more than a few steps.

mod admit;
mod evict;
mod reclaim;
mod reserve;

use ahash::RandomState;

pub(crate) use self::admit::Put;
use crate::deadlines::Deadlines;
use crate::entry::Extra;
use crate::index::{Found, Index};
use crate::memory::{Word, kind};
use crate::policy::Policy;
use crate::room::Room;
use crate::stats::Stats;
use crate::stripe::{Count, Own, Stripes};
use crate::sync::Ordering;
use crate::table::Hash;
use crate::tags::Tags;
use crate::{Timestamp, now};

/// The index is laid out for at least so many entries, 4 KiB: the cache of ten entries needs as many ghosts as one of a
/// hundred to learn from.
const ENTRIES_MIN: u64 = 190;

/// Why an entry went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalCause {
    /// Another entry with the same key came.
    Replaced,
    /// It was taken out on demand.
    Explicit,
    /// Its time was over.
    Expired,
    /// It made room for others.
    Size,
}

pub(crate) type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u64 + Send + Sync>;

/// Told of every entry that goes.
pub(crate) type Listener<K, V> = Box<dyn Fn(&K, &V, RemovalCause) + Send + Sync>;

/// What time it is.
pub(crate) type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// What a store is made with.
pub(crate) struct Settings<K, V> {
    pub(crate) capacity: u64,
    pub(crate) entries_max: Option<u64>,
    /// Entries to lay memory out for.
    pub(crate) expected: u32,
    pub(crate) listener: Option<Listener<K, V>>,
    pub(crate) clock: Option<Clock>,
}

impl<K, V> Settings<K, V> {
    /// For a few entries, or as many as come.
    pub(crate) fn unbounded() -> Self {
        Self { capacity: u64::MAX, entries_max: None, expected: 1, listener: None, clock: None }
    }
}

pub(crate) struct Store<K, V> {
    pub(crate) index: Index<K, V>,
    pub(crate) hasher: RandomState,
    pub(crate) weight: Room,
    /// The bound on entries, if there is one beside the weight.
    pub(crate) seats: Option<Room>,
    pub(crate) stripes: Stripes,
    pub(crate) policy: Policy,
    pub(crate) tags: Tags,
    pub(crate) deadlines: Deadlines,
    listener: Option<Listener<K, V>>,
    clock: Option<Clock>,
}

/// What is known of an entry that is about to come in.
pub(crate) struct Terms {
    pub(crate) weight: u64,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) extra: Option<Box<Extra>>,
}

impl Terms {
    /// Nothing but a weight.
    pub(crate) fn plain(weight: u64) -> Self {
        Self { weight, deadline: None, extra: None }
    }
}

impl<K, V> Store<K, V> {
    pub(crate) fn new(settings: Settings<K, V>) -> Self {
        let stripes = Stripes::new();
        Self {
            index: Index::new(settings.expected, u64::from(settings.expected).max(ENTRIES_MIN)),
            hasher: RandomState::new(),
            weight: Room::new(settings.capacity),
            seats: settings.entries_max.map(Room::new),
            policy: Policy::new(stripes.len()),
            stripes,
            tags: Tags::new(),
            deadlines: Deadlines::new(),
            listener: settings.listener,
            clock: settings.clock,
        }
    }

    /// The time that a caller gave, or else by the clock.
    pub(crate) fn now(&self, at: Option<Timestamp>) -> Timestamp {
        at.unwrap_or_else(|| self.clock.as_ref().map_or_else(now, |clock| clock()))
    }

    /// How many entries there are.
    pub(crate) fn entries(&self) -> u64 {
        Stats::read(&self.stripes).entries()
    }

    pub(crate) fn hash<Q: std::hash::Hash + ?Sized>(&self, key: &Q) -> Hash {
        Hash::new(self.hasher.hash_one(key))
    }

    /// The weight that is visible now. Exact when nobody writes.
    pub(crate) fn visible_weight(&self) -> u64 {
        // What came in first: what leaves meanwhile makes the difference smaller, never larger than it was.
        let came = self.stripes.sum(Count::WeightIn);
        came.saturating_sub(self.stripes.sum(Count::WeightOut)).min(self.weight.reserved())
    }

    /// What an entry weighs whose slot the caller may look at.
    pub(crate) fn weight_of(&self, handle: u32) -> u64 {
        self.weight_by(handle, self.index.slab.slot(handle).kind.load(Ordering::Relaxed))
    }

    /// The same, by the slot's marks.
    #[inline]
    fn weight_by(&self, handle: u32, marks: u8) -> u64 {
        if marks & kind::WEIGHTED == 0 {
            1
        } else {
            self.index.slab.word(Word::Weight, handle).load(Ordering::Relaxed)
        }
    }

    pub(crate) fn deadline_of(&self, handle: u32, kind: u8) -> Option<Timestamp> {
        (kind & kind::DEADLINE != 0).then(|| {
            Timestamp::from_nanos(self.index.slab.word(Word::Deadline, handle).load(Ordering::Relaxed))
        })
    }

    /// An entry is out of the index, and the caller was the one who took it out.
    #[allow(unsafe_code)]
    pub(crate) fn retire(&self, own: Own<'_>, handle: u32, why: RemovalCause) {
        let count = match why {
            RemovalCause::Replaced => Count::Replaced,
            RemovalCause::Explicit => Count::Removed,
            RemovalCause::Expired => Count::Expired,
            RemovalCause::Size => Count::Evicted,
        };
        own.count(count, 1);
        // Retires it when it is dropped, also if the listener panics.
        let leaving = Leaving { store: self, own, handle };
        if let Some(listener) = &self.listener {
            // SAFETY: it is out of the index by the caller's hand, and not retired yet.
            let pair = unsafe { self.index.slab.pair(handle) };
            listener(&pair.0, &pair.1, why);
        }
        drop(leaving);
    }

    /// Removes an entry that was found. False if another thread did, or it was replaced.
    pub(crate) fn remove_found(&self, own: Own<'_>, found: &Found<'_, K, V>, why: RemovalCause) -> bool {
        let removed = self.index.remove(found);
        if removed {
            self.retire(own, found.handle, why);
        }
        removed
    }
}

/// An entry on its way out of the cache.
struct Leaving<'s, K, V> {
    store: &'s Store<K, V>,
    own: Own<'s>,
    handle: u32,
}

impl<K, V> Drop for Leaving<'_, K, V> {
    fn drop(&mut self) {
        let Self { store, own, handle } = *self;
        let slot = store.index.slab.slot(handle);
        own.count(Count::WeightOut, store.weight_by(handle, slot.kind.load(Ordering::Relaxed)));
        // All bits of the mask: whoever moves it to the main clock meanwhile either comes before or fails.
        const { assert!(kind::RETIRED == kind::MASK) };
        store.policy.gone(own.policy(), slot.kind.fetch_or(kind::RETIRED, Ordering::Relaxed));
        let in_limbo = &own.stripe.in_limbo;
        in_limbo.store(in_limbo.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        own.stripe.limbo.push_slot(slot, handle);
    }
}
