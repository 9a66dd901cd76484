//! What must not swing, leave or move: flapping sites, steps of load, fences, measurements of liars, origins that stall.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use pop_route::{
    Choice, ClientFacts, HealthPolicy, Location, PeakEwma, RTT_MAX, Reason, Selector, Site, SiteId, SiteMap,
    Timestamp,
};
use proptest::prelude::*;

fn place(latitude: f64, longitude: f64) -> Location {
    Location::new(latitude, longitude).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO.saturating_add(Duration::from_secs(seconds))
}

fn block(index: u8) -> (IpAddr, u8) {
    (Ipv4Addr::new(198, 18, index, 0).into(), 24)
}

const BLOCKS: u8 = 36;

/// Six sites around the equator, in two countries; a block of clients every ten degrees.
fn sites() -> [Site; 6] {
    core::array::from_fn(|index| {
        let country = if index % 2 == 0 { "XA" } else { "XB" };
        Site::new(format!("S{index}"), place(0.0, index as f64 * 60.0 - 180.0)).country(country)
    })
}

fn selector(sites: impl IntoIterator<Item = Site>, facts: impl Fn(u8) -> ClientFacts) -> Selector {
    let builder = Selector::builder(SiteMap::new(sites).unwrap()).health(HealthPolicy::default());
    (0..BLOCKS).fold(builder, |builder, index| builder.client(block(index), facts(index)).unwrap()).build()
}

fn here(index: u8) -> ClientFacts {
    ClientFacts::at(place(1.0, f64::from(index) * 10.0 - 179.0))
}

fn choices(selector: &Selector) -> Vec<Choice> {
    (0..BLOCKS).map(|index| selector.select(block(index))).collect()
}

fn firsts(selector: &Selector) -> Vec<Option<SiteId>> {
    choices(selector).iter().map(Choice::site).collect()
}

/// A site whose probes fail for five seconds of every ten, for two hours: each outage is longer than what makes it fall,
/// yet after the first few its clients are left where they are, and nobody else's ever move.
#[test]
fn a_flapping_site_is_damped_and_moves_no_bystanders() {
    let selector = selector(sites(), here);
    let before = firsts(&selector);
    let flapping = before[0].unwrap();
    let (mut last, mut changes) = (before.clone(), Vec::new());
    for second in 1..7200 {
        selector.probed(flapping, second % 10 < 5, at(second));
        let now = firsts(&selector);
        for ((now, last), before) in now.iter().zip(&last).zip(&before) {
            assert!(now == last || *before == Some(flapping), "a bystander moved");
        }
        if now != last {
            changes.push(second);
        }
        last = now;
    }
    let early = changes.iter().filter(|&&second| second < 600).count();
    let late = changes.iter().filter(|&&second| second >= 6600).count();
    assert!(early > late, "{changes:?}");
    // The hold-down has grown to some minutes: a fall and a rise in each of them at most.
    assert!(late <= 12, "{late} changes in the last ten minutes");
    // When it is well for good, the same clients come back.
    (7200..12_000).for_each(|second| _ = selector.probed(flapping, true, at(second)));
    assert_eq!(firsts(&selector), before);
}

/// A dead site's clients move, nobody else's; they come back, the same ones, when the hold-down is over and not before.
#[test]
fn failover_moves_only_the_dead_sites_clients_until_the_hold_down_is_over() {
    for victim in 0..6 {
        let selector = selector(sites(), here);
        let before = firsts(&selector);
        let dead = selector.sites().find(&format!("S{victim}")).unwrap();
        (1..=3).for_each(|second| _ = selector.probed(dead, false, at(second)));
        for (now, before) in firsts(&selector).iter().zip(&before) {
            assert_eq!(now == before, *before != Some(dead));
        }
        let during = firsts(&selector);
        // Ten seconds from the fall in the third.
        assert!((4..13).all(|second| !selector.probed(dead, true, at(second))));
        assert_eq!(firsts(&selector), during);
        assert!(selector.probed(dead, true, at(13)));
        assert_eq!(firsts(&selector), before);
    }
}

