//! Forwarding with a cache: what an ISP's resolver does for its subscribers.
//!
//! The decisions are pure (`core`): octets and a time in, an answer or a question for an upstream out. Around them is
//! a thin shell: one flight for all who ask the same, several upstreams, and the patience of those who wait.

mod builder;
mod cache;
mod core;
mod entry;
mod failures;
mod flight;
#[cfg(fuzzing)]
mod fuzz;
mod key;
mod lists;
mod policy_zone;
mod reply;
mod scopes;
mod shard;
mod sift;
mod special;
mod stats;
mod subscribers;
mod upstream;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

pub use self::builder::{ForwarderBuilder, ForwarderError, UPSTREAMS_MAX};
pub use self::core::Strangers;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use self::fuzz::fuzz_answer;
pub use self::lists::{Action, Lists, Reach};
pub use self::stats::{ForwarderStats, UpstreamStats};

use self::core::{Core, Decision, Fetch};
use self::entry::Entry;
use self::flight::{Boarded, Flights, Landing, Takeoff};
use self::sift::Useless;
use self::stats::count;
use self::subscribers::{Pending, Place};
use self::upstream::Upstreams;
use crate::client::{Client, Endpoint, Race, Suspicion};
use crate::server::{Handled, Handler};
use crate::{NameBuf, Outcome, Rcode, Timestamp, Transport};

/// Queries to upstreams for one of ours: one, and two more if it fails or is slow.
pub const UPSTREAM_QUERIES_MAX: usize = 3;
/// How long one of our queries may take.
const DEADLINE: Duration = Duration::from_secs(4);
/// How long a client waits if something stale is at hand (RFC 8767 §5: 1.8 s).
const STALE_PATIENCE: Duration = Duration::from_millis(1800);
/// Tenths of a query that each query earns towards asking a second upstream early: hedging adds 10 % at most.
const HEDGE_EARNED: u32 = 1;
const HEDGE_COST: u32 = 10;
/// The most that is saved up.
const HEDGE_SAVED_MAX: u32 = 100 * HEDGE_COST;

/// A caching forwarder: a [`Handler`] for a [`Server`](crate::server::Server). Cheap to clone; all clones are one.
///
/// ```no_run
/// use std::{net::SocketAddr, sync::Arc};
/// use pop_dns::{forward::Forwarder, server::{Counters, Server}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let forwarder = Forwarder::builder()
///     .upstream("192.0.2.53:53".parse::<SocketAddr>()?)
///     .allow(("198.51.100.0".parse()?, 24))
///     .build()?;
/// let server = Server::bind("198.51.100.53:53".parse()?).await?;
/// server.run(forwarder.clone(), Arc::new(Counters::default()), async { /* until */ }).await;
/// println!("{:?}", forwarder.stats());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Forwarder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Core,
    client: Client,
    endpoints: Box<[Endpoint]>,
    upstreams: Mutex<Upstreams>,
    flights: Arc<Flights>,
    pending: Arc<Pending>,
    hedges: AtomicU32,
    random: crate::random::Random,
    runtime: Handle,
    started: Instant,
}

impl Forwarder {
    /// A forwarder's settings.
    #[must_use]
    pub fn builder() -> ForwarderBuilder {
        ForwarderBuilder::new()
    }

    /// What it has done, and what it holds.
    #[must_use]
    pub fn stats(&self) -> ForwarderStats {
        let holding = self.0.core.cache.holding();
        ForwarderStats {
            cached_entries: holding.entries as u64,
            cached_octets: holding.octets as u64,
            evictions: holding.evictions,
            in_flight: self.0.flights.count() as u64,
            ..self.0.core.counters.read()
        }
    }

    /// What is known of the upstreams, in the order they were given.
    #[must_use]
    pub fn upstreams(&self) -> Vec<UpstreamStats> {
        let (now, upstreams) = (self.0.now(), self.0.upstreams());
        let stats = |(index, endpoint): (usize, &Endpoint)| UpstreamStats {
            endpoint: endpoint.clone(),
            round_trip: upstreams.round_trip(index),
            resting: upstreams.rests(index, now),
        };
        self.0.endpoints.iter().enumerate().map(stats).collect()
    }

