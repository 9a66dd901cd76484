//! Running: bind, serve, drain.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use super::admin::{AdminEdge, Uncounted};
use super::builder::Identify;
use super::handle::{Addresses, Handle};
use super::plane::Plane;
use super::service::{Edge, PopService};
use super::{BuildError, PopBuilder, RunError};
use crate::clock::Moment;
use crate::config::{Admin, Preset, Settings};
use crate::exchange::{Gate, Observer};
use crate::monitor::Monitor;
use crate::serve::{self, Bound, Drain, Shared};

/// A point of presence. A clone is another handle on the same one.
///
/// It makes no runtime: [`run_until`](Self::run_until) serves on the one it is called in, and everything ends when
/// that future is dropped.
#[derive(Clone)]
pub struct Pop {
    pub(super) inner: Arc<Inner>,
}

impl std::fmt::Debug for Pop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pop").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

/// What a PoP consists of, from building to the end.
pub(crate) struct Inner {
    pub(crate) name: Arc<str>,
    pub(crate) settings: Arc<Settings>,
    pub(super) plane: ArcSwap<Plane>,
    pub(super) gates: Arc<[Arc<dyn Gate>]>,
    pub(super) identify: Option<Identify>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) drain: Arc<Drain>,
    #[cfg(feature = "dns")]
    pub(super) authority: Option<pop_dns::server::Swap>,
    #[cfg(feature = "dns")]
    pub(super) dns_counters: Arc<pop_dns::server::Counters>,
    #[cfg(feature = "route")]
    pub(super) selector: Option<Arc<pop_route::Selector>>,
    #[cfg(feature = "redis")]
    pub(super) fabric: Option<crate::Fabric>,
    shares_ports: bool,
    admin: Option<Admin>,
    sockets: Mutex<Sockets>,
}

/// Sockets before somebody serves on them.
#[derive(Default)]
struct Sockets {
    wanted: Vec<Wanted>,
    #[cfg(feature = "dns")]
    dns: Vec<super::builder::DnsListener>,
    /// Bound and not yet served on.
    ready: Option<Ready>,
    /// Where everything was bound first; later runs bind the same.
    addresses: Option<Addresses>,
}

#[derive(Clone)]
struct Wanted {
    address: SocketAddr,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ServerConfig>>,
}

#[derive(Default)]
struct Ready {
    http: Vec<Bound>,
    admin: Option<Bound>,
    #[cfg(feature = "dns")]
    dns: Vec<(pop_dns::server::Server, Option<pop_dns::forward::Forwarder>)>,
}

impl Inner {
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.monitor) as Arc<dyn Observer>
    }

    /// Purges in the caches of this PoP.
    #[cfg(feature = "cache")]
    pub(super) fn purge(&self, what: &pop_cache::http::Purge, mode: pop_cache::http::PurgeMode) -> usize {
        self.plane.load().caches.iter().map(|cached| cached.cache.handle().purge(what, mode)).sum()
    }

    /// Takes part in the fabric for as long as it is polled.
    #[cfg(feature = "redis")]
    async fn keep_together(self: Arc<Self>) {
        let Some(fabric) = &self.fabric else { return };
        fabric.run(&self.name, &*self).await;
    }

    pub(super) fn addresses(&self) -> Option<Addresses> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).addresses.clone()
    }
}

#[cfg(feature = "redis")]
impl crate::fabric::Caches for Inner {
    fn shared(&self) -> usize {
        let has_tier = self.fabric.as_ref().is_some_and(|fabric| fabric.tier().is_some());
        if has_tier { self.plane.load().caches.len() } else { 0 }
    }

    fn purge(&self, what: &pop_cache::http::Purge, mode: pop_cache::http::PurgeMode) {
        let _count = Self::purge(self, what, mode);
    }
}

