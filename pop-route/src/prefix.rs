//! An address block: the parsed, canonical form of what crosses borders as `(IpAddr, u8)`.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An IPv4 or IPv6 prefix: host bits zero, length within the family. An IPv4-mapped IPv6 block of /96 or longer is
/// folded to IPv4.
///
/// ```
/// use pop_route::Prefix;
///
/// let prefix: Prefix = "192.0.2.77/24".parse()?;
/// assert_eq!(prefix.to_string(), "192.0.2.0/24");
/// assert!(prefix.contains("192.0.2.255".parse()?));
/// assert!(Prefix::new("2001:db8::".parse()?, 129).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Left-aligned bits, so that both families share the arithmetic.
    bits: u128,
    length: u8,
    family: Family,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// 32-bit addresses.
    V4,
    /// 128-bit addresses.
    V6,
}

impl Family {
    /// Bits of an address.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl Prefix {
    /// The block of `length` leading bits around `address`; host bits are cleared.
    ///
    /// # Errors
    /// [`PrefixError::Length`] if the length is above the family's.
    pub const fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let (bits, family) = match address {
            IpAddr::V4(address) => ((address.to_bits() as u128) << 96, Family::V4),
            IpAddr::V6(address) => (address.to_bits(), Family::V6),
        };
        if length > family.bits() {
            return Err(PrefixError::Length { length, max: family.bits() });
        }
        const MAPPED: u128 = 0xffff << 32;
        if matches!(family, Family::V6) && length >= 96 && (bits & !0xffff_ffff) == MAPPED {
            return Ok(Self::from_bits(bits << 96, length - 96, Family::V4));
        }
        Ok(Self::from_bits(bits, length, family))
    }

    /// The block that is one address. An IPv4-mapped address is IPv4.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::from_bits((address.to_bits() as u128) << 96, 32, Family::V4),
            IpAddr::V6(address) => Self::from_bits(address.to_bits(), 128, Family::V6),
        }
    }

    /// From left-aligned bits; clears what lies below `length`, which must be within the family.
    pub(crate) const fn from_bits(bits: u128, length: u8, family: Family) -> Self {
        debug_assert!(length <= family.bits());
        Self { bits: bits & mask(length), length, family }
    }

    pub(crate) const fn first(self) -> u128 {
        self.bits
    }

    /// The last address, left-aligned; bits beyond the family's are set.
    pub(crate) const fn last(self) -> u128 {
        self.bits | !mask(self.length)
    }

    /// The first address of the block.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits((self.bits >> 96) as u32)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(self.bits)),
        }
    }

    /// Leading bits that are fixed.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// The family.
    #[must_use]
    pub const fn family(self) -> Family {
        self.family
    }

    /// Whether `address` lies inside. An IPv4-mapped address counts as IPv4.
    #[must_use]
    pub const fn contains(self, address: IpAddr) -> bool {
        self.covers(Self::host(address))
    }

    /// Whether `other` is this block or lies inside it.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.family as u8 == other.family as u8
            && self.length <= other.length
            && (other.bits & mask(self.length)) == self.bits
    }

    /// The block twice as large around this one; `None` above the default route.
    #[must_use]
    pub const fn parent(self) -> Option<Self> {
        match self.length {
            0 => None,
            length => Some(Self::from_bits(self.bits, length - 1, self.family)),
        }
    }

    /// This block shortened to at most `length`.
    #[must_use]
    pub const fn truncate(self, length: u8) -> Self {
        if length >= self.length { self } else { Self::from_bits(self.bits, length, self.family) }
    }
}

const fn mask(length: u8) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length as u32) }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Prefix {
    /// As text: `192.0.2.0/24`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Prefix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl From<Prefix> for (IpAddr, u8) {
    fn from(prefix: Prefix) -> Self {
        (prefix.address(), prefix.length)
    }
}

impl TryFrom<(IpAddr, u8)> for Prefix {
    type Error = PrefixError;

    fn try_from((address, length): (IpAddr, u8)) -> Result<Self, PrefixError> {
        Self::new(address, length)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `address/length`, or an address alone for the block of one.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let Some((address, length)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| PrefixError::Address);
        };
        let address = address.parse().map_err(|_| PrefixError::Address)?;
        // `u8::from_str` takes "+8" and leading zeros; a prefix length has neither.
        let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = match length.parse() {
            Ok(length) if plain => length,
            _ => return Err(PrefixError::LengthText),
        };
        Self::new(address, length)
    }
}

/// A block that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefixError {
    /// The length is above the family's.
    Length {
        /// What was asked for.
        length: u8,
        /// The family's bits.
        max: u8,
    },
    /// What stands behind the slash is no number from 0 to 255.
    LengthText,
    /// What stands before the slash is no address.
    Address,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { length, max } => write!(f, "prefix length {length} is above {max}"),
            Self::LengthText => f.write_str("prefix length is not a number, expected ADDRESS/LENGTH"),
            Self::Address => f.write_str("not an IP address, expected ADDRESS/LENGTH"),
        }
    }
}

impl core::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn edges_of_both_families() {
        assert!(prefix("0.0.0.0/0").contains("255.255.255.255".parse().unwrap()));
        assert!(!prefix("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert_eq!(prefix("::/0").parent(), None);
        assert_eq!(prefix("10.0.0.0/8").truncate(7), prefix("10.0.0.0/7"));
        assert_eq!(prefix("::ffff:192.0.2.0/120"), prefix("192.0.2.0/24"));
        assert_eq!(prefix("2001:db8::1").length(), 128);
    }

    #[test]
    fn bad_text_says_what_was_expected() {
        let check = |text: &str, error| assert_eq!(text.parse::<Prefix>(), Err(error), "{text}");
        check("10.0.0.0/33", PrefixError::Length { length: 33, max: 32 });
        check("10.0.0.0/+8", PrefixError::LengthText);
        check("10.0.0.0/", PrefixError::LengthText);
        check("10.0.0/8", PrefixError::Address);
    }
}
