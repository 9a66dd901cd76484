//! DNS over HTTPS, both sides: our client, and our service behind a server of HTTP/2 or HTTP/1.1.
#![cfg(all(feature = "doh", feature = "tls"))]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request as HttpRequest, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pop_dns::client::{Client, ClientError, Endpoint, Request};
use pop_dns::doh::{Body, ClientAddress, Doh};
use pop_dns::server::Counters;
use pop_dns::zone::Zone;
use pop_dns::{Authority, RecordType, Transport};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    gets: AtomicUsize,
    posts: AtomicUsize,
}

struct Served {
    address: SocketAddr,
    trust: rustls::ClientConfig,
    seen: Arc<Seen>,
}

/// A server that speaks `protocols`. Below `/aged` answers come from a cache where they were for 20 seconds.
async fn serve(protocols: &[&[u8]]) -> Served {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["dns.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let trust = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let text = b"@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\nwww 60 A 192.0.2.1\n";
    let authority = Authority::new([Zone::parse(text, "example.org".parse().unwrap()).unwrap()]);
    let doh = Arc::new(Doh::new(authority, Arc::new(Counters::default())));
    let seen = Arc::new(Seen::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (acceptor, watching) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&seen));
    tokio::spawn(async move {
        loop {
            let (stream, client) = listener.accept().await.unwrap();
            watching.connections.fetch_add(1, Ordering::SeqCst);
            let (acceptor, doh, seen) = (acceptor.clone(), Arc::clone(&doh), Arc::clone(&watching));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = hyper::service::service_fn(move |request| {
                    let (doh, seen) = (Arc::clone(&doh), Arc::clone(&seen));
                    async move { Ok::<_, std::convert::Infallible>(respond(&doh, &seen, client, request).await) }
                });
                let stream = TokioIo::new(stream);
                if http2 {
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(stream, service)
                        .await;
                } else {
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
                }
            });
        }
    });
    Served { address, trust, seen }
}

async fn respond(
    doh: &Doh<Authority>,
    seen: &Seen,
    client: SocketAddr,
    mut request: HttpRequest<Incoming>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path != "/dns-query" && path != "/aged" {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let count = if request.method() == Method::GET { &seen.gets } else { &seen.posts };
    count.fetch_add(1, Ordering::SeqCst);
    request.extensions_mut().insert(ClientAddress(client.ip()));
    let mut response = doh.respond(request).await;
    if path == "/aged" {
        response.headers_mut().insert("age", 20.into());
    }
    response
}

fn request() -> Request {
    Request::new("www.example.org".parse().unwrap(), RecordType::A)
}

impl Served {
    fn endpoint(&self, path: &str) -> Endpoint {
        let uri = format!("https://dns.example{path}").parse().unwrap();
        Endpoint::https(self.address, uri, &self.trust).unwrap()
    }
}

#[tokio::test]
async fn one_connection_serves_all_who_ask_by_http2() {
    let served = serve(&[b"h2", b"http/1.1"]).await;
    let client = Client::new();
    let (post, get) = (served.endpoint("/dns-query"), served.endpoint("/dns-query").by_get());
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let (client, post) = (client.clone(), post.clone());
            tokio::spawn(async move { client.query(post, &request()).await.unwrap() })
        })
        .collect();
    for asked in asking {
        let answer = asked.await.unwrap();
        assert_eq!((answer.transport, answer.message().answers().unwrap().count()), (Transport::Https, 1));
    }
    assert_eq!(served.seen.connections.load(Ordering::SeqCst), 1);
    assert_eq!(client.query(get, &request()).await.unwrap().message().answers().unwrap().count(), 1);
    let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    assert_eq!((count(&served.seen.posts), count(&served.seen.gets)), (10, 1));
}

#[tokio::test]
async fn a_server_of_http1_alone_is_asked_too() {
    let served = serve(&[b"http/1.1"]).await;
    let client = Client::new();
    for endpoint in [served.endpoint("/dns-query"), served.endpoint("/dns-query").by_get()] {
        for _ in 0..2 {
            let answer = client.query(endpoint.clone(), &request()).await.unwrap();
            assert_eq!(answer.message().answers().unwrap().count(), 1);
        }
    }
}

#[tokio::test]
async fn other_statuses_other_names_and_old_answers() {
    let served = serve(&[b"h2"]).await;
    let client = Client::new();
    let error = client.query(served.endpoint("/elsewhere"), &request()).await.unwrap_err();
    assert!(matches!(error, ClientError::Http { status: 404, .. }), "{error}");
    let uri = "https://other.example/dns-query".parse().unwrap();
    let endpoint = Endpoint::https(served.address, uri, &served.trust).unwrap();
    let error = client.query(endpoint, &request()).await.unwrap_err();
    assert!(matches!(error, ClientError::Network { .. }), "{error}");
    let answer = client.query(served.endpoint("/aged"), &request()).await.unwrap();
    let ttl = answer.message().answers().unwrap().next().unwrap().unwrap().ttl;
    assert_eq!(ttl, 40, "RFC 8484 §5.1: a cache on the way says how old it is");
}
