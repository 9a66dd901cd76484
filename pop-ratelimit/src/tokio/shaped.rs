//! Bandwidth: a connection that reads and writes no faster than its buckets allow.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::{Booking, Timestamp, TokenBucket};

/// Bytes that are reserved at once at most; never more than half of the smallest burst.
pub const SHAPED_CHUNK_MAX: usize = 16 * 1024;
/// A segment's payload: smaller turns than this cost more than they give.
const SHAPED_CHUNK_MIN: usize = 1460;

/// The buckets that a direction must pass, from the widest to the narrowest: all connections, a tenant's, this one's.
/// Tokens are bytes ([`Quota::bits_per_second`](crate::Quota::bits_per_second)). Clones share the buckets.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    levels: Vec<Arc<TokenBucket>>,
}

impl Lane {
    /// A lane through these buckets.
    #[must_use]
    pub fn new(levels: impl IntoIterator<Item = Arc<TokenBucket>>) -> Self {
        Self { levels: levels.into_iter().collect() }
    }

    /// No limit.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// What the widest level lets through in half a millisecond, so that turns are short and timers seldom; no more
    /// than half of the smallest burst, so that the next chunk gathers while one is moved.
    fn chunk(&self) -> usize {
        const TURNS_PER_SECOND: u128 = 2000;
        let Some(widest) = self.levels.first() else { return SHAPED_CHUNK_MAX };
        let quota = widest.quota();
        let per_second = u128::from(quota.tokens()) * 1_000_000_000 / quota.period().as_nanos();
        let turn = usize::try_from(per_second / TURNS_PER_SECOND).unwrap_or(usize::MAX);
        let smallest = self.levels.iter().map(|level| level.quota().burst_size()).min().unwrap_or(u64::MAX);
        let half = usize::try_from(smallest / 2).unwrap_or(usize::MAX);
        turn.clamp(SHAPED_CHUNK_MIN, SHAPED_CHUNK_MAX).min(half.max(1))
    }

    /// Takes `bytes` at every level, and tells how long until all of them are ready.
    fn reserve(&self, now: Timestamp, bytes: u64) -> io::Result<Duration> {
        let mut wait = Duration::ZERO;
        for (index, level) in self.levels.iter().enumerate() {
            match level.reserve_at(now, bytes, Duration::MAX) {
                Booking::Reserved(reservation) => {
                    wait = wait.max(reservation.wait_at(now));
                    reservation.commit();
                }
                Booking::Refused(_) => {
                    self.levels[..index].iter().for_each(|level| level.refund_by(super::now, now, bytes));
                    return Err(io::Error::other("the bandwidth of this direction is zero"));
                }
            }
        }
        Ok(wait)
    }
}

/// One direction of one connection.
#[derive(Debug)]
struct Direction {
    lane: Lane,
    /// Bytes that are taken and not yet moved; usable once `sleep` is over.
    credit: usize,
    taken_at: Timestamp,
    /// Made at the first wait, and used for all that follow.
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Direction {
    const fn new(lane: Lane) -> Self {
        Self { lane, credit: 0, taken_at: Timestamp::ZERO, sleep: None, waiting: false }
    }

    /// How many bytes may be moved now, at most `wanted`; at least one.
    ///
    /// One chunk is outstanding at a time and reservations are served in order, so connections of one bucket take
    /// turns, chunk by chunk: that is the fairness. (A connection whose own burst is smaller than the others' chunks
    /// gets smaller turns.)
    fn poll_credit(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if self.lane.levels.is_empty() {
            return Poll::Ready(Ok(wanted));
        }
        if self.credit == 0 {
            let now = super::now();
            let chunk = self.lane.chunk();
            let wait = self.lane.reserve(now, chunk as u64)?;
            (self.credit, self.taken_at, self.waiting) = (chunk, now, !wait.is_zero());
            if self.waiting {
                let until = tokio::time::Instant::now() + wait;
                match &mut self.sleep {
                    Some(sleep) => sleep.as_mut().reset(until),
                    None => self.sleep = Some(Box::pin(tokio::time::sleep_until(until))),
                }
            }
        }
        if self.waiting {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(context));
            }
            self.waiting = false;
        }
        Poll::Ready(Ok(self.credit.min(wanted)))
    }

    fn spend(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(bytes);
    }
}

impl Drop for Direction {
    /// What was taken and not used goes back, as far as that is safe.
    fn drop(&mut self) {
        if self.credit > 0 && !self.lane.levels.is_empty() {
            for level in &self.lane.levels {
                level.refund_by(super::now, self.taken_at, self.credit as u64);
            }
        }
    }
}

pin_project! {
    /// A connection whose two directions are shaped.
    ///
    /// Bytes are taken from the buckets before they are moved, so the bound of every bucket holds over every interval.
    /// Nothing spins: who has to wait sleeps until its bytes are ready. An idle direction holds at most one chunk.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pop_ratelimit::{Quota, TokenBucket, tokio::{Lane, Shaped}};
    /// # use tokio::io::AsyncWriteExt;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    /// # runtime.block_on(async {
    /// let everybody = Arc::new(TokenBucket::new(Quota::bits_per_second(100_000_000)));
    /// let client = Arc::new(TokenBucket::new(Quota::bits_per_second(8_000_000)));
    /// let mut shaped = Shaped::new(tokio::io::sink(), Lane::open(), Lane::new([everybody, client]));
    /// let start = tokio::time::Instant::now();
    /// shaped.write_all(&[0; 1_000_000]).await?;
    /// let seconds = start.elapsed().as_secs_f64(); // a megabyte at a megabyte a second, less the burst
    /// assert!((0.98..1.0).contains(&seconds));
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug)]
    pub struct Shaped<IO> {
        #[pin]
        io: IO,
        read: Direction,
        write: Direction,
    }
}

impl<IO> Shaped<IO> {
    /// `io`, read through one lane and written through the other.
    pub const fn new(io: IO, read: Lane, write: Lane) -> Self {
        Self { io, read: Direction::new(read), write: Direction::new(write) }
    }

    /// What is shaped.
    pub const fn get_ref(&self) -> &IO {
        &self.io
    }

    /// What is shaped; what is moved around the lanes is not counted.
    pub const fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }
}

impl<IO: AsyncRead> AsyncRead for Shaped<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let allowed = ready!(this.read.poll_credit(context, buffer.remaining()))?;
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(allowed));
        ready!(this.io.poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        this.read.spend(read);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite> AsyncWrite for Shaped<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        if bytes.is_empty() {
            return this.io.poll_write(context, bytes);
        }
        let allowed = ready!(this.write.poll_credit(context, bytes.len()))?;
        let written = ready!(this.io.poll_write(context, &bytes[..allowed]))?;
        this.write.spend(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(context)
    }
}
