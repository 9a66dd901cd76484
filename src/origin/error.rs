//! Why an origin gave no answer.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

use crate::body::BoxError;

/// What went wrong, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection: resolved, refused, unreachable.
    Connect,
    /// No connection within the deadline.
    ConnectTimeout,
    /// Every address is one that must not be connected to.
    RefusedTarget,
    /// No head of a response within the deadline.
    FirstByteTimeout,
    /// The connection broke, or what came was not HTTP.
    Broken,
    /// The response is framed in a way that two readers could read differently.
    Framing,
    /// The client did not send its body in time.
    SlowClient,
}

impl Failure {
    /// The word for logs, metrics and `Cache-Status`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "origin-connect",
            Self::ConnectTimeout => "origin-connect-timeout",
            Self::RefusedTarget => "origin-refused-target",
            Self::FirstByteTimeout => "origin-first-byte-timeout",
            Self::Broken => "origin-broken",
            Self::Framing => "origin-framing",
            Self::SlowClient => "slow-body",
        }
    }

    /// What the client is answered.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::ConnectTimeout | Self::FirstByteTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::SlowClient => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// An origin that gave no answer.
#[derive(Debug)]
pub(crate) struct OriginError {
    pub(crate) failure: Failure,
    pub(crate) backend: String,
    source: Option<BoxError>,
}

impl OriginError {
    pub(crate) fn new(failure: Failure, backend: &str) -> Self {
        Self { failure, backend: backend.to_owned(), source: None }
    }

    pub(crate) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.backend, self.failure.as_str())
    }
}

impl std::error::Error for OriginError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Resolve(std::io::Error),
    Refused(SocketAddr),
    Io(std::io::Error),
    Timeout(Duration),
    #[cfg(feature = "tls")]
    Tls(std::io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(_) => formatter.write_str("the name does not resolve"),
            Self::Refused(address) => write!(formatter, "{address} is not an address of an origin"),
            Self::Io(_) => formatter.write_str("cannot connect"),
            Self::Timeout(timeout) => write!(formatter, "no connection within {timeout:?}"),
            #[cfg(feature = "tls")]
            Self::Tls(_) => formatter.write_str("TLS handshake failed"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve(error) | Self::Io(error) => Some(error),
            #[cfg(feature = "tls")]
            Self::Tls(error) => Some(error),
            _ => None,
        }
    }
}
