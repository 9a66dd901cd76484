//! A reload: everything that a description says is taken over, or said to be not.
#![cfg(feature = "config")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pop_edge::config::File;
use pop_edge::{PopBuilder, Reloaded};
use rustls::pki_types::{CertificateDer, ServerName};
use support::{PATIENCE, Reply, Running, Scripted, get, start};
use tokio::net::TcpStream;

/// A folder of its own for a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pop-edge-reload-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// A new certificate and its key, in `chain.pem` and `key.pem`.
    fn certify(&self, name: &str) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a name");
        std::fs::write(self.0.join("chain.pem"), made.cert.pem()).expect("it is written");
        std::fs::write(self.0.join("key.pem"), made.signing_key.serialize_pem()).expect("it is written");
        made.cert.der().clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn builder(text: &str, folder: &Path) -> PopBuilder {
    let path = folder.join("pop.toml");
    let file = File::parse(text, &path).expect("it parses");
    PopBuilder::from_file(&file, &path).expect("it describes a PoP")
}

async fn origin() -> Scripted {
    Scripted::start(|_| Reply::ok("Cache-Control: max-age=60", "x")).await
}

fn plain(origin: &Scripted, rest: &str) -> String {
    let origin = origin.address;
    format!(
        "{rest}\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[[host]]\nname = \"*\"\norigin = [\"http://{origin}\"]\n"
    )
}

fn reload(pop: &Running, text: &str) -> Reloaded {
    pop.handle.reload(builder(text, Path::new(""))).expect("a good configuration")
}

#[tokio::test]
async fn the_guard_the_rules_and_who_asks_are_taken_over() {
    let origin = origin().await;
    let pop = start(builder(&plain(&origin, ""), Path::new(""))).await;
    assert_eq!(get(pop.http(), "/admin").await.status, 200);
    let rule = "[[rule]]\nname = \"admin\"\nwhen = { path = { starts_with = \"/admin\" } }\ndeny = 403\n";
    let told = reload(&pop, &format!("{}{rule}", plain(&origin, "")));
    assert_eq!(told, Reloaded::default());
    assert_eq!(get(pop.http(), "/admin").await.status, 403);
    assert_eq!(get(pop.http(), "/.git/config").await.status, 200);
    reload(&pop, &plain(&origin, "[guard]\nbaseline = true\n"));
    assert_eq!(get(pop.http(), "/admin").await.status, 200);
    assert_eq!(get(pop.http(), "/.git/config").await.status, 404);
    // A block that is denied does not even get a connection.
    reload(&pop, &plain(&origin, "[guard]\ndeny = [\"127.0.0.0/8\"]\n"));
    assert!(support::Client::connect(pop.http()).await.is_closed().await);
    assert!(support::eventually(|| pop.handle.stats().requests == 5).await, "and none was answered");
    // Who asks is what the proxy says, and that one is denied.
    let proxies = "[guard]\ndeny = [\"192.0.2.0/24\"]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    reload(&pop, &plain(&origin, proxies));
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    assert_eq!(support::ask(pop.http(), request).await.expect("an answer").status, 403);
}

#[tokio::test]
async fn limits_of_the_same_terms_remember() {
    let origin = origin().await;
    let limited = |rate: u64, path: &str| {
        let limit = format!("[limit]\nrate = {rate}\nper = \"1h\"\n");
        format!("{}path = \"{path}\"\nlimit = {{ rate = 1000 }}\n", plain(&origin, &limit))
    };
    let rule = "[[rule]]\nname = \"logins\"\nwhen = { path = { is = \"/login\" } }\nlimit = { rate = 1, per = \"1h\" }\n";
    let text = |rate| format!("{}{rule}", limited(rate, "/"));
    let pop = start(builder(&text(3), Path::new(""))).await;
    assert_eq!(get(pop.http(), "/login").await.status, 200);
    assert_eq!(get(pop.http(), "/login").await.status, 429, "by the rule");
    assert_eq!(get(pop.http(), "/").await.status, 200);
    reload(&pop, &text(3));
    assert_eq!(get(pop.http(), "/login").await.status, 429, "the rule remembers");
    assert_eq!(get(pop.http(), "/").await.status, 200);
    assert_eq!(get(pop.http(), "/").await.status, 429, "the limit remembers");
    reload(&pop, &text(4));
    assert_eq!(get(pop.http(), "/").await.status, 200, "other terms begin anew");
}

