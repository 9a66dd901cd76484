//! The admin service: metrics, health, explanations; purge and drain where that is allowed.
//!
//! ```text
//! GET  /health                        200, or 503 while draining
//! GET  /metrics                       text for Prometheus
//! GET  /explain?client=ADDRESS        to which site, and why
//! GET  /explain?url=URL               what the cache holds of it, and what it would do
//! POST /purge?tag=T | url=U | prefix=P | host=H | all    [&soft]
//! POST /drain
//! ```

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use super::handle::Handle;
use super::query::Query;
use crate::body::Body;
use crate::config::Admin;
use crate::exchange::{Connection, Observer, Record};
use crate::serve::Handler;

/// The admin service of a PoP.
#[derive(Clone)]
pub(super) struct AdminEdge {
    admin: Arc<Admin>,
    handle: Handle,
}

impl AdminEdge {
    pub(super) fn new(admin: Admin, handle: Handle) -> Self {
        Self { admin: Arc::new(admin), handle }
    }
}

/// Nobody counts what operators ask.
#[derive(Debug)]
pub(super) struct Uncounted;

impl Observer for Uncounted {
    fn finished(&self, _: &Record<'_>) {}
}

impl Handler for AdminEdge {
    type Future = Ready<Result<Response<Body>, Infallible>>;
    type Visit = ();

    fn handle(&self, request: Request<Incoming>, _: &Arc<Connection>, (): &mut ()) -> Self::Future {
        let (parts, _) = request.into_parts();
        let (status, text) = self.answer(&parts.method, &parts.uri, &parts.headers);
        let mut response = Response::new(Body::text(Bytes::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        ready(Ok(response))
    }
}

type Answer = (StatusCode, String);

impl AdminEdge {
    fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Answer {
        if let Err(refusal) = self.admit(uri, headers) {
            return refusal;
        }
        let query = Query::parse(uri.query().unwrap_or_default());
        match (method, uri.path()) {
            (&Method::GET, "/health") if self.handle.is_draining() => {
                (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into())
            }
            (&Method::GET, "/health") => (StatusCode::OK, "ok\n".into()),
            #[cfg(feature = "metrics")]
            (&Method::GET, "/metrics") => (StatusCode::OK, self.handle.metrics()),
            (&Method::GET, "/explain") => self.explain(&query),
            (&Method::POST, "/purge" | "/drain") if !self.admin.allows_changes => {
                (StatusCode::FORBIDDEN, "read-only\n".into())
            }
            #[cfg(feature = "cache")]
            (&Method::POST, "/purge") => self.purge(&query),
            (&Method::POST, "/drain") => {
                self.handle.drain();
                (StatusCode::ACCEPTED, "draining\n".into())
            }
            (_, "/health" | "/metrics" | "/explain" | "/purge" | "/drain") => {
                (StatusCode::METHOD_NOT_ALLOWED, "method\n".into())
            }
            _ => (StatusCode::NOT_FOUND, "health, metrics, explain, purge, drain\n".into()),
        }
    }

    /// No browser (whose pages could be anybody's), no name that could be rebound to us, the token if there is one.
    fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Answer> {
        let refuse = |status, text: &str| Err((status, format!("{text}\n")));
        if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
            return refuse(StatusCode::FORBIDDEN, "not for browsers");
        }
        let host = uri.host().or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
        if !host.is_some_and(is_local_name) {
            return refuse(StatusCode::FORBIDDEN, "call it by its address");
        }
        let Some(token) = &self.admin.token else { return Ok(()) };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if given.is_some_and(|given| is_equal(given, token.as_bytes())) {
            return Ok(());
        }
        refuse(StatusCode::UNAUTHORIZED, "token")
    }

    #[cfg_attr(not(any(feature = "cache", feature = "route")), allow(unused_variables, clippy::unused_self))]
    fn explain(&self, query: &Query<'_>) -> Answer {
        #[cfg(feature = "route")]
        if let Some(client) = query.get("client") {
            return match client.parse::<IpAddr>().map(|client| self.handle.explain(client)) {
                Ok(Some(explanation)) => (StatusCode::OK, explanation.to_string()),
                Ok(None) => (StatusCode::NOT_FOUND, "no selector\n".into()),
                Err(_) => (StatusCode::BAD_REQUEST, "client: expected an address\n".into()),
            };
        }
        #[cfg(feature = "cache")]
        if let Some(url) = query.get("url") {
            let Ok(uri) = url.parse::<Uri>() else {
                return (StatusCode::BAD_REQUEST, "url: expected a URL\n".into());
            };
            let mut text = String::new();
            for cache in self.handle.caches() {
                match cache.explain(&Method::GET, &uri, &HeaderMap::new()) {
                    Ok(explanation) => text += &format!("{explanation}\n"),
                    Err(error) => return (StatusCode::BAD_REQUEST, format!("url: {error}\n")),
                }
            }
            return (StatusCode::OK, text);
        }
        (StatusCode::BAD_REQUEST, "expected client=ADDRESS or url=URL\n".into())
    }

    #[cfg(feature = "cache")]
    fn purge(&self, query: &Query<'_>) -> Answer {
        use pop_cache::http::{CacheKey, Purge, PurgeMode};
        let expected =
            || (StatusCode::BAD_REQUEST, "expected one of tag, url, prefix, host, all\n".to_owned());
        let mode = if query.get("soft").is_some() { PurgeMode::MarkStale } else { PurgeMode::Remove };
        let purge = if let Some(tag) = query.get("tag") {
            Purge::Tag(tag)
        } else if let Some(url) = query.get("url") {
            match url.parse::<Uri>().ok().and_then(|uri| CacheKey::from_uri(&uri).ok()) {
                Some(key) => Purge::Key(key),
                None => return (StatusCode::BAD_REQUEST, "url: expected an absolute URL\n".into()),
            }
        } else if let Some(prefix) = query.get("prefix") {
            Purge::Prefix(prefix)
        } else if let Some(host) = query.get("host") {
            Purge::Host(host)
        } else if query.get("all").is_some() {
            Purge::All
        } else {
            return expected();
        };
        (StatusCode::OK, format!("{}\n", self.handle.purge(&purge, mode)))
    }
}

fn is_local_name(authority: &str) -> bool {
    let host = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Compares in a time that tells nothing but the length.
fn is_equal(one: &[u8], two: &[u8]) -> bool {
    let differences = one.iter().zip(two).fold(0, |all, (one, two)| all | (one ^ two));
    std::hint::black_box(differences) == 0 && one.len() == two.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tokens() {
        for (name, local) in [
            ("localhost:9090", true),
            ("127.0.0.1", true),
            ("[::1]:9090", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_local_name(name), local, "{name}");
        }
        assert!(is_equal(b"abc", b"abc") && !is_equal(b"abc", b"abd") && !is_equal(b"ab", b"abc"));
    }
}
