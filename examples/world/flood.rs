//! A flood: attackers that ask as fast as they may, and good clients beside them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::client;
use crate::network::{HOST, PER_CLIENT};

/// Attackers, each with an address and a connection of its own.
const ATTACKERS: usize = 8;
/// Good clients, from as many addresses.
const GOOD: usize = 10;
/// What one attacker sends at most in a window, and the pause after each eight of its requests.
const REQUESTS_MAX: u64 = 20_000;
const BREATH: Duration = Duration::from_millis(1);
/// A good client asks this often.
const GOOD_EVERY: Duration = Duration::from_millis(25);

/// What one window showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    pub attackers: usize,
    pub sent: u64,
    pub refused: u64,
    pub admitted: u64,
    /// What the attackers' limits allow in this time: burst + rate × t each.
    pub allowance: u64,
    pub good: u64,
    pub good_failed: u64,
    pub quiet_p99: Duration,
    pub flooded_p99: Duration,
}

/// Three windows, or one in a hurry.
///
/// # Errors
/// When a connection cannot be made.
pub async fn windows(server: SocketAddr, rtt: Duration, fast: bool) -> io::Result<Vec<Window>> {
    let (count, length) = if fast { (1, Duration::from_secs(1)) } else { (3, Duration::from_secs(3)) };
    let mut windows = Vec::new();
    for number in 0..count {
        windows.push(window(server, rtt, length, number).await?);
    }
    Ok(windows)
}

/// The window in which good clients fared best.
pub fn best(windows: &[Window]) -> Option<&Window> {
    windows.iter().min_by_key(|window| window.flooded_p99)
}

async fn window(server: SocketAddr, rtt: Duration, length: Duration, number: u8) -> io::Result<Window> {
    let quiet = good_clients(server, rtt, length / 2, number).await?;
    let mut attack = JoinSet::new();
    let started = Instant::now();
    for attacker in 0..ATTACKERS {
        // A network of its own each window: nobody starts with the debts of the last one.
        let host = u8::try_from(attacker + 1).unwrap_or(u8::MAX);
        let source = IpAddr::V4(Ipv4Addr::new(127, 66, number, host));
        attack.spawn(attacker_loop(server, source, length));
    }
    let flooded = good_clients(server, rtt, length, number + 100).await?;
    let mut window = Window { attackers: ATTACKERS, ..Window::default() };
    while let Some(result) = attack.join_next().await {
        let (sent, refused, admitted) = result.map_err(io::Error::other)??;
        window.sent += sent;
        window.refused += refused;
        window.admitted += admitted;
    }
    let seconds = started.elapsed().as_secs_f64();
    let each = PER_CLIENT.burst_size() as f64 + PER_CLIENT.tokens() as f64 * seconds;
    window.allowance = (each.ceil() as u64) * ATTACKERS as u64;
    window.good = quiet.latencies.len() as u64 + flooded.latencies.len() as u64;
    window.good_failed = quiet.failed + flooded.failed;
    window.quiet_p99 = p99(quiet.latencies);
    window.flooded_p99 = p99(flooded.latencies);
    Ok(window)
}

async fn attacker_loop(server: SocketAddr, source: IpAddr, length: Duration) -> io::Result<(u64, u64, u64)> {
    let (mut sent, mut refused, mut admitted) = (0, 0, 0);
    let deadline = Instant::now() + length;
    let mut session = connect(source, server).await?;
    while Instant::now() < deadline && sent < REQUESTS_MAX {
        sent += 1;
        match ask(&mut session, "/").await {
            Ok(StatusCode::TOO_MANY_REQUESTS) => refused += 1,
            Ok(_) => admitted += 1,
            // Thrown out: that is a refusal, too. It comes back.
            Err(_) => {
                refused += 1;
                tokio::time::sleep(BREATH).await;
                if let Ok(again) = connect(source, server).await {
                    session = again;
                }
            }
        }
        if sent % 8 == 0 {
            tokio::time::sleep(BREATH).await;
        }
    }
    Ok((sent, refused, admitted))
}

#[derive(Debug, Default)]
struct Good {
    latencies: Vec<Duration>,
    failed: u64,
}

async fn good_clients(server: SocketAddr, rtt: Duration, length: Duration, number: u8) -> io::Result<Good> {
    let mut clients = JoinSet::new();
    for index in 0..GOOD {
        let host = u8::try_from(index + 1).unwrap_or(u8::MAX);
        let source = IpAddr::V4(Ipv4Addr::new(127, 20, number, host));
        clients.spawn(good_client(server, source, rtt, length));
    }
    let mut all = Good::default();
    while let Some(result) = clients.join_next().await {
        let good = result.map_err(io::Error::other)??;
        all.latencies.extend(good.latencies);
        all.failed += good.failed;
    }
    Ok(all)
}

async fn good_client(
    server: SocketAddr,
    source: IpAddr,
    rtt: Duration,
    length: Duration,
) -> io::Result<Good> {
    let mut good = Good::default();
    let deadline = Instant::now() + length;
    let mut session = connect(source, server).await?;
    while Instant::now() < deadline {
        let started = Instant::now();
        tokio::time::sleep(rtt).await;
        match ask(&mut session, "/").await {
            Ok(StatusCode::OK) => good.latencies.push(started.elapsed()),
            _ => {
                good.failed += 1;
                session = connect(source, server).await?;
            }
        }
        tokio::time::sleep(GOOD_EVERY).await;
    }
    Ok(good)
}

type Session = SendRequest<Empty<bytes::Bytes>>;

async fn connect(source: IpAddr, server: SocketAddr) -> io::Result<Session> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    let stream = tokio::time::timeout(client::PATIENCE, socket.connect(server)).await??;
    stream.set_nodelay(true)?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(session: &mut Session, path: &str) -> io::Result<StatusCode> {
    let request = Request::get(path)
        .header(header::HOST, HOST)
        .body(Empty::<bytes::Bytes>::new())
        .map_err(io::Error::other)?;
    let exchange = async {
        session.ready().await.map_err(io::Error::other)?;
        let response = session.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        response.into_body().collect().await.map_err(io::Error::other)?;
        Ok(status)
    };
    tokio::time::timeout(client::PATIENCE, exchange).await?
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    let index = latencies.len() * 99 / 100;
    latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
}
