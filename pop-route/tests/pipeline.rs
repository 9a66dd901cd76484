//! The stages of the pipeline through the public face: scope, anycast, weights, capacity, shedding, readers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pop_route::{
    Choice, ClientFacts, DistanceModel, Location, Policy, Prefix, Reason, SCOPE_V4_MAX, Selector, Site,
    SiteId, SiteMap, Timestamp, Via,
};
use proptest::prelude::*;

fn place(latitude: f64, longitude: f64) -> Location {
    Location::new(latitude, longitude).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO.saturating_add(Duration::from_secs(seconds))
}

fn site(name: &str, latitude: f64, longitude: f64) -> Site {
    Site::new(name, place(latitude, longitude))
}

/// Four sites on the equator, ten degrees apart.
fn equator() -> [Site; 4] {
    [site("A", 0.0, 0.0), site("B", 0.0, 10.0), site("C", 0.0, 20.0), site("D", 0.0, 30.0)]
}

/// The /24s of 10.0.0.0/12.
fn blocks() -> impl Iterator<Item = (IpAddr, u8)> {
    (0..4096_u32).map(|index| (IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | index << 8)), 24))
}

const EVERYBODY: &str = "10.0.0.0";

fn everybody() -> (IpAddr, u8) {
    (EVERYBODY.parse().unwrap(), 12)
}

/// The part of the /24s whose first site is each.
fn parts(selector: &Selector) -> BTreeMap<SiteId, f64> {
    let mut parts = BTreeMap::new();
    for block in blocks() {
        *parts.entry(selector.select(block).site().unwrap()).or_insert(0.0) += 1.0 / 4096.0;
    }
    parts
}

