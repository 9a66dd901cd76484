//! Purges over all PoPs: a stream that each reads from its own place.
//!
//! ```text
//! to tell:  remember it as our own → purge here → XADD, again and again until it is answered
//! to hear:  loop  MULTI  is the entry that we read last still there?  what comes after it?  EXEC
//!                 gone → what came after it may be gone too: purge everything, go on from the end
//!                 else → purge what others purged, move on, note the place in the store
//! ```
//!
//! The stream is trimmed from its old end only, so the one entry tells for all behind it. A PoP that never read before
//! appends an entry to begin at, and purges everything: it may have missed what was told before.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pop_cache::http::{CacheKey, Purge, PurgeMode};
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;

use super::ledger::{Ledger, Position};
use super::link::{Link, Pauses, Trouble, ask_over};
use super::notice::{News, Notice};

/// The caches of the PoP.
pub(crate) trait Caches: Send + Sync {
    /// How many of them have the second cache below.
    fn shared(&self) -> usize;

    /// Purges in all of them.
    fn purge(&self, what: &Purge, mode: PurgeMode);
}

/// The stream keeps about so many purges: a PoP that was away for more of them purges everything.
pub(super) const STREAM_MAX: usize = 10_000;
/// At most so many entries a time.
const BATCH: usize = 256;
/// How many earlier purges are looked up at the beginning, for the second cache.
const HISTORY: usize = 1000;
/// How long one question waits for news.
const WAIT: Duration = Duration::from_secs(2);
/// How long a PoP may be away and still go on from its place.
const PLACE_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// An entry of a stream: its place, and names and values in turn.
type Entry = (String, Vec<Vec<u8>>);
/// The answer of XREAD for one stream: nothing, or its name and entries.
type Read = Option<Vec<(String, Vec<Entry>)>>;

/// What is told and heard, and the counts of it.
#[derive(Debug)]
pub(super) struct Feed {
    stream: String,
    place_prefix: String,
    /// Tells our own notices from those of others, and those of an earlier run.
    own: u64,
    ledger: Mutex<Ledger>,
    outgoing: Notify,
    delivered: Notify,
    pub(super) sent: AtomicU64,
    pub(super) applied: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) unreadable: AtomicU64,
}

impl Feed {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            stream: format!("{prefix}:purges"),
            place_prefix: format!("{prefix}:place:"),
            own: ahash::RandomState::new().hash_one(std::process::id()),
            ledger: Mutex::default(),
            outgoing: Notify::new(),
            delivered: Notify::new(),
            sent: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Each step leaves it consistent, and none can panic in between.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the stream was read; `None` before the beginning.
    pub(super) fn cursor(&self) -> Option<Position> {
        self.ledger().cursor()
    }

    /// How many of our own purges the others have yet to be told.
    pub(super) fn waiting(&self) -> usize {
        self.ledger().waiting()
    }

    pub(super) fn admits(&self, stamp: Position, key: &CacheKey, tags: &[String]) -> bool {
        self.ledger().admits(stamp, key, tags)
    }

    pub(super) fn bar(&self, what: Purge) {
        self.ledger().bar(what);
    }

    /// Tells the others of a purge, soon. To be called before the purge is made here.
    pub(super) fn announce(&self, what: &Purge, mode: PurgeMode, shared: usize) {
        let mut ledger = self.ledger();
        ledger.announce(what, mode);
        ledger.excuse(what, shared);
        drop(ledger);
        self.outgoing.notify_one();
    }

    /// Waits until everything that was announced stands in the stream.
    pub(super) async fn delivered(&self) {
        loop {
            let mut told = std::pin::pin!(self.delivered.notified());
            told.as_mut().enable();
            if self.waiting() == 0 {
                return;
            }
            told.await;
        }
    }

