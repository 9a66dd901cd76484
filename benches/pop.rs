//! What a request costs inside a PoP, without its listeners: the tower service that they call.
//!
//! ```sh
//! cargo bench --all-features --bench pop
//! ```
//!
//! Peers beside us are in `benches/versus/edge`.
#![allow(missing_docs, reason = "criterion's macros make the functions")]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{CACHE_CONTROL, HOST};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pop_edge::guard::Guard;
use pop_edge::ratelimit::{PenaltyTerms, Quota};
use pop_edge::rules::Rules;
use pop_edge::{CachePolicy, Origin, Pop, PopBuilder, PopService};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower_service::Service;

const BODY_OCTETS: usize = 1024;

/// An origin on loopback: `/page` may be stored, everything else may not.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                let control = if request.uri().path() == "/page" { "max-age=86400" } else { "no-store" };
                let body = Full::new(Bytes::from_static(&[b'x'; BODY_OCTETS]));
                Ok::<_, Infallible>(
                    Response::builder().header(CACHE_CONTROL, control).body(body).expect("valid"),
                )
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    address
}

/// One request, and its body to the end.
async fn exchange(service: &mut PopService, path: &str) {
    let request = Request::get(path).header(HOST, "www.example.org");
    let mut request = request.body(Empty::<Bytes>::new()).expect("valid");
    request.extensions_mut().insert(SocketAddr::from(([192, 0, 2, 1], 4711)));
    let Ok(response) = service.call(request).await;
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert_eq!(body.len(), BODY_OCTETS);
}

fn requests(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let origin = runtime.block_on(origin());
    let cdn = || Pop::cdn("bench").cache(CachePolicy::capacity(64 << 20));
    let service =
        |pop: PopBuilder| pop.host("*", Origin::http(origin.to_string())).build().expect("a PoP").service();
    let quota = Quota::per_second(1_000_000_000).burst(1_000_000_000);
    let guard = Guard::new().limit(quota).penalty(PenaltyTerms::new(Duration::from_secs(10)), quota);
    let bare = service(cdn());
    let guarded = service(cdn().gate(guard).gate(Rules::baseline()));
    for (name, service, path) in [
        ("hit of 1 KiB", &bare, "/page"),
        ("hit of 1 KiB behind guard and rules", &guarded, "/page"),
        ("pass to an origin on loopback", &bare, "/account"),
    ] {
        let mut service = service.clone();
        runtime.block_on(exchange(&mut service, path));
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(exchange(&mut service, path)));
        });
    }
}

criterion_group!(benches, requests);
criterion_main!(benches);
