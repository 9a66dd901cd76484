//! A limit in front of a service: a tower layer over `http` requests.

mod answer;

use core::hash::Hash;
use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Poll};
use std::boxed::Box;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use ::http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, Uri};
use tower_layer::Layer;
use tower_service::Service;

use self::answer::{Fields, denial};
pub use self::answer::{LimitBody, ResponseFuture};
use crate::http::{FieldError, Policy, Standing, TrustedProxies, write_policies, write_standings};
use crate::{Decision, KeyedLimiter, Quota, Timestamp};

/// What a key or cost function sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// What the server attached, such as the peer's address.
    pub extensions: &'a Extensions,
}

/// The peer of a connection, as an extension of its requests: what [`client_key`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// A key function: the client's address behind `proxies`, with the peer taken from a [`Peer`] (or a bare
/// [`SocketAddr`]) among the extensions. Requests without one are not limited, so let the server attach it.
pub fn client_key(
    proxies: TrustedProxies,
) -> impl Fn(&RequestHead<'_>) -> Option<IpAddr> + Send + Sync + 'static {
    move |head| {
        let peer = head.extensions.get::<Peer>().map(|peer| peer.0);
        let peer = peer.or_else(|| head.extensions.get::<SocketAddr>().map(SocketAddr::ip));
        peer.map(|peer| proxies.client(peer, head.headers))
    }
}

type KeyFunction<K> = Box<dyn Fn(&RequestHead<'_>) -> Option<K> + Send + Sync>;
type CostFunction = Box<dyn Fn(&RequestHead<'_>) -> u64 + Send + Sync>;
type ClockFunction = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// A limit for each key and route, in front of any service over `http`.
///
/// A denial is a 429 with `Retry-After` and a problem (RFC 9457); to a gRPC request it is `RESOURCE_EXHAUSTED`. Every
/// answer tells the policy and where the client stands (`RateLimit-Policy`, `RateLimit`). The inner service is not
/// called for what is denied.
///
/// ```
/// use pop_ratelimit::Quota;
/// use pop_ratelimit::http::{ForwardingField, TrustedProxies};
/// use pop_ratelimit::tower::{RateLimitLayer, client_key};
///
/// let own = TrustedProxies::new(ForwardingField::XForwardedFor, [("10.0.0.0".parse()?, 8)])?;
/// let layer = RateLimitLayer::new(client_key(own), 1 << 20)
///     .quota("default", Quota::per_second(50).burst(100))?
///     .route("/search", "search", Quota::per_second(2))?
///     .cost(|head| if head.method == http::Method::POST { 5 } else { 1 });
/// # let _: RateLimitLayer<std::net::IpAddr> = layer;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RateLimitLayer<K> {
    rules: Arc<Rules<K>>,
}

struct Rules<K> {
    key: KeyFunction<K>,
    cost: CostFunction,
    clock: ClockFunction,
    memory_bytes: usize,
    /// The longest path first, so the first that matches is the right one.
    routes: Vec<Route<K>>,
}

struct Route<K> {
    path: String,
    name: String,
    limiter: KeyedLimiter<K>,
    policy: Option<HeaderValue>,
}

impl<K> Clone for RateLimitLayer<K> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<K> core::fmt::Debug for RateLimitLayer<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let routes = self.rules.routes.iter().map(|route| (&route.path, route.limiter.quota()));
        f.debug_map().entries(routes).finish()
    }
}