impl Pop {
    /// A PoP in front of other people's sites. Its name stands in `Via`, `Cache-Status` and DNS server ids.
    pub fn cdn(name: impl Into<String>) -> PopBuilder {
        PopBuilder::new(name.into(), Preset::Cdn)
    }

    /// A PoP in front of what is attacked: strict, impatient, limited.
    pub fn security(name: impl Into<String>) -> PopBuilder {
        PopBuilder::new(name.into(), Preset::Security)
    }

    /// A PoP in an access network.
    pub fn isp(name: impl Into<String>) -> PopBuilder {
        PopBuilder::new(name.into(), Preset::Isp)
    }

    /// The entry to a provider's regions.
    pub fn cloud(name: impl Into<String>) -> PopBuilder {
        PopBuilder::new(name.into(), Preset::Cloud)
    }

    pub(super) fn new(mut spec: PopBuilder) -> Result<Self, BuildError> {
        judge(&spec)?;
        // Calibrates the clock here, where nobody waits for an answer.
        let _ = Moment::now();
        let plane = Plane::new(&spec, None)?;
        let wanted = wanted(&spec)?;
        #[cfg(feature = "dns")]
        let authority = authority(&mut spec)?.map(pop_dns::server::Swap::new);
        #[cfg(not(feature = "dns"))]
        let _ = &mut spec;
        let sockets = Sockets {
            wanted,
            #[cfg(feature = "dns")]
            dns: spec.dns,
            ..Sockets::default()
        };
        let inner = Inner {
            name: spec.name.into(),
            settings: Arc::new(spec.settings),
            plane: ArcSwap::from_pointee(plane),
            gates: spec.gates.into(),
            identify: spec.identify,
            monitor: Arc::default(),
            drain: Arc::default(),
            #[cfg(feature = "dns")]
            authority,
            #[cfg(feature = "dns")]
            dns_counters: Arc::default(),
            #[cfg(feature = "route")]
            selector: spec.selector,
            #[cfg(feature = "redis")]
            fabric: spec.fabric,
            shares_ports: spec.shares_ports,
            admin: spec.admin,
            sockets: Mutex::new(sockets),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The operator's side: drain, reload, purge, explain, count.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.inner))
    }

    /// The PoP as a tower service, for a server of your own.
    #[must_use]
    pub fn service(&self) -> PopService {
        PopService::new(Arc::clone(&self.inner))
    }

    /// Binds every address, so that what cannot be bound is known, and free ports are, before anything is served.
    /// [`run_until`](Self::run_until) does it where it was not done. Must be called within the runtime that serves.
    ///
    /// # Errors
    /// [`RunError::Bind`] names the first address that cannot be bound.
    pub async fn bind(&self) -> Result<Addresses, RunError> {
        let (mut wanted, mut addresses) = {
            let sockets = self.sockets();
            if let (Some(_), Some(addresses)) = (&sockets.ready, &sockets.addresses) {
                return Ok(addresses.clone());
            }
            if sockets.addresses.is_some() && !self.inner.shares_ports {
                return Err(RunError::Running);
            }
            (sockets.wanted.clone(), sockets.addresses.clone())
        };
        let is_first = addresses.is_none();
        if let Some(addresses) = &addresses {
            let bound = addresses.http.iter().chain(&addresses.https);
            wanted.iter_mut().zip(bound).for_each(|(wanted, bound)| wanted.address = *bound);
        }
        let mut ready = Ready::default();
        for Wanted { address, .. } in &mut wanted {
            let failed = |source| RunError::Bind { address: *address, purpose: "HTTP", source };
            let (listener, bound) = serve::bind(*address, self.inner.shares_ports).map_err(failed)?;
            ready.http.push(Bound {
                listener,
                address: bound,
                #[cfg(feature = "tls")]
                tls: None,
            });
        }
        #[cfg(feature = "tls")]
        for (bound, wanted) in ready.http.iter_mut().zip(&wanted) {
            bound.tls.clone_from(&wanted.tls);
        }
        #[cfg(feature = "dns")]
        if is_first {
            let dns = self.sockets().dns.clone();
            for (address, forwarder) in dns {
                let server = pop_dns::server::Server::bind(address).await.map_err(|error| {
                    RunError::Bind { address, purpose: "DNS", source: std::io::Error::other(error) }
                })?;
                ready.dns.push((server, forwarder));
            }
        }
        if let Some(admin) = self.inner.admin.as_ref().filter(|_| is_first) {
            let address = admin.address;
            let failed = |source| RunError::Bind { address, purpose: "the admin service", source };
            let (listener, address) = serve::bind(address, false).map_err(failed)?;
            #[cfg(feature = "tls")]
            let tls = match &admin.certificates {
                Some(certificates) => {
                    Some(certificates.server_config().map_err(|error| failed(std::io::Error::other(error)))?)
                }
                None => None,
            };
            ready.admin = Some(Bound {
                listener,
                address,
                #[cfg(feature = "tls")]
                tls,
            });
        }
        let addresses = addresses.get_or_insert_with(|| Addresses::of(&ready)).clone();
        let mut sockets = self.sockets();
        sockets.ready = Some(ready);
        sockets.addresses = Some(addresses.clone());
        Ok(addresses)
    }

    /// Serves until it is told to drain.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn run(&self) -> Result<(), RunError> {
        self.run_until(std::future::pending()).await
    }

