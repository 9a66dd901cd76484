//! Several quotas for the keys of one service: classes, and windows.

use core::hash::Hash;
use std::vec::Vec;

use crate::hierarchy::LEVELS_MAX;
use crate::{Decision, KeyedLimiter, Quota, QuotaError, Timestamp, Verdict};

/// Keyed limits in classes: free and paying, reads and writes. One table for each class, since the marks of two rates
/// do not compare.
///
/// ```
/// use pop_ratelimit::{KeyedClasses, Quota, Timestamp};
///
/// const FREE: usize = 0;
/// const PAYING: usize = 1;
/// let limits = KeyedClasses::<str>::new(&[Quota::per_second(1), Quota::per_second(100)], 1 << 20);
/// assert!(limits.check_at(FREE, "alice", Timestamp::ZERO, 1).is_allowed());
/// assert!(!limits.check_at(FREE, "alice", Timestamp::ZERO, 1).is_allowed());
/// assert!(limits.check_at(PAYING, "bob", Timestamp::ZERO, 100).is_allowed());
/// ```
#[derive(Debug)]
pub struct KeyedClasses<K: ?Sized> {
    classes: Vec<KeyedLimiter<K>>,
}

impl<K: Hash + ?Sized> KeyedClasses<K> {
    /// A class for each quota; the memory is shared evenly.
    #[must_use]
    pub fn new(quotas: &[Quota], memory_bytes: usize) -> Self {
        let each = memory_bytes / quotas.len().max(1);
        Self { classes: quotas.iter().map(|&quota| KeyedLimiter::new(quota, each)).collect() }
    }

    /// Takes `cost` tokens from the key's bucket in `class`. A class that does not exist lets nothing pass.
    #[inline]
    pub fn check_at(&self, class: usize, key: &K, now: Timestamp, cost: u64) -> Decision {
        match self.classes.get(class) {
            Some(limiter) => limiter.check_at(key, now, cost),
            None => Decision::Never { burst: 0 },
        }
    }

    /// The limiter of a class.
    #[must_use]
    pub fn class(&self, class: usize) -> Option<&KeyedLimiter<K>> {
        self.classes.get(class)
    }

    /// Another quota for a class from `now` on; see [`KeyedLimiter::set_quota_at`].
    ///
    /// # Errors
    /// [`QuotaError::Live`], also for a class that does not exist.
    pub fn set_quota_at(&self, class: usize, quota: Quota, now: Timestamp) -> Result<(), QuotaError> {
        self.classes.get(class).ok_or(QuotaError::Live(quota))?.set_quota_at(quota, now)
    }
}

/// Several windows on one key, all or nothing: ten a second and a thousand an hour.
///
/// ```
/// use pop_ratelimit::{KeyedWindows, Quota, Timestamp, Verdict};
///
/// let windows = [Quota::per_second(10), Quota::per_hour(15)];
/// let limits = KeyedWindows::<str>::new(&windows, 1 << 20);
/// assert!(limits.check_at("alice", Timestamp::ZERO, 10).is_allowed());
/// let later = Timestamp::from_nanos(1_000_000_000);
/// assert!(limits.check_at("alice", later, 5).is_allowed());
/// assert!(matches!(limits.check_at("alice", later, 5), Verdict::Denied { level: 1, .. }));
/// ```
#[derive(Debug)]
pub struct KeyedWindows<K: ?Sized> {
    windows: Vec<KeyedLimiter<K>>,
}

impl<K: Hash + ?Sized> KeyedWindows<K> {
    /// A table for each window; the memory is shared evenly.
    ///
    /// # Panics
    /// With more than [`LEVELS_MAX`] windows.
    #[must_use]
    pub fn new(windows: &[Quota], memory_bytes: usize) -> Self {
        assert!(windows.len() <= LEVELS_MAX, "at most {LEVELS_MAX} windows");
        Self { windows: KeyedClasses::new(windows, memory_bytes).classes }
    }

    /// Takes `cost` from the key's bucket of every window, or from none. The level of a denial is the window's index.
    pub fn check_at(&self, key: &K, now: Timestamp, cost: u64) -> Verdict {
        self.check_by(key, || now, cost)
    }

    /// [`check_at`](Self::check_at) by the process clock, which is read again where a lost race is undone.
    pub fn check(&self, key: &K, cost: u64) -> Verdict {
        self.check_by(key, crate::now, cost)
    }

    fn check_by(&self, key: &K, clock: impl Fn() -> Timestamp, cost: u64) -> Verdict {
        crate::hierarchy::check_keyed(self.windows.len(), |level| (&self.windows[level], key), clock, cost)
    }

    /// The windows, in order.
    #[must_use]
    pub fn windows(&self) -> &[KeyedLimiter<K>] {
        &self.windows
    }
}
