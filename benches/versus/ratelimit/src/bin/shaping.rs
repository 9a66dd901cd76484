//! Shaped connections on loopback: how near to the rate, how much of a core, how fair.
//!
//! One thread sends through `Shaped`, another receives for two seconds. Told are the deviation of what was received and
//! the sender's processor time by the kernel's account: who spins has a whole core.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pop_ratelimit::tokio::{Lane, Shaped};
use pop_ratelimit::{Quota, TokenBucket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SECONDS: u64 = 2;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Nanoseconds that this thread has run.
fn processor_nanos() -> u64 {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    account.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// Sends zeros over every connection until it is closed; returns processor time.
fn send(listener: std::net::TcpListener, connections: usize, bucket: Arc<TokenBucket>) -> u64 {
    runtime().block_on(async move {
        let listener = TcpListener::from_std(listener).expect("a listener");
        let mut senders = Vec::new();
        for _ in 0..connections {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut shaped = Shaped::new(stream, Lane::open(), Lane::new([Arc::clone(&bucket)]));
            senders.push(tokio::spawn(async move { while shaped.write_all(&[0; 65_536]).await.is_ok() {} }));
        }
        let before = processor_nanos();
        for sender in senders {
            sender.await.expect("no panic");
        }
        processor_nanos() - before
    })
}

async fn receive(address: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let (mut buffer, mut total) = (vec![0; 256 * 1024], 0);
    let end = Instant::now() + Duration::from_secs(SECONDS);
    while let Ok(read) = tokio::time::timeout_at(end.into(), stream.read(&mut buffer)).await {
        total += read.expect("an open connection") as u64;
    }
    total
}

fn play(bits: u64, connections: usize) -> (Vec<u64>, u64) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.set_nonblocking(true).expect("a setting");
    let address = listener.local_addr().expect("an address");
    let bucket = Arc::new(TokenBucket::new(Quota::bits_per_second(bits)));
    let sender = std::thread::spawn(move || send(listener, connections, bucket));
    let totals = runtime().block_on(async {
        let receivers: Vec<_> = (0..connections).map(|_| tokio::spawn(receive(address))).collect();
        let mut totals = Vec::new();
        for receiver in receivers {
            totals.push(receiver.await.expect("no panic"));
        }
        totals
    });
    (totals, sender.join().expect("no panic"))
}

fn main() {
    for megabits in [1, 10, 100, 1000] {
        for connections in [1, 4] {
            let (totals, nanos) = play(megabits * 1_000_000, connections);
            let sum: u64 = totals.iter().sum();
            let ideal = megabits * 1_000_000 / 8 * SECONDS;
            let share = sum as f64 / connections as f64;
            let unfair = totals.iter().map(|&total| (total as f64 / share - 1.0).abs()).fold(0.0, f64::max);
            println!(
                "{megabits:5} Mb/s, {connections} connections: {:+.2} %, furthest from its share {:.2} %, sender on a processor {:.1} % of the time",
                (sum as f64 / ideal as f64 - 1.0) * 100.0,
                unfair * 100.0,
                nanos as f64 / 1e7 / SECONDS as f64,
            );
        }
    }
}
