//! A whole decision with 104 sites over the full table: warm, cold, split by capacity, and explained; what allocates; how
//! soon a change is seen; updates of a live table beside a reader; Maglev and rendezvous.
//!
//! `decision [decisions] [values] [live] [nodes]`: all of it, or a part.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use maglev::ConsistentHasher as _;
use pop_route::{
    ClientFacts, LiveTable, Location, Maglev, Prefix, PrefixTable, Rendezvous, Selector, Site, SiteMap,
    Timestamp,
};
use versus_route::{Counting, Numbers, allocations, full_table, median, nanos, text, zipf};

#[global_allocator]
static COUNTING: Counting = Counting;

const ROUNDS: usize = 7;

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let (v4, _) = full_table();
    let mut numbers = Numbers(11);
    if wanted("decisions") {
        decisions(&v4, &mut numbers);
    }
    if wanted("values") {
        few_values(&v4, &mut numbers);
    }
    if wanted("live") {
        for millis in [10, 30, 90] {
            updates(&v4, &mut numbers, Duration::from_millis(millis));
        }
    }
    if wanted("nodes") {
        nodes();
    }
}

fn rows(name: &str) -> Vec<Vec<String>> {
    let path = versus_route::data().join(name);
    let text = if name.ends_with(".gz") {
        text(name)
    } else {
        std::fs::read_to_string(path).expect("the table is there")
    };
    // Names with a comma stand in quotes; what is wanted of a row stands behind or before them.
    text.lines().skip(1).map(|line| unquoted(line).split(',').map(str::to_owned).collect()).collect()
}

/// A row without the commas inside of quotes.
fn unquoted(line: &str) -> String {
    let mut quoted = false;
    let keeps = |letter: &char| {
        quoted ^= *letter == '"';
        *letter != '"' && !(quoted && *letter == ',')
    };
    line.chars().filter(keeps).collect()
}

fn place(latitude: &str, longitude: &str) -> Option<Location> {
    Location::new(latitude.parse().ok()?, longitude.parse().ok()?)
}

fn sites(capacity: bool) -> SiteMap {
    SiteMap::new(rows("pops.csv").iter().map(|row| {
        let site =
            Site::new(row[0].as_str(), place(&row[4], &row[5]).expect("a place")).country(row[2].as_str());
        if capacity { site.capacity(12_000.0) } else { site }
    }))
    .expect("a map")
}

/// Cities of the world, hashed over the prefixes: as many classes as a large operator would have.
fn clients(table: &[(u32, u8, u32)], cities: usize, numbers: &mut Numbers) -> PrefixTable<ClientFacts> {
    let cities: Vec<Location> =
        rows("cities.csv.gz").iter().filter_map(|row| place(&row[3], &row[4])).take(cities).collect();
    table
        .iter()
        .map(|&(first, length, _)| {
            let prefix = Prefix::new(Ipv4Addr::from_bits(first).into(), length).expect("a prefix");
            (prefix, ClientFacts::at(cities[numbers.below(cities.len())]).demand(1.0))
        })
        .collect()
}

