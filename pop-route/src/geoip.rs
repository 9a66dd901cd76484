//! Countries, places and systems of clients from MaxMind DB files, as another source for what the tables of a
//! [`ClientAtlas`](crate::ClientAtlas) say.

use core::fmt;
use core::net::IpAddr;
use std::path::Path;

use maxminddb::{PathElement, Reader};

use crate::{ClientFacts, Location};

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
        Ok(Self { reader: Reader::from_source(bytes).map_err(|error| GeoIpError(error.to_string()))? })
    }

    /// What the database says of an address; nothing is known where it says nothing, or what cannot be.
    #[must_use]
    pub fn facts(&self, address: IpAddr) -> ClientFacts {
        let mut facts = ClientFacts::default();
        let Ok(found) = self.reader.lookup(address) else { return facts };
        let text = |path: &[PathElement<'_>]| found.decode_path::<String>(path).ok().flatten();
        let number = |path: &[PathElement<'_>]| found.decode_path::<f64>(path).ok().flatten();
        let country = [PathElement::Key("country"), PathElement::Key("iso_code")];
        facts.country = text(&country).filter(|code| code.len() == 2);
        let place = |key| number(&[PathElement::Key("location"), PathElement::Key(key)]);
        facts.location =
            place("latitude").zip(place("longitude")).and_then(|(north, east)| Location::new(north, east));
        facts.asn = found.decode_path::<u32>(&[PathElement::Key("autonomous_system_number")]).ok().flatten();
        facts
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_database_is_told_so() {
        assert!(GeoIp::from_bytes(Vec::new()).is_err());
        assert!(GeoIp::from_bytes(vec![0xab; 4096]).is_err());
        assert!(GeoIp::open("/nonexistent.mmdb").is_err());
    }
}
