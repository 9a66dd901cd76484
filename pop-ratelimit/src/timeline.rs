//! A virtual time whose rate can be changed while others read it.

use crate::rate::Rate;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::virtual_time::{Budget, VirtualTime};
use crate::{Quota, QuotaError, Timestamp};

/// Changes that may happen while one reader copies a place, before it must look again.
const PLACES: usize = 4;
/// Words in a place: the quota's three, the rate's five, the offset and the burst in units.
const WORDS: usize = 10;

/// The quota in force. Until the first change a read is one load of a word that nobody writes.
///
/// ```text
/// read : v = version; if v = 0 use the first quota, which is immutable
///        copy place[v/2 mod 4]; if the version has moved on by less than 3 changes the copy is whole
/// write: version v → v + 1 (odd: one writer) ; fill place[(v/2 + 1) mod 4] ; version → v + 2
/// ```
///
/// Readers never wait: while a writer fills a place they use the one before. Writers wait for each other.
#[derive(Debug)]
pub(crate) struct Timeline {
    first: VirtualTime,
    /// The first rate by the count of the process clock, once that has been read.
    #[cfg(feature = "std")]
    by_count: std::sync::OnceLock<Rate>,
    budget: Budget,
    version: AtomicU64,
    places: [[AtomicU64; WORDS]; PLACES],
}

impl Timeline {
    pub(crate) fn new(quota: Quota, budget: Budget) -> Self {
        Self {
            first: VirtualTime::new(quota, budget),
            #[cfg(feature = "std")]
            by_count: std::sync::OnceLock::new(),
            budget,
            version: AtomicU64::new(0),
            places: core::array::from_fn(|_| core::array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    /// The first quota, if it is still in force: by reference, and without ordering, so that a loop of checks keeps
    /// it in registers.
    #[inline]
    pub(crate) fn unchanged(&self) -> Option<&VirtualTime> {
        (self.version.load(Ordering::Relaxed) < 2).then_some(&self.first)
    }

    /// The first quota, if it is still in force, and the present by the process clock: one multiplication from its
    /// counter to virtual time. Agrees with the way over nanoseconds to within a nanosecond and a unit.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn unchanged_now(&self) -> Option<(&VirtualTime, u64)> {
        let time = self.unchanged()?;
        let by_count = match self.by_count.get() {
            Some(by_count) => by_count,
            None => self.learn_count(),
        };
        Some((time, by_count.units_in(crate::clock::counts())))
    }

    #[cfg(feature = "std")]
    #[cold]
    #[inline(never)]
    fn learn_count(&self) -> &Rate {
        self.by_count.get_or_init(|| self.first.rate.by_count(crate::clock::nanos_per_count()))
    }

    /// The arithmetic in force.
    #[inline(never)]
    pub(crate) fn current(&self) -> VirtualTime {
        // Acquire pairs with the Release at the end of `set`: whoever sees the version sees its place.
        let version = self.version.load(Ordering::Acquire);
        if version < 2 { self.first } else { self.changed(version) }
    }

    fn changed(&self, mut version: u64) -> VirtualTime {
        loop {
            let place = &self.places[(version / 2) as usize % PLACES];
            let words: [u64; WORDS] = core::array::from_fn(|index| place[index].load(Ordering::Relaxed));
            // Pairs with the fence in `set`: a word written for a later version makes that version visible here.
            fence(Ordering::Acquire);
            let seen = self.version.load(Ordering::Relaxed);
            // The writer of change n fills the place of change n − 4, and its version is odd meanwhile.
            if seen / 2 - version / 2 < PLACES as u64 - 1 {
                let [
                    tokens,
                    period,
                    burst,
                    whole,
                    fraction,
                    shift,
                    reciprocal,
                    reciprocal_shift,
                    offset,
                    units,
                ] = words;
                let quota = Quota::from_parts(tokens, period, burst);
                let (shift, reciprocal_shift) = (shift as u32, reciprocal_shift as u32);
                let rate = Rate { whole, fraction, shift, reciprocal, reciprocal_shift };
                return self.first.replaced(quota, rate, offset, units);
            }
            version = self.version.load(Ordering::Acquire);
        }
    }

    /// Another quota from `now` on. Debts stay what they are, in tokens; no bucket is filled.
    pub(crate) fn set(&self, quota: Quota, now: Timestamp) -> Result<(), QuotaError> {
        let version = self.lock();
        let before = if version == 0 { self.first } else { self.changed(version) };
        let turned = before.turned(quota, now, self.budget);
        let Some(time) = turned else {
            self.version.store(version, Ordering::Release);
            return Err(QuotaError::Live(quota));
        };
        // Pairs with the reader's fence: these stores are not seen before the odd version.
        fence(Ordering::Release);
        let quota = time.quota;
        let words = [
            quota.tokens(),
            quota.period_nanos(),
            quota.burst_size(),
            time.rate.whole,
            time.rate.fraction,
            u64::from(time.rate.shift),
            time.rate.reciprocal,
            u64::from(time.rate.reciprocal_shift),
            time.offset,
            time.burst_units,
        ];
        let place = &self.places[(version / 2 + 1) as usize % PLACES];
        for (cell, word) in place.iter().zip(words) {
            cell.store(word, Ordering::Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
        Ok(())
    }

    /// Waits until no other writer is at work and marks the version odd; returns the even one.
    fn lock(&self) -> u64 {
        loop {
            let version = self.version.load(Ordering::Relaxed);
            let free = version.is_multiple_of(2);
            // Acquire pairs with the Release of the writer before; a change is a rare, administrative act.
            if free
                && self
                    .version
                    .compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return version;
            }
            #[cfg(not(loom))]
            core::hint::spin_loop();
            #[cfg(loom)]
            loom::thread::yield_now();
        }
    }
}
