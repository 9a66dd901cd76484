//! Immutable tables to read: which prefix matches, and for how wide a block a value holds.

use core::fmt;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::intern::{self, Interner};
use super::word::Word;
use super::{Cuts, Leaf, PrefixTable, Trie, TrieBuilder, blocks_of};
use crate::Prefix;
use crate::sync::Arc;

/// Distinct values in a snapshot at most: eight million.
pub const VALUES_MAX: usize = Leaf::VALUES as usize - 1;

/// Addresses that go down the trie side by side in a batch: enough loads in flight to hide a cache miss, few enough
/// for their state to stay in registers and the first cache level.
const LANES: usize = 16;

/// Both families' tries, and the distinct values.
pub(super) struct Tries<V> {
    pub(super) v4: Trie,
    pub(super) v6: Trie,
    pub(super) values: std::sync::Arc<[V]>,
    pub(super) prefixes: usize,
}

impl<V> fmt::Debug for Tries<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug("Tries", self, f)
    }
}

impl<V> Tries<V> {
    pub(super) fn empty() -> Self {
        Self { v4: Trie::default(), v6: Trie::default(), values: std::sync::Arc::new([]), prefixes: 0 }
    }

    #[inline]
    fn find(&self, address: IpAddr) -> Leaf {
        match address {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => self.v4.find(address.to_bits()),
                None => self.v6.find(address.to_bits()),
            },
        }
    }

    /// The value of a leaf. They are numbered from one: zero is nothing, and lies behind all values when one is taken.
    #[inline]
    fn value(&self, leaf: Leaf) -> Option<&V> {
        self.values.get((leaf.value as usize).wrapping_sub(1))
    }

    fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes() + self.v6.memory_bytes() + size_of_val(&*self.values)
    }
}

/// An immutable longest-prefix-match table; a clone shares it. Two or three dependent loads a look-up for IPv4 and up
/// to /24, one or two more for most of IPv6; no lock, no allocation.
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
pub struct PrefixSnapshot<V> {
    tries: Arc<Tries<V>>,
}

impl<V> Clone for PrefixSnapshot<V> {
    fn clone(&self) -> Self {
        Self { tries: Arc::clone(&self.tries) }
    }
}

impl<V> fmt::Debug for PrefixSnapshot<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug("PrefixSnapshot", &self.tries, f)
    }
}

fn debug<V>(name: &str, tries: &Tries<V>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_struct(name)
        .field("prefixes", &tries.prefixes)
        .field("values", &tries.values.len())
        .field("memory_bytes", &tries.memory_bytes())
        .finish_non_exhaustive()
}

impl<V> PrefixSnapshot<V> {
    pub(super) fn of(tries: Arc<Tries<V>>) -> Self {
        Self { tries }
    }

    /// The longest prefix around `address`, and its value. An IPv4-mapped address is IPv4.
    #[inline]
    #[must_use]
    pub fn longest(&self, address: IpAddr) -> Option<(Prefix, &V)> {
        let leaf = self.tries.find(address);
        let value = self.tries.value(leaf)?;
        Some((Prefix::host(address).truncate(leaf.length), value))
    }

    /// The value of the longest prefix around `address`.
    #[inline]
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<&V> {
        self.tries.value(self.tries.find(address))
    }

    /// [`longest`](Self::longest) for IPv4: the matched length, and the value.
    #[inline]
    #[must_use]
    pub fn longest_v4(&self, address: Ipv4Addr) -> Option<(u8, &V)> {
        let leaf = self.tries.v4.find(address.to_bits());
        self.tries.value(leaf).map(|value| (leaf.length, value))
    }

    /// [`longest`](Self::longest) for IPv6: the matched length, and the value. The address is taken for IPv6 even if it
    /// is IPv4-mapped.
    #[inline]
    #[must_use]
    pub fn longest_v6(&self, address: Ipv6Addr) -> Option<(u8, &V)> {
        let leaf = self.tries.v6.find(address.to_bits());
        self.tries.value(leaf).map(|value| (leaf.length, value))
    }

