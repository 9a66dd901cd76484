//! Asking servers: UDP with retries, TCP behind it, TLS, HTTPS; answers that nobody can forge from the side.

mod endpoint;
mod error;
mod exchange;
#[cfg(all(feature = "doh", feature = "tls"))]
mod https;
mod race;
mod request;
mod stream;
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

pub use endpoint::Endpoint;
pub use error::ClientError;
pub use request::Request;

use self::endpoint::Way;
use self::exchange::{Cookies, Exchange, Path, Verdict};
#[cfg(all(feature = "doh", feature = "tls"))]
use self::https::{HttpsPool, Refused};
pub(crate) use self::race::Race;
use self::stream::{NoAnswer, Pool};
use crate::random::Random;
use crate::{Message, Rcode, Transport};

/// Servers whose cookies are remembered.
const COOKIES_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Asks servers. Cheap to clone; all clones share sockets, connections and cookies.
///
/// Each UDP query has a socket of its own with a port drawn at random, a random identifier, a random spelling of its
/// name (0x20) and a cookie (RFC 7873). What does not match all of it is ignored while the answer is awaited; a
/// query that drew such packets is asked again by TCP. Costs a socket and about four system calls a query.
///
/// ```no_run
/// use pop_dns::{RecordType, client::{Client, Request}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new();
/// let request = Request::new("www.example.org".parse()?, RecordType::A);
/// let answer = client.query("192.0.2.53:53".parse::<std::net::SocketAddr>()?, &request).await?;
/// for record in answer.message().answers()? {
///     println!("{}", record?.rdata()?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ClientBuilder,
    random: Arc<Random>,
    sockets: Semaphore,
    streams: Pool,
    #[cfg(all(feature = "doh", feature = "tls"))]
    https: HttpsPool,
    cookies: Mutex<LruCache<SocketAddr, ([u8; 32], u8)>>,
}

/// Settings of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    attempts: u32,
    patience: Duration,
    deadline: Duration,
    sockets_max: usize,
}

