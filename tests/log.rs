//! What the access log says, and what it never says.
#![cfg(all(feature = "serve", feature = "cache"))]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use support::{Reply, Scripted, ask, cdn, eventually, get, start};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Written {
    /// The events of finished exchanges, once there are so many.
    async fn exchanges(&self, count: usize) -> Vec<serde_json::Value> {
        let read = || -> Vec<serde_json::Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).expect("text");
            let events = text.lines().map(|line| serde_json::from_str(line).expect("one object a line"));
            events.filter(|event: &serde_json::Value| event["target"] == "pop_edge::access").collect()
        };
        assert!(eventually(|| read().len() >= count).await, "{:?}", read());
        read()
    }
}

fn listen() -> (Written, tracing::subscriber::DefaultGuard) {
    let written = Written::default();
    let subscriber = tracing_subscriber::fmt().json().with_writer(written.clone()).finish();
    (written, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn secrets_stay_out_of_the_log() {
    let (written, _guard) = listen();
    let origin =
        Scripted::start(|_| Reply::ok("Set-Cookie: s3cret-set\nCache-Control: no-store", "s3cret-body"))
            .await;
    let pop = start(cdn(&origin)).await;
    let request = "GET /account?token=s3cret-query HTTP/1.1\r\nHost: www.example.org\r\nCookie: id=s3cret-cookie\r\n\
                   Authorization: Bearer s3cret-token\r\nProxy-Authorization: Basic s3cret\r\nX-Api-Key: s3cret\r\n\r\n";
    assert_eq!(ask(pop.http(), request).await.expect("an answer").status, 200);
    let events = written.exchanges(1).await;
    let fields = &events[0]["fields"];
    assert_eq!((&fields["path"], &fields["status"]), (&"/account".into(), &200.into()), "{fields}");
    assert_eq!(fields["host"], "www.example.org");
    let everything = String::from_utf8(written.0.lock().unwrap().clone()).expect("text");
    assert!(!everything.contains("s3cret"), "{everything}");
}

#[tokio::test]
async fn every_exchange_is_one_event_with_its_cause() {
    let (written, _guard) = listen();
    let origin = Scripted::start(|_| Reply::ok("Cache-Control: max-age=60", "body")).await;
    let pop = start(cdn(&origin)).await;
    get(pop.http(), "/a").await;
    get(pop.http(), "/a").await;
    origin.script(|_| Reply::SendAndClose(Vec::new()));
    get(pop.http(), "/b").await;
    ask(pop.http(), "GET /c HTTP/1.1\r\nHost: a b\r\n\r\n").await;
    let events = written.exchanges(4).await;
    let seen = events.iter().map(|event| {
        let field = |name: &str| event["fields"][name].as_str().unwrap_or("none").to_owned();
        (event["fields"]["status"].as_u64().expect("a status"), field("cache"), field("reason"))
    });
    let expected = [
        (200, "miss", "none"),
        (200, "hit", "none"),
        (502, "own", "origin-broken"),
        (400, "own", "bad-host"),
    ];
    let expected = expected.map(|(status, cache, reason)| (status, cache.to_owned(), reason.to_owned()));
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}
