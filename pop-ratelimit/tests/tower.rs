//! The layer in front of an axum router and of gRPC services.
#![cfg(all(feature = "tower", not(loom)))]

use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use pop_ratelimit::http::{ForwardingField, TrustedProxies, parse_policies, parse_standings};
use pop_ratelimit::tower::{Peer, RateLimitLayer, client_key};
use pop_ratelimit::{ManualClock, Quota};
use tower::{Layer, ServiceExt, service_fn};

fn layer(clock: &ManualClock) -> RateLimitLayer<IpAddr> {
    let own = [("10.0.0.0".parse().unwrap(), 8)];
    let proxies = TrustedProxies::new(ForwardingField::XForwardedFor, own).unwrap();
    let clock = clock.clone();
    RateLimitLayer::new(client_key(proxies), 1 << 16)
        .quota("default", Quota::per_second(1).burst(3))
        .unwrap()
        .route("/slow", "slow", Quota::per_minute(1))
        .unwrap()
        .cost(|head| if head.method == http::Method::POST { 2 } else { 1 })
        .clock(move || clock.now())
}

fn router(clock: &ManualClock) -> Router {
    let app = Router::new().route("/{*path}", get(|| async { "hello" }).post(|| async { "posted" }));
    app.layer(layer(clock))
}

fn request(method: &str, path: &str, peer: &str, forwarded: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(forwarded) = forwarded {
        request = request.header("x-forwarded-for", forwarded);
    }
    request.extension(Peer(peer.parse().unwrap())).body(Body::empty()).unwrap()
}

/// Runs a future that never waits.
fn now<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("these services answer at once"),
    }
}

fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    now(router.clone().oneshot(request)).unwrap()
}

#[test]
fn a_denial_tells_when_and_why() {
    let clock = ManualClock::default();
    let router = router(&clock);
    let get = || request("GET", "/a", "192.0.2.1", None);
    let first = send(&router, get());
    assert_eq!(first.status(), StatusCode::OK);
    let policies = parse_policies(first.headers()).unwrap();
    assert_eq!(
        (policies[0].name(), policies[0].quota(), policies[0].window_seconds()),
        ("default", 3, Some(3))
    );
    assert_eq!(parse_standings(first.headers()).unwrap()[0].remaining(), 2);
    send(&router, get());
    send(&router, get());

    clock.advance(Duration::from_millis(100));
    let denied = send(&router, get());
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(denied.headers()["content-type"], "application/problem+json");
    // 0.9 s is one second, never zero.
    assert_eq!(denied.headers()["retry-after"], "1");
    let standing = parse_standings(denied.headers()).unwrap().remove(0);
    assert_eq!((standing.remaining(), standing.reset_seconds()), (0, Some(1)));
    let body = now(denied.into_body().collect()).unwrap().to_bytes();
    assert!(std::str::from_utf8(&body).unwrap().contains(r#""violated-policies":["default"]"#));

    clock.advance(Duration::from_secs(1));
    assert_eq!(send(&router, get()).status(), StatusCode::OK, "Retry-After is never too early");
}

#[test]
fn routes_and_costs_differ() {
    let router = router(&ManualClock::default());
    let status = |method, path| send(&router, request(method, path, "192.0.2.1", None)).status();
    assert_eq!(status("GET", "/slow/x"), StatusCode::OK);
    assert_eq!(status("GET", "/slow"), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(status("GET", "/slower"), StatusCode::OK, "whole segments only");
    assert_eq!(status("POST", "/a"), StatusCode::OK);
    assert_eq!(status("POST", "/a"), StatusCode::TOO_MANY_REQUESTS, "one and two of three are spent");
}

#[test]
fn clients_cannot_choose_who_they_are() {
    let router = router(&ManualClock::default());
    let status =
        |peer: &str, forwarded: &str| send(&router, request("GET", "/a", peer, Some(forwarded))).status();
    // A client that names another address each time is still one client.
    let passed = (0..20).filter(|n| status("192.0.2.9", &format!("1.1.1.{n}")) == StatusCode::OK).count();
    assert_eq!(passed, 3);
    // Behind a proxy of ours it may prepend what it likes.
    let passed =
        (0..20).filter(|n| status("10.0.0.1", &format!("1.1.1.{n}, 198.51.100.7")) == StatusCode::OK).count();
    assert_eq!(passed, 3);
    // Others behind the same proxy are not punished.
    assert_eq!(status("10.0.0.1", "198.51.100.8"), StatusCode::OK);
    // Garbage is charged to the peer.
    let passed = (0..20).filter(|n| status("10.0.0.2", &format!("x{n}")) == StatusCode::OK).count();
    assert_eq!(passed, 3);
}

#[test]
fn a_grpc_denial_is_resource_exhausted() {
    use tonic::{Code, Status};
    let clock = ManualClock::default();
    let service = layer(&clock).layer(service_fn(|_: Request<tonic::body::Body>| async {
        Ok::<_, std::convert::Infallible>(Status::ok("").into_http::<tonic::body::Body>())
    }));
    let call = || -> HeaderMap {
        let request = Request::post("/greet.Greeter/Hello")
            .header("content-type", "application/grpc+proto")
            .extension(Peer([192, 0, 2, 1].into()))
            .body(tonic::body::Body::empty())
            .unwrap();
        let response = now(service.clone().oneshot(request)).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers().clone();
        now(response.into_body().collect()).unwrap();
        headers
    };
    assert_eq!(Status::from_header_map(&call()).unwrap().code(), Code::Ok);
    let denied = call();
    assert_eq!(Status::from_header_map(&denied).unwrap().code(), Code::ResourceExhausted);
    assert_eq!(denied["retry-after"], "1");
}
