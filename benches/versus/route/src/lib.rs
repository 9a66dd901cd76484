//! The tables on which longest-prefix matches are compared, how they are timed, and a counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Counts live bytes and allocations, so that memory and "no allocation" are measured, not claimed.
pub struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator; the counters are only counters.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are the callee's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes allocated now.
pub fn live_bytes() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Allocations so far.
pub fn allocations() -> usize {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// The folder with the real tables: `POP_ROUTE_DATA`, or `shared/data/route` in a folder above.
pub fn data() -> PathBuf {
    if let Some(path) = std::env::var_os("POP_ROUTE_DATA") {
        return path.into();
    }
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|folder| folder.join("shared/data/route"))
        .find(|path| path.is_dir())
        .expect("set POP_ROUTE_DATA to the folder with bgp_prefixes.txt.gz")
}

/// The text of a compressed table.
pub fn text(name: &str) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(data().join(name)).expect("the table is there");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the table is text");
    text
}

/// Values keep the highest bit clear: peers and chains of look-ups use it.
const VALUE: u32 = u32::MAX >> 1;

/// A prefix with what it leads to: the origin AS of its first address, 0 where the tables do not say.
pub type Row = (IpAddr, u8, u32);

/// The full table of both families.
pub fn full_table() -> (Vec<(u32, u8, u32)>, Vec<(u128, u8, u32)>) {
    let ranges = |name: &str| -> Vec<(u128, u128, u32)> {
        text(name)
            .lines()
            .map(|line| {
                let mut fields = line.split(',');
                let mut bits = || match fields.next().unwrap().parse().unwrap() {
                    IpAddr::V4(address) => u128::from(address.to_bits()),
                    IpAddr::V6(address) => address.to_bits(),
                };
                let (first, last) = (bits(), bits());
                (first, last, fields.next().unwrap().parse().unwrap())
            })
            .collect()
    };
    let origin = |ranges: &[(u128, u128, u32)], address: u128| {
        let after = ranges.partition_point(|&(first, _, _)| first <= address);
        ranges[..after].last().filter(|&&(_, last, _)| address <= last).map_or(0, |&(_, _, asn)| asn)
    };
    let (asn_v4, asn_v6) = (ranges("asn_v4.csv.gz"), ranges("asn_v6.csv.gz"));
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for line in text("bgp_prefixes.txt.gz").lines() {
        let (address, length) = line.split_once('/').unwrap();
        let length = length.parse().unwrap();
        match address.parse().unwrap() {
            IpAddr::V4(address) => {
                v4.push((address.to_bits(), length, origin(&asn_v4, address.to_bits().into()) & VALUE));
            }
            IpAddr::V6(address) => {
                v6.push((address.to_bits(), length, origin(&asn_v6, address.to_bits()) & VALUE));
            }
        }
    }
    v4.sort_unstable();
    v6.sort_unstable();
    (v4, v6)
}

/// A small generator of numbers, the same in every run (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

/// Indices below `bound` with Zipf's distribution (exponent 1), over a shuffled order of ranks.
pub fn zipf(bound: usize, count: usize, numbers: &mut Numbers) -> Vec<usize> {
    let mut order: Vec<usize> = (0..bound).collect();
    numbers.shuffle(&mut order);
    let harmonic = (bound as f64).ln() + 0.5772;
    // The inverse of ln(rank) / harmonic, near enough to 1/rank.
    (0..count).map(|_| order[((numbers.unit() * harmonic).exp() as usize).clamp(1, bound) - 1]).collect()
}

/// Nanoseconds an item, `items` of them in one call of `work`.
pub fn nanos(items: usize, work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_nanos() as f64 / items as f64
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
