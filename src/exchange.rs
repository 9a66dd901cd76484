//! What every room knows of an exchange: the connection it came on, who asks, what it met on its way, how it ended.

use std::any::Any;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, Uri, Version};

use crate::clock::Moment;
use crate::interim::Outbox;

/// Something that is asked before a connection is served and before a request is: limits, filters, rules.
///
/// Gates are asked in the order they were given; the first denial stands. They run on the serving tasks: quick, and
/// without waiting for anything.
pub trait Gate: Send + Sync + 'static {
    /// Whether to serve a connection, asked before a byte of it is read. The permit lives as long as the connection.
    fn connection(&self, peer: SocketAddr, seat: &Arc<Seat>) -> Option<Permit> {
        let _ = (peer, seat);
        Some(Permit::default())
    }

    /// Whether to serve a request.
    fn request(&self, head: &RequestHead<'_>) -> Verdict {
        let _ = head;
        Verdict::Pass
    }

    /// Whether it bounds connections so that those that idle make room for others. Where no gate does, the PoP does it,
    /// within [`Settings::connections_max`](crate::Settings::connections_max).
    fn bounds_connections(&self) -> bool {
        false
    }

    /// Tells what it has counted, each by a name that stays the same; for the metrics. As many names as it was made
    /// with, never one from a request.
    fn counts(&self, tell: &mut dyn FnMut(&str, u64)) {
        let _ = tell;
    }

    /// Told how a request of `client` was answered.
    fn answered(&self, client: IpAddr, status: StatusCode) {
        let _ = (client, status);
    }
}

/// What a [`Gate`] sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Who asks: the peer, or whom a trusted proxy names.
    pub client: IpAddr,
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// The one canonical host it is for: lower case, no port.
    pub host: &'a str,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// The protocol version.
    pub version: Version,
    /// Whether it came over TLS.
    pub is_tls: bool,
}

/// The answer of a [`Gate`] to a request.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The next gate is asked.
    Pass,
    /// The request is answered with a refusal.
    Deny(Denial),
}

/// A refusal. An ordinary outcome: counted, logged, answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The status of the answer.
    pub status: StatusCode,
    /// A word for the log and the metrics, made of lower case letters and hyphens.
    pub reason: &'static str,
    /// When asking again may help.
    pub retry_after: Option<Duration>,
    /// Whether the connection ends with the answer.
    pub close: bool,
}

impl Denial {
    /// A refusal that keeps the connection.
    #[must_use]
    pub const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason, retry_after: None, close: false }
    }

    /// 429, with the time after which the request would pass.
    #[must_use]
    pub const fn limited(retry_after: Option<Duration>) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, reason: "limited", retry_after, close: false }
    }

    /// Ends the connection with the answer.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

/// A place that a connection takes; given back when the connection ends.
#[derive(Default)]
pub struct Permit(Option<Box<dyn Any + Send + Sync>>);

impl Permit {
    /// A permit that holds `place` and drops it with the connection.
    pub fn holding(place: impl Any + Send + Sync) -> Self {
        Self(Some(Box::new(place)))
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Permit").field(&self.0.is_some()).finish()
    }
}

/// Where a connection sits: whether it is being served, and whether it has to leave. A [`Gate`] keeps it to make room
/// by whoever idles.
#[derive(Debug, Default)]
pub struct Seat {
    /// Exchanges under way. A counter for deadlines and for whoever idles; nothing is published through it.
    in_flight: AtomicU32,
    is_evicted: AtomicBool,
    leave: tokio::sync::Notify,
}

/// How often a connection that has to leave is looked at while it is still being served.
const LEAVING: Duration = Duration::from_millis(10);

impl Seat {
    /// Whether no request is under way: before the first, or between two.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }

    /// Ends the connection: at once if it idles, else when it does.
    pub fn evict(&self) {
        // The notice keeps one permit, so it reaches whoever begins to listen later.
        self.is_evicted.store(true, Ordering::Relaxed);
        self.leave.notify_one();
    }

    /// Whether it has to leave.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    /// Waits until it has to leave and may.
    pub(crate) async fn left(&self) {
        self.leave.notified().await;
        while !self.is_idle() {
            tokio::time::sleep(LEAVING).await;
        }
    }
}

/// A connection from a client.
pub(crate) struct Connection {
    /// The name of the PoP it came to.
    pub(crate) pop: Arc<str>,
    pub(crate) peer: SocketAddr,
    pub(crate) is_tls: bool,
    /// Whether a listener of the PoP took it: else nobody knows what the client speaks.
    pub(crate) is_ours: bool,
    /// The name the client asked for in its TLS hello, in lower case.
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) seat: Arc<Seat>,
    /// When something was last known to happen: a reading of the clock that others may share.
    pub(crate) stamp: AtomicU64,
    /// Set by the scanner of heads when the framing of a request is ambiguous (see `serve::head`).
    pub(crate) ambiguous: AtomicBool,
    /// Interim responses on their way to the client, where they can be sent.
    pub(crate) interim: Option<Outbox>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether a target names the scheme that was spoken, or none.
    pub(crate) fn has_scheme_of(&self, target: &http::Uri) -> bool {
        let spoken = if self.is_tls { &http::uri::Scheme::HTTPS } else { &http::uri::Scheme::HTTP };
        !self.is_ours || target.scheme().is_none_or(|named| named == spoken)
    }

    /// Reads the clock, and leaves the reading as the connection's stamp.
    pub(crate) fn read_clock(&self) -> Moment {
        let now = Moment::now();
        self.stamp.store(now.to_bits(), Ordering::Relaxed);
        now
    }

    /// The latest reading. No event hangs on it: a stamp is only a number.
    pub(crate) fn stamp(&self) -> Moment {
        Moment::from_bits(self.stamp.load(Ordering::Relaxed))
    }
}

