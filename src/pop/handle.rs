//! The operator's side of a PoP.

use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "metrics")]
use std::sync::atomic::Ordering;

use super::run::Inner;
use super::{BuildError, PopBuilder, Reloaded};
use crate::monitor::Counts;

/// Where a PoP listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addresses {
    /// For HTTP, in the order of the builder.
    pub http: Vec<SocketAddr>,
    /// For HTTPS.
    pub https: Vec<SocketAddr>,
    /// For the admin service.
    pub admin: Option<SocketAddr>,
    /// For DNS.
    #[cfg(feature = "dns")]
    pub dns: Vec<SocketAddr>,
}

/// Drains, reloads, purges, explains and counts. A clone is another handle on the same PoP.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Handle").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Handle {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// The PoP's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Where it listens; `None` until it is bound.
    #[must_use]
    pub fn addresses(&self) -> Option<Addresses> {
        self.inner.addresses()
    }

    /// Ends serving in order: nothing is accepted any more, HTTP/1 connections close with their next answer, HTTP/2
    /// clients are told to go, and `run_until` returns when all have ended or the grace is over.
    pub fn drain(&self) {
        self.inner.drain.begin();
    }

    /// Whether a drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.drain.has_begun()
    }

    /// Replaces hosts, origins, caches, limits, gates, who asks ([`PopBuilder::identify`]), certificates, zones and
    /// geographic names by those of `spec`, which is the whole description: a gate that it leaves out is gone. Requests
    /// under way end with what they began with, and a certificate is shown from the next handshake on. What is described
    /// as before keeps what it holds: caches of the same policy, limits of the same terms, and gates of a configuration
    /// file whose section is the same. The fabric stays as it is.
    ///
    /// Says what is different and needs a new start, and logs it as a warning.
    ///
    /// # Errors
    /// [`BuildError`] names the field that is wrong; everything then stays as it is.
    pub fn reload(&self, spec: PopBuilder) -> Result<Reloaded, BuildError> {
        self.inner.reload(spec)
    }

    /// Purges in every cache of the PoP, and says how many responses went. With a fabric, every other PoP is told, now or
    /// when the store is back.
    #[cfg(feature = "cache")]
    pub fn purge(&self, purge: &pop_cache::http::Purge, mode: pop_cache::http::PurgeMode) -> usize {
        #[cfg(feature = "redis")]
        if let Some(fabric) = &self.inner.fabric {
            fabric.announce(purge, mode, &*self.inner);
        }
        self.inner.purge(purge, mode)
    }

    /// What the PoP shares with others, if it does.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn fabric(&self) -> Option<&crate::Fabric> {
        self.inner.fabric.as_ref()
    }

    /// The caches: the PoP's own, and those of hosts that have one.
    #[cfg(feature = "cache")]
    #[must_use]
    pub fn caches(&self) -> Vec<pop_cache::http::Handle> {
        self.inner.plane.load().caches.iter().map(|cached| cached.cache.handle()).collect()
    }

    /// To which site a client is sent, and why; `None` without a selector.
    #[cfg(feature = "route")]
    #[must_use]
    pub fn explain(&self, client: std::net::IpAddr) -> Option<pop_route::Explanation> {
        let client = client.to_canonical();
        let length = if client.is_ipv4() { 32 } else { 128 };
        self.inner.selector.as_ref().map(|selector| selector.explain((client, length)))
    }

    /// What was answered since the start.
    #[must_use]
    pub fn stats(&self) -> Counts {
        self.inner.monitor.read()
    }

    /// Everything counted, in the text format that Prometheus reads.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut page = crate::monitor::Page::default();
        page.monitor(&self.inner.monitor);
        let (open, refused) = (&self.inner.connections, &self.inner.refused);
        page.connections(open.load(Ordering::Relaxed) as u64, refused.load(Ordering::Relaxed));
        page.rules(&self.inner.plane.load().entrance.counts());
        #[cfg(feature = "cache")]
        page.caches(&self.caches());
        #[cfg(feature = "dns")]
        page.dns(&self.dns_stats());
        #[cfg(feature = "redis")]
        for (name, kind, help, value) in self.inner.fabric.iter().flat_map(|fabric| fabric.stats().rows()) {
            page.metric(name, kind, help, [("", value)]);
        }
        page.finish()
    }

    /// What DNS has answered since the start.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn dns_stats(&self) -> pop_dns::server::Counts {
        self.inner.dns_counters.read()
    }
}