    /// Replaces the lists for every query from now on.
    pub fn set_lists(&self, lists: Lists) {
        self.0.core.lists.store(Arc::new(lists));
    }

    /// Forgets the cached answers for `name`, or for what is below it, and all failures; returns how many answers.
    pub fn flush(&self, name: &NameBuf, reach: Reach) -> usize {
        self.0.core.failures.clear();
        let lower = name.to_lower();
        let (zone, octets) = (lower.as_wire(), lower.as_wire().len());
        self.0.core.cache.forget(|key| {
            // A key begins with a name.
            let mut at = 0;
            while key[at..].first().is_some_and(|&length| length > 0) && key[at..].get(..octets) != Some(zone)
            {
                at += usize::from(key[at]) + 1;
            }
            let within = key[at..].get(..octets) == Some(zone);
            within && (at == 0 || reach != Reach::Name) && (at > 0 || reach != Reach::Below)
        })
    }
}

impl Handler for Forwarder {
    fn handle(
        &self,
        query: &[u8],
        client: IpAddr,
        // A forwarder may serve several sockets, and has one clock for all.
        _: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Handled {
        let inner = &self.0;
        match inner.core.decide(query, client, inner.now(), transport, answer) {
            Decision::Done(outcome) => Handled::Done(outcome),
            Decision::Renew(outcome, fetch) => {
                inner.renew(fetch);
                Handled::Done(outcome)
            }
            Decision::Ask(fetch, stale) => {
                let Some(place) = inner.pending.place(client) else {
                    count(&inner.core.counters.overdue);
                    return Handled::Done(Outcome::Silent);
                };
                let Some(landing) = inner.board(fetch) else {
                    count(&inner.core.counters.overdue);
                    return Handled::Done(Outcome::Silent);
                };
                let waiting = Waiting { query: query.into(), transport, stale, landing, _place: place };
                Handled::Later(Box::pin(waiting.answer(Arc::clone(inner))))
            }
        }
    }
}

/// A query that waits for its flight to land.
struct Waiting {
    query: Box<[u8]>,
    transport: Transport,
    stale: Option<Arc<Entry>>,
    landing: watch::Receiver<Landing>,
    _place: Place,
}

impl Waiting {
    async fn answer(mut self, inner: Arc<Inner>) -> Option<Vec<u8>> {
        // A flight ends by itself; its deadline is not ours to enforce, but for the time a stale answer may wait.
        let patience = if self.stale.is_some() { STALE_PATIENCE } else { 2 * DEADLINE };
        let landed = match timeout(patience, self.landing.wait_for(Option::is_some)).await {
            Ok(Ok(landing)) => landing.clone().flatten(),
            _ => None,
        };
        let mut answer = Vec::new();
        let (stale, now) = (self.stale.as_deref(), inner.now());
        match inner.core.answer_waiting(&self.query, landed, stale, now, self.transport, &mut answer) {
            Outcome::Answered(_) => Some(answer),
            Outcome::Silent => None,
        }
    }
}

impl Inner {
    fn new(
        core: Core,
        client: Client,
        endpoints: Vec<Endpoint>,
        waiting_per_network: u32,
        runtime: Handle,
    ) -> Self {
        Self {
            core,
            client,
            upstreams: Mutex::new(Upstreams::new(endpoints.len())),
            endpoints: endpoints.into(),
            flights: Flights::new(),
            pending: Pending::new(waiting_per_network),
            hedges: AtomicU32::new(HEDGE_SAVED_MAX),
            random: crate::random::Random::new(),
            runtime,
            started: Instant::now(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO.saturating_add(self.started.elapsed())
    }

    fn upstreams(&self) -> MutexGuard<'_, Upstreams> {
        self.upstreams.lock().expect("no holder of this lock panics")
    }

    /// Joins the flight for `fetch` or begins one; `None` if too many are on their way.
    fn board(self: &Arc<Self>, fetch: Fetch) -> Option<watch::Receiver<Landing>> {
        match self.flights.board(&fetch.key) {
            Boarded::Joined(landing) => {
                count(&self.core.counters.coalesced);
                Some(landing)
            }
            Boarded::First(takeoff, landing) => {
                self.runtime.spawn(Arc::clone(self).fly(fetch, takeoff));
                Some(landing)
            }
            Boarded::Full => None,
        }
    }

    /// Fetches again what is about to expire, unless somebody does already.
    fn renew(self: &Arc<Self>, fetch: Fetch) {
        if let Boarded::First(takeoff, _) = self.flights.board(&fetch.key) {
            count(&self.core.counters.prefetches);
            self.runtime.spawn(Arc::clone(self).fly(fetch, takeoff));
        }
    }

    async fn fly(self: Arc<Self>, fetch: Fetch, takeoff: Takeoff) {
        let entry = self.ask_upstreams(&fetch).await;
        takeoff.land(self.core.land(&fetch, entry, self.now()));
    }

    /// Asks one upstream after the other, at most [`UPSTREAM_QUERIES_MAX`] times; the first answer of use counts.
    async fn ask_upstreams(&self, fetch: &Fetch) -> Option<Entry> {
        let deadline = Instant::now() + DEADLINE;
        let suspicions: Vec<Suspicion> = self.endpoints.iter().map(|_| Suspicion::default()).collect();
        let mut race = Race::new();
        let mut tried = 0_u64;
        // Upstreams that were asked and have not answered, a bit each.
        let mut silent = 0_u64;
        let mut found = None;
        self.earn_hedge();
        for left in (0..UPSTREAM_QUERIES_MAX).rev() {
            let (index, patience) = {
                let upstreams = self.upstreams();
                let index = upstreams.choose(tried, self.now(), self.random.next());
                (index, upstreams.patience(index))
            };
            tried |= 1 << index;
            silent |= 1 << index;
            race.push(self.attempt(index, fetch, &suspicions[index]));
            let started = Instant::now();
            let mut done = None;
            if left > 0 && self.endpoints.len() > 1 {
                done = timeout_at(deadline.min(started + patience.hedge), race.next()).await.ok();
                if done.is_none() && self.spend_hedge() {
                    continue;
                }
            }
            if done.is_none() {
                let end = if left > 0 { deadline.min(started + patience.silence) } else { deadline };
                done = timeout_at(end, race.next()).await.ok();
            }
            let Some((answered, entry)) = done else { continue };
            silent &= !(1 << answered);
            found = entry;
            if found.is_some() {
                break;
            }
        }
        while found.is_none() && !race.is_empty() {
            let Ok((answered, entry)) = timeout_at(deadline, race.next()).await else { break };
            silent &= !(1 << answered);
            found = entry;
        }
        // Who was overtaken was slower than it promised, or is silent for good.
        let mut upstreams = self.upstreams();
        (0..self.endpoints.len())
            .filter(|index| silent & (1 << index) != 0)
            .for_each(|index| upstreams.failed(index, self.now()));
        found
    }

    /// Asks upstream `index` once.
    async fn attempt(&self, index: usize, fetch: &Fetch, suspicion: &Suspicion) -> (usize, Option<Entry>) {
        count(&self.core.counters.upstream_queries);
        let started = Instant::now();
        let answer = self.client.attempt(&self.endpoints[index], fetch.request.clone(), suspicion).await;
        let now = self.now();
        let sifted = answer.ok().map(|answer| self.core.sift(fetch, answer.message().as_wire(), now));
        match sifted {
            Some(Ok(entry)) => {
                self.upstreams().answered(index, started.elapsed());
                return (index, Some(entry));
            }
            // It is there, and the trouble is the domain's.
            Some(Err(Useless::Code(Rcode::SERVFAIL))) => {
                self.upstreams().answered(index, started.elapsed());
            }
            Some(Err(_)) | None => self.upstreams().failed(index, now),
        }
        count(&self.core.counters.upstream_failures);
        (index, None)
    }

    // The credit is a counter and nothing else: relaxed.
    fn earn_hedge(&self) {
        let earn = |credit: u32| (credit < HEDGE_SAVED_MAX).then(|| credit + HEDGE_EARNED);
        let _ = self.hedges.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earn);
    }

    fn spend_hedge(&self) -> bool {
        let spend = |credit: u32| credit.checked_sub(HEDGE_COST);
        let spent = self.hedges.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok();
        if spent {
            count(&self.core.counters.hedges);
        }
        spent
    }
}
