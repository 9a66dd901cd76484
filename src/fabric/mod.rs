//! Several PoPs as one, over a Redis or Valkey server.
//!
//! ```text
//! purge     a stream, which each PoP reads from its own place: who was away catches up, and who was away for too long
//!           purges everything
//! cache     a second one below the memory of each PoP, which all share; what is older than a purge is not taken from it
//! limits    one quota over all PoPs: each has a share at home and leases tokens of the rest
//! ```
//!
//! The fabric is never on the path of a hit, and no request waits for a connection to it. Without the store every PoP
//! goes on alone: purges wait until it is back, the second cache
//! is empty, limits have their home share. What that means is counted.

mod builder;
mod feed;
mod ledger;
mod limit;
mod link;
mod notice;
mod shares;
mod stats;
mod tier;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pop_cache::http::{Purge, PurgeMode};
use tokio::sync::mpsc;

pub use builder::{FabricBuilder, FabricError};
pub use limit::SharedLimit;
pub use stats::FabricStats;
pub use tier::SharedTier;

pub(crate) use feed::Caches;
use feed::Feed;
use link::Link;

/// What a PoP shares with others. A clone is another handle on the same fabric.
///
/// ```no_run
/// # #[cfg(all(feature = "serve", feature = "cache"))]
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use pop_edge::{Fabric, Origin, Pop};
///
/// let fabric = Fabric::connect("redis://127.0.0.1:6379/").prefix("example").build()?;
/// let pop = Pop::cdn("fra1")
///     .http("127.0.0.1:8080".parse()?)
///     .host("www.example.org", Origin::http("127.0.0.1:8000"))
///     .fabric(fabric.clone())
///     .build()?;
/// pop.run().await?; // a purge by `pop.handle()` now reaches every PoP with this prefix
/// # let _ = fabric.stats();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Fabric {
    inner: Arc<Inner>,
}

struct Inner {
    prefix: String,
    link: Link,
    feed: Feed,
    tally: tier::Tally,
    value_max: usize,
    limits: limit::LimitTally,
    /// Leases that run low, and who is asked for them.
    asks: mpsc::Sender<Arc<limit::Lease>>,
    asked: tokio::sync::Mutex<mpsc::Receiver<Arc<limit::Lease>>>,
    pops_max: u32,
    home_percent: u32,
    /// One PoP uses it at a time.
    is_running: AtomicBool,
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fabric").field("link", &self.inner.link).finish_non_exhaustive()
    }
}

impl Fabric {
    /// A fabric over the store at `redis://[user:password@]host[:port][/database]` or `unix:///path`. Nothing is opened
    /// before a PoP with it runs, and a store that is away stops no PoP from running.
    pub fn connect(url: impl Into<String>) -> FabricBuilder {
        FabricBuilder::new(url.into())
    }

    fn new(client: redis::Client, spec: FabricBuilder) -> Self {
        let (asks, asked) = mpsc::channel(limit::ASKS_MAX);
        let inner = Inner {
            feed: Feed::new(&spec.prefix),
            link: Link::new(client, spec.deadline),
            prefix: spec.prefix,
            tally: tier::Tally::default(),
            value_max: spec.value_max,
            limits: limit::LimitTally::default(),
            asks,
            asked: tokio::sync::Mutex::new(asked),
            pops_max: spec.pops_max,
            home_percent: spec.home_percent,
            is_running: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A limit over all PoPs, to be given to [`PopBuilder::gate`](crate::PopBuilder::gate). All of them must call it by the
    /// same name and give it the same quota. Its burst must be at least two tokens for each PoP.
    ///
    /// # Errors
    /// [`FabricError`] where the quota cannot be divided among so many PoPs, or the name has other characters than letters,
    /// digits, hyphens, dots and underscores.
    pub fn limit(&self, name: &str, quota: pop_ratelimit::Quota) -> Result<SharedLimit, FabricError> {
        SharedLimit::new(self.clone(), name, quota, self.inner.pops_max, self.inner.home_percent)
    }

    /// The second cache, if there is one. The caches of a PoP have it already.
    #[must_use]
    pub fn tier(&self) -> Option<SharedTier> {
        (self.inner.value_max > 0).then(|| SharedTier::new(self.clone(), self.inner.value_max))
    }

    /// Counts since it was made.
    #[must_use]
    pub fn stats(&self) -> FabricStats {
        FabricStats::of(&self.inner)
    }

    /// Waits until every purge that was made here stands in the stream, from where all PoPs get it: at once where the
    /// store is at hand, else when it is back.
    pub async fn delivered(&self) {
        self.inner.feed.delivered().await;
    }

    /// Tells the others of a purge; to be called before it is made in `caches` here.
    pub(crate) fn announce(&self, what: &Purge, mode: PurgeMode, caches: &dyn Caches) {
        self.inner.feed.announce(what, mode, caches.shared());
    }

    /// Holds the fabric together for as long as it is polled. Ends at once where it is being polled already.
    pub(crate) async fn run(&self, pop: &str, caches: &dyn Caches) {
        let inner = &*self.inner;
        // Pairs with nothing: it only keeps a second one out.
        if inner.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let _ended = Ended(&inner.is_running);
        let mut asked = inner.asked.lock().await;
        tokio::join!(
            inner.link.keep(),
            inner.feed.tell(&inner.link),
            inner.feed.hear(&inner.link, pop, caches),
            limit::lease(&inner.link, &mut asked, &inner.limits),
        );
    }
}

struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn errors_name_the_setting_and_no_secret() {
        let error = |builder: FabricBuilder| builder.build().expect_err("it is wrong").to_string();
        let wrong = error(Fabric::connect("http://user:hunter2@store/"));
        assert!(wrong.starts_with("fabric: url: expected redis://") && !wrong.contains("hunter2"), "{wrong}");
        assert!(error(Fabric::connect("redis://store/").prefix("a b")).starts_with("fabric: prefix: "));
        let error = error(Fabric::connect("redis://store/").deadline(Duration::ZERO));
        assert!(error.starts_with("fabric: deadline: "));
        let builder = Fabric::connect("redis://user:hunter2@store:7000/");
        assert!(!format!("{builder:?}").contains("hunter2"));
        let fabric = builder.build().expect("a fabric");
        let shown = format!("{fabric:?}");
        assert!(
            shown.contains("store:7000") && !shown.contains("hunter2") && !shown.contains("user"),
            "{shown}"
        );
    }

    #[test]
    fn handles_go_anywhere() {
        fn check<T: Send + Sync + Clone + 'static>() {}
        check::<Fabric>();
        check::<FabricBuilder>();
        check::<FabricStats>();
    }
}
