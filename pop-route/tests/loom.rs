//! A model of a live table: snapshots are swapped and their memory is used again, under readers. Run with
//! `RUSTFLAGS="--cfg loom --cfg crossbeam_loom" CARGO_TARGET_DIR=target/loom
//! cargo test -p pop-route --no-default-features --test loom --release`.
//!
//! The swap of the pointer itself is one step here; that it is one is arc-swap's affair. What is explored is when a
//! snapshot is taken out of use and written to again: never while a reader looks at it.
#![cfg(loom)]

use std::net::Ipv4Addr;

use loom::sync::Arc;
use loom::thread;
use pop_route::{LiveTable, Prefix, PrefixTable};

fn prefixes() -> [Prefix; 2] {
    ["10.0.0.0/24", "10.0.7.0/26"].map(|text| text.parse().unwrap())
}

/// Both prefixes change value together.
fn write(live: &LiveTable<u32>, value: u32) {
    live.update(|table| prefixes().map(|prefix| table.insert(prefix, value).is_some()));
    live.publish();
}

/// Both prefixes at one moment: one value, and not an older one than before.
fn look(live: &LiveTable<u32>, newest: u32) -> u32 {
    live.read(|snapshot| {
        let [one, other] = prefixes().map(|prefix| *snapshot.get(prefix.address()).unwrap());
        assert_eq!(one, other, "half of a change");
        assert!(one >= newest, "{one} after {newest}");
        one
    })
}

#[test]
fn readers_see_whole_changes_in_order_while_snapshots_are_used_again() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let live = Arc::new(LiveTable::new(prefixes().map(|prefix| (prefix, 0)).into_iter().collect()));
        let reading = Arc::clone(&live);
        let reader = thread::spawn(move || {
            let first = look(&reading, 0);
            // One snapshot is kept while others are published, and must stay as it was.
            let kept = reading.load();
            let value = *kept.get(Ipv4Addr::new(10, 0, 0, 1).into()).unwrap();
            let second = look(&reading, value.max(first));
            assert_eq!(kept.get(Ipv4Addr::new(10, 0, 7, 1).into()), Some(&value));
            second
        });
        // The fourth writes into the memory of the first.
        (1..=4).for_each(|value| write(&live, value));
        assert!(reader.join().unwrap() <= 4);
        assert_eq!(look(&live, 4), 4);
    });
}

#[test]
fn two_writers_leave_the_newest_published() {
    loom::model(|| {
        let live = Arc::new(LiveTable::new(PrefixTable::new()));
        let other = Arc::clone(&live);
        let [mine, theirs] = prefixes();
        let writer = thread::spawn(move || {
            other.update(|table| table.insert(theirs, 2).is_none());
            other.publish();
        });
        live.update(|table| table.insert(mine, 1).is_none());
        live.publish();
        writer.join().unwrap();
        assert_eq!(live.load().len(), 2, "an older snapshot replaced a newer one");
    });
}
