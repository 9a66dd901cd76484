//! Response rate limiting (the technique of Vixie and Schryver, 2012): identical answers to one network are limited, so
//! that a server is no amplifier for whoever forges addresses. Fixed memory, no lock.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::limit::{Limit, LimitQuery};
use crate::HashKey;
use crate::zone::hash_key;

/// Buckets; a power of two. What falls into one bucket is limited together, so each octet of memory counts: 512 KiB.
const BUCKETS: usize = 1 << 16;
const NANOS: u64 = 1_000_000_000;
/// Bits of a bucket's word for the answers that were not sent since it last had room: which of them slips.
const SKIPPED_BITS: u32 = 8;

/// Limits answers by the client's network (an IPv4 /24, an IPv6 /56), what they say, and the second: so many of one kind a
/// second, at most one second's worth at once. A hook for [`Authority::limit`](crate::Authority::limit).
///
/// ```
/// use pop_dns::{Authority, ResponseRateLimit};
///
/// let limit = ResponseRateLimit::new(20, 2);
/// let authority = Authority::default().limit(move |asked| limit.check(asked));
/// # let _ = authority;
/// ```
pub struct ResponseRateLimit {
    /// The theoretical arrival time of the next answer in nanoseconds, less the bits that count what was not sent.
    buckets: Box<[AtomicU64]>,
    key: HashKey,
    interval_nanos: u64,
    slip: u64,
}

impl ResponseRateLimit {
    /// At most `per_second` answers of one kind to one network; of those beyond, every `slip`th is sent truncated (1: all,
    /// 0: none).
    #[must_use]
    pub fn new(per_second: u32, slip: u8) -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            key: HashKey::random(),
            // Whole units of what the word has bits for, upwards: never more than was said.
            interval_nanos: (NANOS / u64::from(per_second.max(1))).max(1).next_multiple_of(1 << SKIPPED_BITS),
            slip: slip.into(),
        }
    }

    /// Judges one answer.
    pub fn check(&self, asked: &LimitQuery<'_>) -> Limit {
        let bucket = &self.buckets[self.bucket(asked)];
        let now = asked.now.as_nanos() >> SKIPPED_BITS << SKIPPED_BITS;
        // Relaxed: the word is all there is, and nothing else is published with it. A loser of the exchange tries again
        // with what the winner left, so somebody always gets on.
        let mut word = bucket.load(Ordering::Relaxed);
        loop {
            let due = (word >> SKIPPED_BITS << SKIPPED_BITS).max(now);
            let (next, verdict) =
                if due - now + self.interval_nanos <= NANOS.next_multiple_of(self.interval_nanos) {
                    (due + self.interval_nanos, Limit::Send)
                } else {
                    let skipped = (word + 1) & ((1 << SKIPPED_BITS) - 1);
                    let slips = self.slip > 0 && skipped.is_multiple_of(self.slip);
                    let word = word >> SKIPPED_BITS << SKIPPED_BITS | skipped;
                    (word, if slips { Limit::Slip } else { Limit::Drop })
                };
            match bucket.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return verdict,
                Err(other) => word = other,
            }
        }
    }

    fn bucket(&self, asked: &LimitQuery<'_>) -> usize {
        let network: u128 = match asked.client.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_bits() >> 8),
            IpAddr::V6(address) => address.to_bits() >> 72 | 1 << 100,
        };
        let mut kind = [0; 24];
        kind[..16].copy_from_slice(&network.to_le_bytes());
        kind[16..18].copy_from_slice(&asked.rcode.0.to_le_bytes());
        let hash = self.key.hash_wire(&kind) ^ hash_key().hash_wire(asked.name);
        hash as usize & (BUCKETS - 1)
    }
}

impl std::fmt::Debug for ResponseRateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseRateLimit")
            .field("interval_nanos", &self.interval_nanos)
            .field("slip", &self.slip)
            .finish_non_exhaustive()
    }
}
