//! Stored responses in the coding that a client likes best: the same content, the right fields, nothing touched that
//! must not be.

#![cfg(feature = "compression")]

mod http_support;

use std::io::Read;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request, Response};
use http_support::{Edge, cache_status, chunks, read};
use pop_cache::http::{Coding, Compression, Purge, PurgeMode};

const TEXT: &str = "All work and no play makes Jack a dull boy. ";

fn edge(compression: Compression) -> Edge {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let edge = Edge::new(start, |builder| builder.compression(compression));
    edge.script(|_| {
        let response = Response::builder()
            .header("cache-control", "max-age=60")
            .header("content-type", "text/html")
            .header("etag", "\"one\"")
            .header("accept-ranges", "bytes")
            .header("repr-digest", "sha-256=:AAAA:");
        Ok(response.body(chunks(&[&TEXT.repeat(200)])).expect("a response"))
    });
    edge
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    cache: String,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn decoded(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        match self.field("content-encoding") {
            "" => plain.clone_from(&self.body),
            "br" => brotli::BrotliDecompress(&mut &self.body[..], &mut plain).expect("brotli"),
            "zstd" => zstd::stream::copy_decode(&self.body[..], &mut plain).expect("zstd"),
            "gzip" => {
                flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut plain).expect("gzip");
            }
            other => panic!("{other} is none of ours"),
        }
        plain
    }
}

