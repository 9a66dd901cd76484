//! Lock-freedom, shown: one thread is halted for good at the n-th access to an atomic, for every n it comes to, and the others
//! must come to their ends all the same, in a bounded number of steps. Were anyone to wait for the halted one, in a lock or
//! by spinning, the run would pass its bound. Run as `schedules.rs` says, with `--test halted`.
#![cfg(shuttle)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pop_cache::{Cache, Change, EntryOptions};
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, MaxSteps, Runner, thread};

#[allow(dead_code, reason = "the generator is all it needs")]
mod history;

use history::Random;

/// Steps of the halted thread; of each of the others.
const STEPS: u64 = 4;
/// Accesses to atomics that all threads may need together; they need a few thousands.
const ACCESSES_MAX: usize = 200_000;
/// The main thread is the first task, the one to be halted the second.
const HALTED: usize = 1;

/// Draws among the others evenly, and lets the halted thread run only up to its halt, or when nobody else can.
#[derive(Debug)]
struct Halting {
    random: Random,
    seed: u64,
    /// Accesses of the halted thread until it stops.
    until: u64,
    accesses: u64,
    /// How often it ran though it was to stop: only the main thread's wait for it explains that.
    stopped_for_others: Arc<AtomicU64>,
    runs: u64,
    runs_max: u64,
}

impl Scheduler for Halting {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.runs == self.runs_max {
            return None;
        }
        self.runs += 1;
        self.accesses = 0;
        self.random = Random::new(self.seed * 1000 + self.runs);
        Some(Schedule::new(self.runs))
    }

    fn next_task(&mut self, runnable: &[&Task], _: Option<TaskId>, _: bool) -> Option<TaskId> {
        let ids: Vec<TaskId> = runnable.iter().map(|task| task.id()).collect();
        let is_halted = |id: &&TaskId| usize::from(**id) == HALTED;
        if self.accesses < self.until
            && let Some(&halted) = ids.iter().find(is_halted)
            && self.random.below(3) > 0
        {
            self.accesses += 1;
            return Some(halted);
        }
        let others: Vec<TaskId> = ids.iter().filter(|id| !is_halted(id)).copied().collect();
        if others.is_empty() {
            // All others are done, but for the main thread, which waits.
            if self.accesses >= self.until {
                self.stopped_for_others.fetch_add(1, Ordering::SeqCst);
            }
            return ids.first().copied();
        }
        Some(others[self.random.below(others.len() as u64) as usize])
    }

    fn next_u64(&mut self) -> u64 {
        self.random.below(u64::MAX)
    }
}

fn act(cache: &Cache<u64, u64>, what: u64, key: u64) {
    match what {
        0 => drop(cache.remove(&key)),
        1 => drop(cache.insert_entry(key, 1, EntryOptions::new().tag(key))),
        2 => cache.invalidate_tag(key),
        3 => drop(cache.compute(key, |seen| if seen.is_some() { Change::Remove } else { Change::Put(3) })),
        4 => drop(cache.get(&key)),
        5 => drop(cache.get_ref(&key)),
        6 => drop(cache.iter().count()),
        7 => cache.resize(3 + key % 2),
        _ => drop(cache.insert(key, 2)),
    }
}

fn run(capacity: u64, keys: u64, what: u64, done: &Arc<AtomicU64>) {
    let cache: Cache<u64, u64> = Cache::builder(capacity).entries(1).build();
    (0..keys).for_each(|key| drop(cache.insert(key, 0)));
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let (cache, done) = (cache.clone(), Arc::clone(done));
            thread::spawn(move || {
                let mut random = Random::new(number);
                for step in 0..STEPS {
                    // The first, which is halted, does the same thing all the time.
                    let what = if number == 0 { what } else { random.below(12) };
                    act(&cache, what, (step + number) % keys);
                }
                if number > 0 {
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
}

#[test]
fn a_thread_halted_at_any_access_stops_nobody() {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.max_steps = MaxSteps::FailAfter(ACCESSES_MAX);
    for what in 0..9 {
        for (capacity, keys) in [(2, 4), (4, 3), (40, 12)] {
            // Halted later and later, until it comes to its end before it is halted.
            for until in 0.. {
                let (halted, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
                let scheduler = Halting {
                    random: Random::new(0),
                    seed: until,
                    until,
                    accesses: 0,
                    stopped_for_others: Arc::clone(&halted),
                    runs: 0,
                    runs_max: 3,
                };
                let ours = Arc::clone(&done);
                Runner::new(scheduler, config.clone()).run(move || run(capacity, keys, what, &ours));
                assert_eq!(done.load(Ordering::SeqCst), 3 * 2, "the others came to their ends");
                if halted.load(Ordering::SeqCst) == 0 {
                    assert!(until >= STEPS, "{what}: it was halted nowhere");
                    break;
                }
            }
        }
    }
}
