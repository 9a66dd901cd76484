//! Places on the earth, and what a distance costs in time.

/// A place on the earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Location {
    latitude: f64,
    longitude: f64,
}

/// The earth's mean radius (IUGG), in kilometres.
const EARTH_RADIUS_KM: f64 = 6371.0088;

impl Location {
    /// A place; `None` unless latitude lies within ±90 and longitude within ±180 degrees.
    #[must_use]
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let valid = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        // Minus zero is zero, so that equal places have equal bits.
        valid.then_some(Self { latitude: latitude + 0.0, longitude: longitude + 0.0 })
    }

    /// Degrees north of the equator.
    #[must_use]
    pub const fn latitude(self) -> f64 {
        self.latitude
    }

    /// Degrees east of Greenwich.
    #[must_use]
    pub const fn longitude(self) -> f64 {
        self.longitude
    }

    /// The great-circle distance in kilometres.
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        self.direction().distance_km(other.direction())
    }

    pub(crate) fn direction(self) -> Direction {
        let (latitude, longitude) = (self.latitude.to_radians(), self.longitude.to_radians());
        Direction([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()])
    }

    /// The bits, to hash and compare by.
    pub(crate) const fn bits(self) -> (u64, u64) {
        (self.latitude.to_bits(), self.longitude.to_bits())
    }
}

/// A place as a unit vector: distances need no trigonometry but one arc sine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direction([f64; 3]);

impl Direction {
    /// By the chord, which is exact near and far.
    pub(crate) fn distance_km(self, other: Self) -> f64 {
        let squares = self.0.iter().zip(other.0).map(|(one, other)| (one - other) * (one - other));
        let half_chord = squares.sum::<f64>().sqrt() / 2.0;
        2.0 * EARTH_RADIUS_KM * half_chord.min(1.0).asin()
    }
}

/// Round-trip time by distance, where nothing is measured: a straight line.
///
/// ```
/// use pop_route::DistanceModel;
///
/// let model = DistanceModel::fit([(0.0, 4.0), (1000.0, 20.0), (2000.0, 36.0)]).expect("enough, and well spread");
/// assert!((model.millis(1500.0) - 28.0).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DistanceModel {
    /// Milliseconds that even the nearest client needs: access network and last mile.
    pub base_millis: f64,
    /// Milliseconds of round trip for each kilometre of great circle.
    pub millis_per_km: f64,
}

impl Default for DistanceModel {
    /// Four milliseconds, and 0.0135 a kilometre: light in glass needs 0.01, real paths wind by about a third.
    fn default() -> Self {
        Self { base_millis: 4.0, millis_per_km: 0.0135 }
    }
}

/// Light in vacuum needs this long for a kilometre there and back; no fitted model is faster.
const LIGHT_MILLIS_PER_KM: f64 = 2.0 / 299.792_458;
/// Pairs that a fit needs at least.
const FIT_PAIRS_MIN: usize = 3;

impl DistanceModel {
    /// The round trip over a distance, in milliseconds.
    #[must_use]
    pub fn millis(self, km: f64) -> f64 {
        self.base_millis + km * self.millis_per_km
    }

    /// Fits the line to measured pairs of kilometres and milliseconds (least squares of the relative error, so that a
    /// detour over an ocean does not bend what holds next door). Pairs that are not finite or not positive are left
    /// out. `None` with fewer than three pairs, or where all distances are the same.
    #[must_use]
    pub fn fit(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let (mut weights, mut kms, mut millis, mut squares, mut products) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let mut count = 0;
        for (km, time) in pairs {
            if !(km.is_finite() && time.is_finite() && km >= 0.0 && time > 0.0) {
                continue;
            }
            let weight = 1.0 / (time * time);
            weights += weight;
            kms += weight * km;
            millis += weight * time;
            squares += weight * km * km;
            products += weight * km * time;
            count += 1;
        }
        let spread = weights * squares - kms * kms;
        if count < FIT_PAIRS_MIN || spread <= f64::EPSILON * weights * squares {
            return None;
        }
        let slope = ((weights * products - kms * millis) / spread).max(LIGHT_MILLIS_PER_KM);
        let base = ((millis - slope * kms) / weights).max(0.0);
        Some(Self { base_millis: base, millis_per_km: slope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_on_the_globe() {
        let place = |latitude, longitude| Location::new(latitude, longitude).unwrap();
        let frankfurt_tokyo = place(50.03, 8.57).distance_km(place(35.76, 140.39));
        assert!((frankfurt_tokyo - 9_350.0).abs() < 50.0, "{frankfurt_tokyo}");
        assert!((place(0.0, 179.0).distance_km(place(0.0, -179.0)) - 222.4).abs() < 1.0);
        assert!((place(90.0, 0.0).distance_km(place(-90.0, 0.0)) - 20_015.0).abs() < 1.0);
        assert_eq!(place(1.0, 1.0).distance_km(place(1.0, 1.0)), 0.0);
        assert_eq!(Location::new(f64::NAN, 0.0), None);
        assert_eq!(Location::new(0.0, 181.0), None);
    }

    #[test]
    fn a_fit_needs_pairs_and_survives_bad_ones() {
        assert_eq!(DistanceModel::fit([(1.0, 1.0), (2.0, 2.0)]), None);
        assert_eq!(DistanceModel::fit([(5.0, 1.0); 9]), None);
        let bad = [(f64::NAN, 1.0), (1.0, f64::INFINITY), (-1.0, 1.0), (1.0, -1.0), (1.0, 0.0)];
        let good = [(0.0, 2.0), (500.0, 10.0), (1000.0, 18.0)];
        let model = DistanceModel::fit(bad.into_iter().chain(good)).unwrap();
        assert!((model.millis(2000.0) - 34.0).abs() < 1e-6);
        let faster_than_light = DistanceModel::fit([(0.0, 5.0), (5000.0, 5.0), (9000.0, 5.0)]).unwrap();
        assert!(faster_than_light.millis_per_km >= LIGHT_MILLIS_PER_KM);
    }
}
