//! Bytes beyond key and value, an entry, by the allocator: a million entries from `u64` to `u64`, default builders.
//!
//! ```text
//! bytes [ENTRIES]
//! ```
//!
//! Each peer gets twice as many keys as it has room for, so that it is as full as it ever gets and has evicted. *Full*
//! is what it holds then; *peak* the most it held on the way, which is what a machine must have.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use versus_cache::contenders::{Foyer, Moka, Papaya, Peer, Pop, PopInline, Quick, Scc, TinyUfo};
use versus_cache::workload::key;

/// The system's allocator, and what it was asked for.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grown(by: usize) {
    let now = IN_USE.fetch_add(by, Ordering::Relaxed) + by;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What a pair itself takes.
const PAIR: f64 = 16.0;

fn measure<P: Peer>(entries: u32, keys: u32) {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let peer = P::new(entries as usize);
    for rank in 0..keys {
        peer.insert(key(rank), u64::from(rank));
    }
    let held = peer.len();
    let beyond = |bytes: usize| (bytes - before) as f64 / held as f64 - PAIR;
    let (full, peak) = (beyond(IN_USE.load(Ordering::Relaxed)), beyond(PEAK.load(Ordering::Relaxed)));
    println!("{:<12} {held:>10} {full:>8.1} {peak:>8.1}", P::NAME);
}

fn main() {
    let entries = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1_000_000);
    println!("peer            entries     full     peak   bytes beyond key and value, an entry");
    measure::<Pop>(entries, 2 * entries);
    measure::<PopInline>(entries, 2 * entries);
    measure::<Quick>(entries, 2 * entries);
    measure::<Moka>(entries, 2 * entries);
    measure::<TinyUfo>(entries, 2 * entries);
    measure::<Foyer>(entries, 2 * entries);
    measure::<Scc>(entries, 2 * entries);
    // It evicts nothing.
    measure::<Papaya>(entries, entries);
}
