//! Tokens taken now for use later.

use core::time::Duration;

use crate::promises::Charge;
use crate::{Decision, Timestamp, TokenBucket};

/// The answer of [`TokenBucket::reserve_at`].
#[derive(Debug)]
#[must_use = "a reservation that is dropped is given back"]
pub enum Booking<'a> {
    /// The tokens are taken; use them when they are ready.
    Reserved(Reservation<'a>),
    /// The wait would be too long, or endless.
    Refused(Decision),
}

impl<'a> Booking<'a> {
    /// The reservation, if there is one.
    #[must_use]
    pub fn reserved(self) -> Option<Reservation<'a>> {
        match self {
            Self::Reserved(reservation) => Some(reservation),
            Self::Refused(_) => None,
        }
    }

    #[cfg(feature = "std")]
    pub(crate) fn with_process_clock(mut self) -> Self {
        if let Self::Reserved(reservation) = &mut self {
            reservation.process_clock = true;
        }
        self
    }
}

/// Tokens of a [`TokenBucket`] that are taken and not yet used.
///
/// Settle it with [`commit_at`](Self::commit_at) once the real cost is known. Dropped before that, it is given back:
/// whole if nobody came or went after it; else by the process clock, if it was made by that; else not at all, so
/// prefer [`cancel_at`](Self::cancel_at).
///
/// ```
/// use core::time::Duration;
/// use pop_ratelimit::{Quota, Timestamp, TokenBucket};
///
/// let bucket = TokenBucket::new(Quota::per_second(100).burst(100));
/// let now = Timestamp::ZERO;
/// let reservation = bucket.reserve_at(now, 80, Duration::ZERO).reserved().expect("there are 100");
/// reservation.commit_at(now, 30); // it cost less than was feared
/// assert_eq!(bucket.owed_at(now), 30);
///
/// let waiting = bucket.reserve_at(now, 90, Duration::from_secs(1)).reserved().expect("within a second");
/// assert_eq!(waiting.ready_at().saturating_since(now).as_millis(), 200);
/// drop(waiting);
/// assert_eq!(bucket.owed_at(now), 30);
/// ```
#[derive(Debug)]
#[must_use = "a reservation that is dropped is given back"]
pub struct Reservation<'a> {
    bucket: &'a TokenBucket,
    charge: Charge,
    cost: u64,
    ready_at: Timestamp,
    /// It was made by the process clock, so that clock may be read when it is dropped.
    #[cfg(feature = "std")]
    process_clock: bool,
    settled: bool,
}

impl<'a> Reservation<'a> {
    pub(crate) fn new(bucket: &'a TokenBucket, charge: Charge, cost: u64, ready_at: Timestamp) -> Self {
        Self {
            bucket,
            charge,
            cost,
            ready_at,
            #[cfg(feature = "std")]
            process_clock: false,
            settled: false,
        }
    }

    /// When the tokens may be used.
    #[must_use]
    pub const fn ready_at(&self) -> Timestamp {
        self.ready_at
    }

    /// How long to wait from `now` on; zero when ready.
    #[must_use]
    pub const fn wait_at(&self, now: Timestamp) -> Duration {
        self.ready_at.saturating_since(now)
    }

    /// Tokens taken.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// Uses it at its real cost: what was too much goes back as far as that is safe (see
    /// [`TokenBucket::refund_at`]), what was too little is charged on top.
    pub fn commit_at(mut self, now: Timestamp, actual: u64) {
        self.settled = true;
        if actual > self.cost {
            self.bucket.charge_anyway_at(now, actual - self.cost);
        } else {
            self.give_back(|| Some(now), actual);
        }
    }

    /// Uses it at the cost that was reserved.
    pub fn commit(mut self) {
        self.settled = true;
    }

    /// Gives it back at `now`.
    pub fn cancel_at(mut self, now: Timestamp) {
        self.settled = true;
        self.give_back(|| Some(now), 0);
    }

    /// [`cancel_at`](Self::cancel_at) by a clock; see [`TokenBucket::refund_by`].
    pub fn cancel_by(mut self, clock: impl Fn() -> Timestamp) {
        self.settled = true;
        self.give_back(|| Some(clock()), 0);
    }

    fn give_back(&self, now: impl Fn() -> Option<Timestamp>, used: u64) {
        let time = self.bucket.time();
        let unused = self.charge.units.saturating_sub(time.units(used));
        self.bucket.give_back(|| now().map(|now| time.at(now)), &self.charge, unused);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        #[cfg(feature = "std")]
        self.give_back(|| self.process_clock.then(crate::now), 0);
        #[cfg(not(feature = "std"))]
        self.give_back(|| None, 0);
    }
}
