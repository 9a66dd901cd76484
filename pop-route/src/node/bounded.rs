//! Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018): a popular key overflows to the
//! next node of its order, and to no others.

use super::{NodesError, Rendezvous};

/// Nodes that each take at most a set multiple of the average of what is under way.
///
/// ```
/// use pop_route::BoundedLoads;
///
/// let mut nodes = BoundedLoads::new(&[("a", 1), ("b", 1), ("c", 1)], 1.25)?;
/// // One key a hundred times: no node gets more than its bound.
/// let taken: Vec<usize> = (0..100).map(|_| nodes.start(7)).collect();
/// assert!((0..3).all(|node| nodes.under_way(node) <= 42));
/// taken.into_iter().for_each(|node| nodes.finish(node));
/// # Ok::<(), pop_route::NodesError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BoundedLoads {
    order: Rendezvous,
    weights: Box<[u32]>,
    weight_sum: u64,
    under_way: Box<[u32]>,
    total: u64,
    factor: f64,
}

impl BoundedLoads {
    /// Named nodes with weights, each bounded to `factor` times its part of the total. Factors below 1.05, or that are no
    /// number, count as 1.05: at 1 every start would search.
    ///
    /// # Errors
    /// As [`Rendezvous::new`].
    pub fn new(nodes: &[(&str, u32)], factor: f64) -> Result<Self, NodesError> {
        Ok(Self {
            order: Rendezvous::new(nodes)?,
            weights: nodes.iter().map(|&(_, weight)| weight).collect(),
            weight_sum: nodes.iter().map(|&(_, weight)| u64::from(weight)).sum(),
            under_way: vec![0; nodes.len()].into(),
            total: 0,
            factor: factor.max(1.05),
        })
    }

    /// The node that takes one more for this key: its best one with room. Call [`finish`](Self::finish) with it later.
    pub fn start(&mut self, key: u64) -> usize {
        let preferred = self.order.pick(key);
        let node = if self.has_room(preferred) {
            preferred
        } else {
            // The bounds add up to more than the total: somebody has room.
            self.order.ranked(key).find(|&node| self.has_room(node)).unwrap_or(preferred)
        };
        self.under_way[node] = self.under_way[node].saturating_add(1);
        self.total += 1;
        node
    }

    /// One is done at a node. More ends than starts change nothing.
    pub fn finish(&mut self, node: usize) {
        if let Some(count) = self.under_way.get_mut(node).filter(|count| **count > 0) {
            *count -= 1;
            self.total -= 1;
        }
    }

    /// What is under way at a node.
    #[must_use]
    pub fn under_way(&self, node: usize) -> u32 {
        self.under_way.get(node).copied().unwrap_or(0)
    }

    fn has_room(&self, node: usize) -> bool {
        let part = f64::from(self.weights[node]) / self.weight_sum as f64;
        let bound = ((self.total + 1) as f64 * part * self.factor).ceil();
        f64::from(self.under_way[node]) + 1.0 <= bound
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_is_above_the_bound_whatever_is_asked(
            weights in prop::collection::vec(1_u32..9, 1..8),
            keys in prop::collection::vec((0_u64..5, any::<bool>()), 1..300),
        ) {
            let names: Vec<String> = (0..weights.len()).map(|index| index.to_string()).collect();
            let nodes: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
            let mut loads = BoundedLoads::new(&nodes, f64::NAN).unwrap();
            let mut started = Vec::new();
            let sum: u32 = weights.iter().sum();
            for (key, ends) in keys {
                let node = loads.start(key);
                started.push(node);
                let part = f64::from(weights[node]) / f64::from(sum);
                let bound = (started.len() as f64 * part * 1.05).ceil();
                prop_assert!(f64::from(loads.under_way(node)) <= bound);
                if ends {
                    loads.finish(started.swap_remove(0));
                }
            }
            started.into_iter().for_each(|node| loads.finish(node));
            prop_assert!((0..weights.len()).all(|node| loads.under_way(node) == 0));
        }
    }
}
