//! The one door to atomics: loom's under `--cfg loom`, shuttle's under `--cfg loom --cfg shuttle` (everything is as small as
//! for loom, and schedules are drawn instead of tried one by one), the core's otherwise.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(all(loom, not(shuttle)))]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(all(loom, not(shuttle)))]
pub(crate) use loom::{lazy_static, thread_local};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(shuttle)]
pub(crate) use shuttle::{lazy_static, thread_local};

/// Stands between a sequentially consistent read-modify-write and sequentially consistent loads after it. The
/// accesses order themselves; loom models them as acquire and release only, so there it is a fence.
#[inline]
pub(crate) fn after_write() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
