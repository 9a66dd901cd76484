//! Maglev hashing (Eisenbud et al., NSDI 2016 §3.4): every node fills a table in an order of its own, in turns.

use super::{NodesError, check};
use crate::hash::{mix, salt};

/// Nodes at most: the table has a hundred places for each.
pub const MAGLEV_NODES_MAX: usize = 6_553;

/// Primes, about a hundred places for each node of the power of two that they serve: loads differ by one percent.
const SIZES: [usize; 7] = [1_009, 4_093, 16_381, 65_537, 131_071, 262_139, 655_373];

/// A table from keys to nodes.
///
/// ```
/// use pop_route::Maglev;
///
/// let maglev = Maglev::new(&[("cache-1", 1), ("cache-2", 1), ("cache-3", 2)])?;
/// let node = maglev.pick(4711);
/// assert!(node < 3);
/// assert_eq!(maglev.pick(4711), node);
/// # Ok::<(), pop_route::NodesError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Maglev {
    table: Box<[u16]>,
}

impl Maglev {
    /// A table over named nodes with weights. The order of the list decides nothing but the numbers: a node keeps its
    /// keys wherever it stands. O(table), some milliseconds for a thousand nodes.
    ///
    /// # Errors
    /// [`NodesError`] when there is no node or too many, a name comes twice, or a weight is zero.
    pub fn new(nodes: &[(&str, u32)]) -> Result<Self, NodesError> {
        check(nodes, MAGLEV_NODES_MAX)?;
        let size =
            SIZES.into_iter().find(|size| *size >= nodes.len() * 100).unwrap_or(SIZES[SIZES.len() - 1]);
        // By name, so that turns do not depend on the list.
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_unstable_by_key(|&node| nodes[node].0);
        let most = nodes.iter().map(|&(_, weight)| weight).max().unwrap_or(1);
        let mut fillers: Vec<Filler> =
            order.into_iter().map(|node| Filler::new(node, nodes[node], size)).collect();
        let (mut table, mut filled) = (vec![u16::MAX; size], 0);
        'turns: loop {
            for filler in &mut fillers {
                // A node of half the weight has every other turn.
                filler.credit += u64::from(filler.weight);
                if filler.credit < u64::from(most) {
                    continue;
                }
                filler.credit -= u64::from(most);
                filler.fill(&mut table);
                filled += 1;
                if filled == size {
                    break 'turns;
                }
            }
        }
        Ok(Self { table: table.into() })
    }

    /// The node for a key, by its place in the list. Keys may be raw: they are mixed here. One multiplication and one
    /// load.
    #[inline]
    #[must_use]
    pub fn pick(&self, key: u64) -> usize {
        // The high bits of a product spread over the table without a division (Lemire 2016).
        let place = (u128::from(mix(key)) * self.table.len() as u128) >> 64;
        usize::from(self.table[place as usize])
    }

    /// Places in the table.
    #[must_use]
    pub fn size(&self) -> usize {
        self.table.len()
    }
}

/// A node that takes places in the order of its own permutation.
#[derive(Debug)]
struct Filler {
    node: u16,
    weight: u32,
    credit: u64,
    next: usize,
    skip: usize,
}

impl Filler {
    fn new(node: usize, (name, weight): (&str, u32), size: usize) -> Self {
        let hash = salt(name);
        let next = (hash % size as u64) as usize;
        let skip = (mix(hash) % (size as u64 - 1)) as usize + 1;
        // MAGLEV_NODES_MAX fits.
        Self { node: node as u16, weight, credit: 0, next, skip }
    }

    /// Takes the next free place of the permutation: the size is prime, so every place comes up.
    fn fill(&mut self, table: &mut [u16]) {
        while table[self.next] != u16::MAX {
            self.next = (self.next + self.skip) % table.len();
        }
        table[self.next] = self.node;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

    fn nodes(names: &[&'static str]) -> Vec<(&'static str, u32)> {
        names.iter().map(|&name| (name, 1)).collect()
    }

    #[test]
    fn shares_follow_weights() {
        let maglev = Maglev::new(&[("a", 1), ("b", 2), ("c", 5)]).unwrap();
        let mut counts = [0_u32; 3];
        (0..80_000).for_each(|key| counts[maglev.pick(key)] += 1);
        for (count, weight) in counts.iter().zip([1.0, 2.0, 5.0]) {
            assert!((f64::from(*count) / 10_000.0 / weight - 1.0).abs() < 0.05, "{counts:?}");
        }
    }

    #[test]
    fn a_lost_node_moves_hardly_more_than_its_own_keys() {
        let (before, after) =
            (Maglev::new(&nodes(&NAMES)).unwrap(), Maglev::new(&nodes(&NAMES[..9])).unwrap());
        let stayed = (0..50_000).filter(|&key| before.pick(key) < 9);
        let (kept, moved): (Vec<u64>, Vec<u64>) =
            stayed.partition(|&key| before.pick(key) == after.pick(key));
        assert!(moved.len() * 20 < kept.len(), "{} of {}", moved.len(), kept.len());
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let turned: Vec<&str> = NAMES.iter().rev().copied().collect();
        let (one, other) = (Maglev::new(&nodes(&NAMES)).unwrap(), Maglev::new(&nodes(&turned)).unwrap());
        assert!((0..10_000).all(|key| NAMES[one.pick(key)] == turned[other.pick(key)]));
    }

    #[test]
    fn nodes_that_cannot_be() {
        let check = |nodes: &[(&str, u32)], error| assert_eq!(Maglev::new(nodes).unwrap_err(), error);
        check(&[], NodesError::Count { nodes: 0, max: MAGLEV_NODES_MAX });
        check(&[("a", 1), ("a", 1)], NodesError::Duplicate { index: 1 });
        check(&[("a", 0)], NodesError::Weight { index: 0 });
        let names: Vec<String> = (0..=MAGLEV_NODES_MAX).map(|index| index.to_string()).collect();
        let many: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        check(&many, NodesError::Count { nodes: MAGLEV_NODES_MAX + 1, max: MAGLEV_NODES_MAX });
        assert_eq!(Maglev::new(&many[1..]).unwrap().size(), 655_373);
    }
}
