//! Longest-prefix match on the full table of both families: ours beside prefix-trie, iptrie, treebitmap, poptrie and
//! a DIR-24-8 written here, which is the line that hardware draws. Rounds are interleaved; medians are printed.
//!
//! `lpm [ipv4] [ipv6] [build]`: all of it, or a part.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use ip_network_table_deps_treebitmap::IpLookupTable;
use ipnet::{Ipv4Net, Ipv6Net};
use iptrie::map::RTrieMap;
use iptrie::{Ipv4Prefix, Ipv6Prefix};
use pop_route::{Prefix, PrefixTable};
use versus_route::{Counting, Numbers, full_table, live_bytes, median, nanos, zipf};

#[global_allocator]
static COUNTING: Counting = Counting;

const ROUNDS: usize = 7;
const LOOKUPS: usize = 1 << 20;
const BATCH: usize = 256;

/// Gupta, Lin, McKeown 1998: 2^24 entries, and blocks of 256 below the few that are divided.
struct Dir24 {
    direct: Vec<u32>,
    below: Vec<u32>,
}

impl Dir24 {
    const BELOW: u32 = 1 << 31;

    fn new(table: &[(u32, u8, u32)]) -> Self {
        let mut table: Vec<_> = table.to_vec();
        table.sort_by_key(|&(_, length, _)| length);
        let (mut direct, mut below) = (vec![0; 1 << 24], Vec::new());
        for (first, length, value) in table {
            if length <= 24 {
                let slot = (first >> 8) as usize;
                direct[slot..slot + (1 << (24 - length))].fill(value);
                continue;
            }
            let slot = &mut direct[(first >> 8) as usize];
            if *slot & Self::BELOW == 0 {
                below.extend([*slot; 256]);
                *slot = Self::BELOW | (below.len() as u32 / 256 - 1);
            }
            let place = ((*slot & !Self::BELOW) as usize) * 256 + (first & 255) as usize;
            below[place..place + (1 << (32 - length))].fill(value);
        }
        Self { direct, below }
    }

    #[inline]
    fn get(&self, address: u32) -> u32 {
        match self.direct[(address >> 8) as usize] {
            entry if entry & Self::BELOW == 0 => entry,
            entry => self.below[((entry & !Self::BELOW) << 8 | address & 255) as usize],
        }
    }
}

/// Something that looks addresses up.
struct Contender<'a, A> {
    name: &'static str,
    build_ms: f64,
    mib: f64,
    /// The sum of what is found.
    sum: Box<dyn Fn(&[A]) -> u64 + 'a>,
    /// Each address depends on what was found before; not for a batch.
    chase: Option<Box<dyn Fn(&[A]) -> u64 + 'a>>,
}

/// Builds something, and says how long that took and what it weighs.
fn built<T>(build: impl FnOnce() -> T) -> (T, f64, f64) {
    let before = live_bytes();
    let started = std::time::Instant::now();
    let built = build();
    let elapsed = started.elapsed().as_secs_f64() * 1e3;
    (built, elapsed, (live_bytes() as f64 - before as f64) / (1 << 20) as f64)
}

macro_rules! contender {
    ($name:expr, $bits:ty, $built:expr, $table:ident, |$address:ident| $find:expr) => {{
        let (ref $table, build_ms, mib) = $built;
        Contender {
            name: $name,
            build_ms,
            mib,
            sum: Box::new(|addresses| addresses.iter().map(|&$address| u64::from($find)).sum()),
            chase: Some(Box::new(|addresses| {
                let mut last = 0;
                for &address in addresses {
                    // No value has its highest bit set: zero, but only after the last look-up is done, and only we know.
                    let $address = address ^ <$bits>::from(black_box(last) >> 31);
                    last = $find;
                }
                last.into()
            })),
        }
    }};
}

