//! Locations on the earth (RFC 1876).

use core::fmt::{self, Write};

use super::kind::{Kind, Spaced};
use super::reader::Reader;
use crate::ParseError;
#[cfg(feature = "alloc")]
use {
    super::text::{Fields, RDataTextError},
    alloc::vec::Vec,
};

/// Thousandths of an arc second at the equator and the prime meridian.
const ZERO_ARC: u32 = 1 << 31;
/// Centimetres from the lowest altitude that can be told to sea level.
const SEA_LEVEL: i64 = 10_000_000;

/// A location as it stands on the wire (RFC 1876 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loc {
    /// Diameter of a sphere around what is located: centimetres as mantissa and power of ten, a nibble each.
    pub size: u8,
    /// Horizontal precision in the same form.
    pub horizontal: u8,
    /// Vertical precision in the same form.
    pub vertical: u8,
    /// Thousandths of an arc second; 2^31 is the equator, more is north.
    pub latitude: u32,
    /// Thousandths of an arc second; 2^31 is the prime meridian, more is east.
    pub longitude: u32,
    /// Centimetres above a point 100 km below the reference spheroid.
    pub altitude: u32,
}

/// All of a LOC record.
#[derive(Debug)]
pub(crate) enum Location {}

impl Kind for Location {
    type Value<'m> = Loc;

    fn read(reader: &mut Reader<'_>) -> Result<Loc, ParseError> {
        let [version, size, horizontal, vertical] = reader.array()?;
        let (latitude, longitude, altitude) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let nibbles = [size, horizontal, vertical].iter().all(|octet| octet >> 4 <= 9 && octet & 15 <= 9);
        let within =
            latitude.abs_diff(ZERO_ARC) <= 90 * 3_600_000 && longitude.abs_diff(ZERO_ARC) <= 180 * 3_600_000;
        if version != 0 || !nibbles || !within {
            return Err(reader.bad());
        }
        Ok(Loc { size, horizontal, vertical, latitude, longitude, altitude })
    }

    fn show(value: &Loc, f: &mut Spaced<'_, '_>) -> fmt::Result {
        show_arc(value.latitude, ["N", "S"], f)?;
        f.write_char(' ')?;
        show_arc(value.longitude, ["E", "W"], f)?;
        let altitude = i64::from(value.altitude) - SEA_LEVEL;
        let sign = if altitude < 0 { "-" } else { "" };
        let altitude = altitude.unsigned_abs();
        write!(f, " {sign}{}.{:02}m", altitude / 100, altitude % 100)?;
        [value.size, value.horizontal, value.vertical].iter().try_for_each(|octet| {
            let centimetres = u64::from(octet >> 4) * 10_u64.pow(u32::from(octet & 15));
            write!(f, " {}.{:02}m", centimetres / 100, centimetres % 100)
        })
    }

    #[cfg(feature = "alloc")]
    fn write(value: &Loc, wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.extend_from_slice(&[0, value.size, value.horizontal, value.vertical]);
        [value.latitude, value.longitude, value.altitude]
            .iter()
            .for_each(|word| wire.extend(word.to_be_bytes()));
        Ok(())
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        let latitude = scan_arc(fields, 90, ["N", "S"])?;
        let longitude = scan_arc(fields, 180, ["E", "W"])?;
        let altitude = scan_metres(fields)? + SEA_LEVEL;
        let altitude = u32::try_from(altitude).map_err(|_| RDataTextError::Unexpected {
            expected: "an altitude from -100000 to 42849672.95 m",
        })?;
        // RFC 1876 §3: 1 m, 10 km and 10 m where nothing is said.
        let mut sizes = [0x12, 0x16, 0x13];
        for size in &mut sizes {
            if fields.more() {
                let centimetres = u64::try_from(scan_metres(fields)?);
                *size = centimetres
                    .ok()
                    .and_then(to_nibbles)
                    .ok_or(RDataTextError::Unexpected { expected: "a size from 0 to 90000000 m" })?;
            }
        }
        let [size, horizontal, vertical] = sizes;
        wire.extend_from_slice(&[0, size, horizontal, vertical]);
        [latitude, longitude, altitude].iter().for_each(|word| wire.extend(word.to_be_bytes()));
        Ok(())
    }
}

fn show_arc(arc: u32, [positive, negative]: [&str; 2], f: &mut Spaced<'_, '_>) -> fmt::Result {
    let side = if arc >= ZERO_ARC { positive } else { negative };
    let arc = arc.abs_diff(ZERO_ARC);
    let (degrees, minutes) = (arc / 3_600_000, arc / 60_000 % 60);
    write!(f, "{degrees} {minutes} {}.{:03} {side}", arc / 1000 % 60, arc % 1000)
}

/// A decimal number with up to `places` digits behind the point, as a multiple of the last of them.
#[cfg(feature = "alloc")]
fn fixed_point(text: &str, places: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || whole.len() > 10 || part.len() > places || !digits(whole) || !digits(part) {
        return None;
    }
    let missing = u32::try_from(places - part.len()).ok()?;
    let part: u64 = if part.is_empty() { 0 } else { part.parse().ok()? };
    Some(whole.parse::<u64>().ok()? * 10_u64.pow(places as u32) + part * 10_u64.pow(missing))
}

/// Degrees, perhaps minutes and seconds, and a side.
#[cfg(feature = "alloc")]
fn scan_arc(
    fields: &mut Fields<'_, '_>,
    most: u64,
    [positive, negative]: [&str; 2],
) -> Result<u32, RDataTextError> {
    const EXPECTED: &str = "degrees, minutes, seconds and a side";
    let bad = RDataTextError::Unexpected { expected: EXPECTED };
    let mut thousandths = 0;
    // The unit of each part in thousandths of an arc second, and the bound below which it lies.
    for (places, unit, below) in [(0, 3_600_000, most + 1), (0, 60_000, 60), (3, 1, 60_000)] {
        let word = fields.word(EXPECTED)?;
        let number = fixed_point(word, places).filter(|number| *number < below).ok_or(bad)?;
        thousandths += number * unit;
        let side = fields.peek().map_or(&b""[..], |token| token.octets);
        let side_is = |side_name: &str| side.eq_ignore_ascii_case(side_name.as_bytes());
        if side_is(positive) || side_is(negative) {
            let negative = side_is(negative);
            fields.token()?;
            if thousandths > most * 3_600_000 {
                return Err(bad);
            }
            let arc = thousandths as u32;
            return Ok(if negative { ZERO_ARC - arc } else { ZERO_ARC + arc });
        }
    }
    Err(bad)
}

/// Metres in centimetres.
#[cfg(feature = "alloc")]
fn scan_metres(fields: &mut Fields<'_, '_>) -> Result<i64, RDataTextError> {
    const EXPECTED: &str = "metres";
    let word = fields.word(EXPECTED)?;
    let word = word.strip_suffix(['m', 'M']).unwrap_or(word);
    let (sign, word) = word.strip_prefix('-').map_or((1, word), |word| (-1, word));
    let centimetres = fixed_point(word, 2).and_then(|number| i64::try_from(number).ok());
    centimetres.map(|number| sign * number).ok_or(RDataTextError::Unexpected { expected: EXPECTED })
}

/// The largest mantissa and power of ten that do not exceed `centimetres`.
#[cfg(feature = "alloc")]
fn to_nibbles(mut centimetres: u64) -> Option<u8> {
    let mut power = 0;
    while centimetres > 9 {
        centimetres /= 10;
        power += 1;
    }
    (power <= 9).then_some((centimetres as u8) << 4 | power)
}
