//! Who is the client? The peer of the connection, unless the peer is a proxy that we trust to tell.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

/// Addresses in forwarding fields that are looked at; a longer chain is cut, and the last trusted address counts.
pub const HOPS_MAX: usize = 32;
/// The blocks that may be trusted.
pub const PROXIES_MAX: usize = 256;

/// The proxies whose word counts: address blocks of load balancers and other PoPs.
///
/// `X-Forwarded-For` and `Forwarded` (RFC 7239) are read from the right: the rightmost address that is not one of
/// ours is the client. What stands left of it was written by that client or by strangers, and is ignored. A peer
/// that is not trusted is the client, whatever it says; so is a trusted one that tells garbage.
///
/// ```
/// use pop_edge::guard::TrustedProxies;
///
/// let proxies = TrustedProxies::new([("10.0.0.0".parse()?, 8)])?;
/// let mut headers = http::HeaderMap::new();
/// headers.insert("x-forwarded-for", "198.51.100.1, 203.0.113.7, 10.0.0.9".parse()?);
/// assert_eq!(proxies.client("10.0.0.1".parse()?, &headers), "203.0.113.7".parse::<std::net::IpAddr>()?);
/// assert_eq!(proxies.client("192.0.2.1".parse()?, &headers), "192.0.2.1".parse::<std::net::IpAddr>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    blocks: Vec<ipnet::IpNet>,
}

/// A list of proxies that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxiesError {
    /// A prefix longer than its address.
    Prefix {
        /// The address.
        address: IpAddr,
        /// The length.
        length: u8,
    },
    /// More than [`PROXIES_MAX`] blocks.
    Count {
        /// How many.
        blocks: usize,
    },
}

impl std::fmt::Display for ProxiesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix { address, length } => write!(f, "prefix length {length} is too long for {address}"),
            Self::Count { blocks } => write!(f, "{blocks} blocks of trusted proxies, at most {PROXIES_MAX}"),
        }
    }
}

impl std::error::Error for ProxiesError {}

impl TrustedProxies {
    /// Trusts these blocks.
    ///
    /// # Errors
    /// [`ProxiesError`] where a block cannot be, or there are too many.
    pub fn new(blocks: impl IntoIterator<Item = (IpAddr, u8)>) -> Result<Self, ProxiesError> {
        let blocks = blocks
            .into_iter()
            .map(|(address, length)| {
                ipnet::IpNet::new(address, length).map_err(|_| ProxiesError::Prefix { address, length })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if blocks.len() > PROXIES_MAX {
            return Err(ProxiesError::Count { blocks: blocks.len() });
        }
        Ok(Self { blocks })
    }

    /// Whether this peer's word counts.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.blocks.iter().any(|block| block.contains(&peer))
    }

    /// The client behind `peer`. Reads at most [`HOPS_MAX`] addresses, allocates nothing. `Forwarded` counts before
    /// `X-Forwarded-For` where both are there.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if self.blocks.is_empty() || !self.trusts(peer) {
            return peer;
        }
        let forwarded = HeaderName::from_static("forwarded");
        let field = if headers.contains_key(&forwarded) {
            forwarded
        } else {
            "x-forwarded-for".parse().unwrap_or(forwarded)
        };
        let standard = field.as_str() == "forwarded";
        let mut client = peer;
        // The lines in order make one list (RFC 9110 §5.3), so the last line's end is the nearest hop.
        let lines = headers.get_all(&field).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|&octet| octet == b','));
        for hop in hops.take(HOPS_MAX) {
            let text = std::str::from_utf8(hop).unwrap_or_default();
            let told = if standard { forwarded_for(text) } else { address(text.trim()) };
            let Some(told) = told else { return client };
            client = told.to_canonical();
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239 §4): `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    })?;
    address(value.trim().trim_matches('"'))
}

/// An address, with or without a port, in brackets or not. Obfuscated identifiers and `unknown` are no address.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, lines: &[(&'static str, &str)], client: &str) {
        let proxies =
            TrustedProxies::new([("10.0.0.0".parse().unwrap(), 8), ("2001:db8:ed9e::".parse().unwrap(), 48)])
                .unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let expected: IpAddr = client.parse().unwrap();
        assert_eq!(proxies.client(peer.parse().unwrap(), &headers), expected, "{peer} {lines:?}");
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let xff = "x-forwarded-for";
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[(xff, "203.0.113.7")], "203.0.113.7");
        check("10.0.0.1", &[(xff, "1.2.3.4, 203.0.113.7")], "203.0.113.7");
        check("10.0.0.1", &[(xff, "1.2.3.4"), (xff, "203.0.113.7, 10.9.9.9")], "203.0.113.7");
        check("10.0.0.1", &[(xff, "10.2.2.2, 10.9.9.9")], "10.2.2.2");
        check("::ffff:10.0.0.1", &[(xff, "::ffff:203.0.113.7")], "203.0.113.7");
        check("10.0.0.1", &[(xff, "203.0.113.7:4711")], "203.0.113.7");
        check("10.0.0.1", &[(xff, "[2001:db8::7]:4711")], "2001:db8::7");
    }

    #[test]
    fn strangers_are_not_believed() {
        check("192.0.2.1", &[("x-forwarded-for", "203.0.113.7")], "192.0.2.1");
        check("192.0.2.1", &[("forwarded", "for=203.0.113.7")], "192.0.2.1");
    }

    #[test]
    fn garbage_counts_as_the_last_address_that_was_told() {
        check("10.0.0.1", &[("x-forwarded-for", "so so")], "10.0.0.1");
        check("10.0.0.1", &[("x-forwarded-for", "1.2.3.4, unknown, 10.0.0.2")], "10.0.0.2");
        check("10.0.0.1", &[("x-forwarded-for", "")], "10.0.0.1");
        check("10.0.0.1", &[("forwarded", "for=_hidden")], "10.0.0.1");
    }

    #[test]
    fn the_standard_field_counts_before_the_other() {
        let standard = [
            ("forwarded", "for=1.2.3.4, for=\"[2001:db8::7]:1\";proto=https"),
            ("x-forwarded-for", "9.9.9.9"),
        ];
        check("10.0.0.1", &standard, "2001:db8::7");
        check("2001:db8:ed9e::1", &[("forwarded", "FOR=203.0.113.7;by=10.0.0.1")], "203.0.113.7");
    }

    #[test]
    fn a_long_chain_is_cut() {
        let chain = vec!["10.1.1.1"; HOPS_MAX + 10].join(", ");
        check("10.0.0.1", &[("x-forwarded-for", &format!("203.0.113.7, {chain}"))], "10.1.1.1");
    }
}
