//! How much may be under way at once: fixed, or found by watching how long things take.

use core::time::Duration;

#[cfg(feature = "std")]
use crate::sync::{AtomicU64, Ordering};

/// How the limit moves.
///
/// - *AIMD*, as TCP does: one more for each window of successes, a factor less for a failure or an answer later than
///   the target (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989).
/// - *Gradient*: the ratio of the shortest round-trip time to the present one says how much queueing there is, and
///   the limit follows it, leaving room for a queue of its square root (the idea of TCP Vegas, and of Netflix'
///   concurrency-limits). Now and then the limit is halved for a moment, so that the queue drains and the shortest
///   time is measured anew.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum LimitPolicy {
    /// Always the same.
    Fixed {
        /// The limit.
        limit: u32,
    },
    /// Additive increase, multiplicative decrease.
    Aimd {
        /// The lowest limit, at least 1.
        low: u32,
        /// The highest limit.
        high: u32,
        /// An answer that takes longer counts as a failure.
        target: Duration,
    },
    /// After the gradient of round-trip times.
    Gradient {
        /// The lowest limit, at least 1.
        low: u32,
        /// The highest limit.
        high: u32,
    },
}

/// A decrease keeps nine tenths.
const AIMD_BACKOFF: f64 = 0.9;
/// A round-trip time may be this much above the shortest one before the limit falls.
const GRADIENT_TOLERANCE: f64 = 1.5;
/// At most half of the limit goes at once.
const GRADIENT_LOWEST: f64 = 0.5;
/// How much of the new limit is taken over with each answer.
const GRADIENT_SMOOTHING: f64 = 0.2;
/// Answers between two measurements of the shortest round-trip time.
const GRADIENT_PROBE_EVERY: u64 = 2000;

impl LimitPolicy {
    /// Bounds of the limit: at least one, and in order.
    fn bounds(self) -> (f64, f64) {
        let (low, high) = match self {
            Self::Fixed { limit } => return (f64::from(limit), f64::from(limit)),
            Self::Aimd { low, high, .. } | Self::Gradient { low, high } => (low.max(1), high.max(low).max(1)),
        };
        (f64::from(low), f64::from(high))
    }
}

/// What became of something that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered after this long.
    Answered(Duration),
    /// It was refused, or timed out: there is overload.
    Overloaded,
}

/// The limit and its memory: the pure part, one owner.
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::{AdaptiveLimit, LimitPolicy, Outcome};
///
/// let mut limit = AdaptiveLimit::new(LimitPolicy::Aimd { low: 4, high: 64, target: Duration::from_secs(1) });
/// for _ in 0..1000 {
///     limit.observe(limit.limit(), Outcome::Answered(Duration::from_millis(20)));
/// }
/// let before = limit.limit();
/// limit.observe(before, Outcome::Overloaded);
/// assert!(before > 20 && (before * 8 / 10..before).contains(&limit.limit()));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveLimit {
    policy: LimitPolicy,
    limit: f64,
    /// The shortest round-trip time in nanoseconds since it was last measured.
    shortest: f64,
    until_probe: u64,
    probe: Option<Probe>,
    /// Answers still to come from before the last decrease: one overload is one decrease.
    draining: u64,
}

/// The shortest round-trip time is being measured at half of the limit.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// Answers still to come; the first half of them left when the limit was still whole, and do not count.
    left: u64,
    counted: u64,
    shortest: f64,
    resume: f64,
}

impl AdaptiveLimit {
    /// Starts at the lowest limit.
    #[must_use]
    pub fn new(policy: LimitPolicy) -> Self {
        Self {
            policy,
            limit: policy.bounds().0,
            shortest: f64::INFINITY,
            until_probe: GRADIENT_PROBE_EVERY,
            probe: None,
            draining: 0,
        }
    }