impl ClientBuilder {
    /// How often a query is sent at most; 3 by default. Never less than once.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// How long an attempt has before the next is made, one second by default. The earlier one may still win.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a query may take in all, five seconds by default.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many UDP sockets may be open at once, 512 by default. Queries beyond wait for one.
    #[must_use]
    pub fn sockets_max(mut self, sockets_max: usize) -> Self {
        self.sockets_max = sockets_max.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// The client.
    #[must_use]
    pub fn build(self) -> Client {
        Client(Arc::new(Inner {
            random: Arc::new(Random::new()),
            sockets: Semaphore::new(self.sockets_max),
            streams: Pool::default(),
            #[cfg(all(feature = "doh", feature = "tls"))]
            https: HttpsPool::default(),
            cookies: Mutex::new(LruCache::new(COOKIES_MAX)),
            settings: self,
        }))
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client with default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A client with settings of your own.
    #[must_use]
    pub const fn builder() -> ClientBuilder {
        ClientBuilder {
            attempts: 3,
            patience: Duration::from_secs(1),
            deadline: Duration::from_secs(5),
            sockets_max: 512,
        }
    }

    /// Asks `server`, as often and as long as the settings say. A response with an error code is an answer.
    ///
    /// # Errors
    /// [`ClientError`] if nothing that answers the query came.
    pub async fn query(&self, server: impl Into<Endpoint>, request: &Request) -> Result<Answer, ClientError> {
        let server = server.into();
        let started = Instant::now();
        let settings = &self.0.settings;
        let suspicion = Suspicion::default();
        let mut last = None;
        let mut race = Race::new();
        for _ in 0..settings.attempts {
            let Some(left) = settings.deadline.checked_sub(started.elapsed()) else { break };
            race.push(self.attempt(&server, request.clone(), &suspicion));
            match timeout(left.min(settings.patience), race.next()).await {
                Ok(Ok(answer)) => return Ok(Answer { elapsed: started.elapsed(), ..answer }),
                Ok(Err(error)) => last = Some(error),
                Err(_) => {}
            }
        }
        while !race.is_empty() {
            let left = settings.deadline.saturating_sub(started.elapsed());
            match timeout(left, race.next()).await {
                Ok(Ok(answer)) => return Ok(Answer { elapsed: started.elapsed(), ..answer }),
                Ok(Err(error)) => last = Some(error),
                Err(_) => break,
            }
        }
        drop(race);
        Err(last.unwrap_or_else(|| suspicion.timeout(server.address(), started.elapsed())))
    }

    /// One attempt, without a deadline: by UDP, then by TCP if the answer did not fit or somebody meddles.
    pub(crate) async fn attempt(
        &self,
        server: &Endpoint,
        mut request: Request,
        suspicion: &Suspicion,
    ) -> Result<Answer, ClientError> {
        let address = server.address();
        let network = |source: io::Error| match source.get_ref() {
            Some(inner) if inner.is::<NoAnswer>() => ClientError::Malformed { server: address },
            #[cfg(all(feature = "doh", feature = "tls"))]
            Some(inner) if inner.is::<Refused>() => {
                let status = inner.downcast_ref().map_or(0, |Refused(status)| status.as_u16());
                ClientError::Http { server: address, status }
            }
            _ => ClientError::Network { server: address, source },
        };
        if suspicion.bare().is_some() {
            request = request.without_edns();
        }
        let mut datagram = matches!(server.way(), Way::Udp) && !request.stream && !suspicion.meddled();
        // Three rounds: UDP, UDP with the server's cookie, TCP.
        for _ in 0..3 {
            let (exchange, verdict, octets) = if datagram {
                let exchange = self.exchange(&request, server, Path::Datagram)?;
                let _permit = self.0.sockets.acquire().await.expect("never closed");
                let (verdict, octets) = udp::ask(address, &exchange, suspicion).await.map_err(network)?;
                (exchange, verdict, octets)
            } else {
                let path = if matches!(server.way(), Way::Udp | Way::Tcp) { Path::Stream } else { Path::Tls };
                // Written once to learn of an error, then as often as connections break.
                self.exchange(&request, server, path)?;
                let make = || self.exchange(&request, server, path).expect("it could be written before");
                match server.way() {
                    #[cfg(all(feature = "doh", feature = "tls"))]
                    Way::Https(https) => self.0.https.ask(server, https, make).await.map_err(network)?,
                    _ => self.0.streams.ask(server, &self.0.random, make).await.map_err(network)?,
                }
            };
            self.remember_cookie(address, &exchange, &octets);
            match verdict {
                Verdict::Truncated => datagram = false,
                Verdict::BadCookie if datagram && exchange.server_cookie(&octets).is_some() => {
                    // Once with the cookie we were given, then by TCP, where none is needed (RFC 7873 §5.3).
                    datagram = !suspicion.cookie_refused();
                }
                Verdict::Bare(rcode) => return Err(ClientError::Bare { server: address, rcode }),
                _ => return Ok(Answer::new(exchange, &request, octets, server, datagram)),
            }
        }
        Err(ClientError::Malformed { server: address })
    }

    fn exchange(&self, request: &Request, server: &Endpoint, path: Path) -> Result<Exchange, ClientError> {
        let address = server.address();
        let server = self.0.cookies.lock().expect("no holder of this lock panics").get(&address).copied();
        let cookies = Cookies { client: self.client_cookie(address), server };
        Exchange::new(request, Some(cookies), path, &self.0.random).map_err(ClientError::Request)
    }

    /// RFC 7873 §4.1: one for each server, so that no server can pose as another.
    fn client_cookie(&self, address: SocketAddr) -> [u8; 8] {
        let mut octets = [0; 18];
        match address.ip() {
            IpAddr::V4(address) => octets[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => octets[..16].copy_from_slice(&address.octets()),
        }
        octets[16..].copy_from_slice(&address.port().to_be_bytes());
        self.0.random.of(&octets).to_be_bytes()
    }

    fn remember_cookie(&self, address: SocketAddr, exchange: &Exchange, octets: &[u8]) {
        if let Some(cookie) = exchange.server_cookie(octets) {
            self.0.cookies.lock().expect("no holder of this lock panics").put(address, cookie);
        }
    }
}

/// Judges `octets` as the answer to a fixed query: whatever they are, without a panic, and never as an answer that
/// cannot be walked to its end.
#[cfg(fuzzing)]
pub(crate) fn fuzz_answer(octets: &[u8]) {
    let random = Random::new();
    let request = Request::new("www.example.org".parse().expect("a name"), crate::RecordType::A);
    let cookies = Cookies { client: [7; 8], server: None };
    for path in [Path::Datagram, Path::Stream] {
        let mut exchange = Exchange::new(&request, Some(cookies), path, &random).expect("it can be written");
        exchange.set_id(octets.first_chunk().map_or(0, |id| u16::from_be_bytes(*id)));
        if exchange.judge(octets) == Verdict::Answer {
            let _ = exchange.server_cookie(octets);
            let mut octets = octets.to_vec();
            exchange.restore(&request, &mut octets);
            Message::parse(&octets).and_then(|message| message.check()).expect("it was checked");
        }
    }
}

/// What happened while an answer was awaited, over all attempts at a query.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    /// Packets that were not the answer.
    ignored: AtomicU32,
    /// One more than a code that came without a question; 0 for none.
    bare: AtomicU32,
    cookies: AtomicU32,
}

// All relaxed: the attempts at a query run on one task, one after the other.
impl Suspicion {
    fn packet_ignored(&self) {
        self.ignored.fetch_add(1, Ordering::Relaxed);
    }

    fn bare_code(&self, rcode: Rcode) {
        self.bare.store(u32::from(rcode.0) + 1, Ordering::Relaxed);
    }

    fn cookie_refused(&self) -> bool {
        self.cookies.fetch_add(1, Ordering::Relaxed) > 0
    }

    fn bare(&self) -> Option<Rcode> {
        let code = self.bare.load(Ordering::Relaxed).checked_sub(1)?;
        u16::try_from(code).ok().map(Rcode)
    }

    /// Whether somebody, or a server that breaks the rules, sent what was no answer.
    fn meddled(&self) -> bool {
        self.ignored.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn timeout(&self, server: SocketAddr, waited: Duration) -> ClientError {
        match self.bare() {
            Some(rcode) => ClientError::Bare { server, rcode },
            None => ClientError::Timeout { server, waited, ignored: self.ignored.load(Ordering::Relaxed) },
        }
    }
}

/// A response that was judged to be the answer, and checked whole.
#[derive(Debug)]
pub struct Answer {
    octets: Vec<u8>,
    /// Who answered.
    pub server: SocketAddr,
    /// How.
    pub transport: Transport,
    /// How long it took, retries included.
    pub elapsed: Duration,
}

impl Answer {
    fn new(
        exchange: Exchange,
        request: &Request,
        mut octets: Vec<u8>,
        server: &Endpoint,
        datagram: bool,
    ) -> Self {
        exchange.restore(request, &mut octets);
        let transport = match server.way() {
            _ if datagram => Transport::Udp,
            Way::Udp | Way::Tcp => Transport::Tcp,
            #[cfg(feature = "tls")]
            Way::Tls(..) => Transport::Tls,
            #[cfg(all(feature = "doh", feature = "tls"))]
            Way::Https(_) => Transport::Https,
        };
        Self { octets, server: server.address(), transport, elapsed: Duration::ZERO }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.octets).expect("it was checked when it came")
    }

    /// The response code, EDNS's bits included.
    #[must_use]
    pub fn rcode(&self) -> Rcode {
        let message = self.message();
        let header = message.header().flags.rcode();
        message.edns().ok().flatten().map_or(header, |edns| edns.rcode(header))
    }

    /// The octets.
    #[must_use]
    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }
}