fn kill(selector: &Selector, name: &str, from: u64) {
    let dead = selector.sites().find(name).unwrap();
    assert_eq!((from..from + 3).filter(|&second| selector.probed(dead, false, at(second))).count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The whole decision is the longest match, then the order by distance; every /24 of a scope shares it, and no
    /// shorter scope would do. Exhaustive over a /16.
    #[test]
    fn choices_agree_with_naive_and_scopes_are_exact(
        clients in prop::collection::vec((0_u32..1 << 16, 16_u8..=32, -180.0_f64..180.0), 1..12),
    ) {
        let blocks_known: Vec<(Prefix, Location)> = clients
            .iter()
            .map(|&(offset, length, longitude)| {
                let address = Ipv4Addr::from_bits(0x0a00_0000 | offset);
                (Prefix::new(address.into(), length).unwrap(), place(0.0, longitude))
            })
            .collect();
        let mut builder = Selector::builder(SiteMap::new(equator()).unwrap());
        let mut known = BTreeMap::new();
        for &(prefix, location) in &blocks_known {
            builder = builder.client(prefix.into(), ClientFacts::at(location)).unwrap();
            known.insert(prefix, location);
        }
        let selector = builder.build();
        let choices: Vec<Choice> = blocks().take(256).map(|block| selector.select(block)).collect();
        for ((address, _), choice) in blocks().take(256).zip(&choices) {
            let longest = known.iter().filter(|(prefix, _)| prefix.contains(address)).max_by_key(|(prefix, _)| prefix.length());
            let mut order: Vec<SiteId> = selector.sites().iter().map(|(id, _)| id).collect();
            if let Some((_, location)) = longest {
                let millis = |id: &SiteId| DistanceModel::default().millis(location.distance_km(selector.sites().site(*id).location()));
                order.sort_by(|one, other| millis(one).total_cmp(&millis(other)).then(one.cmp(other)));
            }
            prop_assert_eq!(choice.sites(), &order[..]);
        }
        // Choices carry their scope, which differs inside a wider block: compare what is decided.
        let decided = |index: usize| (choices[index].sites().to_vec(), choices[index].reason(), choices[index].ttl);
        for (index, choice) in choices.iter().enumerate() {
            let scope = choice.scope;
            prop_assert!(scope <= SCOPE_V4_MAX);
            let uniform = |length: u8| {
                let size = 1_usize << (24 - length);
                let start = index / size * size;
                (start..start + size).all(|other| decided(other) == decided(index))
            };
            prop_assert!(scope < 16 || uniform(scope));
            prop_assert!(scope <= 16 || !uniform(scope - 1), "{} /{}", index, scope);
        }
    }
}

#[test]
fn one_address_of_a_block_and_the_block_agree_in_both_families() {
    let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let selector = Selector::builder(SiteMap::new(equator()).unwrap())
        .client((v6("2001:db8::").into(), 56), ClientFacts::at(place(0.0, 29.0)))
        .unwrap()
        .client((v6("2001:db8:0:0:8000::").into(), 65), ClientFacts::at(place(0.0, 1.0)))
        .unwrap()
        .build();
    // A /65 is finer than any answer: its /56 goes as one.
    let choice = selector.select((v6("2001:db8::").into(), 56));
    assert_eq!(selector.sites().site(choice.site().unwrap()).name(), "D");
    assert_eq!(choice, selector.select((v6("2001:db8:0:0:ffff::1").into(), 128)));
    assert_eq!(choice.scope, 56);
}

/// What BGP does to a client of 10.0.0.0/12: half to C, half to D, while B is next door.
fn anycast_selector(fence: &[&str]) -> Selector {
    let sites = equator().map(|site| {
        let country = site.name().to_owned();
        site.country(country).anycast("192.0.2.1".parse().unwrap())
    });
    let map = SiteMap::new(sites).unwrap();
    let caught = [(map.find("C").unwrap(), 2.0), (map.find("D").unwrap(), 1.0)];
    let mut facts = ClientFacts::at(place(0.0, 11.0)).caught_by(caught);
    facts.fence = fence.iter().map(ToString::to_string).collect();
    Selector::builder(map).client(everybody(), facts).unwrap().build()
}

/// Samples with a little jitter.
fn measure(selector: &Selector, name: &str, millis: f64, count: u32, now: Timestamp) {
    let site = selector.sites().find(name).unwrap();
    for index in 0..count {
        let jitter = 1.0 + f64::from(index % 3) * 0.01;
        assert!(selector.measure(everybody(), site, Duration::from_secs_f64(millis * jitter / 1e3), now));
    }
    selector.recompile(now);
}

#[test]
fn clients_stay_on_anycast_until_a_gain_is_proven_and_return_when_it_is_gone() {
    let selector = anycast_selector(&[]);
    let name = |choice: &Choice| selector.sites().site(choice.site().unwrap()).name().to_owned();
    let state = || {
        let choice = selector.select(everybody());
        (name(&choice), choice.via(), choice.reason())
    };
    // By distance B is much nearer. That is no proof.
    assert_eq!(state(), ("C".into(), Via::Anycast, Reason::Anycast));
    assert_eq!(
        selector.select(everybody()).addresses(selector.sites()),
        ["192.0.2.1".parse::<IpAddr>().unwrap()]
    );
    measure(&selector, "C", 30.0, 30, at(1));
    measure(&selector, "B", 10.0, 30, at(1));
    assert_eq!(state().1, Via::Anycast, "D catches some, and is not measured");
    measure(&selector, "D", 50.0, 2, at(1));
    assert_eq!(state().1, Via::Anycast, "two samples are no proof either");
    measure(&selector, "D", 50.0, 30, at(1));
    assert_eq!(state(), ("B".into(), Via::Unicast, Reason::Measured));
    let explanation = selector.explain(everybody());
    assert!(explanation.anycast.unwrap().proven_millis.unwrap() > 20.0);
    assert!(explanation.to_string().contains(": leave"), "{explanation}");
    // 7 ms of gain are enough to stay away (keep 5), and would not have been enough to leave (gain 10).
    measure(&selector, "C", 15.0, 300, at(2));
    measure(&selector, "D", 25.0, 300, at(2));
    assert_eq!(state().1, Via::Unicast);
    measure(&selector, "C", 12.0, 300, at(3));
    measure(&selector, "D", 12.0, 300, at(3));
    assert_eq!(state().1, Via::Anycast);
    measure(&selector, "C", 15.0, 300, at(4));
    measure(&selector, "D", 25.0, 300, at(4));
    assert_eq!(state().1, Via::Anycast);
    // Nobody measured for hours: nothing is proven.
    measure(&selector, "C", 60.0, 300, at(5));
    assert_eq!(state().1, Via::Unicast);
    selector.recompile(at(4 * 3600));
    assert_eq!(state().1, Via::Anycast);
}

#[test]
fn a_few_clients_who_go_around_the_world_are_reason_enough() {
    let map = SiteMap::new(equator()).unwrap();
    let caught = [(map.find("B").unwrap(), 97.0), (map.find("D").unwrap(), 3.0)];
    let facts = ClientFacts::at(place(0.0, 11.0)).caught_by(caught);
    let selector = Selector::builder(map).client(everybody(), facts).unwrap().build();
    measure(&selector, "B", 10.0, 60, at(1));
    measure(&selector, "D", 30.0, 60, at(1));
    assert_eq!(selector.select(everybody()).via(), Via::Anycast, "20 ms for three in a hundred");
    measure(&selector, "D", 300.0, 300, at(2));
    let gain = selector.explain(everybody()).anycast.unwrap();
    assert!(gain.leaves && gain.gain_millis < 10.0, "{gain:?}");
    assert_eq!(selector.select(everybody()).via(), Via::Unicast);
}

#[test]
fn an_outage_moves_no_bystanders_across_the_anycast_rule() {
    let selector = anycast_selector(&[]);
    measure(&selector, "B", 10.0, 60, at(1));
    measure(&selector, "C", 12.0, 60, at(1));
    measure(&selector, "D", 200.0, 60, at(1));
    let name =
        |choice: &Choice| (selector.sites().site(choice.site().unwrap()).name().to_owned(), choice.via());
    assert_eq!(name(&selector.select(everybody())), ("B".into(), Via::Unicast));
    // Without D anycast is nearly as good. But who is at B is not concerned.
    kill(&selector, "D", 10);
    assert_eq!(name(&selector.select(everybody())), ("B".into(), Via::Unicast));
    // Without B they are, and anycast without D is the best there is.
    kill(&selector, "B", 20);
    assert_eq!(name(&selector.select(everybody())), ("C".into(), Via::Anycast));
    let back = selector.sites().find("B").unwrap();
    assert_eq!((40..50).filter(|&second| selector.probed(back, true, at(second))).count(), 1);
    assert_eq!(name(&selector.select(everybody())), ("B".into(), Via::Unicast));
}

#[test]
fn anycast_ends_where_its_sites_do_and_never_crosses_a_fence() {
    let selector = anycast_selector(&[]);
    kill(&selector, "C", 10);
    let choice = selector.select(everybody());
    assert_eq!((selector.sites().site(choice.site().unwrap()).name(), choice.via()), ("D", Via::Anycast));
    kill(&selector, "D", 20);
    let choice = selector.select(everybody());
    assert_eq!((selector.sites().site(choice.site().unwrap()).name(), choice.via()), ("B", Via::Unicast));

    // One of three lands in D: no anycast for clients who must not leave C.
    let fenced = anycast_selector(&["C"]);
    let choice = fenced.select(everybody());
    assert_eq!((fenced.sites().site(choice.site().unwrap()).name(), choice.via()), ("C", Via::Unicast));
    assert_eq!(choice.sites().len(), 1);
}

fn near_b(demand: f64) -> ClientFacts {
    ClientFacts::at(place(0.0, 11.0)).demand(demand)
}

#[test]
fn neighbours_within_the_band_share_by_weight_and_a_dead_one_moves_only_its_own() {
    let [a, b, c, d] = equator();
    let sites = SiteMap::new([a, b.weight(3.0), c.weight(1.0), d]).unwrap();
    let policy = Policy { band: Duration::from_millis(14), ..Policy::default() };
    let build =
        || Selector::builder(sites.clone()).policy(policy).client(everybody(), near_b(0.0)).unwrap().build();
    let selector = build();
    let id = |name: &str| selector.sites().find(name).unwrap();
    let shares = parts(&selector);
    // B 1 degree, C 9, A 11: within 14 ms (1000 km and more) of the best are B and C, and A just not.
    assert_eq!(shares.len(), 2, "{shares:?}");
    assert!((shares[&id("B")] - 0.75).abs() < 0.03 && (shares[&id("C")] - 0.25).abs() < 0.03, "{shares:?}");
    let before: Vec<_> = blocks().map(|block| selector.select(block).site()).collect();
    assert!(blocks().all(|block| selector.select(block).scope == 24 && selector.select(block).ttl == 30));
    kill(&selector, "C", 1);
    for (block, before) in blocks().zip(&before) {
        let now = selector.select(block).site();
        assert_eq!(now != *before, *before == Some(id("C")), "{block:?}");
    }
    // DNS and HTTP agree, whatever part of the address they know; so does another machine.
    let other = build();
    for (index, (address, _)) in (0_u32..).zip(blocks()).take(64) {
        let IpAddr::V4(v4) = address else { unreachable!() };
        let client = IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() + index));
        assert_eq!(other.select((client, 32)).site(), before[index as usize]);
    }
}

