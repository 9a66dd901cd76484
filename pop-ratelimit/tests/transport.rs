//! The layer in servers of axum and tonic as they come, over loopback connections.
#![cfg(all(feature = "tower", not(loom)))]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::{Buf, BufMut, Bytes};
use pop_ratelimit::tower::{RateLimitLayer, RequestHead};
use pop_ratelimit::{ManualClock, Quota};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::transport::server::{TcpConnectInfo, TcpIncoming};
use tonic::{Code, Request, Response, Status};

/// Nothing here takes longer than a moment; a machine under load may.
const PATIENCE: Duration = Duration::from_secs(60);

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("an answer in time") })
}

#[test]
fn an_axum_server_limits_by_connection() {
    run(async {
        let clock = ManualClock::default();
        let hands = clock.clone();
        let client = |head: &RequestHead<'_>| Some(head.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip());
        let layer = RateLimitLayer::new(client, 1 << 16)
            .quota("default", Quota::per_second(1).burst(2))
            .unwrap()
            .clock(move || hands.now());
        let app = Router::new().route("/", get(|| async { "hello" })).layer(layer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>());
        tokio::spawn(server.into_future());

        assert!(ask(address).await.starts_with("HTTP/1.1 200 OK"));
        let second = ask(address).await;
        assert!(second.contains("\r\nratelimit: \"default\";r=0;t=2\r\n"), "{second}");
        assert!(second.ends_with("\r\n\r\nhello"), "{second}");
        let denied = ask(address).await;
        assert!(denied.starts_with("HTTP/1.1 429 Too Many Requests"), "{denied}");
        assert!(denied.contains("\r\nretry-after: 1\r\n"), "{denied}");
        assert!(denied.contains("\r\ncontent-type: application/problem+json\r\n"), "{denied}");
        clock.advance(Duration::from_secs(1));
        assert!(ask(address).await.starts_with("HTTP/1.1 200 OK"), "after the wait that it was told");
    });
}

async fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Messages that are bytes as they are, so that no schema has to be compiled.
#[derive(Clone, Copy, Debug, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// What a code generator would write for a service with one method.
#[derive(Clone, Copy)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "greet.Greeter";
}

impl tower::Service<http::Request<tonic::body::Body>> for Greeter {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let greet = tower::service_fn(|request: Request<Bytes>| async move {
            let greeting = [b"hello ", &request.into_inner()[..]].concat();
            Ok::<_, Status>(Response::new(Bytes::from(greeting)))
        });
        Box::pin(async move { Ok(tonic::server::Grpc::new(Plain).unary(greet, request).await) })
    }
}

#[test]
fn a_tonic_server_limits_calls_over_a_channel() {
    run(async {
        let clock = ManualClock::default();
        let hands = clock.clone();
        let client =
            |head: &RequestHead<'_>| Some(head.extensions.get::<TcpConnectInfo>()?.remote_addr()?.ip());
        let layer = RateLimitLayer::new(client, 1 << 16)
            .route("/greet.Greeter", "greetings", Quota::per_second(1).burst(2))
            .unwrap()
            .clock(move || hands.now());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().layer(layer).add_service(Greeter);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
        let mut call = async || {
            client.ready().await.unwrap();
            let path = http::uri::PathAndQuery::from_static("/greet.Greeter/Hello");
            client.unary(Request::new(Bytes::from_static(b"world")), path, Plain).await
        };
        for left in [1, 0] {
            let response = call().await.unwrap();
            let standing = response.metadata().get("ratelimit").unwrap().to_str().unwrap();
            assert!(standing.starts_with(&format!("\"greetings\";r={left};")), "{standing}");
            assert_eq!(response.get_ref(), "hello world");
        }
        let denied = call().await.unwrap_err();
        assert_eq!(denied.code(), Code::ResourceExhausted);
        assert_eq!(denied.metadata().get("retry-after").unwrap(), "1");
        clock.advance(Duration::from_secs(1));
        assert_eq!(call().await.unwrap().get_ref(), "hello world", "after the wait that it was told");
    });
}
