//! Lower bounds of a placement's cost.

use super::dag::Dag;
use crate::planner::{Bits, Offer};

/// Disjoint paths whose bounds are added.
const PATHS: usize = 12;

/// What the rest of a graph costs at least, by node and by the bits asked of it.
pub(super) struct Tables {
    /// The most that each node can have.
    pub most: Vec<Bits>,
    /// The least that each node must leave.
    pub least: Vec<Bits>,
    /// Seconds at least of all nodes before each.
    pub before: Vec<f64>,
    /// For each node, by bits asked: seconds at least of it and what it is made from, over their least.
    ahead: Vec<Vec<f64>>,
}

impl Tables {
    /// Seconds at least, over the least, of a node that is asked for so much, and of what it is made from.
    pub(super) fn ahead(&self, node: usize, asked: Bits) -> f64 {
        self.ahead[node].get(asked.0 as usize).copied().unwrap_or(f64::INFINITY)
    }
}

/// Seconds of each node at the least width that any placement can run it.
pub(super) fn least_seconds(dag: &Dag, offer: &Offer, least: &[Bits]) -> Vec<f64> {
    dag.nodes.iter().zip(least).map(|(node, &least)| node.seconds.at(node.spent + least.min(offer.input))).collect()
}

/// Tables for a graph whose nodes can have `most` and leave `least`.
///
/// The bound of a node takes the dearest operand: the others are free.
pub(super) fn tables(dag: &Dag, offer: &Offer, most: Vec<Bits>, least: Vec<Bits>) -> Tables {
    let seconds = least_seconds(dag, offer, &least);
    let mut ahead: Vec<Vec<f64>> = Vec::new();
    for (at, node) in dag.nodes.iter().enumerate() {
        let enter = |enters: Bits| {
            let operands = node.operands.iter().map(|&operand| ahead[operand].get(enters.0 as usize).copied().unwrap_or(f64::INFINITY));
            let late = node.operands.is_empty() && enters > node.available;
            if late { f64::INFINITY } else { node.seconds.at(enters) - seconds[at] + operands.fold(0.0, f64::max) }
        };
        let fresh = enter(offer.input + node.spent);
        let asked = |bits: u32| {
            let needs = Bits(bits).max(least[at]);
            let boot = if needs <= offer.output { fresh + node.refresh_seconds(offer, needs) } else { f64::INFINITY };
            enter(needs + node.spent).min(boot)
        };
        ahead.push((0..=most[at].0).map(asked).collect());
    }
    let before = seconds.iter().scan(0.0, |sum, seconds| {
        let before = *sum;
        *sum += seconds;
        Some(before)
    });
    let before = before.collect();
    Tables { most, least, before, ahead }
}

/// Seconds that every placement costs: all nodes at their least, and what paths that share no node cost over that.
pub(super) fn lower_bound(dag: &Dag, offer: &Offer, tables: &Tables) -> f64 {
    let least = &tables.least;
    let seconds = least_seconds(dag, offer, least);
    let one = (0..dag.nodes.len()).map(|at| tables.ahead(at, least[at])).fold(0.0, f64::max);
    let mut taken = vec![false; dag.nodes.len()];
    let mut many = 0.0;
    for _ in 0..PATHS {
        let path = longest_path(dag, &taken);
        let bound = path_bound(dag, offer, tables, &seconds, &path);
        if bound <= 0.0 {
            break;
        }
        many += bound;
        path.iter().for_each(|&at| taken[at] = true);
    }
    seconds.iter().sum::<f64>() + one.max(many).max(stretches(dag, offer, tables, &seconds))
}

/// The same over stretches just long enough to need a bootstrap: what passes a bottleneck, such as a carried ciphertext, is one
/// path, but between two of them many run side by side.
fn stretches(dag: &Dag, offer: &Offer, tables: &Tables, seconds: &[f64]) -> f64 {
    let mut taken = vec![false; dag.nodes.len()];
    let mut spent: Vec<(Bits, Option<usize>)> = Vec::new();
    let mut total = 0.0;
    for (at, node) in dag.nodes.iter().enumerate() {
        let before = node.operands.iter().filter(|&&operand| !taken[operand]).map(|&operand| (spent[operand].0, operand));
        let before = before.max_by_key(|before| before.0);
        spent.push((before.map_or(Bits(0), |before| before.0) + node.spent, before.map(|before| before.1)));
        // The end of the longest way here that asks for more than its start has.
        let (mut path, mut asked, mut next, mut short) = (Vec::new(), tables.least[at], Some(at), false);
        while let Some(node) = next.filter(|_| !short) {
            path.push(node);
            asked = asked + dag.nodes[node].spent;
            short = asked > given(dag, tables, node);
            next = spent[node].1;
        }
        let bound = if short { path_bound(dag, offer, tables, seconds, &path) } else { 0.0 };
        if bound > 0.0 {
            total += bound;
            path.iter().for_each(|&node| taken[node] = true);
        }
    }
    total
}

/// The path of nodes not taken that spends most.
fn longest_path(dag: &Dag, taken: &[bool]) -> Vec<usize> {
    let mut best: Vec<Option<(Bits, Option<usize>)>> = Vec::new();
    for (at, node) in dag.nodes.iter().enumerate() {
        let before = node.operands.iter().filter_map(|&operand| best[operand].map(|(bits, _)| (bits, operand))).max_by_key(|b| b.0);
        best.push((!taken[at]).then(|| (before.map_or(Bits(0), |b| b.0) + node.spent, before.map(|b| b.1))));
    }
    let mut at = (0..best.len()).filter(|&at| best[at].is_some()).max_by_key(|&at| best[at].map(|b| b.0));
    let mut path = Vec::new();
    while let Some(node) = at {
        path.push(node);
        at = best[node].and_then(|(_, before)| before);
    }
    path
}

/// The most that a node can be entered with.
fn given(dag: &Dag, tables: &Tables, at: usize) -> Bits {
    let node = &dag.nodes[at];
    node.operands.iter().map(|&operand| tables.most[operand]).min().unwrap_or(node.available)
}

/// Seconds over the least of the nodes of a path, from its end to its start; what is around it comes free.
fn path_bound(dag: &Dag, offer: &Offer, tables: &Tables, seconds: &[f64], path: &[usize]) -> f64 {
    let Some((&first, &last)) = path.last().zip(path.first()) else { return 0.0 };
    let given = given(dag, tables, first);
    // By bits asked: seconds of the part of the path up to here.
    let mut ahead: Vec<f64> = vec![0.0; given.0 as usize + 1];
    for &at in path.iter().rev() {
        let node = &dag.nodes[at];
        let enter =
            |enters: Bits| ahead.get(enters.0 as usize).map_or(f64::INFINITY, |ahead| ahead + node.seconds.at(enters) - seconds[at]);
        let fresh = enter(offer.input + node.spent);
        let asked = |bits: u32| {
            let needs = Bits(bits).max(tables.least[at]);
            let boot = if needs <= offer.output { fresh + node.refresh_seconds(offer, needs) } else { f64::INFINITY };
            enter(needs + node.spent).min(boot)
        };
        ahead = (0..=tables.most[at].0).map(asked).collect();
    }
    ahead.get(tables.least[last].0 as usize).copied().unwrap_or(0.0)
}
