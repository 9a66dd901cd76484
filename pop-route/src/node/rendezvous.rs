//! Rendezvous hashing (Thaler, Ravishankar 1998): each key asks every node for its score, and the best one wins.

use super::{NodesError, check};
use crate::hash::{Score, mix, salt};

/// Nodes at most: a pick asks each of them.
const NODES_MAX: usize = 4_096;

/// Named nodes with weights; no table, O(nodes) for a pick.
///
/// Removing a node moves its keys and no others; changing a weight moves what the weight says and no more. Scores are
/// exponential clocks in integers, so shares are exactly the weights and every machine agrees.
///
/// ```
/// use pop_route::Rendezvous;
///
/// let nodes = Rendezvous::new(&[("cache-1", 1), ("cache-2", 3)])?;
/// let ranked: Vec<usize> = nodes.ranked(4711).collect();
/// assert_eq!(ranked[0], nodes.pick(4711), "the others stand in for it, in order");
/// # Ok::<(), pop_route::NodesError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rendezvous {
    nodes: Box<[(u64, u32)]>,
}

impl Rendezvous {
    /// Named nodes with weights.
    ///
    /// # Errors
    /// [`NodesError`] when there is no node or there are more than 4096, a name comes twice, or a weight is zero.
    pub fn new(nodes: &[(&str, u32)]) -> Result<Self, NodesError> {
        check(nodes, NODES_MAX)?;
        Ok(Self { nodes: nodes.iter().map(|&(name, weight)| (salt(name), weight)).collect() })
    }

    /// The node for a key, by its place in the list.
    #[must_use]
    pub fn pick(&self, key: u64) -> usize {
        let key = mix(key);
        let score = |index: usize| Score::new(key, self.nodes[index].0, self.nodes[index].1);
        let mut best = (score(0), 0);
        for index in 1..self.nodes.len() {
            let score = score(index);
            if score.beats(best.0) {
                best = (score, index);
            }
        }
        best.1
    }

    /// All nodes in the key's order, the best first. Allocates.
    pub fn ranked(&self, key: u64) -> impl Iterator<Item = usize> {
        let key = mix(key);
        let mut order: Vec<(Score, usize)> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(index, &(salt, weight))| (Score::new(key, salt, weight), index))
            .collect();
        // Stable, so equal scores stay in the order of the list, as in `pick`.
        order.sort_by(|(one, _), (other, _)| one.order(*other));
        order.into_iter().map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_the_weights() {
        let nodes = Rendezvous::new(&[("a", 1), ("b", 10), ("c", 100), ("d", 4_000_000)]).unwrap();
        assert!((0..1000).filter(|&key| nodes.pick(key) == 3).count() > 990);
        let nodes = Rendezvous::new(&[("a", 1), ("b", 2), ("c", 7)]).unwrap();
        let mut counts = [0_u32; 3];
        (0..200_000).for_each(|key| counts[nodes.pick(key)] += 1);
        for (count, weight) in counts.iter().zip([1.0, 2.0, 7.0]) {
            assert!((f64::from(*count) / 20_000.0 / weight - 1.0).abs() < 0.02, "{counts:?}");
        }
    }

    #[test]
    fn a_lost_node_moves_its_own_keys_and_no_others() {
        let before = Rendezvous::new(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]).unwrap();
        let after = Rendezvous::new(&[("a", 1), ("b", 2), ("c", 3)]).unwrap();
        for key in 0..20_000 {
            let ranked: Vec<usize> = before.ranked(key).collect();
            assert_eq!(ranked[0], before.pick(key));
            let stands_in = if ranked[0] == 3 { ranked[1] } else { ranked[0] };
            assert_eq!(after.pick(key), stands_in);
        }
    }

    #[test]
    fn a_heavier_node_only_takes() {
        let before = Rendezvous::new(&[("a", 2), ("b", 2), ("c", 2)]).unwrap();
        let after = Rendezvous::new(&[("a", 2), ("b", 3), ("c", 2)]).unwrap();
        assert!((0..20_000).all(|key| before.pick(key) == after.pick(key) || after.pick(key) == 1));
    }
}
