//! DNS over HTTP: what a browser sends, and what nobody should.
#![cfg(feature = "doh")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use pop_dns::doh::{Body, ClientAddress, Doh, MEDIA_TYPE, QUERY_OCTETS_MAX};
use pop_dns::server::Counters;
use pop_dns::zone::Zone;
use pop_dns::{Authority, Message, MessageBuilder, Rcode, RecordType};

fn doh() -> (Doh<Authority>, Arc<Counters>) {
    let text = b"@ 600 SOA ns host 1 2h 15m 2w 5m\n@ 600 NS ns\nwww 60 A 192.0.2.1\nwww 90 TXT t\nzero 0 A 192.0.2.2\n";
    let authority = Authority::new([Zone::parse(text, "example.org".parse().unwrap()).unwrap()]);
    let counters = Arc::new(Counters::default());
    (Doh::new(authority, Arc::clone(&counters)), counters)
}

fn query(name: &str) -> Vec<u8> {
    MessageBuilder::query(0, &name.parse().unwrap(), RecordType::A).finish()
}

fn client() -> ClientAddress {
    ClientAddress("192.0.2.99".parse().unwrap())
}

async fn post(media: &str, octets: Vec<u8>) -> Response<Body> {
    let request = Request::post("/dns-query").header("content-type", media).extension(client());
    doh().0.respond(request.body(http_body_util::Full::new(Bytes::from(octets))).unwrap()).await
}

async fn get(uri: &str) -> Response<Body> {
    let request = Request::get(uri).extension(client());
    doh().0.respond(request.body(String::new()).unwrap()).await
}

#[tokio::test]
async fn answers_may_be_kept_as_long_as_their_records() {
    for (name, rcode, cached) in [
        ("www.example.org", Rcode::NOERROR, "max-age=60"),
        ("zero.example.org", Rcode::NOERROR, "max-age=0"),
        // The lower of the SOA's TTL and its minimum.
        ("none.example.org", Rcode::NXDOMAIN, "max-age=300"),
        ("www.example.net", Rcode::REFUSED, "no-store"),
    ] {
        let response = post(MEDIA_TYPE, query(name)).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        assert_eq!(response.headers()["cache-control"], cached, "{name}");
        assert_eq!(response.headers()["content-type"], MEDIA_TYPE);
        let length = response.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap();
        let octets = response.into_body().into_bytes();
        assert_eq!(octets.len(), length);
        assert_eq!(Message::parse(&octets).unwrap().header().flags.rcode(), rcode, "{name}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    use StatusCode as Status;
    let plain = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA29yZwAAAQAB";
    let long = format!("/dns-query?dns={}", "A".repeat(QUERY_OCTETS_MAX.div_ceil(3) * 4 + 1));
    for (uri, status) in [
        (format!("/dns-query?dns={plain}"), Status::OK),
        (format!("/dns-query?x=1&dns={plain}"), Status::OK),
        ("/dns-query".into(), Status::BAD_REQUEST),
        ("/dns-query?dns".into(), Status::BAD_REQUEST),
        ("/dns-query?dns=%41".into(), Status::BAD_REQUEST),
        ("/dns-query?dns=AAA=".into(), Status::BAD_REQUEST),
        ("/dns-query?dns=AAAA".into(), Status::BAD_REQUEST),
        (long, Status::URI_TOO_LONG),
    ] {
        assert_eq!(get(&uri).await.status(), status, "{uri}");
    }
    assert_eq!(post("text/plain", query("a.example.org")).await.status(), Status::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(post("Application/DNS-message; x=1", query("www.example.org")).await.status(), Status::OK);
    assert_eq!(post(MEDIA_TYPE, vec![0; QUERY_OCTETS_MAX + 1]).await.status(), Status::PAYLOAD_TOO_LARGE);
    let mut response = query("www.example.org");
    response[2] |= 0x80;
    assert_eq!(post(MEDIA_TYPE, response).await.status(), Status::BAD_REQUEST, "a response is no query");
    let put = Request::put("/dns-query").extension(client()).body(String::new()).unwrap();
    let refused = doh().0.respond(put).await;
    assert_eq!(
        (refused.status(), &refused.headers()["allow"]),
        (Status::METHOD_NOT_ALLOWED, &http::HeaderValue::from_static("GET, HEAD, POST"))
    );
    let nobody = Request::get(format!("/dns-query?dns={plain}")).body(String::new()).unwrap();
    assert_eq!(doh().0.respond(nobody).await.status(), Status::INTERNAL_SERVER_ERROR);
}

/// A body that never ends.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let request = Request::post("/dns-query").header("content-type", MEDIA_TYPE).extension(client());
    let asked = doh().0;
    let before = tokio::time::Instant::now();
    let response = asked.respond(request.body(Endless).unwrap()).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(before.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn it_is_a_tower_service_and_counts() {
    use tower_service::Service;
    let (mut service, counters) = doh();
    let request = Request::post("/dns-query").header("content-type", MEDIA_TYPE).extension(client());
    let body = http_body_util::Full::new(Bytes::from(query("www.example.org")));
    let response = service.call(request.body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let counts = counters.read();
    assert_eq!((counts.https, counts.tcp, counts.rcodes[0]), (1, 0, 1));
}
