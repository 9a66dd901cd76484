//! TLS as clients see it: who is shown a certificate, which protocol is spoken, and whose requests belong where.
#![cfg(all(feature = "serve", feature = "cache", feature = "tls"))]

mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pop_edge::{Certificates, Pop};
use rustls::pki_types::{CertificateDer, ServerName};
use support::{PATIENCE, Reply, Running, Scripted, loopback, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const NAMES: [&str; 2] = ["one.example", "two.example"];

/// A PoP with a certificate for two names, its origin, and what a client must trust.
async fn secured() -> (Scripted, Running, CertificateDer<'static>) {
    let origin =
        Scripted::start(|asked| Reply::ok("Cache-Control: max-age=60", &asked.field("host").unwrap())).await;
    let made = rcgen::generate_simple_self_signed(NAMES.map(String::from)).expect("names");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let certificates = Certificates::pem(NAMES, chain.as_bytes(), key.as_bytes()).expect("a pair");
    let builder = Pop::cdn("test").https(loopback(), certificates).host("*", origin.origin());
    (origin, start(builder).await, made.cert.der().clone())
}

fn client(trusted: &CertificateDer<'static>, protocols: &[&[u8]]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

async fn shake(
    server: SocketAddr,
    name: &'static str,
    config: rustls::ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server).await?;
    let name = ServerName::try_from(name).expect("a name");
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(PATIENCE, handshake).await.expect("an end within the patience")
}

/// One GET over HTTP/1.1 to whoever `host` is, on a connection for `name`: status and body.
async fn get(pop: &Running, trusted: &CertificateDer<'static>, name: &'static str, host: &str) -> String {
    let mut stream = shake(pop.addresses.https[0], name, client(trusted, &[b"http/1.1"])).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is open");
    let mut answer = String::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer");
    answer
}

#[tokio::test]
async fn http2_is_spoken_where_the_client_offers_it() {
    let (origin, pop, trusted) = secured().await;
    let config = client(&trusted, &[b"h2", b"http/1.1"]);
    let stream = shake(pop.addresses.https[0], "one.example", config).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    for is_hit in [false, true] {
        let request = Request::get("https://one.example/").body(Empty::<Bytes>::new()).expect("a request");
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("in time");
        let answer = answer.expect("an answer");
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, http::Version::HTTP_2));
        let status = answer.headers()["cache-status"].to_str().expect("text").to_owned();
        assert_eq!(status.contains("; hit"), is_hit, "{status}");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, "one.example");
    }
    // On this connection, another name's requests are misdirected (RFC 9110 §15.5.20), whatever certificate it has.
    let request = Request::get("https://two.example/").body(Empty::<Bytes>::new()).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(origin.asked().len(), 1);
    connection.abort();
}

/// One request over HTTP/2 to the PoP.
async fn get_http2(
    pop: &Running,
    trusted: &CertificateDer<'static>,
    request: http::request::Builder,
) -> StatusCode {
    let stream = shake(pop.addresses.https[0], "one.example", client(trusted, &[b"h2"])).await.expect("TLS");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("in time");
    connection.abort();
    answer.expect("an answer").status()
}

#[tokio::test]
async fn cookies_that_http2_splits_are_one_field() {
    let (origin, pop, trusted) = secured().await;
    let request = Request::get("https://one.example/").header("cookie", "a=1").header("cookie", "b=2; c=3");
    assert_eq!(get_http2(&pop, &trusted, request.header("cookie", "d=4")).await, StatusCode::OK);
    let asked = origin.asked();
    let lines = asked[0].head.lines().filter(|line| line.to_ascii_lowercase().starts_with("cookie:"));
    let lines: Vec<_> = lines.map(str::to_ascii_lowercase).collect();
    assert_eq!(lines, ["cookie: a=1; b=2; c=3; d=4"]);
}

#[tokio::test]
async fn a_target_in_clear_does_not_come_over_tls() {
    let (origin, pop, trusted) = secured().await;
    let status = get_http2(&pop, &trusted, Request::get("http://one.example/")).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    assert!(origin.asked().is_empty());
}

/// An origin over TLS that speaks HTTP/2 to whoever can, and tells the protocol, the target and the `Host` that it saw.
async fn secure_origin() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("names");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(loopback()).await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let told = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                let host = request.headers().get("host").map(|host| host.to_str().expect("text").to_owned());
                let told = format!("{:?} {} {host:?}", request.version(), request.uri());
                Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(
                    Bytes::from(told),
                )))
            });
            let io = TokioIo::new(stream);
            if is_http2 {
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(serving.serve_connection(io, told));
            } else {
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, told));
            }
        }
    });
    (address, made.cert.pem())
}

