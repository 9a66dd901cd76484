//! What each thread has to itself: counters, room it may use, slots on their way to reuse.

use crate::hazard;
use crate::memory::List;
use crate::policy::Local;
use crate::sync::{AtomicU64, Ordering};

/// Most stripes a cache has.
const STRIPES_MAX: usize = 64;

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    Hits,
    Misses,
    Inserts,
    Replaced,
    Evicted,
    Expired,
    Removed,
    Refused,
    /// Weight that came into the cache.
    WeightIn,
    /// Weight that left it.
    WeightOut,
    /// Weight whose entries were dropped.
    WeightFreed,
    Loads,
    LoadsFailed,
    /// Time that all loads took.
    LoadNanos,
}

pub(crate) const COUNTS: usize = 14;

#[repr(align(128))]
pub(crate) struct Stripe {
    /// Written by one thread, which does without locked instructions.
    counts: [AtomicU64; COUNTS],
    /// The same of the threads beyond the number of stripes.
    counts_of_others: [AtomicU64; COUNTS],
    /// Reserved weight that no entry uses yet.
    pub(crate) credit: AtomicU64,
    /// Reserved entries that are not there yet.
    pub(crate) seats: AtomicU64,
    /// How many slots were put into limbo since it was emptied, roughly.
    pub(crate) in_limbo: AtomicU64,
    /// Retired slots that somebody may still read.
    pub(crate) limbo: List,
    /// Retired slots that nobody reads any more. Their entries are dropped one by one, when their room is needed.
    pub(crate) ripe: List,
    /// Slots without an entry.
    pub(crate) free: List,
    /// What the policy has not told all threads yet.
    policy: Local,
}

impl Stripe {
    fn new() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            counts_of_others: std::array::from_fn(|_| AtomicU64::new(0)),
            credit: AtomicU64::new(0),
            seats: AtomicU64::new(0),
            in_limbo: AtomicU64::new(0),
            limbo: List::new(),
            ripe: List::new(),
            free: List::new(),
            policy: Local::new(),
        }
    }

    /// Weight that this thread has at hand or on its way.
    pub(crate) fn pipeline(&self) -> u64 {
        self.credit.load(Ordering::Relaxed) + self.retired()
    }

    /// Weight of the entries in limbo and of the ripe ones.
    pub(crate) fn retired(&self) -> u64 {
        let sum = |what: Count| {
            let counts = [&self.counts, &self.counts_of_others];
            counts
                .map(|counts| counts[what as usize].load(Ordering::Relaxed))
                .into_iter()
                .fold(0, u64::wrapping_add)
        };
        // What went first: what is freed meanwhile makes the difference smaller.
        let out = sum(Count::WeightOut);
        out.wrapping_sub(sum(Count::WeightFreed)).cast_signed().max(0).cast_unsigned()
    }

    /// A ripe entry of this weight was dropped.
    pub(crate) fn freed(&self, own: Own<'_>, weight: u64) {
        if std::ptr::eq(self, own.stripe) {
            own.count(Count::WeightFreed, weight);
        } else {
            self.counts_of_others[Count::WeightFreed as usize].fetch_add(weight, Ordering::Relaxed);
        }
    }
}

/// Takes `amount` from a word if it has as much.
pub(crate) fn take(word: &AtomicU64, amount: u64) -> bool {
    let mut current = word.load(Ordering::Relaxed);
    while current >= amount {
        // Another thread took or gave some if this fails. Relaxed: the number is all there is to it.
        match word.compare_exchange_weak(current, current - amount, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(other) => current = other,
        }
    }
    false
}

/// Takes `amount` from a word that need not be exact, or what there is.
pub(crate) fn take_most(word: &AtomicU64, amount: u64) {
    word.store(word.load(Ordering::Relaxed).saturating_sub(amount), Ordering::Relaxed);
}

/// One stripe for each thread, as long as there are as many.
pub(crate) struct Stripes {
    stripes: Box<[Stripe]>,
}

/// This thread's stripe.
#[derive(Clone, Copy)]
pub(crate) struct Own<'s> {
    pub(crate) stripe: &'s Stripe,
    /// It is this thread's alone.
    is_exclusive: bool,
}

impl<'s> Own<'s> {
    /// What the policy has for this thread alone.
    #[inline]
    pub(crate) fn policy(self) -> Option<&'s Local> {
        self.is_exclusive.then_some(&self.stripe.policy)
    }

    #[inline]
    pub(crate) fn count(self, what: Count, by: u64) {
        // Relaxed: only a counter.
        if self.is_exclusive {
            let counter = &self.stripe.counts[what as usize];
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
        } else {
            self.stripe.counts_of_others[what as usize].fetch_add(by, Ordering::Relaxed);
        }
    }
}

impl Stripes {
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(4, usize::from);
        let stripes = if cfg!(loom) { 2 } else { (2 * threads).next_power_of_two().clamp(4, STRIPES_MAX) };
        Self { stripes: (0..stripes).map(|_| Stripe::new()).collect() }
    }

    #[inline]
    pub(crate) fn own(&self) -> Own<'_> {
        self.of(hazard::thread_number())
    }

    /// The stripe of the thread with this number, which is the caller's.
    #[inline]
    pub(crate) fn of(&self, number: usize) -> Own<'_> {
        match self.stripes.get(number) {
            Some(stripe) => Own { stripe, is_exclusive: true },
            // The number of stripes is a power of two.
            None => Own { stripe: &self.stripes[number & (self.stripes.len() - 1)], is_exclusive: false },
        }
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Stripe> {
        self.stripes.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.stripes.len()
    }

    pub(crate) fn sum(&self, what: Count) -> u64 {
        let all = self.stripes.iter().flat_map(|stripe| [&stripe.counts, &stripe.counts_of_others]);
        all.map(|counts| counts[what as usize].load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}