    /// How many may be under way.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit as u64
    }

    /// Learns from one that ended while `in_flight` were under way, itself included.
    pub fn observe(&mut self, in_flight: u64, outcome: Outcome) {
        let (low, high) = self.policy.bounds();
        self.draining = self.draining.saturating_sub(1);
        // A limit that is not used says nothing about whether more would be too much.
        let used = in_flight as f64 * 2.0 >= self.limit;
        let limit = match (self.policy, outcome) {
            (LimitPolicy::Fixed { .. }, _) => return,
            (LimitPolicy::Aimd { target, .. }, Outcome::Answered(rtt)) if rtt <= target => {
                if used {
                    self.limit + 1.0 / self.limit
                } else {
                    self.limit
                }
            }
            (LimitPolicy::Aimd { .. }, _) | (LimitPolicy::Gradient { .. }, Outcome::Overloaded) => {
                self.back_off(in_flight)
            }
            (LimitPolicy::Gradient { .. }, Outcome::Answered(rtt)) => self.follow(in_flight, rtt, used),
        };
        self.limit = limit.clamp(low, high);
    }

    fn back_off(&mut self, in_flight: u64) -> f64 {
        if self.draining > 0 {
            return self.limit;
        }
        self.draining = in_flight;
        self.limit * AIMD_BACKOFF
    }

    fn follow(&mut self, in_flight: u64, rtt: Duration, used: bool) -> f64 {
        let rtt = (rtt.as_nanos() as f64).max(1.0);
        self.shortest = self.shortest.min(rtt);
        if let Some(probe) = self.probe {
            return self.probing(probe, rtt);
        }
        if !used {
            return self.limit;
        }
        self.until_probe = self.until_probe.saturating_sub(1);
        if self.until_probe == 0 {
            self.until_probe = GRADIENT_PROBE_EVERY;
            let counted = in_flight.max(8);
            self.probe =
                Some(Probe { left: 2 * counted, counted, shortest: f64::INFINITY, resume: self.limit });
            return self.limit / 2.0;
        }
        let gradient = (GRADIENT_TOLERANCE * self.shortest / rtt).clamp(GRADIENT_LOWEST, 1.0);
        let target = self.limit * gradient + square_root(self.limit);
        self.limit + (target - self.limit) * GRADIENT_SMOOTHING
    }

    fn probing(&mut self, mut probe: Probe, rtt: f64) -> f64 {
        if probe.left <= probe.counted {
            probe.shortest = probe.shortest.min(rtt);
        }
        probe.left -= 1;
        if probe.left > 0 {
            self.probe = Some(probe);
            return self.limit;
        }
        self.probe = None;
        self.shortest = probe.shortest;
        probe.resume
    }
}

/// Newton's method: `f64::sqrt` needs `std`, and this is exact enough for a queue's length.
fn square_root(value: f64) -> f64 {
    let mut root = value.max(1.0);
    for _ in 0..40 {
        let next = f64::midpoint(root, value / root);
        if next >= root {
            break;
        }
        root = next;
    }
    root
}

/// A bound on what is under way, for many threads.
///
/// Asking costs one compare-and-swap; learning takes a short lock, and is skipped by whoever finds it taken.
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::{Concurrency, LimitPolicy, Outcome};
///
/// let concurrency = Concurrency::new(LimitPolicy::Fixed { limit: 2 });
/// let first = concurrency.admit().expect("one of two");
/// let second = concurrency.admit().expect("two of two");
/// assert!(concurrency.admit().is_none());
/// first.done(Outcome::Answered(Duration::from_millis(3)));
/// assert_eq!((concurrency.in_flight(), concurrency.limit()), (1, 2));
/// drop(second);
/// assert_eq!(concurrency.in_flight(), 0);
/// ```
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct Concurrency {
    in_flight: AtomicU64,
    /// The limit in force; a copy of what `state` holds.
    limit: AtomicU64,
    state: std::sync::Mutex<AdaptiveLimit>,
}

#[cfg(feature = "std")]
impl Concurrency {
    /// Nothing under way; the limit starts at the policy's lowest.
    #[must_use]
    pub fn new(policy: LimitPolicy) -> Self {
        let state = AdaptiveLimit::new(policy);
        Self {
            in_flight: AtomicU64::new(0),
            limit: AtomicU64::new(state.limit()),
            state: std::sync::Mutex::new(state),
        }
    }

    /// One more, if the limit allows.
    #[inline]
    pub fn admit(&self) -> Option<Permit<&Self>> {
        self.enter().then(|| Permit { concurrency: self, settled: false })
    }

    /// [`admit`](Self::admit) with a permit that can leave the scope.
    pub fn admit_shared(self: &std::sync::Arc<Self>) -> Option<Permit<std::sync::Arc<Self>>> {
        self.enter().then(|| Permit { concurrency: std::sync::Arc::clone(self), settled: false })
    }

    /// How many are under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many may be.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    fn enter(&self) -> bool {
        let limit = self.limit();
        let more = |in_flight| (in_flight < limit).then_some(in_flight + 1);
        // Relaxed: a count, which publishes nothing. Never above the limit at the time of the swap.
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn leave(&self, outcome: Option<Outcome>) {
        let in_flight = self.in_flight.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(in_flight > 0, "more left than came");
        let Some(outcome) = outcome else { return };
        // A sample more or less does not matter; waiting for a lock would.
        if let Ok(mut state) = self.state.try_lock() {
            state.observe(in_flight, outcome);
            self.limit.store(state.limit(), Ordering::Relaxed);
        }
    }
}

