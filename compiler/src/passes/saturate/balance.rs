//! Long products as balanced trees: what equality saturation would need an e-graph of exponential size for.

use std::collections::BTreeMap;

use crate::passes::rebuild::rebuild;
use crate::tensor::{Graph, Id, Node, Op, Shape};

/// Regroups every product whose inner products have no other use: the client's factors first, then always the two
/// shallowest (Golumbic 1976, "Combinatorial merging": least depth for factors of any depths).
pub fn run(graph: &Graph, known: &[bool], depths: &[u32]) -> Graph {
    let uses = graph.uses();
    let product = |id: Id| matches!(graph.node(id).op, Op::Mul) && matches!(graph.shape(id), Shape::Sample(_));
    let mut inner = vec![false; graph.len()];
    for id in graph.ids().filter(|&id| product(id)) {
        for operand in graph.operands(id) {
            inner[operand.index()] = product(operand) && uses[operand.index()] == 1;
        }
    }
    let mut new_of: Vec<Option<Id>> = vec![None; graph.len()];
    rebuild(graph, |new, id, node, operands| {
        let made = if product(id) && !inner[id.index()] {
            let factors = factors(graph, id, &inner);
            let depth = |id: Id| if known[id.index()] { 0 } else { depths[id.index()] + 1 };
            let leaves = factors.iter().map(|&f| (depth(f), new_of[f.index()].expect("operands come first")));
            match tree(new, leaves.collect(), node) {
                Some(id) if factors.len() > 2 => id,
                _ => new.push(node.op.clone(), &operands, node.shape, node.span),
            }
        } else {
            new.push(node.op.clone(), &operands, node.shape, node.span)
        };
        new_of[id.index()] = Some(made);
        made
    })
}

fn factors(graph: &Graph, root: Id, inner: &[bool]) -> Vec<Id> {
    let mut factors = Vec::new();
    let mut stack = graph.operands(root);
    stack.reverse();
    while let Some(id) = stack.pop() {
        if inner[id.index()] {
            stack.extend(graph.operands(id).into_iter().rev());
        } else {
            factors.push(id);
        }
    }
    factors
}

/// A tree over leaves of given depths, by depth and then order.
fn tree(new: &mut Graph, leaves: Vec<(u32, Id)>, like: &Node) -> Option<Id> {
    let mut queue: BTreeMap<(u32, usize), Id> = leaves.into_iter().enumerate().map(|(order, (depth, id))| ((depth, order), id)).collect();
    let mut order = queue.len();
    while queue.len() > 1 {
        let ((_, _), a) = queue.pop_first()?;
        let ((depth, _), b) = queue.pop_first()?;
        let product = new.push(Op::Mul, &[a, b], like.shape, like.span);
        // Products of what the client knows spend nothing.
        queue.insert((if depth == 0 { 0 } else { depth + 1 }, order), product);
        order += 1;
    }
    queue.pop_first().map(|(_, id)| id)
}
