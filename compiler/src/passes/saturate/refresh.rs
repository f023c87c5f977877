//! Bootstraps as nodes of the e-graph: `v => refresh(v)` costs a bootstrap and sets the spent budget back, so that one
//! extraction chooses the arithmetic, the approximations and where to bootstrap.
//!
//! The e-graph counts levels, and its values are those of the tensor graph, whole polynomials for instance. So it proposes: what
//! is lowered is completed and thinned out in bits, and priced beside the layers of cuts and the planner's placement.

use std::collections::BTreeMap;

use super::extract::Effort;
use super::region::Region;
use super::{Levels, WHOLE, balance};
use crate::approximation::Degrees;
use crate::passes::Facts;
use crate::passes::rebuild::rebuild;
use crate::tensor::{Graph, Id, Op, Output};

/// Nodes of the e-graph: every value stands in the extraction twice.
const NODES: usize = 1500;
/// Budgets tried, each a level smaller than the one before: levels are not quite the bits they stand for.
const BUDGETS: u32 = 6;

/// What a bootstrap gives and costs, in the units of the e-graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Levels between two bootstraps.
    pub levels: u32,
    /// Levels that it takes to unpack a state.
    pub unpack: u32,
    /// Levels that it takes to pack a gradient into its state.
    pub pack: u32,
    /// A bootstrap of a value, in units of the machine's prices.
    pub price: u64,
}

/// Graphs of the outputs of `graph` with [`Op::Refresh`] in them, each by one of `choices` of its degrees (the number says which); none
/// for graphs that are too large for one e-graph.
pub fn run(graph: &Graph, facts: &Facts, budget: &Budget, choices: &[Degrees]) -> Vec<(usize, Graph)> {
    let levels = Levels::new(graph, facts);
    let graph = &super::super::share::run(&balance::run(graph, &levels.known, &levels.depths), facts);
    let graph = &super::super::prune::run(graph, facts);
    let levels = Levels::new(graph, facts);
    let ids: Vec<Id> = graph.ids().collect();
    if ids.len() > WHOLE {
        return Vec::new();
    }
    let mut region = Region::new(graph, &ids, &super::used(graph, 0..graph.len()), &levels.known, facts);
    region.saturate(NODES);
    let packed = |id: Id| graph.outputs.iter().any(|(output, of)| *of == id && matches!(output, Output::State(_)));
    let mut found: Vec<(usize, Graph)> = Vec::new();
    for (choice, degrees) in choices.iter().enumerate() {
        let extraction = region.extraction(degrees, &|_| 0, &|id| if packed(id) { budget.pack } else { 0 }, Some(budget));
        for levels in (budget.levels.saturating_sub(BUDGETS - 1)..=budget.levels).rev() {
            let Some(solution) = extraction.problem.front(levels, Effort::Full).pop() else { break };
            let (mut new, mut map) = (Graph::default(), BTreeMap::new());
            region.emit(&extraction, &solution, &mut new, &mut map);
            new.outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), map[id])).collect();
            if refreshes(&new) > 0 && found.iter().all(|(_, other)| other.print() != new.print()) {
                found.push((choice, new));
            }
        }
    }
    found
}

/// The price of what takes as long as so many rotations.
pub fn priced(rotations: f64) -> u64 {
    (rotations * super::cost::SWITCH as f64) as u64
}

/// How many values of a graph are refreshed.
pub fn refreshes(graph: &Graph) -> usize {
    graph.ids().filter(|&id| matches!(graph.node(id).op, Op::Refresh)).count()
}

/// The graph without them.
pub fn without(graph: &Graph) -> Graph {
    rebuild(graph, |new, _, node, operands| match node.op {
        Op::Refresh => operands[0],
        _ => new.push(node.op.clone(), &operands, node.shape, node.span),
    })
}
