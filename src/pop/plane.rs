//! What a reload replaces: who is let in, and hosts with their origins, caches and limits.

#[cfg(any(feature = "tls", feature = "ratelimit"))]
use std::sync::Arc;

#[cfg(feature = "cache")]
use pop_cache::http::{HttpCache, QueryService};

use super::entrance::Entrance;
use super::hosts::HostTable;
use super::{BuildError, PopBuilder};
#[cfg(feature = "cache")]
use crate::clock::Moment;
use crate::config::{Host, Pattern};
use crate::origin::OriginService;

/// Everything that a request is answered with. Immutable; requests under way keep the one they began with.
#[derive(Debug)]
pub(super) struct Plane {
    /// Tells this one from those before it.
    pub(super) generation: u64,
    pub(super) table: HostTable<Site>,
    #[cfg(feature = "cache")]
    pub(super) caches: Vec<Cached>,
    pub(super) entrance: Entrance,
    #[cfg(feature = "ratelimit")]
    pub(super) limit: Option<LiveLimit>,
    /// All limits, with whose they are.
    #[cfg(feature = "ratelimit")]
    limits: Vec<(Owner, LiveLimit)>,
}

/// A host's pattern and path prefix; `None` for the PoP's own.
#[cfg(any(feature = "cache", feature = "ratelimit"))]
type Owner = Option<(String, String)>;

/// A limit and what it knows of clients, which the next plane takes over where the terms are the same.
#[cfg(feature = "ratelimit")]
#[derive(Clone, Debug)]
pub(super) struct LiveLimit {
    terms: crate::config::Limit,
    tiers: Arc<pop_ratelimit::PrefixTiers>,
}

#[cfg(feature = "ratelimit")]
impl LiveLimit {
    pub(super) fn check_at(
        &self,
        client: std::net::IpAddr,
        now: pop_ratelimit::Timestamp,
        cost: u64,
    ) -> pop_ratelimit::Verdict {
        self.tiers.check_at(client, now, cost)
    }
}

/// A cache and the policy it was made by.
#[cfg(feature = "cache")]
#[derive(Debug)]
pub(super) struct Cached {
    owner: Owner,
    policy: crate::config::CachePolicy,
    pub(super) cache: HttpCache,
    #[cfg(feature = "disk")]
    disk: Option<pop_cache::http::DiskTier>,
}

/// A host, ready to answer.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) service: SiteService,
    #[cfg(feature = "ratelimit")]
    pub(super) limit: Option<LiveLimit>,
}

#[derive(Clone, Debug)]
pub(super) enum SiteService {
    #[cfg(feature = "cache")]
    Cached(CachedSite),
    Plain(OriginService),
}

/// A host behind a cache.
#[cfg(feature = "cache")]
#[derive(Clone, Debug)]
pub(super) struct CachedSite {
    pub(super) service: QueryService<OriginService>,
    /// Whether QUERY goes through the cache.
    pub(super) caches_queries: bool,
}

impl Plane {
    /// Judges hosts and makes what they need. Caches whose policy is that of `previous` keep what they hold.
    pub(super) fn new(spec: &PopBuilder, previous: Option<&Self>) -> Result<Self, BuildError> {
        let mut plane = Self {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            table: HostTable::default(),
            #[cfg(feature = "cache")]
            caches: Vec::new(),
            entrance: Entrance::new(
                &spec.gates,
                spec.identify.as_ref(),
                spec.settings.connections_max,
                previous.map(|previous| &previous.entrance),
            ),
            #[cfg(feature = "ratelimit")]
            limit: None,
            #[cfg(feature = "ratelimit")]
            limits: Vec::new(),
        };
        #[cfg(feature = "ratelimit")]
        {
            plane.limit = spec.limit.map(|terms| plane.limit(None, terms, previous));
        }
        for host in &spec.hosts {
            let pattern = Pattern::parse(&host.pattern)
                .map_err(|source| BuildError::Host { pattern: host.pattern.clone(), source })?;
            if !host.path_prefix.is_empty() && !host.path_prefix.starts_with('/') {
                let (host, prefix) = (host.pattern.clone(), host.path_prefix.clone());
                return Err(BuildError::PathPrefix { host, prefix });
            }
            let site = Site {
                service: plane.service(spec, host, previous)?,
                #[cfg(feature = "ratelimit")]
                limit: host.limit.map(|terms| {
                    plane.limit(Some((host.pattern.clone(), host.path_prefix.clone())), terms, previous)
                }),
            };
            plane
                .table
                .add(&pattern, &host.path_prefix, site)
                .map_err(|_| BuildError::Duplicate { host: host.pattern.clone() })?;
        }
        Ok(plane)
    }

    fn service(
        &mut self,
        spec: &PopBuilder,
        host: &Host,
        previous: Option<&Self>,
    ) -> Result<SiteService, BuildError> {
        let name = || host.pattern.clone();
        let origin = host.origin.clone().ok_or_else(|| BuildError::NoOrigin { host: name() })?;
        #[cfg(feature = "tls")]
        let tls = if origin.is_tls { Some(client_config(&origin, &host.pattern)?) } else { None };
        let origin = OriginService::new(
            origin,
            &spec.name,
            #[cfg(feature = "tls")]
            tls,
        )
        .map_err(|source| BuildError::Origin { host: name(), source })?;
        #[cfg(feature = "cache")]
        {
            use tower_layer::Layer;
            let owner = host.cache.as_ref().map(|_| (host.pattern.clone(), host.path_prefix.clone()));
            let policy = host.cache.as_ref().or(spec.cache.as_ref());
            if let Some(policy) = policy.filter(|policy| policy.capacity_bytes > 0) {
                let cache = self.cache(spec, owner, policy, previous)?;
                let service = cache.query_layer().layer(origin);
                return Ok(SiteService::Cached(CachedSite {
                    service,
                    caches_queries: policy.caches_queries,
                }));
            }
        }
        #[cfg(not(feature = "cache"))]
        let _ = previous;
        Ok(SiteService::Plain(origin))
    }

