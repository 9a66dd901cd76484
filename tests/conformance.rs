//! The conformance tables of pop-cache, played over real sockets: a PoP in process, an origin that does as the table
//! says, and a clock that is moved by hand.
#![cfg(all(feature = "serve", feature = "cache"))]

#[path = "../pop-cache/tests/http/runner.rs"]
mod runner;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use pop_edge::{CachePolicy, Pop};
use runner::{Case, Observed, Origin, Step};
use support::{Asked, Client, Reply, Running, Scripted, loopback, start};

/// What the origin does may come after the client has its answer (a revalidation in the background): so long it may.
const SETTLING: Duration = Duration::from_millis(500);

struct Edge {
    origin: Scripted,
    pop: Running,
    clock: Arc<AtomicU64>,
}

impl Edge {
    async fn start() -> Self {
        let clock = Arc::new(AtomicU64::new(1_800_000_000));
        let hand = Arc::clone(&clock);
        let policy = CachePolicy::capacity(16 << 20).with(move |builder| {
            let hand = Arc::clone(&hand);
            builder.clock(move || at(hand.load(Ordering::SeqCst)))
        });
        let origin = Scripted::start(|_| Reply::SendAndClose(Vec::new())).await;
        let builder = Pop::cdn("test").http(loopback()).cache(policy).host("*", origin.origin());
        // The tables know the origin's own Server-Timing only.
        let pop = start(builder.settings(|settings| settings.server_timing = false)).await;
        Self { origin, pop, clock }
    }

    fn now(&self) -> SystemTime {
        at(self.clock.load(Ordering::SeqCst))
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Plays one case against a PoP of its own.
async fn play(case: &Case) -> Result<(), String> {
    let edge = Edge::start().await;
    for (number, step) in case.steps.iter().enumerate() {
        let step = runner::at(step, edge.now());
        let before = edge.origin.asked().len();
        let mut seen = exchange(&edge, &step).await;
        let started = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            seen.sent = edge.origin.asked()[before..].iter().map(sent).collect();
            match runner::judge(&step, &seen) {
                Ok(()) => break,
                Err(_) if started.elapsed() < SETTLING => {}
                Err(why) => {
                    return Err(format!("{} ({}), step {}: {why}", case.name, case.rule, number + 1));
                }
            }
        }
        edge.clock.fetch_add(step.wait.as_secs(), Ordering::SeqCst);
    }
    Ok(())
}

async fn exchange(edge: &Edge, step: &Step) -> Observed {
    let origin = step.origin.clone();
    edge.origin.script(move |asked| reply(&origin, asked));
    let Step { method, target, fields, .. } = step;
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: test.example\r\n");
    for (name, value) in fields {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    let mut client = Client::connect(edge.pop.http()).await;
    client.send(request).await;
    let answer = if method == "HEAD" { client.answer_to_head().await } else { client.answer().await };
    let mut seen = Observed { status: 502, ..Observed::default() };
    if let Some(answer) = answer {
        seen.status = answer.status;
        seen.fields = fields_of(&answer.head);
        seen.body = if answer.is_complete { answer.body } else { Vec::new() };
    }
    seen
}

fn reply(origin: &Origin, asked: &Asked) -> Reply {
    if origin.fails {
        return Reply::SendAndReset(Vec::new());
    }
    let mut status = origin.status;
    if let Some((other, name, value)) = &origin.conditional
        && asked.field(name).as_ref() == Some(value)
    {
        status = *other;
    }
    let is_head = asked.line().starts_with("HEAD ");
    let has_body = ![204, 304].contains(&status) && !is_head;
    let body = if has_body { origin.body.as_str() } else { "" };
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in &origin.fields {
        head += &format!("{name}: {value}\r\n");
    }
    let has = |wanted: &str| origin.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let is_chunked = has("transfer-encoding");
    let is_framed = is_chunked || has("content-length");
    if has_body && !is_framed {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let body = if is_chunked { format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()) } else { body.to_owned() };
    let octets = format!("{head}\r\n{body}").into_bytes();
    if is_framed { Reply::SendAndClose(octets) } else { Reply::Send(octets) }
}

fn sent(asked: &Asked) -> (String, Vec<(String, String)>) {
    let method = asked.line().split(' ').next().unwrap_or_default();
    (method.to_owned(), fields_of(&asked.head))
}

fn fields_of(head: &str) -> Vec<(String, String)> {
    let split = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    head.lines().skip(1).filter_map(split).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_table_holds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/pop-cache/tests/http");
    let mut failures = Vec::new();
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        if file.path().extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        for case in runner::parse(&std::fs::read_to_string(file.path()).expect("a table")) {
            count += 1;
            failures.extend(play(&case).await.err());
        }
    }
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 100, "only {count} cases");
}
