//! Where things are: six PoPs, twenty client cities, one origin, and the round trips between them.
//!
//! The table is our own: coordinates are rounded, round trips are plausible figures rather than measurements. In
//! a few rows the nearest PoP by distance is not the nearest by round trip (Johannesburg, Lima, Mexico City):
//! cables do not follow great circles, and a selector that looks at the map alone gets these cities wrong.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A PoP of the demo. Site `i` lives on `127.0.(i + 1).1`.
#[derive(Debug)]
pub struct PopSite {
    pub iata: &'static str,
    pub city: &'static str,
    pub country: &'static str,
    pub latitude: f64,
    pub longitude: f64,
    /// Round trip to the origin over the backbone.
    pub origin_rtt_millis: u64,
}

/// A city full of clients, told apart by the client subnet their resolver sends.
#[derive(Debug)]
pub struct City {
    pub iata: &'static str,
    pub name: &'static str,
    pub country: &'static str,
    pub latitude: f64,
    pub longitude: f64,
    /// Round trip to each PoP, in the order of [`POPS`].
    pub rtt_millis: [u64; POPS.len()],
    /// Round trip to the origin over the public internet.
    pub origin_rtt_millis: u64,
}

impl City {
    pub fn rtt(&self, pop: usize) -> Duration {
        Duration::from_millis(self.rtt_millis[pop])
    }

    /// The PoPs by round trip, nearest first, without those in `dead`.
    pub fn ranking(&self, dead: &[usize]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..POPS.len()).filter(|pop| !dead.contains(pop)).collect();
        order.sort_by_key(|&pop| self.rtt_millis[pop]);
        order
    }
}

/// The great-circle distance of two places (latitude, longitude), in kilometres: what a map without measurements
/// goes by.
pub fn distance_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (north, south) = (from.0.to_radians(), to.0.to_radians());
    let across = (to.1 - from.1).to_radians();
    let half =
        ((south - north) / 2.0).sin().powi(2) + north.cos() * south.cos() * (across / 2.0).sin().powi(2);
    2.0 * 6371.0 * half.sqrt().asin()
}

/// The client subnet of city `index`: 198.18.0.0/15 is reserved for benchmarks (RFC 2544), so these addresses
/// are nobody's.
pub fn client_subnet(index: usize) -> (IpAddr, u8) {
    let third = u8::try_from(index).expect("fewer cities than a third octet holds");
    (IpAddr::V4(Ipv4Addr::new(198, 18, third, 0)), 24)
}

/// The loopback address of PoP `index`.
pub fn pop_address(index: usize) -> IpAddr {
    let third = u8::try_from(index + 1).expect("fewer PoPs than a third octet holds");
    IpAddr::V4(Ipv4Addr::new(127, 0, third, 1))
}

/// The loopback address that the origin listens on: one port a PoP, so that it knows how far away each of them is.
pub const ORIGIN_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 1));

#[rustfmt::skip]
pub const POPS: [PopSite; 6] = [
    PopSite { iata: "FRA", city: "Frankfurt", country: "DE", latitude: 50.03, longitude: 8.57, origin_rtt_millis: 94 },
    PopSite { iata: "IAD", city: "Ashburn", country: "US", latitude: 38.94, longitude: -77.46, origin_rtt_millis: 15 },
    PopSite { iata: "SJC", city: "San Jose", country: "US", latitude: 37.36, longitude: -121.93, origin_rtt_millis: 41 },
    PopSite { iata: "GRU", city: "São Paulo", country: "BR", latitude: -23.43, longitude: -46.47, origin_rtt_millis: 113 },
    PopSite { iata: "SIN", city: "Singapore", country: "SG", latitude: 1.36, longitude: 103.99, origin_rtt_millis: 199 },
    PopSite { iata: "NRT", city: "Tokyo", country: "JP", latitude: 35.76, longitude: 140.39, origin_rtt_millis: 134 },
];

