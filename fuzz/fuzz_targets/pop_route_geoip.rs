//! Any bytes as a MaxMind DB: an error, or a database that answers for every address.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_route::GeoIp;

fuzz_target!(|bytes: &[u8]| {
    let Ok(geoip) = GeoIp::from_bytes(bytes.to_vec()) else { return };
    for address in ["0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "ffff::"] {
        let facts = geoip.facts(address.parse().expect("an address"));
        assert!(facts.country.is_none_or(|code| code.len() == 2));
    }
});
