//! The service behind the cache: one request in, one answer of a backend out, or the reason why not.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use super::connect::Connector;
use super::error::{ConnectError, Failure, OriginError};
use super::forward;
use super::group::Group;
use crate::body::{OriginBody, RequestBody, TooSlow};
use crate::clock::Moment;
use crate::config::{HostField, Order, Origin, OriginAddressError};
use crate::exchange::Trail;
use crate::interim::Interim;

/// How long an unused connection to a backend is kept.
const POOL_IDLE: std::time::Duration = std::time::Duration::from_secs(60);
/// The retry budget in hundredths: each request adds 20, a retry takes 100, ten can be saved up.
const BUDGET_PER_REQUEST: i64 = 20;
const BUDGET_PER_RETRY: i64 = 100;
const BUDGET_MAX: i64 = 1000;

/// An origin to call. A clone is another handle on the same pool.
#[derive(Clone)]
pub(crate) struct OriginService {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Origin,
    pop: String,
    scheme: Scheme,
    group: Group,
    client: Client<Connector, RequestBody>,
    budget: AtomicI64,
}

impl std::fmt::Debug for OriginService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("OriginService").field(&self.shared.group).finish()
    }
}

impl OriginService {
    pub(crate) fn new(
        origin: Origin,
        pop: &str,
        #[cfg(feature = "tls")] tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Self, OriginAddressError> {
        let group = Group::new(origin.targets()?);
        let connector = Connector::new(
            origin.connect_timeout,
            origin.public_only,
            #[cfg(feature = "tls")]
            tls.map(|tls| offering(tls, &origin.host_field)),
        );
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(origin.idle_connections_max)
            .http1_max_buf_size(256 * 1024)
            .set_host(false)
            .build(connector);
        let scheme = if origin.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
        let shared =
            Shared { scheme, group, client, pop: pop.to_owned(), budget: AtomicI64::new(BUDGET_MAX), origin };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Service<Request<RequestBody>> for OriginService {
    type Response = Response<OriginBody>;
    type Error = OriginError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<OriginBody>, OriginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.send(request).await })
    }
}

/// HTTP/2 is offered only where the backend is asked by its own name. There `:authority` is what the connection pool knows
/// a backend by, and a `Host` that differs from it is read in two ways (RFC 9113 §8.3.1).
#[cfg(feature = "tls")]
fn offering(tls: Arc<rustls::ClientConfig>, host_field: &HostField) -> Arc<rustls::ClientConfig> {
    if matches!(host_field, HostField::Backend) {
        return tls;
    }
    let mut tls = rustls::ClientConfig::clone(&tls);
    tls.alpn_protocols.retain(|protocol| protocol != b"h2");
    Arc::new(tls)
}

/// A request that can be sent more than once.
struct Message {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
    body: RequestBody,
    is_repeatable: bool,
    /// Who is told of interim responses.
    interim: Option<Interim>,
}

impl Shared {
    async fn send(&self, request: Request<RequestBody>) -> Result<Response<OriginBody>, OriginError> {
        let (mut parts, body) = request.into_parts();
        let trail = parts
            .extensions
            .remove::<Trail>()
            .unwrap_or_else(|| Trail::new(std::net::Ipv4Addr::UNSPECIFIED.into(), false, Moment::now()));
        let host = asked_host(&parts.uri, &parts.headers);
        forward::to_origin(&mut parts.headers, parts.version, &self.pop, &host, &trail);
        if body.is_empty() && !has_length_semantics(&parts.method) {
            parts.headers.remove(CONTENT_LENGTH);
        }
        let mut message = Message {
            is_repeatable: body.is_empty() && parts.method.is_idempotent(),
            method: parts.method,
            target: parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers: parts.headers,
            body,
            interim: parts.extensions.remove(),
        };
        if let Ok(value) = HeaderValue::try_from(host) {
            message.headers.insert(HOST, value);
        }
        self.earn();
        let mut tried = None;
        let mut retries = 0;
        loop {
            let index = self.choose(&trail, tried);
            let result = self.attempt(index, &mut message, &trail).await;
            // A 5xx is an answer; but a backend that gives no other is not well.
            let is_success =
                result.as_ref().is_ok_and(|response| response.status() != StatusCode::SERVICE_UNAVAILABLE);
            if !matches!(&result, Err(error) if error.failure == Failure::SlowClient) {
                self.group.observe(index, is_success);
            }
            match result {
                Err(error)
                    if message.is_repeatable
                        && retries < self.origin.retries_max
                        && is_retried(error.failure)
                        && self.spend() =>
                {
                    tracing::debug!(error = crate::exchange::chain(&error), "origin asked again");
                    retries += 1;
                    tried = Some(index);
                }
                result => return result,
            }
        }
    }

