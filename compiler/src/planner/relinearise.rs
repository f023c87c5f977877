//! Where to relinearise: a product has three components until a relinearisation, additions take either, and what feeds a
//! product, a rotation or an output must have two. That is a minimum cut: three-componentness flows from products through
//! additions, and a relinearisation, once for all users, stops it.

use petgraph::graph::{DiGraph, NodeIndex};

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

/// Which results to relinearise, at the least cost; the cost includes that of work on three components.
///
/// Exact, in the time of a maximum flow through two vertices per operation.
pub fn run(operations: &[Relinearisable]) -> (Vec<usize>, u64) {
    let mut network = DiGraph::<(), u64>::new();
    let (source, sink) = (network.add_node(()), network.add_node(()));
    let vertices: Vec<(NodeIndex, NodeIndex)> = operations.iter().map(|_| (network.add_node(()), network.add_node(()))).collect();
    for (operation, &(made, used)) in operations.iter().zip(&vertices) {
        network.add_edge(made, used, operation.cost);
        if operation.output {
            network.add_edge(used, sink, flow::FOREVER);
        }
        if operation.extra > 0 {
            network.add_edge(made, sink, operation.extra);
        }
        if operation.components == Components::Three {
            network.add_edge(source, made, flow::FOREVER);
        }
        for &operand in &operation.operands {
            let from = vertices[operand].1;
            match operation.components {
                Components::Most => network.add_edge(from, made, flow::FOREVER),
                Components::Two | Components::Three => network.add_edge(from, sink, flow::FOREVER),
            };
        }
    }
    let (cost, reached) = flow::min_cut(&network, source, sink);
    let cut = |&at: &usize| reached[vertices[at].0.index()] && !reached[vertices[at].1.index()];
    ((0..operations.len()).filter(cut).collect(), cost)
}
