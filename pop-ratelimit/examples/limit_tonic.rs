//! The same layer in front of a gRPC service: a denial is `RESOURCE_EXHAUSTED`.
//! `cargo run -p pop-ratelimit --example limit_tonic --all-features`

use std::convert::Infallible;

use pop_ratelimit::Quota;
use pop_ratelimit::http::TrustedProxies;
use pop_ratelimit::tower::{Peer, RateLimitLayer, client_key};
use tonic::Status;
use tower::{Layer, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What a generated server is to tower: a service from requests to responses, both with tonic's body. A server's
    // `layer` takes the layer just the same.
    let greeter = tower::service_fn(|_: http::Request<tonic::body::Body>| async {
        Ok::<_, Infallible>(Status::ok("hello").into_http::<tonic::body::Body>())
    });
    let service = RateLimitLayer::new(client_key(TrustedProxies::none()), 1 << 20)
        .quota("greetings", Quota::per_second(1).burst(2))?
        .layer(greeter);
    for call in 1..=3 {
        let request = http::Request::post("/greet.Greeter/Hello")
            .header("content-type", "application/grpc")
            .extension(Peer([127, 0, 0, 1].into()))
            .body(tonic::body::Body::empty())?;
        let response = service.clone().oneshot(request).await?;
        let status = Status::from_header_map(response.headers()).ok_or("no status")?;
        println!("call {call}: {:?}, {:?}", status.code(), response.headers().get("ratelimit"));
    }
    Ok(())
}