    fn choose(&self, trail: &Trail, tried: Option<usize>) -> usize {
        #[cfg(not(feature = "route"))]
        let _ = trail;
        match &self.origin.order {
            Order::Even => self.group.choose(tried),
            #[cfg(feature = "route")]
            Order::Nearest(selector, by_site) => self.group.nearest(selector, by_site, trail.client(), tried),
        }
    }

    async fn attempt(
        &self,
        index: usize,
        message: &mut Message,
        trail: &Trail,
    ) -> Result<Response<OriginBody>, OriginError> {
        let member = self.group.member(index);
        let name = &*member.backend.name;
        let _pending = self.group.begin(index);
        trail.attempt();
        let mut body = std::mem::take(&mut message.body);
        let progress = (!body.is_empty()).then(|| body.watch());
        let mut request = Request::new(body);
        *request.method_mut() = message.method.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = if message.is_repeatable {
            message.headers.clone()
        } else {
            std::mem::take(&mut message.headers)
        };
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(member.authority.clone());
        uri.path_and_query = Some(message.target.clone());
        // Scheme, authority and path are all there.
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        if let Some(interim) = message.interim.clone() {
            hyper::ext::on_informational(&mut request, move |head| {
                interim.pass_on(head.status(), head.headers());
            });
        }
        match &self.origin.host_field {
            HostField::Keep => {}
            HostField::Backend => set_host(request.headers_mut(), member.authority.as_str()),
            HostField::Name(name) => set_host(request.headers_mut(), name),
        }
        let timeout = self.origin.connect_timeout + self.origin.first_byte_timeout;
        let answered = first_byte(self.client.request(request), timeout, progress.as_deref()).await;
        let response = match answered {
            Err(Late) => return Err(OriginError::new(Failure::FirstByteTimeout, name)),
            Ok(Err(error)) => return Err(OriginError::new(classify(&error), name).caused_by(error)),
            Ok(Ok(response)) => response,
        };
        trail.head_arrived(name);
        let (mut head, body) = response.into_parts();
        if forward::from_origin(&mut head.headers).is_err() || head.status == StatusCode::SWITCHING_PROTOCOLS
        {
            return Err(OriginError::new(Failure::Framing, name));
        }
        Ok(Response::from_parts(head, OriginBody::new(body, self.origin.between_bytes_timeout)))
    }

    fn earn(&self) {
        let after = self.budget.fetch_add(BUDGET_PER_REQUEST, Ordering::Relaxed) + BUDGET_PER_REQUEST;
        if after > BUDGET_MAX {
            self.budget.fetch_sub(after - BUDGET_MAX, Ordering::Relaxed);
        }
    }

    fn spend(&self) -> bool {
        let took = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
            (saved >= BUDGET_PER_RETRY).then_some(saved - BUDGET_PER_RETRY)
        });
        took.is_ok()
    }
}

/// No answer in time.
struct Late;

/// Waits for an answer for as long as it may take after the last octet of the request was sent.
async fn first_byte<T>(
    answer: impl Future<Output = T>,
    timeout: std::time::Duration,
    progress: Option<&AtomicU64>,
) -> Result<T, Late> {
    let mut answer = std::pin::pin!(answer);
    let sent = || progress.map_or(0, |progress| progress.load(Ordering::Relaxed));
    loop {
        let before = sent();
        match tokio::time::timeout(timeout, answer.as_mut()).await {
            Ok(answer) => return Ok(answer),
            Err(_) if sent() == before => return Err(Late),
            Err(_) => {}
        }
    }
}

/// Whether sending again may help: not after a deadline, which would double the client's wait and the origin's load.
fn is_retried(failure: Failure) -> bool {
    matches!(failure, Failure::Connect | Failure::Broken)
}

/// A method with a body by definition says `Content-Length: 0` where it has none (RFC 9110 §8.6).
fn has_length_semantics(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn asked_host(uri: &Uri, headers: &HeaderMap) -> String {
    let named = uri.authority().map(|authority| authority.as_str());
    let host = || headers.get(HOST).and_then(|value| value.to_str().ok());
    named.or_else(host).unwrap_or_default().to_owned()
}

fn set_host(headers: &mut HeaderMap, name: &str) {
    if let Ok(value) = HeaderValue::try_from(name) {
        headers.insert(HOST, value);
    }
}

fn classify(error: &hyper_util::client::legacy::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<ConnectError>() {
            return match error {
                ConnectError::Refused(_) => Failure::RefusedTarget,
                ConnectError::Timeout(_) => Failure::ConnectTimeout,
                _ => Failure::Connect,
            };
        }
        if error.is::<TooSlow>() {
            return Failure::SlowClient;
        }
        cause = error.source();
    }
    if error.is_connect() { Failure::Connect } else { Failure::Broken }
}
