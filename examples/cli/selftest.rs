//! Self-tests: an embedded origin to serve, a raw client to ask with, and a list of claims that hold or do not.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pop_edge::Certificates;
use pop_edge::dns::server::Server;
use pop_edge::dns::zone::Zone;
use pop_edge::dns::{Authority, Message, MessageBuilder, RData, RecordType};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::Failure;

/// No single exchange takes longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most of an answer that is read.
const ANSWER_OCTETS_MAX: u64 = 1 << 20;

/// Claims, one line each.
#[derive(Debug, Default)]
pub struct Claims {
    failed: usize,
    held: usize,
}

impl Claims {
    /// Says whether a claim holds; `seen` is printed beside one that does not.
    pub fn check(&mut self, claim: &str, holds: bool, seen: impl std::fmt::Debug) {
        if holds {
            self.held += 1;
            println!("ok      {claim}");
        } else {
            self.failed += 1;
            println!("FAILED  {claim}: {seen:?}");
        }
    }

    /// Exit code 1 if a claim failed.
    ///
    /// # Errors
    /// How many failed.
    pub fn verdict(self) -> Result<(), Failure> {
        println!("{} held, {} failed", self.held, self.failed);
        if self.failed > 0 || self.held == 0 { Err(Failure::new("the self-test failed")) } else { Ok(()) }
    }
}

/// A small origin that says its name; aborting the task is a power cut.
///
/// # Errors
/// When loopback gives no port.
pub async fn origin(name: &'static str) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request: Request<Incoming>| async move {
                let body = Full::new(Bytes::from(format!("{name} {}", request.uri().path())));
                let response = Response::builder().header("cache-control", "max-age=60").body(body);
                Ok::<_, Infallible>(response.expect("a constant head is valid"))
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move {
                let _ = connection.await;
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok((address, task))
}

/// Sends octets from a source address and returns whatever comes back until the end, as text.
///
/// # Errors
/// What the connection met; above five seconds it is `TimedOut`.
pub async fn raw(source: IpAddr, server: SocketAddr, octets: &[u8]) -> io::Result<String> {
    let exchange = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        let mut stream = socket.connect(server).await?;
        stream.write_all(octets).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_OCTETS_MAX).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

/// GETs a path from a source address; the whole answer as text.
///
/// # Errors
/// As [`raw`].
pub async fn get(source: IpAddr, server: SocketAddr, host: &str, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    raw(source, server, request.as_bytes()).await
}

/// A certificate for `name`, and what a client must trust to check it.
///
/// # Errors
/// When it cannot be made.
pub fn certificates(name: &str) -> Result<(Certificates, CertificateDer<'static>), Failure> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).map_err(Failure::new)?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let certificates = Certificates::pem([name], chain.as_bytes(), key.as_bytes());
    Ok((certificates.map_err(|error| Failure::new(super::chain(&error)))?, made.cert.der().clone()))
}

/// GETs `/` over TLS, trusting one certificate; the whole answer as text.
///
/// # Errors
/// What the connection or the handshake met.
pub async fn get_tls(
    server: SocketAddr,
    name: &'static str,
    trusted: CertificateDer<'static>,
) -> io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted).map_err(io::Error::other)?;
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
    let exchange = async {
        let stream = TcpStream::connect(server).await?;
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_OCTETS_MAX).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

/// Whether an answer has this status.
pub fn is_status(answer: &io::Result<String>, status: u16) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.starts_with(&format!("HTTP/1.1 {status} ")))
}

/// A name server for one zone: an SOA, an NS, and these records.
///
/// # Errors
/// When the zone is wrong, or loopback gives no port.
pub async fn name_server(origin: &str, records: &str) -> Result<SocketAddr, Failure> {
    let zone = format!("@ 300 SOA ns hostmaster 1 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 127.0.0.1\n{records}");
    let zone = Zone::parse(zone.as_bytes(), origin.parse().map_err(Failure::config)?)?;
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into()).await.map_err(Failure::unavailable)?;
    let address = server.local_addr();
    tokio::spawn(server.run(Authority::new([zone]), Arc::default(), std::future::pending()));
    Ok(address)
}

/// Asks for the IPv4 address of a name, from a source address.
///
/// # Errors
/// No answer in time, or none with an address.
pub async fn resolve(source: IpAddr, server: SocketAddr, name: &str) -> io::Result<String> {
    let query = MessageBuilder::query(7, &name.parse().map_err(io::Error::other)?, RecordType::A).finish();
    let exchange = async {
        let socket = UdpSocket::bind((source, 0)).await?;
        socket.connect(server).await?;
        socket.send(&query).await?;
        let mut buffer = [0; 1232];
        let length = socket.recv(&mut buffer).await?;
        let message = Message::parse(&buffer[..length]).map_err(io::Error::other)?;
        for record in message.answers().map_err(io::Error::other)? {
            if let RData::A(address) = record.and_then(|record| record.rdata()).map_err(io::Error::other)? {
                return Ok(address.to_string());
            }
        }
        Err(io::Error::other(format!("no address: {:?}", message.header().flags.rcode())))
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}
