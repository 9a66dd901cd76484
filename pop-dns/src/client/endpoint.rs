//! Where a server is, and how it is spoken to.

use std::fmt;
use std::net::SocketAddr;
#[cfg(feature = "tls")]
use std::sync::Arc;

/// A server: its address, and whether it is asked by UDP with TCP behind it, by TCP, by TLS or by HTTPS.
#[derive(Clone)]
pub struct Endpoint {
    address: SocketAddr,
    way: Way,
}

#[derive(Clone)]
pub(super) enum Way {
    /// UDP, and TCP where an answer does not fit.
    Udp,
    /// TCP alone.
    Tcp,
    /// DNS over TLS (RFC 7858).
    #[cfg(feature = "tls")]
    Tls(rustls::pki_types::ServerName<'static>, Arc<rustls::ClientConfig>),
    /// DNS over HTTPS (RFC 8484).
    #[cfg(all(feature = "doh", feature = "tls"))]
    Https(super::https::Https),
}

impl Endpoint {
    /// Asked by UDP, and by TCP where an answer does not fit.
    #[must_use]
    pub const fn udp(address: SocketAddr) -> Self {
        Self { address, way: Way::Udp }
    }

    /// Asked by TCP.
    #[must_use]
    pub const fn tcp(address: SocketAddr) -> Self {
        Self { address, way: Way::Tcp }
    }

    /// Asked by TLS (RFC 7858), as `name`, which the server's certificate has to be good for.
    #[cfg(feature = "tls")]
    #[must_use]
    pub const fn tls(
        address: SocketAddr,
        name: rustls::pki_types::ServerName<'static>,
        config: Arc<rustls::ClientConfig>,
    ) -> Self {
        Self { address, way: Way::Tls(name, config) }
    }

    /// Asked by HTTPS (RFC 8484), by POST, at `uri`, `https://dns.example/dns-query` say, whose host the server's
    /// certificate has to be good for. `address` is where that host is: a client of DNS cannot look it up. `None` if `uri` is
    /// not that of an HTTPS server with a path and no query.
    ///
    /// The configuration is copied, with the protocols of HTTP in it. Clone the endpoint to ask on the same connection.
    #[cfg(all(feature = "doh", feature = "tls"))]
    #[must_use]
    pub fn https(address: SocketAddr, uri: http::Uri, config: &rustls::ClientConfig) -> Option<Self> {
        Some(Self { address, way: Way::Https(super::https::Https::new(uri, config)?) })
    }

    /// The same by GET, so that HTTP caches on the way may answer; no change where HTTPS is not spoken.
    #[cfg(all(feature = "doh", feature = "tls"))]
    #[must_use]
    pub fn by_get(self) -> Self {
        match self.way {
            Way::Https(https) => Self { way: Way::Https(https.by_get()), ..self },
            way => Self { way, ..self },
        }
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) const fn way(&self) -> &Way {
        &self.way
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::udp(address)
    }
}

/// Two endpoints are one if the same connection may serve both.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
            && match (&self.way, &other.way) {
                (Way::Udp, Way::Udp) | (Way::Tcp, Way::Tcp) => true,
                #[cfg(feature = "tls")]
                (Way::Tls(one, config), Way::Tls(two, other)) => one == two && Arc::ptr_eq(config, other),
                #[cfg(all(feature = "doh", feature = "tls"))]
                (Way::Https(one), Way::Https(two)) => one.is_same(two),
                _ => false,
            }
    }
}

impl Eq for Endpoint {}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Udp => write!(f, "{}", self.address),
            Way::Tcp => write!(f, "tcp:{}", self.address),
            #[cfg(feature = "tls")]
            Way::Tls(name, _) => write!(f, "tls:{}@{}", name.to_str(), self.address),
            #[cfg(all(feature = "doh", feature = "tls"))]
            Way::Https(https) => write!(f, "{}@{}", https.uri(), self.address),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
