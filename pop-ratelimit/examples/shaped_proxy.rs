//! A TCP proxy that shapes: each connection 20 Mb/s, all together 50 Mb/s.
//! `cargo run --release -p pop-ratelimit --example shaped_proxy --all-features [-- TARGET]`
//!
//! Without a target it plays both ends on loopback: four clients download for two seconds, and the table shows what
//! each of them got.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pop_ratelimit::tokio::{Lane, Shaped};
use pop_ratelimit::{Quota, TokenBucket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const EACH: Quota = Quota::bits_per_second(20_000_000);
const ALL: Quota = Quota::bits_per_second(50_000_000);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    if let Some(target) = std::env::args().nth(1) {
        let target = target.parse().map_err(|_| format!("{target:?} is not an address with a port"))?;
        println!("{address} → {target}");
        proxy(listener, target).await?;
        return Ok(());
    }
    let origin = TcpListener::bind("127.0.0.1:0").await?;
    let target = origin.local_addr()?;
    tokio::spawn(pour(origin));
    tokio::spawn(proxy(listener, target));
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(download(address))).collect();
    let mut sum = 0.0;
    for (number, client) in clients.into_iter().enumerate() {
        let megabits = client.await?? as f64 * 8.0 / 2.0 / 1e6;
        println!("client {number}: {megabits:5.1} Mb/s");
        sum += megabits;
    }
    println!("together: {sum:5.1} Mb/s of 50");
    Ok(())
}

async fn proxy(listener: TcpListener, target: SocketAddr) -> std::io::Result<()> {
    let all = Arc::new(TokenBucket::new(ALL));
    loop {
        let (client, _) = listener.accept().await?;
        // Down is shaped; up is open. The widest level stands first.
        let down = Lane::new([Arc::clone(&all), Arc::new(TokenBucket::new(EACH))]);
        let mut client = Shaped::new(client, Lane::open(), down);
        tokio::spawn(async move {
            let mut origin = TcpStream::connect(target).await?;
            tokio::io::copy_bidirectional(&mut client, &mut origin).await
        });
    }
}

/// Sends zeros to whoever connects.
async fn pour(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move { while client.write_all(&[0; 65_536]).await.is_ok() {} });
    }
}

async fn download(address: SocketAddr) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    let (mut buffer, mut total) = (vec![0; 65_536], 0);
    let end = tokio::time::Instant::now() + Duration::from_secs(2);
    while let Ok(read) = tokio::time::timeout_at(end, stream.read(&mut buffer)).await {
        total += read? as u64;
    }
    Ok(total)
}