/// Something under way; dropped without [`done`](Permit::done), it teaches the limit nothing.
#[cfg(feature = "std")]
#[derive(Debug)]
#[must_use = "a permit that is dropped has left"]
pub struct Permit<C: core::borrow::Borrow<Concurrency>> {
    concurrency: C,
    settled: bool,
}

#[cfg(feature = "std")]
impl<C: core::borrow::Borrow<Concurrency>> Permit<C> {
    /// It ended, and this is how.
    pub fn done(mut self, outcome: Outcome) {
        self.settled = true;
        self.concurrency.borrow().leave(Some(outcome));
    }
}

#[cfg(feature = "std")]
impl<C: core::borrow::Borrow<Concurrency>> Drop for Permit<C> {
    fn drop(&mut self) {
        if !self.settled {
            self.concurrency.borrow().leave(None);
        }
    }
}

#[cfg(feature = "std")]
mod keyed {
    use core::hash::Hash;
    use core::marker::PhantomData;
    use std::boxed::Box;

    use ahash::RandomState;

    use crate::sync::{AtomicU32, Ordering};

    /// A bound on what each key has under way, in fixed memory.
    ///
    /// A count-min sketch of two rows that can count down: a key is in one counter of each row, and is refused when
    /// both are at the limit. So no key ever exceeds it, and a key is refused unjustly only if both its
    /// counters are full of others; among `n` busy keys in rows of `m` counters the chance is about `(n / m)²`.
    ///
    /// ```
    /// use pop_ratelimit::KeyedConcurrency;
    ///
    /// let connections = KeyedConcurrency::<str>::new(2, 1 << 16);
    /// let one = connections.admit("alice").expect("one of two");
    /// let two = connections.admit("alice").expect("two of two");
    /// assert!(connections.admit("alice").is_none());
    /// assert!(connections.admit("bob").is_some());
    /// drop(one);
    /// assert!(connections.admit("alice").is_some());
    /// # drop(two);
    /// ```
    pub struct KeyedConcurrency<K: ?Sized> {
        limit: u32,
        counters: Box<[AtomicU32]>,
        hasher: RandomState,
        keys: PhantomData<fn(&K)>,
    }

    impl<K: ?Sized> core::fmt::Debug for KeyedConcurrency<K> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.debug_struct("KeyedConcurrency")
                .field("limit", &self.limit)
                .field("counters", &self.counters.len())
                .finish_non_exhaustive()
        }
    }

    /// One of a key's, under way.
    #[derive(Debug)]
    #[must_use = "a permit that is dropped has left"]
    pub struct KeyedPermit<T: core::ops::Deref<Target = KeyedConcurrency<K>>, K: ?Sized> {
        concurrency: T,
        places: [usize; 2],
    }

    impl<K: Hash + ?Sized> KeyedConcurrency<K> {
        /// At most `limit` for each key (below 2³¹), in at most `memory_bytes` bytes, at least eight.
        #[must_use]
        pub fn new(limit: u32, memory_bytes: usize) -> Self {
            let counters = (memory_bytes / size_of::<AtomicU32>()).max(2);
            Self {
                // Leaves room for attempts that count up before they find the counter full.
                limit: limit.min(i32::MAX as u32),
                counters: (0..counters).map(|_| AtomicU32::new(0)).collect(),
                hasher: RandomState::new(),
                keys: PhantomData,
            }
        }

        /// One more of `key`'s, if its limit allows.
        pub fn admit(&self, key: &K) -> Option<KeyedPermit<&Self, K>> {
            Some(KeyedPermit { places: self.enter(key)?, concurrency: self })
        }

        /// [`admit`](Self::admit) with a permit that can leave the scope.
        pub fn admit_shared(
            self: &std::sync::Arc<Self>,
            key: &K,
        ) -> Option<KeyedPermit<std::sync::Arc<Self>, K>> {
            Some(KeyedPermit { places: self.enter(key)?, concurrency: std::sync::Arc::clone(self) })
        }

        /// How many of `key`'s are under way at most.
        #[must_use]
        pub fn in_flight(&self, key: &K) -> u32 {
            let counts = self.places(key).map(|place| self.counters[place].load(Ordering::Relaxed));
            counts[0].min(counts[1])
        }

        /// Counts up first and looks then, so that racing attempts refuse each other rather than both pass.
        fn enter(&self, key: &K) -> Option<[usize; 2]> {
            let places = self.places(key);
            // Relaxed: each counter's own order of changes decides who was first.
            let before = places.map(|place| self.counters[place].fetch_add(1, Ordering::Relaxed));
            if before[0].min(before[1]) < self.limit {
                return Some(places);
            }
            self.leave(places);
            None
        }

        /// One counter in each half of the array.
        fn places(&self, key: &K) -> [usize; 2] {
            let hash = self.hasher.hash_one(key);
            let half = self.counters.len() / 2;
            let pick = |hash: u64, many: usize| (((hash & 0xffff_ffff) * many as u64) >> 32) as usize;
            [pick(hash, half), half + pick(hash >> 32, self.counters.len() - half)]
        }
    }

    impl<K: ?Sized> KeyedConcurrency<K> {
        fn leave(&self, places: [usize; 2]) {
            for place in places {
                let before = self.counters[place].fetch_sub(1, Ordering::Relaxed);
                debug_assert!(before > 0, "more left than came");
            }
        }

        /// The limit of each key.
        #[must_use]
        pub const fn limit(&self) -> u32 {
            self.limit
        }

        /// Bytes of the counters, fixed at construction.
        #[must_use]
        pub fn memory_bytes(&self) -> usize {
            size_of_val(&*self.counters)
        }
    }

    impl<T: core::ops::Deref<Target = KeyedConcurrency<K>>, K: ?Sized> Drop for KeyedPermit<T, K> {
        fn drop(&mut self) {
            self.concurrency.leave(self.places);
        }
    }
}

