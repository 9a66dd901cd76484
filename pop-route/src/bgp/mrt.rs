//! Tables in the MRT format: TABLE_DUMP_V2 (RFC 6396 §4.3), unicast of both families.
//!
//! Read by hand: what decides is a dozen fields, and a parser for all of MRT would bring forty crates along. Every length
//! in the file is checked against what is left of its record; a record of another type is passed over.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AS_PATH_MAX, Origin, RibRow, Route, Segment};
use crate::Prefix;

/// The longest record that is believed.
const RECORD_MAX: usize = 1 << 20;
const TABLE_DUMP_V2: u16 = 13;
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;
const RIB_IPV6_UNICAST: u16 = 4;

/// Path attributes that decide (RFC 4271 §5.1, RFC 1997).
const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const MED: u8 = 4;
const LOCAL_PREF: u8 = 5;
const COMMUNITIES: u8 = 8;
const EXTENDED_LENGTH: u8 = 0x10;
const AS_SET: u8 = 1;
const AS_SEQUENCE: u8 = 2;

#[derive(Clone, Copy, Debug)]
struct Peer {
    router_id: Ipv4Addr,
    address: IpAddr,
    system: u32,
}

/// Every route of a table, in order of the file.
///
/// # Errors
/// [`MrtError`] with the offset of the record that cannot be; what stands before it is handed out.
pub fn routes_of_mrt(bytes: &[u8]) -> impl Iterator<Item = Result<RibRow, MrtError>> {
    let (mut offset, mut peers, mut ready) = (0, Vec::new(), Vec::new().into_iter());
    core::iter::from_fn(move || {
        loop {
            if let Some(row) = ready.next() {
                return Some(Ok(row));
            }
            if offset >= bytes.len() {
                return None;
            }
            match record(&bytes[offset..], &mut peers) {
                Ok((length, rows)) => {
                    offset += length;
                    ready = rows.into_iter();
                }
                Err(expected) => {
                    let error = MrtError { offset, expected };
                    offset = bytes.len();
                    return Some(Err(error));
                }
            }
        }
    })
}

type Expected = &'static str;

/// Reads the record at the front: its length with the header, and its routes.
fn record(bytes: &[u8], peers: &mut Vec<Peer>) -> Result<(usize, Vec<RibRow>), Expected> {
    let mut header = Reader(bytes);
    let _time = header.u32()?;
    let (kind, subtype, length) = (header.u16()?, header.u16()?, header.u32()? as usize);
    if length > RECORD_MAX {
        return Err("a record of at most a mebibyte");
    }
    let mut body = Reader(header.take(length)?);
    let rows = match (kind, subtype) {
        (TABLE_DUMP_V2, PEER_INDEX_TABLE) => {
            *peers = peer_table(&mut body)?;
            Vec::new()
        }
        (TABLE_DUMP_V2, RIB_IPV4_UNICAST) => rib(&mut body, peers, true)?,
        (TABLE_DUMP_V2, RIB_IPV6_UNICAST) => rib(&mut body, peers, false)?,
        _ => Vec::new(),
    };
    Ok((12 + length, rows))
}

fn peer_table(body: &mut Reader<'_>) -> Result<Vec<Peer>, Expected> {
    body.take(4)?;
    let name = body.u16()?;
    body.take(name.into())?;
    let count = body.u16()?;
    // A peer takes eleven bytes or more: no count makes room for more than the record has.
    let mut peers = Vec::with_capacity(usize::from(count).min(body.0.len() / 11));
    for _ in 0..count {
        let kind = body.u8()?;
        let router_id = Ipv4Addr::from_bits(body.u32()?);
        let address = if kind & 1 == 0 {
            Ipv4Addr::from_bits(body.u32()?).into()
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(body.bits(16)?))
        };
        let system = if kind & 2 == 0 { body.u16()?.into() } else { body.u32()? };
        peers.push(Peer { router_id, address, system });
    }
    Ok(peers)
}

