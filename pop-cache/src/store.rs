//! What the handles of a cache share: the index, the bound, and how room is made.
//!
//! Weight travels in a circle. An insert takes it from its stripe's credit, the entry carries it, an eviction puts the
//! entry into its stripe's limbo; when nobody reads it any more it is ripe; dropping it gives the credit back. Only
//! when a stripe runs dry does it turn to the common room, to other stripes, or to evicting for itself. Each insert
//! of a full cache evicts about one entry *ahead* of the need, so that a whole batch leaves limbo by one dear barrier
//! ([`barrier`](crate::barrier)), and no insert does more than a few steps.

use ahash::RandomState;

use crate::deadlines::Deadlines;
use crate::entry::Extra;
use crate::hazard::{Announced, Hazard};
use crate::index::{Found, Index, Inserted};
use crate::memory::{List, Word, kind};
use crate::policy::{By, Policy, Queues};
use crate::room::Room;
use crate::stats::Stats;
use crate::stripe::{Count, Own, Stripe, Stripes, take, take_most};
use crate::sync::Ordering;
use crate::table::Hash;
use crate::tags::Tags;
use crate::{Timestamp, now};

/// Entries that leave limbo together, at most: then the barrier's 5 µs are 20 ns for each.
const BATCH: u64 = if cfg!(loom) { 1 } else { 256 };
/// The part of all slots that one thread sorts at a time: one in so many.
const IN_HAND: u32 = 16;
/// The share of the capacity that may be on its way from eviction to reuse: one in so many.
const HEADROOM: u64 = 64;
/// The index is laid out for at least so many entries, 4 KiB: the cache of ten entries needs as many ghosts as one of a
/// hundred to learn from.
const ENTRIES_MIN: u64 = 190;
/// Victims for one insert beyond what it needs.
const AHEAD: usize = 2;
/// Choices of the policy that may turn out to be gone.
const TRIES: usize = 4;
/// Victims between two looks at whether there is room now.
const SLICE: usize = 32;

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
        let kind = self.index.slab.slot(handle).kind.load(Ordering::Relaxed);
        if kind & kind::WEIGHTED == 0 {
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

    /// Moves what nobody reads any more from limbo to where it is ripe. False if nothing was.
    ///
    /// A thread that stalls in here has a small part of the entries in its hand, and others do without them.
    fn collect(&self, stripe: &Stripe) -> bool {
        let slab = &self.index.slab;
        let batch = u64::from(slab.length() / IN_HAND).clamp(1, BATCH);
        let mut read: Option<(u32, u32)> = None;
        let mut ripe: Option<(u32, u32)> = None;
        while ripe.is_none()
            && let Some((first, taken)) = stripe.limbo.take(slab, batch)
        {
            // It is roughly so many.
            take_most(&stripe.in_limbo, taken);
            let announced = Announced::entries();
            let mut handle = first;
            for rest in (0..taken).rev() {
                let next = List::next(slab, handle);
                let address = slab.slot(handle).address();
                let is_read = announced.as_ref().is_none_or(|announced| announced.may_contain(address));
                let chain = if is_read { &mut read } else { &mut ripe };
                if let Some((_, last)) = chain {
                    List::link(slab, *last, handle);
                    *last = handle;
                } else {
                    *chain = Some((handle, handle));
                }
                if rest > 0 {
                    handle = next.expect("as many as were taken");
                }
            }
        }
        if let Some((first, last)) = read {
            stripe.limbo.push_chain(slab, first, last);
        }
        if let Some((first, last)) = ripe {
            stripe.ripe.push_chain(slab, first, last);
        }
        self.index.free_tables();
        ripe.is_some()
    }

    /// Drops a ripe entry of `from`; its room and its slot go to `own`. False if there is none.
    #[allow(unsafe_code)]
    fn reap(&self, own: Own<'_>, from: &Stripe) -> bool {
        let Some(handle) = from.ripe.pop(&self.index.slab) else { return false };
        let weight = self.weight_of(handle);
        // SAFETY: a ripe slot is occupied, out of the index and announced by nobody; popped, it is ours alone.
        let pair = unsafe { self.index.slab.take(handle) };
        from.freed(own, weight);
        self.give_back(own.stripe, weight);
        own.stripe.free.push(&self.index.slab, handle);
        // Last: a `Drop` that panics, or comes back to this cache, finds everything in order.
        drop(pair);
        true
    }

    /// A free slot. None if there are as many as handles.
    fn slot(&self, own: &Stripe) -> Option<u32> {
        let slab = &self.index.slab;
        own.free
            .pop(slab)
            .or_else(|| {
                let other = self.stripes.iter().find(|other| !other.free.is_empty())?;
                other.free.pop(slab)
            })
            .or_else(|| slab.bump())
    }

    /// Drops a ripe entry of weight 1, and hands its room and its slot on to another of weight 1: what nearly every insert
    /// of a full cache without a weigher finds. None if there is none.
    #[allow(unsafe_code)]
    pub(crate) fn reuse(&self, own: Own<'_>) -> Option<u32> {
        let (slab, stripe) = (&self.index.slab, own.stripe);
        let handle = stripe.ripe.pop(slab)?;
        if slab.slot(handle).kind.load(Ordering::Relaxed) & kind::WEIGHTED != 0 {
            stripe.ripe.push(slab, handle);
            return None;
        }
        // SAFETY: as in `reap`.
        let pair = unsafe { slab.take(handle) };
        stripe.freed(own, 1);
        // If a `Drop` panics, nothing comes into the slot.
        let spare = Spare { store: self, own, handle };
        drop(pair);
        std::mem::forget(spare);
        Some(handle)
    }

    /// Gives back what is reserved for an entry that does not come.
    pub(crate) fn give_back(&self, own: &Stripe, weight: u64) {
        own.credit.fetch_add(weight, Ordering::Relaxed);
        if self.seats.is_some() {
            own.seats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What a slot weighs, roughly.
    fn mean_weight(&self) -> u64 {
        let (reserved, slots) = (self.weight.reserved(), u64::from(self.index.slab.length()));
        // Without a weigher it takes no division.
        if reserved <= slots { 1 } else { reserved / slots.max(1) }
    }

    /// How much may be on its way from eviction to reuse in one stripe.
    fn share(&self) -> u64 {
        let most = (self.weight.capacity() / HEADROOM) >> self.stripes.len().ilog2();
        most.min(BATCH.saturating_mul(self.mean_weight() + 1))
    }

    /// Takes an entry's room from what the stripe has.
    fn take_room(&self, own: &Stripe, weight: u64) -> bool {
        if !take(&own.credit, weight) {
            return false;
        }
        if self.seats.is_some() && !take(&own.seats, 1) {
            own.credit.fetch_add(weight, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Reserves what is not reserved by anyone.
    fn claim(&self, own: &Stripe, weight: u64, share: u64) -> bool {
        let least = weight.saturating_sub(own.credit.load(Ordering::Relaxed));
        // While there is much, a stripe claims for many inserts at once.
        let generous =
            if self.weight.spare() > 8 * share * self.stripes.len() as u64 { share / 4 } else { 0 };
        let mut any = false;
        if least > 0 {
            let Some(amount) = self.weight.claim(least, least + generous) else { return false };
            own.credit.fetch_add(amount, Ordering::Relaxed);
            any = true;
        }
        if let Some(seats) = &self.seats
            && own.seats.load(Ordering::Relaxed) == 0
        {
            let Some(amount) = seats.claim(1, 1) else { return any };
            own.seats.fetch_add(amount, Ordering::Relaxed);
            any = true;
        }
        any
    }

    /// Takes what other stripes have reserved or retired and don't use.
    fn borrow(&self, owner: Own<'_>) -> bool {
        let own = owner.stripe;
        let mut any = false;
        for other in self.stripes.iter().filter(|other| !std::ptr::eq(*other, own)) {
            let credit = other.credit.swap(0, Ordering::Relaxed);
            if credit > 0 {
                own.credit.fetch_add(credit, Ordering::Relaxed);
            }
            let seats = other.seats.swap(0, Ordering::Relaxed);
            if seats > 0 {
                own.seats.fetch_add(seats, Ordering::Relaxed);
            }
            any |= credit > 0 || seats > 0;
            any |= self.reap(owner, other) || (self.collect(other) && self.reap(owner, other));
        }
        any
    }

    /// Makes room for an entry and takes it. False if it can't be had: then all that could go is gone, and what is
    /// left is held by readers or by other inserts.
    pub(crate) fn reserve(&self, own: Own<'_>, weight: u64, at: Option<Timestamp>) -> bool {
        let stripe = own.stripe;
        if self.take_room(stripe, weight) {
            return true;
        }
        let share = self.share();
        // Other inserts may take what was evicted for this one; it does not go on for ever.
        let mut evictable = weight.saturating_mul(2).saturating_add(SLICE as u64 * share.max(1));
        loop {
            let more = self.reap(own, stripe)
                || self.claim(stripe, weight, share)
                || self.collect(stripe)
                || self.borrow(own)
                || self.expire(own, at)
                || self.sweep(own)
                || self.evict_slice(own, weight, &mut evictable, at);
            if self.take_room(stripe, weight) {
                return true;
            }
            if !more {
                return false;
            }
        }
    }

    /// Evicts until there is enough on its way, but at most a slice. False if nothing could go.
    fn evict_slice(&self, own: Own<'_>, weight: u64, evictable: &mut u64, at: Option<Timestamp>) -> bool {
        let mut any = false;
        for _ in 0..SLICE {
            if *evictable == 0 {
                break;
            }
            let patience = self.index.slab.length() as usize * 2;
            let Some(evicted) = self.evict(own, patience, 0, at) else { break };
            any = true;
            *evictable = evictable.saturating_sub(evicted);
            if own.stripe.pipeline() >= weight {
                break;
            }
        }
        any
    }

    /// After an insert: keeps the stripe's circle full, in a few steps.
    pub(crate) fn refill(&self, own: Own<'_>, at: Option<Timestamp>) {
        let stripe = own.stripe;
        let share = self.share();
        let excess = self.weight.excess();
        // Where entries are heavier than what may be on its way, one of them is too much to give ahead of the need.
        let is_fine = self.mean_weight() <= share;
        for turn in 0..AHEAD {
            if !is_fine && excess == 0 {
                break;
            }
            if (self.weight.spare() > share || stripe.pipeline() >= share) && excess == 0 {
                break;
            }
            if self.evict(own, 0, u64::from(turn == 0), at).is_none() {
                break;
            }
        }
        if let Some(seats) = &self.seats
            && seats.spare() == 0
            && stripe.pipeline() < share
        {
            let _evicted = self.evict(own, 0, 1, at);
        }
        self.expire(own, at);
        self.sweep(own);
        self.settle(own, share);
    }

    /// Gives back what the stripe has too much of, and drops what waits for too long.
    pub(crate) fn settle(&self, own: Own<'_>, share: u64) {
        let stripe = own.stripe;
        let idle = stripe.credit.load(Ordering::Relaxed);
        if idle > 2 * share && take(&stripe.credit, idle - share) {
            self.weight.release(idle - share);
            if let Some(seats) = &self.seats {
                let idle = stripe.seats.swap(0, Ordering::Relaxed);
                seats.release(idle);
            }
        }
        if stripe.in_limbo.load(Ordering::Relaxed) > 2 * BATCH {
            self.collect(stripe);
        }
        if stripe.retired() > 2 * share {
            for _ in 0..AHEAD {
                self.reap(own, stripe);
            }
        }
    }

    /// What a removal leaves behind, settled.
    pub(crate) fn settle_removal(&self, own: Own<'_>) {
        self.settle(own, self.share());
    }

    /// Evicts one entry, and says what it weighed; the policy's choice, or if that has none any of the next `patience`
    /// slots.
    fn evict(&self, own: Own<'_>, patience: usize, ahead: u64, at: Option<Timestamp>) -> Option<u64> {
        let hazard = Hazard::new();
        let slab = &self.index.slab;
        let is_expired =
            |handle, marks| self.deadline_of(handle, marks).is_some_and(|deadline| deadline <= self.now(at));
        for _ in 0..TRIES {
            let table = self.index.table(&hazard);
            let local = own.policy();
            let Some((handle, by)) = self.policy.victim(local, slab, table, ahead, is_expired) else {
                continue;
            };
            if let Some(weight) = self.evict_slot(own, &hazard, handle, Some(by), at) {
                return Some(weight);
            }
        }
        for _ in 0..patience {
            let queues = &self.index.table(&hazard).queues;
            if let Some(handle) = self.policy.any_victim(own.policy(), slab, queues)
                && let Some(weight) = self.evict_slot(own, &hazard, handle, None, at)
            {
                return Some(weight);
            }
        }
        None
    }

    /// Evicts the entry of a slot, if it is in the index and not pinned.
    fn evict_slot(
        &self,
        own: Own<'_>,
        hazard: &Hazard,
        handle: u32,
        by: Option<By>,
        at: Option<Timestamp>,
    ) -> Option<u64> {
        let table = self.index.table(hazard);
        let slot = self.index.slab.slot(handle);
        if let Some((word, seen)) = self.index.word_of(table, hazard, handle)
            && slot.kind.load(Ordering::Relaxed) & (kind::DEADLINE | kind::TAGGED | kind::PINNED) == 0
        {
            let weight = self.weight_of(handle);
            let ghost = self.ghost(own, &table.queues, slot.frequency.load(Ordering::Relaxed), by);
            if !Index::<K, V>::evict_word(word, seen, ghost) {
                return None;
            }
            self.retire(own, handle, RemovalCause::Size);
            return Some(weight);
        }
        let found = self.index.find_slot(handle)?;
        if found.slot.kind.load(Ordering::Relaxed) & kind::PINNED != 0 {
            return None;
        }
        let fault = self.fault(&found, at);
        let weight = self.weight_of(handle);
        let ghost = match fault {
            None => self.ghost(own, &table.queues, found.slot.frequency.load(Ordering::Relaxed), by),
            Some(_) => 0,
        };
        if !self.index.evict(&found, ghost) {
            return None;
        }
        drop(found);
        self.retire(own, handle, fault.unwrap_or(RemovalCause::Size));
        Some(weight)
    }

    /// What is to be remembered of an entry that the policy chose.
    fn ghost(&self, own: Own<'_>, queues: &Queues, frequency: u8, by: Option<By>) -> u32 {
        by.map_or(0, |by| self.policy.evicted(own.policy(), queues, frequency, by))
    }

    /// Evicts until what is reserved fits the capacity, or nothing more can go.
    pub(crate) fn shrink(&self) {
        let own = self.stripes.own();
        while self.weight.excess() > 0 || self.seats.as_ref().is_some_and(|seats| seats.excess() > 0) {
            self.reclaim();
            if self.weight.excess() == 0 && self.seats.as_ref().is_none_or(|seats| seats.excess() == 0) {
                return;
            }
            let mut evictable = u64::MAX;
            if !self.evict_slice(own, self.weight.excess().max(1), &mut evictable, None) {
                return;
            }
        }
    }

    /// Drops everything that is out of the cache and read by nobody, and gives its room back.
    pub(crate) fn reclaim(&self) {
        let own = self.stripes.own();
        for stripe in self.stripes.iter() {
            while self.collect(stripe) {}
            while self.reap(own, stripe) {}
            self.weight.release(stripe.credit.swap(0, Ordering::Relaxed));
            if let Some(seats) = &self.seats {
                seats.release(stripe.seats.swap(0, Ordering::Relaxed));
            }
        }
        self.index.free_tables();
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

/// A free slot and room for an entry of weight 1.
struct Spare<'s, K, V> {
    store: &'s Store<K, V>,
    own: Own<'s>,
    handle: u32,
}

impl<K, V> Drop for Spare<'_, K, V> {
    fn drop(&mut self) {
        let stripe = self.own.stripe;
        self.store.give_back(stripe, 1);
        stripe.free.push(&self.store.index.slab, self.handle);
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
        let weight = store.weight_of(handle);
        own.count(Count::WeightOut, weight);
        // All bits of the mask: whoever moves it to the main clock meanwhile either comes before or fails.
        const { assert!(kind::RETIRED == kind::MASK) };
        store.policy.gone(
            own.policy(),
            store.index.slab.slot(handle).kind.fetch_or(kind::RETIRED, Ordering::Relaxed),
        );
        let in_limbo = &own.stripe.in_limbo;
        in_limbo.store(in_limbo.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        own.stripe.limbo.push(&store.index.slab, handle);
    }
}

/// What became of an entry that was put in the place of what a caller had seen.
pub(crate) enum Put<K, V> {
    Done,
    /// Something else is there by now.
    Changed,
    /// There are no more handles.
    Back(K, V),
}

impl<K: Eq, V> Store<K, V> {
    /// Puts an entry in whose room is reserved, if what is there is still what the caller found, or nothing.
    pub(crate) fn put(
        &self,
        own: Own<'_>,
        hash: Hash,
        (key, value): (K, V),
        terms: Terms,
        seen: Option<&Found<'_, K, V>>,
    ) -> Put<K, V> {
        let (weight, deadline) = (terms.weight, terms.deadline);
        let Some(handle) = self.slot(own.stripe) else { return Put::Back(key, value) };
        let hazard = Hazard::new();
        self.write(&hazard, handle, hash, (key, value), terms);
        own.count(Count::WeightIn, weight);
        // Not in the index: it goes as it came, unless it is disarmed.
        let leaving = Leaving { store: self, own, handle };
        let done = match seen {
            Some(found) => {
                self.index.replace(found, hash, handle).then_some(Inserted::Replaced(found.handle))
            }
            None => self.index.insert_absent(&hazard, hash, handle),
        };
        let Some(done) = done else { return Put::Changed };
        std::mem::forget(leaving);
        own.count(Count::Inserts, 1);
        self.arm(handle, deadline);
        match done {
            Inserted::Replaced(old) => self.replaced(own, &hazard, old, handle),
            Inserted::Overtaken => self.retire(own, handle, RemovalCause::Replaced),
            // All of its buckets are full: it is evicted at once.
            Inserted::Full => self.retire(own, handle, RemovalCause::Size),
            Inserted::New(ghost) => self.admit(own, &hazard, handle, ghost),
        }
        Put::Done
    }

    /// A new key is in.
    fn admit(&self, own: Own<'_>, hazard: &Hazard, handle: u32, ghost: u32) {
        let (slab, queues) = (&self.index.slab, &self.index.table(hazard).queues);
        let frequency = self.policy.admit(own.policy(), queues, ghost);
        // A hit that came first is lost, which is a hint less.
        slab.slot(handle).frequency.store(frequency, Ordering::Relaxed);
        self.policy.inserted(own.policy(), slab, queues, handle);
    }

    fn replaced(&self, own: Own<'_>, hazard: &Hazard, old: u32, new: u32) {
        let (slab, queues) = (&self.index.slab, &self.index.table(hazard).queues);
        self.policy.inherit(own.policy(), slab, queues, old, new);
        self.retire(own, old, RemovalCause::Replaced);
    }

    /// Takes an entry in whose room is reserved.
    ///
    /// # Errors
    /// Gives it back if there are no more handles.
    pub(crate) fn insert(
        &self,
        own: Own<'_>,
        hash: Hash,
        key: K,
        value: V,
        terms: Terms,
    ) -> Result<(), (K, V)> {
        let Some(handle) = self.slot(own.stripe) else { return Err((key, value)) };
        self.insert_into(own, handle, hash, key, value, terms);
        Ok(())
    }

    /// The same, into this free slot.
    pub(crate) fn insert_into(&self, own: Own<'_>, handle: u32, hash: Hash, key: K, value: V, terms: Terms) {
        let (weight, deadline) = (terms.weight, terms.deadline);
        let hazard = Hazard::new();
        self.write(&hazard, handle, hash, (key, value), terms);
        own.count(Count::WeightIn, weight);
        // A key whose comparison panics goes as it came.
        let leaving = Leaving { store: self, own, handle };
        let inserted = loop {
            match self.index.insert(&hazard, hash, handle) {
                Inserted::Full => self.evict_neighbour(own, hash),
                done => break done,
            }
        };
        std::mem::forget(leaving);
        own.count(Count::Inserts, 1);
        self.arm(handle, deadline);
        match inserted {
            Inserted::Replaced(old) => self.replaced(own, &hazard, old, handle),
            Inserted::Overtaken => self.retire(own, handle, RemovalCause::Replaced),
            Inserted::New(ghost) => self.admit(own, &hazard, handle, ghost),
            Inserted::Full => {}
        }
    }

    /// Writes an entry into a free slot.
    #[allow(unsafe_code)]
    fn write(&self, hazard: &Hazard, handle: u32, hash: Hash, (key, value): (K, V), terms: Terms) {
        let slab = &self.index.slab;
        let table = self.index.table(hazard);
        self.index.help(table);
        if handle >= table.entries() {
            self.index.grow();
        }
        let mut marks = kind::SMALL;
        if terms.weight != 1 {
            slab.word(Word::Weight, handle).store(terms.weight, Ordering::Relaxed);
            marks |= kind::WEIGHTED;
        }
        if let Some(deadline) = terms.deadline {
            slab.word(Word::Deadline, handle).store(deadline.as_nanos(), Ordering::Relaxed);
            marks |= kind::DEADLINE;
        }
        // SAFETY: a slot from `slot` is free and ours alone; it is marked below.
        unsafe {
            if let Some(extra) = terms.extra {
                marks |= if extra.tags.is_empty() { kind::EXTRA } else { kind::EXTRA | kind::TAGGED };
                slab.set_extra(handle, extra);
            }
            slab.write(handle, hash.home, key, value);
        }
        slab.slot(handle).kind.store(marks, Ordering::Relaxed);
    }

    /// Every bucket that a key may be in is full: the table grows if it is due, else one of their entries goes.
    #[cold]
    fn evict_neighbour(&self, own: Own<'_>, hash: Hash) {
        let hazard = Hazard::new();
        let table = self.index.table(&hazard);
        if table.has_previous() || self.index.slab.length() >= table.entries() {
            // It is being replaced, or too small: a larger one makes room, and nothing is lost.
            self.index.help(table);
            self.index.grow();
            return;
        }
        if let Some(found) = self.index.coldest(hash) {
            self.remove_found(own, &found, RemovalCause::Size);
        }
    }
}
