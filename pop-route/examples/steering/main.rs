//! Steering the world's clients to fourteen sites, by five policies, on measured round trips.
//!
//! ```text
//! cargo run --release -p pop-route --features bgp --example steering -- [--data DIR] [--svg FILE]
//! ```
//!
//! Clients are the regions of a public cloud, weighted by the people who live nearest to them; round trips are the
//! cloud's published medians, which do not follow the map. BGP is a model (see `network.rs`). The selector under
//! study is told of each client its place, where anycast takes it, and noisy samples of some round trips: those of the
//! sites that catch it and of the six nearest by distance. It is judged by the true round trips, and what it promises is
//! checked: a promise that does not hold ends the program with 1.

mod data;
mod network;
mod svg;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use pop_route::{
    Catchment, Choice, ClientAtlas, ClientFacts, DistanceModel, Prefix, Rule, SCOPE_V4_MAX, Selector, SiteId,
    Timestamp, Via,
};

use data::{Failure, World};
use network::{Clients, Network, access, nearest};

/// Samples of each round trip that is measured, and sites measured beyond those that catch.
const SAMPLES: u32 = 40;
const MEASURED_NEAR: usize = 6;

/// What the hybrid promises: its mean as a multiple of the oracle's, the part of demand more than 25 ms off the best, and
/// the part more than 10 ms worse than plain anycast.
const MEAN_OF_ORACLE_MAX: f64 = 1.02;
const FAR_MAX: f64 = 0.005;
const WORSE_MAX: f64 = 0.001;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).map(String::as_str)
    };
    let Some(folder) = data::folder(option("--data")) else {
        eprintln!(
            "steering: no tables; say --data DIR with country_v4.csv.gz, cities.csv.gz, cloud_rtt_ms.csv and others"
        );
        std::process::exit(69);
    };
    if let Err(error) = run(&folder, option("--svg")) {
        eprintln!("steering: {error}");
        std::process::exit(1);
    }
}

fn run(folder: &std::path::Path, svg: Option<&str>) -> Result<(), Failure> {
    let world = World::read(folder)?;
    let network = Network::new(&world)?;
    println!(
        "{} sites, {} client regions, {} cities",
        network.sites.len(),
        network.clients.len(),
        world.cities.len()
    );
    let selector = selector(&network, true)?;
    let model = selector.fit_distance(Timestamp::ZERO).ok_or("too little to fit a distance")?;
    println!("fitted distance: {:.1} ms + {:.4} ms/km\n", model.base_millis, model.millis_per_km);
    policies(&network, &selector, model)?;
    withdrawals(&network, &selector)?;
    scopes(&world, &network)?;
    if let Some(path) = svg {
        std::fs::write(path, map(&world, &network, &selector)?)?;
        println!("\nmap written to {path}");
    }
    println!("\n{}", selector.explain(block(0)));
    Ok(())
}

/// The block that stands for a group of clients.
fn block(index: usize) -> (IpAddr, u8) {
    (std::net::Ipv4Addr::new(10, index as u8, 0, 0).into(), 16)
}

/// A selector that knows what an operator could know.
fn selector(network: &Network, with_anycast: bool) -> Result<Selector, Failure> {
    let mut builder = Selector::builder(network.sites.clone());
    for (index, clients) in network.clients.iter().enumerate() {
        let facts = ClientFacts::at(clients.location).demand(clients.demand);
        let facts = if with_anycast { facts.caught_by(clients.catchment.iter().copied()) } else { facts };
        builder = builder.client(block(index), facts)?;
    }
    let selector = builder.build();
    let mut noise = Noise(1);
    for (index, clients) in network.clients.iter().enumerate() {
        for site in measured_sites(network, clients) {
            for _ in 0..SAMPLES {
                // Queues only ever add: a tenth on average, now and then a lot.
                let millis = clients.rtt[site.index()] * (1.0 - 0.1 * noise.unit().max(1e-9).ln());
                selector.measure(block(index), site, Duration::from_secs_f64(millis / 1e3), Timestamp::ZERO);
            }
        }
    }
    selector.recompile(Timestamp::ZERO);
    Ok(selector)
}

