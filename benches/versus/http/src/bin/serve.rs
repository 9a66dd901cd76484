//! A server to be loaded with wrk: `serve bare|lookup|layer ADDRESS BYTES`, one thread, hyper over HTTP/1.1. The page is
//! `/index.html`; where there is a look-up, every other is a 404, which wrk counts as an error.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pop_cache::http::HttpCache;
use tokio::net::TcpListener;
use tower_layer::Layer;
use tower_service::Service;
use versus_http::{LookUp, Origin, page};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let usage = "usage: serve bare|lookup|layer ADDRESS BYTES";
    let [_, what, address, bytes] = arguments.as_slice() else { panic!("{usage}") };
    let address: SocketAddr = address.parse().expect(usage);
    let bytes: usize = bytes.parse().expect(usage);
    let listener = TcpListener::bind(address).await.expect("an address to listen on");
    let cache = HttpCache::builder(64 << 20).build().expect("settings that work");
    let layered = cache.layer().layer(Origin { bytes });
    let lookup = LookUp::new("/index.html", bytes);
    let bare = page(bytes);
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP socket");
        let io = TokioIo::new(stream);
        let server = http1::Builder::new();
        match what.as_str() {
            "bare" => {
                let bare = bare.clone();
                let service = service_fn(move |_: Request<Incoming>| {
                    std::future::ready(Ok::<_, Infallible>(bare.clone()))
                });
                tokio::spawn(async move { server.serve_connection(io, service).await });
            }
            "lookup" => {
                let lookup = lookup.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    std::future::ready(Ok::<_, Infallible>(lookup.answer(&request)))
                });
                tokio::spawn(async move { server.serve_connection(io, service).await });
            }
            "layer" => {
                let layered = layered.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    // Requests without content: what comes in is empty, and the type is one that has a default.
                    layered.clone().call(request.map(|_| Empty::<Bytes>::new()))
                });
                tokio::spawn(async move { server.serve_connection(io, service).await });
            }
            _ => panic!("{usage}"),
        }
    }
}
