//! One fetch for many: it streams to all of them, hands nobody what is not his, and survives those who leave.

#![cfg(feature = "tower")]

mod http_support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_support::{Edge, cache_status, chunks, fed, read};
use pop_cache::http::{CacheBody, FetchError};
use tokio::sync::Semaphore;
use tower_service::Service;

fn edge() -> Edge {
    Edge::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000), |builder| builder)
}

/// From now on the origin answers with this, once for each permit.
fn gated(edge: &Edge, directives: &'static str, body: &'static str) -> Arc<Semaphore> {
    edge.script(move |_| {
        Ok(Response::builder().header("cache-control", directives).body(chunks(&[body])).expect("a response"))
    });
    edge.gate()
}

fn get(edge: &Edge, fields: &[(&str, &str)]) -> impl Future<Output = Answer> + Send + 'static {
    let mut request = Request::builder().uri("http://test.example/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    edge.service.clone().call(request.body(String::new()).expect("a request"))
}

type Answer = Result<Response<CacheBody<http_support::OriginBody>>, FetchError>;

async fn first_chunk<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Bytes
where
    B::Error: std::fmt::Debug,
{
    let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await;
    frame.expect("a frame").expect("no error").into_data().unwrap_or_default()
}

#[tokio::test]
async fn a_thousand_waiters_share_one_fetch_and_read_it_as_it_comes() {
    let edge = edge();
    let (sender, source) = tokio::sync::mpsc::unbounded_channel();
    let source = std::sync::Mutex::new(Some(source));
    edge.script(move |_| {
        let body = fed(source.lock().expect("no panic").take().expect("one request"));
        Ok(Response::builder().header("cache-control", "max-age=60").body(body).expect("a response"))
    });
    let gate = edge.gate();
    let waiting: Vec<_> = (0..1000).map(|_| tokio::spawn(get(&edge, &[]))).collect();
    edge.settle().await;
    gate.add_permits(1);
    sender.send(Ok(Bytes::from_static(b"first "))).expect("somebody listens");
    let mut bodies = Vec::new();
    for (number, answer) in waiting.into_iter().enumerate() {
        let answer = answer.await.expect("no panic").expect("an answer");
        let collapsed = cache_status(&answer).contains("; collapsed");
        assert_eq!(collapsed, number > 0, "{}", cache_status(&answer));
        bodies.push(answer.into_body());
    }
    // The fetch has not ended, and everybody has the beginning.
    for body in &mut bodies {
        assert_eq!(first_chunk(body).await, "first ");
    }
    sender.send(Ok(Bytes::from_static(b"second"))).expect("somebody listens");
    drop(sender);
    for body in bodies {
        assert_eq!(read(Response::new(body)).await.expect("whole"), b"second");
    }
    assert_eq!(edge.seen().len(), 1);
    assert_eq!(edge.handle.stats().collapsed, 999);
    assert_eq!(read(edge.get("/").await.expect("a hit")).await.expect("whole"), b"first second");
    assert_eq!(edge.seen().len(), 1, "it was stored");
}

#[tokio::test]
async fn a_leader_that_leaves_kills_nothing() {
    let edge = edge();
    let gate = gated(&edge, "max-age=60", "body");
    let leader = tokio::spawn(get(&edge, &[]));
    edge.settle().await;
    let waiter = tokio::spawn(get(&edge, &[]));
    edge.settle().await;
    leader.abort();
    edge.settle().await;
    gate.add_permits(1);
    let answer = waiter.await.expect("no panic").expect("an answer");
    assert_eq!(read(answer).await.expect("whole"), b"body");
    assert_eq!(edge.seen().len(), 1);
}

#[tokio::test]
async fn a_fetch_nobody_waits_for_is_still_stored() {
    let edge = edge();
    let gate = gated(&edge, "max-age=60", "body");
    let leader = tokio::spawn(get(&edge, &[]));
    edge.settle().await;
    leader.abort();
    gate.add_permits(1);
    edge.settle().await;
    assert_eq!(cache_status(&edge.get("/").await.expect("a hit")), "pop; hit; ttl=60");
}

#[tokio::test]
async fn an_answer_for_one_releases_the_others_and_is_remembered() {
    let edge = edge();
    let gate = gated(&edge, "private", "mine");
    let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(get(&edge, &[]))).collect();
    edge.settle().await;
    assert_eq!(edge.seen().len(), 1, "nobody knows yet");
    gate.add_permits(1);
    edge.settle().await;
    assert_eq!(edge.seen().len(), 10, "everybody asks for himself, at once");
    gate.add_permits(9);
    for (number, answer) in waiting.into_iter().enumerate() {
        let answer = answer.await.expect("no panic").expect("an answer");
        let expected = if number == 0 {
            "pop; fwd=uri-miss; fwd-status=200; detail=private"
        } else {
            "pop; fwd=uri-miss; fwd-status=200; collapsed=?0; detail=private"
        };
        assert_eq!(cache_status(&answer), expected);
    }
    // From now on nobody waits for anybody.
    let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(get(&edge, &[]))).collect();
    edge.settle().await;
    assert_eq!(edge.seen().len(), 20);
    gate.add_permits(10);
    for answer in waiting {
        answer.await.expect("no panic").expect("an answer");
    }
}