fn measured_sites(network: &Network, clients: &Clients) -> BTreeSet<SiteId> {
    let mut near: Vec<(f64, SiteId)> =
        network.sites.iter().map(|(id, site)| (site.location().distance_km(clients.location), id)).collect();
    near.sort_by(|one, other| one.0.total_cmp(&other.0));
    let caught = clients.catchment.iter().map(|&(site, _)| site);
    near.into_iter().take(MEASURED_NEAR).map(|(_, site)| site).chain(caught).collect()
}

/// Random numbers, the same each time (splitmix64).
struct Noise(u64);

impl Noise {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Parts of a group's clients with the round trip that they see.
type Seen = Vec<(f64, f64)>;

fn by_choice(clients: &Clients, choice: &Choice) -> Seen {
    match (choice.via(), choice.site()) {
        (Via::Anycast, _) => by_anycast(clients),
        (Via::Unicast, Some(site)) => vec![(1.0, clients.rtt[site.index()])],
        (Via::Unicast, None) => Vec::new(),
    }
}

fn by_anycast(clients: &Clients) -> Seen {
    clients.catchment.iter().map(|&(site, part)| (part, clients.rtt[site.index()])).collect()
}

fn best(clients: &Clients) -> f64 {
    clients.rtt.iter().copied().fold(f64::INFINITY, f64::min)
}

fn policies(network: &Network, hybrid: &Selector, model: DistanceModel) -> Result<(), Failure> {
    let unicast = selector(network, false)?;
    let nearest = |clients: &Clients| {
        let site = network.sites.iter().min_by(|(_, one), (_, other)| {
            let millis = |site: &pop_route::Site| model.millis(site.location().distance_km(clients.location));
            millis(one).total_cmp(&millis(other))
        });
        vec![(1.0, site.map_or(f64::NAN, |(id, _)| clients.rtt[id.index()]))]
    };
    println!(
        "{:<10}{:>8}{:>8}{:>8}{:>8}{:>12}{:>12}{:>16}",
        "policy", "mean", "p50", "p90", "p99", "≤10 ms off", ">25 ms off", ">10 ms > any"
    );
    let mut means = BTreeMap::new();
    let mut promised = (f64::NAN, f64::NAN);
    type Policy<'a> = Box<dyn Fn(usize, &Clients) -> Seen + 'a>;
    let rows: [(&str, Policy<'_>); 5] = [
        ("oracle", Box::new(|_, clients| vec![(1.0, best(clients))])),
        ("anycast", Box::new(|_, clients| by_anycast(clients))),
        ("distance", Box::new(|_, clients| nearest(clients))),
        ("RTT", Box::new(|index, clients| by_choice(clients, &unicast.select(block(index))))),
        ("hybrid", Box::new(|index, clients| by_choice(clients, &hybrid.select(block(index))))),
    ];
    for (name, policy) in rows {
        let mut seen: Vec<(f64, f64)> = Vec::new();
        let (mut close, mut far, mut worse) = (0.0, 0.0, 0.0);
        for (index, clients) in network.clients.iter().enumerate() {
            let anycast: f64 = by_anycast(clients).iter().map(|(part, millis)| part * millis).sum();
            let parts = policy(index, clients);
            let mean: f64 = parts.iter().map(|(part, millis)| part * millis).sum();
            worse += if mean > anycast + 10.0 { clients.demand } else { 0.0 };
            for (part, millis) in parts {
                let demand = part * clients.demand;
                close += if millis <= best(clients) + 10.0 { demand } else { 0.0 };
                far += if millis > best(clients) + 25.0 { demand } else { 0.0 };
                seen.push((millis, demand));
            }
        }
        let mean: f64 = seen.iter().map(|(millis, demand)| millis * demand).sum();
        means.insert(name, mean);
        promised = (far, worse);
        println!(
            "{name:<10}{mean:>8.1}{:>8.0}{:>8.0}{:>8.0}{:>11.1}%{:>11.1}%{:>15.2}%",
            quantile(&mut seen, 0.5),
            quantile(&mut seen, 0.9),
            quantile(&mut seen, 0.99),
            close * 100.0,
            far * 100.0,
            worse * 100.0
        );
    }
    let of_oracle = means["hybrid"] / means["oracle"];
    println!("hybrid mean is {of_oracle:.3} of the oracle's");
    // The last row is the hybrid's.
    let (far, worse) = promised;
    if of_oracle > MEAN_OF_ORACLE_MAX || far > FAR_MAX || worse > WORSE_MAX {
        return Err("the hybrid policy does not hold what it promises".into());
    }
    Ok(())
}

fn quantile(seen: &mut [(f64, f64)], part: f64) -> f64 {
    seen.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut sum = 0.0;
    for &(millis, demand) in seen.iter() {
        sum += demand;
        if sum >= part {
            return millis;
        }
    }
    seen.last().map_or(f64::NAN, |&(millis, _)| millis)
}

/// Takes each site away and brings it back: who moves, and how far off they are meanwhile.
fn withdrawals(network: &Network, selector: &Selector) -> Result<(), Failure> {
    println!(
        "\n{:<22}{:>9}{:>9}{:>12}{:>10}{:>10}",
        "withdrawn", "its part", "moved", "bystanders", "+mean ms", "restored"
    );
    let choices =
        || -> Vec<Choice> { (0..network.clients.len()).map(|index| selector.select(block(index))).collect() };
    let mean = |choices: &[Choice], now: &Catchment| -> f64 {
        let millis = |(index, choice): (usize, &Choice)| {
            let clients = &network.clients[index];
            let seen = match choice.via() {
                Via::Anycast => now
                    .of(access(index))
                    .iter()
                    .map(|&(site, part)| (part, clients.rtt[site.index()]))
                    .collect(),
                Via::Unicast => by_choice(clients, choice),
            };
            clients.demand * seen.iter().map(|(part, millis)| part * millis).sum::<f64>()
        };
        choices.iter().enumerate().map(millis).sum()
    };
    let whole = Catchment::predict(&network.graph, &network.announced);
    let before = choices();
    for (round, (site, place)) in (0_u64..).zip(network.sites.iter()) {
        selector.drain(site, true, Timestamp::from_nanos(2 * round + 1));
        let during = choices();
        let without = Catchment::without(&network.graph, &network.announced, site);
        let part = |wanted: &dyn Fn(usize) -> bool| -> f64 {
            network
                .clients
                .iter()
                .enumerate()
                .filter(|(index, _)| wanted(*index))
                .map(|(_, clients)| clients.demand)
                .sum::<f64>()
                + 0.0
        };
        let owns = |index: usize| {
            let caught = network.clients[index].catchment.iter().any(|(other, _)| *other == site);
            before[index].site() == Some(site) || (before[index].via() == Via::Anycast && caught)
        };
        let moved = |index: usize| before[index].site() != during[index].site();
        let cost = mean(&during, &without) - mean(&before, &whole);
        selector.drain(site, false, Timestamp::from_nanos(2 * round + 2));
        let restored = choices() == before;
        let bystanders = part(&|index| moved(index) && !owns(index));
        println!(
            "{:<22}{:>8.1}%{:>8.1}%{:>11.1}%{:>10.1}{:>10}",
            place.name(),
            0.0 + part(&owns) * 100.0,
            part(&moved) * 100.0,
            bystanders * 100.0,
            cost,
            if restored { "yes" } else { "NO" }
        );
        if !restored || bystanders > 0.0 {
            return Err("a withdrawal moved bystanders, or its site did not get its clients back".into());
        }
    }
    Ok(())
}

/// The same clients told by country ranges: how wide answers hold, and what that spares resolvers' caches.
fn scopes(world: &World, network: &Network) -> Result<(), Failure> {
    let mut atlas = ClientAtlas::new();
    let ranges = atlas.countries(&world.countries_v4)?;
    let mut largest: BTreeMap<&str, &data::City> = BTreeMap::new();
    for city in &world.cities {
        let known = largest.entry(&city.country).or_insert(city);
        if city.population > known.population {
            *known = city;
        }
    }
    for (country, city) in largest {
        // Clients of a country are taken to be where its region of the study is.
        let region = &network.clients[nearest(&network.clients, city.location)];
        atlas.rule(country, Rule { location: Some(region.location), fence: Vec::new() });
    }
    let started = std::time::Instant::now();
    let facts = atlas.facts();
    let prefixes: Vec<Prefix> = facts.iter().map(|(prefix, _)| prefix).collect();
    let selector = Selector::builder(network.sites.clone()).clients(facts).build();
    let built = started.elapsed();
    let (mut entries, mut blocks, mut by_scope) = (BTreeSet::new(), 0.0, BTreeMap::new());
    for prefix in &prefixes {
        let choice = selector.select((*prefix).into());
        blocks += f64::from(1_u32 << SCOPE_V4_MAX.saturating_sub(prefix.length()));
        let scope = Prefix::new(prefix.address(), choice.scope)?;
        if entries.insert(scope) {
            *by_scope.entry(choice.scope).or_insert(0_u32) += 1;
        }
    }
    println!(
        "\n{ranges} country ranges ({} prefixes), compiled in {:.0} ms",
        prefixes.len(),
        built.as_secs_f64() * 1e3
    );
    println!(
        "a resolver that meets all of them caches {} answers; by /24 it would be {:.0}, {:.0} times as many",
        entries.len(),
        blocks,
        blocks / entries.len() as f64
    );
    let widths: Vec<String> = by_scope.iter().map(|(scope, count)| format!("/{scope}:{count}")).collect();
    println!("scopes {}", widths.join(" "));
    Ok(())
}

fn map(world: &World, network: &Network, selector: &Selector) -> Result<String, Failure> {
    let groups: Vec<usize> =
        world.cities.iter().map(|city| nearest(&network.clients, city.location)).collect();
    let view = || {
        let sites: Vec<Option<SiteId>> =
            (0..network.clients.len()).map(|index| selector.select(block(index)).site()).collect();
        let cities = world
            .cities
            .iter()
            .zip(&groups)
            .map(|(city, &group)| (city.location, city.population, sites[group]))
            .collect();
        let mut shares = vec![0.0; network.sites.len()];
        for (clients, site) in network.clients.iter().zip(&sites) {
            if let Some(site) = site {
                shares[site.index()] += clients.demand;
            }
        }
        (cities, shares)
    };
    let (before, shares_before): (Vec<_>, Vec<f64>) = view();
    let busiest = network
        .sites
        .iter()
        .max_by(|(one, _), (other, _)| shares_before[one.index()].total_cmp(&shares_before[other.index()]));
    let (busiest, place) = busiest.ok_or("no site")?;
    selector.drain(busiest, true, Timestamp::from_nanos(1000));
    let (after, shares_after) = view();
    selector.drain(busiest, false, Timestamp::from_nanos(1001));
    let (of_before, of_after) =
        (|site: SiteId| shares_before[site.index()], |site: SiteId| shares_after[site.index()]);
    Ok(svg::draw(
        &network.sites,
        &[
            svg::Panel {
                title: "Catchments of fourteen sites, hybrid policy".into(),
                cities: before,
                away: None,
                shares: &of_before,
            },
            svg::Panel {
                title: format!("{} withdrawn: its clients move, nobody else", place.name()),
                cities: after,
                away: Some(busiest),
                shares: &of_after,
            },
        ],
    ))
}
