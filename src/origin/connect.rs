//! Connections to backends: resolved, judged, opened, within one deadline.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::error::ConnectError;

/// Opens connections for the pool.
#[derive(Clone)]
pub(super) struct Connector {
    settings: Arc<Settings>,
}

struct Settings {
    timeout: Duration,
    public_only: bool,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsConnector>,
}

impl Connector {
    pub(super) fn new(
        timeout: Duration,
        public_only: bool,
        #[cfg(feature = "tls")] tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Self {
        let settings = Settings {
            timeout,
            public_only,
            #[cfg(feature = "tls")]
            tls: tls.map(Into::into),
        };
        Self { settings: Arc::new(settings) }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            let timeout = settings.timeout;
            tokio::time::timeout(timeout, settings.open(target))
                .await
                .unwrap_or(Err(ConnectError::Timeout(timeout)))
        })
    }
}

impl Settings {
    async fn open(&self, target: Uri) -> Result<Stream, ConnectError> {
        let host = target.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = target.port_u16().unwrap_or(80);
        let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => tokio::net::lookup_host((host, port)).await.map_err(ConnectError::Resolve)?.collect(),
        };
        let mut last = ConnectError::Resolve(std::io::ErrorKind::NotFound.into());
        for address in addresses {
            // Judged after resolving, so that a name which is rebound to such an address is of no use.
            if is_refused(address.ip(), self.public_only) {
                last = ConnectError::Refused(address);
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(ConnectError::Io)?;
                    return self.secure(host, stream).await;
                }
                Err(error) => last = ConnectError::Io(error),
            }
        }
        Err(last)
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, host: &str, stream: TcpStream) -> Result<Stream, ConnectError> {
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(TokioIo::new(stream))) };
        let name = rustls_pki_types::ServerName::try_from(host.to_owned())
            .map_err(|error| ConnectError::Tls(std::io::Error::other(error)))?;
        let stream = tls.connect(name, stream).await.map_err(ConnectError::Tls)?;
        Ok(Stream::Tls(TokioIo::new(Box::new(stream))))
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(&self, _: &str, stream: TcpStream) -> Result<Stream, ConnectError> {
        Ok(Stream::Plain(TokioIo::new(stream)))
    }
}

/// Addresses that no origin has: link-local ones, among them most metadata services of clouds (169.254.169.254), the
/// others of these services, multicast and the unspecified; with `public_only` everything that is not globally reachable.
pub(super) fn is_refused(address: IpAddr, public_only: bool) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            never_v4(address) || (public_only && (address.is_loopback() || !is_public_v4(address)))
        }
        IpAddr::V6(address) => never_v6(address) || (public_only && !is_public_v6(address)),
    }
}

/// Metadata services of clouds, and their agents on the host, outside the link-local blocks: Alibaba, Oracle, Azure.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
/// The same: AWS, Google.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

fn never_v4(address: Ipv4Addr) -> bool {
    address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA_V4.contains(&address)
}

fn never_v6(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || METADATA_V6.contains(&address)
        || embedded(address).is_some_and(never_v4)
}

/// The IPv4 address that packets to this one reach in the end, which is judged as what it is: NAT64 (RFC 6052, and its local
/// prefix, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380, where it is inverted), and the old form `::a.b.c.d` (RFC 4291
/// §2.5.5.1).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..]
        | [0, 0, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        _ => None,
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_documentation()
        || first == 0
        || first >= 240
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 198 && (18..20).contains(&second)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = embedded(address) {
        return is_public_v4(inner);
    }
    // Global unicast is 2000::/3 (RFC 4291 §2.4), without documentation (RFC 3849, RFC 9637).
    let [first, second, ..] = address.segments();
    let is_documentation = (first == 0x2001 && second == 0xdb8) || (first == 0x3fff && second & 0xf000 == 0);
    first & 0xe000 == 0x2000 && !is_documentation
}

/// A connection to a backend.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TokioIo<TcpStream>),
    #[cfg(feature = "tls")]
    Tls(TokioIo<Box<tokio_rustls::client::TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(_) => Connected::new(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                let is_h2 = stream.inner().get_ref().1.alpn_protocol() == Some(b"h2");
                if is_h2 { Connected::new().negotiated_h2() } else { Connected::new() }
            }
        }
    }
}

macro_rules! each {
    ($stream:expr, $name:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Plain($name) => $call,
            #[cfg(feature = "tls")]
            Stream::Tls($name) => $call,
        }
    };
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(context))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(context, buffers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, always: bool, publicly: bool) {
        let address: IpAddr = address.parse().expect("an address");
        assert_eq!(is_refused(address, false), always, "{address}");
        assert_eq!(is_refused(address, true), publicly, "{address}, public only");
    }

    #[test]
    fn refused_targets() {
        check("169.254.169.254", true, true);
        check("::ffff:169.254.169.254", true, true);
        check("64:ff9b::a9fe:a9fe", true, true);
        check("2002:a9fe:a9fe::1", true, true);
        check("fd00:ec2::254", true, true);
        check("fe80::1", true, true);
        check("0.0.0.0", true, true);
        check("::", true, true);
        check("224.0.0.1", true, true);
        check("100.100.100.200", true, true);
        check("168.63.129.16", true, true);
        check("fd20:ce::254", true, true);
        check("64:ff9b:1::a9fe:a9fe", true, true);
        check("2001:0:1::5601:5601", true, true);
        check("::169.254.169.254", true, true);
        check("64:ff9b::a00:1", false, true);
        check("64:ff9b:1::a00:1", false, true);
        check("64:1::1", false, true);
        check("3fff::1", false, true);
        check("127.0.0.1", false, true);
        check("::1", false, true);
        check("10.1.2.3", false, true);
        check("192.168.1.1", false, true);
        check("100.64.0.1", false, true);
        check("fd12::1", false, true);
        check("2001:db8::1", false, true);
        check("9.9.9.9", false, false);
        check("2620:fe::fe", false, false);
        check("64:ff9b::909:909", false, false);
    }
}
