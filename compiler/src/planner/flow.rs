//! Minimum cuts.

use petgraph::algo::maximum_flow::dinics;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

/// The capacity of an edge that is never cut: more than the sum of all others, and few enough bits that a cut of many such
/// edges, which is none, still has a sum.
pub(crate) const FOREVER: u64 = 1 << 40;

/// The least capacity that separates `sink` from `source`, and which vertices are on the source's side.
///
/// Of the least cuts it is the one nearest to the source.
pub(crate) fn min_cut(network: &DiGraph<(), u64>, source: NodeIndex, sink: NodeIndex) -> (u64, Vec<bool>) {
    let (cost, flows) = dinics(network, source, sink);
    let mut reached = vec![false; network.node_count()];
    let mut open = vec![source];
    reached[source.index()] = true;
    while let Some(at) = open.pop() {
        let forwards = network.edges(at).filter(|e| flows[e.id().index()] < *e.weight()).map(|e| e.target());
        let backwards = network.edges_directed(at, petgraph::Incoming).filter(|e| flows[e.id().index()] > 0).map(|e| e.source());
        for next in forwards.chain(backwards) {
            if !std::mem::replace(&mut reached[next.index()], true) {
                open.push(next);
            }
        }
    }
    (cost, reached)
}
