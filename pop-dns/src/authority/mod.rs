//! The authority: query octets in, answer octets out. No socket and no clock.

mod answer;
mod chaos;
mod denial;
mod direct;
mod dynamic;
mod edns;
mod exchange;
mod limit;
mod malformed;
mod names;
mod notify;
#[cfg(feature = "dnssec")]
mod online;
mod reply;
mod respond;
mod rrl;
#[cfg(feature = "dnssec")]
mod signed;
mod transfer;
mod update;

use std::collections::VecDeque;
use std::sync::Arc;

pub use dynamic::{ClientBlock, DynamicAnswer, DynamicQuery, LearnedFrom};
pub use limit::{Limit, LimitQuery};
pub use notify::Notification;
pub use rrl::ResponseRateLimit;
pub use transfer::{Transfer, TransferQuery};
pub use update::{UPDATE_RECORDS_MAX, Update};

use self::chaos::IDENTITY_OCTETS_MAX;
use self::dynamic::Hook;
use self::limit::Limiter;
use self::names::Names;
use self::notify::Notifications;
use self::transfer::Transfers;
use self::update::Updates;
use crate::zone::{Zone, ZoneChange};
use crate::{CookieSecret, NameBuf, Rcode};

#[cfg(feature = "tokio")]
pub(crate) use self::respond::Asker;
#[cfg(feature = "tokio")]
pub(crate) use self::respond::Located;

/// Versions of a zone from which the way to the current one is known (RFC 1995 §5).
pub const ZONE_CHANGES_MAX: usize = 32;

/// How a query came, which decides how large the answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A datagram: at most what EDNS offers, and never above 1232 octets.
    Udp,
    /// A stream: at most 65,535 octets.
    Tcp,
    /// A stream inside TLS (RFC 7858).
    Tls,
    /// An HTTP exchange (RFC 8484).
    Https,
}

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an answer that nobody sends helps nobody"]
pub enum Outcome {
    /// The buffer holds an answer with this code.
    Answered(Rcode),
    /// Nothing may be sent: these octets were no query.
    Silent,
}

/// Zones, dynamic names, and the rules by which they answer (RFC 1034 §4.3.2, 2308, 4035, 4592, 5155, 6672, 7871, 8020,
/// 8482). Cloning one shares the zones: what changes is made on a clone, and the clone put in its place whole.
///
/// ```
/// use pop_dns::{Authority, Message, MessageBuilder, Outcome, Rcode, RecordType, Timestamp, Transport, zone::Zone};
///
/// let text = b"@ 300 SOA ns host 1 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 192.0.2.53\nwww 60 A 192.0.2.1\n";
/// let authority = Authority::new([Zone::parse(text, "example.org".parse()?)?]);
/// let query = MessageBuilder::query(1, &"www.example.org".parse()?, RecordType::A).finish();
/// let mut answer = Vec::new();
/// let client = "203.0.113.9".parse()?;
/// let outcome = authority.respond(&query, client, Timestamp::ZERO, Transport::Udp, &mut answer);
/// assert_eq!(outcome, Outcome::Answered(Rcode::NOERROR));
/// assert_eq!(Message::parse(&answer)?.answers()?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Authority {
    zones: Names<Arc<Zone>>,
    dynamic: Names<Hook>,
    server_id: Option<Box<[u8]>>,
    version: Option<Box<[u8]>>,
    cookies: Option<(CookieSecret, CookiePolicy)>,
    limiter: Option<Limiter>,
    /// The latest changes of each zone, the newest last.
    changes: Names<VecDeque<Arc<ZoneChange>>>,
    transfers: Option<Transfers>,
    notifications: Option<Notifications>,
    updates: Option<Updates>,
    #[cfg(feature = "dnssec")]
    keys: Option<crate::tsig::Keyring>,
    #[cfg(feature = "dnssec")]
    online: Names<online::OnlineSigner>,
}

/// What is asked of clients that send cookies (RFC 7873 §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookiePolicy {
    /// A client without a valid server cookie is answered, gets one, and stays subject to the limit.
    #[default]
    Offer,
    /// A client that sends its own cookie over UDP without a valid one of ours gets BADCOOKIE and a new one, and asks
    /// again. Clients that know nothing of cookies are answered.
    Demand,
}

impl Authority {
    /// An authority for these zones. Of two with the same origin the later one counts.
    #[must_use]
    pub fn new(zones: impl IntoIterator<Item = impl Into<Arc<Zone>>>) -> Self {
        let mut authority = Self::default();
        zones.into_iter().for_each(|zone| authority.insert(zone));
        authority
    }

    /// Adds a zone, or puts it in the place of the one with the same origin.
    pub fn insert(&mut self, zone: impl Into<Arc<Zone>>) {
        let zone = zone.into();
        let origin = zone.origin().clone();
        self.changes.remove(origin.as_wire());
        self.zones.insert(origin.as_wire(), zone);
    }

    /// Puts a newer version of a zone in its place and remembers what changed, so that secondaries which have the old one
    /// get the difference (IXFR). Costs a look-up for each record. A version that is not newer, by its serial, goes in
    /// without a memory. At most [`ZONE_CHANGES_MAX`] changes are remembered, and not more records than the zone has.
    pub fn replace(&mut self, zone: impl Into<Arc<Zone>>) {
        let zone = zone.into();
        let origin = zone.origin().as_wire();
        let newer = |old: &&Arc<Zone>| transfer::is_newer(zone.serial(), old.serial());
        let Some(old) = self.zones.get_by_name(origin).filter(newer) else { return self.insert(zone) };
        let mut changes = self.changes.get_by_name(origin).cloned().unwrap_or_default();
        changes.push_back(Arc::new(ZoneChange::between(old, &zone)));
        let heavy = |changes: &VecDeque<Arc<ZoneChange>>| {
            changes.iter().map(|change| change.len()).sum::<usize>() > zone.records()
        };
        while changes.len() > ZONE_CHANGES_MAX || heavy(&changes) {
            changes.pop_front();
        }
        self.changes.insert(origin, changes);
        let origin = zone.origin().clone();
        self.zones.insert(origin.as_wire(), zone);
    }

