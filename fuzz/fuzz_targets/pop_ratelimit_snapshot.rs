//! Snapshots of any bytes: refused, or restored to a limiter whose own snapshot restores to the same debts.
#![no_main]

use core::time::Duration;

use libfuzzer_sys::fuzz_target;
use pop_ratelimit::{KeyedLimiter, Timestamp};

fuzz_target!(|bytes: &[u8]| {
    let now = Timestamp::from_nanos(1_000_000_007);
    let restore = |bytes: &[u8]| KeyedLimiter::<u32>::restore_at(bytes, now, Duration::ZERO, 1 << 16);
    if let Ok(limiter) = restore(bytes) {
        let again = restore(&limiter.snapshot_at(now)).expect("its own snapshot");
        assert_eq!(again.occupancy_at(now), limiter.occupancy_at(now));
        for key in 0..4 {
            assert_eq!(again.peek_at(&key, now, 1), limiter.peek_at(&key, now, 1));
        }
    }
});
