//! The operator's tables of clients: ranges with countries, autonomous systems and places, joined into facts.
//!
//! Each table is a layer of `first address,last address,value` rows, as the public range tables come. Layers overlap
//! freely; within one layer ranges must not. What a country means (where its clients are taken to be, which fence holds
//! for them) is a [`Rule`].

use core::fmt;
use core::net::IpAddr;
use std::collections::BTreeMap;

use crate::{ClientFacts, Location, Prefix, PrefixTable, RangeError, prefixes_of_range};

/// Rows of one table at most: ten times the public ones.
pub const ATLAS_ROWS_MAX: usize = 4_000_000;
/// The bound as it is enforced: small in tests, which reach it.
const ROWS: usize = if cfg!(test) { 100 } else { ATLAS_ROWS_MAX };

/// What holds for the clients of a country, where no table says more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Where they are taken to be.
    pub location: Option<Location>,
    /// The countries or regions whose sites may serve them; empty means all.
    pub fence: Vec<String>,
}

/// A country by its two letters.
type Country = [u8; 2];

/// What is known of clients, by layers.
///
/// ```
/// use pop_route::{ClientAtlas, Location, Rule};
///
/// let mut atlas = ClientAtlas::new();
/// atlas.countries("192.0.2.0,192.0.2.255,DE\n198.51.100.0,198.51.100.127,JP\n")?;
/// atlas.asns("192.0.2.128,192.0.2.255,64496\n")?;
/// atlas.rule("DE", Rule { location: Location::new(51.0, 9.0), fence: vec!["EU".into()] });
/// let facts = atlas.facts();
/// let (prefix, german) = facts.longest("192.0.2.200".parse()?).expect("in both tables");
/// assert_eq!(prefix.to_string(), "192.0.2.128/25");
/// assert_eq!((german.country.as_deref(), german.asn), (Some("DE"), Some(64496)));
/// assert_eq!(german.fence, ["EU"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ClientAtlas {
    countries: PrefixTable<Country>,
    asns: PrefixTable<u32>,
    locations: PrefixTable<Location>,
    own: PrefixTable<ClientFacts>,
    rules: BTreeMap<Country, Rule>,
}

impl ClientAtlas {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a table of countries: `first,last,ISO 3166-1 alpha-2`, a range a line. Returns its rows. Empty lines and
    /// lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// [`AtlasError`] with the line and what was expected; nothing of the table is taken then.
    pub fn countries(&mut self, text: &str) -> Result<usize, AtlasError> {
        let parse = |field: &str| {
            let code: Option<Country> = field.as_bytes().try_into().ok();
            code.filter(|code| code.iter().all(u8::is_ascii_uppercase))
        };
        read(text, 3, "a country of two capital letters", |fields| parse(fields[2]), &mut self.countries)
    }

    /// Adds a table of origin autonomous systems: `first,last,ASN`. As [`countries`](Self::countries).
    ///
    /// # Errors
    /// As [`countries`](Self::countries).
    pub fn asns(&mut self, text: &str) -> Result<usize, AtlasError> {
        let parse = |field: &str| field.strip_prefix("AS").unwrap_or(field).parse().ok();
        read(text, 3, "an autonomous system's number", |fields| parse(fields[2]), &mut self.asns)
    }

    /// Adds a table of places: `first,last,latitude,longitude`. As [`countries`](Self::countries).
    ///
    /// # Errors
    /// As [`countries`](Self::countries).
    pub fn locations(&mut self, text: &str) -> Result<usize, AtlasError> {
        let parse = |fields: &[&str]| Location::new(fields[2].parse().ok()?, fields[3].parse().ok()?);
        read(text, 4, "a latitude and a longitude in degrees", parse, &mut self.locations)
    }

    /// Says what a country means. Codes that are not two letters match no client.
    pub fn rule(&mut self, country: &str, rule: Rule) {
        if let Ok(code) = country.as_bytes().try_into() {
            self.rules.insert(code, rule);
        }
    }

    /// Says something about a prefix that no table knows better: what it leaves open is filled from the tables.
    pub fn own(&mut self, prefix: Prefix, facts: ClientFacts) {
        self.own.insert(prefix, facts);
    }

