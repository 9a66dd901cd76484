//! Longest-prefix match: a table to edit, and a snapshot to read.
//!
//! The editable form is a sorted map, slow and obvious. The snapshot flattens it: the address space is cut at
//! every prefix boundary into ranges with one longest match each, neighbours with the same match are merged, and
//! the ranges stand sorted in one array. A direct index on the leading bits leaves a few ranges to search, all
//! within a cache line or two (the idea of DXR: Zec, Rizzo, Mikuc, CCR 2012).

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Family, Prefix};

/// Prefixes with values, to be edited. Longest match costs a look-up for each length that is present; for many
/// look-ups take a [`snapshot`](Self::snapshot).
#[derive(Clone, Debug)]
pub struct PrefixTable<V> {
    // Ordered by first address, then length: a block comes right before what it covers.
    entries: BTreeMap<Prefix, V>,
}

impl<V> Default for PrefixTable<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<V> PrefixTable<V> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a prefix and returns what it had. O(log n).
    pub fn insert(&mut self, prefix: Prefix, value: V) -> Option<V> {
        self.entries.insert(prefix, value)
    }

    /// Removes exactly this prefix. O(log n).
    pub fn remove(&mut self, prefix: Prefix) -> Option<V> {
        self.entries.remove(&prefix)
    }

    /// The value of exactly this prefix. O(log n).
    #[must_use]
    pub fn get(&self, prefix: Prefix) -> Option<&V> {
        self.entries.get(&prefix)
    }

    /// The longest prefix around `address`, and its value.
    #[must_use]
    pub fn longest(&self, address: IpAddr) -> Option<(Prefix, &V)> {
        self.covering(Prefix::host(address)).next()
    }

    /// Every prefix that covers `inner`, itself included, the longest first.
    pub fn covering(&self, inner: Prefix) -> impl Iterator<Item = (Prefix, &V)> {
        core::iter::successors(Some(inner), |prefix| prefix.parent())
            .filter_map(|prefix| self.entries.get(&prefix).map(|value| (prefix, value)))
    }

    /// Every prefix inside `outer`, itself included, in address order.
    pub fn covered(&self, outer: Prefix) -> impl Iterator<Item = (Prefix, &V)> {
        // The order is by bits, then length, then family: what lies inside is one run, but for the other family.
        self.entries
            .range(outer..)
            .take_while(move |(prefix, _)| prefix.first() <= outer.last())
            .filter(move |(prefix, _)| outer.covers(**prefix))
            .map(|(&prefix, value)| (prefix, value))
    }

    /// Every prefix, in address order.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &V)> {
        self.entries.iter().map(|(&prefix, value)| (prefix, value))
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<V: Clone> PrefixTable<V> {
    /// The read-optimised form, immutable and cheap to clone. O(n).
    #[must_use]
    pub fn snapshot(&self) -> PrefixSnapshot<V> {
        let entries: Arc<[(Prefix, V)]> =
            self.iter().map(|(prefix, value)| (prefix, value.clone())).collect();
        let indices = |family| {
            (0_u32..)
                .zip(entries.iter())
                .filter(move |(_, (prefix, _))| prefix.family() == family)
                .map(|(index, &(prefix, _))| (prefix, index))
        };
        PrefixSnapshot {
            v4: Arc::new(Ranges::build(Family::V4, indices(Family::V4))),
            v6: Arc::new(Ranges::build(Family::V6, indices(Family::V6))),
            entries,
        }
    }
}

impl<V> FromIterator<(Prefix, V)> for PrefixTable<V> {
    fn from_iter<I: IntoIterator<Item = (Prefix, V)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}

/// An immutable longest-prefix-match table; a clone shares it.
///
/// ```
/// use pop_route::PrefixTable;
///
/// let table: PrefixTable<&str> =
///     [("10.0.0.0/8".parse()?, "private"), ("10.1.0.0/16".parse()?, "lab")].into_iter().collect();
/// let snapshot = table.snapshot();
/// let (prefix, value) = snapshot.longest("10.1.2.3".parse()?).expect("inside both");
/// assert_eq!((prefix.to_string().as_str(), *value), ("10.1.0.0/16", "lab"));
/// assert!(snapshot.longest("192.0.2.1".parse()?).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrefixSnapshot<V> {
    entries: Arc<[(Prefix, V)]>,
    v4: Arc<Ranges<u32>>,
    v6: Arc<Ranges<u128>>,
}

impl<V> PrefixSnapshot<V> {
    /// The longest prefix around `address`, and its value. No allocation; one direct look-up and a search among the
    /// few ranges that share the leading bits.
    #[must_use]
    pub fn longest(&self, address: IpAddr) -> Option<(Prefix, &V)> {
        let index = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits())?,
            IpAddr::V6(address) => self.v6.find(address.to_bits())?,
        };
        let (prefix, value) = &self.entries[index as usize];
        Some((*prefix, value))
    }

    /// The length of the shortest prefix around `address` in which every address has the same longest match: how wide
    /// an answer that depends on the match may be kept (the scope of RFC 7871). Exact, not just the matched length:
    /// a hole inside a block makes it longer, an equal neighbour does not make it shorter.
    #[must_use]
    pub fn scope(&self, address: IpAddr) -> u8 {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let (first, last) = self.v4.around(address.to_bits(), u32::MAX, |start| start - 1);
                let differs = |bound: Option<u32>| {
                    bound.map_or(0, |bound| (bound ^ address.to_bits()).leading_zeros() + 1)
                };
                differs(first.checked_sub(1)).max(differs(last.checked_add(1))) as u8
            }
            IpAddr::V6(address) => {
                let (first, last) = self.v6.around(address.to_bits(), u128::MAX, |start| start - 1);
                let differs = |bound: Option<u128>| {
                    bound.map_or(0, |bound| (bound ^ address.to_bits()).leading_zeros() + 1)
                };
                differs(first.checked_sub(1)).max(differs(last.checked_add(1))) as u8
            }
        }
    }

    /// How many prefixes it was made of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it was made of none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// No prefix matches in this range.
