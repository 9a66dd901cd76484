//! DNS over HTTPS, the client's side (RFC 8484): one HTTP/2 connection a server, which all who ask share; with a server
//! that speaks HTTP/1.1 alone, a connection a query.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{ACCEPT, AGE, CONTENT_TYPE, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::endpoint::Endpoint;
use super::exchange::{Exchange, Verdict};
use super::stream::{Answered, NoAnswer};
use crate::doh::{Body, MEDIA_TYPE, encode_base64url};
use crate::{MESSAGE_OCTETS_MAX, Message, ParseError, RecordType};

/// Servers whose connections are kept.
const CONNECTIONS_MAX: usize = 64;
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(4);
/// The protocols we speak, the better one first (RFC 8484 §5.2).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How a server is asked.
#[derive(Clone)]
pub(super) struct Https {
    uri: Uri,
    name: ServerName<'static>,
    config: Arc<rustls::ClientConfig>,
    /// Queries stand in the URI, where HTTP caches can know them again.
    get: bool,
}

impl Https {
    /// `None` if `uri` is not that of an HTTPS server with a path.
    pub(super) fn new(uri: Uri, config: &rustls::ClientConfig) -> Option<Self> {
        let https = uri.scheme_str() == Some("https") && uri.query().is_none();
        let host = uri.host().filter(|_| https)?;
        // An IPv6 address stands in brackets there.
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).ok()?;
        let mut config = config.clone();
        config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
        Some(Self { uri, name, config: Arc::new(config), get: false })
    }

    pub(super) fn by_get(self) -> Self {
        Self { get: true, ..self }
    }

    pub(super) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether the same connection may serve both.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.uri == other.uri && Arc::ptr_eq(&self.config, &other.config)
    }

    fn request(&self, query: &[u8], absolute: bool) -> io::Result<Request<Body>> {
        let mut path = self.uri.path().to_owned();
        if self.get {
            path.push_str("?dns=");
            path.push_str(&encode_base64url(query));
        }
        let path: PathAndQuery = path.parse().map_err(io::Error::other)?;
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(path.clone());
        let request = if absolute {
            Request::builder().uri(Uri::from_parts(parts).map_err(io::Error::other)?)
        } else {
            let host = self.uri.authority().map_or("", |authority| authority.as_str());
            Request::builder().uri(Uri::from(path)).header(http::header::HOST, host)
        };
        let request = request.header(ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
        if self.get {
            return request.method(Method::GET).body(Body::default()).map_err(io::Error::other);
        }
        let request = request.method(Method::POST).header(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        request.body(Body::new(Bytes::copy_from_slice(query))).map_err(io::Error::other)
    }
}

/// The server answered with another status than 200.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(pub(super) StatusCode);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP status {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// What is known of a server.
enum Kept {
    Nothing,
    Http2(http2::SendRequest<Body>),
    /// It speaks nothing better, so there is nothing to share.
    Http1,
}

type Slot = Arc<tokio::sync::Mutex<Kept>>;

/// The connections that are open.
#[derive(Default)]
pub(super) struct HttpsPool(Mutex<Vec<(Endpoint, Slot)>>);

impl std::fmt::Debug for HttpsPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpsPool(..)")
    }
}

