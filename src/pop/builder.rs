//! The builder: everything that a PoP is told before it runs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;

use super::entrance::MadeGate;
use super::{BuildError, Pop};
use crate::config::{Admin, Host, Origin, Preset, Settings};
use crate::exchange::Gate;

pub(super) type Identify = Arc<dyn Fn(IpAddr, &HeaderMap) -> IpAddr + Send + Sync>;

/// A [`Pop`] under construction. Nothing is bound, opened or read before [`build`](Self::build), and nothing is bound
/// by it either.
pub struct PopBuilder {
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) http: Vec<SocketAddr>,
    #[cfg(feature = "tls")]
    pub(super) https: Vec<(SocketAddr, crate::config::Certificates)>,
    pub(super) hosts: Vec<Host>,
    #[cfg(feature = "cache")]
    pub(super) cache: Option<crate::config::CachePolicy>,
    #[cfg(feature = "ratelimit")]
    pub(super) limit: Option<crate::config::Limit>,
    #[cfg(feature = "dns")]
    pub(super) dns: Vec<DnsListener>,
    #[cfg(feature = "dns")]
    pub(super) zones: Vec<pop_dns::zone::Zone>,
    #[cfg(all(feature = "dns", feature = "route"))]
    pub(super) geo: Vec<String>,
    #[cfg(feature = "route")]
    pub(super) selector: Option<Arc<pop_route::Selector>>,
    #[cfg(feature = "redis")]
    pub(super) fabric: Option<crate::Fabric>,
    pub(super) gates: Vec<MadeGate>,
    pub(super) identify: Option<Identify>,
    pub(super) shares_ports: bool,
    /// Whether folders stay closed, because nothing will run.
    pub(super) is_rehearsal: bool,
    pub(super) admin: Option<Admin>,
}

impl fmt::Debug for PopBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PopBuilder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .field("http", &self.http)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// Where DNS is answered, and who answers what is not of our zones.
#[cfg(feature = "dns")]
pub(super) type DnsListener = (SocketAddr, Option<pop_dns::forward::Forwarder>);

/// Bytes of the cache of a CDN's PoP, where nothing else is said.
#[cfg(feature = "cache")]
const CAPACITY: u64 = 256 << 20;

impl PopBuilder {
    pub(super) fn new(name: String, preset: Preset) -> Self {
        Self {
            name,
            settings: Settings::preset(preset),
            http: Vec::new(),
            #[cfg(feature = "tls")]
            https: Vec::new(),
            hosts: Vec::new(),
            #[cfg(feature = "cache")]
            cache: (preset != Preset::Cloud).then(|| crate::config::CachePolicy::preset(CAPACITY)),
            #[cfg(feature = "ratelimit")]
            limit: (preset == Preset::Security)
                .then(|| crate::config::Limit::per_client(pop_ratelimit::Quota::per_second(50).burst(100))),
            #[cfg(feature = "dns")]
            dns: Vec::new(),
            #[cfg(feature = "dns")]
            zones: Vec::new(),
            #[cfg(all(feature = "dns", feature = "route"))]
            geo: Vec::new(),
            #[cfg(feature = "route")]
            selector: None,
            #[cfg(feature = "redis")]
            fabric: None,
            gates: Vec::new(),
            identify: None,
            shares_ports: false,
            is_rehearsal: false,
            admin: None,
        }
    }

    /// Listens for HTTP/1.1, and HTTP/2 with prior knowledge. Port 0 takes a free one, which
    /// [`Handle::addresses`](super::Handle::addresses) tells. Can be said several times.
    #[must_use]
    pub fn http(mut self, address: SocketAddr) -> Self {
        self.http.push(address);
        self
    }

