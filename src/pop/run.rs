//! Running: serve, drain.

use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use super::admin::{AdminEdge, Uncounted};
use super::bind::{Sockets, wanted};
use super::handle::{Addresses, Handle};
#[cfg(feature = "dns")]
use super::judge::authority;
use super::judge::judge;
use super::plane::Plane;
use super::service::{Edge, PopService};
use super::{BuildError, PopBuilder, RunError};
use crate::clock::Moment;
use crate::config::{Admin, Preset, Settings};
use crate::exchange::Observer;
use crate::monitor::Monitor;
use crate::serve::{self, Drain, Shared};

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
    pub(super) monitor: Arc<Monitor>,
    /// Connections open now, and refused so far, of all runs: each has its own sockets, all have one bound.
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) refused: Arc<AtomicU64>,
    pub(super) drain: Arc<Drain>,
    #[cfg(feature = "dns")]
    pub(super) authority: Option<pop_dns::server::Swap>,
    /// Whether there is anything to ask the authority for: a reload may bring the first zone.
    #[cfg(feature = "dns")]
    pub(super) has_zones: Arc<std::sync::atomic::AtomicBool>,
    #[cfg(feature = "dns")]
    pub(super) dns_counters: Arc<pop_dns::server::Counters>,
    #[cfg(feature = "route")]
    pub(super) selector: Option<Arc<pop_route::Selector>>,
    #[cfg(feature = "redis")]
    pub(super) fabric: Option<crate::Fabric>,
    pub(super) shares_ports: bool,
    pub(super) admin: Option<Admin>,
    pub(super) sockets: Mutex<Sockets>,
    /// Held by whoever binds: two runs that begin at once bind one after the other.
    pub(super) turn: tokio::sync::Mutex<()>,
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
        self.sockets().addresses.clone()
    }

    pub(super) fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
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
        let authority = authority(&mut spec)?;
        #[cfg(feature = "dns")]
        let has_zones = Arc::new(authority.is_some().into());
        // Where DNS is spoken, a reload may bring zones.
        #[cfg(feature = "dns")]
        let authority = authority
            .or_else(|| {
                (!spec.dns.is_empty())
                    .then(|| pop_dns::Authority::new(Vec::<pop_dns::zone::Zone>::new()).server_id(&spec.name))
            })
            .map(pop_dns::server::Swap::new);
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
            monitor: Arc::default(),
            connections: Arc::default(),
            refused: Arc::default(),
            drain: Arc::default(),
            #[cfg(feature = "dns")]
            authority,
            #[cfg(feature = "dns")]
            has_zones,
            #[cfg(feature = "dns")]
            dns_counters: Arc::default(),
            #[cfg(feature = "route")]
            selector: spec.selector,
            #[cfg(feature = "redis")]
            fabric: spec.fabric,
            shares_ports: spec.shares_ports,
            admin: spec.admin,
            sockets: Mutex::new(sockets),
            turn: tokio::sync::Mutex::default(),
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
        let ready = self.claim().await?;
        let inner = &self.inner;
        let mut tasks = JoinSet::new();
        let mut shared = Shared::new(
            &inner.name,
            Arc::clone(&inner.settings),
            Edge(Arc::clone(inner)),
            inner.observer(),
            Arc::clone(&inner.drain),
        );
        shared.connections = Arc::clone(&inner.connections);
        shared.refused = Arc::clone(&inner.refused);
        let shared = Arc::new(shared);
        for bound in ready.http {
            tasks.spawn(serve::serve(bound, Arc::clone(&shared)));
        }
        #[cfg(feature = "dns")]
        for (server, forwarder) in ready.dns {
            let counters = Arc::clone(&inner.dns_counters);
            let drain = Arc::clone(&inner.drain);
            let begun = async move { drain.begun().await };
            let (authority, has_zones) = (inner.authority.clone(), Arc::clone(&inner.has_zones));
            tasks.spawn(async move {
                match (authority, forwarder) {
                    (authority, Some(forwarder)) => {
                        let resolver = crate::steer::Resolver::new(authority, has_zones, forwarder);
                        server.run(resolver, counters, begun).await;
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
            let shared = Shared::new(&inner.name, settings, edge, Arc::new(Uncounted), Arc::default());
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
}
