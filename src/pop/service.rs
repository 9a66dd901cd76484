//! One request through the PoP: for whom, from whom, may it, and then the cache or the origin.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tower_service::Service;

use super::Inner;
use super::future::{Answering, answer, refuse};
use super::plane::{Plane, Site};
use crate::body::{Body, BoxError, IngressRate, RequestBody};
use crate::config::Framing;
use crate::exchange::{Connection, Denial, Permit, RequestHead, Seat, Tail, Verdict};
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
            is_ours: false,
            server_name: None,
            observer: inner.observer(),
            seat: Arc::default(),
            stamp: AtomicU64::new(0),
            ambiguous: AtomicBool::new(false),
            interim: None,
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
        self.inner.answer(request, RequestBody::any, peer, &self.connection, &mut Visit::default())
    }
}

/// The PoP as the handler of its own listeners.
#[derive(Clone)]
pub(super) struct Edge(pub(super) Arc<Inner>);

impl Handler for Edge {
    type Future = Answering;
    type Visit = Visit;

    fn admit(&self, peer: SocketAddr, seat: &Arc<Seat>) -> Option<Vec<Permit>> {
        self.0.plane.load().entrance.connection(peer, seat)
    }

    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        visit: &mut Visit,
    ) -> Answering {
        let settings = &self.0.settings;
        let rate = IngressRate { window: settings.body_window, bytes: settings.body_bytes };
        let wire = move |body| RequestBody::wire(body, rate);
        self.0.answer(request, wire, connection.peer.ip(), connection, visit)
    }
}

/// What is remembered of a connection: which site its last request was for. The next one asks for the same host.
#[derive(Debug, Default)]
pub(super) struct Visit {
    /// The plane that this was found in.
    generation: u64,
    /// The authority as the client wrote it.
    written: Box<str>,
    /// The same for targets without one.
    authority: Option<Authority>,
    host: Box<str>,
    site: usize,
}

impl Visit {
    /// The site of a host that any path of it has, if it was the last one.
    fn recall(&self, plane: &Plane, written: Option<&str>) -> Option<usize> {
        (self.generation == plane.generation && Some(&*self.written) == written).then_some(self.site)
    }

    fn remember(&mut self, plane: &Plane, written: &str, host: String, site: usize) {
        *self = Self {
            generation: plane.generation,
            written: written.into(),
            authority: written.parse().ok(),
            host: host.into_boxed_str(),
            site,
        };
    }
}

/// The authority of a request where it is written in one way, in its target or in `Host` or in both.
fn written<'a>(uri: &'a Uri, field: Option<&'a HeaderValue>) -> Option<&'a str> {
    match (uri.authority(), field) {
        (None, Some(field)) => field.to_str().ok(),
        (Some(named), Some(field)) if *named.as_str() != *field => None,
        (Some(named), _) => Some(named.as_str()),
        (None, None) => None,
    }
}

impl Inner {
    fn answer<B>(
        &self,
        mut request: Request<B>,
        wrap: impl FnOnce(B) -> RequestBody,
        peer: IpAddr,
        connection: &Arc<Connection>,
        visit: &mut Visit,
    ) -> Answering
    where
        B: http_body::Body,
    {
        let mut tail = Tail::begin(Arc::clone(connection));
        if request.version() >= Version::HTTP_2 {
            join_cookies(request.headers_mut());
        }
        let plane = self.plane.load();
        let client = plane.entrance.client(peer, request.headers());
        let is_gateway = client != peer.to_canonical();
        let site =
            match self.judge(&plane, identity::Head::of(&request), client, connection, visit, &mut tail) {
                Ok(site) => site,
                Err(denial) => {
                    if let Some(line) = &mut tail.line {
                        line.reason = Some(denial.reason);
                    }
                    connection.observer.denied(denial.reason);
                    plane.entrance.answered(client, denial.status);
                    return Answering::ready(refuse(denial, tail));
                }
            };
        if connection.is_tls && request.uri().scheme().is_none() {
            // The cache keys by the scheme, and only here is it known.
            absolute(&mut request, visit);
        } else if is_gateway && !connection.has_scheme_of(request.uri()) {
            with_scheme(&mut request, connection);
        }
        if matches!(*request.method(), Method::GET | Method::HEAD) && !request.body().is_end_stream() {
            let request = without_content(request);
            return answer(&site.service, request, |body| body, tail, client, &self.settings);
        }
        answer(&site.service, request, wrap, tail, client, &self.settings)
    }