    /// Tells for as long as it is polled.
    pub(super) async fn tell(&self, link: &Link) {
        let mut pauses = Pauses::default();
        loop {
            let Some(own) = self.ledger().next() else {
                self.delivered.notify_waiters();
                self.outgoing.notified().await;
                continue;
            };
            let notice = Notice { from: self.own, news: News::Purged(own.what, own.mode) };
            let mut command = redis::pipe();
            self.append(&mut command, &notice);
            // An answer that is lost makes it stand there twice, which does nothing.
            match link.ask::<(String,)>(&command).await.map(|(place,)| place.parse()) {
                Ok(Ok(position)) => {
                    self.ledger().told(own.number, position);
                    self.sent.fetch_add(1, Ordering::Relaxed);
                    pauses = Pauses::default();
                }
                Ok(Err(())) => pauses.pause().await,
                Err(why) => {
                    tracing::debug!(target: "pop_edge::fabric", %why, "a purge waits");
                    pauses.pause().await;
                }
            }
        }
    }

    fn append(&self, command: &mut redis::Pipeline, notice: &Notice) {
        let append = command.cmd("XADD").arg(&self.stream).arg("MAXLEN").arg("~").arg(STREAM_MAX);
        append.arg("*").arg("n").arg(notice.encode());
    }

    /// Hears for as long as it is polled.
    pub(super) async fn hear(&self, link: &Link, pop: &str, caches: &dyn Caches) {
        let mut pauses = Pauses::default();
        loop {
            let before = self.cursor();
            let Err(why) = self.listen(link, pop, caches).await;
            tracing::debug!(target: "pop_edge::fabric", %why, "purges of others are not heard");
            if self.cursor() != before {
                pauses = Pauses::default();
            }
            pauses.pause().await;
        }
    }

    /// One connection's worth of news.
    async fn listen(&self, link: &Link, pop: &str, caches: &dyn Caches) -> Result<Infallible, Trouble> {
        let connection = &mut link.open().await?;
        let deadline = link.deadline();
        let place = format!("{}{pop}", self.place_prefix);
        if self.cursor().is_none() {
            self.begin(connection, deadline, &place, caches).await?;
        }
        loop {
            let Some(cursor) = self.cursor() else { return Err(Trouble::Away) };
            let at = cursor.to_string();
            let mut question = redis::pipe();
            question.atomic().cmd("XRANGE").arg(&self.stream).arg(&at).arg(&at);
            question.cmd("XREAD").arg("COUNT").arg(BATCH).arg("STREAMS").arg(&self.stream).arg(&at);
            let (last, news): (Vec<Entry>, Read) = ask_over(connection, deadline, &question).await?;
            let entries = news.into_iter().flatten().flat_map(|(_, entries)| entries).collect::<Vec<_>>();
            if last.is_empty() {
                // What is there is older than the end, where we go on.
                self.begin_anew(connection, deadline, caches).await?;
                self.note_place(connection, deadline, &place).await?;
                continue;
            }
            if entries.is_empty() {
                let mut question = redis::pipe();
                let wait =
                    question.cmd("XREAD").arg("COUNT").arg(1).arg("BLOCK").arg(WAIT.as_millis() as u64);
                wait.arg("STREAMS").arg(&self.stream).arg(&at);
                let (_,): (Read,) = ask_over(connection, WAIT + deadline, &question).await?;
                continue;
            }
            for entry in entries {
                self.take(&entry, caches);
                tokio::task::yield_now().await;
            }
            self.note_place(connection, deadline, &place).await?;
        }
    }

    /// Notes in the store how far we are, so that a new run goes on from there.
    async fn note_place(
        &self,
        connection: &mut MultiplexedConnection,
        deadline: Duration,
        place: &str,
    ) -> Result<(), Trouble> {
        let Some(cursor) = self.cursor() else { return Ok(()) };
        let mut command = redis::pipe();
        command.cmd("SET").arg(place).arg(cursor.to_string()).arg("EX").arg(PLACE_KEPT.as_secs()).ignore();
        ask_over(connection, deadline, &command).await
    }