impl<K: Hash + 'static> RateLimitLayer<K> {
    /// A layer that asks `key` for each request's key; a request without one is let through. Each quota gets a table
    /// of `memory_bytes` bytes.
    pub fn new(
        key: impl Fn(&RequestHead<'_>) -> Option<K> + Send + Sync + 'static,
        memory_bytes: usize,
    ) -> Self {
        let rules = Rules {
            key: Box::new(key),
            cost: Box::new(|_| 1),
            clock: Box::new(crate::now),
            memory_bytes,
            routes: Vec::new(),
        };
        Self { rules: Arc::new(rules) }
    }

    /// The quota of every path that no route covers. Without one, those are not limited.
    ///
    /// # Errors
    /// [`FieldError::Name`] if the name cannot stand in a `RateLimit` field.
    pub fn quota(self, name: &str, quota: Quota) -> Result<Self, FieldError> {
        self.route("/", name, quota)
    }

    /// The quota of a path and what lies below it, by whole segments; the longest such path decides.
    ///
    /// # Errors
    /// [`FieldError::Name`] if the name cannot stand in a `RateLimit` field.
    pub fn route(self, path: &str, name: &str, quota: Quota) -> Result<Self, FieldError> {
        let policy = write_policies(&[Policy::new(String::from(name), quota)?]);
        let path = String::from(path.trim_end_matches('/'));
        Ok(self.change(|rules| {
            let limiter = KeyedLimiter::new(quota, rules.memory_bytes);
            rules.routes.push(Route { path, name: String::from(name), limiter, policy });
            rules.routes.sort_by_key(|route| core::cmp::Reverse(route.path.len()));
        }))
    }

    /// What a request costs, in tokens; one, if this is not called.
    #[must_use]
    pub fn cost(self, cost: impl Fn(&RequestHead<'_>) -> u64 + Send + Sync + 'static) -> Self {
        self.change(|rules| rules.cost = Box::new(cost))
    }

    /// The clock; the process clock, if this is not called. For tests: see [`ManualClock`](crate::ManualClock).
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.change(|rules| rules.clock = Box::new(clock))
    }

    /// The limiter of the route that covers `path`, for a live change of its quota or a look at its pressure.
    #[must_use]
    pub fn limiter(&self, path: &str) -> Option<&KeyedLimiter<K>> {
        self.rules.route(path).map(|route| &route.limiter)
    }

    /// Builders are not shared yet.
    fn change(mut self, change: impl FnOnce(&mut Rules<K>)) -> Self {
        match Arc::get_mut(&mut self.rules) {
            Some(rules) => change(rules),
            None => debug_assert!(false, "configured before it is cloned"),
        }
        self
    }
}

impl<K: Hash> Rules<K> {
    fn route(&self, path: &str) -> Option<&Route<K>> {
        self.routes.iter().find(|route| {
            let rest = path.strip_prefix(route.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// The route and the decision; `None` for what is not limited.
    fn decide(&self, head: &RequestHead<'_>) -> Option<(&Route<K>, Decision)> {
        let route = self.route(head.uri.path())?;
        let key = (self.key)(head)?;
        let decision = route.limiter.check_at(&key, (self.clock)(), (self.cost)(head));
        Some((route, decision))
    }
}

impl<K> Route<K> {
    /// The fields that every answer bears.
    fn fields(&self, decision: Decision) -> Fields {
        let standing = Standing::new(self.name.clone(), self.limiter.quota(), decision);
        let standing = standing.ok().and_then(|standing| write_standings(&[standing]));
        Fields { policy: self.policy.clone(), standing }
    }
}

impl<S, K> Layer<S> for RateLimitLayer<K> {
    type Service = RateLimitService<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService { inner, rules: Arc::clone(&self.rules) }
    }
}

/// A service with a limit in front; made by [`RateLimitLayer`].
pub struct RateLimitService<S, K> {
    inner: S,
    rules: Arc<Rules<K>>,
}

impl<S: Clone, K> Clone for RateLimitService<S, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rules: Arc::clone(&self.rules) }
    }
}

impl<S: core::fmt::Debug, K> core::fmt::Debug for RateLimitService<S, K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RateLimitService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, K, B, R> Service<Request<B>> for RateLimitService<S, K>
where
    S: Service<Request<B>, Response = Response<R>>,
    K: Hash,
{
    type Response = Response<LimitBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let head = RequestHead {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        };
        let fields = match self.rules.decide(&head) {
            None => Fields::default(),
            Some((route, decision)) if decision.is_allowed() => route.fields(decision),
            Some((route, decision)) => {
                let fields = route.fields(decision);
                return ResponseFuture::denied(denial(head.headers, &route.name, decision, fields));
            }
        };
        ResponseFuture::passed(self.inner.call(request), fields)
    }
}
