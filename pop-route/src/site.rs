//! Sites: the PoPs that a client can be sent to.

use core::fmt;
use core::net::IpAddr;

/// A place on the earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
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
        valid.then_some(Self { latitude, longitude })
    }

    /// The great-circle distance in kilometres (haversine formula).
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let across = (other.longitude - self.longitude).to_radians();
        let half = ((to - from) / 2.0).sin().powi(2) + from.cos() * to.cos() * (across / 2.0).sin().powi(2);
        2.0 * EARTH_RADIUS_KM * half.sqrt().min(1.0).asin()
    }
}

/// Whether an operator lets clients go there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminState {
    /// It serves.
    #[default]
    Up,
    /// It keeps what it has and takes no new clients while others can.
    Draining,
    /// It serves nobody.
    Down,
}

/// A PoP: its name, where it is, and at which addresses it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    name: String,
    location: Location,
    addresses: Vec<IpAddr>,
    country: Option<String>,
    admin: AdminState,
}

impl Site {
    /// A site that is up, without addresses.
    #[must_use]
    pub fn new(name: impl Into<String>, location: Location) -> Self {
        Self { name: name.into(), location, addresses: Vec::new(), country: None, admin: AdminState::Up }
    }

    /// One more unicast address.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// The country it stands in, ISO 3166-1 alpha-2; what fences look at.
    #[must_use]
    pub fn country(mut self, country: impl Into<String>) -> Self {
        self.country = Some(country.into());
        self
    }

    /// What the operator wants of it.
    #[must_use]
    pub fn admin(mut self, admin: AdminState) -> Self {
        self.admin = admin;
        self
    }

    /// Its name, unique in a map.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    #[must_use]
    pub const fn location(&self) -> Location {
        self.location
    }

    /// Its unicast addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Its country, if it is known.
    #[must_use]
    pub fn country_code(&self) -> Option<&str> {
        self.country.as_deref()
    }

    /// What the operator wants of it.
    #[must_use]
    pub const fn admin_state(&self) -> AdminState {
        self.admin
    }
}

/// A site of a map, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub(crate) u16);

impl SiteId {
    /// The place in the map.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The most sites in a map.
pub const SITES_MAX: usize = 4096;

/// The sites of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteMap {
    sites: Vec<Site>,
}

impl SiteMap {
    /// A map of these sites.
    ///
    /// # Errors
    /// [`MapError`] when two have one name, there is none, or there are more than [`SITES_MAX`].
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Result<Self, MapError> {
        let sites: Vec<Site> = sites.into_iter().collect();
        if sites.is_empty() || sites.len() > SITES_MAX {
            return Err(MapError::Count { sites: sites.len() });
        }
        for (index, site) in sites.iter().enumerate() {
            if sites[..index].iter().any(|other| other.name == site.name) {
                return Err(MapError::Duplicate { name: site.name.clone() });
            }
        }
        Ok(Self { sites })
    }

    /// The sites, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (SiteId, &Site)> {
        // SITES_MAX fits.
        (0_u16..).map(SiteId).zip(&self.sites)
    }

    /// The site with this id, which must come from this map.
    ///
    /// # Panics
    /// With an id of a larger map.
    #[must_use]
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.index()]
    }

    /// The site with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<SiteId> {
        self.iter().find(|(_, site)| site.name == name).map(|(id, _)| id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// Whether there are none; never so for a map that was made by [`new`](Self::new).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }
}

/// A map that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// Two sites have one name.
    Duplicate {
        /// The name.
        name: String,
    },
    /// No site, or too many.
    Count {
        /// How many.
        sites: usize,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { name } => write!(f, "two sites are called {name:?}"),
            Self::Count { sites } => write!(f, "{sites} sites, expected 1 to {SITES_MAX}"),
        }
    }
}

impl core::error::Error for MapError {}

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
        assert_eq!(Location::new(f64::NAN, 0.0), None);
        assert_eq!(Location::new(0.0, 181.0), None);
    }
}
