//! Binding: every address that a PoP was told, before anything is served.

use std::net::SocketAddr;
#[cfg(feature = "tls")]
use std::sync::Arc;

use super::handle::Addresses;
use super::{BuildError, Missing, Pop, PopBuilder, RunError};
use crate::serve::{self, Bound};

/// Sockets before somebody serves on them.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) wanted: Vec<Wanted>,
    #[cfg(feature = "dns")]
    pub(super) dns: Vec<super::builder::DnsListener>,
    /// Bound and not yet served on.
    pub(super) ready: Option<Ready>,
    /// Where everything was bound first; later runs bind the same.
    pub(super) addresses: Option<Addresses>,
}

#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) address: SocketAddr,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<crate::config::Showcase>,
}

#[derive(Default)]
pub(super) struct Ready {
    /// The runtime it was bound in.
    runtime: Option<tokio::runtime::Id>,
    pub(super) http: Vec<Bound>,
    pub(super) admin: Option<Bound>,
    #[cfg(feature = "dns")]
    pub(super) dns: Vec<(pop_dns::server::Server, Option<pop_dns::forward::Forwarder>)>,
}

impl Pop {
    /// Binds every address, so that what cannot be bound is known, and free ports are, before anything is served.
    /// [`run_until`](Self::run_until) does it where it was not done. Must be called within the runtime that serves.
    ///
    /// # Errors
    /// [`RunError::Bind`] names the first address that cannot be bound; [`RunError::Missing`] says what a PoP lacks that
    /// could serve nobody.
    pub async fn bind(&self) -> Result<Addresses, RunError> {
        let _turn = self.inner.turn.lock().await;
        {
            let sockets = self.inner.sockets();
            if let (Some(_), Some(addresses)) = (&sockets.ready, &sockets.addresses) {
                return Ok(addresses.clone());
            }
        }
        let (ready, addresses) = self.open().await?;
        self.inner.sockets().ready = Some(ready);
        Ok(addresses)
    }

    /// The sockets of one run: those that [`bind`](Self::bind) left for it, else ones of its own. Where ports are
    /// shared, what was bound for one runtime is left to it, since sockets of DNS are driven by the runtime they were
    /// bound in.
    pub(super) async fn claim(&self) -> Result<Ready, RunError> {
        let _turn = self.inner.turn.lock().await;
        let is_ours = |ready: &mut Ready| !self.inner.shares_ports || ready.runtime == runtime();
        if let Some(ready) = self.inner.sockets().ready.take_if(is_ours) {
            return Ok(ready);
        }
        Ok(self.open().await?.0)
    }

    /// What it lacks to serve anybody, if it does.
    pub(super) fn missing(&self) -> Option<Missing> {
        let sockets = self.inner.sockets();
        let listens_for_http = !sockets.wanted.is_empty();
        #[cfg(feature = "dns")]
        let listens = listens_for_http || !sockets.dns.is_empty();
        #[cfg(not(feature = "dns"))]
        let listens = listens_for_http;
        if !listens {
            return Some(Missing::Listener);
        }
        (listens_for_http && self.inner.plane.load().table.is_empty()).then_some(Missing::Host)
    }

    /// Binds everything, at the first time; later what can be shared, on the same ports. One at a time: the caller has
    /// the turn.
    async fn open(&self) -> Result<(Ready, Addresses), RunError> {
        if let Some(missing) = self.missing() {
            return Err(RunError::Missing(missing));
        }
        let (mut wanted, mut addresses) = {
            let sockets = self.inner.sockets();
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
        let mut ready = Ready { runtime: runtime(), ..Ready::default() };
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
            bound.tls = wanted.tls.as_ref().map(|tls| Arc::clone(&tls.config));
        }
        #[cfg(feature = "dns")]
        if is_first {
            let dns = self.inner.sockets().dns.clone();
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
                    let showcase = certificates.showcase();
                    Some(showcase.map_err(|error| failed(std::io::Error::other(error)))?.config)
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
        self.inner.sockets().addresses = Some(addresses.clone());
        Ok((ready, addresses))
    }
}

fn runtime() -> Option<tokio::runtime::Id> {
    tokio::runtime::Handle::try_current().ok().map(|handle| handle.id())
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

impl Sockets {
    /// Whether a description has the listeners that there are.
    pub(super) fn listens_as(&self, spec: &PopBuilder) -> bool {
        let http = spec.http.iter();
        #[cfg(feature = "tls")]
        let http = http.chain(spec.https.iter().map(|(address, _)| address));
        #[cfg(feature = "dns")]
        if !self.dns.iter().map(|(address, _)| address).eq(spec.dns.iter().map(|(address, _)| address)) {
            return false;
        }
        self.wanted.iter().map(|wanted| &wanted.address).eq(http)
    }
}

/// Plain listeners first, then those with TLS.
pub(super) fn wanted(spec: &PopBuilder) -> Result<Vec<Wanted>, BuildError> {
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
            .showcase()
            .map_err(|source| BuildError::Tls { field: format!("https {address}"), source: source.into() })?;
        wanted.push(Wanted { address: *address, tls: Some(tls) });
    }
    Ok(wanted)
}
