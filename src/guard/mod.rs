//! Who may come in, and how often: a [`Gate`] that remembers clients in memory that never grows.
//!
//! ```text
//! a connection:  denied block → refused        before a byte is read
//!                in the penalty box → refused
//!                no room → an idle connection of the fattest network goes, else refused
//! a request:     denied block → 403            allowed block → passes, asked nothing more
//!                in the penalty box → 429, and the connection closes
//!                a tier of its address is used up → 429; who goes on all the same gets into the box
//! ```
//!
//! Limits are per address and per prefix around it ([`PrefixTiers`]), so that rotating through a network helps
//! nobody. Only the address itself is punished for its own excess: a neighbour of an attacker may be limited with the
//! network, but is never put into the box for it.

mod connections;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use pop_ratelimit::{
    Access, AccessList, HeavyPrefixes, Hitter, IPV4_TIERS, IPV6_TIERS, KeyedLimiter, PenaltyBox,
    PenaltyTerms, PrefixTiers, Quota, Timestamp, Verdict as LimitVerdict,
};

use crate::{Denial, Gate, Permit, RequestHead, Seat, Verdict};

pub use pop_ratelimit::http::{ForwardingField, TrustedProxies};

pub use connections::{CONNECTIONS_MAX, CONNECTIONS_PER_NETWORK_MAX, ConnectionBounds, ConnectionPermit};

/// Memory of the limits, by default: about a million clients in debt.
const LIMIT_MEMORY_BYTES: usize = 8 << 20;
/// Memory of the penalty box, and of the count of refusals that leads there.
const PENALTY_MEMORY_BYTES: usize = 1 << 20;
/// Offenders that are told apart, a tier.
const OFFENDERS: usize = 256;
/// The tiers offenders are counted by: prefix lengths for IPv4 and IPv6.
const OFFENDER_TIERS: [(u8, u8); 2] = [(32, 64), (24, 48)];

/// A guard: access list, bounds on connections, limits by prefix, penalty box.
///
/// ```
/// use pop_edge::guard::{ConnectionBounds, Guard};
/// use pop_edge::ratelimit::{Access, AccessList, PenaltyTerms, Quota};
/// use std::time::Duration;
///
/// let guard = Guard::new()
///     .access(AccessList::new([(("198.51.100.0".parse()?, 24), Access::Deny)])?)
///     .connections(ConnectionBounds::new(10_000, 100))
///     .limit(Quota::per_second(50).burst(100))
///     .penalty(PenaltyTerms::new(Duration::from_secs(10)), Quota::per_second(20).burst(200));
/// # let _ = guard;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Guard {
    access: AccessList,
    connections: ConnectionBounds,
    limit: Option<PrefixTiers>,
    penalty: Option<Penalty>,
    offenders: Option<HeavyPrefixes>,
}

struct Penalty {
    /// By address, IPv6 by /64.
    place: PenaltyBox<IpAddr>,
    /// How many refusals are forgiven.
    patience: KeyedLimiter<IpAddr>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("access", &self.access.len())
            .field("connections", &self.connections.connections())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// A guard that bounds connections, and lets everybody in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who is always let in, and who never.
    #[must_use]
    pub fn access(mut self, list: AccessList) -> Self {
        self.access = list;
        self
    }

    /// How many connections there may be.
    #[must_use]
    pub fn connections(mut self, bounds: ConnectionBounds) -> Self {
        self.connections = bounds;
        self
    }

    /// What an address may ask, and by the tiers' multipliers the prefixes around it.
    #[must_use]
    pub fn limit(mut self, quota: Quota) -> Self {
        self.limit = Some(PrefixTiers::with_tiers(quota, LIMIT_MEMORY_BYTES, &IPV4_TIERS, &IPV6_TIERS));
        self.offenders = Some(HeavyPrefixes::new(OFFENDERS, &OFFENDER_TIERS));
        self
    }

    /// Whoever is refused more often than `patience` allows is blocked for a time that doubles with each offence.
    #[must_use]
    pub fn penalty(mut self, terms: PenaltyTerms, patience: Quota) -> Self {
        self.penalty = Some(Penalty {
            place: PenaltyBox::new(terms, PENALTY_MEMORY_BYTES),
            patience: KeyedLimiter::new(patience, PENALTY_MEMORY_BYTES),
        });
        self
    }

    /// The addresses (IPv6: /64s) that were refused most, with how often, the worst first.
    #[must_use]
    pub fn offenders(&self, count: usize) -> Vec<Hitter<(IpAddr, u8)>> {
        self.offenders.as_ref().map(|offenders| offenders.top(0, count)).unwrap_or_default()
    }

