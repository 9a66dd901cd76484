//! Anycast is operated, not only modelled: what each PoP should announce, decided from health, drain and load.
//!
//! ```text
//! wanted   down or drained → withdraw; above the high mark of load → prepend, step by step; below the low mark → back
//! last one nobody withdraws while no other site announces: traffic to a sick site beats traffic to nowhere
//! settle   a site changes again only after its last change has had time to show
//! bound    at most so many changes in a window over all sites, withdrawals of the dead first
//! ```
//!
//! [`Announcer::decide`] is pure; what it returns is written out by [`exabgp_lines`], [`gobgp_arguments`] and
//! [`bird_config`].

use core::fmt::Write;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use crate::{Prefix, SiteId, Timestamp};

/// Prepends at most: more are filtered by many.
pub const PREPENDS_MAX: u8 = 5;

/// A community (RFC 1997), to tag routes with what upstreams act on.
pub type Community = (u16, u16);

/// What a site should tell its neighbours of a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Announcement {
    /// Announce it.
    #[default]
    Announce,
    /// Announce it with our number repeated.
    Prepend(u8),
    /// Announce it with a community.
    Tag(Community),
    /// Do not announce it.
    Withdraw,
}

/// What is seen of a site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SiteLoad {
    /// The site.
    pub site: SiteId,
    /// Whether it is taken for healthy.
    pub healthy: bool,
    /// Whether an operator drains it.
    pub drained: bool,
    /// Load over capacity; not a number where that is not known.
    pub utilisation: f64,
}

/// When to change announcements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnnouncePolicy {
    /// Utilisation above which a site prepends once more.
    pub high: f64,
    /// Utilisation below which it prepends once less.
    pub low: f64,
    /// Prepends at most, up to [`PREPENDS_MAX`].
    pub prepends_max: u8,
    /// A community that says "less" to upstreams, instead of prepends.
    pub tag: Option<Community>,
    /// How long a change takes to show: BGP converges in minutes, and caches drain.
    pub settle: Duration,
    /// Changes at most over all sites within `window`.
    pub changes_max: usize,
    /// See `changes_max`.
    pub window: Duration,
}

impl Default for AnnouncePolicy {
    fn default() -> Self {
        Self {
            high: 0.95,
            low: 0.7,
            prepends_max: 3,
            tag: None,
            settle: Duration::from_secs(300),
            changes_max: 4,
            window: Duration::from_secs(600),
        }
    }
}

/// Decides for all sites, remembering what it decided.
///
/// ```
/// use pop_route::{Announcement, AnnouncePolicy, Announcer, Location, Site, SiteLoad, SiteMap, Timestamp};
///
/// let place = Location::new(0.0, 0.0).expect("on the globe");
/// let sites = SiteMap::new([Site::new("FRA", place), Site::new("IAD", place)])?;
/// let mut announcer = Announcer::new(&sites, AnnouncePolicy::default());
/// let seen = |healthy| {
///     sites.iter().map(move |(site, _)| SiteLoad { site, healthy: healthy || site.index() > 0, drained: false, utilisation: 0.5 })
/// };
/// assert!(announcer.decide(seen(true), Timestamp::ZERO).is_empty());
/// let changes = announcer.decide(seen(false), Timestamp::ZERO);
/// assert_eq!(changes, [(sites.find("FRA").expect("there"), Announcement::Withdraw)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Announcer {
    states: Vec<(Announcement, Option<Timestamp>)>,
    policy: AnnouncePolicy,
    /// When changes were made, the oldest first; never more than the bound.
    changes: VecDeque<Timestamp>,
}

impl Announcer {
    /// Every site announces.
    #[must_use]
    pub fn new(sites: &crate::SiteMap, policy: AnnouncePolicy) -> Self {
        Self { states: vec![(Announcement::Announce, None); sites.len()], policy, changes: VecDeque::new() }
    }

    /// What a site announces as decided last.
    #[must_use]
    pub fn state(&self, site: SiteId) -> Announcement {
        self.states.get(site.index()).map_or(Announcement::Withdraw, |(state, _)| *state)
    }

    /// Takes in what is seen and returns what should change now, withdrawals first. Sites that are not told of stay as
    /// they are.
    pub fn decide(
        &mut self,
        seen: impl IntoIterator<Item = SiteLoad>,
        now: Timestamp,
    ) -> Vec<(SiteId, Announcement)> {
        while self.changes.front().is_some_and(|&made| now.saturating_since(made) >= self.policy.window) {
            self.changes.pop_front();
        }
        let mut wanted: Vec<(SiteId, Announcement)> = seen
            .into_iter()
            .filter(|seen| seen.site.index() < self.states.len())
            .filter(|seen| self.is_settled(seen, now))
            .map(|seen| (seen.site, self.wanted(&seen)))
            .filter(|&(site, wanted)| wanted != self.state(site))
            .collect();
        wanted.sort_by_key(|&(site, wanted)| (wanted != Announcement::Withdraw, site));
        let mut made = Vec::new();
        for (site, wanted) in wanted {
            if self.changes.len() >= self.policy.changes_max {
                break;
            }
            if wanted == Announcement::Withdraw && self.announcing() <= 1 {
                continue;
            }
            self.states[site.index()] = (wanted, Some(now));
            self.changes.push_back(now);
            made.push((site, wanted));
        }
        made
    }

