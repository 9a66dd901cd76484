//! The network of PoPs: six of them in this process, one shared map, a prober that watches them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pop_edge::dns::NameBuf;
use pop_edge::dns::zone::Zone;
use pop_edge::ratelimit::Quota;
use pop_edge::route::{ClientFacts, HealthPolicy, Location, Selector, Site, SiteId, SiteMap, Timestamp};
use pop_edge::{Handle, Limit, Origin, Pop};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::geography::{CITIES, POPS, client_subnet, pop_address};

/// The site that everybody wants.
pub const HOST: &str = "www.example.org";
/// What one client may ask of a PoP.
pub const PER_CLIENT: Quota = Quota::per_second(100).burst(200);
/// The time between two probes of a PoP, and how long an answer may take.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Two probes in a row decide; a PoP that came back is trusted after half a second.
const HEALTH: HealthPolicy =
    HealthPolicy { fall: 2, rise: 2, hold_down: Duration::from_millis(500), memory: Duration::from_secs(60) };
/// Round trips are told to the selector this often, so that they count as confident.
const SAMPLES: usize = 4;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The running PoPs.
#[derive(Debug)]
pub struct Network {
    places: Places,
    selector: Arc<Selector>,
    pops: Vec<Option<Running>>,
    prober: JoinHandle<()>,
}

#[derive(Debug)]
struct Running {
    handle: Handle,
    task: JoinHandle<()>,
}

/// Where the PoPs listen. The names in DNS are always those of 127.0.x.1; where only 127.0.0.1 exists, a PoP has a
/// port of its own there instead, and clients know which.
#[derive(Clone, Debug)]
pub struct Places {
    http: Vec<SocketAddr>,
    dns: Vec<SocketAddr>,
    /// Whether every PoP has an address of its own.
    pub own_addresses: bool,
}

