//! Selection through the public face: who moves, who stays, how wide an answer holds.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

#[cfg(feature = "serde")]
use pop_route::ClientAtlas;
use pop_route::{
    AdminState, ClientFacts, Fate, HealthPolicy, Location, MapError, Reason, SITE_NAME_MAX, SITES_MAX,
    Selector, Site, SiteMap, Timestamp,
};

fn place(latitude: f64, longitude: f64) -> Location {
    Location::new(latitude, longitude).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO.saturating_add(Duration::from_secs(seconds))
}

fn block(index: u8) -> (IpAddr, u8) {
    (IpAddr::V4(Ipv4Addr::new(198, 18, index, 0)), 24)
}

const CITIES: [(f64, f64); 6] =
    [(52.5, 13.4), (51.5, -0.1), (40.7, -74.0), (34.0, -118.2), (35.7, 139.7), (1.3, 103.9)];

fn selector() -> Selector {
    let sites = SiteMap::new([
        Site::new("FRA", place(50.0, 8.6)).country("DE"),
        Site::new("IAD", place(38.9, -77.5)).country("US"),
        Site::new("NRT", place(35.8, 140.4)).country("JP"),
    ])
    .unwrap();
    let mut builder =
        Selector::builder(sites).health(HealthPolicy { fall: 2, rise: 2, ..HealthPolicy::default() });
    for (index, (latitude, longitude)) in (0..).zip(CITIES) {
        builder = builder.client(block(index), ClientFacts::at(place(latitude, longitude))).unwrap();
    }
    builder.build()
}

fn names(selector: &Selector) -> Vec<String> {
    (0..6)
        .map(|index| {
            let site = selector.select(block(index)).site().unwrap();
            selector.sites().site(site).name().to_owned()
        })
        .collect()
}

#[test]
fn the_dead_sites_clients_move_nobody_else_and_the_same_come_back() {
    let selector = selector();
    let before = names(&selector);
    assert_eq!(before, ["FRA", "FRA", "IAD", "IAD", "NRT", "NRT"]);
    let dead = selector.sites().find("IAD").unwrap();
    assert!(!selector.probed(dead, false, at(1)));
    assert!(selector.probed(dead, false, at(2)));
    let during = names(&selector);
    for (before, during) in before.iter().zip(&during) {
        assert_eq!(before == "IAD", before != during, "{before} {during}");
    }
    // Two successes, but held down for ten seconds.
    (3..12).for_each(|second| assert!(!selector.probed(dead, true, at(second))));
    assert!(selector.probed(dead, true, at(12)));
    assert_eq!(names(&selector), before);
}

#[test]
fn when_all_sites_look_dead_the_best_is_still_named_and_marked() {
    let selector = selector();
    for site in selector.sites().iter().map(|(id, _)| id) {
        selector.probed(site, false, at(1));
        selector.probed(site, false, at(2));
    }
    let choice = selector.select(block(0));
    assert_eq!(choice.reason(), Reason::Panic);
    assert_eq!(selector.sites().site(choice.site().unwrap()).name(), "FRA");
    assert!(selector.explain(block(0)).to_string().contains("panic"));
}

#[test]
fn a_fence_holds_even_in_panic() {
    let sites = SiteMap::new([
        Site::new("FRA", place(50.0, 8.6)).country("DE"),
        Site::new("ZRH", place(47.5, 8.5)).country("CH"),
    ])
    .unwrap();
    let facts = |country: &str| ClientFacts::at(place(50.0, 8.0)).fenced_to(country);
    let selector = Selector::builder(sites)
        .client(block(1), facts("CH"))
        .unwrap()
        .client(block(2), facts("FR"))
        .unwrap()
        .build();
    let zurich = selector.sites().find("ZRH");
    assert_eq!(selector.select(block(1)).site(), zurich);
    let fell = (1..=3).filter(|&second| selector.probed(zurich.unwrap(), false, at(second))).count();
    assert_eq!(fell, 1);
    let choice = selector.select(block(1));
    assert_eq!((choice.site(), choice.reason(), choice.sites().len()), (zurich, Reason::Panic, 1));
    let nobody = selector.select(block(2));
    assert_eq!((nobody.site(), nobody.reason()), (None, Reason::FencedOut));
}

#[test]
fn draining_moves_clients_and_explains_itself() {
    let selector = selector();
    let frankfurt = selector.sites().find("FRA").unwrap();
    selector.drain(frankfurt, true, at(1));
    assert_ne!(selector.select(block(0)).site(), Some(frankfurt));
    let explanation = selector.explain(block(0));
    let fate = explanation.candidate("FRA").unwrap().fate;
    assert_eq!(fate, Fate::Draining);
    selector.drain(frankfurt, false, at(2));
    assert_eq!(selector.select(block(0)).site(), Some(frankfurt));
}