const NOTHING: u32 = u32::MAX;

/// An address as the ranges count it.
trait Bits: Copy + Ord + core::fmt::Debug {
    /// How many leading bits index directly.
    const DIRECT: u32;
    fn from_left_aligned(bits: u128) -> Self;
    fn leading(self) -> usize;
}

impl Bits for u32 {
    const DIRECT: u32 = 16;
    fn from_left_aligned(bits: u128) -> Self {
        (bits >> 96) as Self
    }
    fn leading(self) -> usize {
        (self >> (32 - Self::DIRECT)) as usize
    }
}

impl Bits for u128 {
    const DIRECT: u32 = 16;
    fn from_left_aligned(bits: u128) -> Self {
        bits
    }
    fn leading(self) -> usize {
        (self >> (128 - Self::DIRECT)) as usize
    }
}

/// Sorted ranges that cover the whole space: where each begins, and the entry that matches in it.
#[derive(Debug)]
struct Ranges<B> {
    starts: Box<[B]>,
    matches: Box<[u32]>,
    /// For each value of the leading bits, the range in which its first address lies.
    direct: Box<[u32]>,
}

impl<B: Bits> Ranges<B> {
    /// `prefixes` in address order, a block before what it covers.
    fn build(family: Family, prefixes: impl Iterator<Item = (Prefix, u32)>) -> Self {
        let mut cuts = Cuts::default();
        // The blocks around the point reached, outermost first.
        let mut open: Vec<(Prefix, u32)> = Vec::new();
        cuts.from(0, NOTHING);
        for (prefix, index) in prefixes {
            close(&mut open, &mut cuts, |outer| !outer.covers(prefix));
            cuts.from(prefix.first(), index);
            open.push((prefix, index));
        }
        close(&mut open, &mut cuts, |_| true);
        let unit = 128 - u32::from(family.bits());
        debug_assert!(
            cuts.starts.iter().all(|start| unit == 0 || start.trailing_zeros() >= unit || *start == 0)
        );
        let starts: Box<[B]> = cuts.starts.iter().map(|&start| B::from_left_aligned(start)).collect();
        let mut direct = Vec::with_capacity(1 << B::DIRECT);
        let mut range = 0;
        for leading in 0..1_usize << B::DIRECT {
            while range + 1 < starts.len() && cuts.starts[range + 1] <= (leading as u128) << (128 - B::DIRECT)
            {
                range += 1;
            }
            direct.push(range as u32);
        }
        Self { starts, matches: cuts.matches.into(), direct: direct.into() }
    }

    fn find(&self, address: B) -> Option<u32> {
        let index = self.matches[self.range(address)];
        (index != NOTHING).then_some(index)
    }

    /// The first and the last address of the range around `address`.
    fn around(&self, address: B, highest: B, before: impl Fn(B) -> B) -> (B, B) {
        let range = self.range(address);
        (self.starts[range], self.starts.get(range + 1).map_or(highest, |&next| before(next)))
    }

    fn range(&self, address: B) -> usize {
        let leading = address.leading();
        let low = self.direct[leading] as usize;
        let high = self.direct.get(leading + 1).map_or(self.starts.len() - 1, |&next| next as usize);
        low + self.starts[low + 1..=high].partition_point(|&start| start <= address)
    }
}

/// Pops the open blocks that end before what comes next, and continues with the block around each.
fn close(open: &mut Vec<(Prefix, u32)>, cuts: &mut Cuts, ends: impl Fn(Prefix) -> bool) {
    while let Some(&(inner, _)) = open.last() {
        if !ends(inner) {
            return;
        }
        open.pop();
        // Nothing lies behind the very last address.
        let unit = 1_u128 << (128 - inner.family().bits());
        let last = inner.last() & !(unit - 1);
        if let Some(next) = last.checked_add(unit) {
            cuts.from(next, open.last().map_or(NOTHING, |&(_, index)| index));
        }
    }
}

/// Ranges under construction: each goes on until the next begins.
#[derive(Default)]
struct Cuts {
    starts: Vec<u128>,
    matches: Vec<u32>,
}

impl Cuts {
    /// From `start` on, `index` matches. Overwrites what began at the same address; merges with its like.
    fn from(&mut self, start: u128, index: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.matches.pop();
        }
        if self.matches.last() != Some(&index) {
            self.starts.push(start);
            self.matches.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_space_and_its_last_address() {
        let table: PrefixTable<u8> = [
            ("0.0.0.0/0".parse().unwrap(), 0),
            ("255.255.255.255/32".parse().unwrap(), 1),
            ("::/0".parse().unwrap(), 2),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128".parse().unwrap(), 3),
        ]
        .into_iter()
        .collect();
        let snapshot = table.snapshot();
        let value = |text: &str| snapshot.longest(text.parse().unwrap()).map(|(_, value)| *value);
        assert_eq!(value("255.255.255.254"), Some(0));
        assert_eq!(value("255.255.255.255"), Some(1));
        assert_eq!(value("::1"), Some(2));
        assert_eq!(value("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some(3));
    }
}
