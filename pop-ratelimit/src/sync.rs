//! The one door to atomics: loom's under `--cfg loom`, the core's otherwise.

#[cfg(all(feature = "std", not(loom)))]
pub(crate) use core::sync::atomic::AtomicU32;
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(all(feature = "std", loom))]
pub(crate) use loom::sync::atomic::AtomicU32;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// A value on cache lines of its own: two, since processors fetch lines in pairs. What one thread writes often
/// must not take away what all threads read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);
