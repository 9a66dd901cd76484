//! One request through the PoP: for whom, from whom, may it, and then the cache or the origin.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{Method, Request, Response, StatusCode, Uri, Version, request};
use hyper::body::Incoming;
use tower_service::Service;

use super::Inner;
use super::future::{Answering, answer, refuse};
use super::plane::{Plane, Site};
use crate::body::{Body, BoxError, IngressRate, RequestBody};
use crate::config::Framing;
use crate::exchange::{Connection, Denial, RequestHead, Tail, Verdict};
use crate::monitor;
use crate::serve::{Handler, identity};

/// A [`Pop`](super::Pop) as a tower service, to be mounted in a server of your own.
///
/// That server is asked for what the PoP's own listeners do before it: deadlines, bounds, strict framing. Put the
/// client's address into the request's extensions as a [`SocketAddr`]; without one, every client is the same.
#[derive(Clone)]
pub struct PopService {
    inner: Arc<Inner>,
    connection: Arc<Connection>,
}

impl std::fmt::Debug for PopService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PopService").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl PopService {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let connection = Arc::new(Connection {
            pop: Arc::clone(&inner.name),
            peer: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            is_tls: false,
            server_name: None,
            observer: inner.observer(),
            seat: Arc::default(),
            ambiguous: AtomicBool::new(false),
        });
        Self { inner, connection }
    }
}

impl<B> Service<Request<B>> for PopService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let peer = request.extensions().get::<SocketAddr>().map_or(self.connection.peer.ip(), SocketAddr::ip);
        let (parts, body) = request.into_parts();
        self.inner.answer(parts, RequestBody::any(body), peer, &self.connection)
    }
}

/// The PoP as the handler of its own listeners.
#[derive(Clone)]
pub(super) struct Edge(pub(super) Arc<Inner>);

impl Handler for Edge {
    type Future = Answering;

    fn handle(&self, request: Request<Incoming>, connection: &Arc<Connection>) -> Answering {
        let settings = &self.0.settings;
        let rate = IngressRate { window: settings.body_window, bytes: settings.body_bytes };
        let (parts, body) = request.into_parts();
        self.0.answer(parts, RequestBody::wire(body, rate), connection.peer.ip(), connection)
    }
}

impl Inner {
    fn answer(
        &self,
        mut parts: request::Parts,
        body: RequestBody,
        peer: IpAddr,
        connection: &Arc<Connection>,
    ) -> Answering {
        let mut tail = Tail::begin(Arc::clone(connection));
        let plane = self.plane.load();
        let client = match &self.identify {
            Some(identify) => identify(peer, &parts.headers),
            None => peer.to_canonical(),
        };
        let judged = self.judge(&plane, &parts, client, connection, &mut tail);
        let (site, host) = match judged {
            Ok(found) => found,
            Err(denial) => {
                if let Some(line) = &mut tail.line {
                    line.reason = Some(denial.reason);
                }
                self.answered(client, denial.status);
                return Answering::ready(refuse(denial, tail));
            }
        };
        if connection.is_tls && parts.uri.scheme().is_none() {
            // The cache keys by the scheme, and only here is it known.
            let uri = absolute(&host, &parts);
            drop(host);
            parts.uri = uri;
        } else {
            drop(host);
        }
        let body = content(&mut parts, body);
        answer(&site.service, Request::from_parts(parts, body), tail, client, &self.settings)
    }

    /// The site of a request, and the host it asked for; or why it is not answered.
    fn judge<'a, 'p>(
        &self,
        plane: &'a Plane,
        parts: &'p request::Parts,
        client: IpAddr,
        connection: &Connection,
        tail: &mut Tail,
    ) -> Result<(&'a Site, Cow<'p, str>), Denial> {
        let host = identity::host(parts, &self.settings);
        let shown = host.as_deref().unwrap_or_default();
        tail.line = monitor::line(client, &parts.method, shown, parts.uri.path(), parts.version);
        let host = host?;
        if connection.ambiguous.load(Ordering::Relaxed)
            && self.settings.framing == Framing::Refuse
            && parts.headers.contains_key(TRANSFER_ENCODING)
        {
            return Err(Denial::new(StatusCode::BAD_REQUEST, "two-framings").closing());
        }
        if connection
            .server_name
            .as_deref()
            .is_some_and(|name| name.strip_suffix('.').unwrap_or(name) != host)
        {
            return Err(Denial::new(StatusCode::MISDIRECTED_REQUEST, "other-server-name"));
        }
        let site = plane
            .table
            .find(&host, || normal_path(parts))
            .ok_or(Denial::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host"))?;
        let head = RequestHead {
            client,
            method: &parts.method,
            uri: &parts.uri,
            host: &host,
            headers: &parts.headers,
            version: parts.version,
            is_tls: connection.is_tls,
        };
        for gate in self.gates.iter() {
            if let Verdict::Deny(denial) = gate.request(&head) {
                return Err(denial);
            }
        }
        #[cfg(feature = "ratelimit")]
        for limit in plane.limit.iter().chain(&site.limit) {
            if let pop_ratelimit::Verdict::Denied { decision, .. } = limit.check(client, 1) {
                return Err(Denial::limited(decision.retry_after()));
            }
        }
        Ok((site, host))
    }

    pub(super) fn answered(&self, client: IpAddr, status: StatusCode) {
        for gate in self.gates.iter() {
            gate.answered(client, status);
        }
    }
}

/// The path as the cache keys it: no dot segments, no needless escapes. Hosts are told apart by that one.
fn normal_path(parts: &request::Parts) -> Cow<'_, str> {
    let path = parts.uri.path();
    #[cfg(feature = "cache")]
    if path.contains("/.") || path.contains('%') {
        let mut target = parts.uri.clone().into_parts();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(http::uri::Authority::from_static("host"));
        if let Ok(uri) = Uri::from_parts(target)
            && let Ok(key) = pop_cache::http::CacheKey::from_uri(&uri)
        {
            let path = key.target().split('?').next().unwrap_or_default();
            return Cow::Owned(path.to_owned());
        }
    }
    Cow::Borrowed(path)
}

fn absolute(host: &str, parts: &request::Parts) -> Uri {
    let mut target = parts.uri.clone().into_parts();
    let authority = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(host);
    target.scheme = Some(Scheme::HTTPS);
    target.authority = authority.parse().ok();
    if target.path_and_query.is_none() || target.authority.is_none() {
        return parts.uri.clone();
    }
    Uri::from_parts(target).unwrap_or_else(|_| parts.uri.clone())
}

/// The body that may go on. GET and HEAD have none: what they carry has no meaning (RFC 9110 §9.3.1), is in no key,
/// and could make the origin answer otherwise than it answers everybody else.
fn content(parts: &mut request::Parts, body: RequestBody) -> RequestBody {
    if !matches!(parts.method, Method::GET | Method::HEAD) || body.is_empty() {
        return body;
    }
    parts.headers.remove(CONTENT_LENGTH);
    if parts.version < Version::HTTP_2 {
        parts.headers.remove(TRANSFER_ENCODING);
    }
    RequestBody::default()
}
