//! A PoP end to end: miss, hit, purge, limits, hosts, drain, reload.
#![cfg(all(feature = "serve", feature = "cache", feature = "ratelimit"))]

mod support;

use pop_edge::cache::http::{CacheKey, Purge, PurgeMode};
use pop_edge::ratelimit::Quota;
use pop_edge::{BuildError, Host, Limit, Missing, Origin, Pop, RunError};
use support::{Client, Reply, Scripted, ask, cdn, eventually, get, loopback, start};

async fn fresh() -> Scripted {
    Scripted::start(|asked| {
        Reply::ok("Cache-Control: max-age=60\nSurrogate-Key: all pages", &format!("for {}", asked.line()))
    })
    .await
}

#[tokio::test]
async fn a_miss_then_hits() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    let first = get(pop.http(), "/a").await;
    assert_eq!((first.status, first.is_hit()), (200, false), "{}", first.head);
    assert_eq!(first.text(), "for GET /a HTTP/1.1");
    let second = get(pop.http(), "/a").await;
    assert!(second.is_hit() && second.field("age").is_some(), "{}", second.head);
    assert_eq!(second.body, first.body);
    assert_eq!(origin.asked().len(), 1);
    assert!(eventually(|| pop.handle.stats().hits == 1).await);
    assert_eq!(pop.handle.stats().misses, 1);
}

#[tokio::test]
async fn purges_by_key_tag_prefix_and_all() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    let url = "http://www.example.org/a".parse().expect("a URI");
    let purges = [
        Purge::Key(CacheKey::from_uri(&url).expect("a key")),
        Purge::Tag("pages".into()),
        Purge::Prefix("http://www.example.org/".into()),
        Purge::Host("www.example.org".into()),
        Purge::All,
    ];
    for purge in purges {
        get(pop.http(), "/a").await;
        assert!(get(pop.http(), "/a").await.is_hit(), "{purge:?}");
        assert_eq!(pop.handle.purge(&purge, PurgeMode::Remove), 1, "{purge:?}");
        assert!(!get(pop.http(), "/a").await.is_hit(), "{purge:?}");
    }
}

#[tokio::test]
async fn hosts_share_nothing() {
    let (one, two) = (fresh().await, fresh().await);
    let builder = Pop::cdn("test")
        .http(loopback())
        .host("one.example", one.origin())
        .host("*.two.example", two.origin())
        .host_with(Host::new("one.example").path_prefix("/two/").origin(two.origin()));
    let pop = start(builder).await;
    let on = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let status = async |request| ask(pop.http(), request).await.expect("an answer").status;
    assert_eq!(status(on("one.example", "/")).await, 200);
    assert_eq!((one.asked().len(), two.asked().len()), (1, 0));
    assert_eq!(status(on("www.two.example", "/")).await, 200);
    assert_eq!((one.asked().len(), two.asked().len()), (1, 1));
    assert_eq!(status(on("one.example", "/two/x")).await, 200);
    assert_eq!((one.asked().len(), two.asked().len()), (1, 2));
    // Which site it is is decided by the path that is keyed and forwarded, not by its spelling.
    assert_eq!(status(on("one.example", "/two/%2e%2e/y")).await, 200);
    assert_eq!((one.asked().len(), two.asked().len()), (2, 2));
    assert_eq!(status(on("three.example", "/")).await, 421);
    assert_eq!(status(on("two.example", "/")).await, 421);
}

