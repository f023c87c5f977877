//! Large graphs: cuts across the whole graph where few ciphertexts are alive, their depths chosen by dynamic programming (the
//! regions of ReSBM, Liu et al., 2025; the liveness of DaCapo, Cheon et al., 2024).

use std::collections::BTreeMap;

use super::dag::{Dag, Node};
use crate::planner::{Bits, Offer};

/// What the input with the most bits has, and the depth of each result: what it has less, nothing bootstrapped.
fn depths(dag: &Dag) -> (Bits, Vec<Bits>) {
    let inputs = dag.nodes.iter().filter(|node| node.operands.is_empty());
    let most = inputs.map(|node| node.available).max().unwrap_or_default();
    let mut depths: Vec<Bits> = Vec::new();
    for node in &dag.nodes {
        let before = node.operands.iter().map(|&operand| depths[operand]).max();
        depths.push(before.unwrap_or_else(|| most.saturating_sub(node.available)) + node.spent);
    }
    (most, depths)
}

/// Whether a node is an input that never runs short.
fn ample(node: &Node, offer: &Offer) -> bool {
    node.operands.is_empty() && node.available >= offer.output
}

/// Up to which depth each result is used.
fn reaches(dag: &Dag, depths: &[Bits]) -> Vec<Bits> {
    let mut reaches = depths.to_vec();
    for (at, node) in dag.nodes.iter().enumerate() {
        node.operands.iter().for_each(|&operand| reaches[operand] = reaches[operand].max(depths[at]));
    }
    reaches
}

/// Ciphertexts that are alive at each depth: made at it or before and used after.
fn alive(dag: &Dag, offer: &Offer, depths: &[Bits], reaches: &[Bits]) -> Vec<(Bits, i64)> {
    let mut change: BTreeMap<Bits, i64> = BTreeMap::new();
    for (at, node) in dag.nodes.iter().enumerate().filter(|(_, node)| !ample(node, offer)) {
        *change.entry(depths[at]).or_insert(0) += i64::from(node.ciphertexts);
        *change.entry(reaches[at]).or_insert(0) -= i64::from(node.ciphertexts);
    }
    let sum = change.into_iter().scan(0, |sum, (depth, delta)| {
        *sum += delta;
        Some((depth, *sum))
    });
    sum.collect()
}

/// Marks of all that is alive at the best depths.
pub(super) fn run(dag: &Dag, offer: &Offer) -> Vec<bool> {
    let (most, depths) = depths(dag);
    let reaches = reaches(dag, &depths);
    let stops = stops(dag, offer, most, &depths, &alive(dag, offer, &depths, &reaches));
    let crosses = |at: usize| {
        let next = stops.partition_point(|stop| *stop < depths[at]);
        stops.get(next).is_some_and(|stop| *stop < reaches[at]) && !ample(&dag.nodes[at], offer)
    };
    (0..dag.nodes.len()).map(crosses).collect()
}

/// Depths to cut at, ascending: a shortest path over depths, a bootstrap's target being the distance to the next.
fn stops(dag: &Dag, offer: &Offer, most: Bits, depths: &[Bits], alive: &[(Bits, i64)]) -> Vec<Bits> {
    let end = (0..dag.nodes.len()).map(|at| depths[at] + dag.nodes[at].required.unwrap_or_default()).max().unwrap_or_default();
    if end <= most {
        return Vec::new();
    }
    // best[i]: seconds from a cut at alive[i] to the end, and the next cut.
    let mut best: Vec<(f64, Option<usize>)> = vec![(f64::INFINITY, None); alive.len()];
    for at in (0..alive.len()).rev() {
        let (depth, count) = alive[at];
        let price = |target: Bits| offer.moment_seconds + count.max(1) as f64 * offer.seconds.at(target);
        if depth < end && end - depth <= offer.output {
            best[at] = (price(end - depth), None);
        }
        for next in at + 1..alive.len() {
            let target = alive[next].0 - depth + offer.input;
            if target > offer.output {
                break;
            }
            let seconds = price(target) + best[next].0;
            if seconds < best[at].0 {
                best[at] = (seconds, Some(next));
            }
        }
    }
    let first = (0..alive.len()).filter(|&at| alive[at].0 + offer.input <= most);
    let mut at = first.min_by(|&a, &b| best[a].0.total_cmp(&best[b].0)).filter(|&at| best[at].0.is_finite());
    let mut stops = Vec::new();
    while let Some(stop) = at {
        stops.push(alive[stop].0);
        at = best[stop].1;
    }
    stops
}