    /// Puts a place to a prefix, as [`locations`](Self::locations) does to ranges.
    pub fn place(&mut self, prefix: Prefix, location: Location) {
        self.locations.insert(prefix, location);
    }

    /// Puts a country to a prefix, as [`countries`](Self::countries) does to ranges. Codes that are not two letters
    /// are passed over.
    pub fn country(&mut self, prefix: Prefix, country: &str) {
        if let Ok(code) = country.as_bytes().try_into() {
            self.countries.insert(prefix, code);
        }
    }

    /// Joins the layers: every prefix of any of them, with what all of them say about it. O(n log n).
    #[must_use]
    pub fn facts(&self) -> PrefixTable<ClientFacts> {
        let countries = self.countries.iter().map(|(prefix, _)| prefix);
        let asns = self.asns.iter().map(|(prefix, _)| prefix);
        let locations = self.locations.iter().map(|(prefix, _)| prefix);
        let own = self.own.iter().map(|(prefix, _)| prefix);
        let prefixes = countries.chain(asns).chain(locations).chain(own);
        prefixes.map(|prefix| (prefix, self.about(prefix))).collect()
    }

    fn about(&self, prefix: Prefix) -> ClientFacts {
        let own = self.own.covering(prefix).next().map(|(_, facts)| facts.clone());
        let mut facts = own.unwrap_or_default();
        let country = self.countries.covering(prefix).next().map(|(_, country)| *country);
        let code = facts.country.as_ref().and_then(|country| country.as_bytes().try_into().ok()).or(country);
        let rule = code.and_then(|code| self.rules.get(&code));
        facts.country = code.map(|code| code.iter().map(|&letter| char::from(letter)).collect());
        facts.asn = facts.asn.or_else(|| self.asns.covering(prefix).next().map(|(_, &asn)| asn));
        let place = || self.locations.covering(prefix).next().map(|(_, &location)| location);
        facts.location = facts.location.or_else(place).or_else(|| rule?.location);
        if facts.fence.is_empty() {
            facts.fence = rule.map(|rule| rule.fence.clone()).unwrap_or_default();
        }
        facts
    }
}

/// Reads a table whole, or not at all.
fn read<V: Clone>(
    text: &str,
    columns: usize,
    expected: &'static str,
    parse: impl Fn(&[&str]) -> Option<V>,
    table: &mut PrefixTable<V>,
) -> Result<usize, AtlasError> {
    let mut rows: Vec<(Prefix, Prefix, usize, V)> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if rows.len() >= ROWS {
            return Err(AtlasError::Rows);
        }
        let fields: Vec<&str> = text.split(',').map(|field| field.trim().trim_matches('"')).collect();
        if fields.len() < columns {
            return Err(AtlasError::Columns { line, found: fields.len(), expected: columns });
        }
        let end = |index: usize| -> Result<IpAddr, AtlasError> {
            fields[index].parse().map_err(|_| AtlasError::Address { line, column: index + 1 })
        };
        let (first, last) = (end(0)?, end(1)?);
        let _ = prefixes_of_range(first, last).map_err(|source| AtlasError::Range { line, source })?;
        let value = parse(&fields).ok_or(AtlasError::Value { line, expected })?;
        rows.push((Prefix::host(first), Prefix::host(last), line, value));
    }
    rows.sort_by_key(|(first, _, line, _)| (first.family(), *first, *line));
    for pair in rows.windows(2) {
        let ((_, last, one, _), (first, _, other, _)) = (&pair[0], &pair[1]);
        if first.family() == last.family() && first <= last {
            return Err(AtlasError::Overlap { line: (*one).max(*other), other: (*one).min(*other) });
        }
    }
    let count = rows.len();
    for (first, last, line, value) in rows {
        let inserted = table.insert_range(first.address(), last.address(), value);
        inserted.map_err(|source| AtlasError::Range { line, source })?;
    }
    Ok(count)
}

