//! The admin service: where it listens, and what it lets be done.

use std::fmt;
use std::net::SocketAddr;

/// Where metrics are read and, if that is allowed, caches purged.
///
/// It is for operators and their programs: browsers are refused, and so is whoever calls it by a name that is not
/// `localhost` or an address. Without a token it listens on loopback only and changes nothing; on any other address it
/// needs a token and, with the feature `tls`, certificates.
///
/// ```
/// use pop_edge::Admin;
///
/// let admin = Admin::new("127.0.0.1:9090".parse()?).token("a long secret").allow_changes();
/// # let _ = admin;
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone)]
pub struct Admin {
    pub(crate) address: SocketAddr,
    pub(crate) token: Option<String>,
    pub(crate) allows_changes: bool,
    #[cfg(feature = "tls")]
    pub(crate) certificates: Option<super::Certificates>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Admin")
            .field("address", &self.address)
            .field("has_token", &self.token.is_some())
            .field("allows_changes", &self.allows_changes)
            .finish_non_exhaustive()
    }
}

/// The shortest token: 16 characters.
pub(crate) const TOKEN_MIN: usize = 16;

impl Admin {
    /// Read-only, on this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
            allows_changes: false,
            #[cfg(feature = "tls")]
            certificates: None,
        }
    }

    /// Asks for `Authorization: Bearer` with this token, of 16 characters at least.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Lets callers purge and drain.
    #[must_use]
    pub fn allow_changes(mut self) -> Self {
        self.allows_changes = true;
        self
    }

    /// Speaks TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, certificates: super::Certificates) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// Whether it is told the same; certificates are not looked at.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let told = |admin: &Self| (admin.address, admin.token.clone(), admin.allows_changes);
        told(self) == told(other)
    }

    /// What is missing, if anything is.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.token.as_ref().is_some_and(|token| token.len() < TOKEN_MIN) {
            return Some("a token of at least 16 characters");
        }
        if self.address.ip().to_canonical().is_loopback() {
            return None;
        }
        if self.token.is_none() {
            return Some("a token, for an address that is not loopback");
        }
        #[cfg(feature = "tls")]
        if self.certificates.is_some() {
            return None;
        }
        Some("TLS, for an address that is not loopback")
    }
}
