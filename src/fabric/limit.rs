//! A limit over several PoPs: each has a share of its own, and leases tokens of the rest.
//!
//! ```text
//! a check:  the home share has a token → passes, no store needed
//!           the lease has one → passes, without a round trip
//!           else limited
//!           and where either runs low, the key is put down for the next lease
//! a lease:  keys that are put down, many in one round trip; a script in the store grants what the pool has
//! ```
//!
//! What is leased and not used stays in its cell, which the division of the quota allows for (see
//! [`shares`](super::shares)); what is lost, with a cell that was evicted or an answer that came too late, is forfeited.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pop_cache::Cache;
use pop_ratelimit::{Decision, KeyedLimiter, Quota, Timestamp};
use tokio::sync::mpsc;

use super::link::Link;
use super::shares::Shares;
use super::{Fabric, FabricError};
use crate::exchange::{Denial, Gate, RequestHead, Verdict};

const SCRIPT: &str = include_str!("lease.lua");
/// Keys with leases at a time; the tokens of those that go are forfeited.
const KEYS_MAX: u64 = 1 << 16;
/// Memory of the home shares: fixed, whatever keys there are.
const HOME_BYTES: usize = 4 << 20;
/// The longest key; longer ones share what its beginning has.
const KEY_MAX: usize = 256;
/// Keys that wait for a lease.
pub(super) const ASKS_MAX: usize = 1024;
/// Leases in one round trip.
const ASKS_AT_ONCE: usize = 64;
/// After a question that failed.
const AGAIN: Duration = Duration::from_millis(200);

/// Counts of all limits of a fabric.
#[derive(Debug, Default)]
pub(super) struct LimitTally {
    pub(super) leased: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) alone: AtomicU64,
    pub(super) limited: AtomicU64,
}

/// Tokens of one key that are leased and not used yet.
#[derive(Debug)]
pub(super) struct Lease {
    name: String,
    shares: Shares,
    /// Tokens: a number on its own, nothing is published through it.
    left: AtomicU64,
    /// Whoever sets it asks; whoever was asked clears it.
    is_asked: AtomicBool,
    /// When asking again may help, in nanoseconds.
    again: AtomicU64,
}

impl Lease {
    /// Takes a token, and says how many are left.
    fn take(&self) -> Option<u64> {
        let take = |left: u64| left.checked_sub(1);
        // Who loses the swap tries again: somebody else took a token.
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok().map(|left| left - 1)
    }

    fn wants(&self) -> u64 {
        self.shares.batch.saturating_sub(self.left.load(Ordering::Relaxed))
    }

    /// Ends a question. No other is under way meanwhile, so the cell never holds more than a batch.
    fn answered(&self, granted: u64, again: Timestamp) {
        let before = self.left.fetch_add(granted, Ordering::Relaxed);
        debug_assert!(before + granted <= self.shares.batch, "no more than was wanted");
        self.again.store(again.as_nanos(), Ordering::Relaxed);
        // Pairs with the swap in `replenish`: who asks next sees what this one brought.
        self.is_asked.store(false, Ordering::Release);
    }
}

#[derive(Clone)]
enum By {
    Host,
    Client,
    Own(Arc<Key>),
}

/// Finds the key of a request, if it has one.
type Key = dyn Fn(&RequestHead<'_>) -> Option<String> + Send + Sync;

/// One limit over all PoPs of a fabric. A [`Gate`]: by host, unless it is told otherwise. A clone is another handle on the
/// same limit.
///
/// What all PoPs together let pass of a key, in any span of time, is at most the burst and the rate times the span, with
/// the store and without, as long as there are no more PoPs than the fabric was told, and the store forgets nothing.
#[derive(Clone)]
pub struct SharedLimit {
    shared: Arc<Shared>,
    by: By,
}

struct Shared {
    fabric: Fabric,
    prefix: String,
    shares: Shares,
    home: KeyedLimiter<str>,
    leases: Cache<Box<str>, Arc<Lease>>,
}

impl fmt::Debug for SharedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLimit")
            .field("prefix", &self.shared.prefix)
            .field("shares", &self.shared.shares)
            .finish_non_exhaustive()
    }
}

