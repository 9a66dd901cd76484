//! What MaxMind DB files say, from databases that are written here.
#![cfg(feature = "geoip")]

mod mmdb;

use std::net::IpAddr;

use mmdb::{Value, database};
use pop_route::{ClientFacts, GeoIp, Location, Prefix, Selector, Site, SiteMap};

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn city(country: &'static str, latitude: f64, longitude: f64) -> Value {
    Value::Map(vec![
        ("country", Value::Map(vec![("iso_code", Value::Text(country))])),
        (
            "location",
            Value::Map(vec![("latitude", Value::Double(latitude)), ("longitude", Value::Double(longitude))]),
        ),
    ])
}

fn asn(number: u32) -> Value {
    let name = ("autonomous_system_organization", Value::Text("Example"));
    Value::Map(vec![("autonomous_system_number", Value::U32(number)), name])
}

fn cities() -> Vec<u8> {
    database(
        "Test-City",
        &[
            (prefix("192.0.2.0/25"), city("DE", 52.5, 13.4)),
            (prefix("192.0.2.128/25"), city("JP", 35.7, 139.7)),
            (prefix("2001:db8::/33"), city("US", 40.7, -74.0)),
            (prefix("198.51.100.0/24"), city("DEU", 91.0, 0.0)),
        ],
    )
}

#[test]
fn cities_of_both_families_with_country_and_place() {
    let geoip = GeoIp::from_bytes(cities()).unwrap();
    let berlin = geoip.facts(address("192.0.2.7"));
    assert_eq!((berlin.country.as_deref(), berlin.location), (Some("DE"), Location::new(52.5, 13.4)));
    assert_eq!(geoip.facts(address("::ffff:192.0.2.7")), berlin, "mapped is IPv4");
    assert_eq!(geoip.facts(address("192.0.2.200")).country.as_deref(), Some("JP"));
    assert_eq!(geoip.facts(address("2001:db8:7::1")).country.as_deref(), Some("US"));
    assert_eq!(geoip.facts(address("2001:db8:8000::1")), ClientFacts::default());
    assert_eq!(geoip.facts(address("203.0.113.1")), ClientFacts::default());
    let nonsense = geoip.facts(address("198.51.100.1"));
    assert_eq!(nonsense, ClientFacts::default(), "a country of three letters beyond the pole");
}

#[test]
fn systems_by_number() {
    let bytes = database(
        "Test-ASN",
        &[(prefix("198.51.100.0/25"), asn(64_496)), (prefix("2001:db8::/32"), asn(4_200_000_000))],
    );
    let geoip = GeoIp::from_bytes(bytes).unwrap();
    assert_eq!(geoip.facts(address("198.51.100.1")), ClientFacts::default().asn(64_496));
    assert_eq!(geoip.facts(address("198.51.100.128")), ClientFacts::default());
    assert_eq!(geoip.facts(address("2001:db8::1")).asn, Some(4_200_000_000));
}

#[test]
fn a_whole_database_becomes_clients_of_a_selector() {
    let table = GeoIp::from_bytes(cities()).unwrap().table().unwrap();
    let known: Vec<String> = table.iter().map(|(prefix, _)| prefix.to_string()).collect();
    assert_eq!(known, ["192.0.2.0/25", "192.0.2.128/25", "2001:db8::/33"], "the nonsense is left out");
    let place = |latitude, longitude| Location::new(latitude, longitude).unwrap();
    let sites =
        SiteMap::new([Site::new("FRA", place(50.0, 8.6)), Site::new("NRT", place(35.8, 140.4))]).unwrap();
    let selector = Selector::builder(sites).clients(table).build();
    let site = |text| selector.select((address(text), 128)).site().map(|id| selector.sites().site(id).name());
    // A /24 is the finest that is told apart: it goes with its first half.
    assert_eq!((site("192.0.2.7"), site("192.0.2.200")), (Some("FRA"), Some("FRA")));
    assert_eq!(site("2001:db8::1"), Some("FRA"));
}

#[test]
fn what_is_no_database_is_told_so() {
    assert!(GeoIp::from_bytes(Vec::new()).is_err());
    assert!(GeoIp::from_bytes(vec![0xab; 4096]).is_err());
    let missing = GeoIp::open("/nonexistent.mmdb").unwrap_err();
    assert!(missing.to_string().starts_with("no MaxMind DB: "), "{missing}");
}

/// Whatever is cut off or turned over, what comes out is facts or an error.
#[test]
fn damaged_databases_end_well() {
    let whole = cities();
    let look = |bytes: Vec<u8>| {
        let Ok(geoip) = GeoIp::from_bytes(bytes) else { return };
        for text in ["192.0.2.7", "198.51.100.1", "2001:db8::1"] {
            let facts = geoip.facts(address(text));
            assert!(facts.country.is_none_or(|code| code.len() == 2));
        }
        let _ = geoip.table().map(|table| table.len());
    };
    (0..whole.len()).for_each(|length| look(whole[..length].to_vec()));
    for index in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[index] ^= 0xff;
        look(bytes);
    }
}
