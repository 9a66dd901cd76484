//! Large representations: stored in slices, served by the byte.

#![cfg(feature = "tower")]

mod http_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use http_support::{Edge, cache_status, pattern, pattern_byte, read};
use pop_cache::http::{FetchError, SLICE_BYTES};

const TEN_GIGABYTES: u64 = 10_000_000_000;

/// An origin of one large file that serves ranges; counts the bytes that it could have sent.
struct Large {
    edge: Edge,
    sent: Arc<AtomicU64>,
    version: Arc<AtomicU64>,
}

fn large(length: u64) -> Large {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let edge = Edge::new(start, |builder| builder.object_bytes_max(SLICE_BYTES));
    let (sent, version) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
    let (count, current) = (Arc::clone(&sent), Arc::clone(&version));
    edge.script(move |request| {
        let tag = format!("\"v{}\"", current.load(Ordering::SeqCst));
        let response = Response::builder()
            .header("etag", &tag)
            .header("cache-control", "max-age=60")
            .header("accept-ranges", "bytes");
        let holds = request.headers().get("if-range").is_none_or(|wanted| *wanted == tag);
        let range = request.headers().get("range").filter(|_| holds).map(|range| {
            let (first, last) =
                range.to_str().expect("ASCII")["bytes=".len()..].split_once('-').expect("a range");
            let last = last.parse().unwrap_or(length - 1).min(length - 1);
            (first.parse::<u64>().expect("a number"), last)
        });
        let (first, last) = range.unwrap_or((0, length - 1));
        count.fetch_add(last + 1 - first, Ordering::SeqCst);
        let response = response.header("content-length", last + 1 - first);
        Ok(match range {
            Some(_) => response.status(206).header("content-range", format!("bytes {first}-{last}/{length}")),
            None => response,
        }
        .body(pattern(first, last))
        .expect("a response"))
    });
    Large { edge, sent, version }
}

async fn range(large: &Large, first: u64, last: u64) -> (String, Vec<u8>) {
    let request =
        Request::builder().uri("http://test.example/").header("range", format!("bytes={first}-{last}"));
    let answer = large.edge.send(request).await.expect("an answer");
    assert_eq!(answer.status(), 206);
    let status = cache_status(&answer);
    let content_range = answer.headers()["content-range"].to_str().expect("ASCII").to_owned();
    assert!(content_range.starts_with(&format!("bytes {first}-{last}/")), "{content_range}");
    (status, read(answer).await.expect("whole"))
}

fn expected(first: u64, last: u64) -> Vec<u8> {
    (first..=last).map(pattern_byte).collect()
}

#[tokio::test]
async fn a_byte_of_ten_gigabytes_costs_a_slice() {
    let large = large(TEN_GIGABYTES);
    let middle = 5_000_000_000;
    let (status, body) = range(&large, middle, middle).await;
    assert_eq!(status, "pop; fwd=uri-miss; fwd-status=206; ttl=60; stored");
    assert_eq!(body, expected(middle, middle));
    assert_eq!(large.sent.load(Ordering::SeqCst), 1, "the first client gets what it asked for");
    let (status, body) = range(&large, middle + 7, middle + 9).await;
    assert_eq!(status, "pop; fwd=partial; ttl=60");
    assert_eq!(body, expected(middle + 7, middle + 9));
    assert_eq!(large.sent.load(Ordering::SeqCst), 1 + SLICE_BYTES);
    let (status, body) = range(&large, middle + 100, middle + 1000).await;
    assert_eq!(status, "pop; hit; ttl=60");
    assert_eq!(body, expected(middle + 100, middle + 1000));
    assert_eq!(large.sent.load(Ordering::SeqCst), 1 + SLICE_BYTES, "from the store");
    let (_, body) = range(&large, TEN_GIGABYTES - 5, TEN_GIGABYTES - 1).await;
    assert_eq!(body, expected(TEN_GIGABYTES - 5, TEN_GIGABYTES - 1));
    assert!(large.edge.handle.stats().weight < 3 * SLICE_BYTES);
}

