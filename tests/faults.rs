//! Origins that fail: nothing cut short is ever served as whole, stale stands in where it may, everybody learns of it.
#![cfg(all(feature = "serve", feature = "cache"))]

mod support;

use std::time::{Duration, Instant};

use pop_edge::cache::http::{Purge, PurgeMode};
use pop_edge::{Origin, Pop};
use support::{Client, Reply, Scripted, cdn, get, loopback, start};

const FRESH: &str = "Cache-Control: max-age=60";

#[tokio::test]
async fn a_reset_in_a_body_is_seen_by_the_client_and_not_stored() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1000\r\n\r\n";
    let origin = Scripted::start(move |_| Reply::SendAndReset(format!("{head}partial").into_bytes())).await;
    let pop = start(cdn(&origin)).await;
    let cut = get(pop.http(), "/").await;
    assert!(!cut.is_complete, "the client can tell");
    origin.script(|_| Reply::ok(FRESH, "whole"));
    let whole = get(pop.http(), "/").await;
    assert!(whole.is_complete && !whole.is_hit());
    assert_eq!(whole.text(), "whole");
}

#[tokio::test]
async fn lies_about_the_length_are_not_believed() {
    let origin = Scripted::start(|_| {
        Reply::SendAndClose(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello".to_vec(),
        )
    })
    .await;
    let pop = start(cdn(&origin)).await;
    assert!(!get(pop.http(), "/short").await.is_complete);
    assert!(!get(pop.http(), "/short").await.is_hit());
    // More than announced: what is over belongs to no answer.
    origin.script(|_| {
        Reply::SendAndClose(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nhello".to_vec(),
        )
    });
    assert_eq!(get(pop.http(), "/long").await.text(), "he");
    // Chunks without an end.
    origin.script(|_| {
        let cut = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        Reply::SendAndClose(cut.to_vec())
    });
    assert!(!get(pop.http(), "/chunks").await.is_complete);
    assert!(!get(pop.http(), "/chunks").await.is_hit());
}

#[tokio::test]
async fn hanging_origins_are_504() {
    let origin = Scripted::start(|_| Reply::SendAndHang(Vec::new())).await;
    let patient = origin.origin();
    let hasty =
        patient.connect_timeout(Duration::from_millis(100)).first_byte_timeout(Duration::from_millis(200));
    let pop = start(
        Pop::cdn("test").http(loopback()).host("*", hasty.between_bytes_timeout(Duration::from_millis(200))),
    )
    .await;
    let started = Instant::now();
    let late = get(pop.http(), "/").await;
    assert_eq!(late.status, 504, "{}", late.head);
    assert!(late.field("cache-status").is_some_and(|status| status.contains("origin-first-byte-timeout")));
    assert!(started.elapsed() < Duration::from_secs(10));
    origin.script(|_| Reply::SendAndHang(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec()));
    assert!(!get(pop.http(), "/half").await.is_complete);
}

#[tokio::test]
async fn a_304_nobody_asked_for_is_an_error() {
    let origin = Scripted::start(|_| Reply::Send(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec())).await;
    let pop = start(cdn(&origin)).await;
    assert_eq!(get(pop.http(), "/").await.status, 502);
}

#[tokio::test]
async fn a_storm_of_errors_is_weathered_by_what_is_stale() {
    let origin =
        Scripted::start(|_| Reply::ok("Cache-Control: max-age=60, stale-if-error=600\nETag: \"1\"", "good"))
            .await;
    let pop = start(cdn(&origin)).await;
    get(pop.http(), "/").await;
    pop.handle.purge(&Purge::All, PurgeMode::MarkStale);
    for status in
        ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"]
    {
        origin.script(move |_| Reply::status(status, "", "bad"));
        for _ in 0..5 {
            let answer = get(pop.http(), "/").await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "good"), "{status}: {}", answer.head);
        }
    }
    origin.script(|_| Reply::SendAndReset(Vec::new()));
    assert_eq!(get(pop.http(), "/").await.text(), "good");
    origin.script(|_| Reply::ok(FRESH, "better"));
    assert_eq!(get(pop.http(), "/").await.text(), "better");
}

#[tokio::test]
async fn a_pop_told_nothing_serves_what_is_stale_while_the_origin_cannot_be_reached() {
    let origin = Scripted::start(|asked| {
        let more = if asked.line().contains("/strict") { ", must-revalidate" } else { "" };
        Reply::ok(&format!("Cache-Control: max-age=1{more}"), "good")
    })
    .await;
    let pop = start(cdn(&origin)).await;
    for path in ["/silent", "/strict"] {
        get(pop.http(), path).await;
    }
    pop.handle.purge(&Purge::All, PurgeMode::MarkStale);
    origin.script(|_| Reply::status("503 Service Unavailable", "", "bad"));
    assert_eq!(get(pop.http(), "/silent").await.status, 503, "an error is an answer");
    origin.script(|_| Reply::SendAndReset(Vec::new()));
    assert_eq!(get(pop.http(), "/silent").await.text(), "good");
    assert_eq!(get(pop.http(), "/strict").await.status, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_wait_for_one_fetch() {
    let origin = Scripted::start(|_| {
        let head =
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello".to_vec();
        Reply::Slowly(vec![
            (Duration::from_millis(700), head),
            (Duration::from_millis(300), b"world".to_vec()),
        ])
    })
    .await;
    let pop = start(cdn(&origin)).await;
    let address = pop.http();
    let clients: Vec<_> =
        (0..1000).map(|_| tokio::spawn(async move { get(address, "/one").await })).collect();
    for client in clients {
        let answer = client.await.expect("no panic");
        assert_eq!((answer.status, answer.text().as_str()), (200, "helloworld"));
    }
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_spoils_nothing() {
    let origin = Scripted::start(|_| {
        let head =
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello".to_vec();
        Reply::Slowly(vec![(Duration::ZERO, head), (Duration::from_millis(300), b"world".to_vec())])
    })
    .await;
    let pop = start(cdn(&origin)).await;
    let mut leaving = Client::connect(pop.http()).await;
    leaving.send("GET /x HTTP/1.1\r\nHost: www.example.org\r\n\r\n").await;
    assert!(support::eventually(|| origin.asked().len() == 1).await);
    drop(leaving);
    assert_eq!(get(pop.http(), "/x").await.text(), "helloworld");
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn a_broken_connection_is_tried_once_more_and_a_post_is_not() {
    let origin = Scripted::start(|_| Reply::SendAndReset(Vec::new())).await;
    let pop = start(cdn(&origin)).await;
    assert_eq!(get(pop.http(), "/").await.status, 502);
    assert_eq!(origin.asked().len(), 2);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(support::ask(pop.http(), post).await.expect("an answer").status, 502);
    assert_eq!(origin.asked().len(), 3);
    // The budget ends retries when everything fails.
    for _ in 0..50 {
        get(pop.http(), "/").await;
    }
    let retries = origin.asked().len() - 3 - 50;
    assert!(retries < 25, "{retries} retries of 50 requests");
}

#[tokio::test]
async fn a_dead_backend_is_passed_over() {
    let origin = Scripted::start(|_| Reply::ok("Cache-Control: no-store", "alive")).await;
    let dead = "127.0.0.1:1";
    let group = Origin::http(dead).backend(origin.address.to_string());
    let pop = start(Pop::cdn("test").http(loopback()).host("*", group)).await;
    for index in 0..40 {
        assert_eq!(get(pop.http(), &format!("/{index}")).await.status, 200, "request {index}");
    }
}
