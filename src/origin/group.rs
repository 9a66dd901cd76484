//! Backends of equal standing: power of two choices among those that are well, judged by what comes back.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::Backend;

/// Failures in a row after which a backend rests.
const FALL: u32 = 3;
/// How long it rests at first; doubled with each further failure, up to [`REST_MAX`].
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(30);

/// The backends of an origin.
#[derive(Debug)]
pub(super) struct Group {
    members: Box<[Member]>,
    started: Instant,
    random: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) backend: Backend,
    pub(super) authority: http::uri::Authority,
    /// Requests under way. A counter: choices may see it late.
    pending: AtomicU32,
    /// Failures in a row.
    failures: AtomicU32,
    /// Milliseconds after the start until which it rests. Read and written without any other data.
    rests_until: AtomicU64,
}

impl Group {
    pub(super) fn new(backends: Vec<Backend>) -> Self {
        let members = backends
            .into_iter()
            .map(|backend| Member {
                authority: backend
                    .target
                    .authority()
                    .parse()
                    .expect("a target is a host name or an address, and a port"),
                backend,
                pending: AtomicU32::new(0),
                failures: AtomicU32::new(0),
                rests_until: AtomicU64::new(0),
            })
            .collect();
        let seed = ahash::RandomState::new().hash_one(0_u8) | 1;
        Self { members, started: Instant::now(), random: AtomicU64::new(seed) }
    }

    /// The less busy of two that are well, drawn at random; of two that rest, the one that rests shorter. Not the one
    /// that was tried before, if there is another.
    pub(super) fn choose(&self, tried: Option<usize>) -> usize {
        let count = self.members.len();
        if count == 1 {
            return 0;
        }
        let draw = self.draw();
        let mut one = (draw as u32 as usize) % count;
        let mut two = ((draw >> 32) as usize) % (count - 1);
        two += usize::from(two >= one);
        if Some(one) == tried {
            one = two;
        } else if Some(two) == tried {
            two = one;
        }
        let now = self.now_millis();
        // Should both draws rest, look for anybody who does not: a group is small.
        if self.rest(one, now) > 0 && self.rest(two, now) > 0 {
            let well = (0..count).find(|&index| Some(index) != tried && self.rest(index, now) == 0);
            if let Some(well) = well {
                return well;
            }
        }
        let load =
            |index: usize| (self.rest(index, now), self.members[index].pending.load(Ordering::Relaxed));
        if load(two) < load(one) { two } else { one }
    }

    /// The nearest to `client` that is well and was not just tried; if all rest, the one that rests shortest.
    #[cfg(feature = "route")]
    pub(super) fn nearest(
        &self,
        selector: &pop_route::Selector,
        by_site: &[Option<usize>],
        client: std::net::IpAddr,
        tried: Option<usize>,
    ) -> usize {
        let client = client.to_canonical();
        let choice = selector.select((client, if client.is_ipv4() { 32 } else { 128 }));
        let ranked = choice.sites().iter().filter_map(|site| by_site.get(site.index()).copied().flatten());
        // Backends of sites that are not eligible, or not known, come last: an answer is better than none.
        let now = self.now_millis();
        let mut candidates = ranked.chain(0..self.members.len()).filter(|&index| Some(index) != tried);
        let first = candidates.clone().find(|&index| self.rest(index, now) == 0);
        first.or_else(|| candidates.by_ref().min_by_key(|&index| self.rest(index, now))).unwrap_or(0)
    }

    pub(super) fn member(&self, index: usize) -> &Member {
        &self.members[index]
    }

    /// Counts a request to a member in.
    pub(super) fn begin(&self, index: usize) -> Pending<'_> {
        self.members[index].pending.fetch_add(1, Ordering::Relaxed);
        Pending(&self.members[index])
    }

    /// Takes the outcome of a request in.
    pub(super) fn observe(&self, index: usize, is_success: bool) {
        let member = &self.members[index];
        if is_success {
            if member.failures.load(Ordering::Relaxed) != 0 {
                member.failures.store(0, Ordering::Relaxed);
                member.rests_until.store(0, Ordering::Relaxed);
            }
            return;
        }
        let failures = member.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= FALL {
            let rest = REST.saturating_mul(1 << (failures - FALL).min(5)).min(REST_MAX);
            let until = self.now_millis() + u64::try_from(rest.as_millis()).unwrap_or(u64::MAX / 2);
            member.rests_until.store(until, Ordering::Relaxed);
        }
    }

    /// Milliseconds a member still rests.
    fn rest(&self, index: usize, now: u64) -> u64 {
        self.members[index].rests_until.load(Ordering::Relaxed).saturating_sub(now)
    }

    fn now_millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014) over a shared counter: every caller gets a number of its own.
    fn draw(&self) -> u64 {
        let state = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Pending<'a>(&'a Member);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(count: usize) -> Group {
        let names: Vec<_> = (0..count).map(|index| format!("b{index}.example:80")).collect();
        let origin =
            names[1..].iter().fold(crate::Origin::http(&names[0]), |origin, name| origin.backend(name));
        Group::new(origin.targets().expect("addresses"))
    }

    #[test]
    fn the_busier_of_two_is_spared() {
        let group = group(2);
        let _busy: Vec<_> = (0..3).map(|_| group.begin(0)).collect();
        assert!((0..100).all(|_| group.choose(None) == 1));
    }

    #[test]
    fn who_fails_rests_and_nobody_else_does() {
        let group = group(5);
        for _ in 0..FALL {
            group.observe(3, false);
        }
        let counts = (0..1000).fold([0; 5], |mut counts, _| {
            counts[group.choose(None)] += 1;
            counts
        });
        assert_eq!(counts[3], 0);
        assert!(counts.iter().filter(|&&count| count > 100).count() == 4, "{counts:?}");
        group.observe(3, true);
        assert!((0..1000).any(|_| group.choose(None) == 3));
    }

    #[test]
    fn all_resting_is_not_nobody() {
        let group = group(3);
        for index in 0..3 {
            (0..FALL).for_each(|_| group.observe(index, false));
        }
        assert!((0..100).all(|_| group.choose(None) < 3));
    }

    #[test]
    fn a_retry_goes_elsewhere() {
        let group = group(2);
        assert!((0..100).all(|_| group.choose(Some(0)) == 1));
    }
}
