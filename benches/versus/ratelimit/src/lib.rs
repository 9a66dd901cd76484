//! What the programs of this package share: interleaved rounds, medians, and a table.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rounds of each contestant; the table shows medians.
pub const ROUNDS: usize = 7;

/// Numbers without a pattern, the same for every contestant.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// One thing to time: its name, and a closure that does `count` operations on a thread.
pub struct Contestant<'a> {
    pub name: &'static str,
    pub run: Box<dyn Fn(usize, usize) + Sync + 'a>,
}

impl<'a> Contestant<'a> {
    pub fn new(name: &'static str, run: impl Fn(usize, usize) + Sync + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Wall nanoseconds for each operation of a thread: `threads` threads do `count` each, at once.
fn nanos(contestant: &Contestant<'_>, threads: usize, count: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 1..threads {
            let run = &contestant.run;
            scope.spawn(move || run(thread, count));
        }
        (contestant.run)(0, count);
    });
    start.elapsed().as_nanos() as f64 / (count * threads) as f64
}

/// Times all contestants in turn, round after round, and prints medians and ratios to the first one: nanoseconds of
/// wall time for each operation, all threads together.
pub fn compare(title: &str, threads: usize, count: usize, contestants: &[Contestant<'_>]) {
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..=ROUNDS {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            let nanos = nanos(contestant, threads, count);
            // The first round warms up.
            if round > 0 {
                times.push(nanos);
            }
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    println!("{title}, {threads} thread{}", if threads == 1 { "" } else { "s" });
    for (contestant, nanos) in contestants.iter().zip(&medians) {
        println!(
            "  {:34} {nanos:8.2} ns   x {:5.2} of {}",
            contestant.name,
            medians[0] / nanos,
            contestants[0].name
        );
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Resident memory of this process in bytes.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Runs `work` `count` times.
pub fn repeat(count: usize, mut work: impl FnMut(usize) -> bool) {
    for step in 0..count {
        black_box(work(step));
    }
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