#[test]
fn a_full_site_spills_by_whole_blocks_to_several_and_takes_the_same_ones_back() {
    let [a, b, c, d] = equator();
    let sites = [a.capacity(20.0), b.capacity(60.0), c.capacity(30.0), d.capacity(1000.0)];
    let selector =
        Selector::builder(SiteMap::new(sites).unwrap()).client(everybody(), near_b(50.0)).unwrap().build();
    let id = |name: &str| selector.sites().find(name).unwrap();
    let calm: Vec<_> = blocks().map(|block| selector.select(block)).collect();
    assert!(calm.iter().all(|choice| choice.site() == Some(id("B")) && choice.scope <= 12));
    assert!(selector.demand(everybody(), 120.0));
    selector.recompile(at(1));
    let loads: Vec<f64> = selector.sites().iter().map(|(id, _)| selector.load(id)).collect();
    assert!((loads.iter().sum::<f64>() - 120.0).abs() < 1e-3, "{loads:?}");
    for ((_, site), load) in selector.sites().iter().zip(&loads) {
        assert!(*load <= site.capacity_limit().unwrap() + 1e-6, "{} {load}", site.name());
    }
    assert!(loads.iter().filter(|load| **load > 0.0).count() >= 3, "several share: {loads:?}");
    // What is promised is what clients do.
    for (site, part) in parts(&selector) {
        assert!((part - loads[site.index()] / 120.0).abs() < 0.03, "{site:?} {part} {loads:?}");
    }
    let spilled =
        blocks().map(|block| selector.select(block)).filter(|choice| choice.reason() == Reason::Capacity);
    assert!(spilled.count() > 1000);
    // Scope and lifetime say that this is by block, and in flux.
    assert!(
        blocks().map(|block| selector.select(block)).all(|choice| choice.scope == 24 && choice.ttl == 10)
    );
    let split = selector.explain(everybody());
    assert!(split.to_string().contains("split"), "{split}");
    // One step of demand is one change of answers: nothing swings after it.
    let spilled: Vec<_> = blocks().map(|block| selector.select(block)).collect();
    for round in 2..12 {
        selector.recompile(at(round));
        assert!(blocks().map(|block| selector.select(block)).eq(spilled.iter().copied()), "round {round}");
    }
    selector.demand(everybody(), 50.0);
    selector.recompile(at(12));
    assert!(blocks().map(|block| selector.select(block)).eq(calm));
}

