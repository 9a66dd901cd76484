//! Response rate limiting for DNS: an authority must not amplify floods with a forged sender.
//!
//! The scheme that BIND, NSD and Knot share: responses are counted by client network and by what is answered, not
//! queries by client, because the "client" of a reflection attack is its victim. When an account is out, responses
//! are dropped; but every n-th slips through truncated, so that a real client comes back over TCP, which cannot be
//! forged. A truncated response is no larger than its query: nothing is amplified.

use core::net::IpAddr;
use core::num::NonZeroU32;

use crate::sync::{AtomicU32, Ordering};
use crate::tiers::prefix_of;
use crate::{KeyedLimiter, Quota, Timestamp};

/// What a response says, as far as counting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseClass {
    /// An answer; told apart by a hash of its name and type, so that one popular name does not silence the others.
    Answer {
        /// Any hash of question name (in lower case) and type.
        question: u64,
    },
    /// The type does not exist at the name.
    NoData {
        /// Any hash of the zone.
        zone: u64,
    },
    /// The name does not exist. One account for a zone: a flood of random names is one flood.
    NxDomain {
        /// Any hash of the zone.
        zone: u64,
    },
    /// A referral to the servers of a zone below.
    Referral {
        /// Any hash of the zone.
        zone: u64,
    },
    /// FORMERR, SERVFAIL, REFUSED and the like: one account for all.
    Error,
}

/// What to do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a verdict that nobody heeds limits nothing"]
pub enum ResponseAction {
    /// Send it.
    Send,
    /// Send an empty one with TC set, so that a real client asks again over TCP.
    Truncate,
    /// Send nothing.
    Drop,
}

/// Counts responses over UDP; responses over TCP, and to clients with a valid cookie, should not be counted.
///
/// Fixed memory, lock-free, as the [`KeyedLimiter`] below it.
///
/// ```
/// use pop_ratelimit::{Quota, ResponseAction, ResponseClass, ResponseRateLimiter, Timestamp};
///
/// let limiter = ResponseRateLimiter::new(Quota::per_second(5), 1 << 20).slip(2);
/// let victim = "198.51.100.7".parse()?;
/// let answer = ResponseClass::Answer { question: 42 };
/// let actions: Vec<_> = (0..9).map(|_| limiter.check_at(victim, answer, Timestamp::ZERO)).collect();
/// assert!(actions[..5].iter().all(|action| *action == ResponseAction::Send));
/// assert_eq!(actions[5..].iter().filter(|action| **action == ResponseAction::Truncate).count(), 2);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug)]
pub struct ResponseRateLimiter {
    accounts: KeyedLimiter<(IpAddr, ResponseClass)>,
    /// Responses that would have been dropped; every `slip`-th is truncated instead.
    dropped: AtomicU32,
    slip: Option<NonZeroU32>,
    lengths: (u8, u8),
}

impl ResponseRateLimiter {
    /// `quota` for each account, in at most `memory_bytes` bytes; networks are /24 and /56, and every second response
    /// over the limit slips.
    #[must_use]
    pub fn new(quota: Quota, memory_bytes: usize) -> Self {
        Self {
            accounts: KeyedLimiter::new(quota, memory_bytes),
            dropped: AtomicU32::new(0),
            slip: NonZeroU32::new(2),
            lengths: (24, 56),
        }
    }

    /// Every `every`-th response over the limit is truncated instead of dropped: 1 truncates all, 0 drops all.
    #[must_use]
    pub fn slip(self, every: u32) -> Self {
        Self { slip: NonZeroU32::new(every), ..self }
    }

    /// The prefix lengths by which clients are counted, cut to 32 and 128.
    #[must_use]
    pub fn prefixes(self, ipv4: u8, ipv6: u8) -> Self {
        Self { lengths: (ipv4.min(32), ipv6.min(128)), ..self }
    }

    /// What to do with a response of `class` to `client` at `now`.
    pub fn check_at(&self, client: IpAddr, class: ResponseClass, now: Timestamp) -> ResponseAction {
        let (network, _) = prefix_of(client, self.lengths.0, self.lengths.1);
        if self.accounts.check_at(&(network, class), now, 1).is_allowed() {
            return ResponseAction::Send;
        }
        let Some(slip) = self.slip else { return ResponseAction::Drop };
        // Relaxed: a counter, and nobody cares which of two responses at once is the n-th.
        let number = self.dropped.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if number.is_multiple_of(slip.get()) { ResponseAction::Truncate } else { ResponseAction::Drop }
    }

    /// [`check_at`](Self::check_at) by the process clock.
    pub fn check(&self, client: IpAddr, class: ResponseClass) -> ResponseAction {
        self.check_at(client, class, crate::now())
    }

    /// The accounts: their quota, pressure and memory.
    #[must_use]
    pub const fn accounts(&self) -> &KeyedLimiter<(IpAddr, ResponseClass)> {
        &self.accounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_by_network_and_by_what_is_answered() {
        let limiter = ResponseRateLimiter::new(Quota::per_second(1), 1 << 16).slip(0);
        let check = |client: &str, class| limiter.check_at(client.parse().unwrap(), class, Timestamp::ZERO);
        let answer = |question| ResponseClass::Answer { question };
        assert_eq!(check("192.0.2.1", answer(1)), ResponseAction::Send);
        assert_eq!(check("192.0.2.200", answer(1)), ResponseAction::Drop, "the same /24");
        assert_eq!(check("192.0.2.1", answer(2)), ResponseAction::Send);
        assert_eq!(check("192.0.2.1", ResponseClass::NxDomain { zone: 1 }), ResponseAction::Send);
        assert_eq!(check("192.0.2.1", ResponseClass::NxDomain { zone: 1 }), ResponseAction::Drop);
        assert_eq!(check("2001:db8::1", answer(1)), ResponseAction::Send);
        assert_eq!(check("2001:db8:0:ff::1", answer(1)), ResponseAction::Drop, "the same /56");
        assert_eq!(check("::ffff:192.0.2.9", answer(1)), ResponseAction::Drop, "IPv4 all the same");
    }

    #[test]
    fn slip_is_exact() {
        for (slip, truncated) in [(0, 0), (1, 100), (2, 50), (3, 33)] {
            let limiter = ResponseRateLimiter::new(Quota::BLOCKED, 1 << 12).slip(slip);
            let actions = (0..100)
                .map(|_| limiter.check_at([192, 0, 2, 1].into(), ResponseClass::Error, Timestamp::ZERO));
            assert_eq!(actions.filter(|&action| action == ResponseAction::Truncate).count(), truncated);
        }
    }
}