    /// [`longest_v4`](Self::longest_v4) for each address, in order, into `found`. Groups of addresses are looked up
    /// side by side, so that their cache misses overlap.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn get_batch_v4<'a>(&'a self, addresses: &[Ipv4Addr], found: &mut [Option<(u8, &'a V)>]) {
        self.batch(&self.tries.v4, addresses, |address| address.to_bits(), found);
    }

    /// [`longest_v6`](Self::longest_v6) for each address, in order, into `found`.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn get_batch_v6<'a>(&'a self, addresses: &[Ipv6Addr], found: &mut [Option<(u8, &'a V)>]) {
        self.batch(&self.tries.v6, addresses, |address| address.to_bits(), found);
    }

    #[inline]
    fn batch<'a, A: Copy, W: Word>(
        &'a self,
        trie: &Trie,
        addresses: &[A],
        bits: impl Fn(A) -> W,
        found: &mut [Option<(u8, &'a V)>],
    ) {
        assert_eq!(addresses.len(), found.len(), "one place for each address");
        let result = |leaf: Leaf| self.tries.value(leaf).map(|value| (leaf.length, value));
        let (mut addresses, mut places) = (addresses.chunks_exact(LANES), found.chunks_exact_mut(LANES));
        for (addresses, places) in addresses.by_ref().zip(places.by_ref()) {
            let lanes: [W; LANES] = core::array::from_fn(|lane| bits(addresses[lane]));
            let leaves = trie.find_lanes(lanes);
            for (place, leaf) in places.iter_mut().zip(leaves) {
                *place = result(leaf);
            }
        }
        for (place, &address) in places.into_remainder().iter_mut().zip(addresses.remainder()) {
            *place = result(trie.find(bits(address)));
        }
    }

    /// How many prefixes it was made of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tries.prefixes
    }

    /// Whether it was made of none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tries.prefixes == 0
    }

    /// Bytes on the heap, without what the values themselves own: a quarter of a mebibyte for each family that has
    /// prefixes, 64 bytes for each /16 that is divided (for each divided block of a deeper level, too), four for each run of
    /// equal matches, and the distinct values. Where runs take more than five mebibytes, or the distinct ones are few, 44
    /// bytes instead of 64, and as many bits a run as it needs.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.tries.memory_bytes()
    }
}

/// An immutable map from addresses to values that knows for how wide a block each value holds; a clone shares it.
///
/// Which prefix gave the value is forgotten: neighbours with equal values are one range, and the ranges are cut into
/// the fewest blocks. The block around an address is then the shortest prefix in which the value is constant: the
/// scope that an answer made of it may be kept for (RFC 7871 §7.2.1). That holds for "no value" as well.
///
/// ```
/// use pop_route::PrefixTable;
///
/// let table: PrefixTable<&str> = [
///     ("10.0.0.0/9".parse()?, "east"),
///     ("10.128.0.0/9".parse()?, "east"),
///     ("10.7.0.0/16".parse()?, "west"),
/// ]
/// .into_iter()
/// .collect();
/// let scoped = table.scoped_snapshot();
/// assert_eq!(scoped.get("10.200.0.1".parse()?), (Some(&"east"), 9));
/// assert_eq!(scoped.get("10.7.0.1".parse()?), (Some(&"west"), 16));
/// assert_eq!(scoped.get("10.6.0.1".parse()?), (Some(&"east"), 16), "its neighbour 10.7 is another's");
/// assert_eq!(scoped.get("192.0.2.1".parse()?), (None, 1), "nothing in all of 128.0.0.0/1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ScopedSnapshot<V> {
    tries: Arc<Tries<V>>,
}

impl<V> Clone for ScopedSnapshot<V> {
    fn clone(&self) -> Self {
        Self { tries: Arc::clone(&self.tries) }
    }
}

impl<V> fmt::Debug for ScopedSnapshot<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug("ScopedSnapshot", &self.tries, f)
    }
}

impl<V> ScopedSnapshot<V> {
    /// The value at `address`, and the length of the shortest prefix around it in which the value is the same.
    #[inline]
    #[must_use]
    pub fn get(&self, address: IpAddr) -> (Option<&V>, u8) {
        let leaf = self.tries.find(address);
        (self.tries.value(leaf), leaf.length)
    }

    /// Bytes on the heap, as [`PrefixSnapshot::memory_bytes`].
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.tries.memory_bytes()
    }
}