    /// Serves until `shutdown` is ready or [`Handle::drain`] is called; then accepts nothing any more, lets exchanges
    /// end within [`Settings::grace`], and returns. Dropping the future ends everything at once.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn run_until(&self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        self.bind().await?;
        let Some(ready) = self.sockets().ready.take() else { return Err(RunError::Running) };
        let inner = &self.inner;
        let mut tasks = JoinSet::new();
        let shared = Arc::new(Shared::new(
            &inner.name,
            Arc::clone(&inner.settings),
            Edge(Arc::clone(inner)),
            Arc::clone(&inner.gates),
            inner.observer(),
            Arc::clone(&inner.drain),
        ));
        for bound in ready.http {
            tasks.spawn(serve::serve(bound, Arc::clone(&shared)));
        }
        #[cfg(feature = "dns")]
        for (server, forwarder) in ready.dns {
            let counters = Arc::clone(&inner.dns_counters);
            let drain = Arc::clone(&inner.drain);
            let begun = async move { drain.begun().await };
            let authority = inner.authority.clone();
            tasks.spawn(async move {
                match (authority, forwarder) {
                    (authority, Some(forwarder)) => {
                        server.run(crate::steer::Resolver::new(authority, forwarder), counters, begun).await;
                    }
                    (Some(authority), None) => server.run(authority, counters, begun).await,
                    (None, None) => {}
                }
                Ok(())
            });
        }
        // Its drain never begins: health is told until everything else has ended, and then it is dropped.
        let mut admin = JoinSet::new();
        if let (Some(bound), Some(settings)) = (ready.admin, &inner.admin) {
            let edge = AdminEdge::new(settings.clone(), self.handle());
            let settings = Arc::new(Settings::preset(Preset::Security));
            let shared =
                Shared::new(&inner.name, settings, edge, Arc::from([]), Arc::new(Uncounted), Arc::default());
            admin.spawn(serve::serve(bound, Arc::new(shared)));
        }
        #[cfg(feature = "redis")]
        let mut fabric = JoinSet::new();
        #[cfg(feature = "redis")]
        if inner.fabric.is_some() {
            fabric.spawn(Arc::clone(inner).keep_together());
        }
        tokio::select! {
            () = shutdown => inner.drain.begin(),
            () = inner.drain.begun() => {}
            Some(Ok(Err(error))) = tasks.join_next() => return Err(RunError::Listen(error)),
        }
        while let Some(ended) = tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                return Err(RunError::Listen(error));
            }
        }
        Ok(())
    }

    fn sockets(&self) -> std::sync::MutexGuard<'_, Sockets> {
        self.inner.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Addresses {
    fn of(ready: &Ready) -> Self {
        #[cfg(feature = "tls")]
        let is_tls = |bound: &&Bound| bound.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let is_tls = |_: &&Bound| false;
        let address = |bound: &Bound| bound.address;
        Self {
            http: ready.http.iter().filter(|bound| !is_tls(bound)).map(address).collect(),
            https: ready.http.iter().filter(is_tls).map(address).collect(),
            admin: ready.admin.as_ref().map(address),
            #[cfg(feature = "dns")]
            dns: ready.dns.iter().map(|(server, _)| server.local_addr()).collect(),
        }
    }
}

