//! Large graphs: cuts across the whole graph, at depths chosen by dynamic programming, each then replaced by the cheapest cut of
//! its surroundings (ReSBM's regions, Liu et al., 2025, with an exact cut where it sweeps).

use std::collections::BTreeMap;

use petgraph::graph::DiGraph;

use super::dag::Dag;
use crate::planner::{Bits, Offer, flow};

/// Depths tried.
const DEPTHS: usize = 256;
/// Seconds become whole capacities in this unit.
const CAPACITY: f64 = 1e6;

/// Depth of each result: the most bits spent on the way to it.
fn depths(dag: &Dag) -> Vec<Bits> {
    let mut depths: Vec<Bits> = Vec::new();
    for node in &dag.nodes {
        let before = node.operands.iter().map(|&operand| depths[operand]).max().unwrap_or_default();
        depths.push(before + node.spent);
    }
    depths
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
pub(super) fn alive(dag: &Dag) -> (Vec<Bits>, BTreeMap<Bits, i64>) {
    let depths = depths(dag);
    let reaches = reaches(dag, &depths);
    let mut change: BTreeMap<Bits, i64> = BTreeMap::new();
    for (at, node) in dag.nodes.iter().enumerate() {
        *change.entry(depths[at]).or_insert(0) += i64::from(node.ciphertexts);
        *change.entry(reaches[at]).or_insert(0) -= i64::from(node.ciphertexts);
    }
    let mut sum = 0;
    change.values_mut().for_each(|delta| {
        sum += *delta;
        *delta = sum;
    });
    (depths, change)
}

/// Marks that cut the graph at the best depths, and marks with the cheapest cuts near them.
pub(super) fn run(dag: &Dag, offer: &Offer) -> Vec<Vec<bool>> {
    let (depths, alive) = alive(dag);
    let reaches = reaches(dag, &depths);
    let stops = stops(dag, offer, &depths, &alive);
    let crosses = |stop: Bits, at: usize| depths[at] <= stop && stop < reaches[at];
    let crossing = |&stop: &Bits| (0..dag.nodes.len()).filter(|&at| crosses(stop, at)).collect::<Vec<_>>();
    let plain: Vec<Vec<usize>> = stops.iter().map(crossing).collect();
    let usable = offer.output.saturating_sub(offer.input);
    let mut exact = Vec::new();
    for at in 0..stops.len() {
        // Not so early that the next cut is out of reach, nor so late that the one before does not reach it.
        let next = stops.get(at + 1).copied().or(reaches.iter().copied().max()).unwrap_or_default();
        let before = if at == 0 { stops[at] } else { stops[at - 1] + usable };
        exact.push(cheapest(dag, offer, &depths, next.saturating_sub(usable).min(stops[at]), before.max(stops[at]), next));
    }
    let marks = |cuts: &[Vec<usize>]| {
        let mut marks = vec![false; dag.nodes.len()];
        cuts.iter().flatten().for_each(|&at| marks[at] = true);
        marks
    };
    vec![marks(&plain), marks(&exact)]
}

/// Depths to cut at, ascending: a shortest path over depths, a bootstrap's target being the distance to the next.
fn stops(dag: &Dag, offer: &Offer, depths: &[Bits], alive: &BTreeMap<Bits, i64>) -> Vec<Bits> {
    let inputs = dag.nodes.iter().filter(|node| node.operands.is_empty()).map(|node| node.available).min().unwrap_or_default();
    let end = (0..dag.nodes.len()).map(|at| depths[at] + dag.nodes[at].required.unwrap_or_default()).max().unwrap_or_default();
    let all: Vec<(Bits, i64)> = alive.iter().map(|(&depth, &count)| (depth, count)).filter(|(depth, _)| *depth < end).collect();
    // Of many depths, the one with the fewest alive in each stretch.
    let stretch = all.len().div_ceil(DEPTHS).max(1);
    let thin: Vec<(Bits, i64)> = all.chunks(stretch).filter_map(|chunk| chunk.iter().copied().min_by_key(|(_, count)| *count)).collect();
    // best[i]: seconds from a cut at thin[i] to the end, and the next cut.
    let mut best: Vec<(f64, Option<usize>)> = vec![(f64::INFINITY, None); thin.len()];
    for at in (0..thin.len()).rev() {
        let (depth, count) = thin[at];
        let price = |to: Bits| offer.moment_seconds + count.max(1) as f64 * offer.seconds.at(to - depth + offer.input);
        let reach = |to: Bits| to - depth + offer.input <= offer.output;
        if end - depth <= offer.output {
            best[at] = (offer.moment_seconds + count.max(1) as f64 * offer.seconds.at(end - depth), None);
        }
        for next in at + 1..thin.len() {
            if !reach(thin[next].0) {
                break;
            }
            let seconds = price(thin[next].0) + best[next].0;
            if seconds < best[at].0 {
                best[at] = (seconds, Some(next));
            }
        }
    }
    if end <= inputs {
        return Vec::new();
    }
    let first = (0..thin.len()).filter(|&at| thin[at].0 + offer.input <= inputs);
    let mut at = first.min_by(|&a, &b| best[a].0.total_cmp(&best[b].0)).filter(|&at| best[at].0.is_finite());
    let mut stops = Vec::new();
    while let Some(stop) = at {
        stops.push(thin[stop].0);
        at = best[stop].1;
    }
    stops
}

/// The cheapest set of results from depth `low` to `high` that every path from before to after passes; targets reach `next`.
fn cheapest(dag: &Dag, offer: &Offer, depths: &[Bits], low: Bits, high: Bits, next: Bits) -> Vec<usize> {
    let mut network = DiGraph::<(), u64>::new();
    let (source, sink) = (network.add_node(()), network.add_node(()));
    let mut vertices = BTreeMap::new();
    for (at, node) in dag.nodes.iter().enumerate() {
        if depths[at] > high {
            // Operands from before the stretch, past it, have to be cut as well.
            for &operand in &node.operands {
                if let Some(&(_, used)) = vertices.get(&operand) {
                    network.add_edge(used, sink, flow::FOREVER);
                }
            }
            continue;
        }
        let (made, used) = (network.add_node(()), network.add_node(()));
        let target = next.saturating_sub(depths[at]) + offer.input;
        let fits = depths[at] >= low && target <= offer.output;
        let seconds = node.refresh_seconds(offer, target.min(offer.output)) * CAPACITY;
        network.add_edge(made, used, if fits { seconds as u64 + 1 } else { flow::FOREVER / 1_000_000 });
        if node.operands.is_empty() {
            network.add_edge(source, made, flow::FOREVER);
        }
        node.operands.iter().for_each(|operand| {
            if let Some(&(_, from)) = vertices.get(operand) {
                network.add_edge(from, made, flow::FOREVER);
            }
        });
        vertices.insert(at, (made, used));
    }
    let (_, reached) = flow::min_cut(&network, source, sink);
    let cut = |(&at, &(made, used)): (&usize, &(petgraph::graph::NodeIndex, petgraph::graph::NodeIndex))| {
        (reached[made.index()] && !reached[used.index()]).then_some(at)
    };
    vertices.iter().filter_map(cut).collect()
}
