//! Any bytes as a MaxMind DB, and a sound one with bytes of it turned over: an error, or a database that answers for
//! every address.
#![no_main]

#[path = "../../pop-route/tests/mmdb/mod.rs"]
mod mmdb;

use libfuzzer_sys::fuzz_target;
use mmdb::{Value, database};
use pop_route::GeoIp;

fn sound() -> Vec<u8> {
    let number = |name, number| (name, Value::Double(number));
    let city = Value::Map(vec![
        ("country", Value::Map(vec![("iso_code", Value::Text("DE"))])),
        ("location", Value::Map(vec![number("latitude", 52.5), number("longitude", 13.4)])),
    ]);
    let system = Value::Map(vec![("autonomous_system_number", Value::U32(64_496))]);
    let prefix = |text: &str| text.parse().expect("a prefix");
    database("Fuzz", &[(prefix("192.0.2.0/25"), city), (prefix("2001:db8::/33"), system)])
}

fn look(bytes: Vec<u8>) {
    let Ok(geoip) = GeoIp::from_bytes(bytes) else { return };
    for address in ["0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "ffff::"] {
        let facts = geoip.facts(address.parse().expect("an address"));
        assert!(facts.country.is_none_or(|code| code.len() == 2));
    }
}

fuzz_target!(|input: (Vec<(u16, u8)>, &[u8])| {
    let (turned, bytes) = input;
    look(bytes.to_vec());
    let mut damaged = sound();
    for (place, bits) in turned {
        let place = usize::from(place) % damaged.len();
        damaged[place] ^= bits;
    }
    look(damaged);
});
