//! Probing the sites' health: TCP, HTTP and DNS, with jitter, results straight into a selector.
//!
//! A probe never outlives its time limit, reads at most [`ANSWER_MAX`] bytes, and times nothing it does not have to: the
//! round trip of the handshake is returned, to be measured with as well.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::hash::{mix, salt};
use crate::{Selector, SiteId, Timestamp};

/// Bytes of an answer that are read at most.
pub const ANSWER_MAX: usize = 1_024;

/// What to ask a site.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// It takes a connection.
    Tcp,
    /// It answers `GET path` for `host` over HTTP/1.1 with a status from 200 to 399.
    Http {
        /// The host that is asked for.
        host: String,
        /// The path, beginning with a slash.
        path: String,
    },
    /// It answers a DNS query for the root's name servers over UDP with this id and any code but SERVFAIL or REFUSED.
    Dns,
}

/// How often and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePolicy {
    /// The mean time between two probes of a site; each waits for three quarters to five quarters of it.
    pub every: Duration,
    /// How long an answer may take.
    pub limit: Duration,
}

impl Default for ProbePolicy {
    /// Every two seconds, one second for an answer.
    fn default() -> Self {
        Self { every: Duration::from_secs(2), limit: Duration::from_secs(1) }
    }
}

impl Probe {
    /// Asks once and returns how long the answer took.
    ///
    /// # Errors
    /// What went wrong: no connection, no answer in time ([`io::ErrorKind::TimedOut`]), or one that says that it is not
    /// well ([`io::ErrorKind::InvalidData`]).
    pub async fn ask(&self, target: SocketAddr, limit: Duration) -> io::Result<Duration> {
        let asked = async {
            let started = Instant::now();
            match self {
                Self::Tcp => drop(TcpStream::connect(target).await?),
                Self::Http { host, path } => http(target, host, path).await?,
                Self::Dns => dns(target).await?,
            }
            Ok(started.elapsed())
        };
        timeout(limit, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn http(target: SocketAddr, host: &str, path: &str) -> io::Result<()> {
    if host.contains(|letter: char| letter.is_control())
        || path.contains(|letter: char| letter.is_control() || letter == ' ')
    {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut stream = TcpStream::connect(target).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nuser-agent: pop-route\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (mut answer, mut filled) = ([0; ANSWER_MAX], 0);
    // "HTTP/1.1 200": twelve bytes tell.
    while filled < 12 {
        match stream.read(&mut answer[filled..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    let well = answer.starts_with(b"HTTP/1.") && answer[8] == b' ' && matches!(answer[9], b'2' | b'3');
    if well { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

async fn dns(target: SocketAddr) -> io::Result<()> {
    let any: SocketAddr = if target.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    // A connected socket hears nobody else.
    socket.connect(target).await?;
    let id = (mix(u64::from(socket.local_addr()?.port())) as u16).to_be_bytes();
    // Header, the root's name, type NS, class IN; recursion is not asked for.
    let query = [id[0], id[1], 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    socket.send(&query).await?;
    let mut answer = [0; ANSWER_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length < 12 || answer[..2] != id || answer[2] & 0x80 == 0 {
            continue;
        }
        let code = answer[3] & 0x0f;
        return if matches!(code, 2 | 5) { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) };
    }
}

/// Probes a site for ever and tells the selector; ends when the future is dropped. `started` is when the selector's time
/// began.
pub async fn watch(
    selector: Arc<Selector>,
    site: SiteId,
    target: SocketAddr,
    probe: Probe,
    policy: ProbePolicy,
    started: Instant,
) {
    let mut random = salt(selector.sites().site(site).name());
    loop {
        let well = probe.ask(target, policy.limit).await.is_ok();
        selector.probed(site, well, Timestamp::ZERO.saturating_add(started.elapsed()));
        random = mix(random.wrapping_add(1));
        tokio::time::sleep(pause(policy.every, random)).await;
    }
}

/// From three quarters to five quarters of the mean: watchers that began together do not stay together.
fn pause(every: Duration, random: u64) -> Duration {
    every.mul_f64(0.75 + 0.5 * (random >> 11) as f64 / (1_u64 << 53) as f64)
}

/// What a PoP's own traffic says of an origin or a site: a result of a request counts as one of a probe. Wraps a request,
/// so that none is forgotten.
///
/// # Errors
/// The request's own.
pub async fn passively<T, E>(
    selector: &Selector,
    site: SiteId,
    started: Instant,
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let result = request.await;
    selector.probed(site, result.is_ok(), Timestamp::ZERO.saturating_add(started.elapsed()));
    result
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{HealthPolicy, Location, Site, SiteMap};

    /// How long silence is listened to, and how long a busy machine may take for an answer that comes.
    const SILENCE: Duration = Duration::from_millis(300);
    const LIMIT: Duration = Duration::from_secs(20);

    const WAIT: Duration = Duration::from_secs(60);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A server that reads once and says one thing to everybody.
    async fn says(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; ANSWER_MAX];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer).await;
            }
        });
        address
    }

    #[test]
    fn http_answers_are_judged_by_their_status() {
        runtime().block_on(async {
            let probe = Probe::Http { host: "www.example.org".into(), path: "/health".into() };
            let kind = async |answer| {
                probe.ask(says(answer).await, LIMIT).await.map(drop).map_err(|error| error.kind())
            };
            assert_eq!(kind(b"HTTP/1.1 204 No Content\r\n\r\n").await, Ok(()));
            assert_eq!(
                kind(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await,
                Err(io::ErrorKind::InvalidData)
            );
            assert_eq!(kind(b"SSH-2.0-nobody").await, Err(io::ErrorKind::InvalidData));
            assert_eq!(kind(b"HTTP/1").await, Err(io::ErrorKind::UnexpectedEof));
            let forged = Probe::Http { host: "a\r\nx: y".into(), path: "/".into() };
            assert_eq!(
                forged.ask(says(b"").await, LIMIT).await.unwrap_err().kind(),
                io::ErrorKind::InvalidInput
            );
        });
    }

    #[test]
    fn silence_ends_at_the_limit_and_dns_answers_count() {
        runtime().block_on(async {
            let server = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
            let address = server.local_addr().unwrap();
            assert_eq!(Probe::Dns.ask(address, SILENCE).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            tokio::spawn(async move {
                let mut query = [0; ANSWER_MAX];
                for code in [0_u8, 0, 5] {
                    let (length, client) = server.recv_from(&mut query).await.unwrap();
                    query[2] |= 0x80;
                    query[3] = code;
                    server.send_to(&query[..length], client).await.unwrap();
                }
            });
            // The first query in the server's queue is the one that was given up.
            assert!(Probe::Dns.ask(address, LIMIT).await.is_ok());
            assert_eq!(Probe::Dns.ask(address, LIMIT).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        });
    }

    #[test]
    fn pauses_stay_within_a_quarter_and_differ() {
        let every = Duration::from_secs(4);
        let pauses: Vec<Duration> = (0..1000).map(|index| pause(every, mix(index))).collect();
        let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(3) && *most <= Duration::from_secs(5));
        assert!(*most - *least > Duration::from_millis(1900), "{least:?} {most:?}");
    }

    #[test]
    fn a_watched_site_falls_and_rises() {
        runtime().block_on(async {
            let place = Location::new(0.0, 0.0).unwrap();
            let sites = SiteMap::new([Site::new("A", place), Site::new("B", place)]).unwrap();
            let health =
                HealthPolicy { fall: 2, rise: 2, hold_down: Duration::ZERO, ..HealthPolicy::default() };
            let selector = Arc::new(Selector::builder(sites).health(health).build());
            let site = selector.sites().find("A").unwrap();
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let policy = ProbePolicy { every: Duration::from_millis(10), limit: LIMIT };
            let watcher =
                tokio::spawn(watch(Arc::clone(&selector), site, address, Probe::Tcp, policy, Instant::now()));
            let until = async |healthy: bool| {
                while selector.is_healthy(site) != healthy {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            drop(listener);
            timeout(WAIT, until(false)).await.unwrap();
            let again = async {
                // Somebody else may have the port for a moment.
                loop {
                    match TcpListener::bind(address).await {
                        Ok(listener) => return listener,
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
            };
            let _listener = timeout(WAIT, again).await.unwrap();
            timeout(WAIT, until(true)).await.unwrap();
            watcher.abort();
            for _ in 0..2 {
                assert_eq!(
                    passively(&selector, site, Instant::now(), async { Err::<(), _>("refused") }).await,
                    Err("refused")
                );
            }
            assert!(!selector.is_healthy(site));
        });
    }
}
