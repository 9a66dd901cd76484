//! The real tables, read by path.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use pop_route::Location;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A place with a name.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) location: Location,
}

/// A city: where people are.
#[derive(Clone, Debug)]
pub(crate) struct City {
    pub(crate) country: String,
    pub(crate) location: Location,
    pub(crate) population: f64,
}

/// Everything that the simulation needs.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) regions: Vec<Place>,
    /// Round trips in milliseconds between regions, from row to column.
    pub(crate) rtt: Vec<Vec<f64>>,
    pub(crate) cities: Vec<City>,
    /// Ranges with countries, as text.
    pub(crate) countries_v4: String,
}

/// The folder with the tables: as said, or `shared/data/route` in a folder above.
pub(crate) fn folder(said: Option<&str>) -> Option<PathBuf> {
    if let Some(said) = said {
        return Some(said.into()).filter(|path: &PathBuf| path.is_dir());
    }
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join("shared/data/route")).find(|path| path.is_dir())
}

impl World {
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        let regions = rows(&plain(folder, "cloud_regions.csv")?)
            .map(|row| Ok(Place { name: row[0].clone(), location: location(&row[1], &row[2])? }))
            .collect::<Result<Vec<_>, Failure>>()?;
        let matrix = plain(folder, "cloud_rtt_ms.csv")?;
        let names: Vec<&str> = matrix.lines().next().ok_or("an empty matrix")?.split(',').skip(1).collect();
        let measured: BTreeMap<(String, String), f64> = rows(&matrix)
            .flat_map(|row| {
                let cells: Vec<_> = names
                    .iter()
                    .zip(&row[1..])
                    .filter_map(|(name, cell)| {
                        Some(((row[0].clone(), (*name).to_owned()), cell.parse().ok()?))
                    })
                    .collect();
                cells
            })
            .collect();
        let rtt = |from: &Place, to: &Place| {
            let key = |one: &Place, other: &Place| (one.name.clone(), other.name.clone());
            // Where one way is blank, the other is taken; a region is near itself.
            let found = measured.get(&key(from, to)).or_else(|| measured.get(&key(to, from)));
            found.copied().unwrap_or(if from.name == to.name { 1.0 } else { f64::NAN })
        };
        let rtt = regions.iter().map(|from| regions.iter().map(|to| rtt(from, to)).collect()).collect();
        let cities = rows(&gunzip(folder, "cities.csv.gz")?)
            .filter_map(|row| {
                let location = location(&row[3], &row[4]).ok()?;
                Some(City { country: row[2].clone(), location, population: row[5].parse().ok()? })
            })
            .collect();
        Ok(Self { regions, rtt, cities, countries_v4: gunzip(folder, "country_v4.csv.gz")? })
    }
}

/// Rows behind the header; fields in quotes may hold commas.
fn rows(text: &str) -> impl Iterator<Item = Vec<String>> + '_ {
    text.lines().skip(1).map(|line| {
        let (mut fields, mut quoted) = (vec![String::new()], false);
        for letter in line.chars() {
            match letter {
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(String::new()),
                letter => fields.last_mut().expect("one at least").push(letter),
            }
        }
        fields
    })
}

fn location(latitude: &str, longitude: &str) -> Result<Location, Failure> {
    Location::new(latitude.parse()?, longitude.parse()?).ok_or_else(|| "a place outside the globe".into())
}

fn plain(folder: &Path, name: &str) -> Result<String, Failure> {
    std::fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}").into())
}

fn gunzip(folder: &Path, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let file = std::fs::File::open(folder.join(name)).map_err(|error| format!("{name}: {error}"))?;
    flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
    Ok(text)
}
