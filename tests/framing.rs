//! HTTP framing and identity: what an edge must not let through, and what it must not be made to believe.
#![cfg(all(feature = "serve", feature = "cache"))]

mod support;

use std::time::Duration;

use pop_edge::cache::http::{Rules, SetCookie};
use pop_edge::{CachePolicy, Origin, Pop};
use support::{Client, Reply, Running, Scripted, ask, cdn, get, loopback, start};

async fn fresh() -> Scripted {
    Scripted::start(|_| Reply::ok("Cache-Control: max-age=60", "fresh")).await
}

/// The request is answered with this status, and the connection ends.
async fn refused(pop: &Running, request: &str, status: u16) {
    let mut client = Client::connect(pop.http()).await;
    client.send(request).await;
    let answer = client.answer().await.unwrap_or_else(|| panic!("no answer to {request:?}"));
    assert_eq!(answer.status, status, "{request:?}: {}", answer.head);
    assert!(client.is_closed().await, "{request:?} leaves the connection open");
}

#[tokio::test]
async fn transfer_encoding_other_than_chunked_is_refused() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    for field in [
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
    ] {
        refused(&pop, &format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n0\r\n\r\n"), 400).await;
    }
    for length in ["5, 5", "+5", "-1", "5\r\nContent-Length: 6", "0x5", "99999999999999999999"] {
        refused(&pop, &format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nhello"), 400)
            .await;
    }
    refused(&pop, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400).await;
    assert!(origin.asked().is_empty(), "nothing of it reached the origin: {:?}", origin.asked());
}

#[tokio::test]
async fn with_two_framings_the_chunks_count_and_the_connection_ends() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    for fields in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let mut client = Client::connect(pop.http()).await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{smuggled}")).await;
        assert_eq!(client.answer().await.expect("an answer").status, 200);
        assert!(client.answer().await.is_none(), "the second request is not answered");
    }
    assert!(origin.asked().iter().all(|asked| {
        asked.line().starts_with("POST /") && asked.field("content-length") != Some("4".into())
    }));
    // The strict preset refuses it.
    let strict = Pop::security("test").http(loopback()).host("*", origin.origin());
    let pop = start(strict).await;
    let before = origin.asked().len();
    let both =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    refused(&pop, both, 400).await;
    assert_eq!(origin.asked().len(), before);
}

#[tokio::test]
async fn one_host_or_none() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        refused(&pop, request, 400).await;
    }
    assert!(origin.asked().is_empty());
    let absolute = ask(pop.http(), "GET http://a/x HTTP/1.1\r\nHost: A:80\r\n\r\n").await.expect("an answer");
    assert_eq!(absolute.status, 200);
    let hit = ask(pop.http(), "GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("an answer");
    assert!(hit.is_hit(), "one authority, one key: {}", hit.head);
}