    /// Finds the place where an earlier run stopped, or begins at the end.
    async fn begin(
        &self,
        connection: &mut MultiplexedConnection,
        deadline: Duration,
        place: &str,
        caches: &dyn Caches,
    ) -> Result<(), Trouble> {
        let mut question = redis::pipe();
        question.cmd("GET").arg(place);
        let (known,): (Option<String>,) = ask_over(connection, deadline, &question).await?;
        match known.and_then(|known| known.parse().ok()) {
            Some(cursor) => self.recall(connection, deadline, cursor).await,
            None => {
                let mut command = redis::pipe();
                self.append(&mut command, &Notice { from: self.own, news: News::Joined });
                let (own,): (String,) = ask_over(connection, deadline, &command).await?;
                let cursor = own.parse().map_err(|()| Trouble::Away)?;
                self.recall(connection, deadline, cursor).await?;
                self.flush(caches);
                self.note_place(connection, deadline, place).await
            }
        }
    }

    /// Reads what was purged up to the cursor, so that older records of the second cache can be judged.
    async fn recall(
        &self,
        connection: &mut MultiplexedConnection,
        deadline: Duration,
        cursor: Position,
    ) -> Result<(), Trouble> {
        let mut question = redis::pipe();
        question
            .cmd("XREVRANGE")
            .arg(&self.stream)
            .arg(cursor.to_string())
            .arg("-")
            .arg("COUNT")
            .arg(HISTORY);
        let (entries,): (Vec<Entry>,) = ask_over(connection, deadline, &question).await?;
        let mut ledger = self.ledger();
        let oldest = entries.last().and_then(|(place, _)| place.parse().ok()).unwrap_or(cursor);
        ledger.begin(cursor, oldest);
        for entry in entries.iter().rev() {
            if let Ok(position) = entry.0.parse() {
                match heard(entry) {
                    Some(Notice { news: News::Purged(what, _), .. }) => ledger.learn(position, what),
                    Some(Notice { news: News::Joined, .. }) => {}
                    None => ledger.learn(position, Purge::All),
                }
            }
        }
        Ok(())
    }

    /// The place is gone: what happened is not known. Everything is purged, and we go on from the end as it was before.
    async fn begin_anew(
        &self,
        connection: &mut MultiplexedConnection,
        deadline: Duration,
        caches: &dyn Caches,
    ) -> Result<(), Trouble> {
        let mut command = redis::pipe();
        self.append(&mut command, &Notice { from: self.own, news: News::Joined });
        let (end,): (String,) = ask_over(connection, deadline, &command).await?;
        let end = end.parse().map_err(|()| Trouble::Away)?;
        tracing::warn!(target: "pop_edge::fabric", "the place in the stream is gone: everything is purged");
        // A store that began anew counts from a time of its own, so the old place may lie behind the new one.
        let mut ledger = self.ledger();
        *ledger = std::mem::take(&mut *ledger).anew(end);
        drop(ledger);
        self.flush(caches);
        Ok(())
    }

    fn flush(&self, caches: &dyn Caches) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.ledger().excuse(&Purge::All, caches.shared());
        caches.purge(&Purge::All, PurgeMode::Remove);
    }

    /// Takes in one entry.
    fn take(&self, entry: &Entry, caches: &dyn Caches) {
        let Ok(position) = entry.0.parse::<Position>() else { return };
        match heard(entry) {
            // Our own was purged when it was announced.
            Some(notice) if notice.from == self.own => {}
            Some(Notice { news: News::Purged(what, mode), .. }) => {
                // Known first: what is read from the store meanwhile is judged by it.
                let mut ledger = self.ledger();
                ledger.learn(position, what.clone());
                ledger.excuse(&what, caches.shared());
                drop(ledger);
                caches.purge(&what, mode);
                self.applied.fetch_add(1, Ordering::Relaxed);
            }
            Some(Notice { news: News::Joined, .. }) => {}
            None => {
                self.unreadable.fetch_add(1, Ordering::Relaxed);
                self.ledger().learn(position, Purge::All);
                self.flush(caches);
            }
        }
        self.ledger().advance(position);
    }
}

/// The notice in an entry; `None` if there is none that can be read.
fn heard((_, fields): &Entry) -> Option<Notice> {
    let value = fields.chunks_exact(2).find(|pair| pair[0] == b"n").map(|pair| &pair[1])?;
    Notice::decode(value)
}