impl<V: Clone + Eq + Hash> PrefixTable<V> {
    /// The read-optimised form, immutable and cheap to clone. O(n); equal values are stored once, and neighbours with
    /// the same value and length share an entry.
    ///
    /// # Panics
    /// With more than [`VALUES_MAX`] distinct values.
    #[must_use]
    pub fn snapshot(&self) -> PrefixSnapshot<V> {
        let mut values = Interner::default();
        let v4 = trie(&Cuts::flatten(marks::<u32, V>(self.v4.iter(), &mut values, true), NOTHING));
        let v6 = trie(&Cuts::flatten(marks::<u128, V>(self.v6.iter(), &mut values, true), NOTHING));
        PrefixSnapshot { tries: Arc::new(Tries { v4, v6, values: values.finish(), prefixes: self.len() }) }
    }

    /// The form that forgets prefixes and knows scopes. O(n).
    ///
    /// # Panics
    /// With more than [`VALUES_MAX`] distinct values.
    #[must_use]
    pub fn scoped_snapshot(&self) -> ScopedSnapshot<V> {
        let mut values = Interner::default();
        let v4 = Cuts::flatten(marks::<u32, V>(self.v4.iter(), &mut values, false), NOTHING);
        let v6 = Cuts::flatten(marks::<u128, V>(self.v6.iter(), &mut values, false), NOTHING);
        let (v4, v6) = (trie(&into_blocks(&v4)), trie(&into_blocks(&v6)));
        ScopedSnapshot { tries: Arc::new(Tries { v4, v6, values: values.finish(), prefixes: self.len() }) }
    }
}

/// The mark of no value and no length, in both families.
pub(super) const NOTHING: u32 = Leaf { value: 0, length: 0 }.mark::<u32>();

fn trie<W: Word>(cuts: &Cuts<W>) -> Trie {
    TrieBuilder::build(cuts)
}

/// What to flatten: each prefix with a leaf's mark, its length in it or not.
fn marks<'a, W: Word, V: Clone + Eq + Hash + 'a>(
    mut entries: impl Iterator<Item = (&'a W::Key, &'a V)>,
    values: &mut Interner<V>,
    with_length: bool,
) -> impl Iterator<Item = (W, u8, u32)> {
    const LANES: usize = intern::LANES;
    let (mut keys, mut some) = (Vec::with_capacity(LANES), Vec::with_capacity(LANES));
    let (mut numbers, mut next) = ([0; LANES], 0);
    core::iter::from_fn(move || {
        if next == keys.len() {
            keys.clear();
            some.clear();
            for (key, value) in entries.by_ref().take(LANES) {
                keys.push(*key);
                some.push(value);
            }
            values.numbers(&some, &mut numbers);
            next = 0;
        }
        let (first, length) = W::unkey(*keys.get(next)?);
        let leaf = Leaf { value: numbers[next], length: if with_length { length } else { 0 } };
        next += 1;
        Some((first, length, leaf.mark::<W>()))
    })
}

/// Ranges whose marks are values become blocks whose marks are value and length of the block.
pub(crate) fn into_blocks<W: Word>(cuts: &Cuts<W>) -> Cuts<W> {
    let mut blocks = Cuts { starts: Vec::with_capacity(cuts.starts.len()), marks: Vec::new() };
    for (first, last, mark) in cuts.iter() {
        for (start, length) in blocks_of(first, last) {
            blocks.push(start, mark | Leaf { value: 0, length }.mark::<W>());
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_space_and_its_last_address() {
        let last_v6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let table: PrefixTable<u8> = [
            ("0.0.0.0/0".parse().unwrap(), 0),
            ("255.255.255.255/32".parse().unwrap(), 1),
            ("::/0".parse().unwrap(), 2),
            (Prefix::host(last_v6.parse().unwrap()), 3),
        ]
        .into_iter()
        .collect();
        let snapshot = table.snapshot();
        let value = |text: &str| snapshot.get(text.parse().unwrap()).copied();
        assert_eq!(value("255.255.255.254"), Some(0));
        assert_eq!(value("255.255.255.255"), Some(1));
        assert_eq!(value("::1"), Some(2));
        assert_eq!(value(last_v6), Some(3));
        assert_eq!(value("::ffff:255.255.255.255"), Some(1), "mapped is IPv4");
    }

    #[test]
    fn prefix_of_a_match_is_masked() {
        let table: PrefixTable<u8> = [("2001:db8::/47".parse().unwrap(), 0)].into_iter().collect();
        let (matched, _) = table.snapshot().longest("2001:db8:1:2::3".parse().unwrap()).unwrap();
        assert_eq!(matched, "2001:db8::/47".parse().unwrap());
    }
}
