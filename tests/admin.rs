//! The admin service: what it tells, and whom it tells nothing.
#![cfg(all(feature = "serve", feature = "cache", feature = "metrics"))]

mod support;

use pop_edge::{Admin, BuildError, Pop};
use support::{Answer, Reply, Running, Scripted, ask, cdn, get, loopback, start};

const TOKEN: &str = "sixteen letters!";

async fn started(admin: Admin) -> (Scripted, Running) {
    let origin = Scripted::start(|_| Reply::ok("Cache-Control: max-age=60\nSurrogate-Key: news", "x")).await;
    let pop = start(cdn(&origin).admin(admin)).await;
    (origin, pop)
}

async fn call(pop: &Running, line: &str, fields: &str) -> Answer {
    let address = pop.addresses.admin.expect("it listens");
    let request = format!("{line} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n");
    ask(address, request).await.expect("an answer")
}

#[tokio::test]
async fn metrics_health_and_explanations() {
    let (_origin, pop) = started(Admin::new(loopback())).await;
    get(pop.http(), "/a").await;
    get(pop.http(), "/a").await;
    assert_eq!(call(&pop, "GET /health", "").await.text(), "ok\n");
    let metrics = call(&pop, "GET /metrics", "").await.text();
    for line in [
        "pop_request_duration_seconds_count{source=\"hit\"} 1",
        "pop_request_duration_seconds_count{source=\"miss\"} 1",
        "pop_responses_total{class=\"2xx\"} 2",
        "pop_cache_stored_total 1",
        "# TYPE pop_request_duration_seconds histogram",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let explained = call(&pop, "GET /explain?url=http://www.example.org/a", "").await.text();
    assert!(explained.contains("1 stored"), "{explained}");
    assert_eq!(call(&pop, "GET /explain?client=nobody", "").await.status, 400);
    assert_eq!(call(&pop, "GET /nothing", "").await.status, 404);
    assert_eq!(call(&pop, "GET /purge?all", "").await.status, 405);
}

/// The value of a metric on the page.
#[cfg(feature = "ratelimit")]
fn value(page: &str, metric: &str) -> Option<u64> {
    page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(feature = "ratelimit")]
#[tokio::test]
async fn what_was_refused_and_what_failed_is_counted_by_reason() {
    use pop_edge::Origin;
    use pop_edge::rules::{Action, Condition, Pattern, Rule, Rules};
    let path = |path: &str| Condition::new().path(Pattern::starts_with(path));
    let rules = Rules::new([
        Rule::new("no \"admin\"", path("/admin"), Action::Deny(http::StatusCode::FORBIDDEN)),
        Rule::new("tried", path("/tried"), Action::Count),
        Rule::new("never", path("/never"), Action::Pass),
    ]);
    let origin = Scripted::start(|_| Reply::ok("Cache-Control: max-age=60", "x")).await;
    // A port that was free a moment ago, and that nobody listens on.
    let nobody = std::net::TcpListener::bind(loopback()).and_then(|free| free.local_addr()).expect("a port");
    let builder = Pop::cdn("test")
        .http(loopback())
        .host("www.example.org", origin.origin())
        .host("down.example", Origin::http(nobody.to_string()))
        .settings(|settings| settings.connections_max = 2)
        .gate(rules.expect("rules"))
        .gate(pop_edge::guard::Guard::new());
    let pop = start(builder).await;
    let ask = async |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let mut client = support::Client::connect(pop.http()).await;
        client.send(request).await;
        let status = client.answer().await.expect("an answer").status;
        assert!(client.is_closed().await);
        assert!(support::eventually(|| value(&pop.handle.metrics(), "pop_connections") == Some(0)).await);
        status
    };
    assert_eq!(ask("www.example.org", "/admin").await, 403);
    assert_eq!(ask("www.example.org", "/tried").await, 200);
    assert_eq!(ask("nobody.example", "/").await, 421);
    assert_eq!(ask("down.example", "/").await, 502);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = support::Client::connect(pop.http()).await;
        assert!(client.is_open().await);
        held.push(client);
    }
    assert!(support::Client::connect(pop.http()).await.is_closed().await, "one too many");
    let page = pop.handle.metrics();
    for (metric, expected) in [
        ("pop_connections", 2),
        ("pop_connections_refused_total", 1),
        ("pop_denied_total{reason=\"rule\"}", 1),
        ("pop_denied_total{reason=\"unknown-host\"}", 1),
        ("pop_origin_failures_total{reason=\"origin-connect\"}", 1),
        ("pop_rule_hits_total{rule=\"no \\\"admin\\\"\"}", 1),
        ("pop_rule_hits_total{rule=\"tried\"}", 1),
        ("pop_rule_hits_total{rule=\"never\"}", 0),
    ] {
        assert_eq!(value(&page, metric), Some(expected), "{metric} on\n{page}");
    }
}

#[tokio::test]
async fn it_is_read_only_unless_told_otherwise() {
    let (_origin, pop) = started(Admin::new(loopback())).await;
    assert_eq!(call(&pop, "POST /purge?all", "Content-Length: 0\r\n").await.status, 403);
    assert_eq!(call(&pop, "POST /drain", "Content-Length: 0\r\n").await.status, 403);
    assert!(!pop.handle.is_draining());
    let (_origin, pop) = started(Admin::new(loopback()).allow_changes()).await;
    get(pop.http(), "/a").await;
    assert_eq!(call(&pop, "POST /purge?tag=none", "").await.text(), "0\n");
    assert_eq!(call(&pop, "POST /purge?tag=news&soft", "").await.text(), "1\n");
    assert_eq!(call(&pop, "POST /purge?prefix=http%3A%2F%2Fwww.example.org%2F", "").await.text(), "1\n");
    assert_eq!(call(&pop, "POST /purge", "").await.status, 400);
}

#[tokio::test]
async fn browsers_rebound_names_and_wrong_tokens_are_refused() {
    let (_origin, pop) = started(Admin::new(loopback()).token(TOKEN).allow_changes()).await;
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(call(&pop, "GET /metrics", "").await.status, 401);
    assert_eq!(call(&pop, "GET /metrics", "Authorization: Bearer sixteen letters?\r\n").await.status, 401);
    assert_eq!(call(&pop, "GET /metrics", &bearer).await.status, 200);
    let cross = format!("{bearer}Origin: http://evil.example\r\n");
    assert_eq!(call(&pop, "POST /purge?all", &cross).await.status, 403);
    let address = pop.addresses.admin.expect("it listens");
    let rebound = format!("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n{bearer}\r\n");
    assert_eq!(ask(address, rebound).await.expect("an answer").status, 403);
}

#[test]
fn a_public_address_needs_token_and_tls() {
    let check = |admin: Admin, expected: &str| {
        let error = Pop::cdn("a").admin(admin).build().expect_err(expected);
        assert!(matches!(error, BuildError::Admin { .. }));
        assert!(error.to_string().contains(expected), "{error}");
    };
    let public = || Admin::new("0.0.0.0:0".parse().expect("an address"));
    check(public(), "token");
    check(public().token(TOKEN), "TLS");
    check(public().token("short"), "16 characters");
    assert!(Pop::cdn("a").admin(Admin::new(loopback())).build().is_ok());
}