/// A table that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtlasError {
    /// Too few fields.
    Columns {
        /// The line, from 1.
        line: usize,
        /// How many fields it has.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A field that should be an address.
    Address {
        /// The line, from 1.
        line: usize,
        /// The field, from 1.
        column: usize,
    },
    /// The two addresses make no range.
    Range {
        /// The line, from 1.
        line: usize,
        /// Why not.
        source: RangeError,
    },
    /// The value is not one.
    Value {
        /// The line, from 1.
        line: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// Two ranges share an address.
    Overlap {
        /// The later line, from 1.
        line: usize,
        /// The earlier one.
        other: usize,
    },
    /// More than [`ATLAS_ROWS_MAX`] rows.
    Rows,
}

impl fmt::Display for AtlasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns { line, found, expected } => {
                write!(f, "line {line}: {found} fields, expected {expected} with commas between")
            }
            Self::Address { line, column } => write!(f, "line {line}: field {column} is no IP address"),
            Self::Range { line, .. } => write!(f, "line {line}: no range of addresses"),
            Self::Value { line, expected } => write!(f, "line {line}: expected {expected}"),
            Self::Overlap { line, other } => write!(f, "line {line}: overlaps the range of line {other}"),
            Self::Rows => write!(f, "more than {ATLAS_ROWS_MAX} rows"),
        }
    }
}

impl core::error::Error for AtlasError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Range { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_tables_say_where_and_leave_nothing_behind() {
        let check = |text: &str, error| {
            let mut atlas = ClientAtlas::new();
            assert_eq!(atlas.countries(text), Err(error), "{text}");
            assert!(atlas.facts().is_empty());
        };
        check("10.0.0.0,10.0.0.255", AtlasError::Columns { line: 1, found: 2, expected: 3 });
        check("# who\n\n10.0.0.0,10.0.0.x,DE", AtlasError::Address { line: 3, column: 2 });
        check("10.0.0.9,10.0.0.1,DE", AtlasError::Range { line: 1, source: RangeError::Backwards });
        check("10.0.0.9,2001:db8::,DE", AtlasError::Range { line: 1, source: RangeError::Families });
        let expected = "a country of two capital letters";
        check("10.0.0.1,10.0.0.1,de", AtlasError::Value { line: 1, expected });
        check("10.0.0.1,10.0.0.1,DEU", AtlasError::Value { line: 1, expected });
        let overlap = "10.0.0.0,10.0.0.9,DE\n2001:db8::,2001:db8::9,DE\n10.0.0.9,10.0.0.20,FR";
        check(overlap, AtlasError::Overlap { line: 3, other: 1 });
        let rows = |count: usize| -> String {
            (0..count).map(|row| format!("10.0.{row}.0,10.0.{row}.9,DE\n")).collect()
        };
        check(&rows(101), AtlasError::Rows);
        assert_eq!(ClientAtlas::new().countries(&rows(100)), Ok(100));
        let mut atlas = ClientAtlas::new();
        assert!(atlas.locations("10.0.0.0,10.0.0.1,91,0").is_err());
        assert!(atlas.asns("10.0.0.0,10.0.0.1,4294967296").is_err());
        assert_eq!(atlas.asns("\"10.0.0.0\",\"10.0.0.1\",\"AS7\"\n"), Ok(1));
    }

    #[test]
    fn own_words_come_before_tables() {
        let mut atlas = ClientAtlas::new();
        atlas.countries("10.0.0.0,10.255.255.255,DE").unwrap();
        let facts = ClientFacts::default().country("CH").demand(3.0);
        atlas.own("10.1.0.0/16".parse().unwrap(), facts);
        atlas.rule("CH", Rule { location: Location::new(47.0, 8.0), fence: vec!["CH".into()] });
        let table = atlas.facts();
        let (_, swiss) = table.longest("10.1.2.3".parse().unwrap()).unwrap();
        assert_eq!((swiss.country.as_deref(), swiss.demand, swiss.fence.len()), (Some("CH"), 3.0, 1));
        assert!(swiss.location.is_some());
        let (_, german) = table.longest("10.2.2.3".parse().unwrap()).unwrap();
        assert_eq!((german.country.as_deref(), german.location), (Some("DE"), None));
    }
}