fn decisions(table: &[(u32, u8, u32)], numbers: &mut Numbers) {
    let known = clients(table, 2_000, numbers);
    for capacity in [false, true] {
        let sites = sites(capacity);
        let count = sites.len();
        let started = Instant::now();
        let selector = Selector::builder(sites).clients(known.clone()).build();
        println!(
            "\n{count} sites, {} prefixes, 2000 places{}: compiled in {:.0} ms, snapshot {:.2} MiB",
            table.len(),
            if capacity { ", capacities that force spilling" } else { "" },
            started.elapsed().as_secs_f64() * 1e3,
            selector.snapshot().memory_bytes() as f64 / (1 << 20) as f64
        );
        let address = |&(first, length, _): &(u32, u8, u32), numbers: &mut Numbers| -> IpAddr {
            Ipv4Addr::from_bits(first | (numbers.next() as u32).checked_shr(length.into()).unwrap_or(0))
                .into()
        };
        let mut cold: Vec<IpAddr> = table.iter().map(|row| address(row, numbers)).collect();
        numbers.shuffle(&mut cold);
        let warm: Vec<IpAddr> = cold[..256].to_vec();
        let hot: Vec<IpAddr> =
            zipf(cold.len(), 1 << 19, numbers).into_iter().map(|index| cold[index]).collect();
        for (name, addresses, repeats) in
            [("warm (256 clients)", &warm, 512), ("Zipf", &hot, 1), ("cold (each prefix once)", &cold, 1)]
        {
            let before = allocations();
            let times: Vec<f64> = (0..ROUNDS)
                .map(|_| {
                    nanos(addresses.len() * repeats, || {
                        let mut sum = 0_usize;
                        for address in (0..repeats).flat_map(|_| addresses.iter()) {
                            // The next one waits for this one.
                            let choice = selector.select((*address, 24 + (sum & 1) as u8));
                            sum = sum.wrapping_add(choice.site().map_or(0, |site| site.index())) & 0xffff;
                        }
                        black_box(sum);
                    })
                })
                .collect();
            // The list of times is one.
            println!(
                "  {name:<26}{:>8.1} ns a decision, {} allocations",
                median(times),
                allocations() - before - 1
            );
        }
        let times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                nanos(2_000, || {
                    cold[..2_000].iter().for_each(|&client| drop(black_box(selector.explain((client, 32)))))
                })
            })
            .collect();
        println!("  explain{:>27.0} ns", median(times));
        let site = selector.sites().find("FRA").expect("there");
        for (name, drained) in [("drained", true), ("back", false)] {
            let started = Instant::now();
            selector.drain(site, drained, Timestamp::ZERO);
            println!("  FRA {name}: seen by all after {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
        }
        let client = (cold[0], 32);
        let started = Instant::now();
        (0..4)
            .for_each(|_| assert!(selector.measure(client, site, Duration::from_millis(1), Timestamp::ZERO)));
        selector.recompile(Timestamp::ZERO);
        println!("  a first measurement: seen after {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        (0..40).for_each(|_| {
            assert!(selector.measure(client, site, Duration::from_millis(400), Timestamp::ZERO))
        });
        selector.recompile(Timestamp::ZERO);
        println!("  another one: seen after {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    }
}

/// A map of three hundred sites: each prefix to one of the sites that serve its country.
fn few_values(table: &[(u32, u8, u32)], numbers: &mut Numbers) {
    let ranges: Vec<(u32, u32, u16)> = text("country_v4.csv.gz")
        .lines()
        .map(|line| {
            let mut fields = line.split(',');
            let mut bits = || fields.next().unwrap().parse::<Ipv4Addr>().unwrap().to_bits();
            let (first, last) = (bits(), bits());
            let code = fields.next().unwrap().as_bytes();
            (first, last, u16::from(code[0] - b'A') * 26 + u16::from(code[1] - b'A'))
        })
        .collect();
    let country = |address: u32| {
        let after = ranges.partition_point(|&(first, _, _)| first <= address);
        ranges[..after].last().filter(|&&(_, last, _)| address <= last).map_or(0, |&(_, _, country)| country)
    };
    for (name, sites_a_country) in [("one a country", 1), ("up to four a country, at random", 4)] {
        let map: PrefixTable<u16> = table
            .iter()
            .map(|&(first, length, _)| {
                let site = (country(first) * 7 + numbers.below(sites_a_country) as u16) % 300;
                (Prefix::new(Ipv4Addr::from_bits(first).into(), length).unwrap(), site)
            })
            .collect();
        let (scoped, matched) = (map.scoped_snapshot(), map.snapshot());
        let mib = |bytes: usize| bytes as f64 / (1 << 20) as f64;
        println!(
            "\n300 sites, {name}: {:.2} MiB with scopes, {:.2} MiB with matched prefixes",
            mib(scoped.memory_bytes()),
            mib(matched.memory_bytes())
        );
    }
}