impl Places {
    /// Free ports: the same two on all addresses if that can be.
    ///
    /// # Errors
    /// When nothing can be bound on loopback at all.
    pub fn find() -> io::Result<Self> {
        let own_addresses = std::net::TcpListener::bind((pop_address(0), 0)).is_ok();
        for _ in 0..64 {
            let anchor = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = anchor.local_addr()?.port();
            drop(anchor);
            let places = Self::at(port, own_addresses);
            if places.http.iter().all(|&place| std::net::TcpListener::bind(place).is_ok())
                && places.dns.iter().all(|&place| {
                    std::net::TcpListener::bind(place).is_ok() && std::net::UdpSocket::bind(place).is_ok()
                })
            {
                return Ok(places);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free on all of the PoPs' addresses"))
    }

    fn at(port: u16, own_addresses: bool) -> Self {
        let place = |index: usize, offset: u16| {
            if own_addresses {
                SocketAddr::new(pop_address(index), port.saturating_add(offset))
            } else {
                let step = u16::try_from(2 * index).unwrap_or(0);
                SocketAddr::from((Ipv4Addr::LOCALHOST, port.saturating_add(step + offset)))
            }
        };
        let places = |offset| (0..POPS.len()).map(|index| place(index, offset)).collect();
        Self { http: places(0), dns: places(1), own_addresses }
    }

    /// Where PoP `index` serves HTTP.
    pub fn http(&self, index: usize) -> SocketAddr {
        self.http[index]
    }

    /// Where the PoPs answer DNS.
    pub fn dns(&self) -> &[SocketAddr] {
        &self.dns
    }

    /// Which PoP has this address in DNS.
    pub fn pop_of(address: IpAddr) -> Option<usize> {
        (0..POPS.len()).find(|&index| pop_address(index) == address)
    }
}

impl Network {
    /// Starts all PoPs in front of `origins`, one a PoP.
    ///
    /// # Errors
    /// When one of them cannot be built or bound; the error names it.
    pub async fn start(places: Places, origins: &[SocketAddr]) -> Result<Self, Failure> {
        let selector = Arc::new(selector()?);
        let prober = tokio::spawn(probe(places.clone(), Arc::clone(&selector)));
        let mut network = Self { places, selector, pops: Vec::new(), prober };
        for (index, &origin) in origins.iter().enumerate() {
            let running = network.build(index, origin)?;
            network.pops.push(Some(running));
        }
        network.wait_until(|network| (0..POPS.len()).all(|index| network.is_healthy(index))).await?;
        Ok(network)
    }

    /// One PoP, as a user of the library would write it.
    fn build(&self, index: usize, origin: SocketAddr) -> Result<Running, Failure> {
        let pop = Pop::cdn(POPS[index].iata)
            .http(self.places.http[index])
            .dns(self.places.dns[index], zone()?)
            .route(Arc::clone(&self.selector))
            .geo(HOST)
            .limit(Limit::per_client(PER_CLIENT))
            .host(HOST, Origin::http(origin.to_string()))
            .build()?;
        let handle = pop.handle();
        let task = tokio::spawn(async move {
            // The end of a PoP is seen by those who ask it for something.
            let _ = pop.run_until(std::future::pending::<()>()).await;
        });
        Ok(Running { handle, task })
    }

    /// A power cut: the PoP is gone between two packets.
    pub async fn kill(&mut self, index: usize) {
        if let Some(running) = self.pops[index].take() {
            running.task.abort();
            let _ = running.task.await;
        }
    }

    /// Power is back; the cache is cold.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn revive(&mut self, index: usize, origin: SocketAddr) -> Result<(), Failure> {
        let running = self.build(index, origin)?;
        self.pops[index] = Some(running);
        self.wait_until(|network| network.is_healthy(index)).await
    }

    /// The living PoPs' handles.
    pub fn handles(&self) -> impl Iterator<Item = (usize, &Handle)> {
        self.pops.iter().enumerate().filter_map(|(index, pop)| Some((index, &pop.as_ref()?.handle)))
    }

    pub fn places(&self) -> &Places {
        &self.places
    }

    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    fn site(&self, index: usize) -> SiteId {
        self.selector.sites().find(POPS[index].iata).expect("every PoP is a site")
    }

    pub fn is_healthy(&self, index: usize) -> bool {
        self.selector.is_healthy(self.site(index))
    }

    /// Waits until something holds, ten seconds at most.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_until(&self, holds: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            if Instant::now() > deadline {
                return Err("the PoPs did not get into the expected state within ten seconds".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Lets every PoP finish what it does, and stops.
    pub async fn stop(mut self) {
        self.prober.abort();
        for index in 0..POPS.len() {
            self.kill(index).await;
        }
    }
}

/// The zone that every PoP serves; the addresses of the site itself are the selector's choice.
fn zone() -> Result<Zone, Failure> {
    let mut text = String::from("$TTL 300\n@ SOA ns1 hostmaster 1 2h 15m 2w 5m\n");
    for index in 0..POPS.len() {
        text.push_str(&format!("@ NS ns{number}\nns{number} A {}\n", pop_address(index), number = index + 1));
    }
    text.push_str("www TXT \"served by the nearest PoP\"\n");
    Ok(Zone::parse(text.as_bytes(), "example.org".parse::<NameBuf>()?)?)
}

fn selector() -> Result<Selector, Failure> {
    let place = |latitude, longitude| Location::new(latitude, longitude).ok_or("a place outside the globe");
    let mut sites = Vec::new();
    for (index, pop) in POPS.iter().enumerate() {
        let site = Site::new(pop.iata, place(pop.latitude, pop.longitude)?).country(pop.country);
        sites.push(site.address(pop_address(index)));
    }
    let mut builder = Selector::builder(SiteMap::new(sites)?).health(HEALTH);
    for (index, city) in CITIES.iter().enumerate() {
        builder =
            builder.client(client_subnet(index), ClientFacts::at(place(city.latitude, city.longitude)?))?;
    }
    let selector = builder.build();
    for (index, city) in CITIES.iter().enumerate() {
        for (id, _) in selector.sites().iter() {
            for _ in 0..SAMPLES {
                selector.measure(client_subnet(index), id, city.rtt(id.index()), Timestamp::ZERO);
            }
        }
    }
    selector.recompile(Timestamp::ZERO);
    Ok(selector)
}

/// Probes every PoP for ever: whoever takes a connection is alive.
async fn probe(places: Places, selector: Arc<Selector>) {
    let started = Instant::now();
    let sites: Vec<SiteId> = selector.sites().iter().map(|(id, _)| id).collect();
    loop {
        for (&site, &place) in sites.iter().zip(&places.http) {
            let alive = matches!(timeout(PROBE_EVERY, TcpStream::connect(place)).await, Ok(Ok(_)));
            let now = Timestamp::ZERO.saturating_add(started.elapsed());
            selector.probed(site, alive, now);
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
}