#[tokio::test]
async fn limits_tell_when_to_come_back() {
    let origin = fresh().await;
    let builder = cdn(&origin).limit(Limit::per_client(Quota::per_minute(2)));
    let pop = start(builder).await;
    assert_eq!(get(pop.http(), "/").await.status, 200);
    assert_eq!(get(pop.http(), "/").await.status, 200);
    let denied = get(pop.http(), "/").await;
    assert_eq!(denied.status, 429);
    let wait: u64 = denied.field("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
}

#[tokio::test]
async fn draining_lets_exchanges_end() {
    let origin = Scripted::start(|_| {
        let wait = std::time::Duration::from_millis(300);
        Reply::Slowly(vec![(wait, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())])
    })
    .await;
    let mut pop = start(cdn(&origin)).await;
    let mut idle = Client::connect(pop.http()).await;
    idle.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(idle.answer().await.expect("an answer").status, 200);
    let mut busy = Client::connect(pop.http()).await;
    busy.send("GET /y HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(eventually(|| origin.asked().len() == 2).await);
    pop.handle.drain();
    let answer = busy.answer().await.expect("the exchange under way ends");
    assert_eq!(answer.text(), "ok");
    assert!(busy.is_closed().await && idle.is_closed().await);
    let ended = tokio::time::timeout(support::PATIENCE, &mut pop.task).await.expect("it returns");
    assert!(ended.expect("no panic").is_ok());
    assert!(tokio::net::TcpStream::connect(pop.http()).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_reload_moves_requests_and_keeps_what_is_cached() {
    let (old, new) = (fresh().await, fresh().await);
    let pop = start(cdn(&old)).await;
    get(pop.http(), "/kept").await;
    pop.handle.reload(Pop::cdn("test").host("*", new.origin())).expect("a good configuration");
    assert!(get(pop.http(), "/kept").await.is_hit());
    get(pop.http(), "/new").await;
    assert_eq!((old.asked().len(), new.asked().len()), (1, 1));
    let broken = pop.handle.reload(Pop::cdn("test").host("a..*", new.origin()));
    assert!(matches!(broken, Err(BuildError::Host { .. })));
    assert!(get(pop.http(), "/new").await.is_hit());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    let taken = pop.http();
    let other = Pop::cdn("other").http(taken).host("*", origin.origin()).build().expect("a PoP");
    let error = other.bind().await.expect_err("the port is taken");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    assert!(matches!(error, RunError::Bind { .. }));
}

#[tokio::test]
async fn a_pop_that_could_serve_nobody_does_not_begin() {
    let origin = || Origin::http("127.0.0.1:1");
    let check = async |builder: fn() -> pop_edge::PopBuilder, expected: Missing| {
        let with = |builder: pop_edge::PopBuilder| match expected {
            Missing::Listener => builder.host("*", origin()),
            _ => builder,
        };
        let pop = with(builder()).build().expect("it may be a service");
        assert!(matches!(pop.bind().await, Err(RunError::Missing(missing)) if missing == expected));
        let ended = tokio::time::timeout(support::PATIENCE, pop.run()).await.expect("it does not begin");
        assert!(matches!(ended, Err(RunError::Missing(missing)) if missing == expected), "{ended:?}");
        let judged = with(builder()).check();
        assert!(matches!(judged, Err(BuildError::Missing(missing)) if missing == expected), "{judged:?}");
    };
    check(|| Pop::cdn("a"), Missing::Listener).await;
    check(|| Pop::cdn("a").http(loopback()), Missing::Host).await;
    Pop::cdn("a").http(loopback()).host("*", origin()).check().expect("it could serve");
}

#[test]
fn errors_name_the_field() {
    let origin = || Origin::http("127.0.0.1:1");
    let check = |builder: pop_edge::PopBuilder, expected: &str| {
        let error = builder.build().expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}, expected {expected}");
    };
    check(Pop::cdn("no spaces"), "name");
    check(Pop::cdn("a").host("", origin()), "host \"\"");
    check(Pop::cdn("a").host_with(Host::new("b")), "expected an origin");
    check(Pop::cdn("a").host("b", Origin::http("c:0")), "host \"b\": origin");
    check(Pop::cdn("a").host("b", origin()).host("B.", origin()), "there are two");
    check(Pop::cdn("a").host_with(Host::new("b").path_prefix("x").origin(origin())), "path_prefix");
    check(Pop::cdn("a").settings(|settings| settings.idle = std::time::Duration::ZERO), "idle");
}
