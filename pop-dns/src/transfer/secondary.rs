//! A copy of a zone that follows its primary.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::fetch::fetch;
use super::{Received, Timers, TransferError, is_newer};
use crate::random::Random;
use crate::tsig::Key;
use crate::zone::Zone;
use crate::{NameBuf, Rcode, Timestamp};

/// The shortest pause between two looks at the primary, however many notifications come.
const PAUSE: Duration = Duration::from_millis(500);

/// What became of the zone.
#[derive(Clone, Debug)]
pub enum Event {
    /// A newer zone came, whole and well.
    Zone(Arc<Zone>),
    /// The primary was silent for so long that the zone may not be used any more.
    Expired,
}

/// Wakes a [`Secondary`]: its primary says that the zone has changed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Notifier {
    origin: NameBuf,
    primaries: Arc<[SocketAddr]>,
    notify: Arc<Notify>,
}

impl Notifier {
    /// The zone.
    #[must_use]
    pub const fn origin(&self) -> &NameBuf {
        &self.origin
    }

    /// Wakes the secondary if `from` is one of its primaries (RFC 1996 §3.10); says whether it is.
    #[must_use]
    pub fn notify(&self, from: IpAddr) -> bool {
        let known = self.primaries.iter().any(|primary| primary.ip().to_canonical() == from.to_canonical());
        if known {
            self.notify.notify_one();
        }
        known
    }
}

/// Follows a zone at its primaries: looks when the SOA's timers say so or a notification comes, takes what changed or all
/// of it, and hands over a zone only when it is whole, well and newer. What is broken changes nothing.
///
/// ```no_run
/// use std::sync::Arc;
/// use pop_dns::{Authority, server::Swap, transfer::{Event, Secondary}, zone::Zone};
///
/// # async fn example(authority: Authority) -> Result<(), Box<dyn std::error::Error>> {
/// let swap = Swap::new(Authority::default());
/// let secondary = Secondary::new("example.org".parse()?, ["192.0.2.53:53".parse()?]);
/// secondary
///     .run(|event| match event {
///         Event::Zone(zone) => swap.store(Authority::new([zone])),
///         Event::Expired => swap.store(Authority::default()),
///     }, async { /* until */ })
///     .await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Secondary {
    notifier: Notifier,
    key: Option<Key>,
    zone: Option<Arc<Zone>>,
    timers: Timers,
    random: Random,
    started: Instant,
}

impl Secondary {
    /// A secondary for zone `origin`, which asks these primaries in turn.
    #[must_use]
    pub fn new(origin: NameBuf, primaries: impl IntoIterator<Item = SocketAddr>) -> Self {
        let primaries = primaries.into_iter().collect();
        Self {
            notifier: Notifier { origin: origin.to_lower(), primaries, notify: Arc::default() },
            key: None,
            zone: None,
            timers: Timers::new(),
            random: Random::new(),
            started: Instant::now(),
        }
    }

    /// Signs queries, and believes signed answers only.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Begins with a zone that was kept from before.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<Arc<Zone>>) -> Self {
        let zone = zone.into();
        self.timers = Timers::resumed(&zone, Timestamp::ZERO);
        self.zone = Some(zone);
        self
    }

    /// What wakes it.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    /// Follows the zone until `shutdown` is ready, and hands what becomes of it to `publish`.
    pub async fn run(mut self, mut publish: impl FnMut(Event), shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let next = self.timers.next().saturating_since(self.now());
            let notified = tokio::select! {
                () = &mut shutdown => return,
                () = self.notifier.notify.notified() => true,
                () = tokio::time::sleep(next) => false,
            };
            if self.timers.expire(self.now()) {
                tracing::error!(zone = %self.notifier.origin, "expired: no primary was heard for too long");
                self.zone = None;
                publish(Event::Expired);
            }
            if notified || self.timers.is_due(self.now()) {
                let event = tokio::select! {
                    () = &mut shutdown => return,
                    event = self.look() => event,
                };
                event.into_iter().for_each(&mut publish);
                tokio::select! {
                    () = &mut shutdown => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }

    /// Asks the primaries one after the other until one is heard.
    async fn look(&mut self) -> Option<Event> {
        let primaries = Arc::clone(&self.notifier.primaries);
        for &primary in &*primaries {
            match self.ask(primary).await {
                Ok(newer) => {
                    let event = newer.map(|zone| {
                        tracing::info!(zone = %zone.origin(), serial = zone.serial(), %primary, "transferred");
                        Event::Zone(zone)
                    });
                    if let Some(Event::Zone(zone)) = &event {
                        self.zone = Some(Arc::clone(zone));
                    }
                    let now = self.now();
                    if let Some(zone) = &self.zone {
                        self.timers.succeeded(zone, now);
                    }
                    return event;
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(zone = %self.notifier.origin, %primary, %error, cause, "not transferred");
                }
            }
        }
        let now = self.now();
        self.timers.failed(now);
        None
    }

    /// A newer zone from `primary`, or `None` if it has none. If it knows no incremental transfers, or its changes do not
    /// fit, the whole zone is asked for.
    async fn ask(&self, primary: SocketAddr) -> Result<Option<Arc<Zone>>, TransferError> {
        let origin = &self.notifier.origin;
        let key = self.key.as_ref();
        let Some(zone) = &self.zone else {
            let received = fetch(primary, origin, None, key, &self.random).await?;
            return self.newer(received);
        };
        let received = fetch(primary, origin, Some(zone), key, &self.random).await;
        match received.and_then(|received| self.newer(received)) {
            Err(
                TransferError::Code(Rcode::NOTIMP | Rcode::FORMERR | Rcode::REFUSED)
                | TransferError::Mismatch
                | TransferError::TooManyChanges,
            ) => self.newer(fetch(primary, origin, None, key, &self.random).await?),
            result => result,
        }
    }

    fn newer(&self, received: Option<Received>) -> Result<Option<Arc<Zone>>, TransferError> {
        let zone = match (received, &self.zone) {
            (None, _) => return Ok(None),
            (Some(Received::Zone(zone)), _) => *zone,
            (Some(Received::Changes(changes)), Some(ours)) => changes.apply(ours)?,
            (Some(Received::Changes(_)), None) => return Err(TransferError::Mismatch),
        };
        match &self.zone {
            Some(ours) if zone.serial() == ours.serial() => Ok(None),
            Some(ours) if !is_newer(zone.serial(), ours.serial()) => {
                Err(TransferError::Older { ours: ours.serial(), theirs: zone.serial() })
            }
            _ => Ok(Some(Arc::new(zone))),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO.saturating_add(self.started.elapsed())
    }
}
