//! Where to relinearise: a product has three components until a relinearisation, additions take either, and what feeds a
//! product, a rotation or an output must have two. That is a minimum cut: three-componentness flows from products through
//! additions, and a relinearisation, once for all users, stops it.

use std::collections::BTreeMap;

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::unionfind::UnionFind;

use super::flow;

/// What an operation does to the number of components.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Components {
    /// Two, whatever: an input, a rotation. Its operands must have two.
    Two,
    /// Three: a product of two ciphertexts. Its operands must have two.
    Three,
    /// As many as its operands have at most: an addition, a product with a constant.
    Most,
}

/// An operation, its operands before it in the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relinearisable {
    /// Components of its result.
    pub components: Components,
    /// Operands, by index.
    pub operands: Vec<usize>,
    /// Cost to relinearise its result, in any unit.
    pub cost: u64,
    /// Cost of working on three components instead of two; for additions and outputs mostly none.
    pub extra: u64,
    /// Whether its result leaves with two components.
    pub output: bool,
}

/// Which results to relinearise, ascending, at the least cost; the cost includes that of work on three components.
///
/// Exact. Three components only pass through additions, so what additions do not join is cut apart: the time of a maximum
/// flow through two vertices per operation, for each such part.
pub fn run(operations: &[Relinearisable]) -> (Vec<usize>, u64) {
    let mut joined = UnionFind::new(operations.len());
    for (at, operation) in operations.iter().enumerate().filter(|(_, operation)| operation.components == Components::Most) {
        operation.operands.iter().for_each(|&operand| {
            joined.union(operand, at);
        });
    }
    // Operations of which all operands must have two: their operands.
    let mut strict = vec![false; operations.len()];
    for operation in operations.iter().filter(|operation| operation.components != Components::Most) {
        operation.operands.iter().for_each(|&operand| strict[operand] = true);
    }
    let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    (0..operations.len()).for_each(|at| parts.entry(joined.find(at)).or_default().push(at));
    let (mut chosen, mut total) = (Vec::new(), 0);
    for part in parts.values().filter(|part| part.iter().any(|&at| operations[at].components == Components::Three)) {
        let (cut, cost) = cut(operations, &strict, part);
        chosen.extend(cut);
        total += cost;
    }
    chosen.sort_unstable();
    (chosen, total)
}

/// The least cut of one part.
fn cut(operations: &[Relinearisable], strict: &[bool], part: &[usize]) -> (Vec<usize>, u64) {
    let mut network = DiGraph::<(), u64>::new();
    let (source, sink) = (network.add_node(()), network.add_node(()));
    let vertices: BTreeMap<usize, (NodeIndex, NodeIndex)> =
        part.iter().map(|&at| (at, (network.add_node(()), network.add_node(())))).collect();
    for (&at, &(made, used)) in &vertices {
        let operation = &operations[at];
        network.add_edge(made, used, operation.cost);
        if operation.output || strict[at] {
            network.add_edge(used, sink, flow::FOREVER);
        }
        if operation.extra > 0 {
            network.add_edge(made, sink, operation.extra);
        }
        match operation.components {
            Components::Two => {}
            Components::Three => {
                network.add_edge(source, made, flow::FOREVER);
            }
            Components::Most => operation.operands.iter().for_each(|operand| {
                network.add_edge(vertices[operand].1, made, flow::FOREVER);
            }),
        }
    }
    let (cost, reached) = flow::min_cut(&network, source, sink);
    let cut = vertices.iter().filter(|(_, (made, used))| reached[made.index()] && !reached[used.index()]);
    (cut.map(|(&at, _)| at).collect(), cost)
}
