//! DNS over TLS, both sides.
#![cfg(feature = "tls")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pop_dns::client::{Client, Endpoint, Request};
use pop_dns::server::{Counters, Handled, Handler, Server};
use pop_dns::zone::Zone;
use pop_dns::{Authority, EdnsOption, RecordType, Timestamp, Transport};
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
    let text = b"@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\nwww 60 A 192.0.2.1\n";
    serve_by(Authority::new([Zone::parse(text, "example.org".parse().unwrap()).unwrap()])).await
}

async fn serve_by(handler: impl Handler) -> Served {
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

    let local = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(local).await.unwrap().tls(local, Arc::new(config)).await.unwrap();
    let (tls, plain) = (server.tls_addrs().next().unwrap(), server.local_addr());
    let counters = Arc::new(Counters::default());
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(server.run(handler, Arc::clone(&counters), async {
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

/// Answers when it is told to, and tells when it was asked.
struct Held {
    asked: Arc<tokio::sync::Notify>,
    release: Arc<tokio::sync::Notify>,
}

impl Handler for Held {
    fn handle(&self, query: &[u8], _: IpAddr, _: Timestamp, _: Transport, _: &mut Vec<u8>) -> Handled {
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        self.asked.notify_one();
        let release = Arc::clone(&self.release);
        Handled::Later(Box::pin(async move {
            release.notified().await;
            Some(answer)
        }))
    }
}

/// A stop lets what is under way inside TLS end well: the answer arrives, and who only idles does not hold it up.
#[tokio::test]
async fn a_stop_waits_for_answers_inside_tls() {
    let (asked, release) = (Arc::<tokio::sync::Notify>::default(), Arc::<tokio::sync::Notify>::default());
    let served = serve_by(Held { asked: Arc::clone(&asked), release: Arc::clone(&release) }).await;
    let name = rustls::pki_types::ServerName::try_from("dns.example").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&served.client));
    let idle = tokio::net::TcpStream::connect(served.tls).await.unwrap();
    let _idle = connector.connect(name.clone(), idle).await.unwrap();
    let asking = tokio::net::TcpStream::connect(served.tls).await.unwrap();
    let mut asking = connector.connect(name, asking).await.unwrap();
    let query =
        pop_dns::MessageBuilder::query(7, &"www.example.org".parse().unwrap(), RecordType::A).finish();
    let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    asking.write_all(&framed).await.unwrap();
    asking.flush().await.unwrap();
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, asked.notified()).await.expect("the query arrives");
    served.stop.send(()).unwrap();
    // The server is told to stop before the answer is there.
    while tokio::net::TcpStream::connect(served.plain).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    release.notify_one();
    let mut answer = Vec::new();
    // To the end, which a closing alert marks: without it rustls reports an error.
    tokio::time::timeout(limit, asking.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!((answer.len(), &answer[2..4]), (framed.len(), &query[..2]));
    tokio::time::timeout(limit, served.running).await.unwrap().unwrap();
}
