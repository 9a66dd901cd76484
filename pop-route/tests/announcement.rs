//! What announcements hold to, whatever is seen: a bound on changes, time between steps, somebody always announces.

use std::collections::VecDeque;
use std::time::Duration;

use pop_route::{
    AnnouncePolicy, Announcement, Announcer, Location, Site, SiteId, SiteLoad, SiteMap, Timestamp,
};
use proptest::prelude::*;

const SITES: usize = 5;

fn map() -> SiteMap {
    let place = Location::new(0.0, 0.0).unwrap();
    SiteMap::new((0..SITES).map(|index| Site::new(format!("S{index}"), place))).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO.saturating_add(Duration::from_secs(seconds))
}

/// How strongly a site calls: prepends and tags weaken, a withdrawn one is silent.
fn weakness(announcement: Announcement) -> u8 {
    match announcement {
        Announcement::Announce => 0,
        Announcement::Prepend(count) => count,
        _ => u8::MAX,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn changes_are_few_far_between_and_never_silence_everybody(
        changes_max in 1_usize..6,
        seen in prop::collection::vec(
            (1_u64..120, prop::collection::vec((prop::bool::weighted(0.8), prop::bool::weighted(0.1), 0.0_f64..1.5), SITES)),
            1..150,
        ),
    ) {
        let sites = map();
        let policy = AnnouncePolicy { changes_max, ..AnnouncePolicy::default() };
        let mut announcer = Announcer::new(&sites, policy);
        let ids: Vec<SiteId> = sites.iter().map(|(id, _)| id).collect();
        let mut second = 0;
        let mut window: VecDeque<u64> = VecDeque::new();
        let mut last: Vec<Option<u64>> = vec![None; SITES];
        for (pause, loads) in seen {
            second += pause;
            let before: Vec<Announcement> = ids.iter().map(|&id| announcer.state(id)).collect();
            let loads: Vec<SiteLoad> = ids
                .iter()
                .zip(&loads)
                .map(|(&site, &(healthy, drained, utilisation))| SiteLoad { site, healthy, drained, utilisation })
                .collect();
            let changes = announcer.decide(loads.iter().copied(), at(second));
            while window.front().is_some_and(|&made| second - made >= policy.window.as_secs()) {
                window.pop_front();
            }
            window.extend(changes.iter().map(|_| second));
            prop_assert!(window.len() <= changes_max, "{} changes within a window", window.len());
            prop_assert!(ids.iter().any(|&id| announcer.state(id) != Announcement::Withdraw), "nobody announces");
            for &(site, now) in &changes {
                let (seen, was) = (loads[site.index()], before[site.index()]);
                prop_assert!(now != was && now == announcer.state(site));
                if now == Announcement::Withdraw {
                    prop_assert!(!seen.healthy || seen.drained);
                    last[site.index()] = Some(second);
                    continue;
                }
                // Steps of load, and coming back, wait until the last change has shown.
                let settled = last[site.index()].is_none_or(|last| second - last >= policy.settle.as_secs());
                prop_assert!(settled, "too soon: {last:?} and {second}");
                if was != Announcement::Withdraw {
                    let weaker = weakness(now) > weakness(was);
                    let high_or_low =
                        if weaker { seen.utilisation > policy.high } else { seen.utilisation < policy.low };
                    prop_assert!(high_or_low, "a step without a reason");
                    prop_assert_eq!(weakness(now).abs_diff(weakness(was)), 1, "a step at a time");
                }
                last[site.index()] = Some(second);
            }
        }
    }
}

/// Around the marks nothing happens: utilisation that swings between them changes no announcement.
#[test]
fn load_that_swings_between_the_marks_changes_nothing() {
    let sites = map();
    let mut announcer = Announcer::new(&sites, AnnouncePolicy::default());
    let (site, _) = sites.iter().next().unwrap();
    let mut decide = |utilisation, second| {
        announcer.decide([SiteLoad { site, healthy: true, drained: false, utilisation }], at(second)).len()
    };
    assert_eq!(decide(0.96, 0), 1, "above the high mark");
    let swinging =
        (1..2000).map(|step| decide(if step % 2 == 0 { 0.71 } else { 0.94 }, step * 300)).sum::<usize>();
    assert_eq!(swinging, 0);
    assert_eq!(decide(0.69, 700_000), 1, "below the low mark");
}