fn rib(body: &mut Reader<'_>, peers: &[Peer], v4: bool) -> Result<Vec<RibRow>, Expected> {
    let _sequence = body.u32()?;
    let length = body.u8()?;
    let bits = body.bits(usize::from(length).div_ceil(8))?;
    let width = if v4 { 32 } else { 128 };
    if length > width {
        return Err("a prefix length within the family");
    }
    // The bytes that are left out are zeros.
    let bits = bits.checked_shl(u32::from(width) - u32::from(length).div_ceil(8) * 8).unwrap_or(0);
    let address =
        if v4 { IpAddr::V4(Ipv4Addr::from_bits(bits as u32)) } else { IpAddr::V6(Ipv6Addr::from_bits(bits)) };
    let prefix = Prefix::new(address, length).map_err(|_| "a prefix")?;
    let mut rows = Vec::new();
    for _ in 0..body.u16()? {
        let peer = peers.get(usize::from(body.u16()?)).ok_or("the number of a peer in the table before")?;
        let _time = body.u32()?;
        let length = body.u16()?;
        let attributes = Reader(body.take(length.into())?);
        rows.push(RibRow { prefix, peer_as: peer.system, route: route(attributes, peer)? });
    }
    Ok(rows)
}

fn route(mut attributes: Reader<'_>, peer: &Peer) -> Result<Route, Expected> {
    let mut route = Route { peer: peer.address, as_path: Vec::new(), ..Route::new([], peer.router_id) };
    while !attributes.0.is_empty() {
        let (flags, kind) = (attributes.u8()?, attributes.u8()?);
        let length = if flags & EXTENDED_LENGTH == 0 { attributes.u8()?.into() } else { attributes.u16()? };
        let mut value = Reader(attributes.take(length.into())?);
        match kind {
            ORIGIN => {
                route.origin = match value.u8()? {
                    0 => Origin::Igp,
                    1 => Origin::Egp,
                    2 => Origin::Incomplete,
                    _ => return Err("an origin from 0 to 2"),
                };
            }
            AS_PATH => route.as_path = path(value)?,
            MED => route.med = Some(value.u32()?),
            LOCAL_PREF => route.local_pref = value.u32()?,
            COMMUNITIES => {
                while !value.0.is_empty() {
                    route.communities.push((value.u16()?, value.u16()?));
                }
            }
            _ => {}
        }
    }
    Ok(route)
}

/// Four bytes a system always (RFC 6396 §4.3.4).
fn path(mut value: Reader<'_>) -> Result<Vec<Segment>, Expected> {
    let (mut segments, mut count) = (Vec::new(), 0);
    while !value.0.is_empty() {
        let (kind, length) = (value.u8()?, usize::from(value.u8()?));
        count += length;
        if count > AS_PATH_MAX {
            return Err("an AS path of at most 1024 systems");
        }
        let systems = (0..length).map(|_| value.u32()).collect::<Result<Vec<u32>, _>>()?;
        match kind {
            AS_SEQUENCE => segments.push(Segment::Sequence(systems)),
            AS_SET => segments.push(Segment::Set(systems)),
            // Segments of a confederation count for nothing (RFC 5065 §5.3).
            _ => {}
        }
    }
    Ok(segments)
}

/// What is left of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Expected> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("more bytes")?;
        self.0 = rest;
        Ok(taken)
    }

    /// At most sixteen bytes as a number.
    fn bits(&mut self, length: usize) -> Result<u128, Expected> {
        if length > 16 {
            return Err("at most 128 bits");
        }
        Ok(self.take(length)?.iter().fold(0, |bits, &byte| bits << 8 | u128::from(byte)))
    }

    fn u8(&mut self) -> Result<u8, Expected> {
        self.bits(1).map(|bits| bits as u8)
    }

    fn u16(&mut self) -> Result<u16, Expected> {
        self.bits(2).map(|bits| bits as u16)
    }

    fn u32(&mut self) -> Result<u32, Expected> {
        self.bits(4).map(|bits| bits as u32)
    }
}

