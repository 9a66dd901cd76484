//! Why a PoP cannot be built, or cannot run.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::config::{OriginAddressError, PatternError};

/// What a PoP lacks to serve anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// It listens nowhere, for HTTP or for DNS.
    Listener,
    /// It listens for HTTP, and every request would be answered 421.
    Host,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Listener => "listen: expected an address to serve on: http, https or dns",
            Self::Host => "host: expected one at least, since it listens for HTTP",
        })
    }
}

/// A PoP that cannot be built: which field is wrong, and how.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// `name` is empty or has characters beyond letters, digits, hyphens, dots and underscores.
    Name(String),
    /// A host's pattern.
    Host {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// A host without an origin.
    NoOrigin {
        /// The host.
        host: String,
    },
    /// A path prefix that does not begin with `/`.
    PathPrefix {
        /// The host.
        host: String,
        /// As it was given.
        prefix: String,
    },
    /// Two hosts with one pattern and one path prefix.
    Duplicate {
        /// The pattern.
        host: String,
    },
    /// The address of a backend.
    Origin {
        /// The host.
        host: String,
        /// What is wrong with it.
        source: OriginAddressError,
    },
    /// A cache's settings.
    #[cfg(feature = "cache")]
    Cache {
        /// The host, if it is a host's own cache.
        host: Option<String>,
        /// What is wrong with them.
        source: pop_cache::http::ConfigError,
    },
    /// The folder below a cache.
    #[cfg(feature = "disk")]
    Disk {
        /// The host, if it is a host's own cache.
        host: Option<String>,
        /// The folder.
        folder: std::path::PathBuf,
        /// Why it cannot be used.
        source: io::Error,
    },
    /// A geographic name that lies in no zone, or is no name.
    #[cfg(all(feature = "dns", feature = "route"))]
    Geo {
        /// The name.
        name: String,
        /// What is missing.
        expected: &'static str,
    },
    /// TLS settings.
    #[cfg(feature = "tls")]
    Tls {
        /// Where they belong.
        field: String,
        /// What is wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An admin service that would be open to strangers.
    Admin {
        /// What is missing.
        expected: &'static str,
    },
    /// Something that a PoP that runs needs. [`PopBuilder::check`](super::PopBuilder::check) says so;
    /// [`PopBuilder::build`](super::PopBuilder::build) does not, since a PoP may be a service and no more.
    Missing(Missing),
    /// A setting that would refuse everything.
    Setting {
        /// Its name.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                write!(
                    formatter,
                    "name: expected letters, digits, hyphens, dots and underscores, found {name:?}"
                )
            }
            Self::Host { pattern, .. } => write!(formatter, "host {pattern:?}: not a pattern"),
            Self::NoOrigin { host } => write!(formatter, "host {host:?}: expected an origin"),
            Self::PathPrefix { host, prefix } => {
                write!(formatter, "host {host:?}: path_prefix: expected a leading slash, found {prefix:?}")
            }
            Self::Duplicate { host } => {
                write!(formatter, "host {host:?}: there are two with this pattern and path prefix")
            }
            Self::Origin { host, .. } => write!(formatter, "host {host:?}: origin"),
            #[cfg(feature = "cache")]
            Self::Cache { host: Some(host), .. } => write!(formatter, "host {host:?}: cache"),
            #[cfg(feature = "cache")]
            Self::Cache { host: None, .. } => formatter.write_str("cache"),
            #[cfg(feature = "disk")]
            Self::Disk { host, folder, .. } => {
                let owner = host.as_ref().map(|host| format!("host {host:?}: ")).unwrap_or_default();
                write!(formatter, "{owner}cache: disk {:?} cannot be used", folder.display())
            }
            #[cfg(all(feature = "dns", feature = "route"))]
            Self::Geo { name, expected } => write!(formatter, "geo {name:?}: expected {expected}"),
            #[cfg(feature = "tls")]
            Self::Tls { field, .. } => formatter.write_str(field),
            Self::Missing(missing) => missing.fmt(formatter),
            Self::Admin { expected } => write!(formatter, "admin: expected {expected}"),
            Self::Setting { field, expected } => write!(formatter, "{field}: expected {expected}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Host { source, .. } => Some(source),
            Self::Origin { source, .. } => Some(source),
            #[cfg(feature = "cache")]
            Self::Cache { source, .. } => Some(source),
            #[cfg(feature = "disk")]
            Self::Disk { source, .. } => Some(source),
            #[cfg(feature = "tls")]
            Self::Tls { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

/// A PoP that cannot run.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// An address cannot be bound.
    Bind {
        /// The address.
        address: SocketAddr,
        /// What for.
        purpose: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A bound listener cannot be used.
    Listen(io::Error),
    /// It runs already, and its ports are not to be shared.
    Running,
    /// It could serve nobody.
    Missing(Missing),
}

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, purpose, .. } => write!(formatter, "cannot bind {address} for {purpose}"),
            Self::Listen(_) => formatter.write_str("cannot listen"),
            Self::Missing(missing) => missing.fmt(formatter),
            Self::Running => formatter.write_str("it runs already, and its ports are not shared"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::Listen(source) => Some(source),
            Self::Running | Self::Missing(_) => None,
        }
    }
}