#[test]
fn a_fence_holds_against_spilling() {
    let [a, b, c, d] = equator();
    let sites = [a, b.capacity(10.0).country("X"), c.capacity(5.0).country("X"), d].map(|site| {
        let limit = site.capacity_limit().unwrap_or(1e9);
        site.capacity(limit)
    });
    let facts = near_b(100.0).fenced_to("X");
    let selector =
        Selector::builder(SiteMap::new(sites).unwrap()).client(everybody(), facts).unwrap().build();
    for block in blocks() {
        let choice = selector.select(block);
        assert!(choice.sites().iter().all(|&site| selector.sites().site(site).country_code() == Some("X")));
    }
    let loads: Vec<f64> = selector.sites().iter().map(|(id, _)| selector.load(id)).collect();
    assert_eq!((loads[0], loads[3]), (0.0, 0.0));
    assert!((loads[1] + loads[2] - 100.0).abs() < 1e-3, "what nobody has room for stays: {loads:?}");
}

#[test]
fn a_site_that_sheds_locally_keeps_the_rest_where_it_was() {
    let selector =
        Selector::builder(SiteMap::new(equator()).unwrap()).client(everybody(), near_b(0.0)).unwrap().build();
    let id = |name: &str| selector.sites().find(name).unwrap();
    selector.shed(id("B"), 0.25, at(1));
    let shares = parts(&selector);
    assert!((shares[&id("B")] - 0.75).abs() < 0.03, "{shares:?}");
    assert!((shares[&id("C")] - 0.25).abs() < 0.03, "to the next nearest: {shares:?}");
    selector.shed(id("B"), f64::NAN, at(2));
    assert_eq!(parts(&selector).len(), 1);
}

