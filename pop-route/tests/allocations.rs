//! Deciding and looking up allocate nothing; explaining allocates three times.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use pop_route::{ClientFacts, LiveTable, Location, Prefix, PrefixTable, Selector, Site, SiteMap};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator; the counter allocates nothing and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's obligations are the callee's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn block(index: u8) -> (IpAddr, u8) {
    (Ipv4Addr::new(198, 18, index, 0).into(), 24)
}

#[test]
fn a_decision_allocates_nothing_split_or_not_and_an_explanation_thrice() {
    let place = |index: u8| Location::new(0.0, f64::from(index) * 8.0 - 160.0).unwrap();
    for capacity in [f64::INFINITY, 20.0] {
        let sites = (0..40).map(|index| {
            let site = Site::new(format!("S{index}"), place(index));
            if capacity.is_finite() { site.capacity(capacity) } else { site }
        });
        let builder = Selector::builder(SiteMap::new(sites).unwrap());
        let selector = (0..40)
            .fold(builder, |builder, index| {
                let demand = if index == 7 { 90.0 } else { 1.0 };
                builder.client(block(index), ClientFacts::at(place(index)).demand(demand)).unwrap()
            })
            .build();
        // The first read of a thread may set up its place among the readers.
        let _ = selector.select(block(0));
        let decided = allocations(|| {
            for index in 0..40 {
                assert!(selector.select(block(index)).site().is_some());
            }
        });
        assert_eq!(decided, 0);
        let unsplit = block(20);
        let explained = allocations(|| drop(selector.explain(unsplit)));
        assert!(explained <= 3, "{explained}");
    }
}

#[test]
fn a_look_up_allocates_nothing() {
    let rows = (0..=255).map(|index| (Prefix::try_from(block(index)).unwrap(), index));
    let live = LiveTable::new(rows.collect::<PrefixTable<u8>>());
    let snapshot = live.load();
    let addresses: Vec<Ipv4Addr> = (0..=255).map(|index| Ipv4Addr::new(198, 18, index, 7)).collect();
    let mut found = vec![None; 256];
    let looked_up = allocations(|| {
        for &address in &addresses {
            assert!(snapshot.longest(address.into()).is_some());
            assert!(live.read(|snapshot| snapshot.get(address.into()).is_some()));
        }
        snapshot.get_batch_v4(&addresses, &mut found);
    });
    assert_eq!(looked_up, 0);
    assert!(found.into_iter().all(|found| found.is_some()));
}
