//! PoPs and maps of them: what clients can be sent to.

use core::fmt;
use core::net::IpAddr;
use std::collections::HashSet;

use crate::Location;

/// Whether an operator lets clients go there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
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

/// A PoP: its name, where it is, what it can carry, and at which addresses it answers.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Site {
    name: String,
    location: Location,
    addresses: Vec<IpAddr>,
    anycast: Vec<IpAddr>,
    country: Option<String>,
    region: Option<String>,
    admin: AdminState,
    capacity: Option<f64>,
    weight: f64,
}

/// The longest name of a site: a DNS label.
pub const SITE_NAME_MAX: usize = 63;

impl Site {
    /// A site that is up, of weight 1, without addresses and without a limit to what it can carry.
    #[must_use]
    pub fn new(name: impl Into<String>, location: Location) -> Self {
        Self {
            name: name.into(),
            location,
            addresses: Vec::new(),
            anycast: Vec::new(),
            country: None,
            region: None,
            admin: AdminState::Up,
            capacity: None,
            weight: 1.0,
        }
    }

    /// One more unicast address: here and nowhere else.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// One more anycast address that it announces with others, with all or with those of its region.
    #[must_use]
    pub fn anycast(mut self, address: IpAddr) -> Self {
        self.anycast.push(address);
        self
    }

    /// The country it stands in, ISO 3166-1 alpha-2; what fences look at.
    #[must_use]
    pub fn country(mut self, country: impl Into<String>) -> Self {
        self.country = Some(country.into());
        self
    }

    /// The region it belongs to, in the operator's words; fences may name it as well.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// What the operator wants of it.
    #[must_use]
    pub fn admin(mut self, admin: AdminState) -> Self {
        self.admin = admin;
        self
    }

    /// What it can carry, in the unit in which demand is told (requests a second, for instance).
    #[must_use]
    pub fn capacity(mut self, capacity: f64) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Its share among sites that are equally near.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
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

    /// The anycast addresses it announces.
    #[must_use]
    pub fn anycast_addresses(&self) -> &[IpAddr] {
        &self.anycast
    }

    /// Its country, if it is known.
    #[must_use]
    pub fn country_code(&self) -> Option<&str> {
        self.country.as_deref()
    }

    /// Its region, if it has one.
    #[must_use]
    pub fn region_name(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// What the operator wants of it.
    #[must_use]
    pub const fn admin_state(&self) -> AdminState {
        self.admin
    }

    /// What it can carry; `None` is without a limit.
    #[must_use]
    pub const fn capacity_limit(&self) -> Option<f64> {
        self.capacity
    }

    /// Its share among sites that are equally near.
    #[must_use]
    pub const fn weight_share(&self) -> f64 {
        self.weight
    }

    fn check(&self) -> Result<(), MapError> {
        let named = !self.name.is_empty()
            && self.name.len() <= SITE_NAME_MAX
            && self.name.bytes().all(|byte| byte.is_ascii_graphic());
        if !named {
            return Err(MapError::Name { name: self.name.chars().take(SITE_NAME_MAX).collect() });
        }
        let name = || self.name.clone();
        match self.capacity {
            Some(capacity) if !(capacity.is_finite() && capacity >= 0.0) => {
                Err(MapError::Capacity { name: name(), capacity })
            }
            _ if !(self.weight.is_finite() && self.weight > 0.0) => {
                Err(MapError::Weight { name: name(), weight: self.weight })
            }
            _ => Ok(()),
        }
    }
}

/// A site of a map, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct SiteMap {
    sites: Vec<Site>,
}

impl SiteMap {
    /// A map of these sites.
    ///
    /// # Errors
    /// [`MapError`] when there is no site or more than [`SITES_MAX`], two have one name or one unicast address, a name
    /// is empty, too long or not printable, or a capacity or weight is no sensible number.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Result<Self, MapError> {
        // One more than allowed is enough to know.
        let sites: Vec<Site> = sites.into_iter().take(SITES_MAX + 1).collect();
        if sites.is_empty() || sites.len() > SITES_MAX {
            return Err(MapError::Count { sites: sites.len() });
        }
        let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
        for site in &sites {
            site.check()?;
            if !names.insert(site.name.as_str()) {
                return Err(MapError::Duplicate { name: site.name.clone() });
            }
            if let Some(&address) = site.addresses.iter().find(|&&address| !addresses.insert(address)) {
                return Err(MapError::Address { name: site.name.clone(), address });
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

    /// The site with this id, if the map has one.
    #[must_use]
    pub fn get(&self, id: SiteId) -> Option<&Site> {
        self.sites.get(id.index())
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
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MapError {
    /// Two sites have one name.
    Duplicate {
        /// The name.
        name: String,
    },
    /// No site, or too many.
    Count {
        /// How many; counting stops above [`SITES_MAX`].
        sites: usize,
    },
    /// The name is empty, longer than [`SITE_NAME_MAX`], or not of printable ASCII.
    Name {
        /// Its beginning.
        name: String,
    },
    /// A unicast address that another site has, too.
    Address {
        /// The second site that has it.
        name: String,
        /// The address.
        address: IpAddr,
    },
    /// A capacity that is negative or not a number.
    Capacity {
        /// The site.
        name: String,
        /// What it was to carry.
        capacity: f64,
    },
    /// A weight that is not above zero.
    Weight {
        /// The site.
        name: String,
        /// Its weight.
        weight: f64,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { name } => write!(f, "two sites are called {name:?}"),
            Self::Count { sites: 0 } => write!(f, "no site, expected 1 to {SITES_MAX}"),
            Self::Count { .. } => write!(f, "more than {SITES_MAX} sites"),
            Self::Name { name } => {
                write!(f, "site name {name:?} is not 1 to {SITE_NAME_MAX} printable ASCII characters")
            }
            Self::Address { name, address } => {
                write!(f, "site {name}: unicast address {address} belongs to another site already")
            }
            Self::Capacity { name, capacity } => {
                write!(f, "site {name}: capacity {capacity} is not a number from 0")
            }
            Self::Weight { name, weight } => {
                write!(f, "site {name}: weight {weight} is not a number above 0")
            }
        }
    }
}

impl core::error::Error for MapError {}
