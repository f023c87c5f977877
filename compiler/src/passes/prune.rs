//! Drops what no output needs.

use super::Facts;
use crate::tensor::{Graph, Id};

/// Keeps the nodes that outputs reach.
pub fn run(graph: &Graph, _facts: &Facts) -> Graph {
    let mut live = vec![false; graph.len()];
    let mut stack: Vec<Id> = graph.outputs.iter().map(|(_, id)| *id).collect();
    while let Some(id) = stack.pop() {
        if !std::mem::replace(&mut live[id.index()], true) {
            stack.extend(graph.operands(id));
        }
    }
    let mut new = Graph::default();
    let mut map: Vec<Option<Id>> = vec![None; graph.len()];
    for id in graph.ids().filter(|id| live[id.index()]) {
        let node = graph.node(id);
        let operands: Vec<Id> = graph.operands(id).iter().filter_map(|o| map[o.index()]).collect();
        map[id.index()] = Some(new.push(node.op.clone(), &operands, node.shape, node.span));
    }
    new.outputs = graph.outputs.iter().filter_map(|(output, id)| Some((output.clone(), map[id.index()]?))).collect();
    new
}
