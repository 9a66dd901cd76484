//! Origins: where content comes from.

use std::fmt;
use std::time::Duration;

/// Where a host's content comes from: one backend, or several of equal standing.
///
/// Addresses come from configuration alone, never from a request. They may be private; link-local and cloud metadata
/// addresses are refused when they are connected to, whatever a name resolves to.
///
/// ```
/// use std::time::Duration;
/// use pop_edge::Origin;
///
/// let origin = Origin::http("10.0.0.1:8080")
///     .backend("10.0.0.2:8080")
///     .connect_timeout(Duration::from_millis(500))
///     .first_byte_timeout(Duration::from_secs(5));
/// # let _ = origin;
/// ```
#[derive(Clone, Debug)]
pub struct Origin {
    pub(crate) is_tls: bool,
    pub(crate) backends: Vec<String>,
    pub(crate) host_field: HostField,
    pub(crate) connect_timeout: Duration,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) between_bytes_timeout: Duration,
    pub(crate) idle_connections_max: usize,
    pub(crate) retries_max: u32,
    pub(crate) public_only: bool,
    pub(crate) order: Order,
    #[cfg(feature = "tls")]
    pub(crate) ca_file: Option<std::path::PathBuf>,
}

/// Which backend is asked first.
#[derive(Clone, Debug, Default)]
pub(crate) enum Order {
    /// All are equal: the less busy of two.
    #[default]
    Even,
    /// The nearest to the client that is well, by this selector; for each of its sites, the backend.
    #[cfg(feature = "route")]
    Nearest(std::sync::Arc<pop_route::Selector>, Box<[Option<usize>]>),
}

/// What the origin reads in `Host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostField {
    /// What the client asked for.
    #[default]
    Keep,
    /// The backend's own address.
    Backend,
    /// This name.
    Name(String),
}

impl Origin {
    /// One backend spoken to in clear: `host:port`, or a host alone for port 80.
    #[must_use]
    pub fn http(backend: impl Into<String>) -> Self {
        Self {
            is_tls: false,
            backends: vec![backend.into()],
            host_field: HostField::Keep,
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: Duration::from_secs(30),
            between_bytes_timeout: Duration::from_secs(30),
            idle_connections_max: 64,
            retries_max: 1,
            public_only: false,
            order: Order::Even,
            #[cfg(feature = "tls")]
            ca_file: None,
        }
    }

    /// One backend spoken to over TLS: `host:port`, or a host alone for port 443. Its certificate must be valid for
    /// the host.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn https(backend: impl Into<String>) -> Self {
        Self { is_tls: true, ..Self::http(backend) }
    }

    /// `http://…` or `https://…`, as operators write it.
    ///
    /// # Errors
    /// The scheme is neither of them, or there is a path or a user.
    pub fn from_url(url: &str) -> Result<Self, OriginAddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(OriginAddressError::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        Target::parse(rest, 80)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => Ok(Self::http(rest)),
            #[cfg(feature = "tls")]
            "https" => Ok(Self::https(rest)),
            _ => Err(OriginAddressError::Scheme),
        }
    }

    /// One more backend of equal standing.
    #[must_use]
    pub fn backend(mut self, backend: impl Into<String>) -> Self {
        self.backends.push(backend.into());
        self
    }

    /// One backend a site, spoken to in clear: each client is served by the backend of the site that `selector` ranks
    /// first for it, and by the next one where that fails or rests. Backends of sites that the selector does not know
    /// are asked last.
    #[cfg(feature = "route")]
    #[must_use]
    pub fn nearest(
        selector: std::sync::Arc<pop_route::Selector>,
        backends: impl IntoIterator<Item = (impl AsRef<str>, impl Into<String>)>,
    ) -> Self {
        let mut by_site = vec![None; selector.sites().len()];
        let mut origin = Self { backends: Vec::new(), ..Self::http("") };
        for (index, (site, backend)) in backends.into_iter().enumerate() {
            origin.backends.push(backend.into());
            if let Some(id) = selector.sites().find(site.as_ref()) {
                by_site[id.index()] = Some(index);
            }
        }
        origin.order = Order::Nearest(selector, by_site.into());
        origin
    }

    /// What the origin reads in `Host`. Default: what the client asked for.
    #[must_use]
    pub fn host_field(mut self, field: HostField) -> Self {
        self.host_field = field;
        self
    }

    /// How long resolving, connecting and a TLS handshake may take. Default 2 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the head of a response may take from the sending of the request. Default 30 s.
    #[must_use]
    pub fn first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.first_byte_timeout = timeout;
        self
    }

    /// How long a body may pause. Default 30 s.
    #[must_use]
    pub fn between_bytes_timeout(mut self, timeout: Duration) -> Self {
        self.between_bytes_timeout = timeout;
        self
    }

    /// Idle connections kept to each backend. Default 64.
    #[must_use]
    pub fn idle_connections_max(mut self, connections: usize) -> Self {
        self.idle_connections_max = connections;
        self
    }

    /// How often a request that may be repeated is, when it fails before an answer. Default once; a budget of a fifth
    /// of all requests bounds retries whatever is set here.
    #[must_use]
    pub fn retries_max(mut self, retries: u32) -> Self {
        self.retries_max = retries;
        self
    }

    /// Refuses every address that is not public. Default no.
    #[must_use]
    pub fn public_only(mut self) -> Self {
        self.public_only = true;
        self
    }

    /// Certificates (PEM) of the authorities trusted for this origin. Default: the system's bundle.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    pub(crate) fn targets(&self) -> Result<Vec<Backend>, OriginAddressError> {
        if self.backends.is_empty() || self.backends.len() > BACKENDS_MAX {
            return Err(OriginAddressError::Count(self.backends.len()));
        }
        let port = if self.is_tls { 443 } else { 80 };
        let backend = |text: &String| Ok(Backend { name: text.clone(), target: Target::parse(text, port)? });
        self.backends.iter().map(backend).collect()
    }
}

