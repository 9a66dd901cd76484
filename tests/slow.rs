//! Slow and flooding clients: every wait has an end, every flood a bound, and good clients are served meanwhile.
#![cfg(all(feature = "serve", feature = "cache"))]

mod support;

use std::time::Duration;

use pop_edge::{PopBuilder, Settings};
use support::{Client, Reply, Scripted, ask, cdn, eventually, get, start};

async fn fresh() -> Scripted {
    Scripted::start(|_| Reply::ok("Cache-Control: max-age=60", "fresh")).await
}

/// Deadlines short enough for a test.
fn impatient(builder: PopBuilder) -> PopBuilder {
    builder.settings(|settings: &mut Settings| {
        settings.first_byte = Duration::from_millis(300);
        settings.handshake = Duration::from_millis(300);
        settings.head = Duration::from_millis(400);
        settings.idle = Duration::from_millis(500);
        settings.send_stall = Duration::from_millis(500);
        settings.body_window = Duration::from_millis(400);
        settings.body_bytes = 100;
    })
}

#[tokio::test]
async fn silence_and_half_a_preface_end() {
    let origin = fresh().await;
    let pop = start(impatient(cdn(&origin))).await;
    let mut silent = Client::connect(pop.http()).await;
    let mut half = Client::connect(pop.http()).await;
    half.send("PRI * HTTP/2.0\r\n").await;
    let mut early = Client::connect(pop.http()).await;
    early.send("P").await;
    assert!(silent.is_closed().await && half.is_closed().await && early.is_closed().await);
    assert_eq!(get(pop.http(), "/").await.status, 200);
}

#[tokio::test]
async fn a_slow_head_ends() {
    let origin = fresh().await;
    let pop = start(impatient(cdn(&origin))).await;
    let mut slow = Client::connect(pop.http()).await;
    slow.send("GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
    let dripping = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if tokio::io::AsyncWriteExt::write_all(&mut slow.stream, b"y").await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, dripping).await.expect("octets do not prolong the deadline");
    assert!(origin.asked().is_empty());
}

#[tokio::test]
async fn a_slow_body_ends_and_a_steady_one_does_not() {
    let origin = fresh().await;
    let pop = start(impatient(cdn(&origin))).await;
    let mut slow = Client::connect(pop.http()).await;
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n").await;
    let dripping = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if tokio::io::AsyncWriteExt::write_all(&mut slow.stream, b"y").await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, dripping).await.expect("one octet now and then is not enough");

    let mut steady = Client::connect(pop.http()).await;
    steady.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n").await;
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        steady.send([b'y'; 200]).await;
    }
    assert_eq!(steady.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn idle_connections_end_and_busy_ones_do_not() {
    let origin = Scripted::start(|_| {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate".to_vec();
        Reply::Slowly(vec![(Duration::from_millis(1200), answer)])
    })
    .await;
    let pop = start(impatient(cdn(&origin))).await;
    let mut client = Client::connect(pop.http()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.expect("waiting for the origin is not idling").text(), "late");
    assert!(client.is_closed().await, "but afterwards is");
}

#[tokio::test]
async fn who_does_not_read_is_let_go() {
    let large = "x".repeat(8 << 20);
    let origin = Scripted::start(move |_| Reply::ok("Cache-Control: max-age=60", &large)).await;
    let pop = start(impatient(cdn(&origin))).await;
    let mut client = Client::connect(pop.http()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Nothing is read. The exchange ends all the same, and is counted as broken off.
    assert!(eventually(|| pop.handle.stats().requests == 1).await);
    assert_eq!(
        ask(pop.http(), "HEAD / HTTP/1.1\r\nHost: b\r\n\r\n").await.map(|answer| answer.status),
        Some(200)
    );
}

/// Frames of HTTP/2 by hand (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut octets = vec![length[1], length[2], length[3], kind, flags];
    octets.extend_from_slice(&stream.to_be_bytes());
    octets.extend_from_slice(payload);
    octets
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// A field block for GET http://a/ from the static table and literals without Huffman (RFC 7541).
fn block() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84];
    block.extend_from_slice(&[0x01, 1, b'a']);
    block
}

async fn flood(pop: &support::Running, frames: &[Vec<u8>], rounds: usize) -> bool {
    let mut client = Client::connect(pop.http()).await;
    client.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    let (mut reader, mut writer) = client.stream.split();
    let reading = async {
        let mut sink = vec![0; 65_536];
        while tokio::io::AsyncReadExt::read(&mut reader, &mut sink).await.is_ok_and(|octets| octets > 0) {}
        true
    };
    let writing = async {
        let burst = frames.concat();
        for _ in 0..rounds {
            if tokio::io::AsyncWriteExt::write_all(&mut writer, &burst).await.is_err() {
                break;
            }
        }
        std::future::pending::<bool>().await
    };
    tokio::time::timeout(Duration::from_secs(15), async {
        tokio::select! { ended = reading => ended, ended = writing => ended }
    })
    .await
    .unwrap_or(false)
}

