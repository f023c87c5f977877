//! A pass builds a new graph: node by node, operands first.

use crate::tensor::{Graph, Id, Node};

/// Builds a graph from `graph`: `rewrite` gets each node with its operands in the new graph, and gives its replacement.
pub fn rebuild(graph: &Graph, mut rewrite: impl FnMut(&mut Graph, Id, &Node, Vec<Id>) -> Id) -> Graph {
    let mut new = Graph::default();
    let mut map: Vec<Id> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let operands = graph.operands(id).into_iter().map(|o| map[o.index()]).collect();
        let replacement = rewrite(&mut new, id, graph.node(id), operands);
        map.push(replacement);
    }
    new.outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), map[id.index()])).collect();
    new
}
