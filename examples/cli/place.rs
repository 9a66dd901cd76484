//! Where things are, on a command line.

use std::str::FromStr;

use pop_edge::config::Block;
use pop_edge::route::Location;

/// `NAME=LATITUDE,LONGITUDE,TARGET`: a site, and what leads to it.
#[derive(Clone, Debug)]
pub struct Place<T> {
    pub name: String,
    pub location: Location,
    pub target: T,
}

impl<T: FromStr> FromStr for Place<T> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected NAME=LATITUDE,LONGITUDE,ADDRESS";
        let (name, rest) = text.split_once('=').ok_or(expected)?;
        let (place, target) = rest.rsplit_once(',').ok_or(expected)?;
        let location = location(place).ok_or(expected)?;
        Ok(Self { name: name.to_owned(), location, target: target.parse().map_err(|_| expected)? })
    }
}

/// `BLOCK=LATITUDE,LONGITUDE`: clients, and where they are.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    pub block: Block,
    pub location: Location,
}

impl FromStr for Clients {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected BLOCK=LATITUDE,LONGITUDE";
        let (block, place) = text.split_once('=').ok_or(expected)?;
        let block = block.parse().map_err(|_| expected)?;
        Ok(Self { block, location: location(place).ok_or(expected)? })
    }
}

fn location(text: &str) -> Option<Location> {
    let (latitude, longitude) = text.split_once(',')?;
    Location::new(latitude.trim().parse().ok()?, longitude.trim().parse().ok()?)
}