#[test]
fn readers_never_see_half_of_a_change() {
    let selector =
        Selector::builder(SiteMap::new(equator()).unwrap()).client(everybody(), near_b(0.0)).unwrap().build();
    let id = |name: &str| selector.sites().find(name).unwrap();
    let (b, c) = (id("B"), id("C"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0;
                    while !done.load(Ordering::Relaxed) {
                        let snapshot = selector.snapshot();
                        let first = snapshot.choose(everybody());
                        assert!([Some(b), Some(c)].contains(&first.site()));
                        assert!(blocks().take(64).all(|block| snapshot.choose(block) == first));
                        seen += 1;
                    }
                    seen
                })
            })
            .collect();
        for round in 0..200 {
            selector.drain(b, round % 2 == 0, at(round));
        }
        done.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
    });
    assert_eq!(selector.select(everybody()).site(), Some(b));
}

#[test]
fn measurements_out_of_bounds_move_nobody() {
    let selector = Selector::builder(SiteMap::new(equator()).unwrap())
        .pairs_max(4)
        .client(everybody(), near_b(0.0))
        .unwrap()
        .build();
    let id = |name: &str| selector.sites().find(name).unwrap();
    assert!(!selector.measure(everybody(), id("D"), Duration::ZERO, at(1)));
    assert!(!selector.measure(everybody(), id("D"), Duration::MAX, at(1)));
    assert!(!selector.measure(
        ("203.0.113.1".parse().unwrap(), 32),
        id("D"),
        Duration::from_millis(1),
        at(1)
    ));
    let larger = SiteMap::new((0..9).map(|index| site(&format!("S{index}"), 0.0, f64::from(index)))).unwrap();
    let stranger = larger.find("S8").unwrap();
    assert!(!selector.measure(everybody(), stranger, Duration::from_millis(1), at(1)), "no site of this map");
    assert!(!selector.probed(stranger, false, at(1)));
    assert!(!selector.demand(("203.0.113.1".parse().unwrap(), 32), 1.0));
    selector.demand(everybody(), f64::NAN);
    selector.recompile(at(1));
    assert_eq!(selector.select(everybody()).site(), Some(id("B")));
    assert_eq!(selector.measured(everybody(), id("D"), at(1)), None);
}
