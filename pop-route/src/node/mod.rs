//! Inside a PoP: which node serves a key, and which origin to ask.
//!
//! [`Maglev`] answers in one load and keeps nearly all keys when nodes change; [`Rendezvous`] needs no table and keeps
//! all keys but those that must move, with exact weights; [`BoundedLoads`] caps what a popular key's node gets; [`PeakEwma`]
//! with two choices follows latency, for origins.

mod bounded;
mod ewma;
mod maglev;
mod rendezvous;

use core::fmt;

pub use bounded::BoundedLoads;
pub use ewma::PeakEwma;
pub use maglev::{MAGLEV_NODES_MAX, Maglev};
pub use rendezvous::Rendezvous;

/// Nodes that cannot be balanced over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodesError {
    /// There is none, or there are more than the limit.
    Count {
        /// How many.
        nodes: usize,
        /// The limit.
        max: usize,
    },
    /// Two have one name: the place of the second.
    Duplicate {
        /// The place in the list.
        index: usize,
    },
    /// A weight of zero: its place.
    Weight {
        /// The place in the list.
        index: usize,
    },
}

impl fmt::Display for NodesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { nodes, max } => write!(f, "{nodes} nodes, expected 1 to {max}"),
            Self::Duplicate { index } => write!(f, "node {index} has the name of another"),
            Self::Weight { index } => write!(f, "node {index} has weight 0, leave it out instead"),
        }
    }
}

impl core::error::Error for NodesError {}

/// What every method here needs of its nodes.
fn check(nodes: &[(&str, u32)], max: usize) -> Result<(), NodesError> {
    if nodes.is_empty() || nodes.len() > max {
        return Err(NodesError::Count { nodes: nodes.len(), max });
    }
    let mut names = std::collections::HashSet::new();
    for (index, &(name, weight)) in nodes.iter().enumerate() {
        if !names.insert(name) {
            return Err(NodesError::Duplicate { index });
        }
        if weight == 0 {
            return Err(NodesError::Weight { index });
        }
    }
    Ok(())
}