/// Load steps to one and a half times what a site can carry. The answers change once and then stay, although load is looked at
/// again and again; when the step is over all is as it was.
#[test]
fn a_step_of_load_swings_nothing() {
    let limited = sites().map(|site| site.capacity(100.0));
    let selector = selector(limited, |index| here(index).demand(10.0));
    let before = choices(&selector);
    let crowded: Vec<u8> =
        (0..BLOCKS).filter(|&index| before[usize::from(index)].site() == before[0].site()).collect();
    let demand = 150.0 / crowded.len() as f64;
    crowded.iter().for_each(|&index| assert!(selector.demand(block(index), demand)));
    selector.recompile(at(1));
    let during = choices(&selector);
    assert_ne!(during, before);
    for second in 2..200 {
        selector.recompile(at(second));
        assert_eq!(choices(&selector), during, "second {second}");
    }
    let loads: Vec<f64> = selector.sites().iter().map(|(site, _)| selector.load(site)).collect();
    assert!(loads.iter().all(|&load| load <= 100.0 + 1e-6), "{loads:?}");
    let asked: f64 = demand * crowded.len() as f64 + 10.0 * (usize::from(BLOCKS) - crowded.len()) as f64;
    assert!((loads.iter().sum::<f64>() - asked).abs() < 1e-6, "load is conserved: {loads:?}");
    crowded.iter().for_each(|&index| assert!(selector.demand(block(index), 10.0)));
    (200..210).for_each(|second| selector.recompile(at(second)));
    assert_eq!(choices(&selector), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever dies, drains, sheds, fills up or is measured: no site outside the fence is ever named, not even behind
    /// the first, and where the fence leaves a site somebody is always named.
    #[test]
    fn no_event_leads_out_of_a_fence(
        capacity in prop::collection::vec(1.0_f64..60.0, 6),
        events in prop::collection::vec((0_u8..5, 0_usize..6, 0_u8..BLOCKS, 1_u64..400), 1..40),
    ) {
        let limited = sites().into_iter().zip(&capacity).map(|(site, &capacity)| site.capacity(capacity));
        let fence = |index: u8| ["XA", "XB", "XC"][usize::from(index % 3)];
        let selector = selector(limited, |index| {
            let catches = SiteMap::new(sites()).unwrap().find(&format!("S{}", index % 6)).unwrap();
            here(index).demand(9.0).fenced_to(fence(index)).caught_by([(catches, 1.0)])
        });
        let ids: Vec<SiteId> = selector.sites().iter().map(|(id, _)| id).collect();
        for (step, (what, site, client, value)) in (1..).zip(events) {
            let (site, now) = (ids[site], at(step * 20));
            match what {
                0 => (0..3).for_each(|probe| _ = selector.probed(site, value % 2 == 0, at(step * 20 + probe))),
                1 => selector.drain(site, value % 2 == 0, now),
                2 => selector.shed(site, value as f64 / 400.0, now),
                3 => _ = selector.demand(block(client), value as f64),
                _ => (0..4).for_each(|_| {
                    assert!(selector.measure(block(client), site, Duration::from_millis(value), now));
                }),
            }
            selector.recompile(now);
            for index in 0..BLOCKS {
                let choice = selector.select(block(index));
                let named: BTreeSet<_> =
                    choice.sites().iter().map(|&site| selector.sites().site(site).country_code()).collect();
                if fence(index) == "XC" {
                    prop_assert!(named.is_empty() && choice.reason() == Reason::FencedOut);
                } else {
                    prop_assert_eq!(named, BTreeSet::from([Some(fence(index))]));
                }
            }
        }
    }

    /// Any round trips at all, from one block: what is accepted stays within bounds, and no other block moves.
    #[test]
    fn a_liar_moves_nobody_but_itself(
        samples in prop::collection::vec((0_usize..6, prop_oneof![any::<u64>(), 0_u64..2, Just(u64::MAX), 1_u64..100_000_000]), 1..60),
    ) {
        let selector = selector(sites(), here);
        let (before, ids) = (choices(&selector), selector.sites().iter().map(|(id, _)| id).collect::<Vec<_>>());
        for (second, (site, nanos)) in (1..).zip(samples) {
            let rtt = Duration::from_nanos(nanos);
            let taken = selector.measure(block(7), ids[site], rtt, at(second));
            prop_assert_eq!(taken, !rtt.is_zero() && rtt <= RTT_MAX);
            selector.recompile(at(second));
            if let Some(measured) = selector.measured(block(7), ids[site], at(second)) {
                prop_assert!(measured.millis.is_finite() && measured.millis > 0.0);
                prop_assert!(measured.millis <= RTT_MAX.as_secs_f64() * 1e3 && measured.error_millis.is_finite());
            }
        }
        for (index, (now, before)) in choices(&selector).iter().zip(&before).enumerate() {
            // Its neighbours hold for narrower blocks now, but go where they went.
            prop_assert!(index == 7 || now.sites() == before.sites());
        }
    }
}

/// Two of ten origins become ten times slower for a while. Of two that are drawn the one that is expected to answer first is
/// asked, so the slow ones get little while they are slow, and their part again when they have recovered.
#[test]
fn slow_origins_get_little_and_their_part_again_when_they_recover() {
    const ORIGINS: usize = 10;
    let mut origins = PeakEwma::new(ORIGINS, Duration::from_secs(2));
    let (mut under_way, mut random) = (Vec::<(u64, usize, u64)>::new(), 1_u64);
    let mut counts = [[0_u32; ORIGINS]; 3];
    for micros in (0..30_000_000_u64).step_by(1_000) {
        let now = Timestamp::from_nanos(micros * 1_000);
        under_way.retain(|&(done, origin, started)| {
            if done <= micros {
                origins.finish(origin, Duration::from_micros(done - started), now);
            }
            done > micros
        });
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let origin = origins.pick(random >> 16, now).unwrap();
        let slow = origin < 2 && (10_000_000..20_000_000).contains(&micros);
        origins.start(origin);
        under_way.push((micros + if slow { 50_000 } else { 5_000 }, origin, micros));
        // The first half of each phase is for finding out.
        if micros % 10_000_000 >= 5_000_000 {
            counts[(micros / 10_000_000) as usize][origin] += 1;
        }
    }
    let part =
        |counts: &[u32; ORIGINS]| f64::from(counts[0] + counts[1]) / f64::from(counts.iter().sum::<u32>());
    let parts = counts.each_ref().map(part);
    assert!((0.12..0.28).contains(&parts[0]), "{parts:?}");
    assert!(parts[1] < 0.07, "a fifth of the origins, a tenth of the speed: {parts:?}");
    assert!((0.12..0.28).contains(&parts[2]), "{parts:?}");
}
