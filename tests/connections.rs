//! Bounds on connections over real sockets: a crowd that idles makes room, whoever is served stays.
#![cfg(all(feature = "serve", feature = "ratelimit"))]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pop_edge::guard::{ConnectionBounds, Guard};
use pop_edge::{Origin, Pop};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

async fn connect(source: [u8; 4], server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source, 0)))?;
    socket.connect(server).await
}

/// What the server says to a request for an unknown host: enough to know that it serves.
async fn is_served(stream: &mut TcpStream) -> bool {
    let request = b"GET / HTTP/1.1\r\nHost: unknown.example\r\n\r\n";
    let exchange = async {
        stream.write_all(request).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        io::Result::Ok(head)
    };
    let head = tokio::time::timeout(Duration::from_secs(5), exchange).await;
    matches!(head, Ok(Ok(head)) if head.starts_with(b"HTTP/1.1 421"))
}

/// Two hundred connections from one network, which say nothing.
async fn crowd(server: SocketAddr) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for host in 0..200 {
        crowd.push(connect([127, 66, 0, host + 1], server).await.expect("the kernel accepts"));
    }
    crowd
}

#[tokio::test]
async fn a_crowd_that_idles_does_not_shut_good_clients_out() {
    let guard = Guard::new().connections(ConnectionBounds::new(64, 48));
    let pop = Pop::cdn("test")
        .http(SocketAddr::from(([127, 0, 0, 1], 0)))
        .gate(guard)
        .host("www.example.org", Origin::http("127.0.0.1:1"))
        .build()
        .expect("it builds");
    let server = pop.bind().await.expect("loopback").http[0];
    let serving = tokio::spawn(async move { pop.run().await });
    let mut crowd = crowd(server).await;
    let mut good = Vec::new();
    for network in 0..40 {
        let mut stream = connect([127, 20, network, 1], server).await.expect("the kernel accepts");
        assert!(is_served(&mut stream).await, "good client {network} is shut out");
        good.push(stream);
    }
    // Of the crowd 24 may stay; the others have been told.
    let mut closed = 0;
    for stream in &mut crowd {
        let read = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut [0; 1])).await;
        closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert_eq!(closed, 200 - 24);
    for (network, stream) in good.iter_mut().enumerate() {
        let mut rest = [0; 4096];
        let _ = stream.try_read(&mut rest);
        assert!(is_still_open(stream), "good client {network} was thrown out");
    }
    serving.abort();
}

fn is_still_open(stream: &TcpStream) -> bool {
    !matches!(stream.try_read(&mut [0; 1]), Ok(0))
}

/// Without a guard the PoP bounds connections itself, so that a crowd that idles keeps nobody out.
#[tokio::test]
async fn a_pop_without_a_guard_lets_good_clients_in_too() {
    let pop = Pop::cdn("test")
        .http(SocketAddr::from(([127, 0, 0, 1], 0)))
        .settings(|settings| settings.connections_max = 64)
        .host("www.example.org", Origin::http("127.0.0.1:1"))
        .build()
        .expect("it builds");
    let server = pop.bind().await.expect("loopback").http[0];
    let serving = tokio::spawn(async move { pop.run().await });
    let _crowd = crowd(server).await;
    for network in 0..20 {
        // Who has to leave needs a moment for it.
        let mut is_in = false;
        for _ in 0..200 {
            let mut stream = connect([127, 20, network, 1], server).await.expect("the kernel accepts");
            is_in = is_served(&mut stream).await;
            if is_in {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(is_in, "good client {network} is shut out");
    }
    serving.abort();
}

/// Every run has sockets of its own, and all have one bound.
#[tokio::test]
async fn runs_share_one_bound() {
    let pop = Pop::cdn("test")
        .http(SocketAddr::from(([127, 0, 0, 1], 0)))
        .settings(|settings| settings.connections_max = 16)
        .gate(Guard::new().connections(ConnectionBounds::new(1000, 1000)))
        .host("www.example.org", Origin::http("127.0.0.1:1"))
        .share_ports()
        .build()
        .expect("it builds");
    let server = pop.bind().await.expect("loopback").http[0];
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let pop = pop.clone();
        runs.spawn(async move { pop.run().await });
    }
    let mut served = Vec::new();
    for host in 0..200 {
        let mut stream = connect([127, 66, 0, host + 1], server).await.expect("the kernel accepts");
        if is_served(&mut stream).await {
            served.push(stream);
        }
    }
    assert_eq!(served.len(), 16);
}
