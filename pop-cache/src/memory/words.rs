//! Arrays of words that are zero at first, in pages that the system zeroes when they are first touched.

use core::ptr;

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// `length` words of zero, from pages that the system zeroes when they are first touched.
pub(super) fn zeroed_words(length: usize) -> Box<[AtomicU64]> {
    #[cfg(loom)]
    return (0..length).map(|_| AtomicU64::new(0)).collect();
    #[cfg(not(loom))]
    {
        let words = Box::<[AtomicU64]>::new_zeroed_slice(length);
        advise(words.as_ptr().cast(), size_of_val(&*words));
        // SAFETY: an atomic word of zero bits is a valid one.
        unsafe { words.assume_init() }
    }
}

/// Lines of `N` words of zero. Where a line's size is a power of two, each lies in one cache line, or begins one.
pub(crate) struct Lines<const N: usize> {
    words: *mut [AtomicU64],
    first: *const [AtomicU64; N],
    count: usize,
}

// SAFETY: it owns its words, which are atomics.
unsafe impl<const N: usize> Send for Lines<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Sync for Lines<N> {}

impl<const N: usize> Lines<N> {
    pub(crate) fn new(count: usize) -> Self {
        // The allocator would touch every page of zeroed memory that is aligned to more than it is by itself.
        let words = Box::into_raw(zeroed_words(count * N + N - 1));
        let start = words.cast::<AtomicU64>();
        let misplaced = start.addr() / size_of::<u64>() % N;
        let skipped = if cfg!(loom) { 0 } else { (N - misplaced) % N };
        // SAFETY: fewer than `N` are skipped, of `N - 1` more than are needed.
        let first = unsafe { start.add(skipped) }.cast_const().cast();
        Self { words, first, count }
    }

    #[inline]
    pub(crate) fn get(&self, place: usize) -> &[AtomicU64; N] {
        assert!(place < self.count, "no such line");
        // SAFETY: there are `count` lines from the first on.
        unsafe { &*self.first.add(place) }
    }

    /// The words of so many lines, from one on.
    #[inline]
    pub(crate) fn words(&self, place: usize, lines: usize) -> &[AtomicU64] {
        assert!(place < self.count && lines <= self.count - place, "no such lines");
        // SAFETY: as above; lines lie one behind the other.
        unsafe { core::slice::from_raw_parts(self.first.add(place).cast(), lines * N) }
    }
}

impl<const N: usize> Drop for Lines<N> {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and nobody has a line of it any more.
        drop(unsafe { Box::from_raw(self.words) });
    }
}

/// Asks for large pages for a large array that is accessed at random: with small ones a look-up misses the translation
/// buffer as often as the cache.
pub(super) fn advise(first: *const u8, bytes: usize) {
    #[cfg(all(target_os = "linux", not(loom), not(miri)))]
    {
        const LARGE: usize = 2 << 20;
        let start = first.addr().next_multiple_of(LARGE);
        let end = (first.addr() + bytes) / LARGE * LARGE;
        if end > start {
            let pages = first.with_addr(start).cast_mut().cast();
            // SAFETY: whole pages inside the array; the advice changes nothing that a program can see.
            let _refused =
                unsafe { rustix::mm::madvise(pages, end - start, rustix::mm::Advice::LinuxHugepage) };
        }
    }
    #[cfg(not(all(target_os = "linux", not(loom), not(miri))))]
    let _unused = (first, bytes);
}

/// The same, of half words.
pub(crate) fn zeroed_half_words(length: usize) -> Box<[AtomicU32]> {
    #[cfg(loom)]
    return (0..length).map(|_| AtomicU32::new(0)).collect();
    #[cfg(not(loom))]
    // SAFETY: as above.
    unsafe {
        Box::new_zeroed_slice(length).assume_init()
    }
}

/// The chunk of so many words that a pointer names, laid out if it is not yet.
#[inline]
pub(super) fn lay_out(chunk: &AtomicPtr<AtomicU64>, length: usize) -> *const AtomicU64 {
    // Acquire pairs with the release that published it.
    let words = chunk.load(Ordering::Acquire);
    if words.is_null() { lay_out_now(chunk, length) } else { words }
}

#[cold]
#[inline(never)]
fn lay_out_now(chunk: &AtomicPtr<AtomicU64>, length: usize) -> *const AtomicU64 {
    let new = Box::into_raw(zeroed_words(length)).cast::<AtomicU64>();
    match chunk.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(other) => {
            // SAFETY: it came from this box just now and nobody else has it.
            drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(new, length)) });
            other
        }
    }
}

/// Words by number, zero at first: a chunk of 64, one of 128, and so on, each laid out when it is first written to.
pub(crate) struct Words {
    chunks: [AtomicPtr<AtomicU64>; WORD_CHUNKS],
}

const WORD_CHUNKS: usize = if cfg!(all(loom, not(shuttle))) { 3 } else { 27 };
/// Words of the first chunk, as a power of two.
const WORDS_FIRST_BITS: u32 = if cfg!(all(loom, not(shuttle))) { 1 } else { 6 };

impl Words {
    pub(crate) fn new() -> Self {
        Self { chunks: core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())) }
    }

    /// The chunk of a word, its length, and the word's place in it.
    fn place(number: usize) -> (usize, usize, usize) {
        let position = number + (1 << WORDS_FIRST_BITS);
        let level = position.ilog2();
        ((level - WORDS_FIRST_BITS) as usize, 1 << level, position - (1 << level))
    }

    /// A word, if its chunk was ever written to.
    pub(crate) fn get(&self, number: usize) -> Option<&AtomicU64> {
        let (chunk, _, place) = Self::place(number);
        let words = self.chunks[chunk].load(Ordering::Acquire);
        // SAFETY: a chunk has as many words as `place` says, and lives as long as this does.
        (!words.is_null()).then(|| unsafe { &*words.add(place) })
    }

    /// A word.
    pub(crate) fn at(&self, number: usize) -> &AtomicU64 {
        let (chunk, length, place) = Self::place(number);
        let words = lay_out(&self.chunks[chunk], length);
        // SAFETY: as in `get`.
        unsafe { &*words.add(place) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        for (level, chunk) in self.chunks.iter().enumerate() {
            let words = chunk.load(Ordering::Relaxed);
            if !words.is_null() {
                let length = 1 << (level as u32 + WORDS_FIRST_BITS);
                // SAFETY: it came from a box of this length.
                drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(words, length)) });
            }
        }
    }
}
