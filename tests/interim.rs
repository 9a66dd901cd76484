//! Interim responses reach the client as the origin sends them, before the final one, and never in the middle of anything.
#![cfg(all(feature = "serve", feature = "cache"))]

mod support;

use std::time::Duration;

use pop_edge::Pop;
use support::{Answer, Client, Reply, Scripted, cdn, get, loopback, start};

const HINT: &[u8] =
    b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
const FINAL: &[u8] = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello";
const ASK: &str = "GET /page HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
/// Long enough for what was sent before to have arrived.
const PAUSE: Duration = Duration::from_millis(300);

fn hinting() -> Reply {
    Reply::Slowly(vec![(Duration::ZERO, HINT.to_vec()), (PAUSE, FINAL.to_vec())])
}

fn is_hint(answer: &Answer) -> bool {
    answer.status == 103
        && answer.field("link").as_deref() == Some("</a.css>; rel=preload")
        && answer.field("connection").is_none()
        && answer.field("x-hop").is_none()
}

#[tokio::test]
async fn early_hints_arrive_before_the_answer_and_are_not_stored() {
    let origin = Scripted::start(|_| hinting()).await;
    let pop = start(cdn(&origin)).await;
    let mut client = Client::connect(pop.http()).await;
    client.send(ASK).await;
    let hint = client.answer().await.expect("a hint");
    assert!(is_hint(&hint), "{}", hint.head);
    let answer = client.answer().await.expect("the answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert!(answer.field("link").is_none(), "the hint's fields are the hint's");
    // The next on this connection, from the cache: no hint.
    client.send(ASK).await;
    let hit = client.answer().await.expect("the answer");
    assert!(hit.status == 200 && hit.is_hit(), "{}", hit.head);
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn a_hint_is_passed_on_when_it_comes() {
    let origin = Scripted::start(|_| Reply::SendAndHang(HINT.to_vec())).await;
    let pop = start(cdn(&origin)).await;
    let mut client = Client::connect(pop.http()).await;
    client.send(ASK).await;
    // The final response never comes, so nothing but the hint itself can have brought it here.
    assert!(is_hint(&client.answer().await.expect("a hint")));
}

#[tokio::test]
async fn hints_and_answer_in_one_piece_keep_their_order() {
    let origin = Scripted::start(|_| Reply::Send([HINT, HINT, FINAL].concat())).await;
    let builder = Pop::cdn("test").http(loopback()).host("*", origin.origin());
    let pop = start(builder.cache(pop_edge::CachePolicy::off())).await;
    let mut client = Client::connect(pop.http()).await;
    for _ in 0..20 {
        client.send(ASK).await;
        for _ in 0..2 {
            assert!(is_hint(&client.answer().await.expect("a hint")));
        }
        assert_eq!(client.answer().await.expect("the answer").text(), "hello");
    }
}

#[tokio::test]
async fn pipelined_requests_get_their_answers_in_order() {
    let origin = Scripted::start(|asked| {
        let path = asked.line().split(' ').nth(1).unwrap_or_default().to_owned();
        let last = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
        Reply::Send([HINT, last.as_bytes()].concat())
    })
    .await;
    let pop = start(cdn(&origin)).await;
    let mut client = Client::connect(pop.http()).await;
    let requests: String =
        (0..8).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: www.example.org\r\n\r\n")).collect();
    client.send(requests).await;
    for number in 0..8 {
        let mut answer = client.answer().await.expect("an answer");
        while answer.status == 103 {
            assert!(is_hint(&answer));
            answer = client.answer().await.expect("an answer");
        }
        assert_eq!((answer.status, answer.text()), (200, format!("/{number}")));
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_the_answer_alone() {
    let origin = Scripted::start(|_| hinting()).await;
    let pop = start(cdn(&origin)).await;
    let mut client = Client::connect(pop.http()).await;
    client.send("GET /page HTTP/1.0\r\nHost: www.example.org\r\n\r\n").await;
    assert_eq!(client.answer().await.expect("the answer").status, 200);
}

#[tokio::test]
async fn one_who_waits_for_anothers_fetch_gets_the_answer() {
    let origin = Scripted::start(|_| hinting()).await;
    let pop = start(cdn(&origin)).await;
    let mut first = Client::connect(pop.http()).await;
    first.send(ASK).await;
    assert!(is_hint(&first.answer().await.expect("a hint")));
    let second = get(pop.http(), "/page").await;
    assert_eq!((second.status, second.text().as_str()), (200, "hello"));
    assert_eq!(first.answer().await.expect("the answer").text(), "hello");
    assert_eq!(origin.asked().len(), 1);
}