impl SharedLimit {
    pub(super) fn new(
        fabric: Fabric,
        name: &str,
        quota: Quota,
        pops: u32,
        home_percent: u32,
    ) -> Result<Self, FabricError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            let expected = "a name of 1 to 64 letters, digits, hyphens, dots and underscores";
            return Err(FabricError { field: "limit", expected });
        }
        let shares = Shares::of(quota, pops, home_percent)?;
        let Shares { count, per, capacity, .. } = shares;
        // PoPs that divide otherwise do not share a bucket.
        let prefix = format!("{}:limit:{name}:{count}/{per}/{capacity}:", fabric.inner.prefix);
        let home = KeyedLimiter::new(shares.home, HOME_BYTES);
        let leases = Cache::builder(KEYS_MAX).build();
        Ok(Self { shared: Arc::new(Shared { fabric, prefix, shares, home, leases }), by: By::Host })
    }

    /// One bucket for each client: an IPv4 address or an IPv6 /64.
    #[must_use]
    pub fn by_client(mut self) -> Self {
        self.by = By::Client;
        self
    }

    /// One bucket for each key that `key` finds in a request; where it finds none, the request passes.
    #[must_use]
    pub fn by(mut self, key: impl Fn(&RequestHead<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        self.by = By::Own(Arc::new(key));
        self
    }

    /// Takes a token of a key, or says when one may be there. Lock-free, and without waiting for the store.
    pub fn check(&self, key: &str) -> Decision {
        self.check_at(key, pop_ratelimit::now())
    }

    fn check_at(&self, key: &str, now: Timestamp) -> Decision {
        let (shared, key) = (&*self.shared, within(key));
        let tally = &shared.fabric.inner.limits;
        if !shared.fabric.inner.link.is_connected() {
            tally.alone.fetch_add(1, Ordering::Relaxed);
        }
        let home = shared.home.check_at(key, now, 1);
        if let Decision::Allowed { remaining } = home {
            if remaining <= shared.shares.home.burst_size() / 2 {
                shared.replenish(&shared.lease(key), now);
            }
            return home;
        }
        let lease = shared.lease(key);
        let taken = lease.take();
        shared.replenish(&lease, now);
        if let Some(remaining) = taken {
            return Decision::Allowed { remaining };
        }
        tally.limited.fetch_add(1, Ordering::Relaxed);
        let again = lease.again.load(Ordering::Relaxed).saturating_sub(now.as_nanos());
        let pool = Duration::from_nanos(again).max(shared.shares.token_every());
        Decision::Limited { retry_after: home.retry_after().map_or(pool, |home| home.min(pool)) }
    }
}

impl Shared {
    fn lease(&self, key: &str) -> Arc<Lease> {
        if let Some(lease) = self.leases.get(key) {
            return lease;
        }
        let lease = Arc::new(Lease {
            name: format!("{}{key}", self.prefix),
            shares: self.shares,
            left: AtomicU64::new(0),
            is_asked: AtomicBool::new(false),
            again: AtomicU64::new(0),
        });
        // A table that is full may refuse it: then it lives for this check, and what it is granted is forfeited.
        let _refused = self.leases.insert(key.into(), Arc::clone(&lease));
        lease
    }

    /// Puts a lease down that runs low, unless that is done already or cannot help yet.
    fn replenish(&self, lease: &Arc<Lease>, now: Timestamp) {
        let is_low = lease.wants() * 2 >= self.shares.batch;
        if !is_low || lease.again.load(Ordering::Relaxed) > now.as_nanos() {
            return;
        }
        // Acquire: pairs with the release in `answered`.
        if !lease.is_asked.swap(true, Ordering::Acquire)
            && self.fabric.inner.asks.try_send(Arc::clone(lease)).is_err()
        {
            self.fabric.inner.limits.failed.fetch_add(1, Ordering::Relaxed);
            lease.answered(0, now.saturating_add(AGAIN));
        }
    }
}

/// The beginning of a key that is too long.
fn within(key: &str) -> &str {
    &key[..key.floor_char_boundary(KEY_MAX)]
}

impl Gate for SharedLimit {
    fn request(&self, head: &RequestHead<'_>) -> Verdict {
        let decision = match &self.by {
            By::Host => self.check(head.host),
            By::Client => {
                let client = match head.client.to_canonical() {
                    std::net::IpAddr::V6(address) => (address.to_bits() >> 64 << 64).to_string(),
                    address => address.to_string(),
                };
                self.check(&client)
            }
            By::Own(key) => match key(head) {
                Some(key) => self.check(&key),
                None => return Verdict::Pass,
            },
        };
        match decision {
            Decision::Allowed { .. } => Verdict::Pass,
            other => Verdict::Deny(Denial::limited(other.retry_after())),
        }
    }
}

/// Leases for as long as it is polled.
pub(super) async fn lease(link: &Link, asks: &mut mpsc::Receiver<Arc<Lease>>, tally: &LimitTally) {
    let mut asked = Vec::with_capacity(ASKS_AT_ONCE);
    while asks.recv_many(&mut asked, ASKS_AT_ONCE).await > 0 {
        let mut question = redis::pipe();
        for lease in &asked {
            let Shares { count, per, capacity, .. } = lease.shares;
            let script = question.cmd("EVAL").arg(SCRIPT).arg(1).arg(&lease.name);
            script.arg(count).arg(per).arg(per * capacity).arg(lease.wants());
        }
        let grants: Option<Vec<(u64, u64)>> = link.ask(&question).await.ok();
        let now = pop_ratelimit::now();
        let grants = grants.filter(|grants| grants.len() == asked.len());
        if grants.is_none() {
            tally.failed.fetch_add(asked.len() as u64, Ordering::Relaxed);
        }
        for (index, lease) in asked.drain(..).enumerate() {
            match grants.as_ref().map(|grants| grants[index]) {
                Some((granted, wait)) => {
                    // What a store grants beyond what was wanted is not taken.
                    let granted = granted.min(lease.wants());
                    tally.leased.fetch_add(granted, Ordering::Relaxed);
                    lease.answered(granted, now.saturating_add(Duration::from_micros(wait)));
                }
                None => lease.answered(0, now.saturating_add(AGAIN)),
            }
        }
    }
}
