//! The HTTPS server of `examples/authority` stops without losing an answer.
#![cfg(all(feature = "doh", feature = "tls"))]

#[path = "../examples/authority/https.rs"]
mod https;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use https::Https;
use pop_dns::client::{Client, Endpoint, Request};
use pop_dns::server::{Counters, Swap};
use pop_dns::zone::Zone;
use pop_dns::{Authority, DynamicAnswer, RecordType};
use tokio::sync::{Notify, oneshot};

/// More than any of the steps takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate for `dns.example`, as a server offers it and as a client trusts it.
fn tls() -> (rustls::ServerConfig, rustls::ClientConfig) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["dns.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut server = server.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    (server, client.with_no_client_auth())
}

/// A query is being answered when the server is told to stop: its answer arrives, then the server is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_was_asked_over_https_before_the_end_is_answered() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Mutex::new(None)));
    let (release, released) = mpsc::channel::<()>();
    *go.lock().unwrap() = Some(released);
    let text = b"@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\nslow 60 A 192.0.2.1\n";
    let hook = (Arc::clone(&entered), Arc::clone(&go));
    let authority = Authority::new([Zone::parse(text, "example.org".parse().unwrap()).unwrap()]);
    let authority = authority.dynamic(&"slow.example.org".parse().unwrap(), move |_| {
        // A hook may not wait; this one does, for the test to come between question and answer.
        hook.0.notify_one();
        let released = hook.1.lock().unwrap().take().expect("one query");
        released.recv_timeout(PATIENCE).expect("the test lets it go");
        DynamicAnswer::addresses([IpAddr::from([192, 0, 2, 7])], 30, 0)
    });
    let (server, trust) = tls();
    let counters = Arc::new(Counters::default());
    let loopback = "127.0.0.1:0".parse().unwrap();
    let https = Https::bind(loopback, Arc::new(server), Swap::new(authority), counters).await.unwrap();
    let address = https.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(https.run(async move { drop(stopped.await) }));

    let uri = "https://dns.example/dns-query".parse().unwrap();
    let endpoint = Endpoint::https(address, uri, &trust).unwrap();
    let asked = Request::new("slow.example.org".parse().unwrap(), RecordType::A);
    // Once only, or the answer to a second try would be taken for that to the first.
    let client = Client::builder().attempts(1).patience(PATIENCE).deadline(PATIENCE).build();
    let asking = tokio::spawn(async move { client.query(endpoint, &asked).await });
    tokio::time::timeout(PATIENCE, entered.notified()).await.unwrap();
    stop.send(()).unwrap();
    // Nobody new is let in, which shows that the server knows; the one who asked is still waiting.
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(!serving.is_finished());
    release.send(()).unwrap();
    let answer = tokio::time::timeout(PATIENCE, asking).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.message().answers().unwrap().count(), 1);
    tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
}
