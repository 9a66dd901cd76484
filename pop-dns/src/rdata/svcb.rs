//! The parameters of SVCB and HTTPS records (RFC 9460; `dohpath` RFC 9461, `ohttp` RFC 9540, `docpath` of DNS over CoAP).

use core::fmt::{self, Write};
use core::net::{Ipv4Addr, Ipv6Addr};

use super::base::show_base64;
use super::kind::{Kind, Spaced, show_quoted};
use super::reader::Reader;
use super::strings::Strings;
use super::svc_key::SvcKey;
use crate::ParseError;
#[cfg(feature = "alloc")]
use {
    super::base::Collector,
    super::text::{Fields, RDataTextError, unescape_all},
    alloc::vec::Vec,
};

/// What a parameter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SvcValue<'m> {
    /// `mandatory`: keys in ascending order, two octets each.
    Mandatory(&'m [[u8; 2]]),
    /// `alpn`: protocol identifiers.
    Alpn(Strings<'m>),
    /// `no-default-alpn`.
    NoDefaultAlpn,
    /// `port`.
    Port(u16),
    /// `ipv4hint`: four octets each.
    Ipv4Hint(&'m [[u8; 4]]),
    /// `ech`: a list of configurations.
    Ech(&'m [u8]),
    /// `ipv6hint`: sixteen octets each.
    Ipv6Hint(&'m [[u8; 16]]),
    /// `dohpath`: a URI template.
    DohPath(&'m str),
    /// `ohttp`.
    Ohttp,
    /// `tls-supported-groups`: two octets each.
    TlsSupportedGroups(&'m [[u8; 2]]),
    /// `docpath`: the segments of a path, none for the root.
    DocPath(Strings<'m>),
    /// Any other key.
    Unknown(&'m [u8]),
}

impl<'m> SvcValue<'m> {
    fn parse(key: SvcKey, octets: &'m [u8]) -> Option<Self> {
        fn list<const N: usize>(octets: &[u8]) -> Option<&[[u8; N]]> {
            let (items, rest) = octets.as_chunks();
            (rest.is_empty() && !items.is_empty()).then_some(items)
        }
        /// Strings behind their lengths, none of them empty.
        fn strings(octets: &[u8]) -> Option<Strings<'_>> {
            let mut rest = octets;
            while let [length, tail @ ..] = rest {
                rest = tail.get(usize::from(*length)..).filter(|_| *length > 0)?;
            }
            Some(Strings::checked(octets))
        }
        Some(match key {
            SvcKey::MANDATORY => {
                let keys: &[[u8; 2]] = list(octets)?;
                let ascending = keys.windows(2).all(|pair| pair[0] < pair[1]);
                if !ascending || keys[0] == [0, 0] {
                    return None;
                }
                Self::Mandatory(keys)
            }
            SvcKey::ALPN if !octets.is_empty() => Self::Alpn(strings(octets)?),
            SvcKey::DOCPATH => Self::DocPath(strings(octets)?),
            SvcKey::NO_DEFAULT_ALPN if octets.is_empty() => Self::NoDefaultAlpn,
            SvcKey::PORT => Self::Port(u16::from_be_bytes(octets.try_into().ok()?)),
            SvcKey::IPV4HINT => Self::Ipv4Hint(list(octets)?),
            SvcKey::ECH if !octets.is_empty() => Self::Ech(octets),
            SvcKey::IPV6HINT => Self::Ipv6Hint(list(octets)?),
            SvcKey::DOHPATH => Self::DohPath(core::str::from_utf8(octets).ok()?),
            SvcKey::OHTTP if octets.is_empty() => Self::Ohttp,
            SvcKey::TLS_SUPPORTED_GROUPS => Self::TlsSupportedGroups(list(octets)?),
            SvcKey::ALPN | SvcKey::NO_DEFAULT_ALPN | SvcKey::ECH | SvcKey::OHTTP => return None,
            _ => Self::Unknown(octets),
        })
    }
}

/// The parameters of a record in ascending order of their keys. Checked when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SvcParams<'m>(&'m [u8]);

type Param<'m> = (SvcKey, &'m [u8]);

fn split(octets: &[u8]) -> Option<(Param<'_>, &[u8])> {
    let (&[k0, k1, l0, l1], rest) = octets.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
    Some(((SvcKey(u16::from_be_bytes([k0, k1])), value), rest))
}

impl<'m> SvcParams<'m> {
    /// §2.2: keys strictly ascend, every value has its form, and what is mandatory is there (§8).
    fn parse(octets: &'m [u8]) -> Option<Self> {
        let params = Self(octets);
        let (mut rest, mut last) = (octets, None);
        let mut mandatory: &[[u8; 2]] = &[];
        while !rest.is_empty() {
            let ((key, value), tail) = split(rest)?;
            if last >= Some(key) {
                return None;
            }
            if let SvcValue::Mandatory(keys) = SvcValue::parse(key, value)? {
                mandatory = keys;
            }
            (rest, last) = (tail, Some(key));
        }
        // Both lists ascend: one walk finds each mandatory key.
        let mut present = params.raw();
        let found = |key: &[u8; 2]| present.any(|(other, _)| other.0 == u16::from_be_bytes(*key));
        mandatory.iter().all(found).then_some(params)
    }

    fn raw(&self) -> impl Iterator<Item = Param<'m>> + use<'m> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (param, tail) = split(rest)?;
            rest = tail;
            Some(param)
        })
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = (SvcKey, SvcValue<'m>)> + use<'m> {
        self.raw().map(|(key, value)| (key, SvcValue::parse(key, value).unwrap_or(SvcValue::Unknown(value))))
    }

    /// The parameter of this key.
    #[must_use]
    pub fn get(&self, key: SvcKey) -> Option<SvcValue<'m>> {
        self.iter().find(|(found, _)| *found == key).map(|(_, value)| value)
    }
}

/// Parameters to the end of the RDATA.
#[derive(Debug)]
pub(crate) enum Params {}

impl Kind for Params {
    type Value<'m> = SvcParams<'m>;

    fn read<'m>(reader: &mut Reader<'m>) -> Result<SvcParams<'m>, ParseError> {
        SvcParams::parse(reader.rest()).ok_or_else(|| reader.bad())
    }

    fn show(value: &SvcParams<'_>, f: &mut Spaced<'_, '_>) -> fmt::Result {
        value.iter().try_for_each(|(key, value)| {
            f.gap();
            write!(f, "{key}")?;
            show_value(&value, f)
        })
    }

    #[cfg(feature = "alloc")]
    fn write(value: &SvcParams<'_>, wire: &mut Vec<u8>) -> Result<(), ParseError> {
        wire.extend_from_slice(value.0);
        Ok(())
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        const TWICE: RDataTextError = RDataTextError::Unexpected { expected: "each key once" };
        const ALONE: RDataTextError =
            RDataTextError::Unexpected { expected: "every mandatory key, and alpn beside no-default-alpn" };
        let mut params: Vec<(SvcKey, Vec<u8>)> = Vec::new();
        while fields.more() {
            let param = scan_param(fields)?;
            match params.binary_search_by_key(&param.0, |(key, _)| *key) {
                Ok(_) => return Err(TWICE),
                Err(place) => params.insert(place, param),
            }
        }
        let start = wire.len();
        for (key, value) in &params {
            wire.extend(key.0.to_be_bytes());
            wire.extend(u16::try_from(value.len()).map_err(|_| RDataTextError::TooLong)?.to_be_bytes());
            wire.extend_from_slice(value);
        }
        let checked = SvcParams::parse(&wire[start..]).ok_or(ALONE)?;
        // §7.1.1: a record with no-default-alpn alone contradicts itself.
        if checked.get(SvcKey::NO_DEFAULT_ALPN).is_some() && checked.get(SvcKey::ALPN).is_none() {
            return Err(ALONE);
        }
        Ok(())
    }
}

fn show_list<T>(
    items: impl Iterator<Item = T>,
    f: &mut Spaced<'_, '_>,
    show: impl Fn(T, &mut Spaced<'_, '_>) -> fmt::Result,
) -> fmt::Result {
    items.enumerate().try_for_each(|(index, item)| {
        f.write_char(if index == 0 { '=' } else { ',' })?;
        show(item, f)
    })
}

fn show_value(value: &SvcValue<'_>, f: &mut Spaced<'_, '_>) -> fmt::Result {
    match *value {
        SvcValue::Mandatory(keys) => {
            show_list(keys.iter(), f, |key, f| write!(f, "{}", SvcKey(u16::from_be_bytes(*key))))
        }
        SvcValue::Alpn(strings) | SvcValue::DocPath(strings) => {
            f.write_str("=\"")?;
            strings.enumerate().try_for_each(|(index, string)| {
                f.write_str(if index > 0 { "," } else { "" })?;
                string.iter().try_for_each(|&octet| show_list_octet(octet, f))
            })?;
            f.write_char('"')
        }
        SvcValue::NoDefaultAlpn | SvcValue::Ohttp | SvcValue::Unknown([]) => Ok(()),
        SvcValue::Port(port) => write!(f, "={port}"),
        SvcValue::Ipv4Hint(hints) => {
            show_list(hints.iter(), f, |hint, f| write!(f, "{}", Ipv4Addr::from(*hint)))
        }
        SvcValue::Ipv6Hint(hints) => {
            show_list(hints.iter(), f, |hint, f| write!(f, "{}", Ipv6Addr::from(*hint)))
        }
        SvcValue::TlsSupportedGroups(groups) => {
            show_list(groups.iter(), f, |group, f| write!(f, "{}", u16::from_be_bytes(*group)))
        }
        SvcValue::Ech(configurations) => {
            f.write_char('=')?;
            show_base64(configurations, f)
        }
        SvcValue::DohPath(path) => {
            f.write_char('=')?;
            show_quoted(path.as_bytes(), f)
        }
        SvcValue::Unknown(octets) => {
            f.write_char('=')?;
            show_quoted(octets, f)
        }
    }
}

/// An octet of a list's item (appendix A.1): comma and backslash are escaped for the list, and then once more as
/// any text is.
fn show_list_octet(octet: u8, f: &mut Spaced<'_, '_>) -> fmt::Result {
    match octet {
        b',' => f.write_str("\\\\,"),
        b'\\' => f.write_str("\\\\\\\\"),
        b'"' => f.write_str("\\\""),
        0x20..=0x7e => f.write_char(octet.into()),
        _ => write!(f, "\\{octet:03}"),
    }
}

/// `key`, `key=value`, `key="value"`, and the last also where the quotes made a token of their own.
#[cfg(feature = "alloc")]
fn scan_param(fields: &mut Fields<'_, '_>) -> Result<(SvcKey, Vec<u8>), RDataTextError> {
    const KEY: RDataTextError = RDataTextError::Unexpected { expected: "a parameter key" };
    let token = fields.token()?.octets;
    let equals = token.iter().position(|&octet| octet == b'=');
    let (key, value) = token.split_at(equals.unwrap_or(token.len()));
    let key = core::str::from_utf8(key).ok().and_then(SvcKey::from_text).ok_or(KEY)?;
    let mut value = value.strip_prefix(b"=");
    if value == Some(b"") && fields.peek().is_some_and(|token| token.quoted) {
        value = Some(fields.token()?.octets);
    }
    let mut text = Vec::new();
    if let Some(value) = value {
        let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        unescape_all(inner.unwrap_or(value), &mut text)?;
    }
    let octets = value_to_wire(key, &text, value.is_some());
    octets
        .map(|octets| (key, octets))
        .ok_or(RDataTextError::Unexpected { expected: "a value that fits the key" })
}

#[cfg(feature = "alloc")]
fn value_to_wire(key: SvcKey, text: &[u8], given: bool) -> Option<Vec<u8>> {
    fn list<const N: usize>(text: &[u8], item: impl Fn(&str) -> Option<[u8; N]>) -> Option<Vec<u8>> {
        let items = core::str::from_utf8(text).ok()?.split(',').map(item);
        items.map(|item| item.map(Vec::from)).collect::<Option<Vec<_>>>().map(|items| items.concat())
    }
    fn number(text: &str) -> Option<[u8; 2]> {
        let digits = text.bytes().all(|octet| octet.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits).map(u16::to_be_bytes)
    }
    let octets = match key {
        SvcKey::MANDATORY => {
            let mut keys: Vec<SvcKey> = Vec::new();
            for name in core::str::from_utf8(text).ok()?.split(',') {
                let key = SvcKey::from_text(name)?;
                keys.insert(keys.binary_search(&key).err()?, key);
            }
            keys.iter().flat_map(|key| key.0.to_be_bytes()).collect()
        }
        SvcKey::DOCPATH if text.is_empty() => Vec::new(),
        SvcKey::ALPN | SvcKey::DOCPATH => value_list(text)?,
        SvcKey::PORT => number(core::str::from_utf8(text).ok()?)?.into(),
        SvcKey::IPV4HINT => list(text, |item| item.parse::<Ipv4Addr>().ok().map(|address| address.octets()))?,
        SvcKey::IPV6HINT => list(text, |item| item.parse::<Ipv6Addr>().ok().map(|address| address.octets()))?,
        SvcKey::TLS_SUPPORTED_GROUPS => list(text, number)?,
        SvcKey::NO_DEFAULT_ALPN | SvcKey::OHTTP if given && !text.is_empty() => return None,
        SvcKey::ECH => {
            let mut octets = Vec::new();
            let mut digits = Collector::base64(&mut octets);
            text.iter().try_for_each(|&octet| digits.push(octet))?;
            digits.finish()?;
            octets
        }
        _ => text.to_vec(),
    };
    SvcValue::parse(key, &octets)?;
    Some(octets)
}

/// A comma-separated list whose commas and backslashes may be escaped (appendix A.1), as strings behind their
/// lengths.
#[cfg(feature = "alloc")]
fn value_list(text: &[u8]) -> Option<Vec<u8>> {
    let mut wire = alloc::vec![0];
    let mut start = 0;
    let mut octets = text.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b',' => {
                wire[start] = u8::try_from(wire.len() - start - 1).ok()?;
                start = wire.len();
                wire.push(0);
            }
            b'\\' => wire.push(*octets.next()?),
            octet => wire.push(octet),
        }
    }
    wire[start] = u8::try_from(wire.len() - start - 1).ok()?;
    Some(wire)
}
