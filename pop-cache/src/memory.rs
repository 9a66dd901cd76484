//! Raw memory behind safe types: a list that only grows, zeroed words, and the slab that entries live in.
//!
//! A slab slot never moves and its memory is never given back before the slab goes, so its header may be read at any
//! time, by any handle that was ever handed out. Key and value may be read only while the slot is known to be
//! occupied; see [`Slab::pair`].
#![allow(unsafe_code)]

mod list;
mod once;
mod slab;
mod words;

pub(crate) use self::list::List;
pub(crate) use self::once::{Leaked, Once};
pub(crate) use self::slab::{Slab, Slot, Word, kind};
pub(crate) use self::words::{Lines, Words, zeroed_half_words};

/// Asks for a cache line that is going to be needed.
#[inline]
pub(crate) fn prefetch<T>(what: &T) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: SSE is part of the architecture, and a prefetch of anything is harmless.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(what).cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _unused = what;
}
