//! Who the client is, behind proxies of one's own: the rightmost address that is not theirs.
//!
//! A client can write any forwarding field it likes; only what one's own proxies appended is true. So the field
//! counts only if the peer is a proxy, and it is read from the right, past one's own proxies, to the first other
//! address. Whatever is not an address on that way makes the whole field worthless, and the peer itself is the client.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use ::http::header::{FORWARDED, HeaderMap, HeaderName};

use crate::{Access, AccessError, AccessList};

/// Hops that are followed at most; a longer way is worthless.
pub const FORWARDED_HOPS_MAX: usize = 32;
/// Bytes of the field, all lines together; a longer one is worthless.
const FIELD_BYTES_MAX: usize = 8192;

/// Which field one's own proxies write. Never more than one: a client could send the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardingField {
    /// `Forwarded` (RFC 7239), its `for` parameters.
    Forwarded,
    /// `X-Forwarded-For`, addresses with commas between.
    XForwardedFor,
}

/// One's own proxies, and the field that they write.
///
/// ```
/// use http::HeaderMap;
/// use pop_ratelimit::http::{ForwardingField, TrustedProxies};
///
/// let own = TrustedProxies::new(ForwardingField::XForwardedFor, [("10.0.0.0".parse()?, 8)])?;
/// let mut headers = HeaderMap::new();
/// headers.insert("x-forwarded-for", "1.1.1.1, 198.51.100.7, 10.1.1.1".parse()?);
/// assert_eq!(own.client("10.9.9.9".parse()?, &headers).to_string(), "198.51.100.7");
/// // From anybody else the field means nothing.
/// assert_eq!(own.client("192.0.2.1".parse()?, &headers).to_string(), "192.0.2.1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    field: ForwardingField,
    own: AccessList,
}

impl TrustedProxies {
    /// The networks of one's own proxies, each with its prefix length.
    ///
    /// # Errors
    /// [`AccessError`] names the network.
    pub fn new(
        field: ForwardingField,
        networks: impl IntoIterator<Item = (IpAddr, u8)>,
    ) -> Result<Self, AccessError> {
        let rules = networks.into_iter().map(|network| (network, Access::Allow));
        Ok(Self { field, own: AccessList::new(rules)? })
    }

    /// No proxies: the peer is the client.
    #[must_use]
    pub fn none() -> Self {
        Self { field: ForwardingField::Forwarded, own: AccessList::default() }
    }

    /// The client behind `peer`. IPv4-mapped addresses come out as IPv4.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.is_own(peer) {
            return peer;
        }
        self.rightmost_other(headers).unwrap_or(peer)
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.own.of(address).is_some()
    }

    /// `None` for a field that is absent or worthless.
    fn rightmost_other(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let name = match self.field {
            ForwardingField::Forwarded => FORWARDED,
            ForwardingField::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        };
        let mut bytes = 0;
        let mut hops = LastHops { hops: [""; FORWARDED_HOPS_MAX], seen: 0 };
        for line in headers.get_all(name) {
            bytes += line.len();
            if bytes > FIELD_BYTES_MAX {
                return None;
            }
            split(line.to_str().ok()?, b',', |hop| hops.push(hop))?;
        }
        let mut last = None;
        for hop in hops.rightmost_first() {
            let address = match self.field {
                ForwardingField::Forwarded => forwarded_for(hop)?,
                ForwardingField::XForwardedFor => address(hop)?,
            };
            if !self.is_own(address) {
                return Some(address);
            }
            last = Some(address);
        }
        // All of them are one's own: one of them is the client.
        last
    }
}

/// The hops that are looked at, without allocation: the others would be forgotten anyway.
struct LastHops<'a> {
    hops: [&'a str; FORWARDED_HOPS_MAX],
    seen: usize,
}

impl<'a> LastHops<'a> {
    fn push(&mut self, hop: &'a str) {
        self.hops[self.seen % FORWARDED_HOPS_MAX] = hop;
        self.seen += 1;
    }

    fn rightmost_first(&self) -> impl Iterator<Item = &'a str> {
        let first = self.seen.saturating_sub(FORWARDED_HOPS_MAX);
        (first..self.seen).rev().map(|hop| self.hops[hop % FORWARDED_HOPS_MAX])
    }
}

