//! Peak EWMA with the power of two choices: of two nodes, the one that is expected to answer first.
//!
//! A node's cost is its smoothed latency times what is under way. The average rises with every slow answer at once and
//! falls slowly, so that a stall is felt by the very next choice (the load balancer of Finagle). Two random nodes are
//! compared, not all: nobody runs to the same best one (Mitzenmacher 2001).

use core::time::Duration;

use crate::hash::mix;
use crate::{RTT_MAX, Timestamp};

/// Nodes with their latencies. For one owner: a worker's view of its origins.
///
/// ```
/// use std::time::Duration;
/// use pop_route::{PeakEwma, Timestamp};
///
/// let mut origins = PeakEwma::new(2, Duration::from_secs(10));
/// let now = Timestamp::ZERO;
/// for (origin, millis) in [(0, 5), (1, 80)] {
///     origins.start(origin);
///     origins.finish(origin, Duration::from_millis(millis), now);
/// }
/// let first = (0..100).filter(|&random| origins.pick(random, now) == Some(0)).count();
/// assert_eq!(first, 100);
/// ```
#[derive(Clone, Debug)]
pub struct PeakEwma {
    nodes: Vec<Node>,
    decay: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    nanos: f64,
    seen: Timestamp,
    under_way: u32,
}

impl PeakEwma {
    /// This many nodes, of which nothing is known; latencies count less by 1/e in the time `decay`.
    #[must_use]
    pub fn new(nodes: usize, decay: Duration) -> Self {
        Self { nodes: vec![Node::default(); nodes], decay: decay.max(Duration::from_millis(1)) }
    }

    /// The better of two nodes that the caller's random number chooses; `None` without nodes. A node that was never tried
    /// and has nothing under way is the better one.
    #[must_use]
    pub fn pick(&self, random: u64, now: Timestamp) -> Option<usize> {
        let count = self.nodes.len() as u64;
        if count < 2 {
            return (count == 1).then_some(0);
        }
        let random = mix(random);
        let one = (((random >> 32) * count) >> 32) as usize;
        // Any of the others.
        let step = 1 + (((random & 0xffff_ffff) * (count - 1)) >> 32) as usize;
        let other = (one + step) % self.nodes.len();
        Some(if self.cost(other, now) < self.cost(one, now) { other } else { one })
    }

    /// A request to a node is under way.
    pub fn start(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.under_way = node.under_way.saturating_add(1);
        }
    }

    /// A request is answered, or failed: tell a failure as the latency that it is worth, such as the time limit.
    pub fn finish(&mut self, node: usize, latency: Duration, now: Timestamp) {
        let decay = self.decay.as_secs_f64();
        let Some(node) = self.nodes.get_mut(node) else { return };
        node.under_way = node.under_way.saturating_sub(1);
        let latency = latency.min(RTT_MAX).as_nanos() as f64;
        let kept = (-now.saturating_since(node.seen).as_secs_f64() / decay).exp();
        node.nanos = if latency > node.nanos { latency } else { node.nanos * kept + latency * (1.0 - kept) };
        node.seen = node.seen.max(now);
    }

    /// Expected nanoseconds until a node has answered one more.
    fn cost(&self, node: usize, now: Timestamp) -> f64 {
        let node = &self.nodes[node];
        let kept = (-now.saturating_since(node.seen).as_secs_f64() / self.decay.as_secs_f64()).exp();
        // One nanosecond more, so that what is under way counts where no latency is known.
        (node.nanos * kept + 1.0) * f64::from(node.under_way + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_stall_is_felt_at_once_and_forgiven_slowly() {
        let mut nodes = PeakEwma::new(2, Duration::from_secs(1));
        for node in 0..2 {
            nodes.start(node);
            nodes.finish(node, Duration::from_millis(10), at(0));
        }
        nodes.start(0);
        nodes.finish(0, Duration::from_secs(2), at(1));
        let to_stalled =
            |nodes: &PeakEwma, now| (0..1000).filter(|&random| nodes.pick(random, now) == Some(0)).count();
        assert_eq!(to_stalled(&nodes, at(2)), 0);
        assert_eq!(to_stalled(&nodes, at(1000)), 0);
        nodes.start(1);
        nodes.finish(1, Duration::from_millis(10), at(20_000));
        assert_eq!(to_stalled(&nodes, at(20_000)), 1000, "long forgotten, it is worth a try");
    }

    #[test]
    fn what_is_under_way_counts() {
        let mut nodes = PeakEwma::new(3, Duration::from_secs(1));
        let mut counts = [0_u32; 3];
        for random in 0..300 {
            let node = nodes.pick(random, at(0)).unwrap();
            nodes.start(node);
            counts[node] += 1;
        }
        assert!(counts.iter().all(|count| (95..=105).contains(count)), "{counts:?}");
        assert_eq!(PeakEwma::new(0, Duration::ZERO).pick(1, at(0)), None);
        assert_eq!(PeakEwma::new(1, Duration::ZERO).pick(1, at(0)), Some(0));
    }
}
