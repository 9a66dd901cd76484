//! The connection to the shared store. All share one; who finds it lost says so and goes on without, and one task makes
//! it anew. Nobody waits for a connection: while there is none, every question fails at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, Pipeline, RedisError};
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long connecting may take, greeting and password included.
const CONNECT: Duration = Duration::from_secs(2);
/// Pauses between attempts double from one to the other; a random half of each is left out, so that PoPs which lost
/// the store together do not come back together.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// After so many answers in a row that came too late, the connection counts as lost: a store that hangs is away.
const LATE_MAX: u32 = 3;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no connection now.
    Away,
    /// None came in time.
    Late,
    /// The connection broke, or could not be made.
    Broken(RedisError),
    /// The store said no.
    Refused(RedisError),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("no connection"),
            Self::Late => f.write_str("no answer in time"),
            Self::Broken(error) => write!(f, "connection: {error}"),
            Self::Refused(error) => write!(f, "refused: {error}"),
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        if error.is_unrecoverable_error() { Self::Broken(error) } else { Self::Refused(error) }
    }
}

/// The connection that everybody shares, or its absence.
pub(super) struct Link {
    client: redis::Client,
    deadline: Duration,
    connection: ArcSwapOption<MultiplexedConnection>,
    /// Answers in a row that came too late. Only a count.
    late: AtomicU32,
    /// Wakes whoever makes connections; each loss gives one permit.
    lost: Notify,
    losses: AtomicU64,
    failures: AtomicU64,
}

/// Host and port, never user and password.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("store", &self.place())
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(client: redis::Client, deadline: Duration) -> Self {
        Self {
            client,
            deadline,
            connection: ArcSwapOption::empty(),
            late: AtomicU32::new(0),
            lost: Notify::new(),
            losses: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.load().is_some()
    }

    /// How often the connection was lost, and how many questions failed for other reasons than that.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.losses.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// Where the store is, as logs may tell it.
    pub(super) fn place(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Asks, within the deadline, over the shared connection.
    pub(super) async fn ask<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, Trouble> {
        let Some(connection) = self.connection.load_full() else { return Err(Trouble::Away) };
        let mut own = MultiplexedConnection::clone(&connection);
        let answer = timeout(self.deadline, pipeline.query_async(&mut own)).await;
        let trouble = match answer {
            Ok(Ok(answer)) => {
                self.late.store(0, Ordering::Relaxed);
                return Ok(answer);
            }
            Ok(Err(error)) => Trouble::from(error),
            Err(_) => Trouble::Late,
        };
        self.failures.fetch_add(1, Ordering::Relaxed);
        let is_lost = match &trouble {
            Trouble::Late => self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_MAX,
            Trouble::Broken(_) => true,
            Trouble::Away | Trouble::Refused(_) => false,
        };
        if is_lost {
            self.lose(&connection, &trouble);
        }
        Err(trouble)
    }

    /// Gives up a connection, unless another has done so.
    fn lose(&self, connection: &Arc<MultiplexedConnection>, why: &Trouble) {
        let known = Some(Arc::clone(connection));
        let before = self.connection.compare_and_swap(&known, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, connection)) {
            self.losses.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(target: "pop_edge::fabric", store = %self.place(), %why, "lost; going on alone");
            self.lost.notify_one();
        }
    }

    /// Keeps a connection for as long as it is polled.
    pub(super) async fn keep(&self) {
        let _forget = Forget(&self.connection);
        let mut pauses = Pauses::default();
        loop {
            match self.open().await {
                Ok(connection) => {
                    self.late.store(0, Ordering::Relaxed);
                    self.connection.store(Some(Arc::new(connection)));
                    tracing::info!(target: "pop_edge::fabric", store = %self.place(), "connected");
                    pauses = Pauses::default();
                    self.lost.notified().await;
                }
                Err(why) => {
                    tracing::debug!(target: "pop_edge::fabric", store = %self.place(), %why, "not connected");
                }
            }
            pauses.pause().await;
        }
    }

    /// A connection of one's own, for questions that wait.
    pub(super) async fn open(&self) -> Result<MultiplexedConnection, Trouble> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        match timeout(CONNECT, connecting).await {
            Ok(connection) => Ok(connection?),
            Err(_) => Err(Trouble::Late),
        }
    }
}

/// Asks over a connection of one's own, within a deadline.
pub(super) async fn ask_over<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    deadline: Duration,
    pipeline: &Pipeline,
) -> Result<T, Trouble> {
    match timeout(deadline, pipeline.query_async(connection)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::Late),
    }
}

/// Without its keeper a connection would never be made anew: it goes with it.
struct Forget<'a>(&'a ArcSwapOption<MultiplexedConnection>);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.store(None);
    }
}

/// Pauses between attempts.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Pauses {
    /// Waits, longer each time.
    pub(super) async fn pause(&mut self) {
        let random = ahash::RandomState::new().hash_one(());
        let part = u32::try_from(random % 1024).unwrap_or(0);
        tokio::time::sleep(self.0 / 2 + self.0 / 2 * part / 1024).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}