fn show<A>(title: &str, contenders: &[Contender<'_, A>], workloads: &[(&str, &[A])]) {
    println!("\n{title}: ns a look-up, median of {ROUNDS} interleaved rounds");
    print!("{:<28}{:>9}{:>8}", "", "build ms", "MiB");
    for (name, _) in workloads {
        print!("{name:>14}");
    }
    println!("{:>14}", "dependent");
    let columns = workloads.len() + 1;
    let mut times = vec![vec![Vec::new(); columns]; contenders.len()];
    for _ in 0..ROUNDS {
        for (contender, times) in contenders.iter().zip(&mut times) {
            for ((_, addresses), times) in workloads.iter().zip(times.iter_mut()) {
                times.push(nanos(addresses.len(), || {
                    black_box((contender.sum)(addresses));
                }));
            }
            let zipf = workloads.last().expect("one").1;
            if let Some(chase) = &contender.chase {
                times[columns - 1].push(nanos(zipf.len(), || {
                    black_box(chase(zipf));
                }));
            }
        }
    }
    for (contender, times) in contenders.iter().zip(times) {
        print!("{:<28}{:>9.1}{:>8.2}", contender.name, contender.build_ms, contender.mib);
        for times in times.into_iter().filter(|times| !times.is_empty()) {
            print!("{:>14.1}", median(times));
        }
        println!();
    }
}

fn agree<A>(contenders: &[Contender<'_, A>], addresses: &[A]) {
    let expected = (contenders[0].sum)(addresses);
    for contender in contenders {
        assert_eq!((contender.sum)(addresses), expected, "{} finds something else", contender.name);
    }
}

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let (v4, v6) = full_table();
    println!("{} IPv4 and {} IPv6 prefixes", v4.len(), v6.len());
    let mut numbers = Numbers(7);
    if wanted("build") {
        builds(&v4);
    }
    if wanted("ipv4") {
        let dir24 = built(|| Dir24::new(&v4));
        ipv4(&v4, &mut numbers, vec![contender!("DIR-24-8", u32, dir24, map, |a| map.get(a))]);
    }
    if wanted("ipv6") {
        ipv6(&v6, &mut numbers, Vec::new());
    }
}

/// One family beside its peers: whichever it is, the same is asked of everybody.
macro_rules! family {
    ($name:ident, $bits:ty, $address:ident, $net:ident, $prefix:ident, $longest:ident, $batch:ident) => {
        fn $name<'a>(
            table: &'a [($bits, u8, u32)],
            numbers: &mut Numbers,
            further: Vec<Contender<'a, $bits>>,
        ) {
            let noise = |numbers: &mut Numbers| -> $bits {
                (u128::from(numbers.next()) << 64 | u128::from(numbers.next())) as $bits
            };
            let inside: Vec<$bits> = table
                .iter()
                .map(|&(first, length, _)| first | noise(numbers).checked_shr(length.into()).unwrap_or(0))
                .collect();
            let mut each = inside.clone();
            numbers.shuffle(&mut each);
            let zipf: Vec<$bits> =
                zipf(table.len(), LOOKUPS, numbers).into_iter().map(|index| inside[index]).collect();

            let net = |first, length| $net::new($address::from_bits(first), length).unwrap();
            let ours = built(|| {
                let prefix = |first, length| Prefix::new($address::from_bits(first).into(), length).unwrap();
                let rows = table.iter().map(|&(first, length, value)| (prefix(first, length), value));
                rows.collect::<PrefixTable<u32>>().snapshot()
            });
            let snapshot = ours.0.clone();
            let prefix_trie = built(|| {
                let rows = table.iter().map(|&(first, length, value)| (net(first, length), value));
                rows.collect::<prefix_trie::PrefixMap<_, u32>>()
            });
            let iptrie = built(|| {
                let mut map = RTrieMap::<$prefix, u32>::with_root(0);
                for &(first, length, value) in table {
                    map.insert($prefix::new($address::from_bits(first), length).unwrap(), value);
                }
                map.compress()
            });
            let treebitmap = built(|| {
                let mut map = IpLookupTable::new();
                for &(first, length, value) in table {
                    map.insert($address::from_bits(first), length.into(), value);
                }
                map
            });
            let poptrie = built(|| {
                let rows =
                    table.iter().map(|&(first, length, value)| (($address::from_bits(first), length), value));
                rows.collect::<poptrie::Poptrie<_, u32>>()
            });
            let batch = Contender {
                name: "pop-route, batch",
                build_ms: ours.1,
                mib: ours.2,
                sum: Box::new(move |addresses: &[$bits]| {
                    let mut total = 0;
                    let mut found = [None; BATCH];
                    let mut asked = [$address::UNSPECIFIED; BATCH];
                    for chunk in addresses.chunks(BATCH) {
                        for (asked, &address) in asked.iter_mut().zip(chunk) {
                            *asked = $address::from_bits(address);
                        }
                        let found = &mut found[..chunk.len()];
                        snapshot.$batch(&asked[..chunk.len()], found);
                        let values =
                            found.iter().map(|found| found.map_or(0, |(_, &value)| u64::from(value)));
                        total += values.sum::<u64>();
                    }
                    total
                }),
                chase: None,
            };
            let mut contenders = vec![
                contender!("pop-route", $bits, ours, map, |a| map
                    .$longest($address::from_bits(a))
                    .map_or(0, |(_, &value)| value)),
                batch,
                contender!("prefix-trie", $bits, prefix_trie, map, |a| map
                    .get_lpm(&net(a, <$bits>::BITS as u8))
                    .map_or(0, |(_, &value)| value)),
                contender!("iptrie (LC)", $bits, iptrie, map, |a| *map.lookup(&$address::from_bits(a)).1),
                contender!("treebitmap", $bits, treebitmap, map, |a| map
                    .longest_match($address::from_bits(a))
                    .map_or(0, |(_, _, &value)| value)),
                contender!("poptrie", $bits, poptrie, map, |a| map
                    .lookup($address::from_bits(a))
                    .copied()
                    .unwrap_or(0)),
            ];
            contenders.extend(further);
            agree(&contenders, &each);
            show(stringify!($name), &contenders, &[("each prefix", &each), ("Zipf", &zipf)]);
        }
    };
}