impl HttpsPool {
    /// Sends what `exchange` makes and waits for its answer. A connection that was kept and turns out closed is replaced
    /// once.
    pub(super) async fn ask(
        &self,
        endpoint: &Endpoint,
        https: &Https,
        exchange: impl Fn() -> Exchange,
    ) -> io::Result<Answered> {
        let slot = self.slot(endpoint);
        loop {
            // RFC 8484 §4.1: always the same identifier, for the sake of caches.
            let mut exchange = exchange();
            exchange.set_id(0);
            let (connection, kept) = connection(&slot, endpoint, https).await?;
            let sent = match connection {
                Connection::Http2(mut sender) => {
                    let request = https.request(exchange.wire(), true)?;
                    sender.send_request(request).await
                }
                Connection::Http1(mut sender) => {
                    let request = https.request(exchange.wire(), false)?;
                    sender.send_request(request).await
                }
            };
            match sent {
                Ok(response) => return read(response, exchange).await,
                Err(_) if kept => *slot.lock().await = Kept::Nothing,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    fn slot(&self, endpoint: &Endpoint) -> Slot {
        let mut slots = self.0.lock().expect("no holder of this lock panics");
        if let Some((_, slot)) = slots.iter().find(|(known, _)| known == endpoint) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(tokio::sync::Mutex::new(Kept::Nothing));
        if slots.len() >= CONNECTIONS_MAX {
            // The oldest goes; who is asking there goes on.
            slots.remove(0);
        }
        slots.push((endpoint.clone(), Arc::clone(&slot)));
        slot
    }
}

enum Connection {
    Http2(http2::SendRequest<Body>),
    Http1(http1::SendRequest<Body>),
}

/// A connection, and whether it was there before. Who comes while one is being made waits for it.
async fn connection(slot: &Slot, endpoint: &Endpoint, https: &Https) -> io::Result<(Connection, bool)> {
    let mut kept = slot.lock().await;
    match &*kept {
        Kept::Http2(sender) if !sender.is_closed() => return Ok((Connection::Http2(sender.clone()), true)),
        Kept::Http1 => drop(kept),
        _ => {
            let connection = timeout(CONNECT, connect(endpoint, https)).await??;
            *kept = match &connection {
                Connection::Http2(sender) => Kept::Http2(sender.clone()),
                Connection::Http1(_) => Kept::Http1,
            };
            return Ok((connection, false));
        }
    }
    Ok((timeout(CONNECT, connect(endpoint, https)).await??, false))
}

async fn connect(endpoint: &Endpoint, https: &Https) -> io::Result<Connection> {
    let stream = TcpStream::connect(endpoint.address()).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(&https.config));
    let stream: TlsStream<TcpStream> = connector.connect(https.name.clone(), stream).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(PROTOCOLS[0]);
    let stream = TokioIo::new(stream);
    if http2 {
        let (sender, driver) =
            http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
        tokio::spawn(driver);
        return Ok(Connection::Http2(sender));
    }
    let (sender, driver) = http1::handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(driver);
    Ok(Connection::Http1(sender))
}

async fn read(response: Response<Incoming>, exchange: Exchange) -> io::Result<Answered> {
    let no_answer = || io::Error::new(io::ErrorKind::InvalidData, NoAnswer);
    let (parts, mut body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return Err(io::Error::other(Refused(parts.status)));
    }
    let media = parts.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(no_answer());
    }
    let mut message = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(mut data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        if message.len() + data.remaining() > MESSAGE_OCTETS_MAX {
            return Err(no_answer());
        }
        while data.has_remaining() {
            let octets = data.chunk().len();
            message.extend_from_slice(data.chunk());
            data.advance(octets);
        }
    }
    let verdict = exchange.judge(&message);
    if verdict == Verdict::Ignored {
        return Err(no_answer());
    }
    // RFC 8484 §5.1: what a cache on the way kept has aged.
    let age = parts.headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0);
    if age > 0 && verdict == Verdict::Answer {
        grow_older(&mut message, age).map_err(|_| no_answer())?;
    }
    Ok((exchange, verdict, message))
}

/// Takes `age` seconds off every TTL.
fn grow_older(octets: &mut [u8], age: u32) -> Result<(), ParseError> {
    let mut places = Vec::new();
    let mut records = Message::parse(octets)?.records()?;
    while let Some(record) = records.next() {
        let record = record?;
        // A TTL stands six octets before the RDATA; that of OPT is none.
        if record.rtype != RecordType::OPT {
            places.push((records.position() - record.rdata_octets().len() - 6, record.ttl));
        }
    }
    for (at, ttl) in places {
        octets[at..at + 4].copy_from_slice(&ttl.saturating_sub(age).to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, EdnsParts, MessageBuilder, Rcode, Section};

    #[test]
    fn answers_from_a_cache_are_as_old_as_it_says() {
        let mut builder = MessageBuilder::new(512);
        builder.question(b"\x01a\x00", RecordType::A, Class::IN).unwrap();
        for ttl in [300, 10] {
            builder.rrset(Section::Answer, b"\x01a\x00", RecordType::A, ttl, [&[192, 0, 2, 1][..]]).unwrap();
        }
        let edns = EdnsParts { dnssec_ok: true, ..EdnsParts::default() };
        builder.edns(&edns, Rcode::NOERROR).unwrap();
        let mut wire = builder.finish();
        grow_older(&mut wire, 60).unwrap();
        let message = Message::parse(&wire).unwrap();
        let ttls: Vec<u32> = message.answers().unwrap().map(|record| record.unwrap().ttl).collect();
        assert_eq!(ttls, [240, 0]);
        assert!(message.edns().unwrap().unwrap().dnssec_ok);
    }

    #[test]
    fn only_an_https_uri_is_taken() {
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
        for (uri, taken) in [
            ("https://dns.example/dns-query", true),
            ("https://[2001:db8::1]:8443/dns-query", true),
            ("http://dns.example/dns-query", false),
            ("https://dns.example/dns-query?x=1", false),
            ("/dns-query", false),
        ] {
            assert_eq!(Https::new(uri.parse().unwrap(), &config).is_some(), taken, "{uri}");
        }
    }
}
