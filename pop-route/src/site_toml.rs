//! Site maps from TOML.

use core::fmt;
use core::net::IpAddr;

use serde::Deserialize;

use crate::{AdminState, Location, MapError, Site, SiteMap};

/// The longest text of a map: four thousand sites with all that can be said of them.
pub const MAP_TEXT_MAX: usize = 4 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    #[serde(default)]
    site: Vec<toml::Spanned<Row>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    latitude: f64,
    longitude: f64,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default)]
    anycast: Vec<IpAddr>,
    country: Option<String>,
    region: Option<String>,
    capacity: Option<f64>,
    weight: Option<f64>,
    #[serde(default)]
    admin: AdminState,
}

impl SiteMap {
    /// Reads a map from TOML: a `[[site]]` for each site, with `name`, `latitude` and `longitude`, and as wanted
    /// `addresses`, `anycast`, `country`, `region`, `capacity`, `weight` and `admin` (`up`, `draining` or `down`).
    ///
    /// ```
    /// use pop_route::SiteMap;
    ///
    /// let map = SiteMap::from_toml(
    ///     r#"
    ///     [[site]]
    ///     name = "FRA"
    ///     latitude = 50.03
    ///     longitude = 8.57
    ///     country = "DE"
    ///     addresses = ["192.0.2.1", "2001:db8::1"]
    ///     capacity = 40_000
    ///     "#,
    /// )?;
    /// assert_eq!(map.len(), 1);
    /// let error = SiteMap::from_toml("[[site]]\nname = 'FRA'\nlatitude = 91\nlongitude = 0\n").unwrap_err();
    /// assert_eq!((error.line(), error.to_string().as_str()), (1, "line 1: site FRA: no place at 91, 0 degrees"));
    /// # Ok::<(), pop_route::MapTextError>(())
    /// ```
    ///
    /// # Errors
    /// [`MapTextError`] with the line and what was expected.
    pub fn from_toml(text: &str) -> Result<Self, MapTextError> {
        if text.len() > MAP_TEXT_MAX {
            return Err(MapTextError { line: 1, kind: Kind::Length });
        }
        let line_of = |offset: usize| {
            1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
        };
        let map: Map = toml::from_str(text).map_err(|error| MapTextError {
            line: error.span().map_or(1, |span| line_of(span.start)),
            kind: Kind::Syntax(error.message().to_owned()),
        })?;
        let mut sites = Vec::with_capacity(map.site.len());
        let mut lines = Vec::with_capacity(map.site.len());
        for row in map.site {
            let line = line_of(row.span().start);
            let row = row.into_inner();
            let location = Location::new(row.latitude, row.longitude).ok_or_else(|| MapTextError {
                line,
                kind: Kind::Place(row.name.clone(), row.latitude, row.longitude),
            })?;
            lines.push((row.name.clone(), line));
            sites.push(row.site(location));
        }
        Self::new(sites)
            .map_err(|error| MapTextError { line: line_of_site(&error, &lines), kind: Kind::Map(error) })
    }
}

/// Where the site stands that an error is about: the last one with its name, which is the second of two.
fn line_of_site(error: &MapError, lines: &[(String, usize)]) -> usize {
    let about = match error {
        MapError::Count { .. } => None,
        MapError::Duplicate { name }
        | MapError::Name { name }
        | MapError::Address { name, .. }
        | MapError::Capacity { name, .. }
        | MapError::Weight { name, .. } => Some(name),
    };
    let named = |name: &String| lines.iter().rev().find(|(other, _)| other.starts_with(name.as_str()));
    about.and_then(named).map_or(1, |&(_, line)| line)
}

impl Row {
    fn site(self, location: Location) -> Site {
        let mut site = Site::new(self.name, location).admin(self.admin);
        site = self.addresses.into_iter().fold(site, Site::address);
        site = self.anycast.into_iter().fold(site, Site::anycast);
        if let Some(country) = self.country {
            site = site.country(country);
        }
        if let Some(region) = self.region {
            site = site.region(region);
        }
        if let Some(capacity) = self.capacity {
            site = site.capacity(capacity);
        }
        if let Some(weight) = self.weight {
            site = site.weight(weight);
        }
        site
    }
}

/// A text that is no map of sites.
#[derive(Clone, Debug, PartialEq)]
pub struct MapTextError {
    line: usize,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Length,
    Syntax(String),
    Place(String, f64, f64),
    Map(MapError),
}

impl MapTextError {
    /// The line it is about, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for MapTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            Kind::Length => write!(f, "the text is longer than {MAP_TEXT_MAX} bytes"),
            Kind::Syntax(message) => f.write_str(message.trim_end()),
            Kind::Place(name, latitude, longitude) => {
                write!(f, "site {name}: no place at {latitude}, {longitude} degrees")
            }
            Kind::Map(_) => f.write_str("no map of sites"),
        }
    }
}

impl core::error::Error for MapTextError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.kind {
            Kind::Map(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::error::Error;

    use super::*;

    fn site(name: &str, more: &str) -> String {
        format!("[[site]]\nname = {name:?}\nlatitude = 1\nlongitude = 2\n{more}\n")
    }

    #[test]
    fn bad_maps_say_where_and_what() {
        let check = |text: &str, line: usize, says: &str| {
            let error = SiteMap::from_toml(text).unwrap_err();
            let told = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            assert!(error.line() == line && told.contains(says), "{text}\n{}: {told}", error.line());
        };
        check("", 1, "no site");
        check("[[site]\n", 1, "");
        check(&site("A", "color = 'red'"), 5, "unknown field `color`");
        check("[[site]]\nname = 'A'\nlatitude = 1\n", 1, "missing field `longitude`");
        check(&site("A", "addresses = ['x']"), 5, "IP address");
        check(&site("A", "capacity = nan"), 1, "capacity");
        check(&site("A", "weight = 0"), 1, "weight");
        check(&(site("A", "") + &site("A", "")), 6, "two sites are called \"A\"");
        check(
            &(site("A", "addresses = ['::1']") + &site("B", "addresses = ['::1']")),
            6,
            "belongs to another",
        );
        check(&"#".repeat(MAP_TEXT_MAX + 1), 1, "longer than");
    }
}
