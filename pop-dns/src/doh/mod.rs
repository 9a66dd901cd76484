//! DNS over HTTP (RFC 8484): requests in, responses out, whatever HTTP server stands around it.

mod base64url;
mod body;
mod lifetime;

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;

#[cfg(feature = "tls")]
pub(crate) use base64url::encode as encode_base64url;
pub use body::Body;

use crate::server::{Counters, Handled, Handler};
use crate::{Header, Outcome, Timestamp, Transport};

/// The media type of a message (RFC 8484 §6).
pub const MEDIA_TYPE: &str = "application/dns-message";
/// How long a client may take for its request's body.
pub const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a query that are read; more is 413. Queries are far below.
pub const QUERY_OCTETS_MAX: usize = 4096;

/// The client's address, in the extensions of a request. Whoever accepts connections puts it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Answers DNS queries that come by HTTP, GET and POST, by any [`Handler`]. A tower service; which path leads to it,
/// `/dns-query` usually, is the router's affair. The client's address is read from the request's extension
/// [`ClientAddress`]; without it the answer is 500, because a handler that serves some clients only must know which
/// this is.
///
/// An answer may be kept by HTTP caches as long as its records may (RFC 8484 §5.1); failures may not.
///
/// ```
/// use std::sync::Arc;
/// use pop_dns::{Authority, doh::{ClientAddress, Doh}, server::Counters, zone::Zone};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = b"@ 300 SOA ns host 1 2h 15m 2w 5m\n@ 300 NS ns\nwww 60 A 192.0.2.1\n";
/// let authority = Authority::new([Zone::parse(text, "example.org".parse()?)?]);
/// let doh = Doh::new(authority, Arc::new(Counters::default()));
/// // A query for www.example.org. A, in base 64.
/// let request = http::Request::get("/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA29yZwAAAQAB")
///     .extension(ClientAddress("203.0.113.9".parse()?))
///     .body(String::new())?;
/// let response = doh.respond(request).await;
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.headers()["cache-control"], "max-age=60");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Doh<H> {
    handler: Arc<H>,
    counters: Arc<Counters>,
}

impl<H> Clone for Doh<H> {
    fn clone(&self) -> Self {
        Self { handler: Arc::clone(&self.handler), counters: Arc::clone(&self.counters) }
    }
}

impl<H: Handler> Doh<H> {
    /// Answers by `handler` and counts in `counters`.
    #[must_use]
    pub fn new(handler: H, counters: Arc<Counters>) -> Self {
        Self { handler: Arc::new(handler), counters }
    }

    /// Answers one request.
    pub async fn respond<B: HttpBody>(&self, request: Request<B>) -> Response<Body> {
        let Some(&ClientAddress(client)) = request.extensions().get() else {
            return refuse(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let query = match query(request).await {
            Ok(query) => query,
            Err(status) => return refuse(status),
        };
        match self.answer(&query, client).await {
            Some(answer) => deliver(answer),
            // What a server by datagram would not answer at all.
            None => refuse(StatusCode::BAD_REQUEST),
        }
    }

    async fn answer(&self, query: &[u8], client: IpAddr) -> Option<Vec<u8>> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::ZERO.saturating_add(since);
        let mut answer = Vec::new();
        let handled = self.handler.handle(query, client, now, Transport::Https, &mut answer);
        let answer = match handled {
            Handled::Done(Outcome::Answered(_)) => Some(answer),
            Handled::Later(later) => later.await,
            Handled::Done(Outcome::Silent) | Handled::Many(_) => None,
        };
        let header = answer.as_deref().and_then(|answer| Header::parse(answer).ok());
        let outcome = header.map_or(Outcome::Silent, |header| Outcome::Answered(header.flags.rcode()));
        self.counters.count_stream(Transport::Https, outcome, query);
        answer
    }
}

impl<H: Handler, B: HttpBody + Send + 'static> tower_service::Service<Request<B>> for Doh<H>
where
    B::Data: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let doh = self.clone();
        Box::pin(async move { Ok(doh.respond(request).await) })
    }
}

/// The query in a request (RFC 8484 §4.1), or the status that says what is wrong with it.
async fn query<B: HttpBody>(request: Request<B>) -> Result<Vec<u8>, StatusCode> {
    match *request.method() {
        Method::GET | Method::HEAD => {
            let parameters = request.uri().query().unwrap_or_default();
            let encoded = parameters.split('&').find_map(|parameter| parameter.strip_prefix("dns="));
            let encoded = encoded.ok_or(StatusCode::BAD_REQUEST)?;
            if encoded.len() > QUERY_OCTETS_MAX.div_ceil(3) * 4 {
                return Err(StatusCode::URI_TOO_LONG);
            }
            base64url::decode(encoded.as_bytes()).ok_or(StatusCode::BAD_REQUEST)
        }
        Method::POST => {
            let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let media = media.unwrap_or_default().split(';').next().unwrap_or_default().trim();
            if !media.eq_ignore_ascii_case(MEDIA_TYPE) {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let reading = tokio::time::timeout(BODY_PATIENCE, read(request.into_body()));
            reading.await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

async fn read<B: HttpBody>(body: B) -> Result<Vec<u8>, StatusCode> {
    let mut body = std::pin::pin!(body);
    let mut octets = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(mut data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else { continue };
        if octets.len() + data.remaining() > QUERY_OCTETS_MAX {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            octets.extend_from_slice(chunk);
            let taken = chunk.len();
            data.advance(taken);
        }
    }
    Ok(octets)
}

fn deliver(answer: Vec<u8>) -> Response<Body> {
    let cached = match lifetime::seconds(&answer) {
        Some(seconds) => HeaderValue::try_from(format!("max-age={seconds}")),
        None => Ok(HeaderValue::from_static("no-store")),
    };
    let mut response = Response::new(Body::new(Bytes::from(answer)));
    let length = http_body::Body::size_hint(response.body()).lower();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, cached.expect("a number makes a header value"));
    response
}

fn refuse(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::new(Bytes::new()));
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    }
    response
}