/// Networks of the full table come, go and change their value in random order, for a while each time before they are
/// published; another thread looks addresses up. Rounds with and without a writer take turns.
fn updates(table: &[(u32, u8, u32)], numbers: &mut Numbers, changing: Duration) {
    let prefix = |&(first, length, _): &(u32, u8, u32)| {
        Prefix::new(Ipv4Addr::from_bits(first).into(), length).unwrap()
    };
    let live = LiveTable::new(table.iter().map(|row| (prefix(row), row.2)).collect());
    let mut order: Vec<usize> = (0..table.len()).collect();
    numbers.shuffle(&mut order);
    let rows: Vec<Prefix> = order.iter().map(|&index| prefix(&table[index])).collect();
    let probes: Vec<Ipv4Addr> =
        order.iter().take(1 << 16).map(|&index| Ipv4Addr::from_bits(table[index].0)).collect();
    let read = |done: &AtomicBool| {
        let mut times = Vec::with_capacity(1 << 22);
        while !done.load(Ordering::Relaxed) {
            for chunk in probes.chunks(16) {
                let started = Instant::now();
                live.read(|snapshot| {
                    for &address in chunk {
                        black_box(snapshot.longest_v4(address));
                    }
                });
                if times.len() < times.capacity() {
                    times.push(started.elapsed().as_nanos() as u32);
                }
            }
        }
        times.sort_unstable();
        [times[times.len() / 2], times[times.len() * 99 / 100], times[times.len() * 999 / 1000]]
    };
    let mut next = rows.iter().cycle();
    let mut write = |count: &mut usize| {
        let (started, mut longest, mut publishing) = (Instant::now(), Duration::ZERO, Vec::new());
        while started.elapsed() < Duration::from_secs(1) {
            let cycle = Instant::now();
            while cycle.elapsed() < changing {
                live.update(|routes| {
                    for _ in 0..100 {
                        let prefix = *next.next().expect("it cycles");
                        match *count % 3 {
                            0 => _ = routes.remove(prefix),
                            _ => _ = routes.insert(prefix, (*count % 5000) as u32),
                        }
                        *count += 1;
                    }
                });
            }
            let changed = cycle.elapsed();
            live.publish();
            publishing.push((cycle.elapsed() - changed).as_secs_f64() * 1e3);
            longest = longest.max(cycle.elapsed());
        }
        (started.elapsed().as_secs_f64(), longest.as_secs_f64() * 1e3, median(publishing))
    };
    let (mut idle, mut busy, mut rates, mut longest, mut publishing) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let done = AtomicBool::new(false);
        idle.push(std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(&done));
            std::thread::sleep(Duration::from_millis(700));
            done.store(true, Ordering::Relaxed);
            reader.join().expect("a reader")
        }));
        let done = AtomicBool::new(false);
        busy.push(std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(&done));
            let mut count = 0;
            let (seconds, slowest, publish) = write(&mut count);
            done.store(true, Ordering::Relaxed);
            rates.push(count as f64 / seconds / 1e6);
            longest.push(slowest);
            publishing.push(publish);
            reader.join().expect("a reader")
        }));
    }
    let slowest = longest.iter().copied().fold(0.0, f64::max);
    println!(
        "\nlive table, published after {changing:?}: {:.2} M updates/s; seen within {:.1} ms (median round), {slowest:.1} at most; publishing {:.2} ms",
        median(rates),
        median(longest),
        median(publishing),
    );
    println!(
        "  snapshot {:.2} MiB, writer {:.2} MiB",
        live.load().memory_bytes() as f64 / (1 << 20) as f64,
        live.memory_bytes() as f64 / (1 << 20) as f64
    );
    for (percentile, name) in ["p50", "p99", "p99.9"].iter().enumerate() {
        let of = |times: &[[u32; 3]]| times.iter().map(|times| f64::from(times[percentile])).collect();
        let ratios = idle
            .iter()
            .zip(&busy)
            .map(|(idle, busy)| f64::from(busy[percentile]) / f64::from(idle[percentile]));
        println!(
            "  16 look-ups, {name:<6} idle {:>6.0} ns, under updates {:>6.0} ns, {:.2} times",
            median(of(&idle)),
            median(of(&busy)),
            median(ratios.collect())
        );
    }
}

fn nodes() {
    let names: Vec<String> = (0..100).map(|index| format!("node-{index}")).collect();
    let nodes: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let (maglev, rendezvous) = (Maglev::new(&nodes).expect("nodes"), Rendezvous::new(&nodes).expect("nodes"));
    let mut ring = hashring::HashRing::new();
    ring.batch_add(names.clone());
    let peer = maglev::Maglev::new(names.clone());
    let contenders: [(&str, Box<dyn Fn(u64) -> usize>); 4] = [
        ("Maglev", Box::new(move |key| maglev.pick(key))),
        ("rendezvous", Box::new(move |key| rendezvous.pick(key))),
        ("maglev 0.2", Box::new(move |key| peer.get(&key).map_or(0, String::len))),
        ("hashring 0.3", Box::new(move |key| ring.get(&key).map_or(0, String::len))),
    ];
    let mut times = vec![Vec::new(); contenders.len()];
    for _ in 0..ROUNDS {
        for ((_, pick), times) in contenders.iter().zip(&mut times) {
            times.push(nanos(1 << 18, || {
                black_box((0..1 << 18).map(pick).sum::<usize>());
            }));
        }
    }
    println!("\n100 nodes, ns a pick, median of {ROUNDS} interleaved rounds");
    for ((name, _), times) in contenders.iter().zip(times) {
        println!("  {name:<14}{:>8.1}", median(times));
    }
}