family!(ipv4, u32, Ipv4Addr, Ipv4Net, Ipv4Prefix, longest_v4, get_batch_v4);
family!(ipv6, u128, Ipv6Addr, Ipv6Net, Ipv6Prefix, longest_v6, get_batch_v6);

/// The time to build, and what is built: values as they are, and a value of its own for every prefix.
fn builds(table: &[(u32, u8, u32)]) {
    let rows: Vec<(Prefix, Ipv4Net, u32)> = table
        .iter()
        .map(|&(first, length, value)| {
            let address = Ipv4Addr::from_bits(first);
            (Prefix::new(address.into(), length).unwrap(), Ipv4Net::new(address, length).unwrap(), value)
        })
        .collect();
    let names = ["PrefixTable", "its snapshot", "prefix-trie", "DIR-24-8"];
    for (title, distinct) in [("values as they are", false), ("all values distinct", true)] {
        let rows: Vec<(Prefix, Ipv4Net, u32)> = (0..)
            .zip(&rows)
            .map(|(index, &(prefix, net, value))| (prefix, net, if distinct { index } else { value }))
            .collect();
        let mut times = vec![Vec::new(); names.len()];
        let mut mib = [0.0; 4];
        for _ in 0..ROUNDS {
            let ours = built(|| {
                rows.iter().map(|&(prefix, _, value)| (prefix, value)).collect::<PrefixTable<u32>>()
            });
            let snapshot = built(|| ours.0.snapshot());
            let peer = built(|| {
                rows.iter().map(|&(_, net, value)| (net, value)).collect::<prefix_trie::PrefixMap<_, u32>>()
            });
            let line = built(|| Dir24::new(table));
            mib = [ours.2, snapshot.2, peer.2, line.2];
            for (times, time) in times.iter_mut().zip([ours.1, snapshot.1, peer.1, line.1]) {
                times.push(time);
            }
        }
        println!("\nbuilding, {title}: ms, median of {ROUNDS} interleaved rounds; MiB");
        for ((name, times), mib) in names.iter().zip(times).zip(mib) {
            println!("{name:<28}{:>9.1}{mib:>8.2}", median(times));
        }
    }
}