#[tokio::test]
async fn an_error_reaches_everybody() {
    let edge = edge();
    edge.script(|_| Err("connection refused".into()));
    let gate = edge.gate();
    let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(get(&edge, &[]))).collect();
    edge.settle().await;
    gate.add_permits(1);
    for answer in waiting {
        let error = answer.await.expect("no panic").expect_err("no answer");
        assert!(matches!(error, FetchError::Origin(_)), "{error}");
    }
    assert_eq!(edge.seen().len(), 1);
}

#[tokio::test]
async fn a_panicking_service_leaves_nobody_waiting() {
    let edge = edge();
    edge.script(|_| panic!("a bug in the inner service"));
    let gate = edge.gate();
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(get(&edge, &[]))).collect();
    edge.settle().await;
    gate.add_permits(1);
    for answer in waiting {
        let error = answer.await.expect("no panic here").expect_err("no answer");
        assert!(matches!(error, FetchError::Abandoned), "{error}");
    }
    edge.script(|_| Ok(Response::new(chunks(&["back"]))));
    gate.add_permits(1);
    assert_eq!(read(edge.get("/").await.expect("an answer")).await.expect("whole"), b"back");
}

#[tokio::test]
async fn variants_collapse_each_for_itself() {
    let edge = edge();
    edge.script(|request| {
        let language = request.headers()["accept-language"].to_str()?.to_owned();
        let response =
            Response::builder().header("cache-control", "max-age=60").header("vary", "accept-language");
        Ok(response.body(chunks(&[&language])).expect("a response"))
    });
    let gate = edge.gate();
    let languages = ["de", "en", "fr"];
    let asked: Vec<_> = (0..30).map(|number| languages[number % 3]).collect();
    let waiting: Vec<_> =
        asked.iter().map(|language| tokio::spawn(get(&edge, &[("accept-language", language)]))).collect();
    edge.settle().await;
    assert_eq!(edge.seen().len(), 1, "nobody knows yet that it varies");
    gate.add_permits(1);
    edge.settle().await;
    assert_eq!(edge.seen().len(), 3, "one more fetch for each other variant");
    gate.add_permits(2);
    for (answer, language) in waiting.into_iter().zip(asked) {
        let answer = answer.await.expect("no panic").expect("an answer");
        assert_eq!(read(answer).await.expect("whole"), language.as_bytes());
    }
    assert_eq!(edge.seen().len(), 3);
}

#[tokio::test]
async fn private_fields_are_for_the_leader_alone() {
    let edge = edge();
    edge.script(|_| {
        let response = Response::builder()
            .header("cache-control", "max-age=60, private=\"x-user\"")
            .header("x-user", "the leader")
            .header("x-all", "everybody");
        Ok(response.body(chunks(&["body"])).expect("a response"))
    });
    let gate = edge.gate();
    let leader = tokio::spawn(get(&edge, &[]));
    edge.settle().await;
    let waiter = tokio::spawn(get(&edge, &[]));
    edge.settle().await;
    gate.add_permits(1);
    let (leader, waiter) = (leader.await.expect("no panic"), waiter.await.expect("no panic"));
    assert_eq!(leader.expect("an answer").headers()["x-user"], "the leader");
    let waiter = waiter.expect("an answer");
    assert!(!waiter.headers().contains_key("x-user"));
    assert_eq!(waiter.headers()["x-all"], "everybody");
}

#[tokio::test]
async fn a_request_that_wants_it_fresh_from_the_origin_shares_nothing() {
    let edge = edge();
    let gate = gated(&edge, "max-age=60", "body");
    let leader = tokio::spawn(get(&edge, &[]));
    edge.settle().await;
    let waiter = tokio::spawn(get(&edge, &[("cache-control", "no-cache")]));
    edge.settle().await;
    gate.add_permits(2);
    leader.await.expect("no panic").expect("an answer");
    waiter.await.expect("no panic").expect("an answer");
    assert_eq!(edge.seen().len(), 2);
}

#[tokio::test]
async fn one_revalidation_serves_all_who_find_it_stale() {
    let edge = edge();
    edge.script(|request| {
        let status = if request.headers().contains_key("if-none-match") { 304 } else { 200 };
        let response =
            Response::builder().status(status).header("cache-control", "max-age=5").header("etag", "\"a\"");
        Ok(response.body(chunks(&[if status == 200 { "body" } else { "" }])).expect("a response"))
    });
    read(edge.get("/").await.expect("an answer")).await.expect("whole");
    edge.wait(Duration::from_secs(10));
    let gate = edge.gate();
    let waiting: Vec<_> = (0..50).map(|_| tokio::spawn(get(&edge, &[]))).collect();
    edge.settle().await;
    gate.add_permits(1);
    for answer in waiting {
        let answer = answer.await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(read(answer).await.expect("whole"), b"body");
    }
    assert_eq!(edge.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_holds_up_only_the_patient() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let edge = Edge::new(start, |builder| builder.collapse_wait(Duration::from_secs(2)));
    let gate = gated(&edge, "max-age=60", "body");
    let leader = tokio::spawn(get(&edge, &[]));
    edge.settle().await;
    let waiter = tokio::spawn(get(&edge, &[]));
    edge.settle().await;
    assert_eq!(edge.seen().len(), 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(edge.seen().len(), 2, "it asks for itself");
    gate.add_permits(2);
    let answer = waiter.await.expect("no panic").expect("an answer");
    assert!(cache_status(&answer).contains("; collapsed=?0"));
    leader.await.expect("no panic").expect("an answer");
}