    /// Takes a zone away.
    pub fn remove(&mut self, origin: &NameBuf) -> Option<Arc<Zone>> {
        self.zones.remove(origin.to_lower().as_wire())
    }

    /// The zone of this name.
    #[must_use]
    pub fn zone(&self, origin: &NameBuf) -> Option<&Arc<Zone>> {
        self.zones.get_by_name(origin.to_lower().as_wire())
    }

    /// What `id.server` and `hostname.bind` in class CH answer (RFC 4892), and NSID (RFC 5001): the name of the PoP.
    /// Cut to 255 octets. Without it those are refused.
    #[must_use]
    pub fn server_id(mut self, id: &str) -> Self {
        self.server_id = Some(id.as_bytes()[..id.len().min(IDENTITY_OCTETS_MAX)].into());
        self
    }

    /// What `version.server` and `version.bind` in class CH answer. Cut to 255 octets. Without it those are refused.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.as_bytes()[..version.len().min(IDENTITY_OCTETS_MAX)].into());
        self
    }

    /// Answers cookies with cookies (RFC 7873, 9018). All servers of an anycast address share the secret. Needs a `now`
    /// that counts from 1970.
    #[must_use]
    pub fn cookies(mut self, secret: CookieSecret, policy: CookiePolicy) -> Self {
        self.cookies = Some((secret, policy));
        self
    }

    /// Asks `limit` about each answer over UDP to a client that has not shown a cookie of ours: the place for response
    /// rate limiting and for limits by prefix.
    #[must_use]
    pub fn limit(mut self, limit: impl Fn(&LimitQuery<'_>) -> Limit + Send + Sync + 'static) -> Self {
        self.limiter = Some(Limiter(Arc::new(limit)));
        self
    }

    /// Lets `choose` decide the records of `name`, which has to lie in one of the zones to be found. It runs on the
    /// serving thread for each query: quick, and without waiting for anything.
    #[must_use]
    pub fn dynamic(
        mut self,
        name: &NameBuf,
        choose: impl Fn(&DynamicQuery<'_>) -> DynamicAnswer + Send + Sync + 'static,
    ) -> Self {
        self.dynamic.insert(name.to_lower().as_wire(), Hook(Arc::new(choose)));
        self
    }

    /// Signs what hooks choose in a zone with a key of that zone, for whoever wants DNSSEC (algorithms 13 and 15, some 20 µs a
    /// signature; up to 4096 are kept and used again). Needs a `now` that counts from 1970.
    #[cfg(feature = "dnssec")]
    #[must_use]
    pub fn sign_dynamic(mut self, origin: &NameBuf, key: impl Into<Arc<crate::dnssec::SigningKey>>) -> Self {
        let origin = origin.to_lower();
        self.online.insert(origin.clone().as_wire(), online::OnlineSigner::new(origin, key.into()));
        self
    }

    /// Knows these keys (RFC 8945). What is signed with one of them is answered signed, and the hooks for transfers,
    /// notifications and updates learn the key's name; what is signed otherwise is NOTAUTH. Without keys a signature is
    /// overlooked. Needs a `now` that counts from 1970.
    #[cfg(feature = "dnssec")]
    #[must_use]
    pub fn keys(mut self, keys: impl IntoIterator<Item = crate::tsig::Key>) -> Self {
        self.keys = Some(keys.into_iter().collect());
        self
    }

    /// Lets `allow` decide who gets whole zones (AXFR) and their changes (IXFR). Without it nobody does.
    ///
    /// ```
    /// # use pop_dns::Authority;
    /// // To who lives in these blocks and signs with this key.
    /// let (blocks, key) = ([("192.0.2.0".parse()?, 24)], "transfer".parse()?);
    /// let authority = Authority::default().transfers(move |asked| asked.is_from(&blocks) && asked.key == Some(&key));
    /// # let _ = authority;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn transfers(mut self, allow: impl Fn(&TransferQuery<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.transfers = Some(Transfers(Arc::new(allow)));
        self
    }

    /// Tells `notified` when a primary says that a zone has changed (RFC 1996), which may be one that has not come yet.
    /// Its answer says whether the word was welcome. Without it all such messages are refused.
    #[must_use]
    pub fn notifications(
        mut self,
        notified: impl Fn(&Notification<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.notifications = Some(Notifications(Arc::new(notified)));
        self
    }

    /// Lets `decide` answer dynamic updates (RFC 2136) of these zones: whether the sender may, what becomes of
    /// [`Update::apply`], and where the new zone goes. Without it all updates are refused.
    #[must_use]
    pub fn updates(mut self, decide: impl Fn(&Update<'_>) -> Rcode + Send + Sync + 'static) -> Self {
        self.updates = Some(Updates(Arc::new(decide)));
        self
    }

    /// The zones' names.
    pub fn origins(&self) -> impl Iterator<Item = &NameBuf> {
        self.zones.iter().map(|zone| zone.origin())
    }
}
