//! Who is always let in, and who never: lists of prefixes.

use core::fmt;
use core::net::IpAddr;
use std::vec::Vec;

/// The most rules of an [`AccessList`].
pub const ACCESS_RULES_MAX: usize = 1 << 20;

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields, rename_all = "snake_case")
)]
pub enum Access {
    /// Let in without further limits.
    Allow,
    /// Never let in.
    Deny,
}

/// Prefixes that are allowed or denied; the longest prefix around an address decides.
///
/// Immutable: build a new one and swap it. A look-up is one binary search for each prefix length in use.
///
/// ```
/// use pop_ratelimit::{Access, AccessList};
///
/// let list = AccessList::new([
///     (("198.51.100.0".parse()?, 24), Access::Deny),
///     (("198.51.100.7".parse()?, 32), Access::Allow),
/// ])?;
/// assert_eq!(list.of("198.51.100.9".parse()?), Some(Access::Deny));
/// assert_eq!(list.of("198.51.100.7".parse()?), Some(Access::Allow));
/// assert_eq!(list.of("::ffff:198.51.100.9".parse()?), Some(Access::Deny));
/// assert_eq!(list.of("192.0.2.1".parse()?), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AccessList {
    /// By prefix length, the longest first; within one, sorted.
    ipv4: Vec<(u8, Vec<(u128, Access)>)>,
    ipv6: Vec<(u8, Vec<(u128, Access)>)>,
}

/// A rule that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// The length is above 32 or 128.
    Length {
        /// The network.
        network: IpAddr,
        /// Its length.
        length: u8,
    },
    /// The network has bits beyond its length.
    HostBits {
        /// The network.
        network: IpAddr,
        /// Its length.
        length: u8,
    },
    /// One prefix is both allowed and denied.
    Contradiction {
        /// The network.
        network: IpAddr,
        /// Its length.
        length: u8,
    },
    /// More than [`ACCESS_RULES_MAX`] rules.
    TooMany,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { network, length } => write!(f, "{network}/{length}: no such prefix length"),
            Self::HostBits { network, length } => write!(f, "{network}/{length}: bits beyond the prefix"),
            Self::Contradiction { network, length } => {
                write!(f, "{network}/{length} is both allowed and denied")
            }
            Self::TooMany => write!(f, "more than {ACCESS_RULES_MAX} rules"),
        }
    }
}

impl core::error::Error for AccessError {}

impl AccessList {
    /// A list of rules, each a network with its prefix length and what it says.
    ///
    /// # Errors
    /// [`AccessError`] names the rule.
    pub fn new(rules: impl IntoIterator<Item = ((IpAddr, u8), Access)>) -> Result<Self, AccessError> {
        let mut list = Self::default();
        for (count, ((network, length), access)) in rules.into_iter().enumerate() {
            if count == ACCESS_RULES_MAX {
                return Err(AccessError::TooMany);
            }
            let (bits, width, family) = match network {
                IpAddr::V4(address) => (u128::from(address.to_bits()), 32, &mut list.ipv4),
                IpAddr::V6(address) => (address.to_bits(), 128, &mut list.ipv6),
            };
            if length > width {
                return Err(AccessError::Length { network, length });
            }
            if masked(bits, width, length) != bits {
                return Err(AccessError::HostBits { network, length });
            }
            match family.iter_mut().find(|(have, _)| *have == length) {
                Some((_, rules)) => rules.push((bits, access)),
                None => family.push((length, Vec::from([(bits, access)]))),
            }
        }
        list.sort()?;
        Ok(list)
    }

    /// What the longest prefix around `address` says; `None` where no rule applies. An IPv4-mapped address counts as
    /// IPv4.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<Access> {
        let (bits, width, family) = match address.to_canonical() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32, &self.ipv4),
            IpAddr::V6(address) => (address.to_bits(), 128, &self.ipv6),
        };
        family.iter().find_map(|(length, rules)| {
            let network = masked(bits, width, *length);
            let index = rules.binary_search_by_key(&network, |(network, _)| *network).ok()?;
            Some(rules[index].1)
        })
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ipv4.iter().chain(&self.ipv6).map(|(_, rules)| rules.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn sort(&mut self) -> Result<(), AccessError> {
        for (ipv4, family) in [(true, &mut self.ipv4), (false, &mut self.ipv6)] {
            family.sort_by_key(|(length, _)| core::cmp::Reverse(*length));
            for (length, rules) in family {
                rules.sort_by_key(|(network, _)| *network);
                if let Some(pair) =
                    rules.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1)
                {
                    let network = if ipv4 {
                        IpAddr::V4((pair[0].0 as u32).into())
                    } else {
                        IpAddr::V6(pair[0].0.into())
                    };
                    return Err(AccessError::Contradiction { network, length: *length });
                }
                rules.dedup();
            }
        }
        Ok(())
    }
}

fn masked(bits: u128, width: u8, length: u8) -> u128 {
    let host_bits = u32::from(width - length);
    bits.checked_shr(host_bits).and_then(|network| network.checked_shl(host_bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rules_are_named() {
        let rule = |text: &str, length| ((text.parse().unwrap(), length), Access::Deny);
        let error = AccessList::new([rule("192.0.2.0", 33)]).unwrap_err();
        assert!(matches!(error, AccessError::Length { length: 33, .. }));
        let error = AccessList::new([rule("192.0.2.1", 24)]).unwrap_err();
        assert_eq!(error.to_string(), "192.0.2.1/24: bits beyond the prefix");
        let both = [rule("2001:db8::", 32), (("2001:db8::".parse().unwrap(), 32), Access::Allow)];
        assert!(matches!(AccessList::new(both), Err(AccessError::Contradiction { length: 32, .. })));
        assert_eq!(AccessList::new([rule("10.0.0.0", 8), rule("10.0.0.0", 8)]).unwrap().len(), 1);
    }

    #[test]
    fn rules_are_bounded() {
        let rule = ((IpAddr::from([192, 0, 2, 0]), 24), Access::Deny);
        assert_eq!(AccessList::new([rule; 3]).unwrap().len(), 1);
        assert_eq!(AccessList::new((0..=ACCESS_RULES_MAX).map(|_| rule)).unwrap_err(), AccessError::TooMany);
    }

    #[test]
    fn the_default_route_is_a_rule_too() {
        let list = AccessList::new([(("::".parse().unwrap(), 0), Access::Deny)]).unwrap();
        assert_eq!(list.of("2001:db8::1".parse().unwrap()), Some(Access::Deny));
        assert_eq!(list.of("192.0.2.1".parse().unwrap()), None);
    }
}
