//! What concurrent threads did to one key, and whether it fits together.

/// A small generator (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What one operation on one key did, and between which two ticks of the common clock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    Wrote(u64),
    Read(Option<u64>),
    Removed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) seen: Seen,
}

/// Checks the history of one key of a cache, which may forget at any time: a read that found a value must lie
/// after the start of its write, and no other write or removal may lie wholly between that write and the read.
/// (Values are written once, so this decides linearisability of found values; a read that found nothing is always
/// explained by an eviction.) And values must not come back: two reads one after the other can't see two writes
/// in the other order, if these came one after the other.
pub(crate) fn check(history: &[Event]) {
    let write_of = |value: u64| {
        history.iter().find(|event| matches!(event.seen, Seen::Wrote(wrote) if wrote == value)).unwrap()
    };
    let reads: Vec<(&Event, &Event)> = history
        .iter()
        .filter_map(|event| match event.seen {
            Seen::Read(Some(value)) => Some((event, write_of(value))),
            _ => None,
        })
        .collect();
    for (read, write) in &reads {
        assert!(write.start < read.end, "{read:?} before {write:?}");
        for other in history {
            let changes = matches!(other.seen, Seen::Removed)
                || matches!(other.seen, Seen::Wrote(_)) && !std::ptr::eq(other, *write);
            assert!(
                !(changes && write.end < other.start && other.end < read.start),
                "{read:?} is stale: {write:?}, then {other:?}"
            );
        }
    }
    for (early, written_late) in &reads {
        for (late, written_early) in &reads {
            assert!(
                !(early.end < late.start && written_early.end < written_late.start),
                "{late:?} after {early:?} saw an older value"
            );
        }
    }
}
