//! Operations per second beside every peer, in one process, interleaved.
//!
//! ```text
//! throughput [--rounds N] [--threads 1,2] [--workload NAME,..] [--peer NAME,..]
//! ```
//!
//! A round measures every peer once, in an order that turns with the round; the table shows medians, and the median
//! of the ratios to `quick_cache` within a round. A ratio above 1 is faster.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use versus_cache::contenders::{Foyer, Moka, Papaya, Peer, Pop, PopInline, Quick, Scc, TinyUfo};
use versus_cache::workload::{key, uniform, zipf};

/// Distinct keys of every workload.
const KEYS: u32 = 1_000_000;
/// Operations a thread does in one measurement.
const OPERATIONS: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Workload {
    /// Every key resident, each as likely.
    HitsUniform,
    /// Every key resident, Zipf 1.0.
    HitsZipf,
    /// A tenth resident, Zipf 1.0: get, and insert after a miss.
    ReadThrough,
    /// A tenth resident, Zipf 1.0: of twenty operations one inserts, the others get.
    Mix,
}

impl Workload {
    const ALL: [(&'static str, Self); 4] = [
        ("hits-uniform", Self::HitsUniform),
        ("hits-zipf", Self::HitsZipf),
        ("read-through", Self::ReadThrough),
        ("mix-95-5", Self::Mix),
    ];

    fn ranks(self, seed: u64) -> Vec<u32> {
        match self {
            Self::HitsUniform => uniform(KEYS, OPERATIONS, seed),
            _ => zipf(KEYS, 1.0, OPERATIONS, seed),
        }
    }

    fn fits(self) -> bool {
        matches!(self, Self::HitsUniform | Self::HitsZipf)
    }

    /// Twice the keys where all must stay: peers that split their capacity lose none then.
    fn capacity(self) -> usize {
        if self.fits() { 2 * KEYS as usize } else { KEYS as usize / 10 }
    }

    fn fill<P: Peer>(self, peer: &P, warm_up: &[u32]) {
        if self.fits() {
            (0..KEYS).for_each(|rank| peer.insert(key(rank), 1));
        } else {
            Self::ReadThrough.run(peer, warm_up);
        }
    }

    /// Does the operations and counts the hits.
    fn run<P: Peer>(self, peer: &P, ranks: &[u32]) -> usize {
        let mut hits = 0;
        match self {
            Self::HitsUniform | Self::HitsZipf => {
                for &rank in ranks {
                    hits += usize::from(black_box(peer.get(key(rank))).is_some());
                }
            }
            Self::ReadThrough => {
                for &rank in ranks {
                    let key = key(rank);
                    match black_box(peer.get(key)) {
                        Some(_) => hits += 1,
                        None => peer.insert(key, key),
                    }
                }
            }
            Self::Mix => {
                for (turn, &rank) in ranks.iter().enumerate() {
                    let key = key(rank);
                    if turn % 20 == 0 {
                        peer.insert(key, key);
                    } else {
                        hits += usize::from(black_box(peer.get(key)).is_some());
                    }
                }
            }
        }
        hits
    }
}

struct Measured {
    nanos_per_operation: f64,
    hit_ratio: f64,
}

/// All threads start together; time runs until the last is done.
fn measure<P: Peer>(peer: &P, workload: Workload, streams: &[Vec<u32>]) -> Measured {
    let barrier = Barrier::new(streams.len());
    let results: Vec<(Instant, Instant, usize)> = std::thread::scope(|scope| {
        let threads: Vec<_> = streams
            .iter()
            .map(|ranks| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let start = Instant::now();
                    let hits = workload.run(peer, ranks);
                    (start, Instant::now(), hits)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a measuring thread")).collect()
    });
    let start = results.iter().map(|result| result.0).min().expect("a thread");
    let end = results.iter().map(|result| result.1).max().expect("a thread");
    let operations = streams.iter().map(Vec::len).sum::<usize>() as f64;
    Measured {
        nanos_per_operation: (end - start).as_nanos() as f64 / operations,
        hit_ratio: results.iter().map(|result| result.2).sum::<usize>() as f64 / operations,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

trait Runner {
    fn name(&self) -> &'static str;
    fn measure(&self, workload: Workload, streams: &[Vec<u32>]) -> Measured;
}

struct Ready<P>(P);

impl<P: Peer> Runner for Ready<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn measure(&self, workload: Workload, streams: &[Vec<u32>]) -> Measured {
        measure(&self.0, workload, streams)
    }
}

fn ready<P: Peer + 'static>(
    workload: Workload,
    warm_up: &[u32],
    wanted: &[String],
) -> Option<Box<dyn Runner>> {
    let is_wanted = wanted.is_empty() || P::NAME == Quick::NAME || wanted.iter().any(|name| name == P::NAME);
    is_wanted.then(|| {
        let peer = P::new(workload.capacity());
        workload.fill(&peer, warm_up);
        Box::new(Ready(peer)) as Box<dyn Runner>
    })
}

struct Arguments {
    rounds: usize,
    threads: Vec<usize>,
    workloads: Vec<String>,
    peers: Vec<String>,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments { rounds: 7, threads: vec![1, 2], workloads: vec![], peers: vec![] };
    let mut words = std::env::args().skip(1);
    let list = |words: Option<String>| -> Vec<String> {
        words.unwrap_or_default().split(',').map(str::to_owned).collect()
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => arguments.rounds = words.next().and_then(|n| n.parse().ok()).expect("--rounds N"),
            "--threads" => {
                arguments.threads =
                    list(words.next()).iter().map(|n| n.parse().expect("--threads N,N")).collect();
            }
            "--workload" => arguments.workloads = list(words.next()),
            "--peer" => arguments.peers = list(words.next()),
            other => panic!(
                "unknown argument {other}: throughput [--rounds N] [--threads 1,2] [--workload NAME,..] [--peer NAME,..]"
            ),
        }
    }
    arguments
}

fn main() {
    let arguments = arguments();
    let wanted = &arguments.peers;
    println!("workload        threads  peer          ns/op   x quick  hit ratio");
    for (name, workload) in Workload::ALL {
        if !arguments.workloads.is_empty() && !arguments.workloads.iter().any(|wanted| wanted == name) {
            continue;
        }
        let warm_up = workload.ranks(99);
        let mut runners: Vec<Box<dyn Runner>> = [
            ready::<Quick>(workload, &warm_up, wanted),
            ready::<Pop>(workload, &warm_up, wanted),
            ready::<PopInline>(workload, &warm_up, wanted),
            ready::<Scc>(workload, &warm_up, wanted),
            ready::<Moka>(workload, &warm_up, wanted),
            ready::<TinyUfo>(workload, &warm_up, wanted),
            ready::<Foyer>(workload, &warm_up, wanted),
        ]
        .into_iter()
        .flatten()
        .collect();
        if workload.fits() {
            runners.extend(ready::<Papaya>(workload, &warm_up, wanted));
        }
        for &threads in &arguments.threads {
            let mut results: Vec<Vec<Measured>> = runners.iter().map(|_| Vec::new()).collect();
            for round in 0..arguments.rounds {
                let streams: Vec<_> =
                    (0..threads).map(|thread| workload.ranks((round * 64 + thread) as u64)).collect();
                for turn in 0..runners.len() {
                    let which = (turn + round) % runners.len();
                    results[which].push(runners[which].measure(workload, &streams));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let reference: Vec<f64> =
                results[0].iter().map(|measured| measured.nanos_per_operation).collect();
            for (runner, measured) in runners.iter().zip(&results) {
                let nanos = median(measured.iter().map(|one| one.nanos_per_operation).collect());
                let ratio = median(
                    measured
                        .iter()
                        .zip(&reference)
                        .map(|(one, quick)| quick / one.nanos_per_operation)
                        .collect(),
                );
                let hits = median(measured.iter().map(|one| one.hit_ratio).collect());
                println!(
                    "{name:<15} {threads:>7}  {:<12} {nanos:>6.1} {ratio:>9.2} {:>9.2}%",
                    runner.name(),
                    hits * 100.0
                );
            }
        }
    }
}