/// An origin that reads `:authority` and one that reads `Host` see the same site (RFC 9113 §8.3.1).
#[tokio::test]
async fn an_origin_over_tls_is_asked_for_one_host() {
    let (address, authority) = secure_origin().await;
    let file = std::env::temp_dir().join(format!("pop-edge-test-{}.pem", std::process::id()));
    std::fs::write(&file, authority).expect("a file");
    let backend = format!("localhost:{}", address.port());
    let told = async |field: pop_edge::config::HostField| {
        let origin = pop_edge::Origin::https(&backend).ca_file(&file).host_field(field);
        let pop = start(Pop::cdn("test").http(loopback()).host("*", origin)).await;
        support::ask(pop.http(), "GET /x HTTP/1.1\r\nHost: one.example\r\n\r\n")
            .await
            .expect("an answer")
            .text()
    };
    assert_eq!(told(pop_edge::config::HostField::Keep).await, "HTTP/1.1 /x Some(\"one.example\")");
    let name = pop_edge::config::HostField::Name("two.example".to_owned());
    assert_eq!(told(name).await, "HTTP/1.1 /x Some(\"two.example\")");
    let own = told(pop_edge::config::HostField::Backend).await;
    assert_eq!(own, format!("HTTP/2.0 https://{backend}/x Some({backend:?})"));
    std::fs::remove_file(file).expect("it is there");
}

#[tokio::test]
async fn a_connection_serves_the_name_it_was_made_for() {
    let (origin, pop, trusted) = secured().await;
    for name in NAMES {
        let answer = get(&pop, &trusted, name, name).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(name), "{answer}");
    }
    let answer = get(&pop, &trusted, "one.example", "two.example").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert_eq!(origin.asked().len(), 2, "the misdirected request went no further");
}

