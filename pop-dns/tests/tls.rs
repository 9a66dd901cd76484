//! DNS over TLS, both sides.
#![cfg(feature = "tls")]

use std::net::SocketAddr;
use std::sync::Arc;

use pop_dns::client::{Client, Endpoint, Request};
use pop_dns::server::{Counters, Server};
use pop_dns::zone::Zone;
use pop_dns::{Authority, EdnsOption, RecordType, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

struct Served {
    tls: SocketAddr,
    plain: SocketAddr,
    client: Arc<rustls::ClientConfig>,
    counters: Arc<Counters>,
    stop: oneshot::Sender<()>,
    running: tokio::task::JoinHandle<()>,
}

async fn serve() -> Served {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["dns.example".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"dot".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let text = b"@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\nwww 60 A 192.0.2.1\n";
    let authority = Authority::new([Zone::parse(text, "example.org".parse().unwrap()).unwrap()]);
    let local = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(local).await.unwrap().tls(local, Arc::new(config)).await.unwrap();
    let (tls, plain) = (server.tls_addrs().next().unwrap(), server.local_addr());
    let counters = Arc::new(Counters::default());
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(server.run(authority, Arc::clone(&counters), async {
        let _ = stopped.await;
    }));
    Served { tls, plain, client: Arc::new(client), counters, stop, running }
}

#[tokio::test]
async fn queries_travel_inside_tls_and_lengths_are_hidden() {
    let served = serve().await;
    let name = rustls::pki_types::ServerName::try_from("dns.example").unwrap();
    let endpoint = Endpoint::tls(served.tls, name, Arc::clone(&served.client));
    let client = Client::new();
    for _ in 0..3 {
        let request = Request::new("www.example.org".parse().unwrap(), RecordType::A);
        let answer = client.query(endpoint.clone(), &request).await.unwrap();
        assert_eq!(answer.transport, Transport::Tls);
        let message = answer.message();
        assert_eq!(message.answers().unwrap().count(), 1);
        // RFC 8467 §4.1: answers in blocks of 468 octets.
        assert_eq!(message.as_wire().len() % 468, 0);
        let edns = message.edns().unwrap().unwrap();
        assert!(edns.typed_options().any(|option| matches!(option, Ok(EdnsOption::Padding(_)))));
    }
    let counts = served.counters.read();
    assert_eq!((counts.tls, counts.tcp, counts.udp), (3, 0, 0));
    served.stop.send(()).unwrap();
    served.running.await.unwrap();
}

#[tokio::test]
async fn a_server_with_another_name_is_not_asked() {
    let served = serve().await;
    let name = rustls::pki_types::ServerName::try_from("other.example").unwrap();
    let endpoint = Endpoint::tls(served.tls, name, Arc::clone(&served.client));
    let request = Request::new("www.example.org".parse().unwrap(), RecordType::A);
    let error = Client::new().query(endpoint, &request).await.unwrap_err();
    assert!(matches!(error, pop_dns::client::ClientError::Network { .. }), "{error}");
    assert_eq!(served.counters.read().tls, 0);
}

/// Octets that are no TLS end that connection, and nothing else.
#[tokio::test]
async fn what_is_no_tls_is_closed() {
    let served = serve().await;
    let mut stream = tokio::net::TcpStream::connect(served.tls).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let request = Request::new("www.example.org".parse().unwrap(), RecordType::A);
    assert!(Client::new().query(served.plain, &request).await.is_ok());
}
