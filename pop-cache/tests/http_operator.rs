//! The operator's side: purges of every kind, explanations, policies.

#![cfg(feature = "tower")]

mod http_support;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, Request, Response};
use http_support::{Edge, cache_status, chunks, read};
use pop_cache::http::{CacheKey, HttpCacheBuilder, Purge, PurgeMode};

fn edge(configure: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder) -> Edge {
    let edge = Edge::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000), configure);
    edge.script(|request| {
        let path = request.uri().path().to_owned();
        let response = Response::builder()
            .header("cache-control", "max-age=60, stale-if-error=600")
            .header("etag", "\"1\"")
            .header("surrogate-key", format!("all {}", path.trim_start_matches('/').replace('/', "-")));
        Ok(response.body(chunks(&[&path])).expect("a response"))
    });
    edge
}

const URIS: [&str; 5] = [
    "http://a.example/x/1",
    "http://a.example/x/2",
    "http://a.example/y",
    "http://a.example:8080/x/1",
    "http://b.example/x/1",
];

async fn fill(edge: &Edge) {
    for uri in URIS {
        read(edge.send(Request::builder().uri(uri)).await.expect("an answer")).await.expect("whole");
    }
}

/// Which of the URIs are still hits.
async fn hits(edge: &Edge) -> Vec<usize> {
    let mut hits = Vec::new();
    for (number, uri) in URIS.iter().enumerate() {
        let headers = HeaderMap::new();
        let explained =
            edge.handle.explain(&Method::GET, &uri.parse().expect("a URI"), &headers).expect("a key");
        let is_hit = explained
            .selected
            .is_some_and(|response| matches!(response.reuse, pop_cache::http::Reuse::Fresh { .. }));
        if is_hit {
            hits.push(number);
        }
    }
    hits
}

fn key(uri: &str) -> CacheKey {
    CacheKey::from_uri(&uri.parse().expect("a URI")).expect("a key")
}

#[tokio::test]
async fn purges_take_what_they_name_and_count_it() {
    let cases = [
        (Purge::Key(key(URIS[0])), 1, vec![1, 2, 3, 4]),
        (Purge::Prefix("http://a.example/x/".into()), 2, vec![2, 3, 4]),
        (Purge::Host("A.example".into()), 4, vec![4]),
        (Purge::Tag("x-1".into()), 3, vec![1, 2]),
        (Purge::Tag("all".into()), 5, vec![]),
        (Purge::Tag("nothing".into()), 0, vec![0, 1, 2, 3, 4]),
        (Purge::All, 5, vec![]),
    ];
    for mode in [PurgeMode::Remove, PurgeMode::MarkStale] {
        for (what, count, left) in &cases {
            let edge = edge(|builder| builder);
            fill(&edge).await;
            assert_eq!(edge.handle.purge(what, mode), *count, "{what:?} {mode:?}");
            assert_eq!(hits(&edge).await, *left, "{what:?} {mode:?}");
            assert_eq!(edge.handle.stats().purged, *count as u64);
        }
    }
}

#[tokio::test]
async fn a_ban_takes_what_its_predicate_says() {
    let edge = edge(|builder| builder);
    fill(&edge).await;
    let gone = edge.handle.ban(PurgeMode::Remove, |view| {
        view.headers["surrogate-key"].to_str().is_ok_and(|tags| tags.ends_with("x-1"))
            && view.key.host() == "a.example"
    });
    assert_eq!(gone, 2);
    assert_eq!(hits(&edge).await, [1, 2, 4]);
}

#[tokio::test]
async fn what_was_purged_softly_stands_in_for_a_failing_origin() {
    let edge = edge(|builder| builder);
    fill(&edge).await;
    edge.handle.purge(&Purge::All, PurgeMode::MarkStale);
    edge.script(|_| Err("connection refused".into()));
    let answer = edge.send(Request::builder().uri(URIS[0])).await.expect("an answer");
    assert_eq!(cache_status(&answer), "pop; fwd=stale; ttl=60; detail=stale-if-error");
}

#[tokio::test]
async fn what_is_being_fetched_when_it_is_purged_is_not_stored() {
    for mode in [PurgeMode::Remove, PurgeMode::MarkStale] {
        for what in [Purge::Key(key(URIS[0])), Purge::Tag("all".into()), Purge::All] {
            let edge = edge(|builder| builder);
            let gate = edge.gate();
            let request = Request::builder().uri(URIS[0]);
            let ask = async { read(edge.send(request).await.expect("an answer")).await.expect("whole") };
            let purge = async {
                edge.settle().await;
                edge.handle.purge(&what, mode);
                gate.add_permits(1);
            };
            let (body, ()) = tokio::join!(ask, purge);
            assert_eq!(body, b"/x/1", "the client gets its answer");
            assert_eq!(edge.handle.stats().stored, 0, "{what:?} {mode:?}");
        }
    }
}

