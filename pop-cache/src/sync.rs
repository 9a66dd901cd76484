//! The one door to atomics: loom's under `--cfg loom`, the core's otherwise.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// Stands between a sequentially consistent read-modify-write and sequentially consistent loads after it. The
/// accesses order themselves; loom models them as acquire and release only, so there it is a fence.
#[inline]
pub(crate) fn after_write() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