#[tokio::test]
async fn certificates_are_shown_from_the_next_handshake_on() {
    let (origin, folder) = (origin().await, Folder::new("certificates"));
    let old = folder.certify("one.example");
    let text = format!(
        "[listen]\nhttps = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n\
         [[host]]\nname = \"one.example\"\norigin = [\"http://{}\"]\n",
        origin.address
    );
    let pop = start(builder(&text, &folder.0)).await;
    assert_eq!(shown(&pop).await, old);
    let new = folder.certify("one.example");
    assert_ne!(old, new);
    assert_eq!(shown(&pop).await, old, "nobody has said so yet");
    let told = pop.handle.reload(builder(&text, &folder.0)).expect("a good configuration");
    assert_eq!(told, Reloaded::default());
    assert_eq!(shown(&pop).await, new);
}

/// The certificate that the PoP shows to one who trusts anything.
async fn shown(pop: &Running) -> CertificateDer<'static> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    let stream = TcpStream::connect(pop.addresses.https[0]).await.expect("it listens");
    let name = ServerName::try_from("one.example").expect("a name");
    let handshake = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = tokio::time::timeout(PATIENCE, handshake).await.expect("in time").expect("TLS");
    stream.get_ref().1.peer_certificates().expect("a chain")[0].clone().into_owned()
}

#[derive(Debug)]
struct Trusting(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn what_needs_a_new_start_is_said() {
    let origin = origin().await;
    let text = plain(&origin, "name = \"a\"\n");
    let pop = start(builder(&text, Path::new(""))).await;
    assert_eq!(reload(&pop, &text), Reloaded::default());
    let other =
        text.replace("\"a\"", "\"b\"").replace("127.0.0.1:0\"]\n", "127.0.0.1:0\", \"127.0.0.2:0\"]\n");
    let told = reload(&pop, &format!("preset = \"security\"\n{other}")).not_applied;
    assert_eq!(told, ["name", "settings", "listen"]);
    let admin = other.replace("[[host]]", "admin = \"127.0.0.1:0\"\n[[host]]");
    assert_eq!(reload(&pop, &admin).not_applied, ["name", "listen", "admin"]);
    assert_eq!(get(pop.http(), "/").await.status, 200);
}

#[tokio::test]
async fn the_first_zone_may_come_with_a_reload() {
    use pop_edge::dns::forward::Forwarder;
    use pop_edge::dns::zone::Zone;
    let zone = || {
        let text = "@ 60 IN SOA ns hostmaster 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 192.0.2.53\n";
        Zone::parse(text.as_bytes(), "own.example".parse().expect("a name")).expect("a zone")
    };
    let spec = || {
        // Nobody answers there: whatever is answered is from the zone.
        let upstream = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let forwarder = Forwarder::builder()
            .upstream(upstream)
            .allow(([127, 0, 0, 0].into(), 8))
            .build()
            .expect("a forwarder");
        pop_edge::Pop::isp("test").resolver(support::loopback(), forwarder)
    };
    let pop = start(spec()).await;
    assert_eq!(pop.handle.reload(spec()).expect("the same").not_applied, [""; 0]);
    let told = pop.handle.reload(spec().zone(zone())).expect("with a zone");
    assert_eq!(told, Reloaded::default());
    // ns.own.example A
    let query = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x02ns\x03own\x07example\0\0\x01\0\x01";
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
    client.send_to(query, pop.addresses.dns[0]).await.expect("sent");
    let mut answer = [0; 512];
    let received = tokio::time::timeout(PATIENCE, client.recv(&mut answer)).await.expect("in time");
    let answer = &answer[..received.expect("an answer")];
    assert!(answer.windows(4).any(|window| window == [192, 0, 2, 53]), "{answer:?}");
    // A PoP without DNS cannot begin to speak it.
    let origin = origin().await;
    let plain = start(support::cdn(&origin)).await;
    let told = plain.handle.reload(support::cdn(&origin).zone(zone())).expect("judged");
    assert_eq!(told.not_applied, ["zone"]);
}