    /// Listens for HTTPS: HTTP/1.1 and HTTP/2 by ALPN.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn https(mut self, address: SocketAddr, certificates: crate::config::Certificates) -> Self {
        self.https.push((address, certificates));
        self
    }

    /// Answers DNS for `zone` over UDP and TCP. Can be said several times: every address answers every zone.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn dns(mut self, address: SocketAddr, zone: pop_dns::zone::Zone) -> Self {
        if !self.dns.iter().any(|(known, _)| *known == address) {
            self.dns.push((address, None));
        }
        self.zone(zone)
    }

    /// One more zone, for every address that answers DNS.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn zone(mut self, zone: pop_dns::zone::Zone) -> Self {
        self.zones.push(zone);
        self
    }

    /// Resolves for subscribers over UDP and TCP: what lies in the PoP's own zones is answered from them, for
    /// everything else `forwarder` asks upstream, or its cache.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn resolver(mut self, address: SocketAddr, forwarder: pop_dns::forward::Forwarder) -> Self {
        self.dns.retain(|(known, _)| *known != address);
        self.dns.push((address, Some(forwarder)));
        self
    }

    /// Chooses among sites; needed for [`geo`](Self::geo) and for explanations.
    #[cfg(feature = "route")]
    #[must_use]
    pub fn route(mut self, selector: Arc<pop_route::Selector>) -> Self {
        self.selector = Some(selector);
        self
    }

    /// The addresses of this name are those of the site that the selector chooses for whoever asks: by client subnet
    /// where the resolver tells it, with the scope and the time to live of the choice.
    #[cfg(all(feature = "dns", feature = "route"))]
    #[must_use]
    pub fn geo(mut self, name: impl Into<String>) -> Self {
        self.geo.push(name.into());
        self
    }

    /// How answers are cached, for all hosts that have no policy of their own.
    #[cfg(feature = "cache")]
    #[must_use]
    pub fn cache(mut self, policy: crate::config::CachePolicy) -> Self {
        self.cache = Some(policy);
        self
    }

    /// How much one client may ask, over all hosts.
    #[cfg(feature = "ratelimit")]
    #[must_use]
    pub fn limit(mut self, limit: crate::config::Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// No limit but those of the gates, whatever the preset says.
    #[cfg(feature = "ratelimit")]
    #[must_use]
    pub fn without_limit(mut self) -> Self {
        self.limit = None;
        self
    }

    /// Serves a host from an origin, by the PoP's policies.
    #[must_use]
    pub fn host(self, pattern: impl Into<String>, origin: Origin) -> Self {
        self.host_with(Host::new(pattern).origin(origin))
    }

    /// Serves a host by policies of its own.
    #[must_use]
    pub fn host_with(mut self, host: Host) -> Self {
        self.hosts.push(host);
        self
    }

    /// Shares with other PoPs what the fabric carries: purges by the [`Handle`](super::Handle) reach all of them.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn fabric(mut self, fabric: crate::Fabric) -> Self {
        self.fabric = Some(fabric);
        self
    }

    /// One more gate that connections and requests have to pass, after those before.
    #[must_use]
    pub fn gate(mut self, gate: impl Gate) -> Self {
        self.gates.push(MadeGate { from: None, gate: Arc::new(gate) });
        self
    }

    /// A gate that a reload keeps, with all that it knows, where it would be made from the same again.
    #[cfg(feature = "config")]
    pub(super) fn gate_made_from(mut self, from: String, gate: impl Gate) -> Self {
        self.gates.push(MadeGate { from: Some(from), gate: Arc::new(gate) });
        self
    }

    /// Who asks: gets the peer's address and the request's fields. Default: the peer, whatever fields say.
    #[must_use]
    pub fn identify(
        mut self,
        identify: impl Fn(IpAddr, &HeaderMap) -> IpAddr + Send + Sync + 'static,
    ) -> Self {
        self.identify = Some(Arc::new(identify));
        self
    }

    /// Serves metrics, health, explanations and, if it is allowed, purges.
    #[must_use]
    pub fn admin(mut self, admin: Admin) -> Self {
        self.admin = Some(admin);
        self
    }

    /// Changes deadlines and bounds from what the preset says.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Lets several runtimes, or processes, listen on the same ports (SO_REUSEPORT): each call of
    /// [`Pop::run_until`](super::Pop::run_until) binds sockets of its own. Default no: a port in use is an error.
    #[must_use]
    pub fn share_ports(mut self) -> Self {
        self.shares_ports = true;
        self
    }

    /// Judges everything as [`build`](Self::build) and [`Pop::bind`] do, and touches nothing: folders of caches stay
    /// closed, so that they may be those of a PoP that runs.
    ///
    /// # Errors
    /// [`BuildError`] names the field that is wrong.
    pub fn check(mut self) -> Result<(), BuildError> {
        self.is_rehearsal = true;
        let pop = Pop::new(self)?;
        pop.missing().map_or(Ok(()), |missing| Err(BuildError::Missing(missing)))
    }

    /// Judges everything and makes the PoP. Nothing is bound yet; the folders of caches on disk are opened.
    ///
    /// # Errors
    /// [`BuildError`] names the field that is wrong.
    pub fn build(self) -> Result<Pop, BuildError> {
        Pop::new(self)
    }
}