async fn ask(edge: &Edge, method: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri("http://test.example/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = edge.send(request).await.expect("an answer");
    let (status, headers, cache) =
        (answer.status().as_u16(), answer.headers().clone(), cache_status(&answer));
    Answer { status, headers, body: read(answer).await.expect("whole"), cache }
}

async fn get(edge: &Edge, accept: &str) -> Answer {
    ask(edge, "GET", &[("accept-encoding", accept)]).await
}

/// Asks until the answer has this coding: the first who asks for it gets what is there.
async fn get_in(edge: &Edge, coding: &str) -> Answer {
    for _ in 0..6000 {
        let answer = get(edge, coding).await;
        if answer.field("content-encoding") == coding {
            return answer;
        }
        assert_eq!(answer.body, TEXT.repeat(200).as_bytes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{coding} never came");
}

#[tokio::test]
async fn one_stored_response_serves_every_coding() {
    let edge = edge(Compression::default());
    for coding in ["br", "zstd", "gzip"] {
        let answer = get_in(&edge, coding).await;
        assert_eq!(answer.decoded(), TEXT.repeat(200).as_bytes());
        assert_eq!(answer.field("content-length"), answer.body.len().to_string());
        assert_eq!(answer.field("etag"), "W/\"one\"", "another sequence of bytes, the same representation");
        assert_eq!(answer.field("vary"), "Accept-Encoding");
        assert_eq!(answer.field("repr-digest"), "", "it was about other bytes");
        assert_eq!(answer.cache, "pop; hit; ttl=60");
    }
    let plain = get(&edge, "identity").await;
    assert_eq!((plain.field("content-encoding"), plain.field("etag")), ("", "\"one\""));
    assert_eq!(plain.field("vary"), "Accept-Encoding");
    assert_eq!(get(&edge, "gzip;q=0.5, br;q=0.2").await.field("content-encoding"), "gzip");
    assert_eq!(get(&edge, "gzip;q=0, br;q=0").await.field("content-encoding"), "");
    assert_eq!(ask(&edge, "GET", &[]).await.field("content-encoding"), "");
    assert_eq!(edge.seen().len(), 1, "the origin was asked once");
}

#[tokio::test]
async fn conditions_find_either_tag_and_ranges_are_of_the_stored_bytes() {
    let edge = edge(Compression::default());
    get_in(&edge, "gzip").await;
    for tag in ["\"one\"", "W/\"one\""] {
        let answer = ask(&edge, "GET", &[("accept-encoding", "gzip"), ("if-none-match", tag)]).await;
        assert_eq!(
            (answer.status, answer.field("etag"), answer.field("vary")),
            (304, "W/\"one\"", "Accept-Encoding")
        );
        assert_eq!(answer.field("content-encoding"), "");
    }
    let range = [("accept-encoding", "gzip"), ("range", "bytes=4-7")];
    let part = ask(&edge, "GET", &range).await;
    assert_eq!((part.status, part.body.as_slice(), part.field("etag")), (206, &b"work"[..], "\"one\""));
    assert_eq!(part.field("content-encoding"), "");
    let resumed = ask(&edge, "GET", &[range[0], range[1], ("if-range", "W/\"one\"")]).await;
    assert_eq!(resumed.status, 200, "parts of two codings are never put together");
    let head = ask(&edge, "HEAD", &[("accept-encoding", "gzip")]).await;
    assert_eq!(head.field("content-length"), get(&edge, "gzip").await.field("content-length"));
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn what_is_updated_or_purged_takes_its_codings_along() {
    let edge = edge(Compression::default());
    get_in(&edge, "gzip").await;
    edge.wait(Duration::from_secs(61));
    edge.script(|request| {
        assert_eq!(request.headers()["if-none-match"], "\"one\"", "the origin knows its own tag");
        let response =
            Response::builder().status(304).header("cache-control", "max-age=60").header("etag", "\"one\"");
        Ok(response.header("x-new", "1").body(chunks(&[])).expect("a response"))
    });
    get(&edge, "gzip").await;
    let answer = get(&edge, "gzip").await;
    assert_eq!(
        (answer.field("content-encoding"), answer.field("x-new")),
        ("gzip", "1"),
        "the bytes are the same"
    );
    edge.handle.purge(&Purge::All, PurgeMode::Remove);
    edge.script(|_| {
        let response =
            Response::builder().header("cache-control", "max-age=60").header("content-type", "text/css");
        Ok(response.body(chunks(&[&"new ".repeat(1000)])).expect("a response"))
    });
    assert_eq!(get(&edge, "gzip").await.decoded(), "new ".repeat(1000).as_bytes());
    for _ in 0..100 {
        assert_eq!(get(&edge, "gzip").await.decoded(), "new ".repeat(1000).as_bytes());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Asks often enough that a coding would be there, and says which came.
async fn coding_of(
    fields: &'static [(&'static str, &'static str)],
    body: String,
    accept: &[(&str, &str)],
) -> String {
    let edge = edge(Compression::default());
    edge.script(move |_| {
        let mut response = Response::builder();
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        Ok(response.body(chunks(&[&body])).expect("a response"))
    });
    // The one that shows that there was time enough.
    let mut last = String::new();
    for _ in 0..40 {
        last = ask(&edge, "GET", accept).await.field("content-encoding").to_owned();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    last
}

#[tokio::test]
async fn what_must_not_be_touched_is_not() {
    let accept = [("accept-encoding", "gzip")];
    let text = || TEXT.repeat(200);
    let noise = || {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + (state >> 57) as u8 % 95)
        };
        (0..4000).map(|_| next()).collect::<String>()
    };
    let untouched: [(&[(&str, &str)], String); 6] = [
        (&[("cache-control", "max-age=60, no-transform"), ("content-type", "text/html")], text()),
        (&[("cache-control", "max-age=60"), ("content-type", "image/png")], text()),
        (&[("cache-control", "max-age=60")], text()),
        (&[("cache-control", "max-age=60"), ("content-type", "text/html")], "short".into()),
        (
            &[
                ("cache-control", "max-age=60, no-transform"),
                ("cdn-cache-control", "max-age=60"),
                ("content-type", "text/html"),
            ],
            text(),
        ),
        (&[("cache-control", "max-age=60"), ("content-type", "text/html")], "x".repeat(5 << 20)),
    ];
    for (fields, body) in untouched {
        let length = body.len();
        let fields: &'static [(&'static str, &'static str)] = fields.to_vec().leak();
        assert_eq!(coding_of(fields, body, &accept).await, "", "{fields:?}, {length}");
    }
    let encoded: &[_] =
        &[("cache-control", "max-age=60"), ("content-type", "text/html"), ("content-encoding", "x")];
    assert_eq!(coding_of(encoded, text(), &accept).await, "x");
    let plain: &[_] = &[("cache-control", "max-age=60"), ("content-type", "text/html")];
    assert_eq!(coding_of(plain, noise(), &[("accept-encoding", "identity")]).await, "");
    let forbids = [("accept-encoding", "gzip"), ("cache-control", "no-transform")];
    assert_eq!(coding_of(plain, text(), &forbids).await, "");
}

#[tokio::test]
async fn the_operator_chooses_the_codings() {
    let edge = edge(Compression { codings: vec![Coding::Gzip], ..Compression::default() });
    let answer = get_in(&edge, "gzip").await;
    assert_eq!(answer.decoded(), TEXT.repeat(200).as_bytes());
    assert_eq!(get(&edge, "br, gzip;q=0.1").await.field("content-encoding"), "gzip");
    assert_eq!(get(&edge, "br").await.field("content-encoding"), "");
}

#[tokio::test]
async fn codings_live_within_the_capacity() {
    let edge = edge(Compression::default());
    edge.script(|request| {
        let response =
            Response::builder().header("cache-control", "max-age=60").header("content-type", "text/html");
        Ok(response.body(chunks(&[&request.uri().path().repeat(50_000)])).expect("a response"))
    });
    for number in 0..60 {
        for coding in ["gzip", "br", "zstd"] {
            let request = Request::builder()
                .uri(format!("http://test.example/{number:04}"))
                .header("accept-encoding", coding);
            let answer = edge.send(request).await.expect("an answer");
            read(answer).await.expect("whole");
            assert!(edge.handle.stats().weight <= 16 << 20);
        }
    }
}
