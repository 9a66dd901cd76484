//! A flood of 20 million distinct keys, with a thousand honest clients and twenty offenders in between.
//!
//! Real time, two threads. Each key may have ten a second and a burst of twenty. An honest client asks five times a
//! second, an offender as often as it can. Told are: memory, honest requests denied, what offenders got against what
//! they may have, the longest stall of a batch, and allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::QuantaClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use pop_ratelimit::{KeyedLimiter, Quota};
use versus_ratelimit::{Random, millis, resident};

const THREADS: u64 = 2;
const FLOOD: u64 = 20_000_000;
const HONEST: u64 = 1000;
const OFFENDERS: u64 = 20;
const BATCH: u64 = 64;
const RATE: u32 = 10;
const BURST: u32 = 20;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is the system's; only a counter is added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Default)]
struct Tally {
    honest_asked: u64,
    honest_denied: u64,
    offenders: [u64; OFFENDERS as usize],
    stall: Duration,
}

/// Half of the flood, with the honest clients and offenders of this thread.
fn play(thread: u64, check: &(impl Fn(u64) -> bool + Sync)) -> Tally {
    let mut tally = Tally::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (thread + 1));
    let start = Instant::now();
    let mine: Vec<u64> = (0..HONEST).filter(|client| client % THREADS == thread).collect();
    let mut asked = 0;
    for batch in 0..FLOOD / THREADS / BATCH {
        let before = Instant::now();
        for _ in 0..BATCH {
            // Keys of the flood are never those of clients, and never twice but by a chance of 2^-24.
            check(random.next() | 1 << 63);
        }
        for offender in (0..OFFENDERS).filter(|offender| offender % THREADS == thread) {
            tally.offenders[offender as usize] += u64::from(check(1_000_000 + offender));
        }
        tally.stall = tally.stall.max(before.elapsed());
        // Honest clients in turn, each five times a second.
        if batch % 16 == 0 {
            let due = (start.elapsed().as_secs_f64() * 5.0 * mine.len() as f64) as u64;
            while asked < due {
                tally.honest_asked += 1;
                tally.honest_denied += u64::from(!check(mine[asked as usize % mine.len()]));
                asked += 1;
            }
        }
    }
    tally
}

fn report(name: &str, make: impl FnOnce() -> Box<dyn Fn(u64) -> bool + Sync>) {
    let resident_before = resident();
    let check = make();
    check(0);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    let start = Instant::now();
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let check = &check;
                    move || play(thread, check)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    let asked: u64 = tallies.iter().map(|tally| tally.honest_asked).sum();
    let denied: u64 = tallies.iter().map(|tally| tally.honest_denied).sum();
    let allowance = f64::from(BURST) + f64::from(RATE) * seconds;
    let worst = (0..OFFENDERS as usize)
        .map(|offender| tallies.iter().map(|tally| tally.offenders[offender]).sum::<u64>())
        .max()
        .unwrap_or(0);
    let stall = tallies.iter().map(|tally| tally.stall).max().unwrap_or_default();
    println!(
        "{name:18} {:6.2} s {:6.1} ns/key  memory {:5} MiB  honest denied {denied} of {asked}  worst offender {:.3} of its allowance  longest batch {:.2} ms  allocations {allocations}",
        seconds,
        seconds * 1e9 / FLOOD as f64,
        (resident().saturating_sub(resident_before)) >> 20,
        worst as f64 / allowance,
        millis(stall),
    );
}

fn main() {
    // The same loop with nothing in it: what the machine itself stalls.
    report("control: nothing", || Box::new(|key| std::hint::black_box(key) == 0));
    let quota = Quota::per_second(u64::from(RATE)).burst(u64::from(BURST));
    report("KeyedLimiter", || {
        let limiter = KeyedLimiter::<u64>::new(quota, 64 << 20);
        Box::new(move |key| {
            let passed = limiter.check(&key, 1).is_allowed();
            debug_assert!(limiter.memory_bytes() == 64 << 20);
            passed
        })
    });
    report("governor + ahash", || {
        let [rate, burst] = [RATE, BURST].map(|number| NonZeroU32::new(number).expect("not zero"));
        let quota = governor::Quota::per_second(rate).allow_burst(burst);
        let store: DashMapStateStore<u64, ahash::RandomState> =
            dashmap::DashMap::with_hasher(ahash::RandomState::new());
        let limiter = governor::RateLimiter::<_, _, _, NoOpMiddleware<governor::clock::QuantaInstant>>::new(
            quota,
            store,
            QuantaClock::default(),
        );
        Box::new(move |key| limiter.check_key(&key).is_ok())
    });
}