/// Somebody who is told of each finished exchange.
pub(crate) trait Observer: Send + Sync {
    /// A request was refused.
    fn denied(&self, reason: &'static str) {
        let _ = reason;
    }

    /// An origin gave no answer to a request.
    fn origin_failed(&self, reason: &'static str) {
        let _ = reason;
    }

    fn finished(&self, record: &Record<'_>);
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The cache, fresh.
    Hit,
    /// The cache, stale.
    Stale,
    /// The origin, or a fetch that others share.
    Miss,
    /// The origin, without the cache.
    Pass,
    /// Us: a refusal or an error.
    Own,
}

impl Source {
    pub(crate) const ALL: [Self; 5] = [Self::Hit, Self::Stale, Self::Miss, Self::Pass, Self::Own];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Pass => "pass",
            Self::Own => "own",
        }
    }
}

/// A finished exchange.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) status: StatusCode,
    pub(crate) source: Source,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// Why the body did not reach its end.
    pub(crate) failure: Option<&'a str>,
    pub(crate) line: Option<&'a Line>,
}

/// What the access log says beyond the record. Made only while somebody reads the log.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) client: IpAddr,
    pub(crate) method: Method,
    pub(crate) host: String,
    /// Without the query, which may hold secrets.
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) reason: Option<&'static str>,
    pub(crate) trail: Option<Trail>,
}

/// The end of an exchange: travels with the body, and reports when the body is dropped.
pub(crate) struct Tail {
    pub(crate) connection: Arc<Connection>,
    pub(crate) started: Moment,
    pub(crate) status: StatusCode,
    pub(crate) source: Source,
    pub(crate) line: Option<Box<Line>>,
    bytes: u64,
    /// Why the body did not reach its end.
    #[expect(clippy::box_collection, reason = "seldom there, so it takes one word")]
    failure: Option<Box<String>>,
}

impl fmt::Debug for Tail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tail").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Tail {
    /// Counts an exchange in.
    pub(crate) fn begin(connection: Arc<Connection>) -> Self {
        connection.seat.in_flight.fetch_add(1, Ordering::Relaxed);
        let started = connection.read_clock();
        let (status, source) = (StatusCode::OK, Source::Own);
        Self { connection, started, status, source, line: None, bytes: 0, failure: None }
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn failed(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.failure = Some(Box::new(chain(error)));
    }

    pub(crate) fn ended(&mut self) {}
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.connection.seat.in_flight.fetch_sub(1, Ordering::Relaxed);
        let now = self.connection.read_clock();
        self.connection.observer.finished(&Record {
            status: self.status,
            source: self.source,
            bytes: self.bytes,
            elapsed: now.since(self.started),
            failure: self.failure.as_deref().map(String::as_str),
            line: self.line.as_deref(),
        });
    }
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What a request met on its way to an origin. In the extensions of every request that leaves the cache, for layers
/// and for the access log. A clone is another handle on the same trail.
#[derive(Clone, Debug)]
pub struct Trail(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    client: IpAddr,
    is_tls: bool,
    started: Instant,
    backend: OnceLock<Box<str>>,
    /// Nanoseconds from the start to the head of the origin's response; 0 while there is none.
    first_byte_nanos: AtomicU64,
    attempts: AtomicU32,
}

impl Trail {
    pub(crate) fn new(client: IpAddr, is_tls: bool, started: Moment) -> Self {
        let now = Instant::now();
        Self(Arc::new(Facts {
            client,
            is_tls,
            started: now.checked_sub(Moment::now().since(started)).unwrap_or(now),
            backend: OnceLock::new(),
            first_byte_nanos: AtomicU64::new(0),
            attempts: AtomicU32::new(0),
        }))
    }

    /// Who asked.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.0.client
    }

    /// Whether the client came over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.is_tls
    }

    /// When the request had arrived.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// The backend that answered, if one did.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.get().map(|name| &**name)
    }

    /// From the arrival of the request to the head of the origin's response, if there was one.
    #[must_use]
    pub fn origin_first_byte(&self) -> Option<Duration> {
        let nanos = self.0.first_byte_nanos.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// How often an origin was asked; 0 for a request that shared another's fetch.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts.load(Ordering::Relaxed)
    }

    pub(crate) fn attempt(&self) {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn head_arrived(&self, backend: &str) {
        // Set once: after an answer nobody is asked again.
        let _ = self.0.backend.set(backend.into());
        let nanos = u64::try_from(self.0.started.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
        self.0.first_byte_nanos.store(nanos, Ordering::Relaxed);
    }
}
