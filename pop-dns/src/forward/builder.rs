//! The settings of a forwarder.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Policy, Strangers};
use super::lists::Lists;
use super::scopes::SUBNET_MAX;
use super::sift::Rules;
use super::subscribers::Subscribers;
use super::{Forwarder, Inner};
use crate::Flags;
use crate::client::{Client, Endpoint};

/// Upstreams of one forwarder.
pub const UPSTREAMS_MAX: usize = 64;

/// Settings of a [`Forwarder`]. Two have no default: where to ask, and whom to serve.
#[derive(Clone, Debug)]
pub struct ForwarderBuilder {
    upstreams: Vec<Endpoint>,
    subscribers: Vec<(IpAddr, u8)>,
    lists: Lists,
    policy: Policy,
    cache_octets: usize,
    waiting_per_network: u32,
    sockets_max: usize,
}

/// Why a forwarder cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwarderError {
    /// `upstream`: there is none.
    NoUpstream,
    /// `upstream`: there are more than [`UPSTREAMS_MAX`].
    TooManyUpstreams {
        /// How many.
        count: usize,
    },
    /// `allow`: nobody may ask. An open resolver is a weapon, so whom to serve has to be said.
    NobodyAllowed,
    /// `ttl`: the lower bound is above the upper.
    TtlBounds {
        /// The lower, in seconds.
        min: u32,
        /// The upper.
        max: u32,
    },
    /// It was not built within a tokio runtime, where its queries upstream will run.
    NoRuntime,
}

impl fmt::Display for ForwarderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUpstream => f.write_str("upstream: none given, expected at least one"),
            Self::TooManyUpstreams { count } => {
                write!(f, "upstream: {count} given, expected at most {UPSTREAMS_MAX}")
            }
            Self::NobodyAllowed => {
                f.write_str("allow: no block given, expected those whose clients are served")
            }
            Self::TtlBounds { min, max } => write!(f, "ttl: at least {min} s and at most {max} s is nothing"),
            Self::NoRuntime => f.write_str("a forwarder has to be built within a tokio runtime"),
        }
    }
}

impl std::error::Error for ForwarderError {}

impl ForwarderBuilder {
    pub(super) fn new() -> Self {
        Self {
            upstreams: Vec::new(),
            subscribers: Vec::new(),
            lists: Lists::default(),
            policy: Policy {
                rules: Rules { ttl_min: 1, ttl_max: 86_400, negative_ttl_max: 3600, flags: 0 },
                stale_max: Duration::from_secs(86_400),
                strangers: Strangers::Refuse,
                subnet: None,
                special: true,
            },
            cache_octets: 64 << 20,
            waiting_per_network: 1024,
            sockets_max: 512,
        }
    }

    /// Asks `upstream`, an address or an [`Endpoint`]. Of several the quickest that answers is asked, the others now
    /// and then, and when it is slow or silent.
    #[must_use]
    pub fn upstream(mut self, upstream: impl Into<Endpoint>) -> Self {
        self.upstreams.push(upstream.into());
        self
    }

    /// Serves the clients in `block`, address and prefix length. Nobody else is served.
    #[must_use]
    pub fn allow(mut self, block: (IpAddr, u8)) -> Self {
        self.subscribers.push(block);
        self
    }

    /// What is done with queries from elsewhere; REFUSED by default.
    #[must_use]
    pub const fn strangers(mut self, strangers: Strangers) -> Self {
        self.policy.strangers = strangers;
        self
    }

    /// Octets of the cache, bookkeeping included: 64 MiB by default. With 0 nothing is cached.
    #[must_use]
    pub const fn cache_octets(mut self, octets: usize) -> Self {
        self.cache_octets = octets;
        self
    }

    /// Bounds on TTLs in seconds; 1 and a day by default. A TTL of 0 stays 0: such an answer is not kept.
    #[must_use]
    pub const fn ttl(mut self, min: u32, max: u32) -> Self {
        (self.policy.rules.ttl_min, self.policy.rules.ttl_max) = (min, max);
        self
    }

    /// The longest that a negative answer is kept, in seconds; an hour by default (RFC 2308 §5).
    #[must_use]
    pub const fn negative_ttl_max(mut self, seconds: u32) -> Self {
        self.policy.rules.negative_ttl_max = seconds;
        self
    }

    /// How long past its time an answer may be used if nothing newer is to be had (RFC 8767); a day by default, with
    /// zero never.
    #[must_use]
    pub const fn stale_max(mut self, stale_max: Duration) -> Self {
        self.policy.stale_max = stale_max;
        self
    }

    /// Tells upstreams the client's block (RFC 7871): so many bits of it, at most 32 and 63; 24 and 56 are usual.
    /// Answers are then cached for the blocks that they are for. By default nothing is told.
    #[must_use]
    pub fn client_subnet(mut self, ipv4_bits: u8, ipv6_bits: u8) -> Self {
        self.policy.subnet = Some((ipv4_bits.min(SUBNET_MAX.0), ipv6_bits.min(SUBNET_MAX.1)));
        self
    }

    /// Passes on an upstream's word that data are authentic (AD). Only for upstreams that validate and that nobody
    /// can pose as: over TLS, or on the same host. By default the word is dropped.
    #[must_use]
    pub const fn trust_authentic_data(mut self) -> Self {
        self.policy.rules.flags = Flags::AD;
        self
    }

    /// Names that are blocked or answered here.
    #[must_use]
    pub fn lists(mut self, lists: Lists) -> Self {
        self.lists = lists;
        self
    }

    /// Asks upstreams for special-use names and private reverse zones too (RFC 6761, RFC 6303), which otherwise are
    /// answered here.
    #[must_use]
    pub const fn without_special_names(mut self) -> Self {
        self.policy.special = false;
        self
    }

    /// How many answers the clients of one network (IPv4 /24, IPv6 /56) may wait for at once; 1024 by default. Their
    /// queries beyond that are dropped.
    #[must_use]
    pub const fn waiting_per_network(mut self, queries: u32) -> Self {
        self.waiting_per_network = queries;
        self
    }

    /// How many UDP sockets towards upstreams may be open at once, 512 by default.
    #[must_use]
    pub const fn sockets_max(mut self, sockets: usize) -> Self {
        self.sockets_max = sockets;
        self
    }

    /// The forwarder. Has to be called within a tokio runtime: queries upstream run there.
    ///
    /// # Errors
    /// [`ForwarderError`] names the setting.
    pub fn build(self) -> Result<Forwarder, ForwarderError> {
        let Rules { ttl_min: min, ttl_max: max, .. } = self.policy.rules;
        match self.upstreams.len() {
            0 => return Err(ForwarderError::NoUpstream),
            count if count > UPSTREAMS_MAX => return Err(ForwarderError::TooManyUpstreams { count }),
            _ if self.subscribers.is_empty() => return Err(ForwarderError::NobodyAllowed),
            _ if min > max => return Err(ForwarderError::TtlBounds { min, max }),
            _ => {}
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ForwarderError::NoRuntime)?;
        let client = Client::builder().sockets_max(self.sockets_max).build();
        let subscribers = Subscribers::new(&self.subscribers);
        let core = Core::new(self.policy, subscribers, self.lists, self.cache_octets);
        let inner = Inner::new(core, client, self.upstreams, self.waiting_per_network, runtime);
        Ok(Forwarder(Arc::new(inner)))
    }
}