    /// A dead site leaves at once; everything else waits until the last change has shown.
    fn is_settled(&self, seen: &SiteLoad, now: Timestamp) -> bool {
        let changed = self.states[seen.site.index()].1;
        let settled = changed.is_none_or(|changed| now.saturating_since(changed) >= self.policy.settle);
        settled || !seen.healthy || seen.drained
    }

    fn wanted(&self, seen: &SiteLoad) -> Announcement {
        let state = self.states[seen.site.index()].0;
        if !seen.healthy || seen.drained {
            return Announcement::Withdraw;
        }
        let (high, low) = (seen.utilisation > self.policy.high, seen.utilisation < self.policy.low);
        let most = self.policy.prepends_max.min(PREPENDS_MAX);
        match (state, self.policy.tag) {
            (Announcement::Withdraw, _) => Announcement::Announce,
            (Announcement::Announce, Some(tag)) if high => Announcement::Tag(tag),
            (Announcement::Tag(_), _) if low => Announcement::Announce,
            (Announcement::Announce, None) if high && most > 0 => Announcement::Prepend(1),
            (Announcement::Prepend(count), _) if high => Announcement::Prepend((count + 1).min(most)),
            (Announcement::Prepend(1), _) if low => Announcement::Announce,
            (Announcement::Prepend(count), _) if low => Announcement::Prepend(count - 1),
            (state, _) => state,
        }
    }

    fn announcing(&self) -> usize {
        self.states.iter().filter(|(state, _)| *state != Announcement::Withdraw).count()
    }
}

/// The commands for an ExaBGP process (its text API) at one site, a line a prefix. Prefixes of the other family than the
/// session's need a next hop of theirs.
///
/// ```
/// use pop_route::{Announcement, exabgp_lines};
///
/// let lines = exabgp_lines(&["192.0.2.0/24".parse()?], Announcement::Prepend(2), 64500, None);
/// assert_eq!(lines, "announce route 192.0.2.0/24 next-hop self as-path [ 64500 64500 64500 ]\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn exabgp_lines(
    prefixes: &[Prefix],
    announcement: Announcement,
    own_as: u32,
    next_hop: Option<IpAddr>,
) -> String {
    let mut lines = String::new();
    let next_hop = next_hop.map_or_else(|| "self".to_owned(), |next_hop| next_hop.to_string());
    for prefix in prefixes {
        let verb = if announcement == Announcement::Withdraw { "withdraw" } else { "announce" };
        // Writing to a string does not fail.
        let _ = write!(lines, "{verb} route {prefix} next-hop {next_hop}");
        let _ = match announcement {
            Announcement::Prepend(count) => {
                // ExaBGP sends the path as it is told: once for us, and the repetitions.
                let path = format!("{own_as} ").repeat(usize::from(count.min(PREPENDS_MAX)) + 1);
                write!(lines, " as-path [ {path}]")
            }
            Announcement::Tag((high, low)) => write!(lines, " community [ {high}:{low} ]"),
            Announcement::Announce | Announcement::Withdraw => Ok(()),
        };
        lines.push('\n');
    }
    lines
}

/// The arguments for `gobgp`, a call a prefix: nothing passes through a shell. GoBGP puts our number in front of the
/// path that it is told.
#[must_use]
pub fn gobgp_arguments(
    prefixes: &[Prefix],
    announcement: Announcement,
    own_as: u32,
    next_hop: Option<IpAddr>,
) -> Vec<Vec<String>> {
    let call = |prefix: &Prefix| {
        let verb = if announcement == Announcement::Withdraw { "del" } else { "add" };
        let family = if prefix.address().is_ipv4() { "ipv4" } else { "ipv6" };
        let mut arguments: Vec<String> = ["global", "rib", verb, "-a", family].map(str::to_owned).into();
        arguments.push(prefix.to_string());
        if let Some(next_hop) = next_hop.filter(|_| announcement != Announcement::Withdraw) {
            arguments.extend(["nexthop".to_owned(), next_hop.to_string()]);
        }
        match announcement {
            Announcement::Prepend(count) => {
                let path = vec![own_as.to_string(); count.min(PREPENDS_MAX).into()].join(" ");
                arguments.extend(["aspath".to_owned(), path]);
            }
            Announcement::Tag((high, low)) => {
                arguments.extend(["community".to_owned(), format!("{high}:{low}")]);
            }
            Announcement::Announce | Announcement::Withdraw => {}
        }
        arguments
    };
    prefixes.iter().map(call).collect()
}