/// Plain listeners first, then those with TLS.
fn wanted(spec: &PopBuilder) -> Result<Vec<Wanted>, BuildError> {
    let plain = spec.http.iter().map(|&address| Wanted {
        address,
        #[cfg(feature = "tls")]
        tls: None,
    });
    #[allow(unused_mut, reason = "only TLS listeners are added")]
    let mut wanted: Vec<Wanted> = plain.collect();
    #[cfg(feature = "tls")]
    for (address, certificates) in &spec.https {
        let tls = certificates
            .server_config()
            .map_err(|source| BuildError::Tls { field: format!("https {address}"), source: source.into() })?;
        wanted.push(Wanted { address: *address, tls: Some(tls) });
    }
    Ok(wanted)
}

pub(super) fn judge(spec: &PopBuilder) -> Result<(), BuildError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    // A token of Cache-Status begins with a letter (RFC 8941 §3.3.4).
    let begins = spec.name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !begins || spec.name.len() > 63 || !spec.name.bytes().all(fits) {
        return Err(BuildError::Name(spec.name.clone()));
    }
    if let Some(expected) = spec.admin.as_ref().and_then(Admin::problem) {
        return Err(BuildError::Admin { expected });
    }
    let settings = &spec.settings;
    let at_least = |field, fine, expected| {
        if fine { Ok(()) } else { Err(BuildError::Setting { field, expected }) }
    };
    at_least("head_bytes", settings.head_bytes >= 8192, "at least 8192 octets")?;
    at_least("streams_max", settings.streams_max > 0, "at least one stream")?;
    at_least("connections_max", settings.connections_max > 0, "at least one connection")?;
    for (field, limit) in [
        ("first_byte", settings.first_byte),
        ("handshake", settings.handshake),
        ("head", settings.head),
        ("idle", settings.idle),
        ("send_stall", settings.send_stall),
        ("body_window", settings.body_window),
    ] {
        at_least(field, !limit.is_zero(), "more than nothing")?;
    }
    Ok(())
}

/// Takes the zones out of the builder and makes the authority; `None` without zones.
#[cfg(feature = "dns")]
pub(super) fn authority(spec: &mut PopBuilder) -> Result<Option<pop_dns::Authority>, BuildError> {
    let zones = std::mem::take(&mut spec.zones);
    #[cfg(feature = "route")]
    let geo = {
        let wrong = |name: &String, expected| BuildError::Geo { name: name.clone(), expected };
        let mut names = Vec::new();
        for name in &spec.geo {
            let parsed: pop_dns::NameBuf = name.parse().map_err(|_| wrong(name, "a domain name"))?;
            if !crate::steer::has_zone(&zones, &parsed) {
                return Err(wrong(name, "a zone that it lies in"));
            }
            if spec.selector.is_none() {
                return Err(wrong(name, "a selector to choose by (route)"));
            }
            names.push(parsed);
        }
        names
    };
    if zones.is_empty() {
        return Ok(None);
    }
    Ok(Some(crate::steer::authority(
        &spec.name,
        zones,
        #[cfg(feature = "route")]
        &geo,
        #[cfg(feature = "route")]
        spec.selector.as_ref(),
    )))
}