/// Splits at the separators that are not inside quotes; `None` if a quote does not end.
fn split<'a>(text: &'a str, separator: u8, mut part: impl FnMut(&'a str)) -> Option<()> {
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            // An ASCII byte is a character boundary.
            _ if byte == separator && !quoted => {
                part(text[start..index].trim_matches([' ', '\t']));
                start = index + 1;
            }
            _ => {}
        }
    }
    part(text[start..].trim_matches([' ', '\t']));
    (!quoted).then_some(())
}

/// The address of an element's `for` parameter; there must be exactly one.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let (mut found, mut times) = ("", 0);
    split(element, b';', |pair| {
        if let Some((name, value)) = pair.split_once('=')
            && name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for")
        {
            (found, times) = (value, times + 1);
        }
    })?;
    let value = if times == 1 { found } else { return None };
    let value = value.trim_matches([' ', '\t']);
    // A quoted address needs no escapes, so whatever has one is not an address.
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    address(inner.unwrap_or(value))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| bracketed().map(IpAddr::V6))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const PROXY: &str = "10.0.0.1";

    fn check(field: ForwardingField, lines: &[&str], client: &str) {
        let own = [("10.0.0.0".parse().unwrap(), 8), ("2001:db8:aaaa::".parse().unwrap(), 48)];
        let proxies = TrustedProxies::new(field, own).unwrap();
        let mut headers = HeaderMap::new();
        let name = match field {
            ForwardingField::Forwarded => "forwarded",
            ForwardingField::XForwardedFor => "x-forwarded-for",
        };
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        let found = proxies.client(PROXY.parse().unwrap(), &headers);
        assert_eq!(found.to_string(), client, "{lines:?}");
    }

    #[test]
    fn the_rightmost_address_that_is_not_ours() {
        let check = |lines: &[&str], client| check(ForwardingField::XForwardedFor, lines, client);
        check(&["192.0.2.1"], "192.0.2.1");
        check(&["6.6.6.6, 192.0.2.1"], "192.0.2.1");
        check(&["6.6.6.6", "192.0.2.1, 10.2.2.2"], "192.0.2.1");
        check(&["192.0.2.1:4711"], "192.0.2.1");
        check(&["[2001:db8::1]:4711 "], "2001:db8::1");
        check(&["[2001:db8::1]"], "2001:db8::1");
        check(&["2001:db8::1, 2001:db8:aaaa::5"], "2001:db8::1");
        check(&["::ffff:192.0.2.1"], "192.0.2.1");
        check(&["10.3.3.3, 10.2.2.2"], "10.3.3.3");
    }

    #[test]
    fn garbage_is_the_peer_itself() {
        let check = |lines: &[&str]| check(ForwardingField::XForwardedFor, lines, PROXY);
        check(&[]);
        check(&[""]);
        check(&["unknown"]);
        check(&["192.0.2.1, "]);
        check(&["192.0.2.1, 10.2.2.2, x"]);
        check(&["999.0.2.1"]);
        check(&["192.0.2.1\""]);
        check(&[&"1.1.1.1,".repeat(2000)]);
        // A way longer than the bound, all over one's own proxies, ends at the bound.
        let long = ["6.6.6.6"].into_iter().chain([PROXY; FORWARDED_HOPS_MAX]).collect::<Vec<_>>().join(",");
        check(&[&long]);
    }

    #[test]
    fn garbage_left_of_the_client_is_the_client_s_own_affair() {
        check(ForwardingField::XForwardedFor, &["<script>, 192.0.2.1"], "192.0.2.1");
    }

    #[test]
    fn the_forwarded_field_is_read_with_its_quotes() {
        let check = |lines: &[&str], client| check(ForwardingField::Forwarded, lines, client);
        check(&["for=192.0.2.1"], "192.0.2.1");
        check(&[r#"For="[2001:db8::1]:4711";proto=https;by=10.0.0.1"#], "2001:db8::1");
        check(&[r#"for=6.6.6.6;host="a,b;for=1.1.1.1", for=192.0.2.1;by=x, for=10.1.1.1"#], "192.0.2.1");
        check(&["for=unknown"], PROXY);
        check(&["for=_hidden"], PROXY);
        check(&["proto=http"], PROXY);
        check(&["for=192.0.2.1;for=192.0.2.2"], PROXY);
        check(&[r#"for="192.0.2.1"#], PROXY);
    }

    #[test]
    fn without_proxies_nothing_is_believed() {
        let mut headers = HeaderMap::new();
        headers.insert("forwarded", "for=192.0.2.1".parse().unwrap());
        let peer = "127.0.0.1".parse().unwrap();
        assert_eq!(TrustedProxies::none().client(peer, &headers), peer);
    }
}
