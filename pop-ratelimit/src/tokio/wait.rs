//! Waiting until the tokens are there, first come, first served.
//!
//! There is no queue: each waiter takes its tokens at once ([`TokenBucket::reserve_at`]), which fixes the moment at
//! which they are ready, and sleeps until then. So nobody is woken but those whose turn it is, and giving up gives
//! the tokens back.

use core::fmt;
use core::time::Duration;

use crate::{Decision, Reservation, TokenBucket};

/// How long, and behind how much, a caller is ready to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    wait: Duration,
    queue: u64,
}

impl Patience {
    /// At most `wait`.
    #[must_use]
    pub const fn new(wait: Duration) -> Self {
        Self { wait, queue: u64::MAX }
    }

    /// And with at most `tokens` tokens owed to waiters, this one included: a bound on the queue for all of them.
    #[must_use]
    pub const fn queue(self, tokens: u64) -> Self {
        Self { queue: tokens, ..self }
    }
}

/// The tokens will not be there soon enough; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitError {
    decision: Decision,
}

impl WaitError {
    /// What a check would have said.
    pub const fn decision(&self) -> Decision {
        self.decision
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decision {
            Decision::Limited { retry_after } => write!(f, "the wait of {retry_after:?} is too long"),
            _ => write!(f, "the cost can never be met"),
        }
    }
}

impl core::error::Error for WaitError {}

/// A reservation that goes back when the waiter goes away.
struct Waiting<'a>(Option<Reservation<'a>>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(reservation) = self.0.take() {
            reservation.cancel_by(super::now);
        }
    }
}

impl TokenBucket {
    /// Takes `cost` tokens, and returns when they may be used. Dropping the future before that gives them back.
    ///
    /// Goes by tokio's clock, which starts with the process clock: a bucket may be waited for here and checked there.
    /// Tokio's timer counts milliseconds and rounds up, so the return is never early.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use pop_ratelimit::{Quota, TokenBucket, tokio::Patience};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    /// # runtime.block_on(async {
    /// let bucket = TokenBucket::new(Quota::per_second(10).burst(1));
    /// let start = tokio::time::Instant::now();
    /// for _ in 0..5 {
    ///     bucket.until_ready(1, Patience::new(Duration::from_secs(1))).await?;
    /// }
    /// assert!((400..=405).contains(&start.elapsed().as_millis()));
    /// # Ok::<(), pop_ratelimit::tokio::WaitError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WaitError`] at once, without waiting, if it would take longer than `patience` allows.
    pub async fn until_ready(&self, cost: u64, patience: Patience) -> Result<(), WaitError> {
        let now = super::now();
        let booking = self.reserve_within(now, cost, patience.wait, patience.queue);
        let mut waiting = match booking {
            crate::Booking::Reserved(reservation) => Waiting(Some(reservation)),
            crate::Booking::Refused(decision) => return Err(WaitError { decision }),
        };
        let wait = waiting.0.as_ref().map_or(Duration::ZERO, |reservation| reservation.wait_at(now));
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if let Some(reservation) = waiting.0.take() {
            reservation.commit();
        }
        Ok(())
    }
}