    /// Connections now.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.connections()
    }

    /// What a request of `client` at `now` is told.
    pub fn check_at(&self, client: IpAddr, now: Timestamp) -> Verdict {
        let client = client.to_canonical();
        match self.access.of(client) {
            Some(Access::Allow) => return Verdict::Pass,
            Some(Access::Deny) => {
                return Verdict::Deny(Denial::new(StatusCode::FORBIDDEN, "denied").closing());
            }
            None => {}
        }
        if let Some(wait) = self.blocked_at(client, now) {
            return Verdict::Deny(Denial::limited(Some(wait)).closing());
        }
        let Some(tiers) = &self.limit else { return Verdict::Pass };
        match tiers.check_at(client, now, 1) {
            LimitVerdict::Denied { level, decision } => {
                self.refused(client, level, now);
                Verdict::Deny(Denial::limited(decision.retry_after()))
            }
            _ => Verdict::Pass,
        }
    }

    fn blocked_at(&self, client: IpAddr, now: Timestamp) -> Option<Duration> {
        let penalty = self.penalty.as_ref()?;
        penalty.place.blocked_at(&own(client), now).map(|penalty| penalty.until.saturating_since(now))
    }

    /// Counts a refusal; the one that exhausts our patience is an offence.
    fn refused(&self, client: IpAddr, level: usize, now: Timestamp) {
        if let Some(offenders) = &self.offenders {
            offenders.record(client, 1);
        }
        // The tiers of a single subscriber: an address of IPv4, an address or a /64 of IPv6.
        let is_own = level <= usize::from(client.is_ipv6());
        if let Some(penalty) = self.penalty.as_ref().filter(|_| is_own)
            && !penalty.patience.check_at(&own(client), now, 1).is_allowed()
        {
            let sentence = penalty.place.punish_at(&own(client), now);
            tracing::info!(target: "pop_edge::guard", %client, ?sentence, "blocked");
        }
    }
}

/// What stands for one subscriber: the address, or the /64.
fn own(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

impl Gate for Guard {
    fn connection(&self, peer: SocketAddr, seat: &Arc<Seat>) -> Option<Permit> {
        let client = peer.ip().to_canonical();
        match self.access.of(client) {
            Some(Access::Deny) => return None,
            Some(Access::Allow) => {}
            None if self.blocked_at(client, pop_ratelimit::now()).is_some() => return None,
            None => {}
        }
        self.connections.admit(client, seat).map(Permit::holding)
    }

    fn bounds_connections(&self) -> bool {
        true
    }

    fn request(&self, head: &RequestHead<'_>) -> Verdict {
        self.check_at(head.client, pop_ratelimit::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO.saturating_add(Duration::from_millis(millis))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn guard() -> Guard {
        let list =
            [((address("198.51.100.0"), 24), Access::Deny), ((address("192.0.2.0"), 24), Access::Allow)];
        Guard::new()
            .access(AccessList::new(list).unwrap())
            .limit(Quota::per_second(1).burst(10))
            .penalty(PenaltyTerms::new(Duration::from_secs(10)), Quota::per_second(1).burst(5))
    }

    #[test]
    fn lists_come_first() {
        let guard = guard();
        let denied = Verdict::Deny(Denial::new(StatusCode::FORBIDDEN, "denied").closing());
        assert_eq!(guard.check_at(address("198.51.100.1"), at(0)), denied);
        assert!((0..1000).all(|_| guard.check_at(address("192.0.2.1"), at(0)) == Verdict::Pass));
        assert!(guard.connection("198.51.100.1:1".parse().unwrap(), &Arc::default()).is_none());
    }

    #[test]
    fn whoever_does_not_stop_is_blocked_and_forgiven() {
        let guard = guard();
        let client = address("203.0.113.7");
        let passed = (0..20).filter(|_| guard.check_at(client, at(0)) == Verdict::Pass).count();
        assert_eq!(passed, 10);
        // Its bucket has refilled, but it is in the box; the connection closes.
        let verdict = guard.check_at(client, at(5_000));
        assert!(
            matches!(verdict, Verdict::Deny(Denial { close: true, retry_after: Some(_), .. })),
            "{verdict:?}"
        );
        assert_eq!(guard.check_at(client, at(15_000)), Verdict::Pass);
        assert_eq!(guard.offenders(1)[0].key, (client, 32));
    }

    #[test]
    fn neighbours_of_an_attacker_are_not_punished_for_its_network() {
        let guard = guard();
        for host in 1..=255u8 {
            for _ in 0..10 {
                let _ = guard.check_at(IpAddr::from([203, 0, 113, host]), at(0));
            }
        }
        // The /24 is used up, so the last one is limited, but not in the box.
        let verdict = guard.check_at(address("203.0.113.255"), at(0));
        assert!(matches!(verdict, Verdict::Deny(Denial { close: false, .. })), "{verdict:?}");
    }

    #[test]
    fn rotating_through_a_network_helps_nobody() {
        let guard = guard();
        let passed = (0..10_000u128)
            .map(|host| IpAddr::from((0x2001_0db8_u128 << 96 | host).to_be_bytes()))
            .filter(|&client| guard.check_at(client, at(0)) == Verdict::Pass)
            .count();
        assert_eq!(passed, 20);
    }
}