#[cfg(feature = "std")]
pub use keyed::{KeyedConcurrency, KeyedPermit};

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    /// A server with `workers` workers, `service` for each request; what waits makes answers late.
    fn settles_at(policy: LimitPolicy, workers: u64, service: Duration) -> u64 {
        let mut limit = AdaptiveLimit::new(policy);
        for _ in 0..20_000 {
            let in_flight = limit.limit();
            let queued = in_flight.saturating_sub(workers) as u32;
            let rtt = service + service * queued / workers as u32;
            limit.observe(in_flight, Outcome::Answered(rtt));
        }
        limit.limit()
    }

    #[test]
    fn both_policies_find_a_server_s_capacity() {
        let service = Duration::from_millis(10);
        let aimd = settles_at(LimitPolicy::Aimd { low: 1, high: 1000, target: service * 2 }, 50, service);
        assert!((80..=101).contains(&aimd), "{aimd}: twice the workers is twice the time");
        let gradient = settles_at(LimitPolicy::Gradient { low: 1, high: 1000 }, 50, service);
        assert!((50..=120).contains(&gradient), "{gradient}");
    }

    /// When everything becomes three times slower, the old shortest time must not hold the limit down for ever.
    #[test]
    fn the_gradient_learns_a_slower_server() {
        let mut limit = AdaptiveLimit::new(LimitPolicy::Gradient { low: 1, high: 100 });
        for service in [10, 30] {
            for _ in 0..10_000 {
                limit.observe(limit.limit(), Outcome::Answered(Duration::from_millis(service)));
            }
            assert!(limit.limit() > 90, "{limit:?}");
        }
    }

    #[test]
    fn one_overload_is_one_decrease() {
        let mut limit = AdaptiveLimit::new(LimitPolicy::Aimd { low: 100, high: 100, target: Duration::MAX });
        limit.policy = LimitPolicy::Aimd { low: 1, high: 100, target: Duration::MAX };
        for _ in 0..100 {
            limit.observe(100, Outcome::Overloaded);
        }
        assert_eq!(limit.limit(), 90);
        limit.observe(100, Outcome::Overloaded);
        assert_eq!(limit.limit(), 81);
    }

    #[test]
    fn an_unused_limit_does_not_grow() {
        for policy in [
            LimitPolicy::Aimd { low: 10, high: 100, target: Duration::MAX },
            LimitPolicy::Gradient { low: 10, high: 100 },
        ] {
            let mut limit = AdaptiveLimit::new(policy);
            (0..1000).for_each(|_| limit.observe(1, Outcome::Answered(Duration::from_millis(1))));
            assert_eq!(limit.limit(), 10);
        }
    }

    #[test]
    fn threads_never_exceed_the_limit() {
        let concurrency = Concurrency::new(LimitPolicy::Fixed { limit: 3 });
        let keyed = KeyedConcurrency::<u8>::new(3, 1024);
        let (inside, inside_keyed) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        if let Some(permit) = concurrency.admit() {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            permit.done(Outcome::Overloaded);
                        }
                        if let Some(permit) = keyed.admit(&1) {
                            assert!(inside_keyed.fetch_add(1, Ordering::SeqCst) < 3);
                            inside_keyed.fetch_sub(1, Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert_eq!((concurrency.in_flight(), keyed.in_flight(&1)), (0, 0));
    }
}