#[tokio::test]
async fn the_method_purge_is_for_those_who_may() {
    let edge = edge(|builder| {
        builder.purge_method(|head| head.headers.get("x-token").is_some_and(|token| token == "1"))
    });
    fill(&edge).await;
    let purge = |uri: &str| Request::builder().method("PURGE").uri(uri);
    let refused = edge.send(purge(URIS[0])).await.expect("an answer");
    assert_eq!(refused.status(), 403);
    assert_eq!(hits(&edge).await.len(), 5);
    let done = edge.send(purge(URIS[0]).header("x-token", "1")).await.expect("an answer");
    assert_eq!((done.status().as_u16(), read(done).await.expect("whole")), (200, b"purged 1\n".to_vec()));
    let tags = purge("http://a.example/").header("x-token", "1").header("surrogate-key", "x-2 y");
    assert_eq!(read(edge.send(tags).await.expect("an answer")).await.expect("whole"), b"purged 2\n");
    assert_eq!(hits(&edge).await, [3, 4]);
    let soft = purge(URIS[4]).header("x-token", "1").header("soft-purge", "1");
    edge.send(soft).await.expect("an answer");
    assert_eq!(hits(&edge).await, [3]);
    assert_eq!(edge.seen().len(), 5, "no PURGE went to the origin");
}

#[tokio::test]
async fn without_an_allow_list_purge_is_a_method_like_any_other() {
    let edge = edge(|builder| builder);
    fill(&edge).await;
    let answer = edge.send(Request::builder().method("PURGE").uri(URIS[0])).await.expect("an answer");
    assert_eq!(cache_status(&answer), "pop; fwd=method; fwd-status=200");
    assert_eq!(edge.seen().len(), 6);
    assert_eq!(hits(&edge).await, [1, 2, 3, 4], "and unknown methods invalidate");
}

#[tokio::test]
async fn policies_have_their_say() {
    let edge = edge(|builder| {
        builder
            .keep_query(|name| !name.starts_with("utm_"))
            .lifetime(|key, _| key.target().starts_with("/long").then_some(Duration::from_secs(1000)))
            .storable(|key, _| !key.target().starts_with("/never"))
            .bypass(|head| head.headers.contains_key("x-bypass"))
            .tags(|key, _| vec![format!("host:{}", key.host())])
            .key(|head, key| match head.headers.get("x-device") {
                Some(_) => CacheKey::from_raw(format!("{}#mobile", key.as_str())),
                None => key,
            })
            .show_key()
    });
    let get = |uri: &str| Request::builder().uri(format!("http://a.example{uri}"));
    read(edge.send(get("/q?a=1&utm_source=x&b=2")).await.expect("an answer")).await.expect("whole");
    let answer = edge.send(get("/q?a=1&b=2&utm_medium=y")).await.expect("an answer");
    assert_eq!(cache_status(&answer), "pop; hit; ttl=60; key=\"http://a.example/q?a=1&b=2\"");
    assert_eq!(edge.targets(), ["http://a.example/q?a=1&b=2"]);
    read(edge.send(get("/long")).await.expect("an answer")).await.expect("whole");
    edge.wait(Duration::from_secs(900));
    assert!(
        cache_status(&edge.send(get("/long")).await.expect("an answer")).starts_with("pop; hit; ttl=100")
    );
    let never = edge.send(get("/never")).await.expect("an answer");
    assert!(cache_status(&never).contains("detail=policy"));
    let bypassed = edge.send(get("/long").header("x-bypass", "1")).await.expect("an answer");
    assert!(cache_status(&bypassed).starts_with("pop; fwd=bypass"));
    let mobile = edge.send(get("/long").header("x-device", "m")).await.expect("an answer");
    assert!(cache_status(&mobile).contains("fwd=uri-miss"));
    read(mobile).await.expect("whole");
    assert_eq!(edge.handle.purge(&Purge::Tag("host:a.example".into()), PurgeMode::Remove), 3);
}

#[tokio::test]
async fn a_miss_is_explained() {
    let edge = edge(|builder| builder);
    let explain = |uri: &str, fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, http::HeaderValue::from_static(value));
        }
        edge.handle.explain(&Method::GET, &uri.parse().expect("a URI"), &headers).expect("a key").to_string()
    };
    assert_eq!(explain(URIS[0], &[]), "http://a.example/x/1: 0 stored, none selected");
    fill(&edge).await;
    edge.wait(Duration::from_secs(61));
    assert_eq!(
        explain(URIS[0], &[]),
        "http://a.example/x/1: 1 stored, selected 200: age 61 s of 60 s (MaxAge), Validate(Stale(1s))"
    );
    assert!(explain(URIS[0], &[("cache-control", "no-cache")]).ends_with("Validate(RequestNoCache)"));
}

#[tokio::test]
async fn negative_answers_live_as_long_as_the_operator_says() {
    let edge = edge(|builder| {
        let negative = vec![
            (http::StatusCode::NOT_FOUND, Duration::from_secs(5)),
            (http::StatusCode::BAD_GATEWAY, Duration::from_secs(1)),
        ];
        builder.rules(pop_cache::http::Rules { negative, ..Default::default() })
    });
    edge.script(|_| Ok(Response::builder().status(404).body(chunks(&["none"])).expect("a response")));
    read(edge.get("/").await.expect("an answer")).await.expect("whole");
    edge.wait(Duration::from_secs(4));
    assert_eq!(cache_status(&edge.get("/").await.expect("an answer")), "pop; hit; ttl=1");
    edge.wait(Duration::from_secs(1));
    assert!(cache_status(&edge.get("/").await.expect("an answer")).contains("fwd="));
}
