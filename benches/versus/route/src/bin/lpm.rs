//! Longest-prefix match on the full table of both families: ours beside prefix-trie, iptrie, treebitmap, poptrie and
//! a DIR-24-8 written here, which is the line that hardware draws. Rounds are interleaved; medians are printed.

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
    /// Each address depends on what was found before.
    chase: Box<dyn Fn(&[A]) -> u64 + 'a>,
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
            sum: Box::new(|addresses| {
                addresses.iter().map(|&$address| u64::from($find)).sum()
            }),
            chase: Box::new(|addresses| {
                let mut last = 0;
                for &address in addresses {
                    // No value has its highest bit set: zero, but only after the last look-up is done, and only we know.
                    let $address = address ^ <$bits>::from(black_box(last) >> 31);
                    last = $find;
                }
                last.into()
            }),
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
            times[columns - 1].push(nanos(zipf.len(), || {
                black_box((contender.chase)(zipf));
            }));
        }
    }
    for (contender, times) in contenders.iter().zip(times) {
        print!("{:<28}{:>9.1}{:>8.2}", contender.name, contender.build_ms, contender.mib);
        for times in times {
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
    let (v4, v6) = full_table();
    println!("{} IPv4 and {} IPv6 prefixes", v4.len(), v6.len());
    let mut numbers = Numbers(7);
    ipv4(&v4, &mut numbers);
    ipv6(&v6, &mut numbers);
}

fn ipv4(table: &[(u32, u8, u32)], numbers: &mut Numbers) {
    let inside: Vec<u32> = table
        .iter()
        .map(|&(first, length, _)| first | (numbers.next() as u32).checked_shr(length.into()).unwrap_or(0))
        .collect();
    let mut each = inside.clone();
    numbers.shuffle(&mut each);
    let zipf: Vec<u32> = zipf(table.len(), LOOKUPS, numbers).into_iter().map(|index| inside[index]).collect();

    let prefixes = || {
        table.iter().map(|&(first, length, value)| {
            (Prefix::new(Ipv4Addr::from_bits(first).into(), length).unwrap(), value)
        })
    };
    let ours = built(|| prefixes().collect::<PrefixTable<u32>>().snapshot());
    let editable = built(|| prefixes().collect::<PrefixTable<u32>>());
    println!("PrefixTable alone: {:.1} ms, {:.2} MiB", editable.1, editable.2);
    let distinct = built(|| {
        (0..)
            .zip(prefixes())
            .map(|(value, (prefix, _))| (prefix, value))
            .collect::<PrefixTable<u32>>()
            .snapshot()
    });
    println!("snapshot with a value of its own for each prefix: {:.1} ms, {:.2} MiB", distinct.1, distinct.2);
    let snapshot = ours.0.clone();
    let net = |first, length| Ipv4Net::new(Ipv4Addr::from_bits(first), length).unwrap();
    let prefix_trie = built(|| {
        table
            .iter()
            .map(|&(first, length, value)| (net(first, length), value))
            .collect::<prefix_trie::PrefixMap<_, u32>>()
    });
    let iptrie = built(|| {
        let mut map = RTrieMap::<Ipv4Prefix, u32>::with_root(0);
        for &(first, length, value) in table {
            map.insert(Ipv4Prefix::new(Ipv4Addr::from_bits(first), length).unwrap(), value);
        }
        map.compress()
    });
    let treebitmap = built(|| {
        let mut map = IpLookupTable::new();
        for &(first, length, value) in table {
            map.insert(Ipv4Addr::from_bits(first), length.into(), value);
        }
        map
    });
    let poptrie = built(|| {
        table
            .iter()
            .map(|&(first, length, value)| ((Ipv4Addr::from_bits(first), length), value))
            .collect::<poptrie::Poptrie<_, u32>>()
    });
    let dir24 = built(|| Dir24::new(table));
    let contenders = [
        contender!("pop-route", u32, ours, map, |a| map
            .longest_v4(Ipv4Addr::from_bits(a))
            .map_or(0, |(_, &value)| value)),
        Contender {
            name: "pop-route, batch",
            build_ms: f64::NAN,
            mib: f64::NAN,
            sum: Box::new(move |addresses: &[u32]| {
                let mut total = 0;
                let mut found = [None; 256];
                let mut asked = [Ipv4Addr::UNSPECIFIED; 256];
                for chunk in addresses.chunks(256) {
                    for (asked, &address) in asked.iter_mut().zip(chunk) {
                        *asked = Ipv4Addr::from_bits(address);
                    }
                    snapshot.get_batch_v4(&asked[..chunk.len()], &mut found[..chunk.len()]);
                    total += found[..chunk.len()]
                        .iter()
                        .map(|found| found.map_or(0, |(_, &value)| u64::from(value)))
                        .sum::<u64>();
                }
                total
            }),
            chase: Box::new(|_| 0),
        },
        contender!("prefix-trie", u32, prefix_trie, map, |a| map
            .get_lpm(&net(a, 32))
            .map_or(0, |(_, &value)| value)),
        contender!("iptrie (LC)", u32, iptrie, map, |a| *map.lookup(&Ipv4Addr::from_bits(a)).1),
        contender!("treebitmap", u32, treebitmap, map, |a| map
            .longest_match(Ipv4Addr::from_bits(a))
            .map_or(0, |(_, _, &value)| value)),
        contender!("poptrie", u32, poptrie, map, |a| map
            .lookup(Ipv4Addr::from_bits(a))
            .copied()
            .unwrap_or(0)),
        contender!("DIR-24-8", u32, dir24, map, |a| map.get(a)),
    ];
    agree(&contenders, &each);
    show("IPv4", &contenders, &[("each prefix", &each), ("Zipf", &zipf)]);
}

fn ipv6(table: &[(u128, u8, u32)], numbers: &mut Numbers) {
    let inside: Vec<u128> = table
        .iter()
        .map(|&(first, length, _)| {
            let random = u128::from(numbers.next()) << 64 | u128::from(numbers.next());
            first | random.checked_shr(length.into()).unwrap_or(0)
        })
        .collect();
    let mut each = inside.clone();
    numbers.shuffle(&mut each);
    let zipf: Vec<u128> =
        zipf(table.len(), LOOKUPS, numbers).into_iter().map(|index| inside[index]).collect();

    let ours = built(|| {
        table
            .iter()
            .map(|&(first, length, value)| {
                (Prefix::new(Ipv6Addr::from_bits(first).into(), length).unwrap(), value)
            })
            .collect::<PrefixTable<u32>>()
            .snapshot()
    });
    let snapshot = ours.0.clone();
    let net = |first, length| Ipv6Net::new(Ipv6Addr::from_bits(first), length).unwrap();
    let prefix_trie = built(|| {
        table
            .iter()
            .map(|&(first, length, value)| (net(first, length), value))
            .collect::<prefix_trie::PrefixMap<_, u32>>()
    });
    let iptrie = built(|| {
        let mut map = RTrieMap::<Ipv6Prefix, u32>::with_root(0);
        for &(first, length, value) in table {
            map.insert(Ipv6Prefix::new(Ipv6Addr::from_bits(first), length).unwrap(), value);
        }
        map.compress()
    });
    let treebitmap = built(|| {
        let mut map = IpLookupTable::new();
        for &(first, length, value) in table {
            map.insert(Ipv6Addr::from_bits(first), length.into(), value);
        }
        map
    });
    let poptrie = built(|| {
        table
            .iter()
            .map(|&(first, length, value)| ((Ipv6Addr::from_bits(first), length), value))
            .collect::<poptrie::Poptrie<_, u32>>()
    });
    let contenders = [
        contender!("pop-route", u128, ours, map, |a| map
            .longest_v6(Ipv6Addr::from_bits(a))
            .map_or(0, |(_, &value)| value)),
        Contender {
            name: "pop-route, batch",
            build_ms: f64::NAN,
            mib: f64::NAN,
            sum: Box::new(move |addresses: &[u128]| {
                let mut total = 0;
                let mut found = [None; 256];
                let mut asked = [Ipv6Addr::UNSPECIFIED; 256];
                for chunk in addresses.chunks(256) {
                    for (asked, &address) in asked.iter_mut().zip(chunk) {
                        *asked = Ipv6Addr::from_bits(address);
                    }
                    snapshot.get_batch_v6(&asked[..chunk.len()], &mut found[..chunk.len()]);
                    total += found[..chunk.len()]
                        .iter()
                        .map(|found| found.map_or(0, |(_, &value)| u64::from(value)))
                        .sum::<u64>();
                }
                total
            }),
            chase: Box::new(|_| 0),
        },
        contender!("prefix-trie", u128, prefix_trie, map, |a| map
            .get_lpm(&net(a, 128))
            .map_or(0, |(_, &value)| value)),
        contender!("iptrie (LC)", u128, iptrie, map, |a| *map.lookup(&Ipv6Addr::from_bits(a)).1),
        contender!("treebitmap", u128, treebitmap, map, |a| map
            .longest_match(Ipv6Addr::from_bits(a))
            .map_or(0, |(_, _, &value)| value)),
        contender!("poptrie", u128, poptrie, map, |a| map
            .lookup(Ipv6Addr::from_bits(a))
            .copied()
            .unwrap_or(0)),
    ];
    agree(&contenders, &each);
    show("IPv6", &contenders, &[("each prefix", &each), ("Zipf", &zipf)]);
}
