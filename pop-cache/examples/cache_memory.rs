//! What ten million entries take, by the allocator, beside the formula of the README:
//! `cargo run --release --example cache_memory [ENTRIES]`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use pop_cache::{Cache, InlineCache};

/// The system's allocator, and how much of it is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it is.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Fills a cache, then goes on for a quarter more keys than fit, and says what it holds and takes.
fn fill<C>(
    name: &str,
    entries: u64,
    pair: usize,
    new: impl FnOnce() -> C,
    put: impl Fn(&C, u64),
    len: impl Fn(&C) -> usize,
) {
    let (before, start) = (IN_USE.load(Ordering::Relaxed), Instant::now());
    let cache = new();
    (0..entries + entries / 4).for_each(|key| put(&cache, key));
    let took = start.elapsed();
    let held = len(&cache);
    let bytes = (IN_USE.load(Ordering::Relaxed) - before) as f64;
    let beyond = bytes / held as f64 - pair as f64;
    let nanos = took.as_nanos() as f64 / (entries + entries / 4) as f64;
    println!("{name:<28} {held:>10} {:>8.1} MiB {beyond:>8.1} {nanos:>8.0}", bytes / f64::from(1 << 20));
}

fn main() {
    let entries: u64 = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(10_000_000);
    let ring = 4.0 * (entries * 3 / 4).next_power_of_two() as f64 / entries as f64;
    println!(
        "{entries} entries; the README's formula: 8 + 64 / 3 + {ring:.1} = {:.1} bytes beyond key and value",
        8.0 + 64.0 / 3.0 + ring
    );
    println!("{:<28} {:>10} {:>12} {:>8} {:>8}", "", "entries", "memory", "beyond", "ns each");
    fill(
        "Cache<u64, ()>",
        entries,
        8,
        || Cache::<u64, ()>::builder(entries).entries(entries as usize).build(),
        |cache, key| cache.insert(key, ()).expect("it fits"),
        Cache::len,
    );
    fill(
        "Cache<u64, u64>",
        entries,
        16,
        || Cache::<u64, u64>::builder(entries).build(),
        |cache, key| cache.insert(key, key).expect("it fits"),
        Cache::len,
    );
    fill(
        "InlineCache<u64, u64>",
        entries,
        16,
        || InlineCache::<u64, u64>::new(entries as usize),
        |cache, key| {
            let _before = cache.insert(key, key);
        },
        InlineCache::len,
    );
    fill(
        "InlineCache<u32, u32>",
        entries,
        8,
        || InlineCache::<u32, u32>::new(entries as usize),
        |cache, key| {
            let _before = cache.insert(key as u32, !key as u32);
        },
        InlineCache::len,
    );
}