/// The most backends of an origin.
pub(crate) const BACKENDS_MAX: usize = 256;

/// A backend that has been judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) target: Target,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    fn parse(text: &str, default_port: u16) -> Result<Self, OriginAddressError> {
        if text.contains(['/', '@', '?', '#']) {
            return Err(OriginAddressError::Extra);
        }
        let (host, port) = match text.rfind(':') {
            Some(colon) if !text[colon..].contains(']') => {
                let port = text[colon + 1..].parse().map_err(|_| OriginAddressError::Port)?;
                (&text[..colon], port)
            }
            _ => (text, default_port),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_valid = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                !host.is_empty() && host.bytes().all(fits)
            }
        };
        if !is_valid || port == 0 {
            return Err(if is_valid { OriginAddressError::Port } else { OriginAddressError::Host });
        }
        Ok(Self { host: bare.unwrap_or(host).to_ascii_lowercase(), port })
    }

    /// As an authority.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// The address of a backend that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginAddressError {
    /// Not `http://` or `https://`.
    Scheme,
    /// No host name and no address.
    Host,
    /// A port that is none.
    Port,
    /// A path, a query or a user, which an origin does not have.
    Extra,
    /// This many backends, none or more than 256.
    Count(usize),
}

impl fmt::Display for OriginAddressError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => formatter.write_str("expected http:// or https://"),
            Self::Host => formatter.write_str("expected a host name or an address"),
            Self::Port => formatter.write_str("expected a port from 1 to 65535"),
            Self::Extra => {
                formatter.write_str("expected host and port alone, found a path, a query or a user")
            }
            Self::Count(count) => write!(formatter, "expected 1 to {BACKENDS_MAX} backends, found {count}"),
        }
    }
}

impl std::error::Error for OriginAddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_backends() {
        let target = |text| Target::parse(text, 80).map(|target| target.authority());
        assert_eq!(target("Origin.example").as_deref(), Ok("origin.example:80"));
        assert_eq!(target("127.0.0.1:8080").as_deref(), Ok("127.0.0.1:8080"));
        assert_eq!(target("[::1]:8080").as_deref(), Ok("[::1]:8080"));
        assert_eq!(target("[::1]").as_deref(), Ok("[::1]:80"));
        assert_eq!(target(""), Err(OriginAddressError::Host));
        assert_eq!(target("a:0"), Err(OriginAddressError::Port));
        assert_eq!(target("a:http"), Err(OriginAddressError::Port));
        assert_eq!(target("user@a"), Err(OriginAddressError::Extra));
        assert_eq!(target("[zz]:1"), Err(OriginAddressError::Host));
        assert_eq!(Origin::from_url("ftp://a").err(), Some(OriginAddressError::Scheme));
        assert_eq!(Origin::from_url("http://a/b").err(), Some(OriginAddressError::Extra));
        assert_eq!(Origin::from_url("http://a:1/").map(|origin| origin.backends), Ok(vec!["a:1".to_owned()]));
    }
}