/// A file for BIRD 2 to include: a filter function and static routes. Write it and run `birdc configure`.
#[must_use]
pub fn bird_config(prefixes: &[Prefix], announcement: Announcement, own_as: u32) -> String {
    let mut text =
        String::from("# Written by pop-route: what this site announces.\nfunction pop_route_export() {\n");
    let _ = match announcement {
        Announcement::Prepend(count) => {
            let line = format!("  bgp_path.prepend({own_as});\n");
            write!(text, "{}", line.repeat(count.min(PREPENDS_MAX).into()))
        }
        Announcement::Tag((high, low)) => writeln!(text, "  bgp_community.add(({high},{low}));"),
        Announcement::Announce | Announcement::Withdraw => Ok(()),
    };
    text.push_str("  return true;\n}\n");
    for (family, v4) in [("ipv4", true), ("ipv6", false)] {
        let _ = writeln!(text, "protocol static pop_route_{family} {{\n  {family};");
        let ours = prefixes.iter().filter(|prefix| prefix.address().is_ipv4() == v4);
        for prefix in ours.filter(|_| announcement != Announcement::Withdraw) {
            let _ = writeln!(text, "  route {prefix} blackhole;");
        }
        text.push_str("}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Location, Site, SiteMap};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn announcer(sites: usize) -> Announcer {
        let place = Location::new(0.0, 0.0).unwrap();
        let map = SiteMap::new((0..sites).map(|index| Site::new(format!("S{index}"), place))).unwrap();
        Announcer::new(&map, AnnouncePolicy::default())
    }

    fn seen(site: u16, healthy: bool, utilisation: f64) -> SiteLoad {
        SiteLoad { site: SiteId(site), healthy, drained: false, utilisation }
    }

    #[test]
    fn the_last_one_stays() {
        let mut announcer = announcer(3);
        let dead = |announcer: &mut Announcer, second| {
            announcer.decide((0..3).map(|site| seen(site, false, 0.1)), at(second)).len()
        };
        assert_eq!(dead(&mut announcer, 1), 2);
        assert_eq!(dead(&mut announcer, 2), 0);
        assert_eq!(announcer.state(SiteId(2)), Announcement::Announce);
    }

    #[test]
    fn load_prepends_step_by_step_and_comes_back() {
        let mut announcer = announcer(2);
        let mut step = |second, utilisation| {
            announcer.decide([seen(0, true, utilisation)], at(second));
            announcer.state(SiteId(0))
        };
        assert_eq!(step(0, 0.99), Announcement::Prepend(1));
        assert_eq!(step(100, 0.99), Announcement::Prepend(1), "not before it has shown");
        assert_eq!(step(300, 0.99), Announcement::Prepend(2));
        assert_eq!(step(900, f64::NAN), Announcement::Prepend(2));
        assert_eq!(step(1200, 0.80), Announcement::Prepend(2), "between the marks");
        assert_eq!(step(1500, 0.20), Announcement::Prepend(1));
        assert_eq!(step(2500, 0.20), Announcement::Announce);
    }

    #[test]
    fn flapping_sites_change_no_more_than_the_bound() {
        let mut announcer = announcer(10);
        let mut changes = 0;
        for second in 0..600 {
            let healthy = second % 2 == 0;
            changes += announcer.decide((0..9).map(|site| seen(site, healthy, 0.1)), at(second)).len();
        }
        assert_eq!(changes, AnnouncePolicy::default().changes_max);
    }

    #[test]
    fn adapters_say_it_in_each_language() {
        let prefixes = ["192.0.2.0/24".parse().unwrap(), "2001:db8::/48".parse().unwrap()];
        let withdraw = exabgp_lines(&prefixes, Announcement::Withdraw, 64500, None);
        assert_eq!(withdraw.lines().count(), 2);
        assert!(withdraw.starts_with("withdraw route 192.0.2.0/24 next-hop self\n"));
        let tag = exabgp_lines(
            &prefixes[..1],
            Announcement::Tag((64501, 80)),
            64500,
            Some("192.0.2.1".parse().unwrap()),
        );
        assert_eq!(tag, "announce route 192.0.2.0/24 next-hop 192.0.2.1 community [ 64501:80 ]\n");
        let calls = gobgp_arguments(&prefixes, Announcement::Prepend(2), 64500, None);
        assert_eq!(calls[1].join(" "), "global rib add -a ipv6 2001:db8::/48 aspath 64500 64500");
        let bird = bird_config(&prefixes, Announcement::Prepend(2), 64500);
        assert_eq!(bird.matches("bgp_path.prepend(64500);").count(), 2);
        assert!(bird.contains("route 2001:db8::/48 blackhole;"));
        assert!(!bird_config(&prefixes, Announcement::Withdraw, 64500).contains("blackhole"));
    }
}