/// What came in clear was not asked of `https`: its answer, a redirect perhaps, must not lie under that key.
#[tokio::test]
async fn a_target_has_the_scheme_that_is_spoken() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    for scheme in ["https", "ftp"] {
        let answer = ask(pop.http(), format!("GET {scheme}://a/x HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(answer.expect("an answer").status, 421, "{scheme}");
    }
    assert!(origin.asked().is_empty());
    // A trusted proxy may have spoken TLS with the client; the key still says what was spoken here.
    let told = |_, _: &http::HeaderMap| std::net::IpAddr::from([192, 0, 2, 1]);
    let behind = start(cdn(&origin).identify(told)).await;
    for target in ["https://a/x", "http://a/x", "/x"] {
        let answer = ask(behind.http(), format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(answer.expect("an answer").status, 200, "{target}");
    }
    assert_eq!(origin.asked().len(), 1, "one key for all");
}

/// Neither a purge nor an echo gets to an origin that trusts the PoP's address.
#[tokio::test]
async fn purges_and_echoes_stay_outside() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    for (method, status) in [("PURGE", 403), ("TRACE", 405)] {
        let request = format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(ask(pop.http(), request).await.expect("an answer").status, status, "{method}");
    }
    assert!(origin.asked().is_empty());
}

#[tokio::test]
async fn an_address_in_host_leads_nowhere() {
    let origin = fresh().await;
    let pop = start(Pop::cdn("test").http(loopback()).host("www.example.org", origin.origin())).await;
    for host in ["169.254.169.254", "localhost", "127.0.0.1:22", "[::1]"] {
        let request = format!("GET /latest/meta-data HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(ask(pop.http(), request).await.expect("an answer").status, 421, "{host}");
    }
    assert!(origin.asked().is_empty());
    // Not even configuration leads there.
    for backend in ["169.254.169.254:80", "[fe80::1]:80", "0.0.0.0:80"] {
        let pop = start(Pop::cdn("test").http(loopback()).host("*", Origin::http(backend))).await;
        let answer = get(pop.http(), "/").await;
        assert_eq!(answer.status, 502, "{backend}");
        assert!(answer.field("cache-status").is_some_and(|status| status.contains("origin-refused-target")));
    }
    let builder = Pop::cdn("test").http(loopback()).host("*", origin.origin().public_only());
    assert_eq!(get(start(builder).await.http(), "/").await.status, 502);
}

#[tokio::test]
async fn odd_names_and_methods() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    refused(&pop, "GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n", 400).await;
    refused(&pop, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405).await;
    let odd = ask(pop.http(), "get / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(odd.expect("an answer").status, 200);
    assert!(origin.asked()[0].line().starts_with("get / "));
    let strict = start(Pop::security("test").http(loopback()).host("*", origin.origin())).await;
    refused(&strict, "get / HTTP/1.1\r\nHost: a\r\n\r\n", 405).await;
    let builder = cdn(&origin).settings(|settings| settings.underscores = true);
    let lax = start(builder).await;
    let answer = ask(lax.http(), "GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n").await;
    assert_eq!(answer.expect("an answer").status, 200);
}

#[tokio::test]
async fn unkeyed_input_poisons_nothing() {
    let origin = Scripted::start(|asked| {
        let seen = ["x-forwarded-host", "x-http-method-override", "x-original-url", "content-length"]
            .map(|name| asked.field(name).unwrap_or_default())
            .concat();
        Reply::ok(
            "Cache-Control: max-age=60",
            &format!("seen: {seen}{}", String::from_utf8_lossy(&asked.body)),
        )
    })
    .await;
    let pop = start(cdn(&origin)).await;
    let poison = "GET /p HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: evil\r\nX-HTTP-Method-Override: DELETE\r\n\
                  X-Original-URL: /admin\r\nContent-Length: 4\r\n\r\nevil";
    let first = ask(pop.http(), poison).await.expect("an answer");
    assert_eq!(first.text(), "seen: ", "the origin saw nothing of it");
    let clean = ask(pop.http(), "GET /p HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("an answer");
    assert!(clean.is_hit());
    assert_eq!(clean.text(), "seen: ");
}

#[tokio::test]
async fn a_forged_address_is_not_believed() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    let forged = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n\
                  X-Real-IP: 192.0.2.1\r\n\r\n";
    ask(pop.http(), forged).await.expect("an answer");
    let asked = &origin.asked()[0];
    assert_eq!(asked.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(asked.field("forwarded").as_deref(), Some("for=127.0.0.1;host=\"a\";proto=http"));
    assert_eq!(asked.field("via").as_deref(), Some("1.1 test"));
    assert_eq!(asked.field("x-real-ip"), None);
    // A PROXY header is no request.
    let proxied =
        ask(pop.http(), "PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(proxied.map(|answer| answer.status), Some(400));
}

#[tokio::test]
async fn a_body_nobody_reads_is_not_the_next_request() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    get(pop.http(), "/x").await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
    let mut client = Client::connect(pop.http()).await;
    let length = smuggled.len();
    let fat =
        format!("GET /x HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: {length}\r\n\r\n{smuggled}");
    client.send(fat).await;
    assert!(client.answer().await.expect("an answer").is_hit());
    client.send("GET /next HTTP/1.1\r\nHost: www.example.org\r\n\r\n").await;
    // Either the body was drained and the next request is answered, or the connection is closed.
    if let Some(answer) = client.answer().await {
        assert_eq!(answer.status, 200);
    }
    assert!(origin.asked().iter().all(|asked| !asked.line().contains("smuggled")), "{:?}", origin.asked());
}

#[tokio::test]
async fn upgrades_are_off() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    let mut client = Client::connect(pop.http()).await;
    client
        .send(
            "GET /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
             GET /v HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.expect("an answer").status, 200);
    assert_eq!(client.answer().await.expect("the pipelined request is a request").status, 200);
    assert!(origin.asked().iter().all(|asked| asked.field("upgrade").is_none()));
    // An origin that switches all the same is broken.
    origin.script(|_| {
        Reply::Send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n".to_vec())
    });
    assert_eq!(get(pop.http(), "/w").await.status, 502);
}

#[tokio::test]
async fn cache_deception_finds_nothing() {
    let origin = Scripted::start(|_| Reply::ok("Cache-Control: private", "secret")).await;
    let pop = start(cdn(&origin)).await;
    for path in ["/account/x.css", "/account%2fx.css", "/account;x.css", "/static/../account/x.js"] {
        get(pop.http(), path).await;
        assert!(!get(pop.http(), path).await.is_hit(), "{path}");
    }
    assert!(origin.asked().iter().all(|asked| !asked.line().contains("..")), "dot segments never go out");
}

#[tokio::test]
async fn cookies_are_for_one_where_the_operator_is_strict() {
    let fields = "Cache-Control: max-age=60\nSet-Cookie: id=1";
    let origin = Scripted::start(move |_| Reply::ok(fields, "a page")).await;
    for (set_cookie, is_stored) in [(SetCookie::AsStated, true), (SetCookie::Refused, false)] {
        let rules = Rules { set_cookie, ..Rules::default() };
        let pop = start(cdn(&origin).cache(CachePolicy::capacity(1 << 20).rules(rules))).await;
        get(pop.http(), "/").await;
        assert_eq!(get(pop.http(), "/").await.is_hit(), is_stored, "{set_cookie:?}");
    }
}

#[tokio::test]
async fn answers_with_two_readings_are_502() {
    let origin = Scripted::start(|_| Reply::SendAndClose(Vec::new())).await;
    let pop = start(cdn(&origin)).await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/9.9 999\r\n\r\n",
        "not HTTP at all\r\n\r\n",
        "",
    ] {
        origin.script(move |_| Reply::SendAndClose(answer.into()));
        let seen = get(pop.http(), "/framing").await;
        assert_eq!(seen.status, 502, "{answer:?}: {}", seen.head);
        assert!(
            seen.field("cache-status").is_some_and(|status| status.contains("detail=origin-")),
            "{}",
            seen.head
        );
    }
    // Nothing of it was kept.
    origin.script(|_| Reply::ok("Cache-Control: max-age=60", "good"));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(get(pop.http(), "/framing").await.text(), "good");
}

#[tokio::test]
async fn heads_have_bounds() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    let many: String = (0..101).map(|index| format!("X-{index}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(300_000));
    for (request, statuses) in [
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), [431, 431]),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{large}\r\n"), [431, 431]),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)), [414, 414]),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100_000)), [414, 431]),
    ] {
        let mut client = Client::connect(pop.http()).await;
        // The answer may come, and the connection end, before all of it is written.
        let (mut reader, mut writer) = client.stream.split();
        let mut answer = Vec::new();
        let _ = tokio::join!(
            tokio::io::AsyncWriteExt::write_all(&mut writer, request.as_bytes()),
            tokio::time::timeout(
                support::PATIENCE,
                tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer)
            ),
        );
        let status =
            String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        assert!(status.is_some_and(|status| statuses.contains(&status)), "{:?}: {status:?}", &request[..20]);
    }
    assert!(origin.asked().is_empty());
    let fits = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(30_000));
    assert_eq!(ask(pop.http(), fits).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn control_octets_are_refused() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    for value in ["a\0b", "a\rb", "a\x1bb"] {
        refused(&pop, &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n"), 400).await;
    }
    assert!(origin.asked().is_empty());
}
