//! The network under study: fourteen sites, every region a group of clients, and a model of what BGP does to them.

use pop_route::{AsGraph, Catchment, Ingress, Location, Relation, Site, SiteId, SiteMap};

use crate::data::{Failure, World};

/// The regions that have a site.
pub(crate) const SITES: [&str; 14] = [
    "East US",
    "West US",
    "South Central US",
    "Brazil South",
    "UK South",
    "Germany West Central",
    "Sweden Central",
    "South Africa North",
    "UAE North",
    "Central India",
    "Southeast Asia",
    "East Asia",
    "Japan East",
    "Australia East",
];
/// Global transit providers in the model.
const PROVIDERS: u32 = 4;

/// A group of clients: those nearest to a region, with a site or without.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) location: Location,
    /// Its part of all people.
    pub(crate) demand: f64,
    /// True round trips to each site, in milliseconds.
    pub(crate) rtt: Vec<f64>,
    /// Where anycast takes them.
    pub(crate) catchment: Vec<(SiteId, f64)>,
}

pub(crate) struct Network {
    pub(crate) sites: SiteMap,
    pub(crate) clients: Vec<Clients>,
    pub(crate) graph: AsGraph,
    pub(crate) announced: Vec<Ingress>,
}

impl Network {
    pub(crate) fn new(world: &World) -> Result<Self, Failure> {
        let region = |name: &str| world.regions.iter().position(|region| region.name == name);
        let homes: Vec<usize> =
            SITES.iter().map(|name| region(name).ok_or("an unknown region")).collect::<Result<_, _>>()?;
        let anycast = "192.0.2.1".parse()?;
        let sites = SiteMap::new(homes.iter().zip(SITES).enumerate().map(|(index, (&home, name))| {
            let unicast = std::net::Ipv4Addr::new(198, 51, 100, index as u8 + 1);
            Site::new(name.replace(' ', "-"), world.regions[home].location)
                .anycast(anycast)
                .address(unicast.into())
        }))?;
        let mut clients: Vec<Clients> = world
            .regions
            .iter()
            .enumerate()
            .map(|(region, place)| Clients {
                location: place.location,
                demand: 0.0,
                rtt: homes.iter().map(|&home| world.rtt[region][home]).collect(),
                catchment: Vec::new(),
            })
            .filter(|clients| clients.rtt.iter().all(|rtt| rtt.is_finite()))
            .collect();
        let people: f64 = world.cities.iter().map(|city| city.population).sum();
        for city in &world.cities {
            let nearest = nearest(&clients, city.location);
            clients[nearest].demand += city.population / people;
        }
        let (graph, announced) = internet(&sites, &clients)?;
        let catchment = Catchment::predict(&graph, &announced);
        for (index, clients) in clients.iter_mut().enumerate() {
            clients.catchment = catchment.of(access(index)).to_vec();
        }
        Ok(Self { sites, clients, graph, announced })
    }
}

/// The clients that a place belongs to.
pub(crate) fn nearest(clients: &[Clients], location: Location) -> usize {
    let distance = |clients: &Clients| clients.location.distance_km(location);
    (0..clients.len())
        .min_by(|&one, &other| distance(&clients[one]).total_cmp(&distance(&clients[other])))
        .unwrap_or(0)
}

/// The access network of a group of clients.
pub(crate) fn access(index: usize) -> u32 {
    65_000 + index as u32
}

/// An eighth of the globe.
fn octant(location: Location) -> u32 {
    (u32::from(location.latitude() >= 0.0) << 2) | ((location.longitude() + 180.0) / 90.0).min(3.0) as u32
}

/// A model of the Internet's middle: each provider has a network in each octant below a backbone. A site buys transit
/// from all of them but one where it stands, an access network from one or two, by its index. Paths are counted, not
/// kilometres, so a good part of the clients enters somewhere else than would be near.
fn internet(sites: &SiteMap, clients: &[Clients]) -> Result<(AsGraph, Vec<Ingress>), Failure> {
    let mut graph = AsGraph::new();
    let backbone = |provider: u32| 100 + provider;
    let regional = |provider: u32, octant: u32| 1_000 + provider * 100 + octant;
    for provider in 0..PROVIDERS {
        for octant in 0..8 {
            graph.link(regional(provider, octant), backbone(provider), Relation::Provider)?;
        }
        // Traffic takes the nearest exit: what a neighbouring octant hears from its customers comes before the backbone.
        for octant in 0..8 {
            let (north, east) = (octant & 4, octant & 3);
            for other in [north | ((east + 1) & 3), (4 - north) | east] {
                graph.link(regional(provider, octant), regional(provider, other), Relation::Peer)?;
            }
        }
        for other in 0..provider {
            graph.link(backbone(provider), backbone(other), Relation::Peer)?;
        }
    }
    let two = |index: usize| [index as u32 % PROVIDERS, (index as u32 * 3 + 1) % PROVIDERS];
    let all_but_one =
        |index: usize| (0..PROVIDERS).filter(move |provider| *provider != index as u32 % PROVIDERS);
    for (index, clients) in clients.iter().enumerate() {
        for provider in two(index) {
            graph.link(access(index), regional(provider, octant(clients.location)), Relation::Provider)?;
        }
    }
    let mut announced = Vec::new();
    for (site, place) in sites.iter() {
        for provider in all_but_one(site.index()) {
            let neighbour = regional(provider, octant(place.location()));
            announced.push(Ingress { site, neighbour, relation: Relation::Provider, prepends: 0 });
        }
    }
    Ok((graph, announced))
}