#[test]
fn measurements_of_one_block_do_not_move_another_and_strangers_count_nowhere() {
    let selector = selector();
    let tokyo = selector.sites().find("NRT").unwrap();
    let before = names(&selector);
    for _ in 0..5 {
        assert!(selector.measure(block(0), tokyo, Duration::from_millis(1), at(1)));
    }
    assert!(!selector.measure(block(0), tokyo, Duration::from_secs(1000), at(1)));
    assert!(!selector.measure(("203.0.113.0".parse().unwrap(), 24), tokyo, Duration::from_millis(1), at(1)));
    selector.recompile(at(1));
    let after = names(&selector);
    assert_eq!(after[0], "NRT");
    assert_eq!(after[1..], before[1..]);
    assert_eq!(selector.select(block(0)).reason(), Reason::Measured);
}

#[test]
fn maps_that_cannot_be_say_why() {
    let site = |name: &str| Site::new(name, place(0.0, 0.0)).admin(AdminState::Up);
    assert_eq!(SiteMap::new([site("A"), site("A")]), Err(MapError::Duplicate { name: "A".into() }));
    assert_eq!(SiteMap::new([]), Err(MapError::Count { sites: 0 }));
    let many = |count: usize| SiteMap::new((0..count).map(|index| site(&format!("S{index}"))));
    assert_eq!(many(SITES_MAX).unwrap().len(), SITES_MAX);
    assert_eq!(many(SITES_MAX + 1), Err(MapError::Count { sites: SITES_MAX + 1 }));
    let long = "n".repeat(SITE_NAME_MAX + 1);
    assert!(SiteMap::new([site(&long[1..])]).is_ok());
    assert_eq!(SiteMap::new([site(&long)]), Err(MapError::Name { name: long[1..].into() }));
}

#[cfg(feature = "serde")]
#[test]
fn a_malformed_table_or_map_leaves_what_runs_as_it_was() {
    let selector = selector();
    let (before, snapshot) = (names(&selector), selector.snapshot());
    let mut atlas = ClientAtlas::new();
    assert_eq!(atlas.countries("198.18.0.0,198.18.0.255,DE\n"), Ok(1));
    let error = atlas.countries("198.18.1.0,198.18.1.255,FR\n198.18.1.128,198.18.2.0,CH\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2: overlaps the range of line 1");
    assert_eq!(atlas.facts().len(), 1, "all of a table or nothing of it");
    let text =
        "[[site]]\nname = 'FRA'\nlatitude = 50.0\nlongitude = 8.6\n[[site]]\nname = 'IAD'\nlatitude = 38.9\n";
    let error = SiteMap::from_toml(text).unwrap_err();
    assert_eq!(error.line(), 5, "{error}");
    assert!(error.to_string().contains("missing field `longitude`"), "{error}");
    assert_eq!(names(&selector), before);
    assert!(std::sync::Arc::ptr_eq(&selector.snapshot(), &snapshot));
}

#[test]
fn a_new_map_takes_over_what_the_old_one_learnt() {
    let before = selector();
    let id = |selector: &Selector, name: &str| selector.sites().find(name).unwrap();
    (1..=2).for_each(|second| _ = before.probed(id(&before, "IAD"), false, at(second)));
    before.drain(id(&before, "FRA"), true, at(3));
    for _ in 0..5 {
        assert!(before.measure(block(0), id(&before, "NRT"), Duration::from_millis(1), at(4)));
    }
    // Another order, one site more, one block less.
    let sites = SiteMap::new([
        Site::new("SIN", place(1.4, 104.0)),
        Site::new("NRT", place(35.8, 140.4)),
        Site::new("IAD", place(38.9, -77.5)),
        Site::new("FRA", place(50.0, 8.6)),
    ])
    .unwrap();
    let mut builder = Selector::builder(sites);
    for (index, (latitude, longitude)) in (0..).zip(CITIES).take(5) {
        builder = builder.client(block(index), ClientFacts::at(place(latitude, longitude))).unwrap();
    }
    let after = builder.build_after(&before);
    assert!(!after.is_healthy(id(&after, "IAD")) && after.is_healthy(id(&after, "SIN")));
    let site = |index| after.sites().site(after.select(block(index)).site().unwrap()).name();
    assert_eq!((site(0), after.select(block(0)).reason()), ("NRT", Reason::Measured));
    assert_eq!(
        (site(1), site(4)),
        ("NRT", "NRT"),
        "London: Frankfurt drained, Ashburn dead; nothing else moved"
    );
    assert_eq!(after.explain(block(1)).candidate("FRA").unwrap().fate, Fate::Draining);
    // And the old one goes on as it was.
    assert_eq!(before.sites().len(), 3);
}

#[cfg(feature = "serde")]
#[test]
fn an_explanation_is_read_by_machines_with_names() {
    let selector = selector();
    let told = serde_json::to_value(selector.explain(block(2))).unwrap();
    assert_eq!(told["client"], serde_json::json!(["198.18.2.0", 24]));
    assert_eq!((told["reason"].as_str(), told["via"].as_str()), (Some("distance"), Some("unicast")));
    let names: Vec<&str> =
        told["candidates"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["IAD", "FRA", "NRT"], "New York: the chosen first, then by round trip");
    assert_eq!(told["candidates"][0]["fate"], "eligible");
}