#[rustfmt::skip]
pub const CITIES: [City; 20] = [
    City { iata: "BER", name: "Berlin", country: "DE", latitude: 52.52, longitude: 13.4, rtt_millis: [10, 95, 127, 142, 138, 125], origin_rtt_millis: 122 },
    City { iata: "LHR", name: "London", country: "GB", latitude: 51.51, longitude: -0.13, rtt_millis: [13, 84, 121, 132, 151, 133], origin_rtt_millis: 111 },
    City { iata: "MAD", name: "Madrid", country: "ES", latitude: 40.42, longitude: -3.7, rtt_millis: [23, 87, 130, 117, 158, 150], origin_rtt_millis: 117 },
    City { iata: "WAW", name: "Warsaw", country: "PL", latitude: 52.23, longitude: 21.01, rtt_millis: [16, 101, 131, 148, 131, 120], origin_rtt_millis: 129 },
    City { iata: "IST", name: "Istanbul", country: "TR", latitude: 41.01, longitude: 28.98, rtt_millis: [29, 118, 150, 147, 121, 125], origin_rtt_millis: 150 },
    City { iata: "CAI", name: "Cairo", country: "EG", latitude: 30.04, longitude: 31.24, rtt_millis: [43, 131, 166, 142, 116, 134], origin_rtt_millis: 167 },
    City { iata: "LOS", name: "Lagos", country: "NG", latitude: 6.52, longitude: 3.38, rtt_millis: [92, 141, 201, 214, 181, 243], origin_rtt_millis: 163 },
    City { iata: "JNB", name: "Johannesburg", country: "ZA", latitude: -26.2, longitude: 28.05, rtt_millis: [152, 205, 262, 338, 171, 247], origin_rtt_millis: 233 },
    City { iata: "JFK", name: "New York", country: "US", latitude: 40.71, longitude: -74.01, rtt_millis: [88, 9, 59, 108, 211, 150], origin_rtt_millis: 28 },
    City { iata: "YYZ", name: "Toronto", country: "CA", latitude: 43.65, longitude: -79.38, rtt_millis: [89, 11, 53, 114, 206, 143], origin_rtt_millis: 21 },
    City { iata: "MEX", name: "Mexico City", country: "MX", latitude: 19.43, longitude: -99.13, rtt_millis: [141, 47, 61, 131, 233, 163], origin_rtt_millis: 53 },
    City { iata: "LAX", name: "Los Angeles", country: "US", latitude: 34.05, longitude: -118.24, rtt_millis: [130, 53, 11, 138, 194, 122], origin_rtt_millis: 54 },
    City { iata: "SEA", name: "Seattle", country: "US", latitude: 47.61, longitude: -122.33, rtt_millis: [114, 54, 19, 151, 179, 107], origin_rtt_millis: 53 },
    City { iata: "EZE", name: "Buenos Aires", country: "AR", latitude: -34.6, longitude: -58.38, rtt_millis: [159, 118, 144, 27, 219, 251], origin_rtt_millis: 153 },
    City { iata: "LIM", name: "Lima", country: "PE", latitude: -12.05, longitude: -77.04, rtt_millis: [187, 84, 124, 128, 285, 236], origin_rtt_millis: 107 },
    City { iata: "BOM", name: "Mumbai", country: "IN", latitude: 19.08, longitude: 72.88, rtt_millis: [93, 178, 187, 190, 57, 96], origin_rtt_millis: 216 },
    City { iata: "CGK", name: "Jakarta", country: "ID", latitude: -6.21, longitude: 106.85, rtt_millis: [154, 225, 193, 215, 16, 83], origin_rtt_millis: 261 },
    City { iata: "SYD", name: "Sydney", country: "AU", latitude: -33.87, longitude: 151.21, rtt_millis: [227, 216, 165, 185, 89, 110], origin_rtt_millis: 247 },
    City { iata: "HKG", name: "Hong Kong", country: "HK", latitude: 22.32, longitude: 114.17, rtt_millis: [178, 199, 151, 309, 36, 51], origin_rtt_millis: 209 },
    City { iata: "ICN", name: "Seoul", country: "KR", latitude: 37.57, longitude: 126.98, rtt_millis: [120, 154, 127, 251, 67, 20], origin_rtt_millis: 177 },
];
