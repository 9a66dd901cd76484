//! Countries, places and systems of clients from MaxMind DB files, as another source for what the tables of a
//! [`ClientAtlas`](crate::ClientAtlas) say.

use core::fmt;
use core::net::IpAddr;
use std::path::Path;

use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};

use crate::{ATLAS_ROWS_MAX, ClientFacts, Location, Prefix, PrefixTable};

/// An open MaxMind DB: city, country or ASN, by whatever name it comes.
#[derive(Debug)]
pub struct GeoIp {
    reader: Reader<Vec<u8>>,
}

impl GeoIp {
    /// Reads a file whole.
    ///
    /// # Errors
    /// [`GeoIpError`] where it cannot be read, or is no such database.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GeoIpError> {
        let bytes = std::fs::read(path).map_err(|error| GeoIpError(error.to_string()))?;
        Self::from_bytes(bytes)
    }

    /// A database that is in memory already.
    ///
    /// # Errors
    /// [`GeoIpError`] where it is no such database.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GeoIpError> {
        Ok(Self { reader: Reader::from_source(bytes).map_err(broken)? })
    }

    /// What the database says of an address; nothing is known where it says nothing, or what cannot be.
    #[must_use]
    pub fn facts(&self, address: IpAddr) -> ClientFacts {
        self.reader.lookup(address.to_canonical()).map(|found| facts(&found)).unwrap_or_default()
    }

    /// Everything the database says, by prefix: for [`SelectorBuilder::clients`](crate::SelectorBuilder::clients).
    /// Networks of which it says nothing that counts here are left out.
    ///
    /// # Errors
    /// [`GeoIpError`] where its tree is broken, or has more than [`ATLAS_ROWS_MAX`] leaves.
    pub fn table(&self) -> Result<PrefixTable<ClientFacts>, GeoIpError> {
        // Empty ends count as well: a tree that leads back into itself has no end otherwise.
        let options = WithinOptions::default().include_networks_without_data();
        let mut rows = Vec::new();
        for (count, found) in self.reader.networks(options).map_err(broken)?.enumerate() {
            if count >= ATLAS_ROWS_MAX {
                return Err(GeoIpError(format!("more than {ATLAS_ROWS_MAX} networks")));
            }
            let found = found.map_err(broken)?;
            let network = found.network().map_err(broken)?;
            let prefix = Prefix::new(network.ip(), network.prefix());
            let prefix = prefix.map_err(|error| GeoIpError(error.to_string()))?;
            let facts = facts(&found);
            if facts != ClientFacts::default() {
                rows.push((prefix, facts));
            }
        }
        Ok(rows.into_iter().collect())
    }
}

/// What a record says, whichever of the known kinds it is of.
fn facts(found: &LookupResult<'_, Vec<u8>>) -> ClientFacts {
    let text = |path: &[PathElement<'_>]| found.decode_path::<String>(path).ok().flatten();
    let number = |path: &[PathElement<'_>]| found.decode_path::<f64>(path).ok().flatten();
    let place = |key| number(&[PathElement::Key("location"), PathElement::Key(key)]);
    let two_letters = |code: &String| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    ClientFacts {
        country: text(&[PathElement::Key("country"), PathElement::Key("iso_code")]).filter(two_letters),
        location: place("latitude")
            .zip(place("longitude"))
            .and_then(|(north, east)| Location::new(north, east)),
        asn: found.decode_path::<u32>(&[PathElement::Key("autonomous_system_number")]).ok().flatten(),
        ..ClientFacts::default()
    }
}

fn broken(error: MaxMindDbError) -> GeoIpError {
    GeoIpError(error.to_string())
}

/// A file that is no MaxMind DB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoIpError(String);

impl fmt::Display for GeoIpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no MaxMind DB: {}", self.0)
    }
}

impl core::error::Error for GeoIpError {}
