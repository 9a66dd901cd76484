//! Why there is no answer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{BuildError, Rcode};

/// Why a query has no answer. A response with an error code is an answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// Nothing came that answers the query.
    Timeout {
        /// The server.
        server: SocketAddr,
        /// How long was waited.
        waited: Duration,
        /// Packets that came and were not the answer: forged ones, or a server that breaks the rules.
        ignored: u32,
    },
    /// The network, or the server's host, refused.
    Network {
        /// The server.
        server: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// The server answered by stream with something that is no answer to the query.
    Malformed {
        /// The server.
        server: SocketAddr,
    },
    /// The server sent a code and no question with it, also when asked without EDNS.
    Bare {
        /// The server.
        server: SocketAddr,
        /// The code.
        rcode: Rcode,
    },
    /// The server answered by HTTPS with another status than 200.
    Http {
        /// The server.
        server: SocketAddr,
        /// The status.
        status: u16,
    },
    /// The query cannot be written.
    Request(BuildError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { server, waited, ignored: 0 } => {
                write!(f, "no answer from {server} within {} ms", waited.as_millis())
            }
            Self::Timeout { server, waited, ignored } => write!(
                f,
                "no answer from {server} within {} ms; {ignored} packets were not the answer",
                waited.as_millis()
            ),
            Self::Network { server, .. } => write!(f, "cannot reach {server}"),
            Self::Malformed { server } => write!(f, "{server} sent what is no answer to the query"),
            Self::Bare { server, rcode } => write!(f, "{server} sent {rcode} and no question with it"),
            Self::Http { server, status } => write!(f, "{server} answered with HTTP status {status}"),
            Self::Request(_) => f.write_str("the query cannot be written"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Network { source, .. } => Some(source),
            Self::Request(source) => Some(source),
            _ => None,
        }
    }
}
