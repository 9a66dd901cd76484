//! Any text as a graph of autonomous systems: an error that names its line, or a graph over which routes propagate to an
//! end, every system's parts adding up to one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_route::{AsGraph, Catchment, GraphError, Ingress, Location, Relation, Site, SiteMap};

/// Small enough for a run of a millisecond.
const SYSTEMS_MAX: usize = 200;

fuzz_target!(|text: &str| {
    let graph = match AsGraph::parse(text) {
        Ok(graph) => graph,
        Err(GraphError::Syntax { line } | GraphError::Itself { line } | GraphError::Size { line }) => {
            assert!(line >= 1 && line <= text.lines().count());
            return;
        }
        Err(_) => return,
    };
    if graph.len() > SYSTEMS_MAX {
        return;
    }
    let place = Location::new(0.0, 0.0).expect("on the globe");
    let sites = SiteMap::new([Site::new("A", place), Site::new("B", place)]).expect("a map");
    let announced: Vec<Ingress> = sites
        .iter()
        .zip([(1, Relation::Provider), (2, Relation::Peer)])
        .map(|((site, _), (neighbour, relation))| Ingress { site, neighbour, relation, prepends: 0 })
        .collect();
    for (_, parts) in Catchment::predict(&graph, &announced).iter() {
        let sum: f64 = parts.iter().map(|(_, part)| part).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{parts:?}");
    }
});