    /// The site of a request, or why it is not answered.
    fn judge<'a>(
        &self,
        plane: &'a Plane,
        request: identity::Head<'_>,
        client: IpAddr,
        connection: &Connection,
        visit: &mut Visit,
        tail: &mut Tail,
    ) -> Result<&'a Site, Denial> {
        let identity::Head { method, uri, version, headers } = request;
        let field = identity::host_field(request, &self.settings);
        let written = field.ok().and_then(|field| written(uri, field));
        let known = visit.recall(plane, written);
        let host = match (known, field) {
            (Some(_), _) => Ok(Cow::Borrowed(&*visit.host)),
            (None, Ok(field)) => identity::host(uri, field),
            (None, Err(denial)) => Err(denial),
        };
        let shown = host.as_deref().unwrap_or_default();
        tail.line = monitor::line(client, method, shown, uri.path(), version);
        let host = host?;
        // A request for `https` that came in clear, or the other way round, would be stored under a key that it is not the
        // answer to (RFC 9110 §7.4). A proxy that is trusted to tell the client may have had another connection to it.
        if client == connection.peer.ip().to_canonical() && !connection.has_scheme_of(uri) {
            return Err(Denial::new(StatusCode::MISDIRECTED_REQUEST, "other-scheme"));
        }
        if connection.ambiguous.load(Ordering::Relaxed)
            && self.settings.framing == Framing::Refuse
            && headers.contains_key(TRANSFER_ENCODING)
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
        let (index, remembers) = match known {
            Some(site) => (site, None),
            None => {
                let found = plane
                    .table
                    .find(&host, || normal_path(uri))
                    .ok_or(Denial::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host"))?;
                (found.site, written.filter(|_| found.is_whole_host))
            }
        };
        let head =
            RequestHead { client, method, uri, host: &host, headers, version, is_tls: connection.is_tls };
        for gate in plane.entrance.gates() {
            if let Verdict::Deny(denial) = gate.request(&head) {
                return Err(denial);
            }
        }
        let site = plane.table.site(index);
        #[cfg(feature = "ratelimit")]
        let now = pop_ratelimit::Timestamp::from_nanos(tail.started.as_nanos());
        #[cfg(feature = "ratelimit")]
        for limit in plane.limit.iter().chain(&site.limit) {
            if let pop_ratelimit::Verdict::Denied { decision, .. } = limit.check_at(client, now, 1) {
                return Err(Denial::limited(decision.retry_after()));
            }
        }
        if let Some(written) = remembers {
            let host = host.into_owned();
            visit.remember(plane, written, host, index);
        }
        Ok(site)
    }
}

/// The path as the cache keys it: no dot segments, no needless escapes. Hosts are told apart by that one.
fn normal_path(uri: &Uri) -> Cow<'_, str> {
    let path = uri.path();
    #[cfg(feature = "cache")]
    if path.contains("/.") || path.contains('%') {
        let mut target = uri.clone().into_parts();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(Authority::from_static("host"));
        if let Ok(uri) = Uri::from_parts(target)
            && let Ok(key) = pop_cache::http::CacheKey::from_uri(&uri)
        {
            let path = key.target().split('?').next().unwrap_or_default();
            return Cow::Owned(path.to_owned());
        }
    }
    Cow::Borrowed(path)
}

/// Writes scheme and authority into the target of a request that came over TLS, which has passed for one host.
fn absolute<B>(request: &mut Request<B>, visit: &Visit) {
    let mut target = request.uri().clone().into_parts();
    target.scheme = Some(Scheme::HTTPS);
    let field = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    target.authority = match &visit.authority {
        Some(authority) if Some(authority.as_str()) == field => Some(authority.clone()),
        _ => field.and_then(|host| host.parse().ok()),
    };
    if target.path_and_query.is_some()
        && target.authority.is_some()
        && let Ok(uri) = Uri::from_parts(target)
    {
        *request.uri_mut() = uri;
    }
}

/// Writes the connection's scheme into the target of a request whose client spoke another one to a trusted proxy.
fn with_scheme<B>(request: &mut Request<B>, connection: &Connection) {
    let mut target = request.uri().clone().into_parts();
    target.scheme = Some(if connection.is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    if let Ok(uri) = Uri::from_parts(target) {
        *request.uri_mut() = uri;
    }
}

/// One `Cookie` field of the several that HTTP/2 lets a client send (RFC 9113 §8.2.3): gates, cache and origins read one.
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut all = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        all.extend_from_slice(b"; ");
        all.extend_from_slice(line.as_bytes());
    }
    // Two values and a separator are a value.
    if let Ok(joined) = HeaderValue::from_bytes(&all) {
        headers.insert(COOKIE, joined);
    }
}

/// GET and HEAD have no content: what they carry has no meaning (RFC 9110 §9.3.1), is in no key, and could make the
/// origin answer otherwise than it answers everybody else.
fn without_content<B>(mut request: Request<B>) -> Request<RequestBody> {
    let is_http1 = request.version() < Version::HTTP_2;
    let headers = request.headers_mut();
    headers.remove(CONTENT_LENGTH);
    if is_http1 {
        headers.remove(TRANSFER_ENCODING);
    }
    request.map(|_| RequestBody::default())
}
