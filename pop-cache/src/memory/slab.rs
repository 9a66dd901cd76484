//! The slab: slots that entries live in, by handle.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;

use super::prefetch;
use super::words::{advise, lay_out};
use crate::entry::Extra;
use crate::sync::{AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// What a slot is used for: the low bits of [`Slot::kind`].
pub(crate) mod kind {
    /// No key and value in it.
    pub(crate) const FREE: u8 = 0;
    /// In the policy's small queue.
    pub(crate) const SMALL: u8 = 1;
    /// In the policy's main clock.
    pub(crate) const MAIN: u8 = 2;
    /// Out of the index, waiting for its readers.
    pub(crate) const RETIRED: u8 = 3;
    pub(crate) const MASK: u8 = 3;
    /// It has a deadline, in the column of deadlines.
    pub(crate) const DEADLINE: u8 = 4;
    /// It has a box of what few entries have, in the column of extras.
    pub(crate) const EXTRA: u8 = 8;
    /// The box has tags.
    pub(crate) const TAGGED: u8 = 16;
    /// Its weight is not 1: it is in the column of weights.
    pub(crate) const WEIGHTED: u8 = 32;
    /// The policy must leave it.
    pub(crate) const PINNED: u8 = 64;
}

/// A place for an entry: eight bytes, a key, and a value.
#[repr(C)]
pub(crate) struct Slot<K, V> {
    /// While occupied, the entry's home hash; in a [`List`], the next slot's handle plus one.
    pub(super) link: AtomicU32,
    /// How often it was hit lately.
    pub(crate) frequency: AtomicU8,
    pub(crate) kind: AtomicU8,
    /// When it came into the small queue, coarsely.
    pub(crate) stamp: AtomicU16,
    pair: UnsafeCell<MaybeUninit<(K, V)>>,
}

impl<K, V> Slot<K, V> {
    #[inline]
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Key and value.
    ///
    /// # Safety
    /// As for [`Slab::pair`].
    #[inline]
    pub(crate) unsafe fn pair(&self) -> &(K, V) {
        // SAFETY: an occupied slot holds a pair, by the caller's promise.
        unsafe { (*self.pair.get()).assume_init_ref() }
    }

    #[inline]
    pub(crate) fn home(&self) -> u32 {
        self.link.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is(&self, wanted: u8) -> bool {
        self.kind.load(Ordering::Relaxed) & kind::MASK == wanted
    }
}

/// Chunks of slots after the first: four a doubling.
const CHUNKS: usize = if cfg!(all(loom, not(shuttle))) { 2 } else { 4 * 32 };
/// Slots of the smallest of them.
const CHUNK_MIN: u64 = if cfg!(loom) { 4 } else { 64 };

/// Slots, by handle.
pub(crate) struct Slab<K, V> {
    /// The first chunk, laid out at once: handles below `first_length` are here.
    first: *mut Slot<K, V>,
    first_length: u32,
    further: [AtomicPtr<Slot<K, V>>; CHUNKS],
    /// How many slots were handed out so far, from the first on.
    bumped: AtomicU32,
    /// Three words for each slot, for those entries that need them: weights, deadlines, and the rest.
    columns: [Column; 3],
}

/// A word for each slot, laid out chunk by chunk when first needed.
type Column = [AtomicPtr<AtomicU64>; CHUNKS + 1];

/// Which column.
#[derive(Clone, Copy)]
pub(crate) enum Word {
    Weight = 0,
    Deadline = 1,
    /// The address of a boxed [`Extra`].
    Extra = 2,
}

// SAFETY: a slab hands out `&K` and `&V` to any thread and drops them on any thread.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Slab<K, V> {}
// SAFETY: as above; everything else in it is atomic.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Slab<K, V> {}

impl<K, V> Slab<K, V> {
    /// Handles are below this.
    pub(crate) const HANDLES_MAX: u32 = u32::MAX - 1;

    /// With room for `expected` slots laid out at once, and for any number later.
    pub(crate) fn new(expected: u32) -> Self {
        Self {
            first: allocate(expected as usize),
            first_length: expected,
            further: core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            bumped: AtomicU32::new(0),
            columns: core::array::from_fn(|_| core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut()))),
        }
    }

    /// How many slots were ever handed out: handles are below.
    #[inline]
    pub(crate) fn length(&self) -> u32 {
        self.bumped.load(Ordering::Acquire)
    }

    /// A slot that was never used. None if there are no more.
    pub(crate) fn bump(&self) -> Option<u32> {
        let mut handle = self.bumped.load(Ordering::Relaxed);
        loop {
            if handle >= Self::HANDLES_MAX {
                return None;
            }
            if handle >= self.first_length {
                self.ensure_chunk(handle);
            }
            // Release, so that who reads the length finds the chunk laid out. Another bump won if this fails.
            match self.bumped.compare_exchange_weak(handle, handle + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(handle),
                Err(other) => handle = other,
            }
        }
    }

    /// The chunk of a handle beyond the first, its length, and the handle's place in it.
    #[inline]
    fn chunk(&self, handle: u32) -> (usize, usize, usize) {
        let position = u64::from(handle - self.first_length) + 4 * CHUNK_MIN;
        let level = position.ilog2();
        let (quarter, length) = ((position >> (level - 2)) & 3, 1_u64 << (level - 2));
        let chunk = (u64::from(level - (4 * CHUNK_MIN).ilog2()) * 4 + quarter) as usize;
        (chunk, length as usize, (position & (length - 1)) as usize)
    }

    #[cold]
    fn ensure_chunk(&self, handle: u32) {
        let (chunk, length, _) = self.chunk(handle);
        if self.further[chunk].load(Ordering::Acquire).is_null() {
            let new = allocate::<K, V>(length);
            let published = self.further[chunk].compare_exchange(
                ptr::null_mut(),
                new,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            if published.is_err() {
                // SAFETY: it was allocated with this length just now and nobody else has it.
                unsafe { deallocate(new, length) };
            }
        }
    }

    /// The slot of a handle in the first chunk, where all are if the number of entries was known.
    #[inline]
    pub(crate) fn first_slot(&self, handle: u32) -> Option<&Slot<K, V>> {
        // SAFETY: the first chunk has `first_length` slots.
        (handle < self.first_length).then(|| unsafe { &*self.first.add(handle as usize) })
    }

    /// The slot of a handle that [`bump`](Self::bump) has handed out.
    #[inline]
    pub(crate) fn slot(&self, handle: u32) -> &Slot<K, V> {
        self.first_slot(handle).unwrap_or_else(|| self.further_slot(handle))
    }

    /// Asks for the slot of a handle, if that is quickly done.
    #[inline]
    pub(crate) fn prefetch(&self, handle: u32) {
        if let Some(slot) = self.first_slot(handle) {
            prefetch(slot);
        }
    }

    #[inline(never)]
    fn further_slot(&self, handle: u32) -> &Slot<K, V> {
        let (chunk, _, place) = self.chunk(handle);
        // Acquire pairs with the release that published the chunk, before any handle of it was handed out.
        let chunk = self.further[chunk].load(Ordering::Acquire);
        assert!(!chunk.is_null(), "a handle that was never handed out");
        // SAFETY: the chunk is laid out, and `place` is below its length.
        unsafe { &*chunk.add(place) }
    }

    /// Puts an entry into a free slot, with these marks.
    ///
    /// # Safety
    /// The slot is free and the caller alone has its handle.
    #[inline]
    pub(crate) unsafe fn write(&self, handle: u32, home: u32, (key, value): (K, V), marks: u8) {
        let slot = self.slot(handle);
        debug_assert!(slot.is(kind::FREE));
        slot.link.store(home, Ordering::Relaxed);
        // SAFETY: nobody else looks into a free slot.
        unsafe { (*slot.pair.get()).write((key, value)) };
        slot.kind.store(marks, Ordering::Relaxed);
    }

    /// Key and value of an occupied slot.
    ///
    /// # Safety
    /// For the lifetime the caller chooses, the slot stays occupied: the caller holds a hazard on its address and has
    /// seen it in the index since, or is the one who took it out of the index and has not retired it, or is the one
    /// who wrote it and has not published it.
    #[inline]
    pub(crate) unsafe fn pair<'a>(&self, handle: u32) -> &'a (K, V) {
        // SAFETY: an occupied slot holds a pair, by the caller's promise for as long as asked.
        unsafe { (*self.slot(handle).pair.get()).assume_init_ref() }
    }

    /// What else is known of the entry in an occupied slot.
    ///
    /// # Safety
    /// As for [`pair`](Self::pair), and the slot is marked [`kind::EXTRA`].
    pub(crate) unsafe fn extra<'a>(&self, handle: u32) -> &'a Extra {
        let address = self.word(Word::Extra, handle).load(Ordering::Relaxed);
        // SAFETY: a marked slot has a box there, put before it was published and freed with it.
        unsafe { &*ptr::with_exposed_provenance(address as usize) }
    }

    /// Gives a slot that extra, which [`take`](Self::take) frees.
    ///
    /// # Safety
    /// The caller alone has the handle; it marks the slot [`kind::EXTRA`].
    pub(crate) unsafe fn set_extra(&self, handle: u32, extra: Box<Extra>) {
        let address = Box::into_raw(extra).expose_provenance() as u64;
        self.word(Word::Extra, handle).store(address, Ordering::Relaxed);
    }

    /// Takes the entry out of a slot, which is free then.
    ///
    /// # Safety
    /// The slot is occupied, out of the index, announced by nobody, and the caller alone has its handle.
    pub(crate) unsafe fn take(&self, handle: u32) -> (K, V) {
        let slot = self.slot(handle);
        if slot.kind.load(Ordering::Relaxed) & kind::EXTRA != 0 {
            let address = self.word(Word::Extra, handle).load(Ordering::Relaxed);
            // SAFETY: a marked slot has a box there, which goes with it.
            drop(unsafe { Box::from_raw(ptr::with_exposed_provenance_mut::<Extra>(address as usize)) });
        }
        slot.kind.store(kind::FREE, Ordering::Relaxed);
        // SAFETY: it holds a pair, and being marked free it is not read again.
        unsafe { (*slot.pair.get()).assume_init_read() }
    }

    /// A word beside a slot, laid out if it is not yet.
    pub(crate) fn word(&self, which: Word, handle: u32) -> &AtomicU64 {
        let (chunk, length, place) = if handle < self.first_length {
            (CHUNKS, self.first_length as usize, handle as usize)
        } else {
            self.chunk(handle)
        };
        let words = lay_out(&self.columns[which as usize][chunk], length);
        // SAFETY: the chunk of words is as long as the chunk of slots, and lives as long as the slab.
        unsafe { &*words.add(place) }
    }
}

impl<K, V> Drop for Slab<K, V> {
    fn drop(&mut self) {
        let chunks: Vec<_> = (0..CHUNKS)
            .map(|chunk| {
                (self.further[chunk].load(Ordering::Relaxed), CHUNK_MIN as usize * (1 << (chunk / 4)))
            })
            .chain([(self.first, self.first_length as usize)])
            .collect();
        for handle in 0..self.bumped.load(Ordering::Relaxed) {
            if !self.slot(handle).is(kind::FREE) {
                // SAFETY: `&mut self` says that nobody else reads it; it is occupied and dropped this once.
                drop(unsafe { self.take(handle) });
            }
        }
        for (chunk, (first, length)) in chunks.into_iter().enumerate() {
            if !first.is_null() {
                // SAFETY: allocated with this length, and every pair in it was dropped above.
                unsafe { deallocate(first, length) };
            }
            for column in &self.columns {
                let words = column[chunk].load(Ordering::Relaxed);
                if !words.is_null() {
                    // SAFETY: it came from a box of this length.
                    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(words, length)) });
                }
            }
        }
    }
}

/// `length` free slots: all bits zero, in pages that the system zeroes when they are first touched.
fn allocate<K, V>(length: usize) -> *mut Slot<K, V> {
    #[cfg(loom)]
    let slots: Box<[MaybeUninit<Slot<K, V>>]> = (0..length)
        .map(|_| {
            MaybeUninit::new(Slot {
                link: AtomicU32::new(0),
                frequency: AtomicU8::new(0),
                kind: AtomicU8::new(kind::FREE),
                stamp: AtomicU16::new(0),
                pair: UnsafeCell::new(MaybeUninit::uninit()),
            })
        })
        .collect();
    #[cfg(not(loom))]
    let slots: Box<[MaybeUninit<Slot<K, V>>]> = Box::new_zeroed_slice(length);
    advise(slots.as_ptr().cast(), size_of_val(&*slots));
    // Zero bits are a valid slot: zero words, `kind::FREE`, and a pair that is not there.
    Box::into_raw(slots).cast()
}

/// # Safety
/// `first` came from [`allocate`] with this length, and no slot is used any more.
unsafe fn deallocate<K, V>(first: *mut Slot<K, V>, length: usize) {
    // SAFETY: by the caller's promise; a `Slot` does not drop its pair.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(first, length)) });
}