/// A file that is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MrtError {
    /// Where the record begins.
    pub offset: usize,
    /// What was expected in it.
    pub expected: &'static str,
}

impl fmt::Display for MrtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record at byte {}: expected {}", self.offset, self.expected)
    }
}

impl core::error::Error for MrtError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(subtype: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(TABLE_DUMP_V2.to_be_bytes());
        bytes.extend(subtype.to_be_bytes());
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// Two peers, then 198.51.100.0/24 by both, then 2001:db8::/33 by the second.
    fn table() -> Vec<u8> {
        let mut peers = vec![10, 0, 0, 9, 0, 0, 0, 2];
        peers.extend([0, 10, 0, 0, 1, 192, 0, 2, 1, 0xfd, 0xe8]);
        peers.extend([3, 10, 0, 0, 2]);
        peers.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        peers.extend(64_501_u32.to_be_bytes());
        let path = [0x40, AS_PATH, 10, AS_SEQUENCE, 2, 0, 0, 0xfb, 0xf4, 0, 0, 0xfb, 0xff];
        let mut attributes: Vec<u8> = vec![0x40, ORIGIN, 1, 2];
        attributes.extend(path);
        attributes.extend([0x80, MED, 4, 0, 0, 0, 7]);
        attributes.extend([0xd0, COMMUNITIES, 0, 4, 0xfb, 0xf4, 0, 9]);
        let entry = |peer: u8, attributes: &[u8]| {
            let mut entry = vec![0, peer, 0, 0, 0, 0, 0, attributes.len() as u8];
            entry.extend(attributes);
            entry
        };
        let mut v4 = vec![0, 0, 0, 0, 24, 198, 51, 100, 0, 2];
        v4.extend(entry(0, &attributes));
        v4.extend(entry(1, &path));
        let mut v6 = vec![0, 0, 0, 1, 33, 0x20, 0x01, 0x0d, 0xb8, 0x80, 0, 1];
        v6.extend(entry(1, &path));
        [
            record(PEER_INDEX_TABLE, &peers),
            record(99, &[1, 2, 3]),
            record(RIB_IPV4_UNICAST, &v4),
            record(RIB_IPV6_UNICAST, &v6),
        ]
        .concat()
    }

    #[test]
    fn a_table_of_both_families() {
        let rows: Vec<RibRow> = routes_of_mrt(&table()).collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!((rows[0].prefix.to_string().as_str(), rows[0].peer_as), ("198.51.100.0/24", 65_000));
        assert_eq!((rows[0].route.origin, rows[0].route.med), (Origin::Incomplete, Some(7)));
        assert_eq!((rows[0].route.neighbour(), rows[0].route.origin_as()), (Some(64_500), Some(64_511)));
        assert_eq!(rows[0].route.communities, [(64_500, 9)]);
        assert_eq!((rows[2].prefix.to_string().as_str(), rows[2].peer_as), ("2001:db8:8000::/33", 64_501));
    }

    fn peers() -> Vec<Peer> {
        vec![Peer { router_id: Ipv4Addr::UNSPECIFIED, address: Ipv4Addr::UNSPECIFIED.into(), system: 0 }; 2]
    }

    #[test]
    fn every_cut_and_every_flipped_byte_ends_well() {
        let whole = table();
        let mut ends = vec![0];
        while let Some(&end) = ends.last().filter(|end| **end < whole.len()) {
            ends.push(end + super::record(&whole[end..], &mut peers()).unwrap().0);
        }
        for length in 0..whole.len() {
            // Only between records is a cut no error.
            let fails = routes_of_mrt(&whole[..length]).any(|row| row.is_err());
            assert_eq!(fails, !ends.contains(&length), "cut at {length}");
        }
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 0xff;
            assert!(routes_of_mrt(&bytes).count() <= 4);
        }
    }
}