    /// A limit, with what is known already where `previous` has it on the same terms.
    #[cfg(feature = "ratelimit")]
    fn limit(&mut self, owner: Owner, terms: crate::config::Limit, previous: Option<&Self>) -> LiveLimit {
        let known = previous.into_iter().flat_map(|previous| &previous.limits);
        let kept = known.filter(|(own, limit)| *own == owner && limit.terms == terms);
        let limit = kept.map(|(_, limit)| limit.clone()).next().unwrap_or_else(|| LiveLimit {
            terms,
            tiers: Arc::new(pop_ratelimit::PrefixTiers::new(terms.quota, terms.memory_bytes)),
        });
        self.limits.push((owner, limit.clone()));
        limit
    }

    #[cfg(feature = "cache")]
    fn cache(
        &mut self,
        spec: &PopBuilder,
        owner: Owner,
        policy: &crate::config::CachePolicy,
        previous: Option<&Self>,
    ) -> Result<HttpCache, BuildError> {
        if let Some(own) = self.caches.iter().find(|cached| cached.owner == owner) {
            return Ok(own.cache.clone());
        }
        let kept = previous
            .and_then(|previous| previous.caches.iter().find(|cached| cached.owner == owner))
            .filter(|cached| cached.policy.is_same(policy));
        let host = || owner.as_ref().map(|(host, _)| host.clone());
        #[cfg(feature = "disk")]
        let disk = self.disk(spec, policy, previous).map_err(|(folder, source)| BuildError::Disk {
            host: host(),
            folder,
            source,
        })?;
        let cache = match kept {
            Some(kept) => kept.cache.clone(),
            None => {
                let settings = HttpCache::builder(policy.capacity_bytes)
                    .name(&spec.name)
                    .clock(|| Moment::now().in_calendar());
                #[cfg(feature = "disk")]
                let settings = match &disk {
                    Some(disk) => settings.tier(disk.clone()),
                    None => settings,
                };
                #[cfg(feature = "redis")]
                let settings = match spec.fabric.as_ref().and_then(crate::Fabric::tier) {
                    Some(shared) => settings.tier(shared),
                    None => settings,
                };
                policy.apply(settings).build().map_err(|source| BuildError::Cache { host: host(), source })?
            }
        };
        self.caches.push(Cached {
            owner,
            policy: policy.clone(),
            cache: cache.clone(),
            #[cfg(feature = "disk")]
            disk,
        });
        Ok(cache)
    }

    /// The disk of a policy: the one that is open already, in this plane or in the one before, or one that is opened now.
    #[cfg(feature = "disk")]
    fn disk(
        &self,
        spec: &PopBuilder,
        policy: &crate::config::CachePolicy,
        previous: Option<&Self>,
    ) -> Result<Option<pop_cache::http::DiskTier>, (std::path::PathBuf, std::io::Error)> {
        let Some(disk) = policy.disk.as_ref().filter(|_| !spec.is_rehearsal) else { return Ok(None) };
        let known = self.caches.iter().chain(previous.into_iter().flat_map(|previous| &previous.caches));
        let open = known
            .filter(|cached| cached.policy.disk.as_ref().is_some_and(|own| own.folder == disk.folder))
            .find_map(|cached| cached.disk.clone());
        match open {
            Some(open) => Ok(Some(open)),
            None => pop_cache::http::DiskTier::open(&disk.folder, disk.capacity_bytes)
                .map(Some)
                .map_err(|source| (disk.folder.clone(), source)),
        }
    }
}

/// TLS towards an origin: its certificate must be valid, by the authorities of its own file or of the system.
#[cfg(feature = "tls")]
fn client_config(
    origin: &crate::config::Origin,
    host: &str,
) -> Result<Arc<rustls::ClientConfig>, BuildError> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| BuildError::Tls {
        field: format!("host {host:?}: origin: ca_file"),
        source,
    };
    let file = match &origin.ca_file {
        Some(file) => file.clone(),
        None => {
            system_authorities().ok_or_else(|| failed("no certificate bundle of the system found".into()))?
        }
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&file).map_err(|error| failed(error.into()))? {
        // A bundle may hold certificates that rustls does not take; one it takes is needed.
        let _ = roots.add(certificate.map_err(|error| failed(error.into()))?);
    }
    if roots.is_empty() {
        return Err(failed(format!("{}: no certificate in it", file.display()).into()));
    }
    let mut config = rustls::ClientConfig::builder_with_provider(crate::config::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Where systems keep their bundle of authorities.
#[cfg(feature = "tls")]
fn system_authorities() -> Option<std::path::PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    named.into_iter().chain(usual.into_iter().map(Into::into)).find(|path| path.is_file())
}
