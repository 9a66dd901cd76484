//! Origins that break, lie, hang and storm: nothing truncated is ever served as complete, and memory stays bounded.

#![cfg(feature = "tower")]

mod http_support;

use std::time::{Duration, SystemTime};

use http::{Method, Request, Response};
use http_support::{Edge, broken, cache_status, chunks, fed, hanging, read};
use pop_cache::http::{FetchError, HttpCacheBuilder};
use tower_service::Service;

fn edge(configure: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder) -> Edge {
    Edge::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000), configure)
}

fn cacheable() -> http::response::Builder {
    Response::builder().header("cache-control", "max-age=60")
}

#[tokio::test]
async fn a_reset_amid_the_body_is_an_error_for_all_and_stored_for_nobody() {
    let edge = edge(|builder| builder);
    edge.script(|_| Ok(cacheable().body(broken("half of it")).expect("a response")));
    let error = read(edge.get("/").await.expect("a head")).await.expect_err("no whole body");
    assert!(error.downcast_ref::<FetchError>().is_some_and(|error| matches!(error, FetchError::Origin(_))));
    edge.script(|_| Ok(cacheable().body(chunks(&["all of it"])).expect("a response")));
    assert_eq!(read(edge.get("/").await.expect("a head")).await.expect("whole"), b"all of it");
    assert_eq!(edge.seen().len(), 2);
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_not_complete() {
    let edge = edge(|builder| builder);
    edge.script(|_| {
        Ok(cacheable().header("content-length", "10").body(chunks(&["012345"])).expect("a response"))
    });
    let error = read(edge.get("/").await.expect("a head")).await.expect_err("no whole body");
    let error = error.downcast_ref::<FetchError>().expect("ours");
    assert!(matches!(error, FetchError::Truncated { announced: 10, received: 6 }), "{error}");
    edge.script(|_| Ok(cacheable().body(chunks(&["0123456789"])).expect("a response")));
    assert_eq!(
        cache_status(&edge.get("/").await.expect("a head")),
        "pop; fwd=uri-miss; fwd-status=200; ttl=60; stored"
    );
}

#[tokio::test]
async fn a_body_longer_than_announced_ends_where_it_said_it_would_and_is_not_stored() {
    let edge = edge(|builder| builder);
    edge.script(|_| {
        Ok(cacheable().header("content-length", "4").body(chunks(&["0123", "smuggled"])).expect("a response"))
    });
    let mut body = Vec::new();
    let mut answer = std::pin::pin!(edge.get("/").await.expect("a head").into_body());
    let end = loop {
        match std::future::poll_fn(|context| http_body::Body::poll_frame(answer.as_mut(), context)).await {
            Some(Ok(frame)) => body.extend_from_slice(&frame.into_data().expect("data")),
            end => break end,
        }
    };
    assert_eq!(body, b"0123");
    assert!(matches!(end, Some(Err(_))));
    edge.script(|_| Ok(cacheable().body(chunks(&["new"])).expect("a response")));
    assert_eq!(read(edge.get("/").await.expect("a head")).await.expect("whole"), b"new");
}

#[tokio::test]
async fn an_origin_that_hangs_holds_up_nobody_who_asks_for_something_else() {
    let edge = edge(|builder| builder);
    edge.script(|request| match request.uri().path() {
        "/hangs" => Ok(cacheable().body(hanging("and then nothing")).expect("a response")),
        _ => Ok(cacheable().body(chunks(&["prompt"])).expect("a response")),
    });
    let stuck = edge.get("/hangs").await.expect("a head");
    assert_eq!(read(edge.get("/prompt").await.expect("a head")).await.expect("whole"), b"prompt");
    drop(stuck);
    assert_eq!(edge.handle.stats().stored, 1, "what hangs is not stored");
}

#[tokio::test]
async fn a_304_to_an_unconditional_request_is_an_error() {
    let edge = edge(|builder| builder);
    edge.script(|_| Ok(Response::builder().status(304).body(chunks(&[])).expect("a response")));
    let error = edge.get("/").await.expect_err("no answer");
    assert!(matches!(error, FetchError::UnexpectedNotModified), "{error}");
}

#[tokio::test]
async fn two_wrong_304s_in_a_row_are_an_error_and_no_loop() {
    let edge = edge(|builder| builder);
    edge.script(|_| {
        Ok(Response::builder()
            .header("etag", "\"a\"")
            .header("cache-control", "no-cache")
            .body(chunks(&["old"]))
            .expect("a response"))
    });
    read(edge.get("/").await.expect("a head")).await.expect("whole");
    edge.script(|_| {
        Ok(Response::builder().status(304).header("etag", "\"b\"").body(chunks(&[])).expect("a response"))
    });
    let error = edge.get("/").await.expect_err("no answer");
    assert!(matches!(error, FetchError::UnexpectedNotModified), "{error}");
    assert_eq!(edge.seen().len(), 3);
}

#[tokio::test]
async fn a_storm_of_5xx_is_weathered_with_what_is_stored() {
    let edge = edge(|builder| builder);
    edge.script(|_| {
        let response = Response::builder().header("cache-control", "max-age=5, stale-if-error=600");
        Ok(response.body(chunks(&["good"])).expect("a response"))
    });
    read(edge.get("/").await.expect("a head")).await.expect("whole");
    edge.wait(Duration::from_secs(60));
    for status in [500, 502, 503, 504] {
        edge.script(move |_| {
            Ok(Response::builder().status(status).body(chunks(&["bad"])).expect("a response"))
        });
        for _ in 0..25 {
            let answer = edge.get("/").await.expect("an answer");
            assert_eq!(
                cache_status(&answer),
                format!("pop; fwd=stale; fwd-status={status}; ttl=-55; detail=stale-if-error")
            );
            assert_eq!(answer.status(), 200);
            assert_eq!(read(answer).await.expect("whole"), b"good");
        }
    }
    edge.wait(Duration::from_secs(600));
    assert_eq!(edge.get("/").await.expect("an answer").status(), 504);
}

#[tokio::test]
async fn grace_serves_what_says_nothing_about_errors_but_never_what_forbids_it() {
    let edge = edge(|builder| {
        let grace = Duration::from_secs(600);
        builder.rules(pop_cache::http::Rules { stale_if_error: grace, ..Default::default() })
    });
    for (path, directives) in [("/silent", "max-age=5"), ("/strict", "max-age=5, must-revalidate")] {
        edge.script(move |_| {
            Ok(Response::builder()
                .header("cache-control", directives)
                .body(chunks(&["good"]))
                .expect("a response"))
        });
        read(edge.get(path).await.expect("a head")).await.expect("whole");
    }
    edge.wait(Duration::from_secs(60));
    edge.script(|_| Err("connection refused".into()));
    assert_eq!(edge.get("/silent").await.expect("an answer").status(), 200);
    edge.get("/strict").await.expect_err("no answer");
}

#[tokio::test]
async fn a_cache_that_is_disconnected_needs_no_permission_for_what_is_stale() {
    let edge = edge(|builder| {
        let grace = Duration::from_secs(600);
        builder.rules(pop_cache::http::Rules { stale_if_disconnected: grace, ..Default::default() })
    });
    for (path, directives) in [
        ("/silent", "max-age=5"),
        ("/strict", "max-age=5, must-revalidate"),
        ("/shared", "s-maxage=5"),
        ("/short", "max-age=5, stale-if-error=10"),
    ] {
        edge.script(move |_| {
            Ok(Response::builder()
                .header("cache-control", directives)
                .header("etag", "\"1\"")
                .body(chunks(&["good"]))
                .expect("a response"))
        });
        read(edge.get(path).await.expect("a head")).await.expect("whole");
    }
    edge.wait(Duration::from_secs(60));
    // An answer, if only an error, is no disconnection.
    edge.script(|_| Ok(Response::builder().status(503).body(chunks(&["bad"])).expect("a response")));
    assert_eq!(edge.get("/silent").await.expect("an answer").status(), 503);
    edge.script(|_| Err("connection refused".into()));
    let stale = edge.get("/silent").await.expect("an answer");
    assert_eq!(cache_status(&stale), "pop; fwd=stale; ttl=-55; detail=stale-if-error");
    assert_eq!(read(stale).await.expect("whole"), b"good");
    for path in ["/strict", "/shared", "/short"] {
        edge.get(path).await.expect_err("the response says otherwise");
    }
    edge.wait(Duration::from_secs(600));
    edge.get("/silent").await.expect_err("too stale");
}

#[tokio::test]
async fn what_is_stored_and_what_is_fetched_stay_within_their_bounds() {
    let edge = edge(|builder| builder.object_bytes_max(2 << 20).flight_bytes_max(3 << 20));
    edge.script(|_| {
        let chunk = "x".repeat(100_000);
        Ok(cacheable().body(chunks(&[chunk.as_str(); 10])).expect("a response"))
    });
    for number in 0..100 {
        let body = read(edge.get(&format!("/{number}")).await.expect("a head")).await.expect("whole");
        assert_eq!(body.len(), 1_000_000);
        assert!(edge.handle.stats().weight <= 16 << 20);
    }
    assert_eq!(edge.handle.stats().stored, 100);
}

/// Asks for `/read`, sends a PUT to each of `written` while the body is under way, and asks again.
async fn status_after_writes(written: impl Iterator<Item = String>) -> String {
    let edge = edge(|builder| builder);
    let (body, source) = tokio::sync::mpsc::unbounded_channel();
    let source = std::sync::Mutex::new(Some(source));
    edge.script(move |_| {
        let fed = source.lock().expect("no panic").take().map_or_else(|| chunks(&["new"]), fed);
        Ok(cacheable().body(fed).expect("a response"))
    });
    let answer = edge.get("/read").await.expect("a head");
    for path in written {
        let put = Request::builder().method("PUT").uri(format!("http://test.example{path}"));
        edge.send(put).await.expect("an answer");
    }
    body.send(Ok(bytes::Bytes::from_static(b"body"))).expect("it is read");
    drop(body);
    assert_eq!(read(answer).await.expect("whole"), b"body");
    cache_status(&edge.get("/read").await.expect("an answer"))
}

#[tokio::test]
async fn a_write_to_a_key_keeps_what_is_under_way_for_it_out_of_the_store() {
    let written = std::iter::once("/read".to_owned());
    assert_eq!(status_after_writes(written).await, "pop; fwd=uri-miss; fwd-status=200; ttl=60; stored");
}

#[tokio::test]
async fn writes_to_other_keys_keep_nothing_out_of_the_store() {
    let written = (0..200).map(|number| format!("/written/{number}"));
    assert_eq!(status_after_writes(written).await, "pop; hit; ttl=60");
}

#[tokio::test]
async fn content_in_a_get_poisons_nobody() {
    let edge = edge(|builder| builder);
    edge.script(|request| {
        Ok(cacheable().body(chunks(&[&format!("<{}>", request.body())])).expect("a response"))
    });
    let fat = Request::builder().uri("http://test.example/").body("evil".to_owned()).expect("a request");
    let answer = edge.service.clone().call(fat).await.expect("an answer");
    assert_eq!(cache_status(&answer), "pop; fwd=bypass; fwd-status=200; detail=request-content");
    assert_eq!(read(answer).await.expect("whole"), b"<evil>");
    assert_eq!(read(edge.get("/").await.expect("an answer")).await.expect("whole"), b"<>");
}

#[tokio::test]
async fn paths_that_an_origin_could_read_as_one_are_one_key_and_go_out_as_it() {
    let edge = edge(|builder| builder);
    edge.script(|_| Ok(cacheable().body(chunks(&["body"])).expect("a response")));
    for path in ["/a/b", "/a/./b", "/a/x/../b", "/a/%62", "/a/x/%2e%2e/b"] {
        read(edge.get(path).await.expect("an answer")).await.expect("whole");
    }
    assert_eq!(edge.targets(), ["http://test.example/a/b"]);
}

#[tokio::test]
async fn an_upgrade_and_a_star_go_out_untouched() {
    let edge = edge(|builder| builder);
    edge.script(|request| {
        assert_eq!(request.headers()["upgrade"], "websocket");
        assert_eq!(request.headers()["connection"], "upgrade");
        let response =
            Response::builder().status(101).header("upgrade", "websocket").header("connection", "upgrade");
        Ok(response.body(chunks(&[])).expect("a response"))
    });
    let request = Request::builder()
        .uri("http://test.example/")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let answer = edge.send(request).await.expect("an answer");
    assert_eq!(answer.headers()["upgrade"], "websocket");
    edge.script(|_| Ok(Response::new(chunks(&[]))));
    let star = Request::builder().method(Method::OPTIONS).uri("*").header("host", "test.example");
    edge.send(star).await.expect("an answer");
    let connect = Request::builder().method(Method::CONNECT).uri("test.example:443");
    edge.send(connect).await.expect("an answer");
    assert_eq!(edge.targets()[1..], ["*", "test.example:443"]);
}