#[tokio::test]
async fn an_unknown_name_is_shown_nothing() {
    let (_origin, pop, trusted) = secured().await;
    let refused = shake(pop.addresses.https[0], "three.example", client(&trusted, &[])).await;
    let error = refused.expect_err("there is no certificate for it").to_string();
    assert!(error.contains("AccessDenied") || error.contains("UnrecognisedName"), "{error}");
    // And the PoP serves on.
    assert!(get(&pop, &trusted, "one.example", "one.example").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn nothing_below_tls_1_2() {
    let (_origin, pop, _) = secured().await;
    for minor in [1, 2] {
        // A ClientHello (RFC 4346 §7.4.1.2) for TLS 1.0 or 1.1: version, random, no session, one suite, no compression,
        // and the signatures that it takes.
        let mut hello = vec![3, minor];
        hello.extend_from_slice(&[7; 32]);
        hello.extend_from_slice(&[0, 0, 2, 0xc0, 0x13, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
        let mut record = vec![22, 3, 1, 0, 4 + u8::try_from(hello.len()).expect("short")];
        record.extend_from_slice(&[1, 0, 0, u8::try_from(hello.len()).expect("short")]);
        record.extend_from_slice(&hello);
        let mut stream = TcpStream::connect(pop.addresses.https[0]).await.expect("it listens");
        stream.write_all(&record).await.expect("it is open");
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
        // A fatal alert: protocol_version (70).
        assert_eq!(answer.first(), Some(&21), "an alert, and nothing else: {answer:?}");
        assert_eq!(&answer[5..7], &[2, 70]);
    }
}

#[tokio::test]
async fn http_spoken_to_the_tls_port_ends() {
    let (_origin, pop, trusted) = secured().await;
    let mut stream = TcpStream::connect(pop.addresses.https[0]).await.expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n").await.expect("it is open");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    assert!(get(&pop, &trusted, "one.example", "one.example").await.starts_with("HTTP/1.1 200 "));
}

#[cfg(feature = "config")]
mod from_a_file {
    use std::path::PathBuf;

    use super::*;
    use pop_edge::PopBuilder;
    use pop_edge::config::File;

    /// A folder of its own, gone with the test.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pop-edge-tls-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a writable place");
            Self(path)
        }

        /// A certificate for names in `NAME.pem`, its key in `NAME-key.pem`.
        fn certify(&self, name: &str, names: &[&str]) -> CertificateDer<'static> {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names).expect("names");
            std::fs::write(self.0.join(format!("{name}.pem")), made.cert.pem()).expect("it is written");
            let key = made.signing_key.serialize_pem();
            std::fs::write(self.0.join(format!("{name}-key.pem")), key).expect("it is written");
            made.cert.der().clone()
        }

        fn builder(&self, text: &str) -> PopBuilder {
            let path = self.0.join("pop.toml");
            let file = File::parse(text, &path).expect("it parses");
            PopBuilder::from_file(&file, &path).expect("it describes a PoP")
        }
    }

    const ANY: &str = "[listen]\nhttps = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"all.pem\"\nkey = \"all-key.pem\"\n\
                       [[host]]\nname = \"*\"\n";

    async fn is_shown(pop: &Running, trusted: &CertificateDer<'static>, name: &'static str) -> bool {
        shake(pop.addresses.https[0], name, client(trusted, &[])).await.is_ok()
    }

    #[tokio::test]
    async fn a_pop_for_any_host_shows_a_certificate_for_the_names_in_it() {
        let folder = Folder::new("any");
        let all = folder.certify("all", &["one.example", "*.two.example"]);
        let pop = start(folder.builder(&format!("{ANY}origin = [\"http://127.0.0.1:1\"]\n"))).await;
        assert!(is_shown(&pop, &all, "one.example").await);
        assert!(is_shown(&pop, &all, "www.two.example").await);
        assert!(!is_shown(&pop, &all, "three.example").await);
    }

    #[tokio::test]
    async fn a_certificate_without_names_is_shown_to_everybody() {
        let folder = Folder::new("nameless");
        folder.certify("all", &[]);
        let pop = start(folder.builder(&format!("{ANY}origin = [\"http://127.0.0.1:1\"]\n"))).await;
        // Nobody can trust it for a name; but it is what is shown.
        let other = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("a name").cert.der().clone();
        let error =
            shake(pop.addresses.https[0], "one.example", client(&other, &[])).await.expect_err("untrusted");
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    }

    #[tokio::test]
    async fn a_host_shows_its_own_beside_that_of_all() {
        let folder = Folder::new("own");
        let all = folder.certify("all", &["one.example", "two.example"]);
        let own = folder.certify("own", &["two.example"]);
        let text = format!(
            "{ANY}origin = [\"http://127.0.0.1:1\"]\n[[host]]\nname = \"two.example\"\n\
             origin = [\"http://127.0.0.1:1\"]\ncertificate = \"own.pem\"\nkey = \"own-key.pem\"\n"
        );
        let pop = start(folder.builder(&text)).await;
        assert!(is_shown(&pop, &all, "one.example").await && !is_shown(&pop, &own, "one.example").await);
        assert!(is_shown(&pop, &own, "two.example").await && !is_shown(&pop, &all, "two.example").await);
        // Without [tls] the hosts' own are enough.
        let alone = text.replace("[tls]\ncertificate = \"all.pem\"\nkey = \"all-key.pem\"\n", "");
        let pop = start(folder.builder(&alone)).await;
        assert!(is_shown(&pop, &own, "two.example").await && !is_shown(&pop, &all, "one.example").await);
    }
}

#[tokio::test]
async fn nothing_is_taken_before_the_handshake_ends() {
    let (origin, pop, trusted) = secured().await;
    let mut config = client(&trusted, &[b"http/1.1"]);
    config.enable_early_data = true;
    let config = Arc::new(config);
    let name = || ServerName::try_from("one.example").expect("a name");
    let mut kinds = Vec::new();
    for _ in 0..2 {
        // A replayed first flight would be a replayed request: a session that is resumed offers no early data.
        let mut session = rustls::ClientConnection::new(Arc::clone(&config), name()).expect("a client");
        assert!(session.early_data().is_none(), "no ticket allows it");
        let stream = TcpStream::connect(pop.addresses.https[0]).await.expect("a listener");
        let mut stream = TlsConnector::from(Arc::clone(&config)).connect(name(), stream).await.expect("TLS");
        let request = "GET / HTTP/1.1\r\nHost: one.example\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("it is open");
        let mut answer = String::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        kinds.push(stream.get_ref().1.handshake_kind());
    }
    assert_eq!(kinds, [Some(rustls::HandshakeKind::Full), Some(rustls::HandshakeKind::Resumed)]);
    assert_eq!(origin.asked().len(), 1);
}