#[tokio::test]
async fn control_frames_have_a_budget() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    for (name, frames) in [
        ("PING", vec![frame(PING, 0, 0, &[0; 8]); 100]),
        ("SETTINGS", vec![frame(SETTINGS, 0, 0, &[]); 100]),
        ("WINDOW_UPDATE", vec![frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]); 100]),
        ("PRIORITY", vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]); 100]),
    ] {
        assert!(flood(&pop, &frames, 1000).await, "100,000 of {name} are not the end");
        assert_eq!(get(pop.http(), "/good").await.status, 200, "after {name}");
    }
}

#[tokio::test]
async fn rapid_resets_and_endless_heads_end() {
    let origin = fresh().await;
    let pop = start(impatient(cdn(&origin))).await;
    let resets: Vec<_> = (0..3000_u32)
        .flat_map(|index| {
            let stream = 2 * index + 1;
            [frame(HEADERS, 5, stream, &block()), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
        })
        .collect();
    assert!(flood(&pop, &resets, 1).await, "rapid reset");
    // MadeYouReset (CVE-2025-8671): the client breaks a rule in each of its streams, so that we do the resetting.
    let provoked: Vec<_> = (0..3000_u32)
        .flat_map(|index| {
            let stream = 2 * index + 1;
            [frame(HEADERS, 5, stream, &block()), frame(WINDOW_UPDATE, 0, stream, &[0; 4])]
        })
        .collect();
    assert!(flood(&pop, &provoked, 1).await, "resets that we are made to send");
    let mut endless = vec![frame(HEADERS, 1, 1, &block())];
    endless.extend(vec![frame(CONTINUATION, 0, 1, &[0; 1000]); 500]);
    assert!(flood(&pop, &endless, 1).await, "CONTINUATION flood");
    // One entry of 4 KB in the table, then referred to over and over: what it expands to is bounded.
    let mut bomb = vec![0x82, 0x86, 0x84, 0x40, 1, b'x', 0x7f, 0x81, 0x1e];
    bomb.extend(vec![b'y'; 4000]);
    bomb.extend(vec![0xbe; 12_000]);
    let bombs = [frame(HEADERS, 5, 1, &bomb)];
    assert!(flood(&pop, &bombs, 1).await, "HPACK bomb");
    assert_eq!(get(pop.http(), "/good").await.status, 200);
    assert!(origin.asked().iter().all(|asked| asked.head.len() < 2000));
}

#[tokio::test]
async fn http2_settings_are_ours() {
    let origin = fresh().await;
    let pop = start(cdn(&origin)).await;
    let mut client = Client::connect(pop.http()).await;
    client.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    let mut head = [0; 9];
    tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut head).await.expect("SETTINGS");
    assert_eq!(head[3], SETTINGS);
    let mut payload = vec![0; usize::from(head[2])];
    tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut payload).await.expect("its payload");
    let setting = |wanted: u16| {
        payload.chunks(6).find_map(|entry| {
            let (id, value) = entry.split_at(2);
            (id == wanted.to_be_bytes()).then(|| u32::from_be_bytes(value.try_into().expect("four octets")))
        })
    };
    assert_eq!(setting(3), Some(100), "MAX_CONCURRENT_STREAMS");
    // 65,535 is the protocol's default and need not be said; ours is 64 KiB.
    assert!(setting(4).unwrap_or(65_535) <= 65_536, "INITIAL_WINDOW_SIZE");
    assert_eq!(setting(6), Some(65_536), "MAX_HEADER_LIST_SIZE");
}

#[tokio::test]
async fn connections_have_a_bound_and_good_clients_are_served() {
    let origin = fresh().await;
    let pop = start(cdn(&origin).settings(|settings| settings.connections_max = 50)).await;
    let mut good = Client::connect(pop.http()).await;
    assert!(good.is_open().await);
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(Client::connect(pop.http()).await);
    }
    assert!(good.is_open().await, "who is in stays in");
    let mut refused = 0;
    for client in &mut held[49..] {
        refused += u32::from(client.is_closed().await);
    }
    assert_eq!(refused, 151);
    drop(held);
    let mut served = false;
    for _ in 0..100 {
        let request = "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
        let mut client = Client::connect(pop.http()).await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await;
        if client.answer().await.is_some() {
            served = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(served, "places are given back");
}
