//! How long single operations take, beside every peer, in one process, interleaved: the tail that throughput hides.
//!
//! ```text
//! latency [--rounds N] [--threads N] [--peer NAME,..]
//! ```
//!
//! Read-through of a Zipf 1.0 load over a million keys, a tenth of them resident. Each operation, a `get` with the
//! `insert` after a miss, is timed by itself with the time stamp counter; the cost of reading it is taken off. A round
//! measures every peer once, in an order that turns with the round; the table shows medians over the rounds of each
//! quantile. On a machine with other work the rare quantiles are the scheduler's: compare rows, not runs.

use std::hint::black_box;
use std::sync::Barrier;

use quanta::Clock;
use versus_cache::contenders::{Foyer, Moka, Peer, Pop, PopInline, Quick, Scc, TinyUfo};
use versus_cache::workload::{key, zipf};

const KEYS: u32 = 1_000_000;
const CAPACITY: usize = 100_000;
/// Operations a thread does in one measurement.
const OPERATIONS: usize = 1 << 19;
/// Of a thousand, or of a million the last two.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// Reads through, and notes what each operation took, in nanoseconds.
fn read_through<P: Peer>(peer: &P, ranks: &[u32], clock: &Clock, cost: u64) -> Vec<u32> {
    let mut took = Vec::with_capacity(ranks.len());
    for &rank in ranks {
        let key = key(rank);
        let start = clock.raw();
        if black_box(peer.get(key)).is_none() {
            peer.insert(key, key);
        }
        let end = clock.raw();
        took.push(clock.delta_as_nanos(start, end).saturating_sub(cost) as u32);
    }
    took
}

/// Nanoseconds between two readings of the counter with nothing between them.
fn cost_of_reading(clock: &Clock) -> u64 {
    let mut costs: Vec<u64> = (0..10_001)
        .map(|_| {
            let start = clock.raw();
            clock.delta_as_nanos(start, clock.raw())
        })
        .collect();
    costs.sort_unstable();
    costs[costs.len() / 2]
}

trait Runner {
    fn name(&self) -> &'static str;
    fn measure(&self, streams: &[Vec<u32>], clock: &Clock, cost: u64) -> Vec<u32>;
}

struct Ready<P>(P);

impl<P: Peer> Runner for Ready<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn measure(&self, streams: &[Vec<u32>], clock: &Clock, cost: u64) -> Vec<u32> {
        let barrier = Barrier::new(streams.len());
        std::thread::scope(|scope| {
            let threads: Vec<_> = streams
                .iter()
                .map(|ranks| {
                    scope.spawn(|| {
                        barrier.wait();
                        read_through(&self.0, ranks, clock, cost)
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a measuring thread")).collect()
        })
    }
}

fn ready<P: Peer + 'static>(warm_up: &[u32], wanted: &[String]) -> Option<Box<dyn Runner>> {
    (wanted.is_empty() || wanted.iter().any(|name| name == P::NAME)).then(|| {
        let peer = P::new(CAPACITY);
        for &rank in warm_up {
            let key = key(rank);
            if peer.get(key).is_none() {
                peer.insert(key, key);
            }
        }
        Box::new(Ready(peer)) as Box<dyn Runner>
    })
}

fn median(mut values: Vec<u32>) -> u32 {
    values.sort_unstable();
    values[values.len() / 2]
}

fn main() {
    let (mut rounds, mut threads, mut wanted) = (7, 2, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--rounds" => rounds = value.parse().expect("--rounds N"),
            "--threads" => threads = value.parse().expect("--threads N"),
            "--peer" => wanted = value.split(',').map(str::to_owned).collect(),
            other => panic!("unknown argument {other}: latency [--rounds N] [--threads N] [--peer NAME,..]"),
        }
    }
    let clock = Clock::new();
    let cost = cost_of_reading(&clock);
    let warm_up = zipf(KEYS, 1.0, 2 * OPERATIONS, 99);
    let runners: Vec<Box<dyn Runner>> = [
        ready::<Pop>(&warm_up, &wanted),
        ready::<PopInline>(&warm_up, &wanted),
        ready::<Scc>(&warm_up, &wanted),
        ready::<Quick>(&warm_up, &wanted),
        ready::<Moka>(&warm_up, &wanted),
        ready::<TinyUfo>(&warm_up, &wanted),
        ready::<Foyer>(&warm_up, &wanted),
    ]
    .into_iter()
    .flatten()
    .collect();

    let mut results: Vec<[Vec<u32>; QUANTILES.len()]> = runners.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        let streams: Vec<_> =
            (0..threads).map(|thread| zipf(KEYS, 1.0, OPERATIONS, (round * 64 + thread) as u64)).collect();
        for turn in 0..runners.len() {
            let which = (turn + round) % runners.len();
            let mut took = runners[which].measure(&streams, &clock, cost);
            took.sort_unstable();
            for ((_, quantile), values) in QUANTILES.iter().zip(&mut results[which]) {
                values.push(took[(took.len() as f64 * quantile) as usize]);
            }
        }
    }
    print!("{threads} threads, {rounds} rounds, ns");
    QUANTILES.iter().for_each(|(name, _)| print!(" {name:>8}"));
    println!();
    for (runner, quantiles) in runners.iter().zip(results) {
        print!("{:<24}", runner.name());
        quantiles.into_iter().for_each(|values| print!(" {:>8}", median(values)));
        println!();
    }
}