#[tokio::test]
async fn a_large_file_that_streams_by_leaves_its_slices() {
    let length = 3 * SLICE_BYTES + 12_345;
    let large = large(length);
    let answer = large.edge.get("/").await.expect("an answer");
    assert_eq!(answer.headers()["content-length"], length.to_string());
    assert!(read(answer).await.expect("whole") == expected(0, length - 1));
    large.edge.settle().await;
    let answer = large.edge.get("/").await.expect("an answer");
    assert_eq!(cache_status(&answer), "pop; hit; ttl=60");
    assert!(read(answer).await.expect("whole") == expected(0, length - 1));
    let across = range(&large, SLICE_BYTES - 3, 2 * SLICE_BYTES + 3).await;
    assert!(across.1 == expected(SLICE_BYTES - 3, 2 * SLICE_BYTES + 3));
    assert_eq!(large.sent.load(Ordering::SeqCst), length, "one fetch of everything");
}

#[tokio::test]
async fn a_file_larger_than_the_whole_cache_is_served_through_it() {
    let length = 40 * SLICE_BYTES;
    let large = large(length);
    for _ in 0..2 {
        let answer = large.edge.get("/").await.expect("an answer");
        assert!(read(answer).await.expect("whole") == expected(0, length - 1));
        assert!(large.edge.handle.stats().weight <= 16 << 20);
    }
}

#[tokio::test]
async fn a_file_that_changed_is_not_patched_together() {
    let large = large(4 * SLICE_BYTES);
    range(&large, 0, 9).await;
    large.version.store(2, Ordering::SeqCst);
    // The slice is asked for with If-Range, the origin answers with the whole of another: that is what is served.
    let request = Request::builder().uri("http://test.example/").header("range", "bytes=20-29");
    let answer = large.edge.send(request).await.expect("an answer");
    assert_eq!(answer.headers()["etag"], "\"v2\"");
    assert_eq!(read(answer).await.expect("whole"), expected(20, 29));
}

#[tokio::test]
async fn a_file_that_changes_under_a_reader_breaks_off() {
    let large = large(4 * SLICE_BYTES);
    range(&large, 0, 9).await;
    range(&large, 0, 9).await; // The first slice is stored.
    let answer = large.edge.get("/").await.expect("an answer");
    large.version.store(2, Ordering::SeqCst);
    let error = read(answer).await.expect_err("no whole body");
    assert!(error.downcast_ref::<FetchError>().is_some_and(|error| matches!(error, FetchError::Changed)));
    let answer = large.edge.get("/").await.expect("an answer");
    assert_eq!(answer.headers()["etag"], "\"v2\"", "the next one gets the new");
}

#[tokio::test]
async fn readers_of_one_slice_share_its_fetch() {
    let large = large(8 * SLICE_BYTES);
    range(&large, 0, 0).await;
    let before = large.edge.seen().len();
    let gate = large.edge.gate();
    let answers = (0..20).map(|number| {
        let first = 3 * SLICE_BYTES + number;
        let request =
            Request::builder().uri("http://test.example/").header("range", format!("bytes={first}-{first}"));
        large.edge.send(request)
    });
    let waiting: Vec<_> = answers.map(Box::pin).collect();
    let release = async {
        large.edge.settle().await;
        gate.add_permits(1);
    };
    let reading = async {
        let mut bodies = Vec::new();
        let joined = futures_all(waiting).await;
        for answer in joined {
            bodies.push(read(answer.expect("an answer")).await.expect("whole"));
        }
        bodies
    };
    let (bodies, ()) = tokio::join!(reading, release);
    for (number, body) in bodies.into_iter().enumerate() {
        assert_eq!(body, [pattern_byte(3 * SLICE_BYTES + number as u64)]);
    }
    assert_eq!(large.edge.seen().len(), before + 1);
}

/// Polls all of them until each has ended.
async fn futures_all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = std::pin::Pin::new(future).poll(context)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(
                outputs.iter_mut().map(|output| output.take().expect("all are there")).collect(),
            )
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}
